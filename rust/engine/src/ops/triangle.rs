//! Lower triangles and diagonals of matrices.

use flowrs_kernels::slice::{Window, copy_window, fill};
use flowrs_kernels::triangle::lower_triangle;

use super::attributes::Attributes;
use super::{Lowering, Op, expect_inputs, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// The last two dimensions' elements with `column <= row + diagonal`; `fill` elsewhere.
#[derive(Clone, Debug)]
pub struct Tril {
    diagonal: i64,
    fill: f64,
}

/// The elements of a matrix with `column == row + offset`.
#[derive(Clone, Debug)]
pub struct Diagonal {
    offset: i64,
}

/// A matrix of zeros with the input at `column == row + offset`.
#[derive(Clone, Debug)]
pub struct DiagonalMatrix {
    rows: usize,
    columns: usize,
    offset: i64,
}

impl Tril {
    /// Reads `diagonal` and `fill_value`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { diagonal: attributes.int("diagonal")?, fill: attributes.float("fill_value")? })
    }
}

impl Diagonal {
    /// Reads `offset`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { offset: attributes.int("offset")? })
    }
}

impl DiagonalMatrix {
    /// Reads `shape` and `offset`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let shape = attributes.sizes("shape")?;
        let offset = attributes.int("offset")?;
        match shape.as_slice() {
            &[rows, columns] => Ok(Self { rows, columns, offset }),
            _ => Err(Error::Argument(format!("shape must be that of a matrix, not {shape:?}"))),
        }
    }
}

/// The window of a diagonal in a matrix, and its length.
fn diagonal(rows: usize, columns: usize, offset: i64) -> (Window, usize) {
    let steps = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    let (down, right) = if offset < 0 { (steps, 0) } else { (0, steps) };
    let length = rows.saturating_sub(down).min(columns.saturating_sub(right));
    // An empty diagonal may begin nowhere.
    let begin = if length == 0 { 0 } else { down * columns + right };
    (Window { offset: begin, strides: vec![columns as isize + 1] }, length)
}

impl Op for Tril {
    fn name(&self) -> &'static str {
        "tril"
    }

    fn attributes(&self) -> String {
        format!("diagonal={}, fill_value={}", self.diagonal, self.fill)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        match x.rank() >= 2 {
            true => Ok(vec![x]),
            false => Err(Error::Shape(format!("needs rank 2 or more, found {:?}", x.shape))),
        }
    }

    fn gradient(
        &self,
        g: &mut Builder,
        _node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        Ok(vec![Some(g.derive(Self { diagonal: self.diagonal, fill: 0.0 }, &[dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let (rows, columns) = (x.shape[x.rank() - 2], x.shape[x.rank() - 1]);
        let &Self { diagonal, fill } = self;
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            let (input, output) = (step.input::<T>(0), step.output::<T>(0));
            lower_triangle(step.parallel(), rows, columns, diagonal, fill as T, input, output);
            Ok(())
        })))
    }
}

impl Op for Diagonal {
    fn name(&self) -> &'static str {
        "diagonal"
    }

    fn attributes(&self) -> String {
        format!("offset={}", self.offset)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        match *x.shape.as_slice() {
            [rows, columns] => {
                let (_, length) = diagonal(rows, columns, self.offset);
                Ok(vec![x.with_shape([length])])
            }
            _ => Err(Error::Shape(format!("needs a matrix, found {:?}", x.shape))),
        }
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        let (rows, columns) = (g.ty(node.inputs[0]).shape[0], g.ty(node.inputs[0]).shape[1]);
        let matrix = DiagonalMatrix { rows, columns, offset: self.offset };
        Ok(vec![Some(g.derive(matrix, &[dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let (from, length) = diagonal(x.shape[0], x.shape[1], self.offset);
        let (shape, to) = ([length], Window::whole(&[length]));
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            let (input, output) = (step.input::<T>(0), step.output::<T>(0));
            copy_window(step.parallel(), &shape, input, &from, output, &to);
            Ok(())
        })))
    }
}

impl Op for DiagonalMatrix {
    fn name(&self) -> &'static str {
        "diagonal_matrix"
    }

    fn attributes(&self) -> String {
        format!("shape={:?}, offset={}", [self.rows, self.columns], self.offset)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        let (_, length) = diagonal(self.rows, self.columns, self.offset);
        match x.shape == [length] {
            true => Ok(vec![x.with_shape([self.rows, self.columns])]),
            false => Err(Error::Shape(format!(
                "the diagonal {} of {:?} has {length} elements, found {:?}",
                self.offset,
                [self.rows, self.columns],
                x.shape
            ))),
        }
    }

    fn gradient(
        &self,
        g: &mut Builder,
        _node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        Ok(vec![Some(g.derive(Diagonal { offset: self.offset }, &[dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let (to, length) = diagonal(self.rows, self.columns, self.offset);
        let (shape, from) = ([length], Window::whole(&[length]));
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            let (input, output) = (step.input::<T>(0), step.output::<T>(0));
            fill(step.parallel(), T::default(), output);
            copy_window(step.parallel(), &shape, input, &from, output, &to);
            Ok(())
        })))
    }
}
