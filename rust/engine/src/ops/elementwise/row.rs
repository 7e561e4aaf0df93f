//! What a row of the table says, and the short forms in which rows are written.

use flowrs_kernels::elementwise::{Instruction, Number, Operation, Program};

use super::formula::{Assembly, Draft, Term, assemble};
use crate::error::Error;

/// The names that a formula may use.
pub struct Scope<'a> {
    draft: &'a Draft,
    parameters: &'a [Number],
    /// First argument.
    pub a: Term<'a>,
    /// Second argument.
    pub b: Term<'a>,
    /// Third argument.
    pub c: Term<'a>,
    /// The result; in derivatives.
    pub y: Term<'a>,
    /// The result's gradient; in derivatives.
    pub dy: Term<'a>,
}

/// A formula's operands: three arguments, of which a row may have fewer, then these.
const RESULT: usize = 3;
const GRADIENT: usize = 4;
const OPERANDS: usize = 5;

impl<'a> Scope<'a> {
    /// The parameter with this number as a term.
    pub fn p(&self, index: usize) -> Term<'a> {
        self.draft.number(self.parameters[index])
    }

    /// The parameter with this number as a number.
    pub fn number(&self, index: usize) -> f64 {
        self.parameters[index].as_f64()
    }

    /// A number.
    pub fn float(&self, number: f64) -> Term<'a> {
        self.draft.number(Number::Float(number))
    }

    /// Zero, of whatever type.
    pub fn zero(&self) -> Term<'a> {
        self.draft.number(Number::Integer(0))
    }

    /// One, of whatever type.
    pub fn one(&self) -> Term<'a> {
        self.draft.number(Number::Integer(1))
    }
}

/// A formula of a row.
pub type Formula = for<'a> fn(&Scope<'a>) -> Term<'a>;

/// The element type that a row gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultType {
    /// That of the arguments.
    Same,
    /// int8, as comparisons give.
    Int8,
}

/// One elementwise operation.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in the registry.
    pub name: &'static str,
    /// The name of the operations that compute its gradient.
    pub gradient_name: &'static str,
    /// Number of arguments.
    pub arguments: usize,
    /// Names of the numbers that the formulas need.
    pub parameters: &'static [&'static str],
    /// Element type of the result.
    pub result: ResultType,
    /// Whether the first argument is a condition, of any integer type.
    pub condition: bool,
    /// Whether a gradient may be asked for; without `derivatives` none flows.
    pub differentiable: bool,
    /// What happens to one element.
    pub forward: Formula,
    /// For each argument the gradient of one element of it; `None`: none flows to it.
    pub derivatives: [Option<Formula>; 3],
}

impl Row {
    /// The formula as a program.
    pub(super) fn assemble(&self, formula: Formula, parameters: &[Number]) -> Assembly {
        assemble(OPERANDS, |draft| {
            let operand = |index| draft.operand(index);
            let scope = Scope {
                draft,
                parameters,
                a: operand(0),
                b: operand(1),
                c: operand(2),
                y: operand(RESULT),
                dy: operand(GRADIENT),
            };
            formula(&scope).register()
        })
    }

    /// What one element goes through, with the arguments as operands.
    pub(super) fn program(&self, parameters: &[Number]) -> Result<Program, Error> {
        let mut assembly = self.assemble(self.forward, parameters);
        if !assembly.operands.iter().copied().eq(0..self.arguments) {
            return Err(Error::Graph(format!("{} does not read its arguments", self.name)));
        }
        if assembly.instructions.is_empty() {
            let copy = Instruction { operation: Operation::Copy, arguments: [0; 3] };
            assembly.instructions.push(copy);
        }
        Program::new(self.arguments, assembly.instructions)
            .map_err(|why| Error::Graph(format!("{}: {why}", self.name)))
    }

    /// Position of an operand of a derivative among the arguments, the result and its gradient.
    pub(super) fn position(&self, operand: usize) -> usize {
        match operand {
            RESULT => self.arguments,
            GRADIENT => self.arguments + 1,
            argument => argument,
        }
    }

    pub(super) const fn with(self, parameters: &'static [&'static str]) -> Self {
        Self { parameters, ..self }
    }

    pub(super) const fn by_condition(self) -> Self {
        Self { condition: true, ..self }
    }
}

/// A row that lets no gradient through.
pub(super) const fn closed(names: [&'static str; 2], arguments: usize, forward: Formula) -> Row {
    Row {
        name: names[0],
        gradient_name: names[1],
        arguments,
        parameters: &[],
        result: ResultType::Same,
        condition: false,
        differentiable: true,
        forward,
        derivatives: [None; 3],
    }
}

/// A row whose gradient cannot be asked for.
pub(super) const fn one_way(names: [&'static str; 2], arguments: usize, forward: Formula) -> Row {
    Row { differentiable: false, ..closed(names, arguments, forward) }
}

pub(super) const fn unary(names: [&'static str; 2], forward: Formula, da: Formula) -> Row {
    Row { derivatives: [Some(da), None, None], ..closed(names, 1, forward) }
}

pub(super) const fn binary(
    names: [&'static str; 2],
    forward: Formula,
    da: Formula,
    db: Formula,
) -> Row {
    Row { derivatives: [Some(da), Some(db), None], ..closed(names, 2, forward) }
}

pub(super) const fn ternary(
    names: [&'static str; 2],
    forward: Formula,
    da: Formula,
    db: Formula,
    dc: Formula,
) -> Row {
    Row { derivatives: [Some(da), Some(db), Some(dc)], ..closed(names, 3, forward) }
}

pub(super) const fn comparison(names: [&'static str; 2], forward: Formula) -> Row {
    Row { result: ResultType::Int8, ..closed(names, 2, forward) }
}
