//! Convolution by Winograd's method: tiles of the input and the kernels are transformed so that one
//! product a frequency takes the place of one a tap. Kernels of 5 x 5 give 2 x 2 outputs a tile of
//! 6 x 6 with 36 products instead of 100, kernels of 3 x 3 give 4 x 4 outputs with 36 instead of 144.

mod transform;
mod weight;

use super::direct::{Blocks, Input, Order, Part, Place, turn};
use super::units::{TASKS, for_each_unit};
use super::{ConvolutionShape, Pass};
use crate::gemm::{Block, Epilogue, Left, Panels, Stretches, finish, multiply};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};
use std::ops::Range;
use transform::{CHANNELS, FREQUENCIES, SIDE, Square, transform};

pub(crate) use transform::{Kind, Run, dtransform, stransform};
pub(super) use weight::weight_gradient;

/// Parts of the working memory begin at multiples of this: at a cache line. So much is also between
/// frequencies, which would else fall on the same places of the cache.
const ALIGNMENT: usize = 16;
/// Bytes of a block's transformed tiles, before and after the products.
const BLOCK_BYTES: usize = 480 * 1024;
/// Bytes of a transformed weight that stays in the cache beside them.
const WEIGHT_BYTES: usize = 640 * 1024;

/// Whether a pass over this shape can be computed so.
pub(super) fn supports(pass: Pass, shape: &ConvolutionShape) -> bool {
    let [_, height, width] = shape.kernel;
    let channels = [shape.input_channels, shape.output_channels];
    channels.iter().all(|channels| channels.is_multiple_of(CHANNELS))
        && shape.groups == 1
        && shape.stride == [1; 3]
        && shape.dilation == [1; 3]
        && [shape.kernel[0], shape.input[0], shape.output[0]] == [1; 3]
        && height == width
        && (height == 3 || height == 5)
        && (pass != Pass::InputGradient || shape.turned().is_some())
}

/// Whether a pass over this shape, which is supported, is faster so than directly.
pub(super) fn pays<T>(shape: &ConvolutionShape) -> bool {
    let channels = [shape.input_channels, shape.output_channels];
    let weight = FREQUENCIES * channels[0] * channels[1] * size_of::<T>();
    let tile = SIDE + 1 - shape.kernel[1];
    let whole = |size: usize| size.next_multiple_of(tile) * 3 <= size * 4;
    weight <= WEIGHT_BYTES && shape.output[1..].iter().all(|size| whole(*size))
}

/// The length of the working memory that a pass needs.
pub(super) fn scratch_elements<T: Float>(isa: Isa, pass: Pass, shape: &ConvolutionShape) -> usize {
    match pass {
        Pass::Forward => {
            let cut = Cut::new::<T>(isa, shape);
            cut.packed() + cut.transformed() + cut.units().min(TASKS) * cut.scratch_per_task()
        }
        Pass::InputGradient => {
            shape.turned().map_or(0, |shape| scratch_elements::<T>(isa, Pass::Forward, &shape))
        }
        Pass::WeightGradient => weight::scratch_elements::<T>(isa, shape),
    }
}

/// `output = relu(convolution + bias)`; see [`super::convolution`].
pub(super) fn convolution<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    relu: bool,
    output: &mut [T],
    scratch: &mut [T],
) {
    let weight = (weight, Order::forward(shape));
    forward(isa, parallel, shape, input, weight, bias, relu, output, scratch);
}

/// See [`super::convolution_input_gradient`].
pub(super) fn input_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    output_gradient: &[T],
    weight: &[T],
    input_gradient: &mut [T],
    scratch: &mut [T],
) {
    let Some(turned) = shape.turned() else { unreachable!("the shape is not supported") };
    let weight = (weight, Order::backward(shape));
    let (x, y) = (output_gradient, input_gradient);
    forward(isa, parallel, &turned, x, weight, None, false, y, scratch);
}

/// The tiles of a convolution: windows of the input, and squares of the output.
#[derive(Clone, Copy)]
struct Tiles {
    /// Elements of the output along one axis.
    outputs: usize,
    /// A convolution with the tiles as its windows: one output for each.
    grid: ConvolutionShape,
}

impl Tiles {
    fn new(shape: &ConvolutionShape) -> Self {
        let outputs = SIDE + 1 - shape.kernel[1];
        let [_, height, width] = shape.output;
        let grid = ConvolutionShape {
            kernel: [1, SIDE, SIDE],
            stride: [1, outputs, outputs],
            output: [1, height.div_ceil(outputs), width.div_ceil(outputs)],
            ..*shape
        };
        Tiles { outputs, grid }
    }

    /// The distance of frequencies of so many tiles' vectors.
    fn frequency(tiles: usize, channels: usize) -> usize {
        (tiles * channels).next_multiple_of(ALIGNMENT) + ALIGNMENT
    }

    /// The pixels of the output that a block has: for each tile of an image the position of its first
    /// one, counted from the block's, and how many of its rows and columns there are.
    fn squares(
        self,
        shape: &ConvolutionShape,
        part: &Part,
    ) -> impl Iterator<Item = ([usize; 2], [usize; 2])> + use<> {
        let [_, rows, columns] = part.sizes();
        let first = [part.outputs[1].start, part.outputs[2].start].map(|at| at * self.outputs);
        let (outputs, [_, height, width]) = (self.outputs, shape.output);
        (0..rows).flat_map(move |y| {
            (0..columns).map(move |x| {
                let at = [y * outputs, x * outputs];
                let end = [height - first[0] - at[0], width - first[1] - at[1]];
                (at, end.map(|end| end.min(outputs)))
            })
        })
    }

    /// A block's part of the output.
    fn pixels(self, shape: &ConvolutionShape, part: &Part) -> Part {
        let mut outputs = part.outputs.clone();
        for (axis, range) in outputs.iter_mut().enumerate().skip(1) {
            *range = range.start * self.outputs..shape.output[axis].min(range.end * self.outputs);
        }
        Part { images: part.images.clone(), outputs }
    }

    /// Transforms the tiles below a block to vectors by frequency, then tile.
    fn transform_input<T: Float>(
        self,
        isa: Isa,
        part: &Part,
        input: &Input<T>,
        frequency: usize,
        vectors: &mut [T],
    ) {
        let channels = self.grid.input_channels;
        let [_, _, columns] = part.sizes();
        let squares =
            part.rows().flat_map(|(image, [_, y])| (0..columns).map(move |x| (image, [0, y, x])));
        let squares = squares.enumerate().map(|(tile, (image, at))| {
            let start = input.offset(&self.grid, image, at);
            let size = [SIDE; 2];
            [Square { start, size }, Square { start: tile * channels, size }]
        });
        let strides = [input.strides[1], input.strides[2]];
        let to = (&Parts::new(vectors), [SIDE * frequency, frequency]);
        // SAFETY: `vectors` is borrowed for this call alone.
        unsafe { transform(isa, Kind::Input, channels, (input.data, strides), to, squares) };
    }
}

/// How a forward pass is cut: into (block of tiles, part of the output channels).
struct Cut {
    tiles: Tiles,
    blocks: Blocks,
    panels: Panels,
    panel_parts: usize,
}

impl Cut {
    fn new<T: Float>(isa: Isa, shape: &ConvolutionShape) -> Cut {
        let tiles = Tiles::new(shape);
        let panels = Panels::new::<T>(isa, shape.output_channels);
        let per_tile = FREQUENCIES * (shape.input_channels + panels.panel(0).2);
        let blocks = Blocks::new::<T>(&tiles.grid, BLOCK_BYTES / size_of::<T>() / per_tile);
        let units = blocks.count(&tiles.grid).max(1);
        let panel_parts = (TASKS / 2).div_ceil(units).min(panels.count());
        Cut { tiles, blocks, panels, panel_parts }
    }

    fn units(&self) -> usize {
        self.blocks.count(&self.tiles.grid) * self.panel_parts
    }

    /// The block and the panels of a unit.
    fn unit(&self, unit: usize) -> (Part, Range<usize>) {
        let (block, part) = (unit / self.panel_parts, unit % self.panel_parts);
        let boundary = |part: usize| part * self.panels.count() / self.panel_parts;
        (self.blocks.part(&self.tiles.grid, block), boundary(part)..boundary(part + 1))
    }

    /// The length of the packed weight.
    fn packed(&self) -> usize {
        let grid = &self.tiles.grid;
        let taps = (SIDE + 1 - self.tiles.outputs).pow(2);
        (taps * grid.input_channels * self.panels.packed_columns()).next_multiple_of(ALIGNMENT)
    }

    /// The length of the transformed weight.
    fn transformed(&self) -> usize {
        FREQUENCIES * self.tiles.grid.input_channels * self.panels.packed_columns()
    }

    /// Lengths of a task's copy of the input, its transformed tiles, the products of a panel, and the
    /// panel's part of the output.
    fn scratch_parts(&self) -> [usize; 4] {
        let (grid, width) = (&self.tiles.grid, self.panels.panel(0).2);
        let tiles = self.blocks.pixels(grid);
        let product = match grid.output_layout {
            Layout::ChannelsFirst => tiles * self.tiles.outputs.pow(2) * width,
            Layout::ChannelsLast => 0,
        };
        [
            self.blocks.input_elements(grid).next_multiple_of(ALIGNMENT),
            FREQUENCIES * Tiles::frequency(tiles, grid.input_channels),
            FREQUENCIES * Tiles::frequency(tiles, width),
            product,
        ]
    }

    fn scratch_per_task(&self) -> usize {
        self.scratch_parts().iter().sum::<usize>().next_multiple_of(ALIGNMENT)
    }
}

/// The convolution with a weight whose elements lie in the given order.
fn forward<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: &[T],
    (weight, order): (&[T], Order),
    bias: Option<&[T]>,
    relu: bool,
    output: &mut [T],
    scratch: &mut [T],
) {
    let cut = Cut::new::<T>(isa, shape);
    let (packed, scratch) = scratch.split_at_mut(cut.packed());
    let (transformed, scratch) = scratch.split_at_mut(cut.transformed());
    order.pack(isa, parallel, cut.panels, weight, packed);
    transform_weight(isa, parallel, &cut, packed, transformed);
    let transformed = &*transformed;
    let output = Parts::new(output);
    let depth = Stretches::new(vec![0], shape.input_channels);
    let epilogue = Epilogue::of(bias, relu);
    let unit = |unit: usize, scratch: &mut [T]| {
        let (part, panels) = cut.unit(unit);
        let [memory, vectors, products, _] = cut.scratch_parts();
        let (memory, scratch) = scratch.split_at_mut(memory);
        let (vectors, scratch) = scratch.split_at_mut(vectors);
        let (products, rows) = scratch.split_at_mut(products);
        let input = Input::new(isa, &cut.tiles.grid, 0, &part, input, memory);
        let tiles = part.images.len() * part.pixels();
        let frequency = Tiles::frequency(tiles, shape.input_channels);
        cut.tiles.transform_input(isa, &part, &input, frequency, vectors);
        let pixels = cut.tiles.pixels(shape, &part);
        for panel in panels {
            let (channel, columns, width) = cut.panels.panel(panel);
            let size = shape.input_channels * width;
            let weight = &transformed[channel * shape.input_channels * FREQUENCIES..];
            let stride = Tiles::frequency(tiles, width);
            for index in 0..FREQUENCIES {
                let left = Left {
                    data: &vectors[index * frequency..],
                    row: shape.input_channels,
                    step: 1,
                    stretches: &depth,
                };
                let panel = &weight[index * size..][..size];
                let parts = Parts::new(&mut products[index * stride..]);
                multiply_rows(isa, cut.panels, left, panel, &parts, (tiles, columns, width));
            }
            let products = (&*products, stride, width);
            let place = (channel, columns);
            match shape.output_layout {
                Layout::ChannelsFirst => {
                    let parts = Parts::new(&mut *rows);
                    let place = Place { rows: &parts, row: width, column: 0, channel };
                    let first = |image: usize| image * pixels.pixels();
                    let line = pixels.sizes()[2];
                    cut.inverse(
                        isa, shape, &part, products, place, columns, &first, line, epilogue,
                    );
                    turn(isa, shape, &pixels, (channel, columns, width), rows, &output);
                }
                Layout::ChannelsLast => {
                    let row = shape.output_channels;
                    let place = Place { rows: &output, row, column: place.0, channel };
                    let first = |image: usize| pixels.first_pixel(shape, image);
                    let line = shape.output[2];
                    cut.inverse(
                        isa, shape, &part, products, place, columns, &first, line, epilogue,
                    );
                }
            }
        }
    };
    for_each_unit(parallel, cut.units(), scratch, cut.scratch_per_task(), &unit);
}

/// `c = left * panel` for all rows, a tile at a time; `size` is that of `c` and the distance of its
/// rows.
fn multiply_rows<T: Float>(
    isa: Isa,
    panels: Panels,
    left: Left<T>,
    panel: &[T],
    c: &Parts<T>,
    (rows, columns, width): (usize, usize, usize),
) {
    let groups = rows.div_ceil(panels.tile_rows());
    for group in 0..groups {
        let (start, end) = (group * rows / groups, (group + 1) * rows / groups);
        let left = Left { data: &left.data[start * left.row..], ..left };
        // SAFETY: the groups are computed one after another, and the caller has `c` for itself.
        let mut c = unsafe { Block::new(c, width, (start, end - start), (0, columns)) };
        multiply(isa, panels, left, panel, false, &mut c);
    }
}

/// Transforms a packed weight to panels by frequency.
fn transform_weight<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    cut: &Cut,
    packed: &[T],
    transformed: &mut [T],
) {
    let (rows, taps) = (cut.tiles.grid.input_channels, SIDE + 1 - cut.tiles.outputs);
    let parts = Parts::new(transformed);
    parallel.for_each(cut.panels.count(), &|panel| {
        let (column, _, width) = cut.panels.panel(panel);
        let packed = &packed[column * rows * taps * taps..];
        let tap = rows * width;
        let first = column * rows * FREQUENCIES;
        let squares = (0..rows).map(|row| {
            let (from, to) = (row * width, first + row * width);
            [Square { start: from, size: [taps; 2] }, Square { start: to, size: [SIDE; 2] }]
        });
        let (from, to) = ((packed, [taps * tap, tap]), (&parts, [SIDE * tap, tap]));
        // SAFETY: tasks have different panels, and `Parallel` runs each once.
        unsafe { transform(isa, Kind::Kernel(taps), width, from, to, squares) };
    });
}

impl Cut {
    /// Writes a panel's pixels of a block from its products; `line` is the distance of lines.
    fn inverse<T: Float>(
        &self,
        isa: Isa,
        shape: &ConvolutionShape,
        part: &Part,
        (products, frequency, width): (&[T], usize, usize),
        place: Place<T>,
        columns: usize,
        first: &dyn Fn(usize) -> usize,
        line: usize,
        epilogue: Epilogue<T>,
    ) {
        let per_image = part.pixels();
        let [_, height, length] = self.tiles.pixels(shape, part).sizes();
        for image in 0..part.images.len() {
            let start = first(image) * place.row + place.column;
            let squares = self.tiles.squares(shape, part).enumerate().map(|(tile, (at, size))| {
                let from = (image * per_image + tile) * width;
                let to = start + (at[0] * line + at[1]) * place.row;
                [Square { start: from, size: [SIDE; 2] }, Square { start: to, size }]
            });
            let from = (products, [SIDE * frequency, frequency]);
            let to = (place.rows, [line * place.row, place.row]);
            let kind = Kind::Inverse(self.tiles.outputs);
            // SAFETY: units have different pixels or channels, and each is run once.
            unsafe { transform(isa, kind, columns, from, to, squares) };
            for row in 0..height {
                let rows = (first(image) + row * line, length);
                // SAFETY: as above.
                let mut block =
                    unsafe { Block::new(place.rows, place.row, rows, (place.column, columns)) };
                finish(isa, &mut block, epilogue.block(0, place.channel, shape.output_channels));
            }
        }
    }
}
