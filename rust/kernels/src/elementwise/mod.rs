//! Elementwise programs: a chain of operations run in one pass over memory.
//!
//! Elements are computed in blocks small enough for the first-level cache. Within a block each
//! instruction is one vectorised loop from registers to a register; operands that lie in memory as
//! the loop wants them are read where they are, and the last instruction writes where the result
//! belongs.

mod compute;
mod operand;
mod program;

use crate::element::with_element;
use crate::parallel::Parts;
use crate::shape::{element_count, extent};
use crate::stream::Writer;
use crate::{Data, DataMut, Element, ElementType, Isa, Parallel};
use compute::Compute;
use operand::{Layout, Source};
use smallvec::SmallVec;

pub use program::{Instruction, Number, Operation, Program, ProgramError};

/// Elements per register.
const BLOCK: usize = 1024;
/// Elements per task.
const CHUNK: usize = 16 * BLOCK;

/// An input of a program.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The elements; of a type other than the compute type, they are converted as `as` does.
    pub data: Data<'a>,
    /// Strides in elements over the output's shape, 0 where the operand is broadcast.
    pub strides: &'a [usize],
}

/// Runs `program` for every element of `shape`, computing in the type `compute`, and stores the
/// last instruction's result, converted to the output's type, in `output` (C-contiguous).
///
/// With `in_place: Some(i)` operand `i` is the old content of `output`: its `data` is ignored.
///
/// # Panics
/// If the sizes do not fit together or the program does not support `compute`.
pub fn run(
    isa: Isa,
    parallel: &dyn Parallel,
    program: &Program,
    compute: ElementType,
    shape: &[usize],
    operands: &[Operand],
    output: DataMut,
    in_place: Option<usize>,
) {
    assert!(program.supports(compute), "the program has no meaning in {compute:?}");
    assert_eq!(operands.len(), program.operand_count(), "the number of operands is wrong");
    assert_eq!(output.len(), element_count(shape), "the output does not have the shape's size");
    for (index, operand) in operands.iter().enumerate() {
        assert_eq!(operand.strides.len(), shape.len(), "operand {index}: wrong number of strides");
        let reach = extent(shape, operand.strides);
        assert!(
            in_place == Some(index) || reach <= operand.data.len(),
            "operand {index} reaches to element {reach} of {}",
            operand.data.len()
        );
    }
    with_element!(compute, T => run_as::<T>(isa, parallel, program, shape, operands, output, in_place));
}

/// [`run`] with the compute type known.
fn run_as<T: Compute>(
    isa: Isa,
    parallel: &dyn Parallel,
    program: &Program,
    shape: &[usize],
    operands: &[Operand],
    output: DataMut,
    in_place: Option<usize>,
) {
    let layout = Layout::new(shape, operands, in_place);
    let sources: SmallVec<[Source<T>; 4]> = (0..operands.len())
        .map(|index| match in_place {
            Some(operand) if operand == index => Source::Output,
            _ => layout.source(index, operands[index].data),
        })
        .collect();
    let steps = steps(program, &sources);
    let written = if in_place.is_none() { output.len() } else { 0 };
    let pass = Pass { program, layout: &layout, sources: &sources, steps: &steps, written };
    with_element!(output.element_type(), U => {
        if let Some(output) = output.into_slice::<U>() {
            let length = output.len();
            let parts = Parts::new(output);
            parallel.for_each(length.div_ceil(CHUNK), &|chunk| {
                let start = chunk * CHUNK;
                // SAFETY: chunks of different indices do not overlap, and `Parallel` runs each once.
                let output = unsafe { parts.range(start, CHUNK.min(length - start)) };
                T::with_registers(|registers| {
                    let needed = program.slot_count() + 1;
                    registers.resize_with(needed.max(registers.len()), Register::boxed);
                    run_chunk(isa, &pass, start, &mut registers[..needed], output.into());
                });
            });
        }
    });
}

/// What all chunks of a run have in common.
struct Pass<'a, T> {
    program: &'a Program,
    layout: &'a Layout,
    sources: &'a [Source<'a, T>],
    steps: &'a [Step<'a, T>],
    /// The elements of an output that is only written.
    written: usize,
}

/// An instruction, and where its arguments are found.
struct Step<'a, T> {
    operation: Operation,
    arguments: [Argument<'a, T>; 3],
    slot: usize,
}

enum Argument<'a, T> {
    /// Memory in the output's order.
    Dense(&'a [T]),
    Slot(usize),
    Nothing,
}

impl<T> Argument<'_, T> {
    #[inline(always)]
    fn read<'b>(
        &'b self,
        registers: &'b [Box<Register<T>>],
        first: usize,
        length: usize,
    ) -> &'b [T] {
        match self {
            Argument::Dense(data) => &data[first..first + length],
            Argument::Slot(slot) => &registers[*slot].0[..length],
            Argument::Nothing => &[],
        }
    }
}

fn steps<'a, T: Element>(
    program: &Program,
    sources: &[Source<'a, T>],
) -> SmallVec<[Step<'a, T>; 8]> {
    let step = |(index, instruction): (usize, &Instruction)| {
        let argument = |register: u16| match sources.get(usize::from(register)) {
            Some(Source::Dense(data)) => Argument::Dense(data),
            _ => program
                .written(usize::from(register), index)
                .map_or(Argument::Nothing, Argument::Slot),
        };
        Step {
            operation: instruction.operation,
            arguments: instruction.arguments.map(argument),
            slot: program.slot(program.operand_count() + index),
        }
    };
    program.instructions().iter().enumerate().map(step).collect()
}

/// A register's memory, aligned so that no vector lies across two cache lines.
#[repr(align(64))]
struct Register<T>([T; BLOCK]);

impl<T: Element> Register<T> {
    fn boxed() -> Box<Self> {
        Box::new(Register([T::ZERO; BLOCK]))
    }
}

/// Runs the program for the elements that begin at `start` of the output, in registers one of which,
/// the last, is spare: an instruction writes there, then it becomes the instruction's.
fn run_chunk<T: Compute>(
    isa: Isa,
    pass: &Pass<T>,
    start: usize,
    registers: &mut [Box<Register<T>>],
    mut output: DataMut,
) {
    let Pass { program, layout, sources, steps, written } = *pass;
    let Some((spare, registers)) = registers.split_last_mut() else { return };
    for (operand, source) in sources.iter().enumerate() {
        if let Source::Same(value) = source {
            registers[program.slot(operand)].0.fill(*value);
        }
    }
    let mut writer = Writer::new(written);
    let total = output.len();
    for offset in (0..total).step_by(BLOCK) {
        let length = BLOCK.min(total - offset);
        let first = start + offset;
        for (operand, source) in sources.iter().enumerate() {
            let register = &mut registers[program.slot(operand)].0[..length];
            match source {
                Source::Output => operand::convert(&output.as_data(), offset, register),
                Source::Spread(data) => layout.gather(operand, data, first, register),
                Source::Same(_) | Source::Dense(_) => {}
            }
        }
        for (index, step) in steps.iter().enumerate() {
            let is_last = index + 1 == steps.len();
            if matches!(step.operation, Operation::Constant(_)) && offset > 0 && !is_last {
                continue;
            }
            let [a, b, c] = &step.arguments;
            let arguments = [
                a.read(registers, first, length),
                b.read(registers, first, length),
                c.read(registers, first, length),
            ];
            if !is_last {
                T::evaluate(isa, step.operation, arguments, &mut spare.0[..length]);
                std::mem::swap(spare, &mut registers[step.slot]);
                continue;
            }
            if let Some(output) = output.as_slice::<T>() {
                writer.write(&mut output[offset..offset + length], |target| {
                    T::evaluate(isa, step.operation, arguments, target);
                });
            } else {
                T::evaluate(isa, step.operation, arguments, &mut spare.0[..length]);
                operand::store(&spare.0[..length], &mut output, offset);
            }
        }
    }
}
