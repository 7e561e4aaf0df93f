//! Elementwise programs: a chain of operations run in one pass over memory.

pub(crate) mod math;
mod program;

use crate::{Data, DataMut, ElementType, Isa, Parallel, naive};

pub use program::{Instruction, Number, Operation, Program, ProgramError};

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
    let _ = (isa, parallel);
    naive::run(program, compute, shape, operands, output, in_place);
}
