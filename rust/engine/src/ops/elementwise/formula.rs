//! Formulas: elementwise programs written as expressions.
//!
//! A formula works on [`Term`]s, which stand for registers. Each operator adds an instruction,
//! unless the same one is there already, so a formula may say the same thing twice.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use flowrs_kernels::elementwise::{Instruction, Number, Operation};

/// A program that is being written.
pub struct Draft {
    operands: usize,
    instructions: RefCell<Vec<Instruction>>,
}

/// A register of a [`Draft`]: what an operand or an instruction holds for one element.
#[derive(Clone, Copy)]
pub struct Term<'a> {
    draft: &'a Draft,
    register: u16,
}

/// A formula as a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Assembly {
    /// The operands that are read, in the order in which the program has them.
    pub operands: Vec<usize>,
    /// The instructions; none where the result is the first operand itself.
    pub instructions: Vec<Instruction>,
}

/// Writes a formula of this many operands down as a program. Nothing is left in it that the result
/// does not need.
pub fn assemble(operands: usize, write: impl FnOnce(&Draft) -> u16) -> Assembly {
    let draft = Draft { operands, instructions: RefCell::default() };
    let result = usize::from(write(&draft));
    let instructions = draft.instructions.into_inner();
    let mut needed = vec![false; operands + instructions.len()];
    needed[result] = true;
    for (index, instruction) in instructions.iter().enumerate().rev() {
        if needed[operands + index] {
            for &register in &instruction.arguments[..instruction.operation.arity()] {
                needed[usize::from(register)] = true;
            }
        }
    }
    let mut number = vec![0; needed.len()];
    for (position, register) in (0..needed.len()).filter(|register| needed[*register]).enumerate() {
        number[register] = position as u16;
    }
    let renumber = |instruction: &Instruction| Instruction {
        arguments: instruction.arguments.map(|register| number[usize::from(register)]),
        ..*instruction
    };
    Assembly {
        operands: (0..operands).filter(|operand| needed[*operand]).collect(),
        instructions: instructions
            .iter()
            .enumerate()
            .filter(|(index, _)| needed[operands + index])
            .map(|(_, instruction)| renumber(instruction))
            .collect(),
    }
}

impl Draft {
    /// The operand with this number.
    pub fn operand(&self, index: usize) -> Term<'_> {
        debug_assert!(index < self.operands, "there is no operand {index}");
        Term { draft: self, register: index as u16 }
    }

    /// A number.
    pub fn number(&self, number: Number) -> Term<'_> {
        self.push(Operation::Constant(number), [0; 3])
    }

    fn push(&self, operation: Operation, arguments: [u16; 3]) -> Term<'_> {
        let mut instructions = self.instructions.borrow_mut();
        let instruction = Instruction { operation, arguments };
        let known = instructions.iter().position(|other| *other == instruction);
        let index = known.unwrap_or_else(|| {
            instructions.push(instruction);
            instructions.len() - 1
        });
        Term { draft: self, register: (self.operands + index) as u16 }
    }
}

impl<'a> Term<'a> {
    /// The register's number, which ends a formula.
    pub fn register(self) -> u16 {
        self.register
    }

    fn unary(self, operation: Operation) -> Self {
        self.draft.push(operation, [self.register, 0, 0])
    }

    fn binary(self, operation: Operation, other: Self) -> Self {
        self.draft.push(operation, [self.register, other.register, 0])
    }

    /// A number in the same program.
    pub fn float(self, number: f64) -> Self {
        self.draft.number(Number::Float(number))
    }

    /// `yes` where this is not 0, else `no`.
    pub fn choose(self, yes: Self, no: Self) -> Self {
        self.draft.push(Operation::Select, [self.register, yes.register, no.register])
    }
}

macro_rules! methods {
    (unary [$($unary:ident $operation:ident,)*] binary [$($binary:ident $of_two:ident,)*]) => {
        #[allow(missing_docs, reason = "the names are those of the operations")]
        impl Term<'_> {
            $(pub fn $unary(self) -> Self { self.unary(Operation::$operation) })*
            $(pub fn $binary(self, other: Self) -> Self {
                self.binary(Operation::$of_two, other)
            })*
        }
    };
}

methods! {
    unary [
    abs Abs, acos Acos, acosh Acosh, asin Asin, asinh Asinh, atan Atan, atanh Atanh, ceil Ceil,
    cos Cos, cosh Cosh, erf Erf, erfc Erfc, exp Exp, expm1 Expm1, floor Floor, is_zero IsZero,
    lgamma Lgamma, log Log, log1p Log1p, log_sigmoid LogSigmoid, normal_cdf NormalCdf,
    reciprocal Reciprocal, reciprocal_no_nan ReciprocalNoNan, relu Relu, rint Rint, rsqrt Rsqrt,
    sigmoid Sigmoid, sign Sign, sin Sin, sinh Sinh, softplus Softplus, sqrt Sqrt, square Square, tan Tan, tanh Tanh,
    ]
    binary [
    atan2 Atan2, equal Equal, floor_divide FloorDivide, floor_mod FloorMod, greater Greater,
    greater_equal GreaterEqual, less Less, less_equal LessEqual, logical_and LogicalAnd,
    maximum Maximum, minimum Minimum, not_equal NotEqual, power Power,
    relu_gradient ReluGradient, times_or_zero TimesOrZero,
    ]
}

macro_rules! operators {
    ($($operator:ident $method:ident $operation:ident,)*) => {$(
        impl<'a> $operator for Term<'a> {
            type Output = Term<'a>;
            fn $method(self, other: Self) -> Self {
                self.binary(Operation::$operation, other)
            }
        }
        impl<'a> $operator<f64> for Term<'a> {
            type Output = Term<'a>;
            fn $method(self, other: f64) -> Self {
                self.binary(Operation::$operation, self.float(other))
            }
        }
        impl<'a> $operator<Term<'a>> for f64 {
            type Output = Term<'a>;
            fn $method(self, other: Term<'a>) -> Term<'a> {
                other.float(self).binary(Operation::$operation, other)
            }
        }
    )*};
}

operators! { Add add Add, Sub sub Subtract, Mul mul Multiply, Div div Divide, }

impl Neg for Term<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary(Operation::Negative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(operation: Operation, arguments: [u16; 3]) -> Instruction {
        Instruction { operation, arguments }
    }

    #[test]
    fn what_is_said_twice_is_computed_once() {
        let assembly = assemble(1, |draft| {
            let x = draft.operand(0);
            (x.exp() * x.exp()).register()
        });
        let expected =
            [instruction(Operation::Exp, [0, 0, 0]), instruction(Operation::Multiply, [1, 1, 0])];
        assert_eq!(assembly.instructions, expected);
    }

    #[test]
    fn what_the_result_does_not_need_is_left_out() {
        let assembly = assemble(3, |draft| {
            let unused = draft.operand(1).exp();
            let _ = unused + 1.0;
            (draft.operand(2) - draft.operand(0)).register()
        });
        assert_eq!(assembly.operands, [0, 2]);
        assert_eq!(assembly.instructions, [instruction(Operation::Subtract, [1, 0, 0])]);
    }

    #[test]
    fn an_operand_alone_needs_no_instruction() {
        let assembly = assemble(2, |draft| draft.operand(1).register());
        assert_eq!(assembly, Assembly { operands: vec![1], instructions: vec![] });
    }
}
