//! How windows slide over an array: what convolution and pooling share.

use std::ops::Range;

/// Where the channels of an array lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Batch, channels, space.
    ChannelsFirst,
    /// Batch, space, channels.
    ChannelsLast,
}

/// The windows along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) window: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) padding: usize,
}

impl Axis {
    /// The input position that `tap` of the window of `output` covers, unless it is padding.
    #[inline(always)]
    pub(crate) fn position(&self, output: usize, tap: usize) -> Option<usize> {
        (output * self.stride + tap * self.dilation)
            .checked_sub(self.padding)
            .filter(|position| *position < self.input)
    }

    /// The outputs whose windows have `tap` inside the input.
    #[inline(always)]
    pub(crate) fn outputs(&self, tap: usize) -> Range<usize> {
        let shift = tap * self.dilation;
        let first = self.padding.saturating_sub(shift).div_ceil(self.stride);
        let end = (self.input + self.padding).saturating_sub(shift).div_ceil(self.stride);
        let end = end.min(self.output);
        first.min(end)..end
    }

    /// The outputs whose windows lie inside the input.
    pub(crate) fn whole_outputs(&self) -> Range<usize> {
        let (first, last) = (self.outputs(0), self.outputs(self.window - 1));
        first.start.min(last.end)..last.end
    }

    /// The taps of the window of `output` that lie inside the input.
    #[inline(always)]
    pub(crate) fn taps(&self, output: usize) -> Range<usize> {
        let shift = output * self.stride;
        // A division costs more than all else here.
        let taps = |distance: usize| match self.dilation {
            1 => distance,
            dilation => distance.div_ceil(dilation),
        };
        let first = taps(self.padding.saturating_sub(shift));
        let end = taps((self.input + self.padding).saturating_sub(shift)).min(self.window);
        first.min(end)..end
    }

    /// The outputs whose windows, without gaps, cover an input position.
    #[inline(always)]
    pub(crate) fn covering(&self, position: usize) -> Range<usize> {
        let shifted = position + self.padding;
        let first = (shifted + 1).saturating_sub(self.window).div_ceil(self.stride);
        let end = (shifted / self.stride + 1).min(self.output);
        first.min(end)..end
    }

    /// The padding behind the input that the last window needs.
    pub(crate) fn padding_after(&self) -> usize {
        let reach = (self.output - 1) * self.stride + (self.window - 1) * self.dilation + 1;
        reach.saturating_sub(self.input + self.padding)
    }

    /// Says what is wrong with the sizes, if something is.
    pub(crate) fn check(&self, axis: usize) -> Result<(), String> {
        let Axis { input, output, window, stride, dilation, padding } = *self;
        for (name, size) in [
            ("input", input),
            ("output", output),
            ("window", window),
            ("stride", stride),
            ("dilation", dilation),
        ] {
            if size == 0 {
                return Err(format!("spatial axis {axis}: the {name} is 0, expected at least 1"));
            }
        }
        let product = |count: usize, step: usize| (count - 1).checked_mul(step);
        let sum = [product(output, stride), product(window, dilation), Some(padding), Some(input)];
        sum.into_iter()
            .try_fold(1usize, |sum, term| sum.checked_add(term?))
            .filter(|sum| isize::try_from(*sum).is_ok())
            .map(|_| ())
            .ok_or_else(|| format!("spatial axis {axis}: the window reaches too far to address"))
    }
}

/// The product of the sizes, if an array of that many elements can exist.
pub(crate) fn checked_count(sizes: &[usize]) -> Result<usize, String> {
    sizes
        .iter()
        .try_fold(size_of::<f64>(), |product, size| product.checked_mul(*size))
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .map(|bytes| bytes / size_of::<f64>())
        .ok_or_else(|| format!("an array of shape {sizes:?} is too large to address"))
}

/// The offset of an element in an array of `channels` channels over `space`.
#[inline(always)]
pub(crate) fn element_offset(
    layout: Layout,
    channels: usize,
    space: [usize; 3],
    batch: usize,
    channel: usize,
    position: [usize; 3],
) -> usize {
    let [depth, height, width] = space;
    let pixel = (position[0] * height + position[1]) * width + position[2];
    match layout {
        Layout::ChannelsFirst => (batch * channels + channel) * depth * height * width + pixel,
        Layout::ChannelsLast => (batch * depth * height * width + pixel) * channels + channel,
    }
}

/// Every position of `space`, in row-major order.
pub(crate) fn positions(space: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let [depth, height, width] = space;
    (0..depth).flat_map(move |d| (0..height).flat_map(move |h| (0..width).map(move |w| [d, h, w])))
}
