//! Plans: the order of the steps, where each value lies, and the kernel of each step.

mod display;
mod memory;
mod placement;
mod schedule;

use std::fmt;

use crate::aligned::AlignedBytes;
use crate::error::Error;
use crate::graph::{Graph, Node, NodeKind, ValueId};
use crate::ops::{Lowering, with_element};
use crate::passes::{self, Note};
use crate::settings::Settings;
use crate::step::Kernel;
use crate::types::{DType, TensorType};
use placement::Placement;
use schedule::Item;

/// Where a value's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The caller's input with this number.
    Input(usize),
    /// The plan's variable with this number.
    Variable(usize),
    /// This offset in the plan's constants.
    Constant(usize),
    /// This offset in the arena.
    Arena(usize),
    /// The caller's output with this number.
    Output(usize),
}

/// A typed place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) place: Place,
    pub(crate) elements: usize,
    pub(crate) dtype: DType,
}

/// A variable that a plan uses.
#[derive(Clone, Debug)]
pub struct PlannedVariable {
    /// Full name.
    pub name: String,
    /// Its type.
    pub ty: TensorType,
    /// Whether a run changes it.
    pub updated: bool,
}

/// One step: a kernel and its memory.
pub(crate) struct PlannedStep {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) kernel: Kernel,
    pub(crate) inputs: Vec<Slot>,
    pub(crate) outputs: Vec<Slot>,
    pub(crate) scratch: Option<Slot>,
    pub(crate) updates: &'static [usize],
}

impl fmt::Debug for PlannedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedStep").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What runs: made once for a graph with concrete shapes.
#[derive(Debug)]
pub struct Plan {
    pub(crate) inputs: Vec<TensorType>,
    pub(crate) variables: Vec<PlannedVariable>,
    pub(crate) outputs: Vec<TensorType>,
    pub(crate) steps: Vec<PlannedStep>,
    pub(crate) constants: AlignedBytes,
    pub(crate) arena_bytes: usize,
    pub(crate) live_bytes: usize,
    pub(crate) notes: Vec<Note>,
}

impl Plan {
    /// Plans a graph: runs the passes, orders the nodes, lays out the memory, chooses the kernels.
    pub fn new(graph: &Graph, settings: Settings) -> Result<Self, Error> {
        let (graph, notes) = passes::run(graph, settings)?;
        let order = schedule::order(&graph)?;
        let placement = Placement::new(&graph, &order, settings)?;
        let mut plan = Self {
            inputs: input_types(&graph),
            variables: placement.variables.clone(),
            outputs: graph.fetches().iter().map(|value| graph.ty(*value).clone()).collect(),
            steps: vec![],
            constants: placement::fill_constants(&graph, &placement)?,
            arena_bytes: placement.arena_bytes,
            live_bytes: placement.live_bytes,
            notes,
        };
        for item in &order {
            plan.steps.extend(match *item {
                Item::Node(index) => node_step(&graph, &placement, index, settings)?,
                Item::Fetch(number) => fetch_step(&graph, &placement, number),
            });
        }
        Ok(plan)
    }

    /// Types of the caller's arrays, in order.
    pub fn inputs(&self) -> &[TensorType] {
        &self.inputs
    }

    /// The variables that a run needs, sorted by name.
    pub fn variables(&self) -> &[PlannedVariable] {
        &self.variables
    }

    /// Types of the fetched values, in order.
    pub fn outputs(&self) -> &[TensorType] {
        &self.outputs
    }

    /// Bytes of the memory that all intermediate values share.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// The most bytes of intermediate values that are needed at one time: the lower bound of the
    /// arena's size.
    pub fn live_bytes(&self) -> usize {
        self.live_bytes
    }
}

fn input_types(graph: &Graph) -> Vec<TensorType> {
    let is_input = |kind: &NodeKind| matches!(kind, NodeKind::Input(_));
    let inputs = graph.nodes().iter().filter(|node| is_input(&node.kind));
    inputs.map(|node| graph.ty(node.outputs[0]).clone()).collect()
}

fn node_step(
    graph: &Graph,
    placement: &Placement,
    index: usize,
    settings: Settings,
) -> Result<Option<PlannedStep>, Error> {
    let node = &graph.nodes()[index];
    let NodeKind::Op(op) = &node.kind else { return Ok(None) };
    if op.is_view() {
        return Ok(None);
    }
    let in_place = placement.in_place[index];
    let lowering = Lowering { in_place, ..lowering(graph, node, settings) };
    let kernel = op.lower(&lowering).map_err(|error| error.within(&node.name))?;
    let slot = |value: &ValueId| placement.slot(graph, *value);
    let mut description = match op.attributes() {
        attributes if attributes.is_empty() => op.name().to_owned(),
        attributes => format!("{}[{attributes}]", op.name()),
    };
    match op.algorithm(&lowering)? {
        "" => {}
        algorithm => description += &format!(" by {algorithm}"),
    }
    Ok(Some(PlannedStep {
        name: node.name.clone(),
        description,
        kernel,
        inputs: node.inputs.iter().map(slot).collect(),
        outputs: node.outputs.iter().map(slot).collect(),
        scratch: placement.scratch[index],
        updates: op.updates(),
    }))
}

/// What a node's operation may look at before the memory is laid out.
fn lowering<'a>(graph: &'a Graph, node: &Node, settings: Settings) -> Lowering<'a> {
    Lowering {
        inputs: node.inputs.iter().map(|value| graph.ty(*value)).collect(),
        outputs: node.outputs.iter().map(|value| graph.ty(*value)).collect(),
        in_place: None,
        settings,
    }
}

/// Copies a fetched value to the caller, unless it is computed right there.
fn fetch_step(graph: &Graph, placement: &Placement, number: usize) -> Option<PlannedStep> {
    let value = graph.fetches()[number];
    let source = placement.slot(graph, value);
    if source.place == Place::Output(number) {
        return None;
    }
    let output = Slot { place: Place::Output(number), ..source };
    let kernel: Kernel = with_element!(source.dtype, T => Box::new(|step| {
        step.output::<T>(0).copy_from_slice(step.input::<T>(0));
        Ok(())
    }));
    Some(PlannedStep {
        name: graph.producer(value).name.clone(),
        description: "fetch".to_owned(),
        kernel,
        inputs: vec![source],
        outputs: vec![output],
        scratch: None,
        updates: &[],
    })
}
