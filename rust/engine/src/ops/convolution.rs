//! Convolutions over one to three spatial axes, and their gradients, which are operations too.

use std::sync::Arc;

use flowrs_kernels::Layout;
use flowrs_kernels::convolution::{
    self as kernels, Algorithm, ConvolutionShape, Pass, Source, Target,
};
use flowrs_kernels::pooling::{MaxPooled, MaxUnpooled, PoolingShape};

use super::attributes::Attributes;
use super::layout::{self, ChannelsLast};
use super::window::Window;
use super::{Lowering, Op, Work, expect_float, expect_same_dtype, pooling, with_float};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::settings::Settings;
use crate::step::Kernel;
use crate::types::{DType, TensorType};

/// How a convolution moves over its input, whatever is computed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    window: Window,
    groups: usize,
    /// The window's layout, unless a pass has changed it.
    input: Layout,
    /// The same for the output; the weight keeps the window's.
    output: Layout,
}

impl Geometry {
    fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let window = Window::from_attributes(attributes, true)?;
        let groups = attributes.int("groups")?;
        match usize::try_from(groups) {
            Ok(groups) if groups > 0 => {
                Ok(Self { groups, input: window.layout, output: window.layout, window })
            }
            _ => Err(Error::Argument(format!("groups must be above 0, not {groups}"))),
        }
    }

    /// The axis of the channels in the output.
    pub(crate) fn channel_axis(&self) -> usize {
        self.window.channel_axis(self.output)
    }

    fn attributes(&self) -> String {
        let groups =
            if self.groups == 1 { String::new() } else { format!(", groups={}", self.groups) };
        let layouts = match (self.input, self.output) {
            (input, output) if input == output => layout::named(input),
            (Layout::ChannelsFirst, _) => ", output channels last",
            (Layout::ChannelsLast, _) => ", input channels last",
        };
        format!("{}{groups}{layouts}", self.window.attributes())
    }

    /// Whether each channel is convolved by itself: then input and output must be in the same order.
    fn is_depthwise(&self, types: Types<'_>) -> bool {
        self.groups > 1 && types.weight.get(1) == Some(&1)
    }

    /// Whether each channel is convolved by itself and is better done where its channels lie last.
    fn wants_channels_last(&self, types: Types<'_>) -> bool {
        let by_planes = self.window.stride == [1; 3] && types.weight[0] == self.groups;
        self.is_depthwise(types) && !by_planes
    }

    /// The same geometry between values whose channels lie last, or not, and the pass over them;
    /// none if it is that already or there is no way to compute it.
    fn with_layouts(&self, pass: Pass, types: Types<'_>, last: [bool; 2]) -> Option<Self> {
        let layout = |last| if last { Layout::ChannelsLast } else { Layout::ChannelsFirst };
        let first = [self.window.layout, self.input, self.output] == [Layout::ChannelsFirst; 3];
        let changed = Self { input: layout(last[0]), output: layout(last[1]), ..self.clone() };
        let mut shape = self.shape(types.input, types.weight).ok()?;
        (shape.input_layout, shape.output_layout) = (changed.input, changed.output);
        let algorithm = match changed.is_depthwise(types) {
            true => Algorithm::Depthwise,
            false => Algorithm::Direct,
        };
        (first && algorithm.supports(pass, &shape)).then_some(changed)
    }

    /// The kernel's view of the sizes, from the shapes of input and weight.
    fn shape(&self, input: &[usize], weight: &[usize]) -> Result<ConvolutionShape, Error> {
        let window = &self.window;
        if input.len() != window.rank() || weight.len() != window.rank() {
            return Err(Error::Shape(format!(
                "needs rank {}, found input {input:?} and weight {weight:?}",
                window.rank()
            )));
        }
        let (batch, channels, size) = window.split(self.input, input);
        let (outputs, group_inputs, kernel) = window.split(window.layout, weight);
        if group_inputs * self.groups != channels {
            return Err(Error::Shape(format!(
                "weight {weight:?} takes {group_inputs} channels in each of {} groups, but input \
                 {input:?} has {channels}",
                self.groups
            )));
        }
        let output = window.output(size, kernel, input)?;
        let shape = ConvolutionShape::new(
            batch,
            [channels, outputs, self.groups],
            size,
            kernel,
            window.stride,
            window.dilation,
            window.padding_before,
            output,
            window.layout,
        )
        .map_err(|why| Error::Shape(format!("input {input:?}, weight {weight:?}: {why}")))?;
        Ok(ConvolutionShape { input_layout: self.input, output_layout: self.output, ..shape })
    }

    fn output(&self, shape: &ConvolutionShape) -> Vec<usize> {
        self.window.join(self.output, shape.batch, shape.output_channels, shape.output)
    }
}

/// Shapes before a pass changes any layout.
#[derive(Clone, Copy)]
struct Types<'a> {
    input: &'a [usize],
    weight: &'a [usize],
}

/// What follows a convolution inside the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fused {
    /// A bias for each output channel, the third input, is added.
    pub bias: bool,
    /// Negative elements become 0.
    pub relu: bool,
}

/// A max pool behind a convolution, or the gradient of one before the convolution's.
#[derive(Clone, Debug)]
pub struct Pool {
    /// How it moves.
    pub geometry: pooling::Geometry,
    /// Whether the positions of the maxima are there.
    pub positions: bool,
}

impl Pool {
    /// The kernel's view of the pool of the output of a convolution.
    fn shape(
        &self,
        convolution: &Geometry,
        shape: &ConvolutionShape,
    ) -> Result<PoolingShape, Error> {
        self.geometry.shape(&convolution.output(shape))
    }
}

/// The attribute that shows a pool.
fn pooled(pool: Option<&Pool>) -> String {
    pool.map_or(String::new(), |pool| format!(", +max_pool {}", pool.geometry.attributes()))
}

/// The convolution of an input with a weight.
#[derive(Clone, Debug)]
pub struct Convolution {
    /// How it moves.
    pub geometry: Geometry,
    /// What follows.
    pub fused: Fused,
    /// A pool after all that, whose outputs are then the operation's.
    pub pool: Option<Pool>,
}

/// The gradient to a convolution's input, from the output's gradient and the weight; by itself,
/// a transposed convolution.
#[derive(Clone, Debug)]
pub struct ConvolutionInputGradient {
    geometry: Geometry,
    input: Vec<usize>,
    /// A pool of the output, whose gradient is given instead; its positions are the last input.
    pub pool: Option<Pool>,
}

/// The gradient to a convolution's weight, from the input and the output's gradient.
#[derive(Clone, Debug)]
pub struct ConvolutionWeightGradient {
    geometry: Geometry,
    weight: Vec<usize>,
    /// As in [`ConvolutionInputGradient`].
    pub pool: Option<Pool>,
}

impl Convolution {
    /// Reads the geometry.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let geometry = Geometry::from_attributes(attributes)?;
        Ok(Self { geometry, fused: Fused::default(), pool: None })
    }

    /// The convolution with a pool behind it, if its kernel can do that.
    pub(crate) fn with_pool(
        &self,
        pool: Pool,
        inputs: &[&TensorType],
        settings: Settings,
    ) -> Option<Self> {
        let shape = self.geometry.shape(&inputs[0].shape, &inputs[1].shape).ok()?;
        let can = pools(inputs[0].dtype, settings, Pass::Forward, &shape);
        (can && self.pool.is_none()).then(|| Self { pool: Some(pool), ..self.clone() })
    }
}

impl ConvolutionInputGradient {
    /// Reads the geometry and `input_shape`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let geometry = Geometry::from_attributes(attributes)?;
        Ok(Self { geometry, input: attributes.sizes("input_shape")?, pool: None })
    }

    /// The same from the gradient of a pool of the output, if the kernel can do that.
    pub(crate) fn with_pool(
        &self,
        pool: Pool,
        inputs: &[&TensorType],
        settings: Settings,
    ) -> Option<Self> {
        let shape = self.geometry.shape(&self.input, &inputs[1].shape).ok()?;
        let can = pools(inputs[0].dtype, settings, Pass::InputGradient, &shape);
        can.then(|| Self { pool: Some(pool), ..self.clone() })
    }
}

impl ConvolutionWeightGradient {
    /// The same from the gradient of a pool of the output, if the kernel can do that.
    pub(crate) fn with_pool(
        &self,
        pool: Pool,
        inputs: &[&TensorType],
        settings: Settings,
    ) -> Option<Self> {
        let shape = self.geometry.shape(&inputs[0].shape, &self.weight).ok()?;
        let can = pools(inputs[0].dtype, settings, Pass::WeightGradient, &shape);
        can.then(|| Self { pool: Some(pool), ..self.clone() })
    }
}

/// The algorithm for a pass: one that the settings ask for, else the fastest that is exact enough.
fn choose(
    dtype: DType,
    settings: Settings,
    pass: Pass,
    shape: &ConvolutionShape,
) -> Result<Algorithm, Error> {
    let (wanted, limit) = (settings.convolution, settings.precision.limit());
    with_float!(dtype, T => Ok(kernels::choose::<T>(settings.isa, pass, shape, wanted, limit)))
}

/// Whether a pass between values that have their channels first, and no neighbour that would have them
/// last, is best done as they lie: as a product of the weight and each image, or by an algorithm that
/// writes its result in either order.
fn keeps_order(dtype: DType, settings: Settings, pass: Pass, shape: &ConvolutionShape) -> bool {
    choose(dtype, settings, pass, shape).is_ok_and(|best| match best {
        Algorithm::Im2col => kernels::is_product_by_images(shape),
        Algorithm::Direct | Algorithm::Winograd6 | Algorithm::Winograd8 => true,
        Algorithm::Depthwise => false,
    })
}

/// The name under which plans show an algorithm.
fn named(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Im2col => "im2col",
        Algorithm::Depthwise => "depthwise",
        Algorithm::Direct => "direct",
        Algorithm::Winograd6 => "winograd6",
        Algorithm::Winograd8 => "winograd8",
    }
}

/// Whether the algorithm for a pass takes a pool along.
fn pools(dtype: DType, settings: Settings, pass: Pass, shape: &ConvolutionShape) -> bool {
    choose(dtype, settings, pass, shape).is_ok_and(|algorithm| match dtype {
        DType::F32 => algorithm.pools::<f32>(settings.isa, pass, shape),
        DType::F64 => algorithm.pools::<f64>(settings.isa, pass, shape),
        _ => false,
    })
}

/// The working memory that a pass wants.
fn scratch(
    lowering: &Lowering<'_>,
    pass: Pass,
    shape: &ConvolutionShape,
    pooled: bool,
) -> Result<usize, Error> {
    let algorithm = choose(lowering.inputs[0].dtype, lowering.settings, pass, shape)?;
    with_float!(lowering.inputs[0].dtype, T => {
        let isa = lowering.settings.isa;
        let elements = kernels::scratch_elements::<T>(isa, algorithm, pass, shape, pooled);
        Ok(elements * size_of::<T>())
    })
}

/// The multiplications of the direct algorithm.
fn work(shape: Result<ConvolutionShape, Error>) -> Work {
    shape.map_or(Work::Other, |shape| {
        Work::Multiplies(usize::try_from(shape.flops() / 2).unwrap_or(usize::MAX))
    })
}

impl Op for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn attributes(&self) -> String {
        let bias = if self.fused.bias { ", +bias" } else { "" };
        let relu = if self.fused.relu { ", +relu" } else { "" };
        format!("{}{bias}{relu}{}", self.geometry.attributes(), pooled(self.pool.as_ref()))
    }

    /// The output has its channels last, for so most are computed; but where each channel is convolved by
    /// itself, it has them where the input has them.
    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let types = Types { input: &inputs[0].shape, weight: &inputs[1].shape };
        let last = there[0] || self.geometry.wants_channels_last(types);
        let geometry = self.geometry.with_layouts(Pass::Forward, types, [last, true])?;
        let mut wanted = vec![false; inputs.len()];
        wanted[0] = last;
        let op = Arc::new(Self { geometry, fused: self.fused, pool: None });
        Some(ChannelsLast { op, inputs: wanted, outputs: vec![true] })
    }

    /// By itself it may need no other order than the user's.
    fn pays_channels_last(&self, inputs: &[&TensorType], beside: bool, settings: Settings) -> bool {
        let Ok(shape) = self.geometry.shape(&inputs[0].shape, &inputs[1].shape) else {
            return false;
        };
        beside || !keeps_order(inputs[0].dtype, settings, Pass::Forward, &shape)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let expected = 2 + usize::from(self.fused.bias);
        if inputs.len() != expected {
            return Err(Error::Argument(format!("takes {expected} inputs, not {}", inputs.len())));
        }
        expect_float(inputs[0], "the input")?;
        expect_same_dtype(inputs[0], inputs[1])?;
        let shape = self.geometry.shape(&inputs[0].shape, &inputs[1].shape)?;
        if let Some(bias) = inputs.get(2)
            && bias.shape != [shape.output_channels]
        {
            let channels = shape.output_channels;
            return Err(Error::Shape(format!("bias {:?} is not [{channels}]", bias.shape)));
        }
        let Some(pool) = &self.pool else {
            return Ok(vec![inputs[0].with_shape(self.geometry.output(&shape))]);
        };
        let pooled = pool.geometry.output(&self.geometry.output(&shape))?;
        let mut types = vec![inputs[0].with_shape(pooled.clone())];
        types.extend(pool.positions.then(|| TensorType::new(DType::U8, pooled)));
        Ok(types)
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None, None]) };
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let (geometry, input) = (self.geometry.clone(), g.ty(x).shape.clone());
        let dx = g.derive(ConvolutionInputGradient { geometry, input, pool: None }, &[dy, w])?;
        let (geometry, weight) = (self.geometry.clone(), g.ty(w).shape.clone());
        let dw = g.derive(ConvolutionWeightGradient { geometry, weight, pool: None }, &[x, dy])?;
        Ok(vec![Some(dx), Some(dw)])
    }

    fn algorithm(&self, lowering: &Lowering<'_>) -> Result<&'static str, Error> {
        let shape = self.geometry.shape(&lowering.inputs[0].shape, &lowering.inputs[1].shape)?;
        choose(lowering.inputs[0].dtype, lowering.settings, Pass::Forward, &shape).map(named)
    }

    fn work(&self, lowering: &Lowering<'_>) -> Work {
        work(self.geometry.shape(&lowering.inputs[0].shape, &lowering.inputs[1].shape))
    }

    fn scratch_bytes(&self, lowering: &Lowering<'_>) -> Result<usize, Error> {
        let shape = self.geometry.shape(&lowering.inputs[0].shape, &lowering.inputs[1].shape)?;
        scratch(lowering, Pass::Forward, &shape, self.pool.is_some())
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = self.geometry.shape(&lowering.inputs[0].shape, &lowering.inputs[1].shape)?;
        let algorithm = choose(lowering.inputs[0].dtype, lowering.settings, Pass::Forward, &shape)?;
        let (isa, fused) = (lowering.settings.isa, self.fused);
        let pool = self.pool.as_ref().map(|pool| pool.shape(&self.geometry, &shape)).transpose()?;
        let positions = self.pool.as_ref().is_some_and(|pool| pool.positions);
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let bias = fused.bias.then(|| step.input::<T>(2));
            let (x, w) = (step.input::<T>(0), step.input::<T>(1));
            let (y, scratch) = (step.output::<T>(0), step.scratch::<T>());
            let positions = positions.then(|| step.output::<u8>(1));
            let y = match &pool {
                Some(pool) => Target::Pooled(MaxPooled::new(pool, y, positions)),
                None => Target::Array(y),
            };
            let parallel = step.parallel();
            kernels::convolution(
                isa, parallel, algorithm, &shape, x, w, bias, fused.relu, y, scratch,
            );
            Ok(())
        })))
    }
}

impl Op for ConvolutionInputGradient {
    fn name(&self) -> &'static str {
        "convolution_input_gradient"
    }

    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let types = Types { input: &self.input, weight: &inputs[1].shape };
        let last = there[0] || self.geometry.wants_channels_last(types);
        let geometry = self.geometry.with_layouts(Pass::InputGradient, types, [true, last])?;
        let op = Arc::new(Self { geometry, input: layout::last(&self.input), pool: None });
        Some(ChannelsLast { op, inputs: vec![last, false], outputs: vec![true] })
    }

    /// Where windows leave gaps, im2col may be the faster one, and takes the order that the user has;
    /// others may need no other by themselves.
    fn pays_channels_last(&self, inputs: &[&TensorType], beside: bool, settings: Settings) -> bool {
        let Ok(mut shape) = self.geometry.shape(&self.input, &inputs[1].shape) else {
            return false;
        };
        if shape.stride == [1; 3] {
            return beside || !keeps_order(inputs[0].dtype, settings, Pass::InputGradient, &shape);
        }
        let last = Layout::ChannelsLast;
        (shape.input_layout, shape.output_layout, shape.weight_layout) = (last, last, last);
        let best = choose(inputs[0].dtype, settings, Pass::InputGradient, &shape);
        best.is_ok_and(|algorithm| algorithm != Algorithm::Im2col)
    }

    fn attributes(&self) -> String {
        format!("{}{}", self.geometry.attributes(), pooled(self.pool.as_ref()))
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let (dy, w) = (inputs[0], inputs[1]);
        expect_float(dy, "the input")?;
        expect_same_dtype(dy, w)?;
        let shape = self.geometry.shape(&self.input, &w.shape)?;
        let output = match &self.pool {
            None => self.geometry.output(&shape),
            Some(pool) => pool.geometry.output(&self.geometry.output(&shape))?,
        };
        match dy.shape == output {
            true => Ok(vec![dy.with_shape(self.input.clone())]),
            false => Err(Error::Shape(format!(
                "a convolution from {:?} with weight {:?} gives {output:?}, not {:?}",
                self.input, w.shape, dy.shape
            ))),
        }
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(ddx) = dy[0] else { return Ok(vec![None, None]) };
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let (geometry, fused) = (self.geometry.clone(), Fused::default());
        let dx = g.derive(Convolution { geometry, fused, pool: None }, &[ddx, w])?;
        let (geometry, weight) = (self.geometry.clone(), g.ty(w).shape.clone());
        let dw = g.derive(ConvolutionWeightGradient { geometry, weight, pool: None }, &[ddx, x])?;
        Ok(vec![Some(dx), Some(dw)])
    }

    fn algorithm(&self, lowering: &Lowering<'_>) -> Result<&'static str, Error> {
        let shape = self.geometry.shape(&self.input, &lowering.inputs[1].shape)?;
        choose(lowering.inputs[0].dtype, lowering.settings, Pass::InputGradient, &shape).map(named)
    }

    fn work(&self, lowering: &Lowering<'_>) -> Work {
        work(self.geometry.shape(&self.input, &lowering.inputs[1].shape))
    }

    fn scratch_bytes(&self, lowering: &Lowering<'_>) -> Result<usize, Error> {
        let shape = self.geometry.shape(&self.input, &lowering.inputs[1].shape)?;
        scratch(lowering, Pass::InputGradient, &shape, self.pool.is_some())
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = self.geometry.shape(&self.input, &lowering.inputs[1].shape)?;
        let algorithm =
            choose(lowering.inputs[0].dtype, lowering.settings, Pass::InputGradient, &shape)?;
        let isa = lowering.settings.isa;
        let pool = self.pool.as_ref().map(|pool| pool.shape(&self.geometry, &shape)).transpose()?;
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (dy, w) = (step.input::<T>(0), step.input::<T>(1));
            let pool = pool.as_ref().map(|pool| MaxUnpooled::new(pool, step.input::<u8>(2), dy));
            let dy = pool.as_ref().map_or(Source::Array(dy), Source::Unpooled);
            let (dx, scratch) = (step.output::<T>(0), step.scratch::<T>());
            let parallel = step.parallel();
            kernels::convolution_input_gradient(
                isa, parallel, algorithm, &shape, dy, w, dx, scratch,
            );
            Ok(())
        })))
    }
}

impl Op for ConvolutionWeightGradient {
    fn name(&self) -> &'static str {
        "convolution_weight_gradient"
    }

    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let types = Types { input: &inputs[0].shape, weight: &self.weight };
        let any = there.contains(&true) || self.geometry.wants_channels_last(types);
        let last = match self.geometry.is_depthwise(types) {
            true => [any, any],
            false => [there[0], there[1]],
        };
        let geometry = self.geometry.with_layouts(Pass::WeightGradient, types, last)?;
        let op = Arc::new(Self { geometry, weight: self.weight.clone(), pool: None });
        Some(ChannelsLast { op, inputs: last.to_vec(), outputs: vec![false] })
    }

    fn attributes(&self) -> String {
        format!("{}{}", self.geometry.attributes(), pooled(self.pool.as_ref()))
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(vec![inputs[0].with_shape(self.weight.clone())])
    }

    fn algorithm(&self, lowering: &Lowering<'_>) -> Result<&'static str, Error> {
        let shape = self.geometry.shape(&lowering.inputs[0].shape, &self.weight)?;
        choose(lowering.inputs[0].dtype, lowering.settings, Pass::WeightGradient, &shape).map(named)
    }

    fn work(&self, lowering: &Lowering<'_>) -> Work {
        work(self.geometry.shape(&lowering.inputs[0].shape, &self.weight))
    }

    fn scratch_bytes(&self, lowering: &Lowering<'_>) -> Result<usize, Error> {
        let shape = self.geometry.shape(&lowering.inputs[0].shape, &self.weight)?;
        scratch(lowering, Pass::WeightGradient, &shape, self.pool.is_some())
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = self.geometry.shape(&lowering.inputs[0].shape, &self.weight)?;
        let algorithm =
            choose(lowering.inputs[0].dtype, lowering.settings, Pass::WeightGradient, &shape)?;
        let isa = lowering.settings.isa;
        let pool = self.pool.as_ref().map(|pool| pool.shape(&self.geometry, &shape)).transpose()?;
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (x, dy) = (step.input::<T>(0), step.input::<T>(1));
            let pool = pool.as_ref().map(|pool| MaxUnpooled::new(pool, step.input::<u8>(2), dy));
            let dy = pool.as_ref().map_or(Source::Array(dy), Source::Unpooled);
            let (dw, scratch) = (step.output::<T>(0), step.scratch::<T>());
            let parallel = step.parallel();
            kernels::convolution_weight_gradient(
                isa, parallel, algorithm, &shape, x, dy, dw, scratch,
            );
            Ok(())
        })))
    }
}
