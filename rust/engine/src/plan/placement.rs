//! Where each value of a graph lies.

use std::collections::BTreeMap;
use std::ops::Range;

use super::memory::{self, Block};
use super::schedule::Item;
use super::{Place, PlannedVariable, Slot, lowering};
use crate::aligned::{ALIGNMENT, AlignedBytes};
use crate::error::Error;
use crate::graph::{Constant, Graph, NodeKind, Number, ValueId};
use crate::passes::root_of;
use crate::settings::Settings;
use crate::types::DType;

/// The layout of a plan's memory.
pub(crate) struct Placement {
    /// For each value, the value whose memory it has.
    roots: Vec<ValueId>,
    /// For each root, where it lies.
    places: Vec<Option<Place>>,
    /// For each node, the input whose memory its first output takes over.
    pub(crate) in_place: Vec<Option<usize>>,
    /// For each node, its kernel's working memory.
    pub(crate) scratch: Vec<Option<Slot>>,
    pub(crate) variables: Vec<PlannedVariable>,
    pub(crate) arena_bytes: usize,
    /// The most of it that is in use at one time.
    pub(crate) live_bytes: usize,
    constant_bytes: usize,
}

impl Placement {
    /// Lays out the memory. Memory that is used in one of the parts `together` of the order is given to
    /// another value only after its end.
    pub(crate) fn new(
        graph: &Graph,
        order: &[Item],
        together: &[Range<usize>],
        settings: Settings,
    ) -> Result<Self, Error> {
        let values = graph.values().len();
        let mut placement = Self {
            roots: (0..values).map(|i| root_of(graph, ValueId::from_index(i))).collect(),
            places: vec![None; values],
            in_place: vec![None; graph.nodes().len()],
            scratch: vec![None; graph.nodes().len()],
            variables: vec![],
            arena_bytes: 0,
            live_bytes: 0,
            constant_bytes: 0,
        };
        placement.place_sources(graph);
        placement.place_fetches(graph);
        placement.place_arena(graph, order, together, settings)?;
        Ok(placement)
    }

    /// The typed place of a value.
    pub(crate) fn slot(&self, graph: &Graph, value: ValueId) -> Slot {
        let ty = graph.ty(value);
        let place = self.places[self.roots[value.index()].index()].unwrap_or(Place::Arena(0));
        Slot { place, elements: ty.elements(), dtype: ty.dtype }
    }

    /// Inputs, variables (numbered by name, so that all plans lock them in one order) and constants.
    fn place_sources(&mut self, graph: &Graph) {
        let mut variables = BTreeMap::new();
        for node in graph.nodes() {
            match node.kind {
                NodeKind::Input(number) => {
                    self.places[node.outputs[0].index()] = Some(Place::Input(number));
                }
                NodeKind::Variable => {
                    variables.insert(node.name.clone(), node.outputs[0]);
                }
                NodeKind::Constant(_) => {
                    let value = node.outputs[0];
                    self.places[value.index()] = Some(Place::Constant(self.constant_bytes));
                    self.constant_bytes += graph.ty(value).bytes().next_multiple_of(ALIGNMENT);
                }
                NodeKind::Op(_) => {}
            }
        }
        let updated = |value: ValueId| {
            let updates = |node: &crate::graph::Node| {
                node.updates().iter().any(|input| node.inputs[*input] == value)
            };
            graph.nodes().iter().any(updates)
        };
        for (number, (name, value)) in variables.into_iter().enumerate() {
            self.places[value.index()] = Some(Place::Variable(number));
            let (ty, updated) = (graph.ty(value).clone(), updated(value));
            self.variables.push(PlannedVariable { name, ty, updated });
        }
    }

    /// A computed value that is fetched is computed in the caller's memory.
    fn place_fetches(&mut self, graph: &Graph) {
        for (number, value) in graph.fetches().iter().enumerate() {
            let place = &mut self.places[self.roots[value.index()].index()];
            if place.is_none() {
                *place = Some(Place::Output(number));
            }
        }
    }

    /// All else goes into the arena; where an operation can work in place, two values share a block.
    fn place_arena(
        &mut self,
        graph: &Graph,
        order: &[Item],
        together: &[Range<usize>],
        settings: Settings,
    ) -> Result<(), Error> {
        let last_use = self.last_uses(graph, order);
        let mut blocks: Vec<Block> = vec![];
        let mut block_of: Vec<Option<usize>> = vec![None; graph.values().len()];
        let mut scratch: Vec<(usize, usize)> = vec![];
        for (time, item) in order.iter().enumerate() {
            let Item::Node(index) = *item else { continue };
            let node = &graph.nodes()[index];
            let Some(op) = node.op().filter(|op| !op.is_view()) else { continue };
            let bytes = op.scratch_bytes(&lowering(graph, node, settings))?;
            if bytes > 0 {
                scratch.push((index, blocks.len()));
                blocks.push(Block { bytes, first: time, last: time });
            }
            for (position, output) in node.outputs.iter().enumerate() {
                if self.places[output.index()].is_some() {
                    continue;
                }
                let (bytes, last) = (graph.ty(*output).bytes(), last_use[output.index()].max(time));
                let candidate = (position == 0).then(|| {
                    op.in_place().iter().copied().find(|&input| {
                        let root = self.roots[node.inputs[input].index()];
                        let free = last_use[root.index()] == time
                            && block_of[root.index()].is_some()
                            && graph.ty(node.inputs[input]) == graph.ty(*output);
                        let others = node.inputs.iter().enumerate();
                        let shared = |(i, value): (usize, &ValueId)| {
                            i != input && self.roots[value.index()] == root
                        };
                        free && !{ others }.any(shared)
                    })
                });
                match candidate.flatten() {
                    Some(input) => {
                        let block = block_of[self.roots[node.inputs[input].index()].index()];
                        self.in_place[index] = Some(input);
                        block_of[output.index()] = block;
                        if let Some(block) = block {
                            blocks[block].last = last;
                        }
                    }
                    None => {
                        block_of[output.index()] = Some(blocks.len());
                        blocks.push(Block { bytes, first: time, last });
                    }
                }
            }
        }
        self.live_bytes = memory::live(&blocks);
        for part in together {
            let ends = |block: &&mut Block| part.contains(&block.last);
            blocks.iter_mut().filter(ends).for_each(|block| block.last = part.end - 1);
        }
        let (offsets, total) = memory::assign(&blocks);
        self.arena_bytes = total;
        for (value, block) in block_of.iter().enumerate() {
            if let Some(block) = block {
                self.places[value] = Some(Place::Arena(offsets[*block]));
            }
        }
        for (index, block) in scratch {
            let place = Place::Arena(offsets[block]);
            let elements = blocks[block].bytes;
            self.scratch[index] = Some(Slot { place, elements, dtype: DType::U8 });
        }
        Ok(())
    }

    /// For each root, the time of the last step that reads its memory.
    fn last_uses(&self, graph: &Graph, order: &[Item]) -> Vec<usize> {
        let mut last = vec![0; graph.values().len()];
        for (time, item) in order.iter().enumerate() {
            let reads = match *item {
                Item::Node(index) => graph.nodes()[index].inputs.as_slice(),
                Item::Fetch(number) => std::slice::from_ref(&graph.fetches()[number]),
            };
            for value in reads {
                last[self.roots[value.index()].index()] = time;
            }
        }
        last
    }
}

/// The memory of all constants, filled.
pub(crate) fn fill_constants(graph: &Graph, placement: &Placement) -> Result<AlignedBytes, Error> {
    let mut memory = AlignedBytes::zeroed(placement.constant_bytes, "the constants of a job")?;
    for node in graph.nodes() {
        let NodeKind::Constant(content) = &node.kind else { continue };
        let value = node.outputs[0];
        let Some(Place::Constant(offset)) = placement.places[value.index()] else { continue };
        let ty = graph.ty(value);
        let target = &mut memory.as_mut_slice()[offset..offset + ty.bytes()];
        match content {
            Constant::Bytes(bytes) => target.copy_from_slice(bytes),
            Constant::Fill(number) => {
                let pattern = element_bytes(*number, ty.dtype);
                for element in target.chunks_exact_mut(ty.dtype.size()) {
                    element.copy_from_slice(&pattern[..element.len()]);
                }
            }
        }
    }
    Ok(memory)
}

/// A number as the bytes of one element, in the first places of eight.
fn element_bytes(number: Number, dtype: DType) -> [u8; 8] {
    let integer = match number {
        Number::Integer(value) => value,
        Number::Float(value) => value as i64,
    };
    let mut bytes = [0; 8];
    match dtype {
        DType::F32 => bytes[..4].copy_from_slice(&(number.as_f64() as f32).to_ne_bytes()),
        DType::F64 => bytes = number.as_f64().to_ne_bytes(),
        DType::I8 => bytes[0] = (integer as i8).to_ne_bytes()[0],
        DType::U8 => bytes[0] = integer as u8,
        DType::I32 => bytes[..4].copy_from_slice(&(integer as i32).to_ne_bytes()),
        DType::I64 => bytes = integer.to_ne_bytes(),
    }
    debug_assert!(dtype.is_float() || number.as_f64().fract() == 0.0);
    bytes
}
