//! What must be true of every graph, checked after every pass in debug builds and tests.

use super::{Graph, NodeKind};
use crate::error::Error;
use crate::types::TensorType;

impl Graph {
    /// Checks that values are made before they are read, that their types are what the operations
    /// say, and that only variables are updated, each of them once.
    pub fn verify(&self) -> Result<(), Error> {
        let mut made = vec![false; self.values.len()];
        let mut updated = vec![false; self.values.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            let wrong = |what: &str| Err(Error::Graph(format!("node {}: {what}", node.name)));
            if node.inputs.iter().any(|id| !made.get(id.index()).copied().unwrap_or(false)) {
                return wrong("an input is read before it is made");
            }
            for id in &node.outputs {
                if std::mem::replace(&mut made[id.index()], true) {
                    return wrong("an output is made twice");
                }
                if self.values[id.index()].producer.index() != index {
                    return wrong("an output names another producer");
                }
            }
            let NodeKind::Op(op) = &node.kind else { continue };
            let types: Vec<&TensorType> = node.inputs.iter().map(|id| self.ty(*id)).collect();
            let outputs = op.infer(&types).map_err(|error| error.within(&node.name))?;
            if !outputs.iter().eq(node.outputs.iter().map(|id| self.ty(*id))) {
                return wrong("its outputs are not of the inferred types");
            }
            for &input in op.updates() {
                let variable = node.inputs[input];
                if !matches!(self.producer(variable).kind, NodeKind::Variable) {
                    return wrong("it updates something that is no variable");
                }
                if std::mem::replace(&mut updated[variable.index()], true) {
                    return wrong("it updates a variable that another node updates too");
                }
            }
        }
        match self.fetches.iter().all(|id| made.get(id.index()).copied().unwrap_or(false)) {
            true => Ok(()),
            false => Err(Error::Graph("a fetched value is not made".into())),
        }
    }
}
