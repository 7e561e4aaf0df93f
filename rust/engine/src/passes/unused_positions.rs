//! Max pools without the positions that nobody reads, as in jobs that do not train.

use std::sync::Arc;

use super::Outcome;
use crate::graph::{Graph, NodeKind};
use crate::ops::pooling::MaxPool;

/// `max_pool(x)` whose positions are not used.
pub(super) fn apply(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    let Some(pool) = node.op_as::<MaxPool>().filter(|pool| pool.positions) else {
        return Outcome::NoMatch;
    };
    if uses[node.outputs[1].index()] != 0 {
        return Outcome::NoMatch;
    }
    let pool = pool.without_positions();
    let node = &mut graph.nodes[index];
    node.kind = NodeKind::Op(Arc::new(pool));
    node.outputs.truncate(1);
    Outcome::Fused
}
