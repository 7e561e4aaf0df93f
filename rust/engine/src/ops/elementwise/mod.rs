//! The table of elementwise operations: forward on registers, derivative as graph.
//!
//! A new one is a row here. Broadcasting is the lowering's business for all rows alike, and the
//! reduction that its gradient needs is done once, in `grad`.

use std::sync::Arc;

use flowrs_kernels::Data;
use flowrs_kernels::elementwise::{self as kernels, Instruction, Operand, Operation, Program};

use super::{Lowering, Op, expect_same_dtype};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{DType, TensorType, broadcast_shapes, broadcast_strides, dtype_name};

/// The element type that a row gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultType {
    /// That of the arguments.
    Same,
    /// int8, as comparisons give.
    Int8,
}

/// What a derivative sees: the builder, the arguments, the result, and the result's gradient.
pub struct Chain<'a> {
    g: &'a mut Builder,
    x: &'a [ValueId],
    y: ValueId,
    dy: ValueId,
}

impl std::fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("x", &self.x).finish_non_exhaustive()
    }
}

type Derivative = fn(&mut Chain<'_>) -> Result<Vec<Option<ValueId>>, Error>;

/// One elementwise operation.
#[derive(Debug)]
pub struct Row {
    /// Its name in the registry.
    pub name: &'static str,
    /// Number of arguments.
    pub arguments: usize,
    /// Whether integers are arguments too.
    pub integers: bool,
    /// Element type of the result.
    pub result: ResultType,
    /// What happens to one element.
    pub operation: Operation,
    /// How a gradient flows back, if it does.
    pub derivative: Option<Derivative>,
}

const fn row(
    name: &'static str,
    arguments: usize,
    operation: Operation,
    derivative: Derivative,
) -> Row {
    let result = ResultType::Same;
    Row { name, arguments, integers: true, result, operation, derivative: Some(derivative) }
}

const fn comparison(name: &'static str, operation: Operation) -> Row {
    let result = ResultType::Int8;
    Row { name, arguments: 2, integers: true, result, operation, derivative: None }
}

const fn float_only(row: Row) -> Row {
    Row { integers: false, ..row }
}

/// All elementwise operations.
pub static TABLE: &[Row] = &[
    row("add", 2, Operation::Add, |c| Ok(vec![Some(c.dy), Some(c.dy)])),
    row("subtract", 2, Operation::Subtract, |c| {
        let negative = c.g.elementwise("negative", &[c.dy])?;
        Ok(vec![Some(c.dy), Some(negative)])
    }),
    row("multiply", 2, Operation::Multiply, |c| {
        let (a, b) = (c.x[0], c.x[1]);
        let da = c.g.elementwise("multiply", &[c.dy, b])?;
        let db = c.g.elementwise("multiply", &[c.dy, a])?;
        Ok(vec![Some(da), Some(db)])
    }),
    row("divide", 2, Operation::Divide, |c| {
        let b = c.x[1];
        let da = c.g.elementwise("divide", &[c.dy, b])?;
        let slope = c.g.elementwise("multiply", &[da, c.y])?;
        let db = c.g.elementwise("negative", &[slope])?;
        Ok(vec![Some(da), Some(db)])
    }),
    row("negative", 1, Operation::Negative, |c| {
        Ok(vec![Some(c.g.elementwise("negative", &[c.dy])?)])
    }),
    row("relu", 1, Operation::Relu, |c| {
        Ok(vec![Some(c.g.elementwise("relu_gradient", &[c.y, c.dy])?)])
    }),
    row("relu_gradient", 2, Operation::ReluGradient, |c| {
        let ddy = c.g.elementwise("relu_gradient", &[c.x[0], c.dy])?;
        Ok(vec![None, Some(ddy)])
    }),
    float_only(row("reciprocal_no_nan", 1, Operation::ReciprocalNoNan, |c| {
        let square = c.g.elementwise("multiply", &[c.y, c.y])?;
        let slope = c.g.elementwise("multiply", &[c.dy, square])?;
        Ok(vec![Some(c.g.elementwise("negative", &[slope])?)])
    })),
    comparison("equal", Operation::Equal),
];

/// A row of the table as an operation.
#[derive(Clone, Copy, Debug)]
pub struct Elementwise {
    /// The row.
    pub row: &'static Row,
}

impl Elementwise {
    /// The row with this name.
    pub fn named(name: &str) -> Result<Self, Error> {
        TABLE
            .iter()
            .find(|row| row.name == name)
            .map(|row| Self { row })
            .ok_or_else(|| Error::Graph(format!("there is no operation named {name}")))
    }

    /// True where the operation is the row with this name.
    pub fn is(&self, name: &str) -> bool {
        self.row.name == name
    }
}

impl Op for Elementwise {
    fn name(&self) -> &'static str {
        self.row.name
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let row = self.row;
        let [first, rest @ ..] = inputs else {
            return Err(Error::Argument(format!("takes {} inputs, not 0", row.arguments)));
        };
        if inputs.len() != row.arguments {
            let (wanted, found) = (row.arguments, inputs.len());
            return Err(Error::Argument(format!("takes {wanted} inputs, not {found}")));
        }
        if !row.integers && !first.dtype.is_float() {
            let found = dtype_name(first.dtype);
            return Err(Error::DType(format!("needs float32 or float64, not {found}")));
        }
        let mut shape = first.shape.clone();
        for other in rest {
            expect_same_dtype(first, other)?;
            shape = broadcast_shapes(&shape, &other.shape).ok_or_else(|| {
                let (a, b) = (&first.shape, &other.shape);
                Error::Shape(format!("shapes {a:?} and {b:?} cannot be broadcast together"))
            })?;
        }
        let dtype = match row.result {
            ResultType::Same => first.dtype,
            ResultType::Int8 => DType::I8,
        };
        Ok(vec![TensorType::new(dtype, shape)])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let (Some(derivative), Some(dy)) = (self.row.derivative, dy[0]) else {
            return Ok(vec![None; node.inputs.len()]);
        };
        derivative(&mut Chain { g, x: &node.inputs, y: node.outputs[0], dy })
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let arguments = std::array::from_fn(|i| i as u16);
        let instruction = Instruction { operation: self.row.operation, arguments };
        lower_program(lowering, vec![instruction])
    }

    fn in_place(&self) -> &'static [usize] {
        match (self.row.result, self.row.arguments) {
            (ResultType::Int8, _) => &[],
            (_, 1) => &[0],
            (_, 2) => &[0, 1],
            _ => &[0, 1, 2],
        }
    }
}

/// A kernel that runs `instructions` with the lowering's inputs, broadcast to its output, as the
/// first registers. The first input's type is the type that is computed in.
pub(crate) fn lower_program(
    lowering: &Lowering<'_>,
    instructions: Vec<Instruction>,
) -> Result<Kernel, Error> {
    let shape = lowering.outputs[0].shape.clone();
    let strides: Vec<Vec<usize>> =
        lowering.inputs.iter().map(|ty| broadcast_strides(&ty.shape, &shape)).collect();
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
    let compute = lowering.inputs[0].dtype;
    let isa = lowering.settings.isa;
    let in_place = lowering.in_place;
    let program = Arc::new(program);
    Ok(Box::new(move |step| {
        let operand = |index: usize| Operand {
            data: match in_place == Some(index) {
                true => Data::U8(&[]),
                false => step.data(index),
            },
            strides: &strides[index],
        };
        // Programs are short: the operands of the table's rows fit on the stack.
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
        match strides.len() {
            1 => run(&[operand(0)]),
            2 => run(&[operand(0), operand(1)]),
            count => run(&(0..count).map(operand).collect::<Vec<_>>()),
        }
        Ok(())
    }))
}
