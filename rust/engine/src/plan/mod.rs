//! Plans: the order of the steps, where each value lies, and the kernel of each step.

mod display;
mod memory;
mod placement;
mod schedule;
mod together;

use std::fmt;
use std::ops::Range;

use crate::aligned::AlignedBytes;
use crate::error::Error;
use crate::graph::{Graph, Node, NodeKind, ValueId};
use crate::ops::{Lowering, with_element};
use crate::passes::{self, Note};
use crate::settings::{Settings, SideBySide};
use crate::step::Kernel;
use crate::types::{DType, TensorType};
use placement::Placement;
use schedule::Item;

pub(crate) use together::Group;

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

impl Slot {
    fn bytes(&self) -> usize {
        self.elements * self.dtype.size()
    }
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
    pub(crate) slots: Slots,
}

/// The memory of a step.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    pub(crate) inputs: Vec<Slot>,
    pub(crate) outputs: Vec<Slot>,
    pub(crate) scratch: Option<Slot>,
    /// The inputs that are changed in place.
    pub(crate) updates: &'static [usize],
}

impl Slots {
    /// What the step writes.
    fn written(&self) -> impl Iterator<Item = &Slot> {
        let updated = self.updates.iter().map(|index| &self.inputs[*index]);
        self.outputs.iter().chain(&self.scratch).chain(updated)
    }

    /// What the step reads or writes.
    pub(crate) fn used(&self) -> impl Iterator<Item = &Slot> {
        self.inputs.iter().chain(&self.outputs).chain(&self.scratch)
    }
}

/// Steps that follow one another.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// One after the other.
    InTurn(Range<usize>),
    /// Side by side, from this step on.
    Together(usize, Group),
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
    pub(crate) stages: Vec<Stage>,
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
        let (placement, together) = place(&graph, &order, settings)?;
        let mut plan = Self {
            inputs: input_types(&graph),
            variables: placement.variables.clone(),
            outputs: graph.fetches().iter().map(|value| graph.ty(*value).clone()).collect(),
            steps: vec![],
            stages: vec![],
            constants: placement::fill_constants(&graph, &placement)?,
            arena_bytes: placement.arena_bytes,
            live_bytes: placement.live_bytes,
            notes,
        };
        let mut together = together.iter().peekable();
        for (position, item) in order.iter().enumerate() {
            if let Some(part) = together.next_if(|part| part.start == position) {
                plan.end_turn();
                let group = together::group(&graph, &order, &placement, part, settings);
                plan.stages.extend(group.map(|group| Stage::Together(plan.steps.len(), group)));
            }
            if let Some(slots) = slots(&graph, &placement, *item) {
                plan.steps.push(planned_step(&graph, &placement, *item, slots, settings)?);
            }
        }
        plan.end_turn();
        Ok(plan)
    }

    /// Lets the steps that are in no stage yet run one after the other.
    fn end_turn(&mut self) {
        let start = match self.stages.last() {
            None => 0,
            Some(Stage::InTurn(steps)) => steps.end,
            Some(Stage::Together(first, group)) => first + group.needs.len(),
        };
        if start < self.steps.len() {
            self.stages.push(Stage::InTurn(start..self.steps.len()));
        }
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

/// Lays out the memory, and says in which parts of the order steps run side by side.
fn place(
    graph: &Graph,
    order: &[Item],
    settings: Settings,
) -> Result<(Placement, Vec<Range<usize>>), Error> {
    let mut together = match settings.side_by_side {
        SideBySide::Never => vec![],
        SideBySide::WhereItPays | SideBySide::Always => {
            together::small_steps(graph, order, settings)
        }
    };
    let placement = Placement::new(graph, order, &together, settings)?;
    let candidates = together.len();
    together.retain(|part| together::group(graph, order, &placement, part, settings).is_some());
    match together.len() == candidates {
        true => Ok((placement, together)),
        // Where steps run in turn after all, they share memory.
        false => Ok((Placement::new(graph, order, &together, settings)?, together)),
    }
}

/// The memory of the step that computes a node or copies a fetched value to the caller; none for what is
/// there already.
fn slots(graph: &Graph, placement: &Placement, item: Item) -> Option<Slots> {
    let slot = |value: &ValueId| placement.slot(graph, *value);
    match item {
        Item::Node(index) => {
            let node = &graph.nodes()[index];
            let op = node.op().filter(|op| !op.is_view())?;
            Some(Slots {
                inputs: node.inputs.iter().map(slot).collect(),
                outputs: node.outputs.iter().map(slot).collect(),
                scratch: placement.scratch[index],
                updates: op.updates(),
            })
        }
        Item::Fetch(number) => {
            let source = slot(&graph.fetches()[number]);
            let output = Slot { place: Place::Output(number), ..source };
            let (inputs, outputs) = (vec![source], vec![output]);
            let there = source.place == output.place;
            (!there).then_some(Slots { inputs, outputs, scratch: None, updates: &[] })
        }
    }
}

fn planned_step(
    graph: &Graph,
    placement: &Placement,
    item: Item,
    slots: Slots,
    settings: Settings,
) -> Result<PlannedStep, Error> {
    match item {
        Item::Node(index) => node_step(graph, placement, index, slots, settings),
        Item::Fetch(number) => Ok(fetch_step(graph, number, slots)),
    }
}

fn node_step(
    graph: &Graph,
    placement: &Placement,
    index: usize,
    slots: Slots,
    settings: Settings,
) -> Result<PlannedStep, Error> {
    let node = &graph.nodes()[index];
    let NodeKind::Op(op) = &node.kind else { unreachable!("only operations have steps") };
    let in_place = placement.in_place[index];
    let lowering = Lowering { in_place, ..lowering(graph, node, settings) };
    let kernel = op.lower(&lowering).map_err(|error| error.within(&node.name))?;
    let mut description = match op.attributes() {
        attributes if attributes.is_empty() => op.name().to_owned(),
        attributes => format!("{}[{attributes}]", op.name()),
    };
    match op.algorithm(&lowering)? {
        "" => {}
        algorithm => description += &format!(" by {algorithm}"),
    }
    Ok(PlannedStep { name: node.name.clone(), description, kernel, slots })
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

/// Copies a fetched value to the caller.
fn fetch_step(graph: &Graph, number: usize, slots: Slots) -> PlannedStep {
    let kernel: Kernel = with_element!(slots.inputs[0].dtype, T => Box::new(|step| {
        step.output::<T>(0).copy_from_slice(step.input::<T>(0));
        Ok(())
    }));
    let name = graph.producer(graph.fetches()[number]).name.clone();
    PlannedStep { name, description: "fetch".to_owned(), kernel, slots }
}
