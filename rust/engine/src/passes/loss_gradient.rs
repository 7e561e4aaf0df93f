//! A loss and the gradient of its logits in one pass over them.

use std::sync::Arc;

use super::Outcome;
use crate::graph::{Graph, NodeKind};
use crate::ops::sparse_cross_entropy::{
    SparseSoftmaxCrossEntropy, SparseSoftmaxCrossEntropyGradient,
};

/// `gradient(labels, probability, dy)` where `dy` is one number: the loss gives the gradient in place
/// of the probabilities, which nobody else reads.
pub(super) fn apply(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    let is_gradient = node.op_as::<SparseSoftmaxCrossEntropyGradient>().is_some();
    // Once it is fused, nobody reads what this node makes.
    if !is_gradient || uses[node.outputs[0].index()] == 0 {
        return Outcome::NoMatch;
    }
    let (probability, dy) = (node.inputs[1], node.inputs[2]);
    let at = graph.values[probability.index()].producer.index();
    let Some(loss) = graph.nodes[at].op_as::<SparseSoftmaxCrossEntropy>() else {
        return Outcome::NoMatch;
    };
    if uses[probability.index()] != 1 {
        return Outcome::Declined("the probabilities are needed elsewhere");
    }
    let Some(dy) = graph.fill_of(dy) else {
        return Outcome::Declined("the gradient of the loss is not one number");
    };
    let op = loss.with_gradient(dy.as_f64());
    let gradient = node.outputs[0];
    graph.nodes[at].kind = NodeKind::Op(Arc::new(op));
    let readers = graph.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut());
    for value in readers.chain(&mut graph.fetches).filter(|value| **value == gradient) {
        *value = probability;
    }
    Outcome::Fused
}
