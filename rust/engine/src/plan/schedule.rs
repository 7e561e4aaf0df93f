//! The order of the steps.
//!
//! Nodes keep the order in which they were made. A fetch is taken as soon as its value is there. An
//! update is made as soon as its gradient is there, but not before every reader of the variable's
//! start value has run, nor before the commit point: the last step that can fail. So a run that
//! fails has changed nothing.

use crate::error::Error;
use crate::graph::{Graph, Node, ValueId};
use crate::passes::root_of;

/// One entry of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// The node with this number.
    Node(usize),
    /// The fetch with this number.
    Fetch(usize),
}

struct Scheduler<'a> {
    graph: &'a Graph,
    roots: Vec<ValueId>,
    /// For each value, how many unscheduled readers its memory has, updates left out.
    readers: Vec<usize>,
    made: Vec<bool>,
    can_fail: usize,
    waiting: Vec<usize>,
    order: Vec<Item>,
}

/// Orders the nodes and fetches of a graph.
pub(crate) fn order(graph: &Graph) -> Result<Vec<Item>, Error> {
    let mut scheduler = Scheduler::new(graph);
    for (index, node) in graph.nodes().iter().enumerate() {
        if node.updates().is_empty() {
            scheduler.take(index);
            scheduler.take_ready_updates();
        }
    }
    match scheduler.waiting.first() {
        None => Ok(scheduler.order),
        Some(&index) => {
            let name = &graph.nodes()[index].name;
            Err(Error::Graph(format!("the update {name} can never run")))
        }
    }
}

impl<'a> Scheduler<'a> {
    fn new(graph: &'a Graph) -> Self {
        let values = graph.values().len();
        let roots: Vec<ValueId> =
            (0..values).map(|i| root_of(graph, ValueId::from_index(i))).collect();
        let mut readers = vec![0; values];
        let plain = |node: &&Node| node.updates().is_empty();
        for node in graph.nodes().iter().filter(plain) {
            for value in &node.inputs {
                readers[roots[value.index()].index()] += 1;
            }
        }
        for value in graph.fetches() {
            readers[roots[value.index()].index()] += 1;
        }
        // An update reads too: the variables of other updates must not change before it.
        for node in graph.nodes().iter().filter(|node| !plain(node)) {
            for value in plain_inputs(node) {
                readers[roots[value.index()].index()] += 1;
            }
        }
        let can_fail =
            graph.nodes().iter().filter(|node| node.op().is_some_and(|op| op.can_fail())).count();
        let updates = |index: &usize| !graph.nodes()[*index].updates().is_empty();
        let waiting = (0..graph.nodes().len()).filter(updates).collect();
        // Inputs, variables and constants are there from the beginning, wherever they were added: a
        // slot of an optimizer comes after all gradients.
        let mut made = vec![false; values];
        for node in graph.nodes().iter().filter(|node| node.op().is_none()) {
            node.outputs.iter().for_each(|value| made[value.index()] = true);
        }
        let order = vec![];
        Self { graph, roots, readers, made, can_fail, waiting, order }
    }

    fn take_ready_updates(&mut self) {
        while let Some(position) = self.waiting.iter().position(|&index| self.ready(index)) {
            let index = self.waiting.remove(position);
            self.take(index);
        }
    }

    fn take(&mut self, index: usize) {
        let graph = self.graph;
        let node = &graph.nodes()[index];
        self.order.push(Item::Node(index));
        for value in plain_inputs(node) {
            self.readers[self.roots[value.index()].index()] -= 1;
        }
        for value in &node.outputs {
            self.made[value.index()] = true;
            for (number, _) in graph.fetches().iter().enumerate().filter(|(_, f)| *f == value) {
                self.order.push(Item::Fetch(number));
                self.readers[self.roots[value.index()].index()] -= 1;
            }
        }
        if node.op().is_some_and(|op| op.can_fail()) {
            self.can_fail -= 1;
        }
    }

    fn ready(&self, index: usize) -> bool {
        let node = &self.graph.nodes()[index];
        let unread = |input: &usize| self.readers[node.inputs[*input].index()] == 0;
        self.can_fail == 0
            && node.inputs.iter().all(|value| self.made[value.index()])
            && node.updates().iter().all(unread)
    }
}

/// The inputs of a node that it does not update.
fn plain_inputs(node: &Node) -> impl Iterator<Item = &ValueId> {
    let updates = node.updates();
    let plain = move |(index, _): &(usize, &ValueId)| !updates.contains(index);
    node.inputs.iter().enumerate().filter(plain).map(|(_, value)| value)
}
