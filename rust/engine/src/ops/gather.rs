//! Slices along an axis by their indices, and the sum of slices that have one index.

use flowrs_kernels::gather::{Layout, Single, Start, Write, gather, scatter};

use super::attributes::Attributes;
use super::indexing::{Check, expect_indices, size, with_index};
use super::{Lowering, Op, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// `params` at the `indices` along `axis`. The first `batch_dims` dimensions are common to both
/// inputs; `axis` is not one of them. The result has the indices' other dimensions in place of the
/// axis.
#[derive(Clone, Debug)]
pub struct Gather {
    axis: usize,
    batch_dims: usize,
    check: Check,
}

/// The reverse: adds up the slices of `data` that have the same index. The indices' dimensions
/// behind the first `batch_dims` ones lie at `axis` of `data`; in the result there is one dimension
/// of `segments` elements in their place.
#[derive(Clone, Debug)]
pub struct SegmentSum {
    axis: usize,
    batch_dims: usize,
    segments: usize,
    check: Check,
}

impl Gather {
    /// Reads `axis` and `batch_dims`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let (axis, batch_dims) = (size(attributes, "axis")?, size(attributes, "batch_dims")?);
        match batch_dims <= axis {
            true => Ok(Self { axis, batch_dims, check: Check::Here }),
            false => Err(Error::Argument(format!(
                "batch_dims {batch_dims} must not be greater than axis {axis}"
            ))),
        }
    }

    /// The dimensions of the table before the axis, and those of the indices behind the batch.
    fn check_shapes<'a>(
        &self,
        params: &'a TensorType,
        indices: &'a TensorType,
    ) -> Result<(&'a [usize], &'a [usize]), Error> {
        expect_indices(indices)?;
        let (table, picks) = (&params.shape, &indices.shape);
        let batch = self.batch_dims;
        if self.axis >= table.len() || batch > picks.len() || table[..batch] != picks[..batch] {
            return Err(Error::Shape(format!(
                "indices of shape {picks:?} do not fit {table:?} with axis {} and batch_dims \
                 {batch}",
                self.axis
            )));
        }
        Ok((&table[..self.axis], &picks[batch..]))
    }
}

impl SegmentSum {
    /// Reads `axis`, `batch_dims` and `num_segments`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let Gather { axis, batch_dims, check } = Gather::from_attributes(attributes)?;
        Ok(Self { axis, batch_dims, segments: size(attributes, "num_segments")?, check })
    }
}

/// Sizes of the dimensions before an axis, in batches, and behind it.
fn layout(table: &[usize], axis: usize, batch_dims: usize) -> Layout {
    Layout {
        batch: table[..batch_dims].iter().product(),
        outer: table[batch_dims..axis].iter().product(),
        inner: table[axis + 1..].iter().product(),
    }
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn attributes(&self) -> String {
        format!("axis={}, batch_dims={}", self.axis, self.batch_dims)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [params, indices] = self.check.inputs(inputs)?;
        let (before, picks) = self.check_shapes(&params, &indices)?;
        let shape = [before, picks, &params.shape[self.axis + 1..]].concat();
        Ok(self.check.outputs(params.with_shape(shape)))
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; node.inputs.len()]) };
        let segments = g.ty(node.inputs[0]).shape[self.axis];
        let &Self { axis, batch_dims, .. } = self;
        let sum = SegmentSum { axis, batch_dims, segments, check: Check::Done };
        let mut gradients = vec![None; node.inputs.len()];
        gradients[0] = Some(self.check.derive::<2>(g, node, sum, &[dy, node.inputs[1]])?);
        Ok(gradients)
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (params, indices) = (lowering.inputs[0], lowering.inputs[1]);
        let layout = layout(&params.shape, self.axis, self.batch_dims);
        let (limit, check) = (params.shape[self.axis], self.check);
        with_element!(params.dtype, T => with_index!(indices.dtype, L => {
            Ok(Box::new(move |step| {
                let index = Single { indices: step.input::<L>(1), limit };
                let (input, output) = (step.input::<T>(0), step.output::<T>(0));
                check.finish(step, gather(step.parallel(), layout, &index, input, output))
            }))
        }))
    }

    fn can_fail(&self) -> bool {
        self.check == Check::Here
    }
}

impl Op for SegmentSum {
    fn name(&self) -> &'static str {
        "unsorted_segment_sum"
    }

    fn attributes(&self) -> String {
        let Self { axis, batch_dims, segments, .. } = self;
        format!("axis={axis}, batch_dims={batch_dims}, num_segments={segments}")
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [data, indices] = self.check.inputs(inputs)?;
        expect_indices(&indices)?;
        let (slices, ids) = (&data.shape, &indices.shape);
        let batch = self.batch_dims;
        let behind = self.axis + ids.len().saturating_sub(batch);
        if batch > ids.len()
            || behind > slices.len()
            || slices[..batch] != ids[..batch]
            || slices[self.axis..behind] != ids[batch..]
        {
            return Err(Error::Shape(format!(
                "segment ids of shape {ids:?} do not fit data of shape {slices:?} at axis {}",
                self.axis
            )));
        }
        let shape = [&slices[..self.axis], &[self.segments], &slices[behind..]].concat();
        Ok(self.check.outputs(data.with_shape(shape)))
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; node.inputs.len()]) };
        let &Self { axis, batch_dims, .. } = self;
        let gather = Gather { axis, batch_dims, check: Check::Done };
        let mut gradients = vec![None; node.inputs.len()];
        gradients[0] = Some(self.check.derive::<2>(g, node, gather, &[dy, node.inputs[1]])?);
        Ok(gradients)
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (indices, result) = (lowering.inputs[1], lowering.outputs[0]);
        let layout = layout(&result.shape, self.axis, self.batch_dims);
        let (limit, check) = (self.segments, self.check);
        with_element!(result.dtype, T => with_index!(indices.dtype, L => {
            Ok(Box::new(move |step| {
                let index = Single { indices: step.input::<L>(1), limit };
                let (data, output) = (step.input::<T>(0), step.output::<T>(0));
                let (parallel, zero) = (step.parallel(), Start::Zero);
                let sum = scatter(parallel, layout, &index, Write::Add, zero, data, output);
                check.finish(step, sum)
            }))
        }))
    }

    fn can_fail(&self) -> bool {
        self.check == Check::Here
    }
}
