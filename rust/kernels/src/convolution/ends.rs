//! What a convolution reads and writes besides arrays: the pools before and behind it.

use super::ConvolutionShape;
use super::direct::Part;
use crate::parallel::Parts;
use crate::pooling::{MaxPooled, MaxUnpooled};
use crate::window::Layout;
use crate::{Float, Isa};

/// Where a gradient to the output is read.
#[derive(Clone, Copy)]
pub enum Source<'a, T> {
    /// An array.
    Array(&'a [T]),
    /// The gradient of a max pool of the output, row by row.
    Unpooled(&'a MaxUnpooled<'a, T>),
}

/// Where the output goes.
pub enum Target<'a, T> {
    /// An array.
    Array(&'a mut [T]),
    /// A max pool, image by image.
    Pooled(MaxPooled<'a, T>),
}

impl<T: Float> Source<'_, T> {
    /// Panics if this is not the gradient of an output of this shape.
    pub(super) fn check(&self, shape: &ConvolutionShape) {
        let pixels = shape.output_pixels() * shape.output_channels;
        match self {
            Source::Array(array) => {
                assert_eq!(array.len(), shape.output_elements(), "the output's gradient");
            }
            Source::Unpooled(pool) => {
                assert_eq!(pool.input(), (shape.batch, pixels), "the pool's images");
            }
        }
    }

    pub(super) fn is_pooled(&self) -> bool {
        matches!(self, Source::Unpooled(_))
    }
}

impl<'a, T: Float> Target<'a, T> {
    /// Panics if this is not the place for an output of this shape.
    pub(super) fn check(&self, shape: &ConvolutionShape) {
        let pixels = shape.output_pixels() * shape.output_channels;
        match self {
            Target::Array(array) => {
                assert_eq!(array.len(), shape.output_elements(), "the output");
            }
            Target::Pooled(pool) => {
                assert_eq!(pool.input(), (shape.batch, pixels), "the pool's images");
            }
        }
    }

    pub(super) fn is_pooled(&self) -> bool {
        matches!(self, Target::Pooled(_))
    }

    /// The target as tasks share it.
    pub(super) fn shared(self) -> Output<'a, T> {
        match self {
            Target::Array(array) => Output::Array(Parts::new(array)),
            Target::Pooled(pool) => Output::Pooled(pool),
        }
    }
}

/// Where tasks write the output.
pub(super) enum Output<'a, T> {
    Array(Parts<'a, T>),
    Pooled(MaxPooled<'a, T>),
}

/// The output's gradient at a block's pixels.
pub(super) struct Gradient<'a, T> {
    /// It begins at the first channel of the first pixel.
    pub(super) data: &'a [T],
    /// The distances of images, lines, pixels and channels.
    pub(super) image: usize,
    pub(super) line: usize,
    pub(super) pixel: usize,
    pub(super) channel: usize,
}

impl<'a, T: Float> Gradient<'a, T> {
    /// The part of an array, or what is made of the pooled gradient in `memory`, which then has room for
    /// all channels of the block's pixels.
    pub(super) fn new(
        isa: Isa,
        shape: &ConvolutionShape,
        part: &Part,
        source: Source<'a, T>,
        memory: &'a mut [T],
    ) -> Self {
        let (channels, pixels) = (shape.output_channels, shape.output_pixels());
        let first = part.first_pixel(shape, 0);
        let (data, image, [line, pixel, channel]) = match (source, shape.output_layout) {
            (Source::Array(array), Layout::ChannelsLast) => {
                let distances = [shape.output[2] * channels, channels, 1];
                (&array[first * channels..], pixels * channels, distances)
            }
            (Source::Array(array), Layout::ChannelsFirst) => {
                let before = part.images.start * pixels;
                let start = before * channels + (first - before);
                (&array[start..], pixels * channels, [shape.output[2], 1, pixels])
            }
            (Source::Unpooled(pool), _) => {
                let line = part.sizes()[2] * channels;
                for ((image, [z, y]), to) in part.rows().zip(memory.chunks_exact_mut(line)) {
                    let row = [part.outputs[0].start + z, part.outputs[1].start + y];
                    pool.row(isa, part.images.start + image, row, to);
                }
                (&*memory, part.pixels() * channels, [line, channels, 1])
            }
        };
        Gradient { data, image, line, pixel, channel }
    }

    /// The pixels of a block, if they lie as a panel of so many columns and of this width would.
    pub(super) fn is_panel(
        &self,
        part: &Part,
        (columns, width): (usize, usize),
    ) -> Option<&'a [T]> {
        let (images, pixels) = (part.images.len(), part.pixels());
        let gapless = images == 1 || self.image == pixels * width;
        let fits = [columns, self.pixel] == [width; 2] && self.channel == 1 && gapless;
        fits.then(|| &self.data[..images * pixels * width])
    }
}
