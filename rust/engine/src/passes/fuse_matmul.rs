//! Bias, relu and the relu's gradient into the matrix product whose result they work on: the
//! blocks of the result are finished while they are in cache.

use std::sync::Arc;

use super::Outcome;
use crate::graph::{Graph, NodeKind, ValueId};
use crate::ops::bias_add::BiasAdd;
use crate::ops::elementwise::Elementwise;
use crate::ops::matmul::{Fused, MatMul};

/// `bias_add(matmul(a, b), bias)` along the columns.
pub(super) fn bias(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    let Some(add) = node.op_as::<BiasAdd>() else { return Outcome::NoMatch };
    let (product, vector) = (node.inputs[0], node.inputs[1]);
    if add.axis + 1 != graph.ty(product).rank() {
        return Outcome::NoMatch;
    }
    fuse(graph, index, uses, product, Some(vector), |fused| match fused {
        Fused::None => Some(Fused::Bias),
        _ => None,
    })
}

/// `relu(matmul(a, b))`, with or without a bias.
pub(super) fn relu(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    if !node.op_as::<Elementwise>().is_some_and(|op| op.is("relu")) {
        return Outcome::NoMatch;
    }
    fuse(graph, index, uses, node.inputs[0], None, |fused| match fused {
        Fused::None => Some(Fused::Relu),
        Fused::Bias => Some(Fused::BiasRelu),
        _ => None,
    })
}

/// `relu_gradient(y, matmul(a, b))`.
pub(super) fn relu_gradient(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    if !node.op_as::<Elementwise>().is_some_and(|op| op.is("relu_gradient")) {
        return Outcome::NoMatch;
    }
    let (reference, product) = (node.inputs[0], node.inputs[1]);
    if graph.ty(reference).shape != graph.ty(product).shape {
        return Outcome::NoMatch;
    }
    fuse(graph, index, uses, product, Some(reference), |fused| match fused {
        Fused::None => Some(Fused::ReluMask),
        _ => None,
    })
}

/// Rewrites node `index` into the product that makes `product`, followed by what `next` says.
fn fuse(
    graph: &mut Graph,
    index: usize,
    uses: &[usize],
    product: ValueId,
    third: Option<ValueId>,
    next: fn(Fused) -> Option<Fused>,
) -> Outcome {
    let producer = graph.producer(product);
    let Some(matmul) = producer.op_as::<MatMul>() else { return Outcome::NoMatch };
    let Some(fused) = next(matmul.fused) else { return Outcome::NoMatch };
    if graph.ty(product).rank() != 2 {
        return Outcome::Declined("the product is a stack of matrices");
    }
    if uses[product.index()] != 1 {
        return Outcome::Declined("the product itself is needed elsewhere");
    }
    let mut inputs = producer.inputs.clone();
    inputs.extend(third);
    let op = MatMul { fused, ..matmul.clone() };
    let node = &mut graph.nodes[index];
    node.kind = NodeKind::Op(Arc::new(op));
    node.inputs = inputs;
    Outcome::Fused
}
