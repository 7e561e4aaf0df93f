//! Bias and relu into the convolution whose output they work on.

use std::sync::Arc;

use super::Outcome;
use crate::graph::{Graph, NodeKind, ValueId};
use crate::ops::bias_add::BiasAdd;
use crate::ops::convolution::{Convolution, Fused};
use crate::ops::elementwise::Elementwise;

/// `bias_add(convolution(x, w), bias)` along the channels.
pub(super) fn bias(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    let Some(add) = node.op_as::<BiasAdd>() else { return Outcome::NoMatch };
    let (convolved, vector, axis) = (node.inputs[0], node.inputs[1], add.axis);
    fuse(graph, index, uses, convolved, Some(vector), |op| {
        let fits = op.fused == Fused::default() && op.geometry.channel_axis() == axis;
        fits.then_some(Fused { bias: true, relu: false })
    })
}

/// `relu(convolution(x, w))`, with or without a bias.
pub(super) fn relu(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    if !node.op_as::<Elementwise>().is_some_and(|op| op.is("relu")) {
        return Outcome::NoMatch;
    }
    fuse(graph, index, uses, node.inputs[0], None, |op| {
        (!op.fused.relu).then_some(Fused { relu: true, ..op.fused })
    })
}

/// Rewrites node `index` into the convolution that makes `convolved`, followed by what `next` says.
fn fuse(
    graph: &mut Graph,
    index: usize,
    uses: &[usize],
    convolved: ValueId,
    third: Option<ValueId>,
    next: impl Fn(&Convolution) -> Option<Fused>,
) -> Outcome {
    let producer = graph.producer(convolved);
    let Some(op) = producer.op_as::<Convolution>() else { return Outcome::NoMatch };
    let Some(fused) = next(op) else { return Outcome::NoMatch };
    if uses[convolved.index()] != 1 {
        return Outcome::Declined("the convolution's output itself is needed elsewhere");
    }
    let mut inputs = producer.inputs.clone();
    inputs.extend(third);
    let op = Convolution { geometry: op.geometry.clone(), fused, pool: None };
    let node = &mut graph.nodes[index];
    node.kind = NodeKind::Op(Arc::new(op));
    node.inputs = inputs;
    Outcome::Fused
}
