//! The graph: nodes in the order they were made, and the values between them.

mod builder;
mod display;
mod verify;

use std::sync::Arc;

pub use builder::Builder;
pub use flowrs_kernels::elementwise::Number;

use crate::ops::Op;
use crate::types::TensorType;

/// A value of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

/// A node of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl ValueId {
    /// The value's number in its graph.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The value with this number; [`Graph::value`] checks it.
    pub fn from_index(index: usize) -> Self {
        Self(index as u32)
    }
}

impl NodeId {
    /// The node's number in its graph.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The content of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// The same number everywhere.
    Fill(Number),
    /// The elements' bytes, native-endian, in C order.
    Bytes(Arc<[u8]>),
}

/// Where a node's value comes from.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// The caller's array with this number.
    Input(usize),
    /// The start value of the variable with this name.
    Variable,
    /// A value known when the graph is made.
    Constant(Constant),
    /// Computed from other values.
    Op(Arc<dyn Op>),
}

/// One operation with its inputs and outputs.
#[derive(Clone, Debug)]
pub struct Node {
    /// What the node does.
    pub kind: NodeKind,
    /// Full name, unique among the nodes that the user named.
    pub name: String,
    /// The user's file and line, or the node that this one was derived from.
    pub origin: String,
    /// Values read.
    pub inputs: Vec<ValueId>,
    /// Values made.
    pub outputs: Vec<ValueId>,
}

impl Node {
    /// The operation, if the node is one.
    pub fn op(&self) -> Option<&dyn Op> {
        match &self.kind {
            NodeKind::Op(op) => Some(op.as_ref()),
            _ => None,
        }
    }

    /// The operation as a concrete type, for the patterns of passes.
    pub fn op_as<T: Op>(&self) -> Option<&T> {
        self.op().and_then(|op| (op as &dyn std::any::Any).downcast_ref())
    }

    /// Indices of the inputs that are variables which the node changes in place.
    pub fn updates(&self) -> &[usize] {
        self.op().map_or(&[], Op::updates)
    }
}

/// A value: who makes it, and its type.
#[derive(Clone, Debug)]
pub struct Value {
    /// The node that makes it.
    pub producer: NodeId,
    /// Its type.
    pub ty: TensorType,
}

/// Nodes in an order in which every value is made before it is read, and what the caller wants.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) values: Vec<Value>,
    pub(crate) fetches: Vec<ValueId>,
}

impl Graph {
    /// All nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All values, by number.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The values that the caller wants, in the caller's order.
    pub fn fetches(&self) -> &[ValueId] {
        &self.fetches
    }

    /// The value with this id, if the graph has it.
    pub fn value(&self, id: ValueId) -> Option<&Value> {
        self.values.get(id.index())
    }

    /// Type of a value of this graph.
    pub fn ty(&self, id: ValueId) -> &TensorType {
        &self.values[id.index()].ty
    }

    /// The node that makes a value of this graph.
    pub fn producer(&self, id: ValueId) -> &Node {
        &self.nodes[self.values[id.index()].producer.index()]
    }

    /// The number that fills a constant value, if it is one.
    pub fn fill_of(&self, id: ValueId) -> Option<Number> {
        match self.producer(id).kind {
            NodeKind::Constant(Constant::Fill(number)) => Some(number),
            _ => None,
        }
    }

    /// How often each value is read, fetches included.
    pub fn use_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.values.len()];
        let reads = self.nodes.iter().flat_map(|node| &node.inputs).chain(&self.fetches);
        for value in reads {
            counts[value.index()] += 1;
        }
        counts
    }
}
