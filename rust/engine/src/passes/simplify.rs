//! Elementwise work that need not be done: products by 1, and repeats that an operation makes by
//! itself. The gradients of sums and means are full of both.

use super::{Outcome, is_updated, root_of};
use crate::graph::{Graph, ValueId};
use crate::ops::add_n::AddN;
use crate::ops::broadcast::BroadcastTo;
use crate::ops::elementwise::{Elementwise, instructions_of};

/// What `broadcast_to` repeats to make a value.
fn repeated(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let node = graph.producer(value);
    node.op_as::<BroadcastTo>().map(|_| node.inputs[0])
}

/// Whether all elements of a value are known to be 1.
fn is_one(graph: &Graph, mut value: ValueId) -> bool {
    while let Some(source) = repeated(graph, root_of(graph, value)) {
        value = source;
    }
    graph.fill_of(root_of(graph, value)).is_some_and(|number| number.as_f64() == 1.0)
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
    let factors = [(a, b), (b, a)].into_iter().filter(|(_, one)| is_one(graph, *one));
    let mut factors = factors.map(|(factor, _)| factor).peekable();
    if factors.peek().is_none() {
        return Outcome::NoMatch;
    }
    let Some(factor) = factors.find(|factor| graph.ty(*factor) == graph.ty(product)) else {
        return Outcome::Declined("the ones repeat the factor");
    };
    if is_updated(graph, factor) {
        return Outcome::Declined("the factor is a variable that is updated");
    }
    let readers = graph.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut());
    for value in readers.chain(&mut graph.fetches).filter(|value| **value == product) {
        *value = factor;
    }
    Outcome::Fused
}

/// `f(.., broadcast_to(x), ..)` where another operand has the whole shape: `f` repeats `x` itself.
pub(super) fn repeats(graph: &mut Graph, index: usize, _: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    // A sum of several is one of operands of one type.
    if instructions_of(node).is_none() || node.op_as::<AddN>().is_some() {
        return Outcome::NoMatch;
    }
    let place = node.inputs.iter().position(|&value| repeated(graph, value).is_some());
    let Some(place) = place else { return Outcome::NoMatch };
    let Some(source) = repeated(graph, node.inputs[place]) else { return Outcome::NoMatch };
    let shape = &graph.ty(node.outputs[0]).shape;
    let mut others = node.inputs.iter().enumerate().filter(|(other, _)| *other != place);
    if !others.any(|(_, &value)| graph.ty(value).shape == *shape) {
        return Outcome::Declined("no other operand has the whole shape");
    }
    graph.nodes[index].inputs[place] = source;
    Outcome::Fused
}
