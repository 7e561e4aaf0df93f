//! What an elementwise program is.

use std::fmt;

use crate::ElementType;

/// A constant; it is converted to the compute type as `as` does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A floating-point number.
    Float(f64),
    /// An integer.
    Integer(i64),
}

impl Number {
    /// The number as a float, rounded if it must be.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Float(value) => value,
            Number::Integer(value) => value as f64,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Float(value) => write!(formatter, "{value}"),
            Number::Integer(value) => write!(formatter, "{value}"),
        }
    }
}

/// One step of a program. Comparisons give 1 or 0 in the compute type.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// The argument itself.
    Copy,
    /// `-a`
    Negative,
    /// `|a|`
    Abs,
    /// The greater of `a` and 0; NaN stays NaN.
    Relu,
    /// e to the power of `a`.
    Exp,
    /// Natural logarithm.
    Log,
    /// `log(1 + a)`
    Log1p,
    /// `exp(a) - 1`
    Expm1,
    /// Square root.
    Sqrt,
    /// `1 / sqrt(a)`
    Rsqrt,
    /// `a * a`
    Square,
    /// `1 / a`
    Reciprocal,
    /// `1 / a`, and 0 where `a` is 0.
    ReciprocalNoNan,
    /// `1 / (1 + exp(-a))`
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Error function.
    Erf,
    /// Complement of the error function.
    Erfc,
    /// The probability of a standard normal number below `a`: `(1 + erf(a / sqrt(2))) / 2`.
    NormalCdf,
    /// Logarithm of the absolute value of the gamma function.
    Lgamma,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Tangent.
    Tan,
    /// Inverse sine.
    Asin,
    /// Inverse cosine.
    Acos,
    /// Inverse tangent.
    Atan,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Inverse hyperbolic sine.
    Asinh,
    /// Inverse hyperbolic cosine.
    Acosh,
    /// Inverse hyperbolic tangent.
    Atanh,
    /// The next integer below.
    Floor,
    /// The next integer above.
    Ceil,
    /// The nearest integer, the even one of two.
    Rint,
    /// 1, 0 or -1; NaN stays NaN.
    Sign,
    /// `log(1 + exp(a))`
    Softplus,
    /// `-log(1 + exp(-a))`
    LogSigmoid,
    /// Is `a` 0?
    IsZero,
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `a / b`; integers truncate, and give 0 where `b` is 0.
    Divide,
    /// The greater of both, NaN if either is.
    Maximum,
    /// The lesser of both, NaN if either is.
    Minimum,
    /// `a` to the power of `b`.
    Power,
    /// What `FloorDivide` leaves, with the sign of `b`; integers give 0 where `b` is 0.
    FloorMod,
    /// `floor(a / b)`; integers give 0 where `b` is 0.
    FloorDivide,
    /// The angle of the point (`b`, `a`).
    Atan2,
    /// `a == b`
    Equal,
    /// `a != b`
    NotEqual,
    /// `a < b`
    Less,
    /// `a <= b`
    LessEqual,
    /// `a > b`
    Greater,
    /// `a >= b`
    GreaterEqual,
    /// Are both different from 0?
    LogicalAnd,
    /// `b` where `a` is positive, else 0.
    ReluGradient,
    /// `a * b`, and 0 where `a` is 0, even if `b` is infinite or NaN.
    TimesOrZero,
    /// `b` where `a` is not 0, else `c`.
    Select,
    /// A number.
    Constant(Number),
}

impl Operation {
    /// How many arguments the operation takes.
    pub fn arity(self) -> usize {
        use Operation::*;
        match self {
            Constant(_) => 0,
            Select => 3,
            Add | Subtract | Multiply | Divide | Maximum | Minimum | Power | FloorMod
            | FloorDivide | Atan2 | Equal | NotEqual | Less | LessEqual | Greater
            | GreaterEqual | LogicalAnd | ReluGradient | TimesOrZero => 2,
            _ => 1,
        }
    }

    /// Is the operation defined for elements of this type?
    pub fn supports(self, compute: ElementType) -> bool {
        use Operation::*;
        compute.is_float()
            || self.arity() == 3
            || !matches!(
                self,
                Exp | Log
                    | Log1p
                    | Expm1
                    | Sqrt
                    | Rsqrt
                    | Reciprocal
                    | ReciprocalNoNan
                    | Sigmoid
                    | Tanh
                    | Erf
                    | Erfc
                    | NormalCdf
                    | Lgamma
                    | Sin
                    | Cos
                    | Tan
                    | Asin
                    | Acos
                    | Atan
                    | Sinh
                    | Cosh
                    | Asinh
                    | Acosh
                    | Atanh
                    | Floor
                    | Ceil
                    | Rint
                    | Softplus
                    | LogSigmoid
                    | Power
                    | Atan2
                    | TimesOrZero
            )
    }
}

/// An operation and the registers it reads; arguments beyond its arity are ignored.
///
/// Registers are numbered: first the operands, then one per instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instruction {
    /// What to compute.
    pub operation: Operation,
    /// From which registers.
    pub arguments: [u16; 3],
}

/// A checked sequence of instructions; the last one's register is the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    operand_count: usize,
    instructions: Vec<Instruction>,
    /// For each register the piece of scratch memory that holds it.
    slots: Vec<usize>,
    slot_count: usize,
}

impl Program {
    /// Checks and stores a program.
    ///
    /// # Errors
    /// If there is no instruction, or one reads a register that is not written before it.
    pub fn new(
        operand_count: usize,
        instructions: Vec<Instruction>,
    ) -> Result<Program, ProgramError> {
        if instructions.is_empty() {
            return Err(ProgramError::Empty);
        }
        let registers = operand_count + instructions.len();
        if registers > usize::from(u16::MAX) {
            return Err(ProgramError::TooLong { registers });
        }
        for (index, instruction) in instructions.iter().enumerate() {
            let written = operand_count + index;
            for &register in &instruction.arguments[..instruction.operation.arity()] {
                if usize::from(register) >= written {
                    return Err(ProgramError::Unwritten { index, register, written });
                }
            }
        }
        let (slots, slot_count) = assign_slots(operand_count, &instructions);
        Ok(Program { operand_count, instructions, slots, slot_count })
    }

    /// A program of one operation on operands 0, 1, ..
    pub fn single(operation: Operation) -> Program {
        let operand_count = operation.arity();
        let instructions = vec![Instruction { operation, arguments: [0, 1, 2] }];
        let (slots, slot_count) = assign_slots(operand_count, &instructions);
        Program { operand_count, instructions, slots, slot_count }
    }

    /// How many operands the program reads.
    pub fn operand_count(&self) -> usize {
        self.operand_count
    }

    /// The instructions in the order in which they run.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Are all operations defined for elements of this type?
    pub fn supports(&self, compute: ElementType) -> bool {
        self.instructions.iter().all(|instruction| instruction.operation.supports(compute))
    }

    /// How many pieces of scratch memory a run needs.
    pub(super) fn slot_count(&self) -> usize {
        self.slot_count
    }

    /// The piece that holds a register.
    pub(super) fn slot(&self, register: usize) -> usize {
        self.slots[register]
    }

    /// The piece that holds a register, if it is written before instruction `index`.
    pub(super) fn written(&self, register: usize, index: usize) -> Option<usize> {
        (register < self.operand_count + index).then(|| self.slots[register])
    }
}

/// Gives each register a piece of scratch memory, again when its last reader has run. Operands and
/// constants keep theirs, since they may be written once for all blocks.
fn assign_slots(operand_count: usize, instructions: &[Instruction]) -> (Vec<usize>, usize) {
    let mut last_reader = vec![0; operand_count + instructions.len()];
    for (index, instruction) in instructions.iter().enumerate() {
        for &register in &instruction.arguments[..instruction.operation.arity()] {
            last_reader[usize::from(register)] = index;
        }
    }
    let mut slots: Vec<usize> = (0..operand_count).collect();
    let mut slot_count = operand_count;
    let mut free = Vec::new();
    for (index, instruction) in instructions.iter().enumerate() {
        let constant = |register: usize| {
            register < operand_count
                || matches!(
                    instructions[register - operand_count].operation,
                    Operation::Constant(_)
                )
        };
        let mut arguments = instruction.arguments[..instruction.operation.arity()].to_vec();
        arguments.sort_unstable();
        arguments.dedup();
        for register in arguments.into_iter().map(usize::from) {
            if last_reader[register] == index && !constant(register) {
                free.push(slots[register]);
            }
        }
        let reused = if constant(operand_count + index) { None } else { free.pop() };
        slots.push(reused.unwrap_or_else(|| {
            slot_count += 1;
            slot_count - 1
        }));
    }
    (slots, slot_count)
}

/// Why a sequence of instructions is not a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// There is no instruction, so there is no result.
    Empty,
    /// There are more registers than numbers for them.
    TooLong {
        /// Operands and instructions together.
        registers: usize,
    },
    /// An instruction reads a register before it is written.
    Unwritten {
        /// The instruction.
        index: usize,
        /// The register it reads.
        register: u16,
        /// How many registers are written by then.
        written: usize,
    },
}

impl fmt::Display for ProgramError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramError::Empty => write!(formatter, "an elementwise program needs an instruction"),
            ProgramError::TooLong { registers } => write!(
                formatter,
                "an elementwise program of {registers} registers is too long, at most {} are allowed",
                u16::MAX
            ),
            ProgramError::Unwritten { index, register, written } => write!(
                formatter,
                "instruction {index} reads register {register}, but only {written} are written by then"
            ),
        }
    }
}

impl std::error::Error for ProgramError {}
