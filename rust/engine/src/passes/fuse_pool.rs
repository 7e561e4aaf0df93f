//! Max pools into the convolutions before them, and their gradients into those of the convolutions: the
//! large arrays between the two are never in memory. For values whose channels lie last.

use std::sync::Arc;

use super::Outcome;
use crate::graph::{Graph, NodeKind, ValueId};
use crate::ops::convolution::{
    Convolution, ConvolutionInputGradient, ConvolutionWeightGradient, Pool,
};
use crate::ops::pooling::{MaxPool, MaxPoolGradient};
use crate::settings::Settings;

/// `max_pool(convolution(x, w))`.
pub(super) fn pool(graph: &mut Graph, index: usize, uses: &[usize], s: &Settings) -> Outcome {
    let node = &graph.nodes[index];
    let Some(pool) = node.op_as::<MaxPool>() else { return Outcome::NoMatch };
    let convolved = node.inputs[0];
    let producer = graph.producer(convolved);
    let Some(op) = producer.op_as::<Convolution>() else { return Outcome::NoMatch };
    if uses[convolved.index()] != 1 {
        return Outcome::Declined("the convolution's output itself is needed elsewhere");
    }
    let pool = Pool { geometry: pool.geometry.clone(), positions: pool.positions };
    let types: Vec<_> = producer.inputs.iter().map(|id| graph.ty(*id)).collect();
    let Some(op) = op.with_pool(pool, &types, *s) else {
        return Outcome::Declined("the convolution does not make whole images with channels last");
    };
    let inputs = producer.inputs.clone();
    let node = &mut graph.nodes[index];
    (node.kind, node.inputs) = (NodeKind::Op(Arc::new(op)), inputs);
    Outcome::Fused
}

/// `convolution_input_gradient(max_pool_gradient(dy, positions), w)`, and the weight's.
pub(super) fn gradient(graph: &mut Graph, index: usize, _uses: &[usize], s: &Settings) -> Outcome {
    let node = &graph.nodes[index];
    let Some(unpooled) = output_gradient(graph, index) else { return Outcome::NoMatch };
    let producer = graph.producer(unpooled);
    let Some(pool) = producer.op_as::<MaxPoolGradient>().filter(|pool| pool.positions) else {
        return Outcome::NoMatch;
    };
    let pool = Pool { geometry: pool.geometry.clone(), positions: true };
    let fused = |index: usize| -> Option<NodeKind> {
        let node = &graph.nodes[index];
        if output_gradient(graph, index) != Some(unpooled) {
            return None;
        }
        let types: Vec<_> = node.inputs.iter().map(|id| graph.ty(*id)).collect();
        if let Some(op) = node.op_as::<ConvolutionInputGradient>() {
            return Some(NodeKind::Op(Arc::new(op.with_pool(pool.clone(), &types, *s)?)));
        }
        let op = node.op_as::<ConvolutionWeightGradient>()?;
        Some(NodeKind::Op(Arc::new(op.with_pool(pool.clone(), &types, *s)?)))
    };
    let readers = (0..graph.nodes.len()).filter(|at| graph.nodes[*at].inputs.contains(&unpooled));
    if graph.fetches.contains(&unpooled) || !readers.clone().all(|at| fused(at).is_some()) {
        return Outcome::Declined("the pool's gradient is needed as an array");
    }
    let Some(kind) = fused(index) else { return Outcome::NoMatch };
    let (dy, positions) = (producer.inputs[0], producer.inputs[1]);
    let mut inputs: Vec<ValueId> =
        node.inputs.iter().map(|input| if *input == unpooled { dy } else { *input }).collect();
    inputs.push(positions);
    let node = &mut graph.nodes[index];
    (node.kind, node.inputs) = (kind, inputs);
    Outcome::Fused
}

/// The output's gradient that a convolution's gradient reads as an array.
fn output_gradient(graph: &Graph, index: usize) -> Option<ValueId> {
    let node = &graph.nodes[index];
    let to_input = node.op_as::<ConvolutionInputGradient>().filter(|op| op.pool.is_none());
    let to_weight = node.op_as::<ConvolutionWeightGradient>().filter(|op| op.pool.is_none());
    match (to_input, to_weight) {
        (Some(_), _) => Some(node.inputs[0]),
        (_, Some(_)) => Some(node.inputs[1]),
        _ => None,
    }
}
