//! The sizes of a convolution.

use crate::window::{Axis, Layout, checked_count, element_offset};

/// The sizes of a convolution over one to three spatial axes; the missing ones come first, with
/// size 1.
///
/// The input is `(batch, input_channels, input..)` or, with [`Layout::ChannelsLast`],
/// `(batch, input.., input_channels)`, the output likewise; the weight is
/// `(output_channels, input_channels / groups, kernel..)` or
/// `(output_channels, kernel.., input_channels / groups)`. Each of the three has a layout of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvolutionShape {
    /// Number of images.
    pub batch: usize,
    /// Channels of the input, a multiple of `groups`.
    pub input_channels: usize,
    /// Channels of the output, a multiple of `groups`.
    pub output_channels: usize,
    /// Into how many parts, convolved apart, the channels fall.
    pub groups: usize,
    /// Size of an input image.
    pub input: [usize; 3],
    /// Size of the kernel.
    pub kernel: [usize; 3],
    /// Distance between neighbouring windows.
    pub stride: [usize; 3],
    /// Distance between neighbouring elements of a window.
    pub dilation: [usize; 3],
    /// Zeros in front of the input.
    pub padding_before: [usize; 3],
    /// Size of an output image.
    pub output: [usize; 3],
    /// Order of the input's axes.
    pub input_layout: Layout,
    /// Order of the output's axes.
    pub output_layout: Layout,
    /// Order of the weight's axes.
    pub weight_layout: Layout,
}

impl ConvolutionShape {
    /// The shape, if its sizes fit together, with one layout for all.
    ///
    /// # Errors
    /// A message that names the size at fault.
    pub fn new(
        batch: usize,
        [input_channels, output_channels, groups]: [usize; 3],
        input: [usize; 3],
        kernel: [usize; 3],
        stride: [usize; 3],
        dilation: [usize; 3],
        padding_before: [usize; 3],
        output: [usize; 3],
        layout: Layout,
    ) -> Result<Self, String> {
        for (name, channels) in [("input", input_channels), ("output", output_channels)] {
            if channels == 0 || groups == 0 || channels % groups != 0 {
                return Err(format!(
                    "{channels} {name} channels do not fall into {groups} equal groups"
                ));
            }
        }
        let shape = ConvolutionShape {
            batch,
            input_channels,
            output_channels,
            groups,
            input,
            kernel,
            stride,
            dilation,
            padding_before,
            output,
            input_layout: layout,
            output_layout: layout,
            weight_layout: layout,
        };
        for axis in 0..3 {
            shape.axis(axis).check(axis)?;
        }
        let [depth, height, width] = input;
        checked_count(&[batch.max(1), input_channels, depth, height, width])?;
        let [depth, height, width] = output;
        checked_count(&[batch.max(1), output_channels, depth, height, width])?;
        let [depth, height, width] = kernel;
        checked_count(&[output_channels, input_channels / groups, depth, height, width])?;
        Ok(shape)
    }

    /// Whether each pixel of the output is made of the same pixel of the input alone.
    pub fn is_pointwise(&self) -> bool {
        let (kernel, stride, padding) = (self.kernel, self.stride, self.padding_before);
        kernel == [1; 3] && stride == [1; 3] && padding == [0; 3] && self.output == self.input
    }

    /// The one layout of input and output, if they have the same.
    pub(crate) fn common_layout(&self) -> Option<Layout> {
        (self.input_layout == self.output_layout).then_some(self.input_layout)
    }

    /// The convolution of the output's gradient that gives the input's, if there is one: where windows
    /// lie next to one another.
    pub(crate) fn turned(&self) -> Option<Self> {
        if self.stride != [1; 3] {
            return None;
        }
        self.phases()?.next().map(|phase| phase.shape)
    }

    /// Zeros behind the input that the last windows need.
    pub fn padding_after(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.axis(axis).padding_after())
    }

    /// Number of elements of the input.
    pub fn input_elements(&self) -> usize {
        self.batch * self.input_channels * self.input_pixels()
    }

    /// Number of elements of the output.
    pub fn output_elements(&self) -> usize {
        self.batch * self.output_channels * self.output_pixels()
    }

    /// Number of elements of the weight.
    pub fn weight_elements(&self) -> usize {
        self.output_channels * self.depth()
    }

    /// Additions and multiplications of one pass, forward or to one of the gradients; those with
    /// padding count too.
    pub fn flops(&self) -> u64 {
        2 * self.output_elements() as u64 * self.depth() as u64
    }

    /// Pixels of an input image.
    pub(crate) fn input_pixels(&self) -> usize {
        self.input.iter().product()
    }

    /// Pixels of an output image.
    pub(crate) fn output_pixels(&self) -> usize {
        self.output.iter().product()
    }

    /// Positions in the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Input channels of a group.
    pub(crate) fn group_inputs(&self) -> usize {
        self.input_channels / self.groups
    }

    /// Output channels of a group.
    pub(crate) fn group_outputs(&self) -> usize {
        self.output_channels / self.groups
    }

    /// The number of products that make one output element.
    pub(crate) fn depth(&self) -> usize {
        self.group_inputs() * self.taps()
    }

    /// The windows along `axis`.
    pub(crate) fn axis(&self, axis: usize) -> Axis {
        Axis {
            input: self.input[axis],
            output: self.output[axis],
            window: self.kernel[axis],
            stride: self.stride[axis],
            dilation: self.dilation[axis],
            padding: self.padding_before[axis],
        }
    }

    /// Where an input element lies.
    pub(crate) fn input_offset(&self, image: usize, channel: usize, position: [usize; 3]) -> usize {
        element_offset(self.input_layout, self.input_channels, self.input, image, channel, position)
    }

    /// Where an output element lies.
    pub(crate) fn output_offset(
        &self,
        image: usize,
        channel: usize,
        position: [usize; 3],
    ) -> usize {
        element_offset(
            self.output_layout,
            self.output_channels,
            self.output,
            image,
            channel,
            position,
        )
    }

    /// Where the weight from a channel of a group to an output channel lies.
    pub(crate) fn weight_offset(&self, output: usize, input: usize, tap: [usize; 3]) -> usize {
        element_offset(self.weight_layout, self.group_inputs(), self.kernel, output, input, tap)
    }

    /// Panics if the arrays do not have the sizes of this shape.
    pub(crate) fn check<T>(&self, input: &[T], weight: &[T], output: &[T]) {
        self.check_operands(input, weight);
        assert_eq!(output.len(), self.output_elements(), "the output has not the shape's size");
    }

    /// Panics if input and weight do not have the sizes of this shape.
    pub(crate) fn check_operands<T>(&self, input: &[T], weight: &[T]) {
        assert_eq!(input.len(), self.input_elements(), "the input does not have the shape's size");
        assert_eq!(weight.len(), self.weight_elements(), "the weight has not the shape's size");
    }
}
