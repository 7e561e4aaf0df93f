//! Slices by tuples of indices into the leading dimensions: reading, adding and writing them.

use flowrs_kernels::gather::{Layout, Start, Tuples, Write, gather, scatter};

use super::attributes::Attributes;
use super::indexing::{Check, expect_indices, with_index};
use super::{Lowering, Op, expect_same_dtype, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// The slices of `params` that `indices` name: each row of the last dimension of `indices` is an
/// index into the leading dimensions.
#[derive(Clone, Debug)]
pub struct GatherNd {
    check: Check,
}

/// An array of zeros to which `updates` are added where `indices` say.
#[derive(Clone, Debug)]
pub struct ScatterNd {
    shape: Vec<usize>,
    check: Check,
}

/// `params` with `updates` added or written where `indices` say; of several updates of the same
/// slice the last is written.
#[derive(Clone, Debug)]
pub struct TensorScatter {
    write: Write,
    check: Check,
}

/// Builds additions for the registry.
#[derive(Debug)]
pub struct TensorScatterAdd;

/// Builds replacements for the registry.
#[derive(Debug)]
pub struct TensorScatterUpdate;

impl GatherNd {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { check: Check::Here })
    }
}

impl ScatterNd {
    /// Reads `shape`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { shape: attributes.sizes("shape")?, check: Check::Here })
    }
}

impl TensorScatterAdd {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<TensorScatter, Error> {
        Ok(TensorScatter { write: Write::Add, check: Check::Here })
    }
}

impl TensorScatterUpdate {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<TensorScatter, Error> {
        Ok(TensorScatter { write: Write::Set, check: Check::Here })
    }
}

/// The shape of the slices that `indices` name in an array of shape `table`.
fn picked(table: &[usize], indices: &TensorType) -> Result<Vec<usize>, Error> {
    expect_indices(indices)?;
    match indices.shape.split_last() {
        Some((&length, entries)) if length <= table.len() => {
            Ok([entries, &table[length..]].concat())
        }
        _ => Err(Error::Shape(format!(
            "indices of shape {:?} do not fit {table:?}: their last dimension counts the dimensions \
             that are indexed",
            indices.shape
        ))),
    }
}

fn expect_updates(
    table: &[usize],
    indices: &TensorType,
    updates: &TensorType,
) -> Result<(), Error> {
    let wanted = picked(table, indices)?;
    match updates.shape == wanted {
        true => Ok(()),
        false => Err(Error::Shape(format!(
            "indices of shape {:?} into {table:?} need updates of shape {wanted:?}, not {:?}",
            indices.shape, updates.shape
        ))),
    }
}

/// The sizes that a kernel needs: of the dimensions indexed, the number of entries, and the slices.
struct Sizes {
    limits: Vec<usize>,
    entries: usize,
    layout: Layout,
}

impl Sizes {
    fn new(table: &TensorType, indices: &TensorType) -> Self {
        let (length, entries) = indices.shape.split_last().map_or((0, &[][..]), |(n, e)| (*n, e));
        let (limits, slice) = table.shape.split_at(length);
        Self {
            limits: limits.to_vec(),
            entries: entries.iter().product(),
            layout: Layout { batch: 1, outer: 1, inner: slice.iter().product() },
        }
    }

    fn index<'a, L>(&'a self, indices: &'a [L]) -> Tuples<'a, L> {
        Tuples { indices, limits: &self.limits, entries: self.entries }
    }
}

impl Op for GatherNd {
    fn name(&self) -> &'static str {
        "gather_nd"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [params, indices] = self.check.inputs(inputs)?;
        let shape = picked(&params.shape, &indices)?;
        Ok(self.check.outputs(params.with_shape(shape)))
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; node.inputs.len()]) };
        let shape = g.ty(node.inputs[0]).shape.clone();
        let scatter = ScatterNd { shape, check: Check::Done };
        let mut gradients = vec![None; node.inputs.len()];
        gradients[0] = Some(self.check.derive::<2>(g, node, scatter, &[node.inputs[1], dy])?);
        Ok(gradients)
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (params, indices) = (lowering.inputs[0], lowering.inputs[1]);
        let (sizes, check) = (Sizes::new(params, indices), self.check);
        with_element!(params.dtype, T => with_index!(indices.dtype, L => {
            Ok(Box::new(move |step| {
                let index = sizes.index(step.input::<L>(1));
                let (input, output) = (step.input::<T>(0), step.output::<T>(0));
                check.finish(step, gather(step.parallel(), sizes.layout, &index, input, output))
            }))
        }))
    }

    fn can_fail(&self) -> bool {
        self.check == Check::Here
    }
}

impl Op for ScatterNd {
    fn name(&self) -> &'static str {
        "scatter_nd"
    }

    fn attributes(&self) -> String {
        format!("shape={:?}", self.shape)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [indices, updates] = self.check.inputs(inputs)?;
        expect_updates(&self.shape, &indices, &updates)?;
        Ok(self.check.outputs(updates.with_shape(self.shape.clone())))
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; node.inputs.len()]) };
        let gather = GatherNd { check: Check::Done };
        let mut gradients = vec![None; node.inputs.len()];
        gradients[1] = Some(self.check.derive::<2>(g, node, gather, &[dy, node.inputs[0]])?);
        Ok(gradients)
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (indices, result) = (lowering.inputs[0], lowering.outputs[0]);
        let (sizes, check) = (Sizes::new(result, indices), self.check);
        with_element!(result.dtype, T => with_index!(indices.dtype, L => {
            Ok(Box::new(move |step| {
                let index = sizes.index(step.input::<L>(0));
                let (updates, output) = (step.input::<T>(1), step.output::<T>(0));
                let (parallel, zero) = (step.parallel(), Start::Zero);
                let sum =
                    scatter(parallel, sizes.layout, &index, Write::Add, zero, updates, output);
                check.finish(step, sum)
            }))
        }))
    }

    fn can_fail(&self) -> bool {
        self.check == Check::Here
    }
}

impl Op for TensorScatter {
    fn name(&self) -> &'static str {
        match self.write {
            Write::Add => "tensor_scatter_nd_add",
            Write::Set => "tensor_scatter_nd_update",
        }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [params, indices, updates] = self.check.inputs(inputs)?;
        expect_same_dtype(&params, &updates)?;
        expect_updates(&params.shape, &indices, &updates)?;
        Ok(self.check.outputs(params))
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; node.inputs.len()]) };
        let (indices, updates) = (node.inputs[1], node.inputs[2]);
        let mut gradients = vec![None; node.inputs.len()];
        gradients[0] = Some(match self.write {
            Write::Add => dy,
            Write::Set => {
                // What is replaced has no influence.
                let nothing = g.fill(g.ty(updates).clone(), 0.0)?;
                let erase = Self { write: Write::Set, check: Check::Done };
                self.check.derive::<3>(g, node, erase, &[dy, indices, nothing])?
            }
        });
        let gather = GatherNd { check: Check::Done };
        gradients[2] = Some(self.check.derive::<3>(g, node, gather, &[dy, indices])?);
        Ok(gradients)
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (params, indices) = (lowering.inputs[0], lowering.inputs[1]);
        let (sizes, check, write) = (Sizes::new(params, indices), self.check, self.write);
        let keep = lowering.in_place == Some(0);
        with_element!(params.dtype, T => with_index!(indices.dtype, L => {
            Ok(Box::new(move |step| {
                let index = sizes.index(step.input::<L>(1));
                let start = if keep { Start::Keep } else { Start::Copy(step.input::<T>(0)) };
                let (updates, output) = (step.input::<T>(2), step.output::<T>(0));
                let parallel = step.parallel();
                let done = scatter(parallel, sizes.layout, &index, write, start, updates, output);
                check.finish(step, done)
            }))
        }))
    }

    fn in_place(&self) -> &'static [usize] {
        &[0]
    }

    fn can_fail(&self) -> bool {
        self.check == Check::Here
    }
}
