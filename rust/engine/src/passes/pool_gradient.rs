//! Work moved from a max pool's input to its output, which is smaller.

use std::sync::Arc;

use super::Outcome;
use crate::graph::{Graph, NodeKind};
use crate::ops::elementwise::Elementwise;
use crate::ops::pooling::{MaxPool, MaxPoolGradient};
use crate::ops::reduce::Reduce;

/// `relu_gradient(x, max_pool_gradient(x, dy, positions))`: an element that is the maximum of its
/// window is positive exactly where the maximum is.
pub(super) fn relu(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    if !node.op_as::<Elementwise>().is_some_and(|op| op.is("relu_gradient")) {
        return Outcome::NoMatch;
    }
    let (x, unpooled) = (node.inputs[0], node.inputs[1]);
    let producer = graph.producer(unpooled);
    if !producer.op_as::<MaxPoolGradient>().is_some_and(|op| op.positions) {
        return Outcome::NoMatch;
    }
    let (dy, positions) = (producer.inputs[0], producer.inputs[1]);
    let at = graph.values[unpooled.index()].producer.index();
    let pool = graph.producer(positions);
    if pool.op_as::<MaxPool>().is_none() || pool.inputs[0] != x {
        return Outcome::NoMatch;
    }
    if uses[unpooled.index()] != 1 {
        return Outcome::Declined("the pool's gradient itself is needed elsewhere");
    }
    let maxima = pool.outputs[0];
    let (relu, pool) = (graph.nodes[index].kind.clone(), graph.nodes[at].kind.clone());
    graph.values[unpooled.index()].ty = graph.ty(dy).clone();
    let masked = &mut graph.nodes[at];
    (masked.kind, masked.inputs) = (relu, vec![maxima, dy]);
    let node = &mut graph.nodes[index];
    (node.kind, node.inputs) = (pool, vec![unpooled, positions]);
    Outcome::Fused
}

/// `reduce_sum(max_pool_gradient(x, dy))` over all axes but the channels': each gradient goes to one
/// element of the same channel.
pub(super) fn sum(graph: &mut Graph, index: usize, _uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    let Some(&summed) = node.inputs.first() else { return Outcome::NoMatch };
    let Some(sum) = node.op_as::<Reduce>() else { return Outcome::NoMatch };
    let producer = graph.producer(summed);
    let Some(pool) = producer.op_as::<MaxPoolGradient>() else { return Outcome::NoMatch };
    let dy = producer.inputs[0];
    if !sum.is_sum_but(pool.channel_axis()) {
        return Outcome::NoMatch;
    }
    if !pool.gives_all() {
        return Outcome::Declined("some windows lie in the padding and drop their gradient");
    }
    let op = Arc::new(sum.clone());
    let node = &mut graph.nodes[index];
    (node.kind, node.inputs) = (NodeKind::Op(op), vec![dy]);
    Outcome::Fused
}
