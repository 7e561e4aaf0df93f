//! Elementwise operations: a table of formulas, each run in one pass over memory.
//!
//! A new operation is a row in `table`: a formula forward, and one for the gradient of each
//! argument. Formulas are assembled into programs, which the kernel runs block by block in cache, so
//! that neither direction stores what comes between. Broadcasting is the lowering's business for all
//! rows alike, and the reduction that its gradient needs is done once, in `grad`.

mod formula;
mod row;
mod table;

use std::sync::{Arc, LazyLock};

use flowrs_kernels::Data;
use flowrs_kernels::elementwise::{self as kernels, Instruction, Number, Operand, Program};

pub use formula::{Assembly, Draft, Term, assemble};
pub use row::{Formula, ResultType, Row, Scope};
pub use table::TABLE;

use super::add_n::AddN;
use super::attributes::Attributes;
use super::layout::{self, ChannelsLast};
use super::{Lowering, Op, Work, expect_same_dtype};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{DType, TensorType, broadcast_shapes, broadcast_strides, dtype_name};

/// A row of the table as an operation.
#[derive(Clone, Debug)]
pub struct Elementwise {
    row: &'static Row,
    parameters: Vec<Number>,
    program: Arc<Program>,
}

/// A program without a row: what a formula of some derivative comes to.
#[derive(Clone, Debug)]
pub struct ElementwiseProgram {
    name: &'static str,
    /// Whether the first input is a condition, of any integer type.
    condition: bool,
    program: Arc<Program>,
}

impl Elementwise {
    /// The row with this name, which has no parameters.
    pub fn named(name: &str) -> Result<Self, Error> {
        Self::with(find(name)?, vec![])
    }

    /// The row with this name and its parameters from attributes.
    pub fn from_attributes(name: &str, attributes: &mut Attributes) -> Result<Self, Error> {
        let row = find(name)?;
        let parameters = row.parameters.iter().map(|name| attributes.number(name));
        let parameters = parameters.collect::<Result<_, _>>().map_err(|e| e.within(name))?;
        Self::with(row, parameters)
    }

    fn with(row: &'static Row, parameters: Vec<Number>) -> Result<Self, Error> {
        if parameters.len() != row.parameters.len() {
            let (name, wanted) = (row.name, row.parameters);
            return Err(Error::Graph(format!("{name} needs the parameters {wanted:?}")));
        }
        let program = Arc::new(row.program(&parameters)?);
        Ok(Self { row, parameters, program })
    }

    /// True where the operation is the row with this name.
    pub fn is(&self, name: &str) -> bool {
        self.row.name == name
    }
}

fn find(name: &str) -> Result<&'static Row, Error> {
    TABLE
        .iter()
        .find(|row| row.name == name)
        .ok_or_else(|| Error::Graph(format!("there is no operation named {name}")))
}

impl Op for Elementwise {
    fn name(&self) -> &'static str {
        self.row.name
    }

    fn attributes(&self) -> String {
        let shown = |(name, value): (&&str, &Number)| format!("{name}={value}");
        let pairs = self.row.parameters.iter().zip(&self.parameters);
        pairs.map(shown).collect::<Vec<_>>().join(", ")
    }

    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        layout::elementwise(inputs, there, self.clone())
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let dtype = infer_dtype(&self.program, inputs, self.row.condition)?;
        let dtype = match self.row.result {
            ResultType::Same => dtype,
            ResultType::Int8 => DType::I8,
        };
        Ok(vec![TensorType::new(dtype, infer_shape(inputs)?)])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; node.inputs.len()]) };
        let row = self.row;
        if !row.differentiable {
            return Err(Error::Graph(format!("{} ({}) has no gradient", row.name, node.name)));
        }
        let mut values = node.inputs.clone();
        values.extend([node.outputs[0], dy]);
        let gradient = |(argument, derivative): (&ValueId, &Option<Formula>)| {
            let Some(formula) = *derivative else { return Ok(None) };
            let assembly = row.assemble(formula, &self.parameters);
            if assembly.operands.is_empty() {
                // The slope is 0 everywhere.
                return g.fill(g.ty(*argument).clone(), 0.0).map(Some);
            }
            let inputs = assembly.operands.iter().map(|&operand| values[row.position(operand)]);
            let inputs: Vec<ValueId> = inputs.collect();
            let condition = row.condition && assembly.operands.first() == Some(&0);
            let name = row.gradient_name;
            add_program(g, name, &inputs, assembly.instructions, condition).map(Some)
        };
        node.inputs.iter().zip(&row.derivatives).map(gradient).collect()
    }

    fn work(&self, _lowering: &Lowering<'_>) -> Work {
        let arithmetic = ["add", "subtract", "multiply", "relu", "relu_gradient"];
        if arithmetic.contains(&self.row.name) { Work::Moves } else { Work::Other }
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (strides, shape) = broadcast(lowering);
        let compute = compute_type(&lowering.inputs, self.row.condition);
        Ok(kernel(lowering, self.program.clone(), compute, strides, shape))
    }

    fn in_place(&self) -> &'static [usize] {
        match (self.row.result, self.row.condition) {
            (ResultType::Int8, _) => &[],
            (_, true) => &[1, 2],
            _ => &[0, 1, 2][..self.row.arguments],
        }
    }
}

impl Op for ElementwiseProgram {
    fn name(&self) -> &'static str {
        self.name
    }

    fn attributes(&self) -> String {
        format!("instructions={}", self.program.instructions().len())
    }

    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        layout::elementwise(inputs, there, self.clone())
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let dtype = infer_dtype(&self.program, inputs, self.condition)?;
        Ok(vec![TensorType::new(dtype, infer_shape(inputs)?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (strides, shape) = broadcast(lowering);
        let compute = compute_type(&lowering.inputs, self.condition);
        Ok(kernel(lowering, self.program.clone(), compute, strides, shape))
    }

    fn in_place(&self) -> &'static [usize] {
        const ALL: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7];
        &ALL[..self.program.operand_count().min(ALL.len())]
    }
}

impl ElementwiseProgram {
    /// The program of a chain of operations; none where it cannot be one.
    pub(crate) fn chain(operands: usize, instructions: Vec<Instruction>) -> Option<Self> {
        let program = Arc::new(Program::new(operands, instructions).ok()?);
        Some(Self { name: "elementwise", condition: false, program })
    }
}

/// What a node does to each element, if it is elementwise and of one type throughout.
pub(crate) fn instructions_of(node: &Node) -> Option<Vec<Instruction>> {
    if let Some(op) = node.op_as::<Elementwise>() {
        let plain = op.row.result == ResultType::Same && !op.row.condition;
        plain.then(|| op.program.instructions().to_vec())
    } else if let Some(op) = node.op_as::<ElementwiseProgram>() {
        (!op.condition).then(|| op.program.instructions().to_vec())
    } else {
        node.op_as::<AddN>().map(|_| AddN::instructions(node.inputs.len()))
    }
}

/// The element type that the inputs have in common, but for a condition at their head, if the
/// program has a meaning in it.
fn infer_dtype(program: &Program, inputs: &[&TensorType], condition: bool) -> Result<DType, Error> {
    let (wanted, found) = (program.operand_count(), inputs.len());
    let same = inputs.get(usize::from(condition)..);
    let (true, Some([first, rest @ ..])) = (found == wanted, same) else {
        return Err(Error::Argument(format!("takes {wanted} inputs, not {found}")));
    };
    if condition && inputs[0].dtype.is_float() {
        let found = dtype_name(inputs[0].dtype);
        return Err(Error::DType(format!("the condition must be of an integer type, not {found}")));
    }
    let fraction = |step: &Instruction| {
        matches!(step.operation, kernels::Operation::Constant(Number::Float(_)))
    };
    let floats_only = program.instructions().iter().any(fraction);
    if !program.supports(first.dtype) || (floats_only && !first.dtype.is_float()) {
        let found = dtype_name(first.dtype);
        return Err(Error::DType(format!("needs float32 or float64, not {found}")));
    }
    for other in rest {
        expect_same_dtype(first, other)?;
    }
    Ok(first.dtype)
}

/// The type to compute in.
fn compute_type(inputs: &[&TensorType], condition: bool) -> DType {
    let dtype = inputs[usize::from(condition)].dtype;
    // Wide enough for a condition too, so that none becomes 0 by being cut.
    let wider = condition && !dtype.is_float() && inputs[0].dtype.size() > dtype.size();
    if wider { inputs[0].dtype } else { dtype }
}

fn infer_shape(inputs: &[&TensorType]) -> Result<Vec<usize>, Error> {
    let mut shape = inputs[0].shape.clone();
    for other in &inputs[1..] {
        shape = broadcast_shapes(&shape, &other.shape).ok_or_else(|| {
            let (a, b) = (&shape, &other.shape);
            Error::Shape(format!("shapes {a:?} and {b:?} cannot be broadcast together"))
        })?;
    }
    Ok(shape)
}

/// Rows that do one thing, by what they do.
static SINGLE: LazyLock<Vec<(kernels::Operation, &'static Row)>> = LazyLock::new(|| {
    let plain = TABLE.iter().filter(|row| row.parameters.is_empty() && !row.condition);
    let single = plain.filter_map(|row| {
        let program = row.program(&[]).ok()?;
        let [instruction] = program.instructions() else { return None };
        let in_order = (0..row.arguments).all(|i| usize::from(instruction.arguments[i]) == i);
        in_order.then_some((instruction.operation, row))
    });
    single.collect()
});

/// Adds the node of a program, whose first input may be a condition: no node where it only copies,
/// a row where it does one thing.
pub(crate) fn add_program(
    g: &mut Builder,
    name: &'static str,
    inputs: &[ValueId],
    instructions: Vec<Instruction>,
    condition: bool,
) -> Result<ValueId, Error> {
    match (inputs, instructions.as_slice()) {
        ([only], []) => return Ok(*only),
        (_, [one]) if !condition => {
            if let Some((_, row)) = SINGLE.iter().find(|(known, _)| *known == one.operation) {
                let arguments = &one.arguments[..row.arguments];
                let inputs: Vec<ValueId> =
                    arguments.iter().map(|&register| inputs[usize::from(register)]).collect();
                return g.derive(Elementwise::with(row, vec![])?, &inputs);
            }
        }
        _ => {}
    }
    let program = Program::new(inputs.len(), instructions)
        .map_err(|why| Error::Graph(format!("{name}: {why}")))?;
    g.derive(ElementwiseProgram { name, condition, program: Arc::new(program) }, inputs)
}

/// Strides of the inputs over the output's shape, and that shape.
fn broadcast(lowering: &Lowering<'_>) -> (Vec<Vec<usize>>, Vec<usize>) {
    let shape = lowering.outputs[0].shape.clone();
    let strides = lowering.inputs.iter().map(|ty| broadcast_strides(&ty.shape, &shape)).collect();
    (strides, shape)
}

/// A kernel that runs `instructions` with the lowering's inputs, broadcast to its output, as the
/// first registers. The first input's type is the type that is computed in.
pub(crate) fn lower_program(
    lowering: &Lowering<'_>,
    instructions: Vec<Instruction>,
) -> Result<Kernel, Error> {
    let (strides, shape) = broadcast(lowering);
    lower_strided(lowering, instructions, strides, shape)
}

/// As [`lower_program`], with the strides of each operand over the given shape.
pub(crate) fn lower_strided(
    lowering: &Lowering<'_>,
    instructions: Vec<Instruction>,
    strides: Vec<Vec<usize>>,
    shape: Vec<usize>,
) -> Result<Kernel, Error> {
    let program = Program::new(strides.len(), instructions)
        .map_err(|why| Error::Graph(format!("elementwise program: {why}")))?;
    Ok(kernel(lowering, Arc::new(program), lowering.inputs[0].dtype, strides, shape))
}

fn kernel(
    lowering: &Lowering<'_>,
    program: Arc<Program>,
    compute: DType,
    strides: Vec<Vec<usize>>,
    shape: Vec<usize>,
) -> Kernel {
    let isa = lowering.settings.isa;
    let in_place = lowering.in_place;
    Box::new(move |step| {
        let operand = |index: usize| Operand {
            data: match in_place == Some(index) {
                true => Data::U8(&[]),
                false => step.data(index),
            },
            strides: &strides[index],
        };
        let output = step.data_mut(0);
        let run = |operands: &[Operand<'_>]| {
            kernels::run(
                isa,
                step.parallel(),
                &program,
                compute,
                &shape,
                operands,
                output,
                in_place,
            );
        };
        // Programs are short: the operands of nearly all of them fit on the stack.
        match strides.len() {
            1 => run(&[operand(0)]),
            2 => run(&[operand(0), operand(1)]),
            3 => run(&[operand(0), operand(1), operand(2)]),
            count => run(&(0..count).map(operand).collect::<Vec<_>>()),
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_reads_its_arguments_and_its_derivatives_read_what_there_is() {
        for row in TABLE {
            let parameters = vec![Number::Float(0.5); row.parameters.len()];
            assert!(row.program(&parameters).is_ok(), "{}", row.name);
            for formula in row.derivatives.iter().flatten() {
                let assembly = row.assemble(*formula, &parameters);
                let there = |operand: &usize| *operand < row.arguments || *operand > 2;
                assert!(assembly.operands.iter().all(there), "{}", row.name);
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn derivatives_that_do_one_thing_are_rows() -> Result<(), Error> {
        let mut g = Builder::default();
        let ty = TensorType::new(DType::F32, [2]);
        let (x, w) = (g.input("x", ty.clone())?, g.input("w", ty)?);
        let y = g.elementwise("multiply", &[x, w])?;
        let gradient = crate::grad::gradients(&mut g, &[y], &[x])?[0];
        let node = gradient.map(|value| g.graph().producer(value));
        let is_row = |node: &Node| node.op_as::<Elementwise>().is_some_and(|op| op.is("multiply"));
        assert!(node.is_some_and(is_row));
        Ok(())
    }

    #[test]
    fn what_has_no_gradient_says_so() -> Result<(), Error> {
        let mut g = Builder::default();
        let x = g.input("x", TensorType::new(DType::F32, [2]))?;
        let y = g.elementwise("lgamma", &[x])?;
        let error = crate::grad::gradients(&mut g, &[y], &[x]).err();
        assert!(error.is_some_and(|error| error.to_string().contains("lgamma")));
        Ok(())
    }

    #[test]
    fn integers_are_refused_where_fractions_are_needed() -> Result<(), Error> {
        let x = TensorType::new(DType::I32, [2]);
        for name in ["exp", "gelu", "hardsigmoid"] {
            assert!(Elementwise::named(name)?.infer(&[&x]).is_err(), "{name}");
        }
        assert!(Elementwise::named("square")?.infer(&[&x]).is_ok());
        Ok(())
    }
}
