//! Normalisation of rows, with parameters that are shared in a fixed pattern: layer, group and
//! instance normalisation.

use flowrs_kernels::normalization::{self as kernels, Affine};

use super::attributes::Attributes;
use super::{Lowering, Op, expect_float, expect_inputs, expect_same_dtype, with_float};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` for each of `rows` equal pieces of x with
/// its own mean and biased variance. Element `i` takes parameter `i / repeat % parameters`. Inputs
/// x, gamma, beta; outputs y, mean and inverse deviation.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    rows: usize,
    repeat: usize,
    epsilon: f64,
}

/// The gradient to x; inputs x, dy, mean, inverse deviation, gamma.
#[derive(Clone, Debug)]
pub struct LayerNormGradient(LayerNorm);

/// The gradients to gamma and beta; inputs x, dy, mean, inverse deviation, gamma.
#[derive(Clone, Debug)]
pub struct LayerNormParameterGradient(LayerNorm);

impl LayerNorm {
    /// Reads `rows`, `repeat` and `epsilon`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let size = |name: &str, value: i64| match usize::try_from(value) {
            Ok(value) if value > 0 => Ok(value),
            _ => Err(Error::Argument(format!("{name} must be above 0, not {value}"))),
        };
        let rows = size("rows", attributes.int("rows")?)?;
        let repeat = size("repeat", attributes.int("repeat")?)?;
        Ok(Self { rows, repeat, epsilon: attributes.float("epsilon")? })
    }
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn attributes(&self) -> String {
        format!("rows={}, repeat={}, epsilon={}", self.rows, self.repeat, self.epsilon)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x, gamma, beta] = expect_inputs(inputs)?;
        expect_float(&x, "the input")?;
        expect_same_dtype(&x, &gamma)?;
        let pattern = gamma.elements() * self.repeat;
        let divides = |part: usize| part != 0 && x.elements() % part == 0;
        if gamma != beta || !divides(pattern) || !divides(self.rows) || x.elements() == 0 {
            return Err(Error::Shape(format!(
                "gamma {gamma} and beta {beta} do not fit {x} in {} rows",
                self.rows
            )));
        }
        let statistic = x.with_shape([self.rows]);
        Ok(vec![x, statistic.clone(), statistic])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; 3]) };
        let inputs = [node.inputs[0], dy, node.outputs[1], node.outputs[2], node.inputs[1]];
        let dx = g.derive(LayerNormGradient(self.clone()), &inputs)?;
        let parameters = g.derive_all(LayerNormParameterGradient(self.clone()), &inputs)?;
        Ok(vec![Some(dx), Some(parameters[0]), Some(parameters[1])])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (rows, repeat, epsilon) = (self.rows, self.repeat, self.epsilon);
        let length = lowering.inputs[0].elements() / rows;
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (gamma, beta) = (step.input::<T>(1), step.input::<T>(2));
            let affine = Affine { gamma, beta, repeat };
            let (y, mean, deviation) =
                (step.output::<T>(0), step.output::<T>(1), step.output::<T>(2));
            let (parallel, x) = (step.parallel(), step.input::<T>(0));
            kernels::layer_norm(
                isa, parallel, length, x, affine, epsilon as T, y, mean, deviation,
            );
            Ok(())
        })))
    }
}

impl Op for LayerNormGradient {
    fn name(&self) -> &'static str {
        "layer_norm_gradient"
    }

    fn attributes(&self) -> String {
        self.0.attributes()
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x, ..] = expect_inputs::<5>(inputs)?;
        Ok(vec![x])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (rows, repeat) = (self.0.rows, self.0.repeat);
        let length = lowering.inputs[0].elements() / rows;
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (x, dy) = (step.input::<T>(0), step.input::<T>(1));
            let (statistics, gamma) = ([step.input::<T>(2), step.input::<T>(3)], step.input::<T>(4));
            let (parallel, dx) = (step.parallel(), step.output::<T>(0));
            kernels::layer_norm_gradient(
                isa, parallel, length, x, dy, statistics, gamma, repeat, dx,
            );
            Ok(())
        })))
    }
}

impl Op for LayerNormParameterGradient {
    fn name(&self) -> &'static str {
        "layer_norm_parameter_gradient"
    }

    fn attributes(&self) -> String {
        self.0.attributes()
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [_x, _dy, _mean, _deviation, gamma] = expect_inputs(inputs)?;
        Ok(vec![gamma.clone(), gamma])
    }

    fn scratch_bytes(&self, lowering: &Lowering<'_>) -> Result<usize, Error> {
        let (x, gamma) = (lowering.inputs[0], lowering.inputs[4]);
        let (elements, parameters) = (x.elements(), gamma.elements());
        let repeat = self.0.repeat;
        let shape = [elements / (parameters * repeat), parameters, repeat];
        Ok(kernels::scratch_elements(shape) * x.dtype.size())
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (rows, repeat) = (self.0.rows, self.0.repeat);
        let length = lowering.inputs[0].elements() / rows;
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (x, dy) = (step.input::<T>(0), step.input::<T>(1));
            let statistics = [step.input::<T>(2), step.input::<T>(3)];
            let gradients = [step.output::<T>(0), step.output::<T>(1)];
            let (parallel, scratch) = (step.parallel(), step.scratch::<T>());
            kernels::layer_norm_parameter_gradient(
                isa, parallel, length, repeat, x, dy, statistics, gradients, scratch,
            );
            Ok(())
        })))
    }
}
