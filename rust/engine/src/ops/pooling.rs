//! Pools over two or three spatial axes, and their gradients.

use flowrs_kernels::pooling::{self as kernels, Maxima, PoolingShape};

use super::attributes::Attributes;
use super::layout::{self, ChannelsLast};
use super::window::Window;
use super::{Lowering, Op, expect_float, expect_inputs, with_float};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{DType, TensorType};

/// How a pool moves over its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    window: Window,
    size: [usize; 3],
}

impl Geometry {
    fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let size = attributes.sizes("window")?;
        let window = Window::from_attributes(attributes, false)?;
        if size.len() + 2 != window.rank() || size.contains(&0) {
            return Err(Error::Argument(format!("the window {size:?} does not fit its strides")));
        }
        Ok(Self { size: super::window::three("window", &size, 1)?, window })
    }

    pub(crate) fn attributes(&self) -> String {
        let (size, window) = (&self.size[5 - self.window.rank()..], self.window.attributes());
        format!("window={size:?}, {window}{}", layout::named(self.window.layout))
    }

    /// The kernel's view of the sizes, from the shape of the input.
    pub(crate) fn shape(&self, input: &[usize]) -> Result<PoolingShape, Error> {
        let window = &self.window;
        if input.len() != window.rank() {
            return Err(Error::Shape(format!("needs rank {}, found {input:?}", window.rank())));
        }
        let (batch, channels, size) = window.split(window.layout, input);
        let output = window.output(size, self.size, input)?;
        let (stride, before, layout) = (window.stride, window.padding_before, window.layout);
        PoolingShape::new(batch, channels, size, self.size, stride, before, output, layout)
            .map_err(|why| Error::Shape(format!("input {input:?}: {why}")))
    }

    /// The shape of the output, from that of the input.
    pub(crate) fn output(&self, input: &[usize]) -> Result<Vec<usize>, Error> {
        let shape = self.shape(input)?;
        let layout = self.window.layout;
        Ok(self.window.join(layout, shape.batch, shape.channels, shape.output))
    }

    /// The same geometry for values with channels last, unless they are that already.
    fn channels_last(&self) -> Option<Self> {
        let window = self.window.channels_last()?;
        Some(Self { window, size: self.size })
    }

    /// Whether a position in the window fits into a byte.
    fn has_positions(&self) -> bool {
        self.size.iter().product::<usize>() <= 256
    }
}

/// The maximum of each window. The outputs are the maxima and, where `positions` is set, the
/// position of each in its window, which the gradient needs.
#[derive(Clone, Debug)]
pub struct MaxPool {
    /// How it moves.
    pub(crate) geometry: Geometry,
    /// Whether positions are an output.
    pub positions: bool,
}

/// Gives the gradient of each maximum to the first of the largest elements of its window. The
/// inputs are the gradient and the positions or, where there are none, the pool's input.
#[derive(Clone, Debug)]
pub struct MaxPoolGradient {
    /// How the pool moves.
    pub(crate) geometry: Geometry,
    /// The shape of the pool's input.
    pub(crate) input: Vec<usize>,
    /// Whether the second input are positions.
    pub(crate) positions: bool,
}

/// The mean of the elements of each window that are inside the input.
#[derive(Clone, Debug)]
pub struct AvgPool {
    geometry: Geometry,
}

/// Gives the gradient of each mean to the elements of its window in equal shares.
#[derive(Clone, Debug)]
pub struct AvgPoolGradient {
    geometry: Geometry,
    input: Vec<usize>,
}

impl MaxPool {
    /// Reads the geometry.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let geometry = Geometry::from_attributes(attributes)?;
        Ok(Self { positions: geometry.has_positions(), geometry })
    }

    /// The same pool without positions.
    pub fn without_positions(&self) -> Self {
        Self { positions: false, geometry: self.geometry.clone() }
    }
}

impl MaxPoolGradient {
    pub(crate) fn channel_axis(&self) -> usize {
        self.geometry.window.channel_axis(self.geometry.window.layout)
    }

    /// Whether every window has an element of the input, to which it gives its gradient.
    pub(crate) fn gives_all(&self) -> bool {
        self.geometry.shape(&self.input).is_ok_and(|shape| shape.every_window_has_elements())
    }
}

impl AvgPool {
    /// Reads the geometry.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { geometry: Geometry::from_attributes(attributes)? })
    }
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn channels_last(&self, _inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let op = Self { geometry: self.geometry.channels_last()?, positions: self.positions };
        layout::throughout(there, op, 1 + usize::from(self.positions))
    }

    fn attributes(&self) -> String {
        self.geometry.attributes()
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        expect_float(&x, "the input")?;
        let output = self.geometry.output(&x.shape)?;
        let mut types = vec![x.with_shape(output.clone())];
        if self.positions {
            types.push(TensorType::new(DType::U8, output));
        }
        Ok(types)
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        let x = node.inputs[0];
        let (geometry, input) = (self.geometry.clone(), g.ty(x).shape.clone());
        let op = MaxPoolGradient { geometry, input, positions: self.positions };
        let maxima = node.outputs.get(1).copied().unwrap_or(x);
        Ok(vec![Some(g.derive(op, &[dy, maxima])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = self.geometry.shape(&lowering.inputs[0].shape)?;
        let (isa, positions) = (lowering.settings.isa, self.positions);
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let positions = positions.then(|| step.output::<u8>(1));
            let (x, y) = (step.input::<T>(0), step.output::<T>(0));
            kernels::max_pool(isa, step.parallel(), &shape, x, y, positions);
            Ok(())
        })))
    }
}

impl Op for MaxPoolGradient {
    fn name(&self) -> &'static str {
        "max_pool_gradient"
    }

    fn channels_last(&self, _inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let (geometry, input) = (self.geometry.channels_last()?, layout::last(&self.input));
        layout::throughout(there, Self { geometry, input, positions: self.positions }, 1)
    }

    fn attributes(&self) -> String {
        self.geometry.attributes()
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [dy, _maxima] = expect_inputs(inputs)?;
        Ok(vec![dy.with_shape(self.input.clone())])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = self.geometry.shape(&self.input)?;
        let (isa, positions) = (lowering.settings.isa, self.positions);
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (dy, dx) = (step.input::<T>(0), step.output::<T>(0));
            let maxima = match positions {
                true => Maxima::Positions(step.input::<u8>(1)),
                false => Maxima::Input(step.input::<T>(1)),
            };
            kernels::max_pool_gradient(isa, step.parallel(), &shape, maxima, dy, dx);
            Ok(())
        })))
    }
}

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool"
    }

    fn channels_last(&self, _inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        layout::throughout(there, Self { geometry: self.geometry.channels_last()? }, 1)
    }

    fn attributes(&self) -> String {
        self.geometry.attributes()
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        expect_float(&x, "the input")?;
        Ok(vec![x.with_shape(self.geometry.output(&x.shape)?)])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        let input = g.ty(node.inputs[0]).shape.clone();
        let op = AvgPoolGradient { geometry: self.geometry.clone(), input };
        Ok(vec![Some(g.derive(op, &[dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = self.geometry.shape(&lowering.inputs[0].shape)?;
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (x, y) = (step.input::<T>(0), step.output::<T>(0));
            kernels::avg_pool(isa, step.parallel(), &shape, x, y);
            Ok(())
        })))
    }
}

impl Op for AvgPoolGradient {
    fn name(&self) -> &'static str {
        "avg_pool_gradient"
    }

    fn channels_last(&self, _inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let input = layout::last(&self.input);
        layout::throughout(there, Self { geometry: self.geometry.channels_last()?, input }, 1)
    }

    fn attributes(&self) -> String {
        self.geometry.attributes()
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [dy] = expect_inputs(inputs)?;
        Ok(vec![dy.with_shape(self.input.clone())])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        _node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(ddx) = dy[0] else { return Ok(vec![None]) };
        Ok(vec![Some(g.derive(AvgPool { geometry: self.geometry.clone() }, &[ddx])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = self.geometry.shape(&self.input)?;
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (dy, dx) = (step.input::<T>(0), step.output::<T>(0));
            kernels::avg_pool_gradient(isa, step.parallel(), &shape, dy, dx);
            Ok(())
        })))
    }
}
