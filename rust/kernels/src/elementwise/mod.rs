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
use crate::{Data, DataMut, Element, ElementType, Isa, Parallel};
use compute::Compute;
use operand::{Layout, Source};

pub use program::{Instruction, Number, Operation, Program, ProgramError};

/// Elements per register.
const BLOCK: usize = 512;
/// Elements per task.
const CHUNK: usize = 32 * BLOCK;

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
    let sources: Vec<Source<T>> = (0..operands.len())
        .map(|index| match in_place {
            Some(operand) if operand == index => Source::Output,
            _ => layout.source(index, operands[index].data),
        })
        .collect();
    let pass = Pass { program, layout: &layout, sources: &sources };
    with_element!(output.element_type(), U => {
        if let Some(output) = output.into_slice::<U>() {
            let length = output.len();
            let parts = Parts::new(output);
            parallel.for_each(length.div_ceil(CHUNK), &|chunk| {
                let start = chunk * CHUNK;
                // SAFETY: chunks of different indices do not overlap, and `Parallel` runs each once.
                let output = unsafe { parts.range(start, CHUNK.min(length - start)) };
                run_chunk(isa, &pass, start, output.into());
            });
        }
    });
}

/// What all chunks of a run have in common.
struct Pass<'a, T> {
    program: &'a Program,
    layout: &'a Layout,
    sources: &'a [Source<'a, T>],
}

/// A register's memory, aligned so that no vector lies across two cache lines.
#[derive(Clone)]
#[repr(align(64))]
struct Register<T>([T; BLOCK]);

impl<T: Element> Register<T> {
    fn boxed() -> Box<Self> {
        Box::new(Register([T::ZERO; BLOCK]))
    }
}

/// Runs the program for the elements that begin at `start` of the output.
fn run_chunk<T: Compute>(isa: Isa, pass: &Pass<T>, start: usize, mut output: DataMut) {
    let Pass { program, layout, sources } = pass;
    let mut registers: Vec<Box<Register<T>>> =
        (0..program.slot_count()).map(|_| Register::boxed()).collect();
    // An instruction writes here, then this becomes its register.
    let mut spare = Register::boxed();
    for (operand, source) in sources.iter().enumerate() {
        if let Source::Same(value) = source {
            registers[program.slot(operand)].0.fill(*value);
        }
    }
    let direct = output.element_type() == T::TYPE;
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
        let last = program.instructions().len() - 1;
        for (index, instruction) in program.instructions().iter().enumerate() {
            let operation = instruction.operation;
            if matches!(operation, Operation::Constant(_)) && offset > 0 && index < last {
                continue;
            }
            let arguments = instruction.arguments.map(|register| {
                let register = usize::from(register);
                match sources.get(register) {
                    Some(Source::Dense(data)) => &data[first..first + length],
                    _ => program
                        .written(register, index)
                        .map_or(&[][..], |slot| &registers[slot].0[..length]),
                }
            });
            let in_register = index < last || !direct;
            let target = match output.as_slice::<T>() {
                Some(output) if !in_register => &mut output[offset..offset + length],
                _ => &mut spare.0[..length],
            };
            T::evaluate(isa, operation, arguments, target);
            if index < last {
                let slot = program.slot(program.operand_count() + index);
                std::mem::swap(&mut spare, &mut registers[slot]);
            } else if in_register {
                operand::store(&spare.0[..length], &mut output, offset);
            }
        }
    }
}
