//! Update rules of optimizers, in place on variables.
//!
//! Each takes the gradient times `scale`; the learning rate is a float32 value of shape `(1,)`
//! that the schedule computes in the same run. Formulas: OneFlow 0.4's
//! `model_update_kernel_util.h`.

use flowrs_kernels::optimizer as kernels;

use super::attributes::Attributes;
use super::{Lowering, Op, Work, expect_float, expect_inputs, expect_same_dtype, with_float};
use crate::error::Error;
use crate::step::Kernel;
use crate::types::{DType, TensorType};

/// `w -= lr * (scale * g + weight_decay * w)`; inputs w, g, lr.
#[derive(Clone, Debug)]
pub struct SgdUpdate {
    /// Factor of the gradient.
    pub scale: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// `v = beta * v - lr * scale * g; w += v - lr * weight_decay * w`; inputs w, v, g, lr.
#[derive(Clone, Debug)]
pub struct MomentumUpdate {
    /// Factor of the gradient.
    pub scale: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of the old velocity that is kept.
    pub beta: f64,
}

/// `m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*g^2; w -= lr' * (m / (sqrt(v) + eps) + wd * w)`;
/// inputs w, m, v, g, lr, step. `lr' = lr`, or with bias correction
/// `lr * sqrt(1 - b2^t) / (1 - b1^t)` with `t = step + 1`.
#[derive(Clone, Debug)]
pub struct AdamUpdate {
    /// Factor of the gradient.
    pub scale: f64,
    pub(crate) weight_decay: f64,
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    pub(crate) epsilon: f64,
    pub(crate) bias_correction: bool,
}

impl SgdUpdate {
    /// Reads `scale` and `weight_decay`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let (scale, weight_decay) = (attributes.float("scale")?, attributes.float("weight_decay")?);
        Ok(Self { scale, weight_decay })
    }
}

impl MomentumUpdate {
    /// Reads `scale`, `weight_decay` and `beta`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let (scale, weight_decay) = (attributes.float("scale")?, attributes.float("weight_decay")?);
        Ok(Self { scale, weight_decay, beta: attributes.float("beta")? })
    }
}

impl AdamUpdate {
    /// Reads `scale`, `weight_decay`, `beta1`, `beta2`, `epsilon` and `bias_correction`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self {
            scale: attributes.float("scale")?,
            weight_decay: attributes.float("weight_decay")?,
            beta1: attributes.float("beta1")?,
            beta2: attributes.float("beta2")?,
            epsilon: attributes.float("epsilon")?,
            bias_correction: attributes.bool("bias_correction")?,
        })
    }

    fn rate(&self, rate: f64, step: i64) -> f64 {
        if !self.bias_correction {
            return rate;
        }
        let t = step.saturating_add(1) as f64;
        rate * (1.0 - self.beta2.powf(t)).sqrt() / (1.0 - self.beta1.powf(t))
    }
}

/// Checks that the slots and the gradient are of the variable's type, and the rate is one number.
fn check(same: &[&TensorType], rate: &TensorType) -> Result<Vec<TensorType>, Error> {
    let variable = same[0];
    expect_float(variable, "a trained variable")?;
    for other in &same[1..] {
        expect_same_dtype(variable, other)?;
        if other.shape != variable.shape {
            let (wanted, found) = (&variable.shape, &other.shape);
            return Err(Error::Shape(format!("{found:?} does not fit a variable of {wanted:?}")));
        }
    }
    match *rate == TensorType::new(DType::F32, [1]) {
        true => Ok(vec![]),
        false => Err(Error::Shape(format!("the rate must be float32 of shape [1], not {rate}"))),
    }
}

impl Op for SgdUpdate {
    fn name(&self) -> &'static str {
        "sgd_update"
    }

    fn attributes(&self) -> String {
        format!("scale={}, weight_decay={}", self.scale, self.weight_decay)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [w, g, rate] = expect_inputs(inputs)?;
        check(&[&w, &g], &rate)
    }

    fn work(&self, _lowering: &Lowering<'_>) -> Work {
        Work::Moves
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let isa = lowering.settings.isa;
        let this = self.clone();
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let rate = step.input::<f32>(2)[0] as T;
            let (scale, decay) = (this.scale as T, this.weight_decay as T);
            let (w, g) = (step.updated::<T>(0), step.input::<T>(1));
            kernels::sgd(isa, step.parallel(), rate, scale, decay, w, g);
            Ok(())
        })))
    }

    fn updates(&self) -> &'static [usize] {
        &[0]
    }
}

impl Op for MomentumUpdate {
    fn name(&self) -> &'static str {
        "momentum_update"
    }

    fn attributes(&self) -> String {
        format!("scale={}, weight_decay={}, beta={}", self.scale, self.weight_decay, self.beta)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [w, v, g, rate] = expect_inputs(inputs)?;
        check(&[&w, &v, &g], &rate)
    }

    fn work(&self, _lowering: &Lowering<'_>) -> Work {
        Work::Moves
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let isa = lowering.settings.isa;
        let this = self.clone();
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let rate = step.input::<f32>(3)[0] as T;
            let (scale, decay, beta) =
                (this.scale as T, this.weight_decay as T, this.beta as T);
            let (w, v) = (step.updated::<T>(0), step.updated::<T>(1));
            let g = step.input::<T>(2);
            kernels::momentum(isa, step.parallel(), rate, scale, decay, beta, w, v, g);
            Ok(())
        })))
    }

    fn updates(&self) -> &'static [usize] {
        &[0, 1]
    }
}

impl Op for AdamUpdate {
    fn name(&self) -> &'static str {
        "adam_update"
    }

    fn attributes(&self) -> String {
        format!(
            "scale={}, weight_decay={}, beta1={}, beta2={}, epsilon={}, bias_correction={}",
            self.scale,
            self.weight_decay,
            self.beta1,
            self.beta2,
            self.epsilon,
            self.bias_correction
        )
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [w, m, v, g, rate, step] = expect_inputs(inputs)?;
        if step != TensorType::new(DType::I64, [1]) {
            return Err(Error::Shape(format!("the step must be int64 of shape [1], not {step}")));
        }
        check(&[&w, &m, &v, &g], &rate)
    }

    fn work(&self, _lowering: &Lowering<'_>) -> Work {
        Work::Moves
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let isa = lowering.settings.isa;
        let this = self.clone();
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let rate = this.rate(f64::from(step.input::<f32>(4)[0]), step.input::<i64>(5)[0]) as T;
            let (scale, decay) = (this.scale as T, this.weight_decay as T);
            let (beta1, beta2, epsilon) = (this.beta1, this.beta2, this.epsilon as T);
            let (w, m, v) = (step.updated::<T>(0), step.updated::<T>(1), step.updated::<T>(2));
            let g = step.input::<T>(3);
            let parallel = step.parallel();
            kernels::adam(isa, parallel, rate, scale, decay, beta1, beta2, epsilon, w, m, v, g);
            Ok(())
        })))
    }

    fn updates(&self) -> &'static [usize] {
        &[0, 1, 2]
    }
}
