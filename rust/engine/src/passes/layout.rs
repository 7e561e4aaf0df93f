//! Channels last inside: convolutions and pools are fastest where a pixel's channels lie next to one
//! another, so values between them are kept in that order whatever the user's is.
//!
//! Convolutions read any order and give channels last, unless nothing beside them has channels last and
//! their algorithm writes the user's order too. Operations that have a form for it follow; where one has none,
//! or the caller fetches the value, the order is put back.

use std::sync::Arc;

use crate::error::Error;
use crate::graph::{Graph, Node, NodeId, NodeKind, Value, ValueId};
use crate::ops::Op;
use crate::ops::layout::{ChannelsLast, last};
use crate::ops::reshape::Reshape;
use crate::ops::transpose::Transpose;
use crate::settings::Settings;
use crate::types::TensorType;

/// The graph with channels last where that pays.
pub(super) fn channels_last(graph: &Graph, settings: Settings) -> Result<Graph, Error> {
    let forms = vec![[None; 2]; graph.values.len()];
    let mut readers = vec![vec![]; graph.values.len()];
    for node in &graph.nodes {
        node.inputs.iter().for_each(|input| readers[input.index()].push(node));
    }
    let mut rewrite = Rewrite { settings, graph: Graph::default(), forms, readers };
    for node in &graph.nodes {
        rewrite.node(graph, node)?;
    }
    for fetch in &graph.fetches {
        let value = rewrite.form(graph, *fetch, Order::AsTraced)?;
        rewrite.graph.fetches.push(value);
    }
    Ok(rewrite.graph)
}

/// Where the channels of a value are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Where the traced graph has them.
    AsTraced,
    /// Moved from the second axis to the last.
    Last,
}

struct Rewrite<'a> {
    settings: Settings,
    graph: Graph,
    /// For each value of the old graph its values in the new one, by order.
    forms: Vec<[Option<ValueId>; 2]>,
    /// For each value of the old graph the nodes that read it.
    readers: Vec<Vec<&'a Node>>,
}

impl Rewrite<'_> {
    fn node(&mut self, graph: &Graph, node: &Node) -> Result<(), Error> {
        let types: Vec<&TensorType> = node.inputs.iter().map(|id| graph.ty(*id)).collect();
        let there: Vec<bool> = node.inputs.iter().map(|id| self.is_last(*id)).collect();
        let beside = there.contains(&true)
            || node.outputs.iter().any(|output| self.is_wanted_last(graph, *output));
        let op = node.op().filter(|op| op.pays_channels_last(&types, beside, self.settings));
        let changed = op.and_then(|op| op.channels_last(&types, &there));
        let kind = match &changed {
            Some(ChannelsLast { op, .. }) => NodeKind::Op(op.clone()),
            None => node.kind.clone(),
        };
        let order = |last: bool| if last { Order::Last } else { Order::AsTraced };
        let mut inputs = vec![];
        for (index, value) in node.inputs.iter().enumerate() {
            let last = changed.as_ref().is_some_and(|form| form.inputs[index]);
            inputs.push(self.form(graph, *value, order(last))?);
        }
        let mut types = vec![];
        for (index, value) in node.outputs.iter().enumerate() {
            let last = changed.as_ref().is_some_and(|form| form.outputs[index]);
            types.push((*value, order(last)));
        }
        let outputs =
            types.iter().map(|(value, order)| ordered(graph.ty(*value), *order)).collect();
        let made = self.push(Node { kind, inputs, ..node.clone() }, outputs);
        for ((old, order), new) in types.into_iter().zip(made) {
            self.forms[old.index()][order as usize] = Some(new);
        }
        Ok(())
    }

    /// Whether a node that reads the value would take it with channels last.
    fn is_wanted_last(&self, graph: &Graph, value: ValueId) -> bool {
        self.readers[value.index()].iter().any(|node| {
            let types: Vec<&TensorType> = node.inputs.iter().map(|id| graph.ty(*id)).collect();
            let there: Vec<bool> =
                node.inputs.iter().map(|id| *id == value || self.is_last(*id)).collect();
            let form = node.op().and_then(|op| op.channels_last(&types, &there));
            form.is_some_and(|form| {
                node.inputs.iter().zip(form.inputs).any(|(id, last)| *id == value && last)
            })
        })
    }

    fn is_last(&self, value: ValueId) -> bool {
        self.forms[value.index()][Order::Last as usize].is_some()
    }

    /// A value in the given order, brought into it if it is there in the other only.
    fn form(&mut self, graph: &Graph, value: ValueId, order: Order) -> Result<ValueId, Error> {
        let forms = self.forms[value.index()];
        if let Some(known) = forms[order as usize] {
            return Ok(known);
        }
        let Some(other) = forms.into_iter().flatten().next() else {
            return Err(Error::Graph("a value is read before it is made".into()));
        };
        let (from, to) = (self.graph.ty(other).clone(), ordered(graph.ty(value), order));
        let origin = graph.producer(value);
        let name = ["channels_first", "channels_last"][order as usize];
        // Several outputs of a node may be turned.
        let number = match origin.outputs.iter().position(|output| *output == value) {
            None | Some(0) => String::new(),
            Some(number) => format!("_{number}"),
        };
        let node = Node {
            kind: NodeKind::Op(reordering(&from, &to, order)),
            name: format!("{}/{name}{number}", origin.name),
            origin: origin.name.clone(),
            inputs: vec![other],
            outputs: vec![],
        };
        let made = self.push(node, vec![to])[0];
        self.forms[value.index()][order as usize] = Some(made);
        Ok(made)
    }

    fn push(&mut self, node: Node, types: Vec<TensorType>) -> Vec<ValueId> {
        let producer = NodeId(self.graph.nodes.len() as u32);
        let first = self.graph.values.len() as u32;
        let outputs: Vec<ValueId> = (0..types.len() as u32).map(|i| ValueId(first + i)).collect();
        self.graph.values.extend(types.into_iter().map(|ty| Value { producer, ty }));
        self.graph.nodes.push(Node { outputs: outputs.clone(), ..node });
        outputs
    }
}

/// The type of a value in another order.
fn ordered(ty: &TensorType, order: Order) -> TensorType {
    match order {
        Order::AsTraced => ty.clone(),
        Order::Last => ty.with_shape(last(&ty.shape)),
    }
}

/// What brings a value into `order`: nothing but another shape where a pixel has one channel, or an
/// image one pixel.
fn reordering(from: &TensorType, to: &TensorType, order: Order) -> Arc<dyn Op> {
    let traced = if order == Order::Last { from } else { to };
    if traced.shape[1] == 1 || traced.shape[2..].iter().all(|size| *size == 1) {
        return Arc::new(Reshape::to(&to.shape));
    }
    let mut permutation: Vec<usize> = (0..to.rank()).collect();
    match order {
        Order::Last => permutation[1..].rotate_left(1),
        Order::AsTraced => permutation[1..].rotate_right(1),
    }
    Arc::new(Transpose::to(&permutation))
}
