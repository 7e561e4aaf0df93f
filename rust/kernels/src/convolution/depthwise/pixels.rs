//! Channels last, with one output channel for each input channel: all channels of a pixel together.

use super::{RowTap, covering, row_taps};
use crate::Float;
use crate::cells::{Cells, for_each_cell};
use crate::convolution::ConvolutionShape;
use crate::gemm::{Lanes, Plain, prefetch};
use crate::isa::Instructions;
use std::ops::Range;

/// The most taps of a window.
const MAX_TAPS: usize = 64;

/// Whether the rows here can compute a convolution.
pub(super) fn supports(shape: &ConvolutionShape) -> bool {
    shape.group_outputs() == 1 && shape.taps() <= MAX_TAPS
}

/// Which pixel of the other array a tap of a window joins with a position along an axis.
type Join = fn(&ConvolutionShape, axis: usize, position: usize, tap: usize) -> Option<usize>;

/// The input position under a tap of an output's window.
#[inline(always)]
fn covered(shape: &ConvolutionShape, axis: usize, output: usize, tap: usize) -> Option<usize> {
    shape.axis(axis).position(output, tap)
}

/// The taps of the windows along a row.
struct Taps {
    /// Where the pixel's channels and the tap's weights begin.
    list: [(usize, usize); MAX_TAPS],
    count: usize,
    /// Whether all taps along the width were there.
    whole: bool,
}

impl Taps {
    /// Lists the taps of a pixel of a row.
    #[inline(always)]
    fn update(
        &mut self,
        shape: &ConvolutionShape,
        join: Join,
        size: [usize; 3],
        [image, depth, height, width]: [usize; 4],
    ) {
        let channels = shape.input_channels;
        let mut widths = 0;
        self.count = 0;
        for d in 0..shape.kernel[0] {
            let Some(at_depth) = join(shape, 0, depth, d) else { continue };
            for h in 0..shape.kernel[1] {
                let Some(at_height) = join(shape, 1, height, h) else { continue };
                let line = ((image * size[0] + at_depth) * size[1] + at_height) * size[2];
                widths = 0;
                for w in 0..shape.kernel[2] {
                    let Some(at_width) = join(shape, 2, width, w) else { continue };
                    let tap = (d * shape.kernel[1] + h) * shape.kernel[2] + w;
                    self.list[self.count] = ((line + at_width) * channels, tap * channels);
                    self.count += 1;
                    widths += 1;
                }
            }
        }
        self.whole = widths == shape.kernel[2];
    }

    /// Goes on by some elements, if all taps will be there again.
    #[inline(always)]
    fn advance(&mut self, elements: usize) {
        self.list[..self.count].iter_mut().for_each(|(at, _)| *at += elements);
    }
}

/// The channels of a pixel: `bias` + the sum over the taps of an array times the weight.
struct Products<'a, T> {
    taps: &'a [(usize, usize)],
    array: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    relu: bool,
    output: &'a mut [T],
}

impl<T: Float> Cells for Products<'_, T> {
    const LONGEST: usize = 256 / size_of::<T>();

    #[inline(always)]
    unsafe fn cell<I: Instructions, const N: usize>(&mut self, first: usize) {
        let mut sums = [T::ZERO; N];
        if let Some(bias) = self.bias {
            sums.copy_from_slice(&bias[first..first + N]);
        }
        for (at, weight) in self.taps {
            let values = &self.array[at + first..at + first + N];
            let weights = &self.weight[weight + first..weight + first + N];
            for i in 0..N {
                sums[i] += values[i] * weights[i];
            }
        }
        if self.relu {
            sums.iter_mut().for_each(|y| *y = if *y < T::ZERO { T::ZERO } else { *y });
        }
        self.output[first..first + N].copy_from_slice(&sums);
    }
}

per_isa! {
    /// An output row; the weight is by (tap, channel).
    pub(super) fn row_forward<I, T: Float>(
        shape: &ConvolutionShape, row: usize, input: &[T], weight: &[T], bias: Option<&[T]>,
        relu: bool, output: &mut [T],
    ) {
        let [depth, height, width] = shape.output;
        let (image, channels) = (row / height / depth, shape.input_channels);
        let axis = shape.axis(2);
        // Between these, all taps lie inside the input.
        let whole = axis.outputs(0).start..axis.outputs(axis.window - 1).end.min(width);
        let mut taps = Taps { list: [(0, 0); MAX_TAPS], count: 0, whole: false };
        for (column, output) in output.chunks_exact_mut(channels).enumerate() {
            if taps.whole && whole.contains(&column) {
                taps.advance(axis.stride * channels);
            } else {
                let position = [image, row / height % depth, row % height, column];
                taps.update(shape, covered, shape.input, position);
                taps.whole &= whole.contains(&column);
            }
            let taps = &taps.list[..taps.count];
            let mut cells = Products { taps, array: input, weight, bias, relu, output };
            // SAFETY: `I` is what this function is compiled for.
            unsafe { for_each_cell::<I, _>(channels, &mut cells) };
        }
    }
}

per_isa! {
    /// A row of the input's gradient; the weight is by (tap, channel).
    pub(super) fn row_input_gradient<I, T: Float>(
        shape: &ConvolutionShape, row: usize, output_gradient: &[T], weight: &[T], dx: &mut [T],
    ) {
        let [depth, height, _] = shape.input;
        let (image, channels) = (row / height / depth, shape.input_channels);
        let axis = shape.axis(2);
        // Between these, all taps have an output.
        let reach = (axis.window - 1) * axis.dilation;
        let whole = match axis.stride {
            1 => reach.saturating_sub(axis.padding)..axis.output.saturating_sub(axis.padding),
            _ => 0..0,
        };
        let mut taps = Taps { list: [(0, 0); MAX_TAPS], count: 0, whole: false };
        for (column, dx) in dx.chunks_exact_mut(channels).enumerate() {
            if taps.whole && whole.contains(&column) {
                taps.advance(channels);
            } else {
                let position = [image, row / height % depth, row % height, column];
                taps.update(shape, covering, shape.output, position);
                taps.whole &= whole.contains(&column);
            }
            let (taps, array) = (&taps.list[..taps.count], output_gradient);
            let mut cells = Products { taps, array, weight, bias: None, relu: false, output: dx };
            // SAFETY: `I` is what this function is compiled for.
            unsafe { for_each_cell::<I, _>(channels, &mut cells) };
        }
    }
}

/// Adds the gradients of some windows of a row to the weights of `K` neighbouring taps, each row
/// summed by itself first.
struct Gradients<'a, T> {
    channels: usize,
    /// The distances of the pixels under neighbouring windows and neighbouring taps.
    step: usize,
    dilation: usize,
    /// From the pixel under the first tap of the first window on.
    input: &'a [T],
    output_gradient: &'a [T],
    /// By (tap, channel).
    sums: &'a mut [T],
}

impl<T: Float> Gradients<'_, T> {
    /// All channels, in vectors.
    ///
    /// # Safety
    /// The CPU has the instructions of `I`, for which the caller is compiled.
    #[inline(always)]
    unsafe fn add<I: Instructions, const K: usize>(&mut self) {
        // The windows' pixels are all there.
        let windows = self.output_gradient.len() / self.channels;
        let last = (windows - 1) * self.step + (K - 1) * self.dilation;
        assert!(last + self.channels <= self.input.len() && K * self.channels <= self.sums.len());
        // SAFETY: the vectors are among the instructions of `I`; the pixels are there, as checked.
        unsafe {
            match I::VECTOR_BYTES {
                64 => {
                    let done = self.add_channels::<T::V64, K, 4>(0);
                    let done = self.add_channels::<T::V64, K, 1>(done);
                    self.add_channels::<Plain<T, 1>, K, 1>(done);
                }
                32 => {
                    let done = self.add_channels::<T::V32, K, 2>(0);
                    let done = self.add_channels::<T::V32, K, 1>(done);
                    self.add_channels::<Plain<T, 1>, K, 1>(done);
                }
                _ => {
                    let done = self.add_channels::<T::V16, K, 2>(0);
                    let done = self.add_channels::<T::V16, K, 1>(done);
                    self.add_channels::<Plain<T, 1>, K, 1>(done);
                }
            }
        }
    }

    /// The channels from `first` on, `M` vectors at a time, so far as they go; says how far.
    ///
    /// # Safety
    /// The CPU has the instructions of `V`, for which the caller is compiled. All pixels and sums lie
    /// in the arrays.
    #[inline(always)]
    unsafe fn add_channels<V: Lanes<T>, const K: usize, const M: usize>(
        &mut self,
        mut first: usize,
    ) -> usize {
        while first + M * V::LANES <= self.channels {
            // SAFETY: the channels are there, and so are the pixels and the sums.
            unsafe {
                let mut sums = [[V::splat(T::ZERO); M]; K];
                let mut x = self.input.as_ptr().add(first);
                for dy in self.output_gradient.chunks_exact(self.channels) {
                    let dy = dy.as_ptr().add(first);
                    for vector in 0..M {
                        let dy = V::load(dy.add(vector * V::LANES));
                        for (tap, sums) in sums.iter_mut().enumerate() {
                            let x = V::load(x.add(tap * self.dilation + vector * V::LANES));
                            sums[vector] = sums[vector].plus_product(dy, x);
                        }
                    }
                    x = x.wrapping_add(self.step);
                }
                for (tap, sums) in sums.iter().enumerate() {
                    for (vector, sum) in sums.iter().enumerate() {
                        let at = tap * self.channels + first + vector * V::LANES;
                        let to = self.sums.as_mut_ptr().add(at);
                        V::load(to).plus_product(*sum, V::splat(T::ONE)).store(to);
                    }
                }
            }
            first += M * V::LANES;
        }
        first
    }
}

/// Adds the gradients of the windows `outputs` of a row to the weights of `K` taps.
#[inline(always)]
fn add_gradients<I: Instructions, T: Float, const K: usize>(
    shape: &ConvolutionShape,
    outputs: Range<usize>,
    tap: usize,
    input: &[T],
    output_gradient: &[T],
    sums: &mut [T],
) {
    if outputs.is_empty() {
        return;
    }
    let (channels, axis) = (shape.input_channels, shape.axis(2));
    let column = outputs.start * axis.stride + tap % axis.window * axis.dilation - axis.padding;
    let mut gradients = Gradients {
        channels,
        step: axis.stride * channels,
        dilation: axis.dilation * channels,
        input: &input[column * channels..],
        output_gradient: &output_gradient[outputs.start * channels..outputs.end * channels],
        sums: &mut sums[tap * channels..(tap + K) * channels],
    };
    // SAFETY: `I` is what the caller is compiled for.
    unsafe { gradients.add::<I, K>() };
}

/// Asks for what a row's sums begin with while the row before is summed: a vector of all pixels, then
/// the next, is no order that the CPU foresees.
#[inline(always)]
fn ask_for<T>(row: &[T]) {
    row.iter().step_by(64 / size_of::<T>()).for_each(|element| prefetch(element));
}

per_isa! {
    /// `sums` by (tap, channel), of some output rows.
    pub(super) fn rows_weight_gradient<I, T: Float>(
        shape: &ConvolutionShape, rows: &Range<usize>, input: &[T], output_gradient: &[T],
        sums: &mut [T],
    ) {
        let [depth, height, width] = shape.output;
        let (channels, axis) = (shape.input_channels, shape.axis(2));
        let line = shape.input[2] * channels;
        // Of these windows all taps lie inside the input, and are summed together.
        let whole = axis.outputs(0).start..axis.outputs(axis.window - 1).end.min(width);
        let whole = if matches!(axis.window, 3 | 5) { whole } else { 0..0 };
        sums.fill(T::ZERO);
        for row in rows.clone() {
            let (image, position) = (row / height / depth, [row / height % depth, row % height]);
            let dy = &output_gradient[row * width * channels..];
            let (dy, behind) = dy.split_at(width * channels);
            ask_for(&behind[..dy.len().min(behind.len())]);
            let image = &input[image * shape.input_pixels() * channels..];
            for RowTap { tap, row, outputs, .. } in row_taps(shape, position) {
                let x = &image[row * channels..];
                if tap + axis.window == shape.taps() {
                    let behind = &x[line.min(x.len())..];
                    ask_for(&behind[..line.min(behind.len())]);
                }
                if whole.is_empty() {
                    add_gradients::<I, T, 1>(shape, outputs, tap, x, dy, sums);
                    continue;
                }
                let before = outputs.start..whole.start;
                add_gradients::<I, T, 1>(shape, before, tap, x, dy, sums);
                match axis.window {
                    _ if tap % axis.window > 0 => {}
                    3 => add_gradients::<I, T, 3>(shape, whole.clone(), tap, x, dy, sums),
                    _ => add_gradients::<I, T, 5>(shape, whole.clone(), tap, x, dy, sums),
                }
                let behind = whole.end..outputs.end;
                add_gradients::<I, T, 1>(shape, behind, tap, x, dy, sums);
            }
        }
    }
}
