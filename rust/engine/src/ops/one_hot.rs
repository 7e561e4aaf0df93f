//! Indices as vectors.

use flowrs_kernels::gather::one_hot;

use super::attributes::Attributes;
use super::indexing::{expect_indices, out_of_range, size, with_index};
use super::{Lowering, Op, expect_inputs, with_element};
use crate::error::Error;
use crate::step::Kernel;
use crate::types::{DType, TensorType, dtype_name};

/// A new dimension of `depth` elements at `axis`: `on` at the index, `off` elsewhere.
#[derive(Clone, Debug)]
pub struct OneHot {
    depth: usize,
    axis: usize,
    on: f64,
    off: f64,
    dtype: DType,
}

impl OneHot {
    /// Reads `depth`, `axis`, `on_value`, `off_value` and `dtype`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self {
            depth: size(attributes, "depth")?,
            axis: size(attributes, "axis")?,
            on: attributes.float("on_value")?,
            off: attributes.float("off_value")?,
            dtype: attributes.dtype("dtype")?,
        })
    }
}

impl Op for OneHot {
    fn name(&self) -> &'static str {
        "one_hot"
    }

    fn attributes(&self) -> String {
        let Self { depth, axis, on, off, dtype } = self;
        let dtype = dtype_name(*dtype);
        format!("depth={depth}, axis={axis}, on_value={on}, off_value={off}, dtype={dtype}")
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [indices] = expect_inputs(inputs)?;
        expect_indices(&indices)?;
        let mut shape = indices.shape;
        if self.axis > shape.len() {
            return Err(Error::Shape(format!("there is no place {} in {shape:?}", self.axis)));
        }
        shape.insert(self.axis, self.depth);
        Ok(vec![TensorType::new(self.dtype, shape)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let indices = lowering.inputs[0];
        let inner = indices.shape[self.axis..].iter().product();
        let &Self { depth, on, off, dtype, .. } = self;
        with_element!(dtype, T => with_index!(indices.dtype, L => Ok(Box::new(move |step| {
            let (indices, output) = (step.input::<L>(0), step.output::<T>(0));
            one_hot(step.parallel(), depth, inner, on as T, off as T, indices, output)
                .map_err(out_of_range)
        }))))
    }

    fn can_fail(&self) -> bool {
        true
    }
}
