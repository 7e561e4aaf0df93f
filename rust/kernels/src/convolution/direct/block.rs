//! The blocks of the output that are computed at once, and the part of the input under each: pixels
//! with all their channels next to one another, inside a border of zeros.

use std::ops::Range;

use super::super::ConvolutionShape;
use super::super::ends::Source;
use crate::gemm::{Matrix, transpose};
use crate::pooling::MaxPooled;
use crate::window::Layout;
use crate::{Float, Isa};

/// Bytes of the input under a block, if it is a part of an image.
const PART_BYTES: usize = 256 * 1024;
/// Bytes of the input under a block of several images.
const IMAGES_BYTES: usize = 512 * 1024;
/// Pixels of a block: so many that a panel of the weight is worth fetching.
const PIXELS: usize = 200;
/// Operations of a block, so that handing it to a thread pays, and blocks that are enough.
const BLOCK_FLOPS: u64 = 2_000_000;
const ENOUGH_BLOCKS: u64 = 16;

/// How the output is cut: into several images, or into parts of an image along its first axis.
pub(in super::super) struct Blocks {
    axis: usize,
    images: usize,
    parts: usize,
}

/// A part of the output of some images.
#[derive(Clone, Debug)]
pub(in super::super) struct Part {
    pub(in super::super) images: Range<usize>,
    /// The output positions along each axis.
    pub(in super::super) outputs: [Range<usize>; 3],
}

impl Blocks {
    /// Blocks of at most so many pixels, if that leaves at least one row.
    pub(in super::super) fn new<T>(shape: &ConvolutionShape, pixels_at_most: usize) -> Self {
        let axis = (0..3).find(|&axis| shape.output[axis] > 1).unwrap_or(2);
        let size = shape.output[axis];
        let pixels = shape.output_pixels();
        let bytes = |outputs: usize| {
            let mut whole = shape.output;
            whole[axis] = outputs;
            let window = window(shape, whole);
            window.iter().product::<usize>() * shape.group_inputs() * size_of::<T>()
        };
        let fits = |parts: usize| {
            let outputs = size.div_ceil(parts);
            bytes(outputs) <= PART_BYTES && pixels / size * outputs <= pixels_at_most
        };
        let mut parts = (1..size).find(|&parts| fits(parts)).unwrap_or(size);
        let wanted = (shape.flops() / BLOCK_FLOPS).clamp(1, ENOUGH_BLOCKS) as usize;
        let mut images = 1;
        if shape.batch >= wanted {
            if parts == 1 {
                let most = (IMAGES_BYTES / bytes(size)).min(shape.batch / wanted);
                let fitting = (pixels_at_most / pixels).min(PIXELS.div_ceil(pixels));
                images = fitting.min(most).max(1);
            }
        } else {
            parts = parts.max(wanted.div_ceil(shape.batch.max(1)).min(size));
        }
        Blocks { axis, images, parts }
    }

    /// Blocks of single images, or of parts of them: as many as wanted, if an image has as many rows.
    pub(in super::super) fn of_images(shape: &ConvolutionShape, parts: usize) -> Self {
        let axis = (0..2).find(|&axis| shape.output[axis] > 1).unwrap_or(1);
        Blocks { axis, images: 1, parts: parts.min(shape.output[axis]) }
    }

    /// Blocks that an image is cut into.
    pub(in super::super) fn per_image(&self) -> usize {
        self.parts
    }

    /// The number of blocks.
    pub(in super::super) fn count(&self, shape: &ConvolutionShape) -> usize {
        shape.batch.div_ceil(self.images) * self.parts
    }

    /// Whether no image is cut.
    pub(in super::super) fn have_whole_images(&self) -> bool {
        self.parts == 1
    }

    /// Whether no row of an image is cut.
    pub(in super::super) fn have_whole_rows(&self) -> bool {
        self.parts == 1 || self.axis < 2
    }

    /// Whether rows of the input are copied whole.
    pub(in super::super) fn read_whole_rows(&self, shape: &ConvolutionShape) -> bool {
        let width = window(shape, shape.output)[2];
        self.have_whole_rows()
            && !in_place(shape)
            && width >= shape.padding_before[2] + shape.input[2]
    }

    /// A block.
    pub(in super::super) fn part(&self, shape: &ConvolutionShape, index: usize) -> Part {
        let (first, part) = (index / self.parts * self.images, index % self.parts);
        let images = first..shape.batch.min(first + self.images);
        let mut outputs = shape.output.map(|size| 0..size);
        let size = shape.output[self.axis];
        outputs[self.axis] = part * size / self.parts..(part + 1) * size / self.parts;
        Part { images, outputs }
    }

    /// The longest of the blocks.
    fn longest(&self, shape: &ConvolutionShape) -> Part {
        let mut outputs = shape.output.map(|size| 0..size);
        outputs[self.axis] = 0..shape.output[self.axis].div_ceil(self.parts);
        Part { images: 0..self.images, outputs }
    }

    /// Pixels of a block at most.
    pub(in super::super) fn pixels(&self, shape: &ConvolutionShape) -> usize {
        let part = self.longest(shape);
        part.images.len() * part.pixels()
    }

    /// The length of the memory that [`Input::new`] needs.
    pub(in super::super) fn input_elements(&self, shape: &ConvolutionShape) -> usize {
        if in_place(shape) {
            return 0;
        }
        let part = self.longest(shape);
        let size = window(shape, part.sizes());
        let copy = part.images.len() * size.iter().product::<usize>();
        let rows = match shape.input_layout {
            Layout::ChannelsFirst if shape.group_inputs() > 1 => {
                let [_, height, width] = shape.input;
                (size[1].min(height) - 1) * width + size[2].min(width)
            }
            _ => 0,
        };
        (copy + rows) * shape.group_inputs()
    }
}

impl Part {
    /// All outputs of some images.
    pub(in super::super) fn of_images(shape: &ConvolutionShape, images: Range<usize>) -> Self {
        Part { images, outputs: shape.output.map(|size| 0..size) }
    }

    /// Sizes of its output, and their product.
    pub(in super::super) fn sizes(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.outputs[axis].len())
    }

    pub(in super::super) fn pixels(&self) -> usize {
        self.sizes().iter().product()
    }

    /// Its rows: the image and the positions along the first two axes, counted within the block.
    pub(in super::super) fn rows(&self) -> impl Iterator<Item = (usize, [usize; 2])> + use<> {
        let (images, [depth, height, _]) = (self.images.len(), self.sizes());
        (0..images).flat_map(move |image| {
            (0..depth).flat_map(move |z| (0..height).map(move |y| (image, [z, y])))
        })
    }

    /// The first pixel of an image of the block in the whole output.
    pub(in super::super) fn first_pixel(&self, shape: &ConvolutionShape, image: usize) -> usize {
        let [depth, height, width] = shape.output;
        let [z, y, x] = [0, 1, 2].map(|axis| self.outputs[axis].start);
        (((self.images.start + image) * depth + z) * height + y) * width + x
    }

    /// Hands the block's images, which are whole, to a pool.
    ///
    /// # Safety
    /// Nobody pools the same images meanwhile.
    pub(in super::super) unsafe fn pool<T: Float>(
        &self,
        isa: Isa,
        shape: &ConvolutionShape,
        pool: &MaxPooled<T>,
        pixels: &[T],
    ) {
        let image = self.pixels() * shape.output_channels;
        for (index, pixels) in self.images.clone().zip(pixels.chunks_exact(image)) {
            // SAFETY: the caller's promise.
            unsafe { pool.take(isa, index, pixels) };
        }
    }
}

/// The input under so many outputs.
fn window(shape: &ConvolutionShape, outputs: [usize; 3]) -> [usize; 3] {
    std::array::from_fn(|axis| {
        let reach = (shape.kernel[axis] - 1) * shape.dilation[axis];
        (outputs[axis] - 1) * shape.stride[axis] + reach + 1
    })
}

/// The input can be read where it is.
fn in_place(shape: &ConvolutionShape) -> bool {
    shape.input_layout == Layout::ChannelsLast
        && shape.groups == 1
        && shape.padding_before == [0; 3]
        && shape.padding_after() == [0; 3]
}

/// The input under a block: pixels of a group's channels.
pub(in super::super) struct Input<'a, T> {
    pub(in super::super) data: &'a [T],
    image: usize,
    /// The distances of neighbours along each axis.
    pub(in super::super) strides: [usize; 3],
}

impl<'a, T: Float> Input<'a, T> {
    /// The input itself, or a copy in `memory`.
    pub(in super::super) fn new(
        isa: Isa,
        shape: &ConvolutionShape,
        group: usize,
        part: &Part,
        input: Source<'a, T>,
        memory: &'a mut [T],
    ) -> Self {
        let channels = shape.group_inputs();
        let along =
            |[_, height, width]: [usize; 3]| [height * width, width, 1].map(|n| n * channels);
        if let Source::Array(input) = input
            && in_place(shape)
        {
            let strides = along(shape.input);
            let image = shape.input_pixels() * channels;
            let start: usize =
                (0..3).map(|a| part.outputs[a].start * shape.stride[a] * strides[a]).sum();
            return Input { data: &input[part.images.start * image + start..], image, strides };
        }
        let size = window(shape, part.sizes());
        let strides = along(size);
        let image = size.iter().product::<usize>() * channels;
        let (data, rows) = memory.split_at_mut(part.images.len() * image);
        for (index, data) in data.chunks_exact_mut(image).enumerate() {
            copy(isa, shape, group, part, part.images.start + index, input, data, strides, rows);
        }
        Input { data, image, strides }
    }

    /// Where the window of an output pixel of the block begins.
    pub(in super::super) fn offset(
        &self,
        shape: &ConvolutionShape,
        image: usize,
        at: [usize; 3],
    ) -> usize {
        let position = (0..3).map(|axis| at[axis] * shape.stride[axis] * self.strides[axis]);
        image * self.image + position.sum::<usize>()
    }
}

/// Zeros around what lies `inside` along each axis.
fn fill_border<T: Float>(
    data: &mut [T],
    channels: usize,
    strides: [usize; 3],
    [depth, height, width]: [Range<usize>; 3],
) {
    for (z, plane) in data.chunks_exact_mut(strides[0]).enumerate() {
        if !depth.contains(&z) {
            plane.fill(T::ZERO);
            continue;
        }
        for (y, line) in plane.chunks_exact_mut(strides[1]).enumerate() {
            if height.contains(&y) {
                line[..width.start * channels].fill(T::ZERO);
                line[width.end * channels..].fill(T::ZERO);
            } else {
                line.fill(T::ZERO);
            }
        }
    }
}

/// Copies what lies inside the input, with zeros around it.
fn copy<T: Float>(
    isa: Isa,
    shape: &ConvolutionShape,
    group: usize,
    part: &Part,
    image: usize,
    source: Source<T>,
    data: &mut [T],
    strides: [usize; 3],
    rows: &mut [T],
) {
    let channels = shape.group_inputs();
    let size = window(shape, part.sizes());
    // Along each axis: how many zeros come first, the first input position, and their number.
    let [depth, height, width] = std::array::from_fn(|axis| {
        let start = part.outputs[axis].start * shape.stride[axis];
        let zeros = shape.padding_before[axis].saturating_sub(start).min(size[axis]);
        let first = (start + zeros).saturating_sub(shape.padding_before[axis]);
        (zeros, first, (size[axis] - zeros).min(shape.input[axis].saturating_sub(first)))
    });
    if depth.2 * height.2 * width.2 == 0 {
        return data.fill(T::ZERO);
    }
    let inside = [depth, height, width].map(|(zeros, _, count)| zeros..zeros + count);
    fill_border(data, channels, strides, inside);
    let pixel = |z: usize, y: usize| {
        ((image * shape.input[0] + z) * shape.input[1] + y) * shape.input[2] + width.1
    };
    for z in 0..depth.2 {
        let (first, across) = (pixel(depth.1 + z, height.1), shape.input[2]);
        let plane = (depth.0 + z) * strides[0] + height.0 * strides[1] + width.0 * channels;
        let mut to = data[plane..].chunks_mut(strides[1]).take(height.2);
        let input = match source {
            Source::Array(input) => input,
            Source::Unpooled(pool) => {
                for (y, to) in to.enumerate() {
                    let row = [depth.1 + z, height.1 + y];
                    pool.row(isa, image, row, &mut to[..width.2 * channels]);
                }
                continue;
            }
        };
        match shape.input_layout {
            Layout::ChannelsFirst => {
                let planes = shape.input_pixels();
                let within = first - image * planes;
                let from = &input[(image * shape.groups + group) * channels * planes + within..];
                let from = if channels == 1 {
                    from
                } else {
                    let count = (height.2 - 1) * across + width.2;
                    let from = Matrix::new(from, channels, count, planes, 1);
                    transpose(isa, from, channels, &mut rows[..count * channels]);
                    &*rows
                };
                to.enumerate().for_each(|(y, to)| {
                    let start = y * across * channels;
                    let length = width.2 * channels;
                    to[..length].copy_from_slice(&from[start..start + length]);
                });
            }
            Layout::ChannelsLast => to.by_ref().enumerate().for_each(|(y, to)| {
                let all = shape.input_channels;
                let start = (first + y * across) * all + group * channels;
                if all == channels {
                    let length = width.2 * channels;
                    return to[..length].copy_from_slice(&input[start..start + length]);
                }
                let pixels = input[start..].chunks(all).zip(to.chunks_exact_mut(channels));
                for (from, to) in pixels.take(width.2) {
                    to.copy_from_slice(&from[..channels]);
                }
            }),
        }
    }
}
