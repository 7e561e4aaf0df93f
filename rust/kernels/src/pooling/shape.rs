//! The sizes of a pooling.

use crate::window::{Axis, Layout, checked_count, element_offset};

/// The sizes of a pooling over one to three spatial axes; the missing ones come first, with size 1.
///
/// The input is `(batch, channels, input..)` or, with [`Layout::ChannelsLast`],
/// `(batch, input.., channels)`, the output likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolingShape {
    /// Number of images.
    pub batch: usize,
    /// Number of channels.
    pub channels: usize,
    /// Size of an input image.
    pub input: [usize; 3],
    /// Size of a window.
    pub window: [usize; 3],
    /// Distance between neighbouring windows.
    pub stride: [usize; 3],
    /// How far the first window begins in front of the input.
    pub padding_before: [usize; 3],
    /// Size of an output image.
    pub output: [usize; 3],
    /// Order of the axes.
    pub layout: Layout,
}

impl PoolingShape {
    /// The shape, if its sizes fit together.
    ///
    /// # Errors
    /// A message that names the size at fault.
    pub fn new(
        batch: usize,
        channels: usize,
        input: [usize; 3],
        window: [usize; 3],
        stride: [usize; 3],
        padding_before: [usize; 3],
        output: [usize; 3],
        layout: Layout,
    ) -> Result<Self, String> {
        if channels == 0 {
            return Err("0 channels, expected at least 1".into());
        }
        let shape =
            PoolingShape { batch, channels, input, window, stride, padding_before, output, layout };
        for axis in 0..3 {
            shape.axis(axis).check(axis)?;
        }
        for [depth, height, width] in [input, output] {
            checked_count(&[batch.max(1), channels, depth, height, width])?;
        }
        checked_count(&window)?;
        Ok(shape)
    }

    /// How far the last windows reach behind the input.
    pub fn padding_after(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.axis(axis).padding_after())
    }

    /// Number of elements of the input.
    pub fn input_elements(&self) -> usize {
        self.batch * self.channels * self.input.iter().product::<usize>()
    }

    /// Number of elements of the output.
    pub fn output_elements(&self) -> usize {
        self.batch * self.channels * self.output.iter().product::<usize>()
    }

    /// Whether a byte can say where in a window its maximum is.
    pub fn argmax_fits(&self) -> bool {
        self.window.iter().product::<usize>() <= 1 + usize::from(u8::MAX)
    }

    /// Whether each window has an element inside the input.
    pub fn every_window_has_elements(&self) -> bool {
        (0..3).all(|axis| {
            let axis = self.axis(axis);
            (0..axis.output).all(|output| !axis.taps(output).is_empty())
        })
    }

    /// The windows along `axis`.
    pub(crate) fn axis(&self, axis: usize) -> Axis {
        Axis {
            input: self.input[axis],
            output: self.output[axis],
            window: self.window[axis],
            stride: self.stride[axis],
            dilation: 1,
            padding: self.padding_before[axis],
        }
    }

    /// Where an input element lies.
    pub(crate) fn input_offset(&self, image: usize, channel: usize, position: [usize; 3]) -> usize {
        element_offset(self.layout, self.channels, self.input, image, channel, position)
    }

    /// Where an output element lies.
    pub(crate) fn output_offset(
        &self,
        image: usize,
        channel: usize,
        position: [usize; 3],
    ) -> usize {
        element_offset(self.layout, self.channels, self.output, image, channel, position)
    }

    /// Panics if the arrays do not have the sizes of this shape.
    pub(crate) fn check<T>(&self, input: &[T], output: &[T]) {
        assert_eq!(input.len(), self.input_elements(), "the input does not have the shape's size");
        assert_eq!(output.len(), self.output_elements(), "the output has not the shape's size");
    }
}
