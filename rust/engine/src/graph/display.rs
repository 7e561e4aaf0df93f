//! The graph as short, stable text.

use std::fmt;

use super::{Constant, Graph, Node, NodeKind, ValueId};

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(index) => write!(f, "input {index}"),
            Self::Variable => write!(f, "variable"),
            Self::Constant(Constant::Fill(number)) => write!(f, "constant {number}"),
            Self::Constant(Constant::Bytes(_)) => write!(f, "constant"),
            Self::Op(op) => write!(f, "{}", op.name()),
        }
    }
}

impl Graph {
    fn write_node(&self, f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
        let results: Vec<String> =
            node.outputs.iter().map(|id| format!("{id}: {}", self.ty(*id))).collect();
        if !results.is_empty() {
            write!(f, "{} = ", results.join(", "))?;
        }
        write!(f, "{}", node.kind)?;
        if let Some(op) = node.op() {
            let attributes = op.attributes();
            if !attributes.is_empty() {
                write!(f, "[{attributes}]")?;
            }
            let inputs: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
            write!(f, "({})", inputs.join(", "))?;
        }
        writeln!(f, "  # {}", node.name)
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            self.write_node(f, node)?;
        }
        let fetches: Vec<String> = self.fetches.iter().map(ToString::to_string).collect();
        writeln!(f, "fetch {}", fetches.join(", "))
    }
}
