//! Adding nodes to a graph.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Constant, Graph, Node, NodeId, NodeKind, Number, Value, ValueId};
use crate::error::Error;
use crate::ops::elementwise::{Draft, add_program, assemble};
use crate::ops::{self, Op};
use crate::types::{TensorType, broadcast_shapes};

/// Builds a [`Graph`] node by node and checks each node as it comes.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    graph: Graph,
    names: HashMap<String, usize>,
    variables: HashMap<String, ValueId>,
    inputs: usize,
    origin: String,
}

impl Builder {
    /// A builder that goes on with an existing graph.
    pub fn from_graph(graph: Graph) -> Self {
        let mut builder = Self::default();
        for (index, node) in graph.nodes.iter().enumerate() {
            builder.names.insert(node.name.clone(), index);
            match node.kind {
                NodeKind::Input(_) => builder.inputs += 1,
                NodeKind::Variable => {
                    builder.variables.insert(node.name.clone(), node.outputs[0]);
                }
                _ => {}
            }
        }
        builder.graph = graph;
        builder
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Ends building.
    pub fn finish(self) -> Graph {
        self.graph
    }

    /// Sets what the following nodes name as their origin.
    pub fn set_origin(&mut self, origin: impl Into<String>) {
        self.origin = origin.into();
    }

    /// Type of a value.
    pub fn ty(&self, id: ValueId) -> &TensorType {
        self.graph.ty(id)
    }

    /// Adds the caller's next array.
    pub fn input(&mut self, name: &str, ty: TensorType) -> Result<ValueId, Error> {
        let kind = NodeKind::Input(self.inputs);
        let value = self.push(kind, name, vec![], vec![ty])?[0];
        self.inputs += 1;
        Ok(value)
    }

    /// Adds a variable, or gives the one that is there under this name.
    pub fn variable(&mut self, name: &str, ty: TensorType) -> Result<ValueId, Error> {
        if let Some(&value) = self.variables.get(name) {
            let known = self.ty(value);
            if *known != ty {
                return Err(Error::Variable(format!(
                    "variable {name} is {known} in this job and cannot also be {ty}"
                )));
            }
            return Ok(value);
        }
        let value = self.push(NodeKind::Variable, name, vec![], vec![ty])?[0];
        self.variables.insert(name.to_owned(), value);
        Ok(value)
    }

    /// Adds a constant from its bytes.
    pub fn constant(
        &mut self,
        name: &str,
        ty: TensorType,
        content: Constant,
    ) -> Result<ValueId, Error> {
        if let Constant::Bytes(bytes) = &content
            && bytes.len() != ty.bytes()
        {
            let (found, wanted) = (bytes.len(), ty.bytes());
            return Err(Error::Shape(format!("constant: {ty} needs {wanted} bytes, not {found}")));
        }
        let kind = NodeKind::Constant(content);
        Ok(self.push(kind, name, vec![], vec![ty])?[0])
    }

    /// Adds a constant that holds one number everywhere.
    pub fn fill(&mut self, ty: TensorType, number: f64) -> Result<ValueId, Error> {
        let number = if ty.dtype.is_float() {
            Number::Float(number)
        } else {
            Number::Integer(number as i64)
        };
        let name = self.derived_name("constant");
        self.constant(&name, ty, Constant::Fill(number))
    }

    /// Adds an operation under a name of the user's.
    pub fn add(
        &mut self,
        op: Arc<dyn Op>,
        inputs: &[ValueId],
        name: &str,
    ) -> Result<Vec<ValueId>, Error> {
        let prefix =
            if name.is_empty() { op.name().to_owned() } else { format!("{} ({name})", op.name()) };
        if inputs.iter().any(|id| self.graph.value(*id).is_none()) {
            return Err(Error::Graph(format!("{prefix}: an input is not of this graph")));
        }
        let types: Vec<&TensorType> = inputs.iter().map(|id| self.ty(*id)).collect();
        let outputs = op.infer(&types).map_err(|error| error.within(&prefix))?;
        for &index in op.updates() {
            if !matches!(self.graph.producer(inputs[index]).kind, NodeKind::Variable) {
                return Err(Error::Graph(format!("{prefix}: only a variable can be updated")));
            }
        }
        self.push(NodeKind::Op(op), name, inputs.to_vec(), outputs)
    }

    /// Adds an operation with one output under a derived name.
    pub fn derive(&mut self, op: impl Op, inputs: &[ValueId]) -> Result<ValueId, Error> {
        Ok(self.derive_all(op, inputs)?[0])
    }

    /// Adds an operation under a derived name.
    pub fn derive_all(&mut self, op: impl Op, inputs: &[ValueId]) -> Result<Vec<ValueId>, Error> {
        let name = self.derived_name(op.name());
        self.add(Arc::new(op), inputs, &name)
    }

    /// Marks a value as one that the caller wants, and returns its number among the fetches.
    pub fn fetch(&mut self, value: ValueId) -> Result<usize, Error> {
        if self.graph.value(value).is_none() {
            return Err(Error::Graph("fetch: the value is not of this graph".into()));
        }
        self.graph.fetches.push(value);
        Ok(self.graph.fetches.len() - 1)
    }

    /// A row of the elementwise table applied to values.
    pub fn elementwise(&mut self, name: &str, inputs: &[ValueId]) -> Result<ValueId, Error> {
        let op = ops::elementwise::Elementwise::named(name)?;
        self.derive(op, inputs)
    }

    /// A formula of values, computed in one pass over memory.
    pub(crate) fn formula(
        &mut self,
        name: &'static str,
        inputs: &[ValueId],
        write: impl FnOnce(&Draft) -> u16,
    ) -> Result<ValueId, Error> {
        let assembly = assemble(inputs.len(), write);
        let read: Vec<ValueId> = assembly.operands.iter().map(|&index| inputs[index]).collect();
        add_program(self, name, &read, assembly.instructions, false)
    }

    /// `value` times a number.
    pub fn scale(&mut self, value: ValueId, factor: f64) -> Result<ValueId, Error> {
        let number = self.fill(self.ty(value).with_shape([1]), factor)?;
        self.elementwise("multiply", &[value, number])
    }

    /// `value` with another shape of the same size.
    pub fn reshape(&mut self, value: ValueId, shape: &[usize]) -> Result<ValueId, Error> {
        if self.ty(value).shape == shape {
            return Ok(value);
        }
        self.derive(ops::reshape::Reshape::to(shape), &[value])
    }

    /// `value` repeated along the axes where NumPy's rule lets it be.
    pub fn broadcast_to(&mut self, value: ValueId, shape: &[usize]) -> Result<ValueId, Error> {
        if self.ty(value).shape == shape {
            return Ok(value);
        }
        self.derive(ops::broadcast::BroadcastTo::to(shape), &[value])
    }

    /// Sums `value` over the axes along which an array of `shape` was repeated to make it: the
    /// gradient of broadcasting.
    pub fn sum_to(&mut self, value: ValueId, shape: &[usize]) -> Result<ValueId, Error> {
        let from = self.ty(value).shape.clone();
        if from == shape {
            return Ok(value);
        }
        debug_assert_eq!(broadcast_shapes(&from, shape).as_deref(), Some(from.as_slice()));
        let missing = from.len() - shape.len();
        let repeated = |axis: usize| axis < missing || shape[axis - missing] != from[axis];
        let axes: Vec<usize> = (0..from.len()).filter(|axis| repeated(*axis)).collect();
        let sum = self.derive(ops::reduce::Reduce::sum(&axes), &[value])?;
        self.reshape(sum, shape)
    }

    fn derived_name(&mut self, base: &str) -> String {
        let origin = self.origin.as_str();
        let stem = if origin.is_empty() { base.to_owned() } else { format!("{origin}/{base}") };
        let mut name = stem.clone();
        let mut count = 0;
        while self.names.contains_key(&name) {
            count += 1;
            name = format!("{stem}_{count}");
        }
        name
    }

    fn push(
        &mut self,
        kind: NodeKind,
        name: &str,
        inputs: Vec<ValueId>,
        outputs: Vec<TensorType>,
    ) -> Result<Vec<ValueId>, Error> {
        for ty in &outputs {
            let bytes = ty
                .shape
                .iter()
                .try_fold(ty.dtype.size(), |bytes, &extent| bytes.checked_mul(extent));
            if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
                return Err(Error::Shape(format!("{name}: {ty} does not fit into memory")));
            }
        }
        if self.names.insert(name.to_owned(), self.graph.nodes.len()).is_some() {
            return Err(Error::Graph(format!(
                "there is already something named {name} in this job: give one of the two \
                 another name"
            )));
        }
        let producer = NodeId(self.graph.nodes.len() as u32);
        let first = self.graph.values.len() as u32;
        let ids: Vec<ValueId> = (0..outputs.len() as u32).map(|i| ValueId(first + i)).collect();
        self.graph.values.extend(outputs.into_iter().map(|ty| Value { producer, ty }));
        self.graph.nodes.push(Node {
            kind,
            name: name.to_owned(),
            origin: self.origin.clone(),
            inputs,
            outputs: ids.clone(),
        });
        Ok(ids)
    }
}
