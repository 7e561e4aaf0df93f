//! Channels last, with one output channel for each input channel: a vector of channels, or two, along the
//! pixels of a row.

use super::{RowTap, covering, row_taps};
use crate::Float;
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

/// The taps of a window: where the pixel's channels and the tap's weights begin.
struct Taps {
    list: [(usize, usize); MAX_TAPS],
    count: usize,
}

impl Taps {
    /// Those of a pixel that join one of the other array, whose images have the given size.
    #[inline(always)]
    fn new(
        shape: &ConvolutionShape,
        join: Join,
        size: [usize; 3],
        [image, depth, height, width]: [usize; 4],
    ) -> Self {
        let channels = shape.input_channels;
        let mut taps = Taps { list: [(0, 0); MAX_TAPS], count: 0 };
        for d in 0..shape.kernel[0] {
            let Some(at_depth) = join(shape, 0, depth, d) else { continue };
            for h in 0..shape.kernel[1] {
                let Some(at_height) = join(shape, 1, height, h) else { continue };
                let line = ((image * size[0] + at_depth) * size[1] + at_height) * size[2];
                for w in 0..shape.kernel[2] {
                    let Some(at_width) = join(shape, 2, width, w) else { continue };
                    let tap = (d * shape.kernel[1] + h) * shape.kernel[2] + w;
                    taps.list[taps.count] = ((line + at_width) * channels, tap * channels);
                    taps.count += 1;
                }
            }
        }
        taps
    }
}

/// A row of pixels, each `bias` + the sum over the taps of its window of an array times the weight.
struct Row<'a, T> {
    channels: usize,
    array: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    relu: bool,
    output: &'a mut [T],
}

/// Pixels of a row whose windows have the same taps, each some elements behind those of the one before.
struct Run<'a> {
    /// Those of the first pixel.
    taps: &'a [(usize, usize)],
    /// How far apart the windows are, in elements.
    advance: usize,
    first: usize,
    count: usize,
    /// How far apart the pixels are.
    step: usize,
}

impl<T: Float> Row<'_, T> {
    /// Makes the row. Within `whole` every `step`th window has the same taps, `advance` elements apart.
    #[inline(always)]
    fn make<I: Instructions>(
        &mut self,
        whole: Range<usize>,
        (step, advance): (usize, usize),
        taps: impl Fn(usize) -> Taps,
    ) {
        let columns = self.output.len() / self.channels;
        let end = whole.end.min(columns);
        let whole = if whole.start < end { whole.start..end } else { 0..0 };
        let ends = (0..whole.start).chain(whole.end..columns).map(|first| (first, 1));
        let count = |first: usize| (whole.end - first).div_ceil(step);
        let middle = whole.clone().take(step).map(|first| (first, count(first)));
        for (first, count) in ends.chain(middle) {
            let Taps { list, count: taps } = taps(first);
            self.run::<I>(&Run { taps: &list[..taps], advance, first, count, step });
        }
    }

    #[inline(always)]
    fn run<I: Instructions>(&mut self, run: &Run<'_>) {
        let behind =
            |from: usize, distance: usize| from + (run.count - 1) * distance + self.channels;
        for &(at, weight) in run.taps {
            assert!(behind(at, run.advance) <= self.array.len(), "the windows' pixels");
            assert!(weight + self.channels <= self.weight.len(), "the taps' weights");
        }
        let first = run.first * self.channels;
        assert!(behind(first, run.step * self.channels) <= self.output.len(), "the pixels");
        assert!(self.bias.is_none_or(|bias| bias.len() == self.channels), "the bias");
        // SAFETY: the vectors are among the instructions of `I`, for which the caller is compiled; all
        // pixels are there, as checked.
        unsafe {
            let done = match I::VECTOR_BYTES {
                64 => {
                    let done = self.vectors::<T::V64, 2>(run, 0);
                    let done = self.vectors::<T::V64, 1>(run, done);
                    self.vectors::<T::V32, 1>(run, done)
                }
                32 => self.vectors::<T::V32, 1>(run, 0),
                _ => 0,
            };
            let done = self.vectors::<T::V16, 1>(run, done);
            self.vectors::<Plain<T, 1>, 1>(run, done);
        }
    }

    /// The channels from `first` on, `M` vectors at a time, so far as they go; says how far.
    ///
    /// # Safety
    /// The CPU has the instructions of `V`, for which the caller is compiled. The pixels of the run, and its
    /// windows', lie in the arrays.
    #[inline(always)]
    unsafe fn vectors<V: Lanes<T>, const M: usize>(
        &mut self,
        run: &Run<'_>,
        mut first: usize,
    ) -> usize {
        while first + M * V::LANES <= self.channels {
            // SAFETY: the caller's promise; the channels are there.
            unsafe {
                match run.taps.len() {
                    3 => self.windows::<V, M, 3>(run, first),
                    5 => self.windows::<V, M, 5>(run, first),
                    6 => self.windows::<V, M, 6>(run, first),
                    9 => self.windows::<V, M, 9>(run, first),
                    25 => self.windows::<V, M, 25>(run, first),
                    _ => self.any_windows::<V, M>(run, first),
                }
            }
            first += M * V::LANES;
        }
        first
    }

    /// `M` vectors of all pixels, with the weights of `N` taps in registers, so far as there are some.
    ///
    /// # Safety
    /// As for [`Row::vectors`]; there are `N` taps, and the channels.
    #[inline(always)]
    unsafe fn windows<V: Lanes<T>, const M: usize, const N: usize>(
        &mut self,
        run: &Run<'_>,
        channel: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let weight = self.weight.as_ptr().add(channel);
            let mut window = Held { taps: [0; N], weights: [[V::splat(T::ZERO); M]; N] };
            for (index, (tap, of_tap)) in run.taps.iter().enumerate().take(N) {
                window.taps[index] = *tap;
                for m in 0..M {
                    window.weights[index][m] = V::load(weight.add(of_tap + m * V::LANES));
                }
            }
            self.pixels(run, channel, &window);
        }
    }

    /// `M` vectors of all pixels, with any number of taps.
    ///
    /// # Safety
    /// As for [`Row::vectors`]; the channels are there.
    #[inline(always)]
    unsafe fn any_windows<V: Lanes<T>, const M: usize>(&mut self, run: &Run<'_>, channel: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let weight = self.weight.as_ptr().add(channel);
            self.pixels::<V, M>(run, channel, &Any { taps: run.taps, weight });
        }
    }

    /// Writes `M` vectors of all pixels: the bias, and the products of their windows.
    ///
    /// # Safety
    /// As for [`Row::vectors`]; the channels are there.
    #[inline(always)]
    unsafe fn pixels<V: Lanes<T>, const M: usize>(
        &mut self,
        run: &Run<'_>,
        channel: usize,
        window: &impl Window<T, V, M>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut bias = [V::splat(T::ZERO); M];
            if let Some(given) = self.bias {
                for (m, bias) in bias.iter_mut().enumerate() {
                    *bias = V::load(given.as_ptr().add(channel + m * V::LANES));
                }
            }
            let mut x = self.array.as_ptr().add(channel);
            let mut y = self.output.as_mut_ptr().add(run.first * self.channels + channel);
            for _ in 0..run.count {
                let mut sums = bias;
                window.add(x, &mut sums);
                for (m, sum) in sums.into_iter().enumerate() {
                    let sum = if self.relu { sum.at_least(V::splat(T::ZERO)) } else { sum };
                    sum.store(y.add(m * V::LANES));
                }
                x = x.wrapping_add(run.advance);
                y = y.wrapping_add(run.step * self.channels);
            }
        }
    }
}

/// The taps of a run's windows, as `M` vectors of the channels see them.
trait Window<T, V, const M: usize> {
    /// Adds the products of the window whose offsets count from `x`.
    ///
    /// # Safety
    /// The CPU has the instructions of `V`, for which the caller is compiled; the vectors can be read.
    unsafe fn add(&self, x: *const T, sums: &mut [V; M]);
}

/// `N` taps with their weights, in registers so far as there are some.
struct Held<V, const M: usize, const N: usize> {
    taps: [usize; N],
    weights: [[V; M]; N],
}

impl<T: Float, V: Lanes<T>, const M: usize, const N: usize> Window<T, V, M> for Held<V, M, N> {
    #[inline(always)]
    unsafe fn add(&self, x: *const T, sums: &mut [V; M]) {
        for (tap, weights) in self.taps.iter().zip(&self.weights) {
            for (m, (sum, weight)) in sums.iter_mut().zip(weights).enumerate() {
                // SAFETY: the caller's promise.
                *sum = unsafe { sum.plus_product(V::load(x.add(tap + m * V::LANES)), *weight) };
            }
        }
    }
}

/// Any number of taps.
struct Any<'a, T> {
    taps: &'a [(usize, usize)],
    weight: *const T,
}

impl<T: Float, V: Lanes<T>, const M: usize> Window<T, V, M> for Any<'_, T> {
    #[inline(always)]
    unsafe fn add(&self, x: *const T, sums: &mut [V; M]) {
        for (tap, of_tap) in self.taps {
            for (m, sum) in sums.iter_mut().enumerate() {
                let at = m * V::LANES;
                // SAFETY: the caller's promise.
                *sum = unsafe {
                    let weight = V::load(self.weight.add(of_tap + at));
                    sum.plus_product(V::load(x.add(tap + at)), weight)
                };
            }
        }
    }
}

per_isa! {
    /// Output rows from the given one on; the weight is by (tap, channel).
    pub(super) fn rows_forward<I, T: Float>(
        shape: &ConvolutionShape, first: usize, input: &[T], weight: &[T], bias: Option<&[T]>,
        relu: bool, output: &mut [T],
    ) {
        let [depth, height, width] = shape.output;
        let (channels, axis) = (shape.input_channels, shape.axis(2));
        // Between these, all taps lie inside the input.
        let whole = axis.outputs(0).start..axis.outputs(axis.window - 1).end;
        for (row, output) in output.chunks_exact_mut(width * channels).enumerate() {
            let row = first + row;
            let mut made = Row { channels, array: input, weight, bias, relu, output };
            made.make::<I>(whole.clone(), (1, axis.stride * channels), |column| {
                let position = [row / height / depth, row / height % depth, row % height, column];
                Taps::new(shape, covered, shape.input, position)
            });
        }
    }
}

per_isa! {
    /// Rows of the input's gradient from the given one on; the weight is by (tap, channel).
    pub(super) fn rows_input_gradient<I, T: Float>(
        shape: &ConvolutionShape, first: usize, output_gradient: &[T], weight: &[T],
        dx: &mut [T],
    ) {
        let [depth, height, width] = shape.input;
        let (channels, axis) = (shape.input_channels, shape.axis(2));
        // Between these, all taps have an output, so far as one begins at their stride.
        let reach = (axis.window - 1) * axis.dilation;
        let end = (axis.output * axis.stride).saturating_sub(axis.padding);
        let whole = reach.saturating_sub(axis.padding)..end;
        for (row, output) in dx.chunks_exact_mut(width * channels).enumerate() {
            let row = first + row;
            let (array, bias, relu) = (output_gradient, None, false);
            let mut made = Row { channels, array, weight, bias, relu, output };
            made.make::<I>(whole.clone(), (axis.stride, channels), |column| {
                let position = [row / height / depth, row / height % depth, row % height, column];
                Taps::new(shape, covering, shape.output, position)
            });
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
