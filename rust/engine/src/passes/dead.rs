//! Removal of nodes that nobody needs.

use crate::graph::{Graph, Node, NodeId, NodeKind, Value, ValueId};

/// Keeps the caller's inputs, updates, and what they and the fetches need.
pub(crate) fn remove(graph: &Graph) -> Graph {
    let mut needed = vec![false; graph.values.len()];
    for value in &graph.fetches {
        needed[value.index()] = true;
    }
    let mut keep = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        keep[index] = matches!(node.kind, NodeKind::Input(_))
            || !node.updates().is_empty()
            || node.outputs.iter().any(|value| needed[value.index()]);
        if keep[index] {
            for value in &node.inputs {
                needed[value.index()] = true;
            }
        }
    }
    renumber(graph, &keep)
}

fn renumber(graph: &Graph, keep: &[bool]) -> Graph {
    let mut result = Graph::default();
    let mut new_id = vec![None; graph.values.len()];
    for (node, _) in graph.nodes.iter().zip(keep).filter(|(_, keep)| **keep) {
        let producer = NodeId(result.nodes.len() as u32);
        let outputs: Vec<ValueId> = node
            .outputs
            .iter()
            .map(|old| {
                let id = ValueId(result.values.len() as u32);
                result.values.push(Value { producer, ty: graph.ty(*old).clone() });
                new_id[old.index()] = Some(id);
                id
            })
            .collect();
        // A kept node's inputs are needed, so their producers, which come earlier, were kept too.
        let inputs = node.inputs.iter().filter_map(|old| new_id[old.index()]).collect();
        result.nodes.push(Node { inputs, outputs, ..node.clone() });
    }
    result.fetches = graph.fetches.iter().filter_map(|old| new_id[old.index()]).collect();
    result
}
