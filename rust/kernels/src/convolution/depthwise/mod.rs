//! Convolutions whose groups have one input channel each.
//!
//! With channels first every image of a channel is worked on by itself ([`planes`]), with channels last
//! a vector of channels along the pixels of a row ([`pixels`]). What these do not know, windows with gaps
//! between them and several output channels for an input channel, goes row by row and tap by tap. Output
//! channel `o` belongs to input channel `o / multiplier`.

mod pixels;
mod planes;

use super::transpose::transposed_sum;
use super::units::{TASKS, for_each_unit};
use super::{ConvolutionShape, Pass};
use crate::parallel::Parts;
use crate::window::{Layout, positions};
use crate::{Float, Isa, Parallel, for_each_chunk};
use planes::fold;
use std::ops::Range;

/// Partial sums of a dot product.
const TILE: usize = 16;
/// Channels that are summed together with channels last.
const BLOCK: usize = 64;
/// Elements that a task makes, about, so that handing them to a thread pays.
const TASK_ELEMENTS: usize = 32 * 1024;
/// Parts of the pixels whose gradients to the weight are summed apart.
const PARTS: usize = 16;

/// The length of the working memory that a pass needs.
pub(super) fn scratch_elements(pass: Pass, shape: &ConvolutionShape) -> usize {
    match (shape.input_layout, pass) {
        (Layout::ChannelsFirst, _) => by_planes(pass, shape).map_or(0, |shape| {
            let units = if pass == Pass::WeightGradient { 1 } else { shape.batch };
            let units = units * shape.output_channels;
            match pass {
                Pass::Forward => units.min(TASKS) * padded_elements(&shape),
                Pass::InputGradient => {
                    shape.weight_elements() + units.min(TASKS) * padded_elements(&shape)
                }
                Pass::WeightGradient => units.min(TASKS) * planes::gradient_scratch(&shape),
            }
        }),
        (Layout::ChannelsLast, Pass::WeightGradient) => {
            pixel_parts(shape) * shape.weight_elements()
        }
        (Layout::ChannelsLast, _) => shape.weight_elements(),
    }
}

/// The convolution of planes with a border of zeros that computes a pass, if there is one.
fn by_planes(pass: Pass, shape: &ConvolutionShape) -> Option<ConvolutionShape> {
    let shape = match pass {
        Pass::InputGradient if shape.group_outputs() > 1 => return None,
        Pass::InputGradient => shape.turned()?,
        _ => *shape,
    };
    planes::supports(&shape).then_some(shape)
}

fn padded_elements(shape: &ConvolutionShape) -> usize {
    planes::padded(shape).iter().product()
}

/// Rows of all output images.
fn output_rows(shape: &ConvolutionShape) -> usize {
    shape.batch * shape.output[0] * shape.output[1]
}

fn pixel_parts(shape: &ConvolutionShape) -> usize {
    output_rows(shape).clamp(1, PARTS)
}

/// Makes output rows from the given one on.
type ForwardRows<T> = fn(Isa, &ConvolutionShape, usize, &[T], &[T], Option<&[T]>, bool, &mut [T]);
/// Makes rows of the input's gradient from the given one on.
type GradientRows<T> = fn(Isa, &ConvolutionShape, usize, &[T], &[T], &mut [T]);

/// Rows that a task makes: neighbours read the same rows of the other array.
fn rows_per_task(elements: usize, row: usize) -> usize {
    (elements / TASKS).min(TASK_ELEMENTS).checked_div(row).unwrap_or(0).max(1)
}

/// See [`super::convolution`].
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
    match shape.input_layout {
        Layout::ChannelsFirst if planes::supports(shape) => {
            correlate_planes(isa, parallel, shape, input, weight, bias, relu, output, scratch);
        }
        Layout::ChannelsFirst => {
            let pixels = shape.output_pixels();
            for_each_chunk(parallel, output, pixels, &|plane, output| {
                plane_forward(isa, shape, plane, input, weight, bias, relu, output);
            });
        }
        Layout::ChannelsLast => {
            let weight = by_tap(isa, parallel, shape, weight, scratch);
            let row = shape.output[2] * shape.output_channels;
            let (make_rows, rows) = match pixels::supports(shape) {
                true => (pixels::rows_forward as ForwardRows<T>, rows_per_task(output.len(), row)),
                false => (row_forward as ForwardRows<T>, 1),
            };
            for_each_chunk(parallel, output, rows * row, &|task, output| {
                make_rows(isa, shape, task * rows, input, weight, bias, relu, output);
            });
        }
    }
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
    let turned = by_planes(Pass::InputGradient, shape);
    match (shape.input_layout, turned) {
        (Layout::ChannelsFirst, Some(turned)) => {
            let taps = turned.taps();
            let (turned_weight, scratch) = scratch.split_at_mut(weight.len());
            let kernels = turned_weight.chunks_exact_mut(taps).zip(weight.chunks_exact(taps));
            for (turned, kernel) in kernels {
                turned.iter_mut().zip(kernel.iter().rev()).for_each(|(to, from)| *to = *from);
            }
            let (dy, dx) = (output_gradient, input_gradient);
            correlate_planes(isa, parallel, &turned, dy, turned_weight, None, false, dx, scratch);
        }
        (Layout::ChannelsFirst, None) => {
            let pixels = shape.input_pixels();
            for_each_chunk(parallel, input_gradient, pixels, &|plane, dx| {
                plane_input_gradient(isa, shape, plane, output_gradient, weight, dx);
            });
        }
        (Layout::ChannelsLast, _) => {
            let weight = by_tap(isa, parallel, shape, weight, scratch);
            let (dx, row) = (input_gradient, shape.input[2] * shape.input_channels);
            let (make_rows, rows) = match pixels::supports(shape) {
                true => {
                    (pixels::rows_input_gradient as GradientRows<T>, rows_per_task(dx.len(), row))
                }
                false => (row_input_gradient as GradientRows<T>, 1),
            };
            for_each_chunk(parallel, dx, rows * row, &|task, dx| {
                make_rows(isa, shape, task * rows, output_gradient, weight, dx);
            });
        }
    }
}

/// See [`super::convolution_weight_gradient`].
pub(super) fn weight_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: &[T],
    output_gradient: &[T],
    weight_gradient: &mut [T],
    scratch: &mut [T],
) {
    match shape.input_layout {
        Layout::ChannelsFirst if planes::supports(shape) => {
            planes_weight_gradient(
                isa,
                parallel,
                shape,
                input,
                output_gradient,
                weight_gradient,
                scratch,
            );
        }
        Layout::ChannelsFirst => {
            for_each_chunk(parallel, weight_gradient, shape.taps(), &|channel, dw| {
                plane_weight_gradient(isa, shape, channel, input, output_gradient, dw);
            });
        }
        Layout::ChannelsLast => {
            let (parts, rows) = (pixel_parts(shape), output_rows(shape));
            let elements = shape.weight_elements();
            let sums = &mut scratch[..parts * elements];
            let add_rows = match pixels::supports(shape) {
                true => pixels::rows_weight_gradient,
                false => rows_weight_gradient,
            };
            for_each_chunk(parallel, sums, elements, &|part, sums| {
                let rows = part * rows / parts..(part + 1) * rows / parts;
                add_rows(isa, shape, &rows, input, output_gradient, sums);
            });
            let size = (shape.taps(), shape.output_channels);
            transposed_sum(isa, parallel, sums, (parts, elements), size, weight_gradient);
        }
    }
}

/// Convolves planes from copies with a border.
fn correlate_planes<T: Float>(
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
    let (pixels, inputs, taps) = (shape.output_pixels(), shape.input_pixels(), shape.taps());
    let (channels, multiplier) = (shape.output_channels, shape.group_outputs());
    let output = Parts::new(output);
    let units = shape.batch * channels;
    for_each_unit(parallel, units, scratch, padded_elements(shape), &|plane, copy| {
        let (from, channel) = (plane / multiplier, plane % channels);
        let input = &input[from * inputs..];
        planes::pad(shape, &input[..inputs], input.as_ptr().wrapping_add(inputs), copy);
        let weight = &weight[channel * taps..(channel + 1) * taps];
        let bias = bias.map_or(T::ZERO, |bias| bias[channel]);
        // SAFETY: planes do not overlap, and each unit is worked on once.
        let output = unsafe { output.range(plane * pixels, pixels) };
        planes::plane_products(isa, shape, copy, weight, bias, relu, output);
    });
}

/// The gradient to the weight, each channel's from copies of its planes with a border.
fn planes_weight_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: &[T],
    output_gradient: &[T],
    weight_gradient: &mut [T],
    scratch: &mut [T],
) {
    let (pixels, inputs, taps) = (shape.output_pixels(), shape.input_pixels(), shape.taps());
    let (channels, multiplier) = (shape.output_channels, shape.group_outputs());
    let weight_gradient = Parts::new(weight_gradient);
    let memory = planes::gradient_scratch(shape);
    for_each_unit(parallel, channels, scratch, memory, &|channel, memory| {
        // SAFETY: the weights of channels do not overlap, and each unit is worked on once.
        let dw = unsafe { weight_gradient.range(channel * taps, taps) };
        dw.fill(T::ZERO);
        for image in 0..shape.batch {
            let plane = image * channels + channel;
            let from = plane / multiplier;
            let (input, dy) = (&input[from * inputs..], &output_gradient[plane * pixels..]);
            let next = [
                input.as_ptr().wrapping_add(shape.input_channels * inputs),
                dy.as_ptr().wrapping_add(channels * pixels),
            ];
            let planes = [&input[..inputs], &dy[..pixels]];
            planes::add_plane_gradient(isa, shape, planes, next, dw, memory);
        }
    });
}

/// The weight in the order (tap, output channel).
fn by_tap<'a, T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    weight: &[T],
    scratch: &'a mut [T],
) -> &'a [T] {
    let ordered = &mut scratch[..weight.len()];
    let size = (shape.output_channels, shape.taps());
    transposed_sum(isa, parallel, weight, (1, 0), size, ordered);
    ordered
}

/// A tap of a row of windows: which input row it covers, and where along it.
struct RowTap {
    /// Number of the tap.
    tap: usize,
    /// Where the input row begins in its plane.
    row: usize,
    /// The outputs whose windows have the tap inside the input.
    outputs: Range<usize>,
    /// The input column of the first of them.
    column: usize,
}

/// The taps of the windows in an output row that cover any input.
#[inline(always)]
fn row_taps(shape: &ConvolutionShape, row: [usize; 2]) -> impl Iterator<Item = RowTap> {
    let axes = [0, 1, 2].map(|axis| shape.axis(axis));
    let [depth, height] = [axes[0].taps(row[0]), axes[1].taps(row[1])];
    let planes = depth.flat_map(move |d| height.clone().map(move |h| [d, h]));
    planes.flat_map(move |[d, h]| {
        let at = |axis: usize, tap: usize| {
            row[axis] * axes[axis].stride + tap * axes[axis].dilation - axes[axis].padding
        };
        let start = (at(0, d) * axes[1].input + at(1, h)) * axes[2].input;
        (0..axes[2].window).filter_map(move |w| {
            let outputs = axes[2].outputs(w);
            let tap = (d * axes[1].window + h) * axes[2].window + w;
            let column = (outputs.start * axes[2].stride + w * axes[2].dilation)
                .checked_sub(axes[2].padding)?;
            (!outputs.is_empty()).then_some(RowTap { tap, row: start, outputs, column })
        })
    })
}

per_isa! {
    fn plane_forward<I, T: Float>(
        shape: &ConvolutionShape, plane: usize, input: &[T], weight: &[T], bias: Option<&[T]>,
        relu: bool, output: &mut [T],
    ) {
        let (image, channel) = (plane / shape.output_channels, plane % shape.output_channels);
        let pixels = shape.input_pixels();
        let from = image * shape.input_channels + channel / shape.group_outputs();
        let input = &input[from * pixels..(from + 1) * pixels];
        let weight = &weight[channel * shape.taps()..(channel + 1) * shape.taps()];
        let [_, height, width] = shape.output;
        let stride = shape.stride[2];
        for (row, output) in output.chunks_exact_mut(width).enumerate() {
            output.fill(bias.map_or(T::ZERO, |bias| bias[channel]));
            for RowTap { tap, row, outputs, column } in row_taps(shape, [row / height, row % height]) {
                let factor = weight[tap];
                let (output, input) = (&mut output[outputs], &input[row + column..]);
                if stride == 1 {
                    output.iter_mut().zip(input).for_each(|(y, &x)| *y += factor * x);
                } else {
                    let input = input.iter().step_by(stride);
                    output.iter_mut().zip(input).for_each(|(y, &x)| *y += factor * x);
                }
            }
            if relu {
                output.iter_mut().for_each(|y| *y = if *y < T::ZERO { T::ZERO } else { *y });
            }
        }
    }
}

per_isa! {
    fn plane_input_gradient<I, T: Float>(
        shape: &ConvolutionShape, plane: usize, output_gradient: &[T], weight: &[T], dx: &mut [T],
    ) {
        let (image, channel) = (plane / shape.input_channels, plane % shape.input_channels);
        let (pixels, multiplier) = (shape.output_pixels(), shape.group_outputs());
        let [_, height, width] = shape.output;
        let stride = shape.stride[2];
        dx.fill(T::ZERO);
        for output in channel * multiplier..(channel + 1) * multiplier {
            let start = (image * shape.output_channels + output) * pixels;
            let weight = &weight[output * shape.taps()..(output + 1) * shape.taps()];
            let rows = output_gradient[start..start + pixels].chunks_exact(width);
            for (row, dy) in rows.enumerate() {
                for RowTap { tap, row, outputs, column } in
                    row_taps(shape, [row / height, row % height])
                {
                    let factor = weight[tap];
                    let (dy, dx) = (&dy[outputs], &mut dx[row + column..]);
                    if stride == 1 {
                        dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += factor * dy);
                    } else {
                        let dx = dx.iter_mut().step_by(stride);
                        dx.zip(dy).for_each(|(dx, &dy)| *dx += factor * dy);
                    }
                }
            }
        }
    }
}

per_isa! {
    fn plane_weight_gradient<I, T: Float>(
        shape: &ConvolutionShape, channel: usize, input: &[T], output_gradient: &[T],
        dw: &mut [T],
    ) {
        let (pixels, input_pixels) = (shape.output_pixels(), shape.input_pixels());
        let [depth, height, width] = shape.output;
        let axes = [0, 1, 2].map(|axis| shape.axis(axis));
        let stride = shape.stride[2];
        dw.fill(T::ZERO);
        for image in 0..shape.batch {
            let start = (image * shape.output_channels + channel) * pixels;
            let dy = &output_gradient[start..start + pixels];
            let from = image * shape.input_channels + channel / shape.group_outputs();
            let input = &input[from * input_pixels..(from + 1) * input_pixels];
            for (dw, [tap_depth, tap_height, tap_width]) in dw.iter_mut().zip(positions(shape.kernel)) {
                let columns = axes[2].outputs(tap_width);
                if columns.is_empty() {
                    continue;
                }
                let first = columns.start * stride + tap_width * axes[2].dilation - axes[2].padding;
                let mut sums = [T::ZERO; TILE];
                for row in 0..depth * height {
                    let at = [
                        axes[0].position(row / height, tap_depth),
                        axes[1].position(row % height, tap_height),
                    ];
                    let [Some(d), Some(h)] = at else { continue };
                    let dy = &dy[row * width..][columns.clone()];
                    let x = &input[(d * axes[1].input + h) * axes[2].input + first..];
                    add_products(&mut sums, dy, x, stride);
                }
                *dw += fold(sums);
            }
        }
    }
}

/// Adds the products of `dy` and every `stride`-th element of `x` to partial sums.
#[inline(always)]
fn add_products<T: Float>(sums: &mut [T; TILE], dy: &[T], x: &[T], stride: usize) {
    if stride == 1 {
        let (dy_tiles, dy_rest) = dy.as_chunks::<TILE>();
        let (x_tiles, x_rest) = x[..dy.len()].as_chunks::<TILE>();
        for (dy, x) in dy_tiles.iter().zip(x_tiles) {
            for i in 0..TILE {
                sums[i] += dy[i] * x[i];
            }
        }
        sums.iter_mut().zip(dy_rest.iter().zip(x_rest)).for_each(|(sum, (&dy, &x))| *sum += dy * x);
    } else {
        for (index, (&dy, &x)) in dy.iter().zip(x.iter().step_by(stride)).enumerate() {
            sums[index % TILE] += dy * x;
        }
    }
}

/// The input channel of an output channel.
#[inline(always)]
fn input_channel(shape: &ConvolutionShape, output: usize) -> usize {
    output / shape.group_outputs()
}

per_isa! {
    fn row_forward<I, T: Float>(
        shape: &ConvolutionShape, row: usize, input: &[T], weight: &[T], bias: Option<&[T]>,
        relu: bool, output: &mut [T],
    ) {
        let [depth, height, _] = shape.output;
        let (image, position) = (row / height / depth, [row / height % depth, row % height]);
        let (channels, inputs) = (shape.output_channels, shape.input_channels);
        let start = image * shape.input_pixels() * inputs;
        match bias {
            Some(bias) => output.chunks_exact_mut(channels).for_each(|y| y.copy_from_slice(bias)),
            None => output.fill(T::ZERO),
        }
        for RowTap { tap, row, outputs, column } in row_taps(shape, position) {
            let x = input[start + (row + column) * inputs..].chunks(shape.stride[2] * inputs);
            let weight = &weight[tap * channels..(tap + 1) * channels];
            let y = &mut output[outputs.start * channels..outputs.end * channels];
            for (y, x) in y.chunks_exact_mut(channels).zip(x) {
                if inputs == channels {
                    let factors = x.iter().zip(weight);
                    y.iter_mut().zip(factors).for_each(|(y, (&x, &weight))| *y += x * weight);
                } else {
                    for (channel, (y, &weight)) in y.iter_mut().zip(weight).enumerate() {
                        *y += x[input_channel(shape, channel)] * weight;
                    }
                }
            }
        }
        if relu {
            output.iter_mut().for_each(|y| *y = if *y < T::ZERO { T::ZERO } else { *y });
        }
    }
}

per_isa! {
    fn row_input_gradient<I, T: Float>(
        shape: &ConvolutionShape, row: usize, output_gradient: &[T], weight: &[T], dx: &mut [T],
    ) {
        let [depth, height, _] = shape.input;
        let (image, position) = (row / height / depth, [row / height % depth, row % height]);
        let (channels, inputs) = (shape.output_channels, shape.input_channels);
        let axis = shape.axis(2);
        dx.fill(T::ZERO);
        for d in 0..shape.kernel[0] {
            let Some(from_depth) = covering(shape, 0, position[0], d) else { continue };
            for h in 0..shape.kernel[1] {
                let Some(from_height) = covering(shape, 1, position[1], h) else { continue };
                let line = shape.output_offset(image, 0, [from_depth, from_height, 0]);
                for w in 0..shape.kernel[2] {
                    let outputs = axis.outputs(w);
                    if outputs.is_empty() {
                        continue;
                    }
                    let tap = (d * shape.kernel[1] + h) * shape.kernel[2] + w;
                    let weight = &weight[tap * channels..(tap + 1) * channels];
                    let column = outputs.start * axis.stride + w * axis.dilation - axis.padding;
                    let dx = dx[column * inputs..].chunks_mut(axis.stride * inputs);
                    let dy = &output_gradient[line + outputs.start * channels..];
                    for (dx, dy) in dx.zip(dy.chunks_exact(channels)).take(outputs.len()) {
                        if inputs == channels {
                            let products = dy.iter().zip(weight);
                            dx.iter_mut().zip(products).for_each(|(dx, (&dy, &w))| *dx += dy * w);
                        } else {
                            for (channel, (&dy, &weight)) in dy.iter().zip(weight).enumerate() {
                                dx[input_channel(shape, channel)] += dy * weight;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The output position whose window has `tap` at an input position, if there is one.
#[inline(always)]
fn covering(shape: &ConvolutionShape, axis: usize, position: usize, tap: usize) -> Option<usize> {
    let stride = shape.stride[axis];
    let shifted =
        (position + shape.padding_before[axis]).checked_sub(tap * shape.dilation[axis])?;
    let output = if stride == 1 { shifted } else { shifted / stride };
    (output * stride == shifted && output < shape.output[axis]).then_some(output)
}

per_isa! {
    /// `sums` by (tap, output channel), of some output rows; each row is summed by itself first.
    fn rows_weight_gradient<I, T: Float>(
        shape: &ConvolutionShape, rows: &Range<usize>, input: &[T], output_gradient: &[T],
        sums: &mut [T],
    ) {
        let [depth, height, width] = shape.output;
        let (channels, inputs) = (shape.output_channels, shape.input_channels);
        sums.fill(T::ZERO);
        for row in rows.clone() {
            let (image, position) = (row / height / depth, [row / height % depth, row % height]);
            let dy = &output_gradient[row * width * channels..(row + 1) * width * channels];
            let start = image * shape.input_pixels() * inputs;
            for RowTap { tap, row, outputs, column } in row_taps(shape, position) {
                let x = &input[start + (row + column) * inputs..];
                let dy = &dy[outputs.start * channels..outputs.end * channels];
                let sums = &mut sums[tap * channels..(tap + 1) * channels];
                for (first, sums) in (0..channels).step_by(BLOCK).zip(sums.chunks_mut(BLOCK)) {
                    let mut row = [T::ZERO; BLOCK];
                    let row = &mut row[..sums.len()];
                    let x = x.chunks(shape.stride[2] * inputs);
                    for (dy, x) in dy.chunks_exact(channels).zip(x) {
                        let dy = &dy[first..first + row.len()];
                        if inputs == channels {
                            let products = dy.iter().zip(&x[first..]);
                            row.iter_mut().zip(products).for_each(|(sum, (&dy, &x))| *sum += dy * x);
                        } else {
                            for (channel, (sum, &dy)) in row.iter_mut().zip(dy).enumerate() {
                                *sum += dy * x[input_channel(shape, first + channel)];
                            }
                        }
                    }
                    sums.iter_mut().zip(row).for_each(|(sum, row)| *sum += *row);
                }
            }
        }
    }
}
