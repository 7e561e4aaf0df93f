//! Batch normalisation: with the statistics of the batch, and with given ones.

use std::sync::Arc;

use flowrs_kernels::normalization as kernels;

use super::attributes::Attributes;
use super::layout::{self, ChannelsLast};
use super::{Lowering, Op, expect_float, expect_inputs, with_float};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// The axis of the channels, and what keeps the divisor from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Channels {
    axis: usize,
    epsilon: f64,
}

impl Channels {
    fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let axis = attributes.int("axis")?;
        let axis = usize::try_from(axis)
            .map_err(|_| Error::Argument(format!("axis must not be negative, found {axis}")))?;
        Ok(Self { axis, epsilon: attributes.float("epsilon")? })
    }

    fn attributes(self) -> String {
        format!("axis={}, epsilon={}", self.axis, self.epsilon)
    }

    /// The same for an `x` whose channels are moved from the second axis to the last.
    fn last(self, x: &TensorType) -> Option<Self> {
        (self.axis == 1).then(|| Self { axis: x.rank() - 1, ..self })
    }

    /// Elements before, along and behind the axis.
    fn extents(self, x: &TensorType) -> [usize; 3] {
        let outer = x.shape[..self.axis].iter().product();
        [outer, x.shape[self.axis], x.shape[self.axis + 1..].iter().product()]
    }

    /// Checks `x`, and that each parameter has one element a channel.
    fn check(self, x: &TensorType, parameters: &[&TensorType]) -> Result<TensorType, Error> {
        expect_float(x, "the input")?;
        let Some(&channels) = x.shape.get(self.axis) else {
            return Err(Error::Shape(format!("there is no axis {} in {:?}", self.axis, x.shape)));
        };
        let one_each = x.with_shape([channels]);
        match parameters.iter().find(|parameter| ***parameter != one_each) {
            None => Ok(one_each),
            Some(other) => {
                Err(Error::Shape(format!("a parameter must be {one_each}, not {other}")))
            }
        }
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` with the mean and the biased variance of
/// `x` over all axes but one; inputs x, gamma, beta; outputs y, mean, variance.
#[derive(Clone, Debug)]
pub struct BatchNorm(Channels);

/// The same with given statistics; inputs x, gamma, beta, mean, variance.
#[derive(Clone, Debug)]
pub struct BatchNormFixed(Channels);

/// The gradients to x, gamma and beta; inputs x, dy, mean, variance, gamma.
#[derive(Clone, Debug)]
pub struct BatchNormGradient {
    channels: Channels,
    fixed: bool,
}

impl BatchNorm {
    /// Reads `axis` and `epsilon`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self(Channels::from_attributes(attributes)?))
    }
}

impl BatchNormFixed {
    /// Reads `axis` and `epsilon`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self(Channels::from_attributes(attributes)?))
    }
}

/// The three gradients as the outputs of a node.
fn derive_gradients(
    g: &mut Builder,
    op: BatchNormGradient,
    inputs: &[ValueId],
) -> Result<Vec<Option<ValueId>>, Error> {
    let outputs = g.derive_all(op, inputs)?;
    Ok(outputs.into_iter().map(Some).collect())
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn attributes(&self) -> String {
        self.0.attributes()
    }

    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        layout::first_only(there, Self(self.0.last(inputs[0])?), 3)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x, gamma, beta] = expect_inputs(inputs)?;
        let statistic = self.0.check(&x, &[&gamma, &beta])?;
        if x.elements() == 0 {
            return Err(Error::Shape(format!("{:?} has no elements to average", x.shape)));
        }
        Ok(vec![x, statistic.clone(), statistic])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; 3]) };
        let (x, gamma) = (node.inputs[0], node.inputs[1]);
        let inputs = [x, dy, node.outputs[1], node.outputs[2], gamma];
        derive_gradients(g, BatchNormGradient { channels: self.0, fixed: false }, &inputs)
    }

    fn scratch_bytes(&self, lowering: &Lowering<'_>) -> Result<usize, Error> {
        let elements = kernels::scratch_elements(self.0.extents(lowering.inputs[0]));
        Ok(elements * lowering.inputs[0].dtype.size())
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = self.0.extents(lowering.inputs[0]);
        let (isa, epsilon) = (lowering.settings.isa, self.0.epsilon);
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (x, gamma, beta) = (step.input::<T>(0), step.input::<T>(1), step.input::<T>(2));
            let (y, mean, variance) =
                (step.output::<T>(0), step.output::<T>(1), step.output::<T>(2));
            let (parallel, scratch) = (step.parallel(), step.scratch::<T>());
            kernels::moments(isa, parallel, shape, x, mean, variance, scratch);
            let parameters: [&[T]; 4] = [mean, variance, gamma, beta];
            let epsilon = epsilon as T;
            kernels::batch_norm(isa, parallel, shape, x, parameters, epsilon, None, false, y);
            Ok(())
        })))
    }
}

impl Op for BatchNormFixed {
    fn name(&self) -> &'static str {
        "batch_norm_fixed"
    }

    fn attributes(&self) -> String {
        self.0.attributes()
    }

    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        layout::first_only(there, Self(self.0.last(inputs[0])?), 1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x, gamma, beta, mean, variance] = expect_inputs(inputs)?;
        self.0.check(&x, &[&gamma, &beta, &mean, &variance])?;
        Ok(vec![x])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; 5]) };
        let (x, gamma) = (node.inputs[0], node.inputs[1]);
        let inputs = [x, dy, node.inputs[3], node.inputs[4], gamma];
        let op = BatchNormGradient { channels: self.0, fixed: true };
        let mut gradients = derive_gradients(g, op, &inputs)?;
        gradients.extend([None, None]);
        Ok(gradients)
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = self.0.extents(lowering.inputs[0]);
        let (isa, epsilon) = (lowering.settings.isa, self.0.epsilon);
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (x, gamma, beta) = (step.input::<T>(0), step.input::<T>(1), step.input::<T>(2));
            let (mean, variance) = (step.input::<T>(3), step.input::<T>(4));
            let (parallel, y) = (step.parallel(), step.output::<T>(0));
            let parameters: [&[T]; 4] = [mean, variance, gamma, beta];
            let epsilon = epsilon as T;
            kernels::batch_norm(isa, parallel, shape, x, parameters, epsilon, None, false, y);
            Ok(())
        })))
    }
}

impl Op for BatchNormGradient {
    fn name(&self) -> &'static str {
        "batch_norm_gradient"
    }

    fn attributes(&self) -> String {
        let fixed = if self.fixed { ", fixed" } else { "" };
        format!("{}{fixed}", self.channels.attributes())
    }

    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let op = Self { channels: self.channels.last(inputs[0])?, fixed: self.fixed };
        let arrays = |count: usize, arrays: usize| (0..count).map(|i| i < arrays).collect();
        there.contains(&true).then(|| ChannelsLast {
            op: Arc::new(op),
            inputs: arrays(5, 2),
            outputs: arrays(3, 1),
        })
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x, _dy, mean, _variance, _gamma] = expect_inputs(inputs)?;
        Ok(vec![x, mean.clone(), mean])
    }

    fn scratch_bytes(&self, lowering: &Lowering<'_>) -> Result<usize, Error> {
        let elements = kernels::scratch_elements(self.channels.extents(lowering.inputs[0]));
        Ok(elements * lowering.inputs[0].dtype.size())
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = self.channels.extents(lowering.inputs[0]);
        let (isa, epsilon, fixed) = (lowering.settings.isa, self.channels.epsilon, self.fixed);
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (x, dy) = (step.input::<T>(0), step.input::<T>(1));
            let statistics = [step.input::<T>(2), step.input::<T>(3), step.input::<T>(4)];
            let gradients = [step.output::<T>(0), step.output::<T>(1), step.output::<T>(2)];
            let (parallel, scratch) = (step.parallel(), step.scratch::<T>());
            kernels::batch_norm_gradient(
                isa, parallel, shape, x, dy, statistics, epsilon as T, fixed, gradients, scratch,
            );
            Ok(())
        })))
    }
}
