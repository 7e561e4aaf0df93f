//! A gradient that is a matrix product, added to its variable without being stored.

use flowrs_kernels::gemm::{Epilogue, GemmAlgorithm, MatrixMut, gemm};

use super::matmul::{MatMul, Sizes};
use super::{Lowering, Op, Work, expect_inputs, expect_same_dtype, with_float};
use crate::error::Error;
use crate::step::Kernel;
use crate::types::TensorType;

/// `variable = (1 - lr * weight_decay) * variable - lr * scale * product(a, b)`; the inputs are
/// variable, a, b and the learning rate. Made by the pass that fuses updates.
#[derive(Clone, Debug)]
pub struct MatMulUpdate {
    /// The product.
    pub product: MatMul,
    /// Factor of the gradient.
    pub scale: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Op for MatMulUpdate {
    fn name(&self) -> &'static str {
        "matmul_sgd_update"
    }

    fn attributes(&self) -> String {
        let product = self.product.attributes();
        let comma = if product.is_empty() { "" } else { ", " };
        format!("{product}{comma}scale={}, weight_decay={}", self.scale, self.weight_decay)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [variable, a, b, _rate] = expect_inputs(inputs)?;
        expect_same_dtype(&variable, &a)?;
        let Sizes { m, n, .. } = self.product.sizes(&a, &b)?;
        match variable.shape == [m, n] {
            true => Ok(vec![]),
            false => Err(Error::Shape(format!(
                "a gradient of shape {:?} does not fit {:?}",
                [m, n],
                variable.shape
            ))),
        }
    }

    fn work(&self, lowering: &Lowering<'_>) -> Work {
        let sizes = self.product.sizes(lowering.inputs[1], lowering.inputs[2]);
        sizes.map_or(Work::Other, Sizes::work)
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (a, b) = (lowering.inputs[1], lowering.inputs[2]);
        let (ta, tb) = (self.product.transpose_a, self.product.transpose_b);
        let Sizes { m, k, n, .. } = self.product.sizes(a, b)?;
        let isa = lowering.settings.isa;
        let (factor, decay) = (self.product.alpha * self.scale, self.weight_decay);
        with_float!(a.dtype, T => Ok(Box::new(move |step| {
            let rate = f64::from(step.input::<f32>(3)[0]);
            let a = MatMul::operand(step.input::<T>(1), m, k, ta);
            let b = MatMul::operand(step.input::<T>(2), k, n, tb);
            let c = MatrixMut::row_major(step.updated::<T>(0), m, n);
            let (alpha, beta) = ((-rate * factor) as T, (1.0 - rate * decay) as T);
            gemm(isa, step.parallel(), GemmAlgorithm::Blocked, alpha, a, b, beta, c, Epilogue::None);
            Ok(())
        })))
    }

    fn updates(&self) -> &'static [usize] {
        &[0]
    }
}
