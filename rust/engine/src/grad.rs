//! Gradients as graph: a reverse walk that asks each operation for the nodes of its derivative.

use crate::error::Error;
use crate::graph::{Builder, NodeKind, ValueId};

/// Adds the nodes that compute the gradient of the sum of all elements of all `losses` with respect
/// to each value of `wrt`; `None` where a value has no influence.
pub fn gradients(
    g: &mut Builder,
    losses: &[ValueId],
    wrt: &[ValueId],
) -> Result<Vec<Option<ValueId>>, Error> {
    let forward_nodes = g.graph().nodes().len();
    let influenced = influenced_by(g, wrt);
    let mut total: Vec<Option<ValueId>> = vec![None; g.graph().values().len()];
    for &loss in losses {
        if !g.ty(loss).dtype.is_float() {
            return Err(Error::DType(format!("a loss must be a float, not {}", g.ty(loss))));
        }
        if !influenced[loss.index()] {
            let name = &g.graph().producer(loss).name;
            return Err(Error::Graph(format!("the loss {name} depends on no trainable variable")));
        }
        g.set_origin("loss");
        let seed = g.fill(g.ty(loss).clone(), 1.0)?;
        accumulate(g, &mut total, loss, seed)?;
    }
    for index in (0..forward_nodes).rev() {
        let node = g.graph().nodes()[index].clone();
        let NodeKind::Op(op) = &node.kind else { continue };
        let dy: Vec<Option<ValueId>> = node.outputs.iter().map(|y| total[y.index()]).collect();
        let reaches = node.inputs.iter().any(|x| influenced[x.index()]);
        if !reaches || dy.iter().all(Option::is_none) {
            continue;
        }
        g.set_origin(node.name.clone());
        let dx = op.gradient(g, &node, &dy)?;
        for (&x, dx) in node.inputs.iter().zip(dx) {
            if let Some(dx) = dx
                && influenced[x.index()]
            {
                let shape = g.ty(x).shape.clone();
                let dx = g.sum_to(dx, &shape)?;
                accumulate(g, &mut total, x, dx)?;
            }
        }
    }
    g.set_origin("");
    Ok(wrt.iter().map(|x| total[x.index()]).collect())
}

/// For each value, whether a gradient can flow from it to one of `wrt`.
fn influenced_by(g: &Builder, wrt: &[ValueId]) -> Vec<bool> {
    let graph = g.graph();
    let mut influenced = vec![false; graph.values().len()];
    for x in wrt {
        influenced[x.index()] = true;
    }
    for node in graph.nodes() {
        if node.inputs.iter().any(|x| influenced[x.index()]) {
            for y in &node.outputs {
                influenced[y.index()] |= graph.ty(*y).dtype.is_float();
            }
        }
    }
    influenced
}

fn accumulate(
    g: &mut Builder,
    total: &mut [Option<ValueId>],
    x: ValueId,
    dx: ValueId,
) -> Result<(), Error> {
    let sum = match total[x.index()] {
        None => dx,
        Some(other) => g.elementwise("add", &[other, dx])?,
    };
    total[x.index()] = Some(sum);
    Ok(())
}
