//! Elementwise work that need not be done: repeats that an operation makes by itself, and products by 1.
//! The gradients of sums and means are full of both.

use super::{Outcome, is_updated, root_of};
use crate::graph::Graph;
use crate::ops::broadcast::BroadcastTo;
use crate::ops::elementwise::{Elementwise, instructions_of};

/// `f(.., broadcast_to(x), ..)` where another operand has the whole shape: `f` repeats `x` itself.
pub(super) fn repeats(graph: &mut Graph, index: usize, _: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    if instructions_of(node).is_none() {
        return Outcome::NoMatch;
    }
    let shape = &graph.ty(node.outputs[0]).shape;
    let is_repeat = |value| graph.producer(value).op_as::<BroadcastTo>().is_some();
    let Some(place) = node.inputs.iter().position(|&value| is_repeat(value)) else {
        return Outcome::NoMatch;
    };
    let mut others = node.inputs.iter().enumerate().filter(|(other, _)| *other != place);
    if !others.any(|(_, &value)| graph.ty(value).shape == *shape) {
        return Outcome::Declined("no other operand has the whole shape");
    }
    let repeated = graph.producer(node.inputs[place]).inputs[0];
    graph.nodes[index].inputs[place] = repeated;
    Outcome::Fused
}

/// `multiply(x, 1)`: whoever reads the product reads `x`.
pub(super) fn product_by_one(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    let product = node.outputs.first().copied();
    let Some(product) = product.filter(|product| uses[product.index()] > 0) else {
        return Outcome::NoMatch;
    };
    let &[a, b] = &node.inputs[..] else { return Outcome::NoMatch };
    if !node.op_as::<Elementwise>().is_some_and(|op| op.is("multiply")) {
        return Outcome::NoMatch;
    }
    let is_one =
        |value| graph.fill_of(root_of(graph, value)).is_some_and(|number| number.as_f64() == 1.0);
    let factor = [(a, b), (b, a)].into_iter().find(|(_, one)| is_one(*one));
    let Some((factor, _)) = factor else { return Outcome::NoMatch };
    if graph.ty(factor) != graph.ty(product) {
        return Outcome::Declined("the ones repeat the factor");
    }
    if is_updated(graph, factor) {
        return Outcome::Declined("the factor is a variable that is updated");
    }
    let readers = graph.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut());
    for value in readers.chain(&mut graph.fetches).filter(|value| **value == product) {
        *value = factor;
    }
    Outcome::Fused
}
