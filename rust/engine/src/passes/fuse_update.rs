//! Work on a gradient into the update of its variable.

use std::sync::Arc;

use super::{Outcome, is_updated};
use crate::graph::{Graph, Node, NodeKind};
use crate::ops::Op;
use crate::ops::elementwise::Elementwise;
use crate::ops::matmul::{Fused, MatMul};
use crate::ops::matmul_update::MatMulUpdate;
use crate::ops::update::{AdamUpdate, MomentumUpdate, SgdUpdate};

/// Where an update has its gradient among its inputs.
fn gradient_input(node: &Node) -> Option<usize> {
    if node.op_as::<SgdUpdate>().is_some() {
        Some(1)
    } else if node.op_as::<MomentumUpdate>().is_some() {
        Some(2)
    } else if node.op_as::<AdamUpdate>().is_some() {
        Some(3)
    } else {
        None
    }
}

/// The same update with its gradient scaled by `factor` more.
fn scaled(node: &Node, factor: f64) -> Option<Arc<dyn Op>> {
    if let Some(op) = node.op_as::<SgdUpdate>() {
        let scale = op.scale * factor;
        Some(Arc::new(SgdUpdate { scale, ..op.clone() }))
    } else if let Some(op) = node.op_as::<MomentumUpdate>() {
        let scale = op.scale * factor;
        Some(Arc::new(MomentumUpdate { scale, ..op.clone() }))
    } else if let Some(op) = node.op_as::<AdamUpdate>() {
        let scale = op.scale * factor;
        Some(Arc::new(AdamUpdate { scale, ..op.clone() }))
    } else {
        None
    }
}

/// `update(w, multiply(g, constant))`.
pub(super) fn scale(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    let Some(input) = gradient_input(node) else { return Outcome::NoMatch };
    let product = graph.producer(node.inputs[input]);
    if !product.op_as::<Elementwise>().is_some_and(|op| op.is("multiply")) {
        return Outcome::NoMatch;
    }
    let (gradient, factor) = (product.inputs[0], product.inputs[1]);
    let Some(factor) = graph.fill_of(factor) else { return Outcome::NoMatch };
    if graph.ty(gradient) != graph.ty(node.inputs[input]) {
        return Outcome::Declined("the factor has more elements than the gradient");
    }
    if uses[node.inputs[input].index()] != 1 {
        return Outcome::Declined("the scaled gradient is needed elsewhere");
    }
    if is_updated(graph, gradient) {
        return Outcome::Declined("the gradient is a variable that is updated too");
    }
    let Some(op) = scaled(node, factor.as_f64()) else { return Outcome::NoMatch };
    let node = &mut graph.nodes[index];
    node.kind = NodeKind::Op(op);
    node.inputs[input] = gradient;
    Outcome::Fused
}

/// `sgd_update(w, matmul(a, b))`: the product is added to the variable, and the gradient is never
/// stored.
pub(super) fn matmul(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    let Some(update) = node.op_as::<SgdUpdate>() else { return Outcome::NoMatch };
    let (variable, gradient, rate) = (node.inputs[0], node.inputs[1], node.inputs[2]);
    let producer = graph.producer(gradient);
    let Some(product) = producer.op_as::<MatMul>() else { return Outcome::NoMatch };
    let (a, b) = (producer.inputs[0], producer.inputs[1]);
    if product.fused != Fused::None || graph.ty(gradient).rank() != 2 {
        return Outcome::Declined("the gradient is no plain matrix product");
    }
    if uses[gradient.index()] != 1 {
        return Outcome::Declined("the gradient is needed elsewhere");
    }
    if [a, b].iter().any(|value| is_updated(graph, *value)) {
        return Outcome::Declined("the gradient is computed from a variable that is updated too");
    }
    let (scale, weight_decay) = (update.scale, update.weight_decay);
    let op = MatMulUpdate { product: product.clone(), scale, weight_decay };
    let node = &mut graph.nodes[index];
    node.kind = NodeKind::Op(Arc::new(op));
    node.inputs = vec![variable, a, b, rate];
    Outcome::Fused
}
