//! Passes: each makes a new graph from a graph; nodes keep the names of those they came from.

mod chain;
mod dead;
mod fuse_convolution;
mod fuse_matmul;
mod fuse_pool;
mod fuse_update;
mod layout;
mod loss_gradient;
mod pool_gradient;
mod simplify;
mod unused_positions;

use std::fmt;

use flowrs_kernels::convolution::Algorithm;

use crate::error::Error;
use crate::graph::{Graph, Node, NodeKind, ValueId};
use crate::settings::Settings;

/// What a rule says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The pattern is not there.
    NoMatch,
    /// The node now does the work of the whole pattern.
    Fused,
    /// The pattern is there, but the fusion would be wrong.
    Declined(&'static str),
}

/// A fusion that was made, or that was not, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    rule: &'static str,
    node: String,
    declined: Option<&'static str>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.declined {
            None => write!(f, "{}: {}", self.rule, self.node),
            Some(reason) => write!(f, "{} left {} alone: {reason}", self.rule, self.node),
        }
    }
}

/// A fusion: looks at one node and may rewrite it to do the work of earlier nodes too.
struct Rule {
    name: &'static str,
    apply: Apply,
}

/// What a rule does, given how often each value is used.
enum Apply {
    /// Whatever the settings are.
    Always(fn(&mut Graph, usize, &[usize]) -> Outcome),
    /// As far as the kernels that the settings lead to can do it.
    By(fn(&mut Graph, usize, &[usize], &Settings) -> Outcome),
}

/// The fusions, in the order in which they are tried.
static RULES: &[Rule] = &[
    Rule { name: "product by 1", apply: Apply::Always(simplify::product_by_one) },
    Rule { name: "repeats within an operation", apply: Apply::Always(simplify::repeats) },
    Rule { name: "pool without positions", apply: Apply::Always(unused_positions::apply) },
    Rule { name: "bias into matmul", apply: Apply::Always(fuse_matmul::bias) },
    Rule { name: "relu into matmul", apply: Apply::Always(fuse_matmul::relu) },
    Rule { name: "relu gradient into matmul", apply: Apply::Always(fuse_matmul::relu_gradient) },
    Rule { name: "bias into convolution", apply: Apply::Always(fuse_convolution::bias) },
    Rule { name: "relu into convolution", apply: Apply::Always(fuse_convolution::relu) },
    Rule { name: "relu gradient before pool gradient", apply: Apply::Always(pool_gradient::relu) },
    Rule { name: "sum before pool gradient", apply: Apply::Always(pool_gradient::sum) },
    Rule { name: "scale into update", apply: Apply::Always(fuse_update::scale) },
    Rule { name: "matmul into update", apply: Apply::Always(fuse_update::matmul) },
    Rule { name: "loss with its gradient", apply: Apply::Always(loss_gradient::apply) },
    Rule { name: "elementwise chain", apply: Apply::Always(chain::apply) },
];

/// The fusions of values with channels last.
static RULES_BY_LAYOUT: &[Rule] = &[
    Rule { name: "pool into convolution", apply: Apply::By(fuse_pool::pool) },
    Rule { name: "pool gradient into convolution", apply: Apply::By(fuse_pool::gradient) },
];

/// Runs all passes.
pub fn run(graph: &Graph, settings: Settings) -> Result<(Graph, Vec<Note>), Error> {
    let mut graph = dead::remove(graph);
    let mut notes = vec![];
    if settings.fuse {
        graph = apply_all(RULES, graph, &settings, &mut notes)?;
        // im2col reads and writes the one order that the user has.
        if settings.convolution != [Algorithm::Im2col] {
            graph = dead::remove(&layout::channels_last(&graph, settings)?);
            if cfg!(debug_assertions) {
                graph.verify().map_err(|error| error.within("channels last"))?;
            }
            graph = apply_all(RULES_BY_LAYOUT, graph, &settings, &mut notes)?;
        }
    }
    Ok((graph, notes))
}

fn apply_all(
    rules: &[Rule],
    mut graph: Graph,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<Graph, Error> {
    for rule in rules {
        graph = apply(rule, graph, settings, notes);
        if cfg!(debug_assertions) {
            graph.verify().map_err(|error| error.within(rule.name))?;
        }
    }
    Ok(graph)
}

fn apply(rule: &Rule, mut graph: Graph, settings: &Settings, notes: &mut Vec<Note>) -> Graph {
    let mut uses = graph.use_counts();
    let mut index = 0;
    while index < graph.nodes.len() {
        let outcome = match rule.apply {
            Apply::Always(apply) => apply(&mut graph, index, &uses),
            Apply::By(apply) => apply(&mut graph, index, &uses, settings),
        };
        let mut note = |declined| {
            let note = Note { rule: rule.name, node: graph.nodes[index].name.clone(), declined };
            if notes.last() != Some(&note) {
                notes.push(note);
            }
        };
        match outcome {
            Outcome::NoMatch => {}
            Outcome::Declined(reason) => note(Some(reason)),
            Outcome::Fused => {
                note(None);
                uses = graph.use_counts();
                // The node may do the work of more than one other.
                continue;
            }
        }
        index += 1;
    }
    dead::remove(&graph)
}

/// The value whose memory a value has: itself, or what it is a view of.
pub(crate) fn root_of(graph: &Graph, mut value: ValueId) -> ValueId {
    loop {
        let node = graph.producer(value);
        match &node.kind {
            NodeKind::Op(op) if op.is_view() => value = node.inputs[0],
            _ => return value,
        }
    }
}

/// True where a value is the memory of a variable that some update changes. An update that reads
/// such a value has to come before that other one; two could wait for each other.
pub(crate) fn is_updated(graph: &Graph, value: ValueId) -> bool {
    let root = root_of(graph, value);
    let changes =
        |node: &Node| node.updates().iter().any(|&variable| node.inputs[variable] == root);
    graph.nodes.iter().any(changes)
}
