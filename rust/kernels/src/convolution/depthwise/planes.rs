//! Channels first, for windows that lie next to one another: every plane by itself, from a copy with a
//! border of zeros.

use crate::Float;
use crate::cells::{Cells, for_each_cell};
use crate::convolution::ConvolutionShape;
use crate::gemm::{LINE, Lanes, prefetch};
use crate::isa::Instructions;
use crate::window::positions;

/// The most taps of a window.
const MAX_TAPS: usize = 64;
/// Partial sums of a weight's gradient.
const LANES: usize = 16;

/// Whether the planes here can compute a convolution: also, none has much more border than inside.
pub(super) fn supports(shape: &ConvolutionShape) -> bool {
    let most = 4 * (shape.input_pixels() + shape.output_pixels()) + 1024;
    let padded = padded(shape).iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let copied = padded.is_some_and(|padded| padded <= most);
    shape.stride == [1; 3] && shape.taps() <= MAX_TAPS && copied
}

/// The size of a plane with its border: all that the windows cover.
pub(super) fn padded(shape: &ConvolutionShape) -> [usize; 3] {
    std::array::from_fn(|axis| shape.output[axis] + (shape.kernel[axis] - 1) * shape.dilation[axis])
}

/// Copies a row, and asks for the same one of the plane that will be copied next: a plane is too short
/// for the CPU to see what follows.
#[inline(always)]
fn copy_row<T: Float>(from: &[T], next: *const T, to: &mut [T]) {
    for at in (0..from.len()).step_by(LINE / size_of::<T>()) {
        prefetch(next.wrapping_add(at));
    }
    to.copy_from_slice(from);
}

/// Copies a plane into the middle of a border of zeros, so far as windows cover it. Another will be
/// copied `next`.
pub(super) fn pad<T: Float>(shape: &ConvolutionShape, plane: &[T], next: *const T, copy: &mut [T]) {
    let (size, before) = (padded(shape), shape.padding_before);
    copy.fill(T::ZERO);
    let ends = [0, 1, 2].map(|axis| shape.input[axis].min(size[axis].saturating_sub(before[axis])));
    for d in 0..ends[0] {
        for h in 0..ends[1] {
            let from = (d * shape.input[1] + h) * shape.input[2];
            let to = ((d + before[0]) * size[1] + h + before[1]) * size[2] + before[2];
            let (row, next) = (&plane[from..from + ends[2]], next.wrapping_add(from));
            copy_row(row, next, &mut copy[to..to + ends[2]]);
        }
    }
}

/// Where the taps of the first window lie in a plane with its border.
fn offsets(shape: &ConvolutionShape) -> ([usize; MAX_TAPS], usize) {
    let [_, height, width] = padded(shape);
    let mut offsets = [0; MAX_TAPS];
    for (offset, [d, h, w]) in offsets.iter_mut().zip(positions(shape.kernel)) {
        let [dd, dh, dw] = shape.dilation;
        *offset = (d * dd * height + h * dh) * width + w * dw;
    }
    (offsets, shape.taps())
}

/// Where the windows of each output row begin in a plane with its border.
fn rows(shape: &ConvolutionShape) -> impl Iterator<Item = usize> {
    let ([_, height, width], output) = (padded(shape), shape.output);
    (0..output[0]).flat_map(move |d| (0..output[1]).map(move |h| (d * height + h) * width))
}

/// Neighbouring outputs of a row: `bias` + the sum over the taps.
struct Products<'a, T> {
    /// Where the taps of the row's first window lie from `plane` on.
    offsets: &'a [usize],
    weight: &'a [T],
    plane: &'a [T],
    bias: T,
    relu: bool,
    output: &'a mut [T],
}

impl<T: Float> Cells for Products<'_, T> {
    const LONGEST: usize = 256 / size_of::<T>();

    #[inline(always)]
    unsafe fn cell<I: Instructions, const N: usize>(&mut self, first: usize) {
        let mut sums = [self.bias; N];
        for (offset, weight) in self.offsets.iter().zip(self.weight) {
            let values = &self.plane[offset + first..offset + first + N];
            for i in 0..N {
                sums[i] += values[i] * *weight;
            }
        }
        if self.relu {
            sums.iter_mut().for_each(|y| *y = if *y < T::ZERO { T::ZERO } else { *y });
        }
        self.output[first..first + N].copy_from_slice(&sums);
    }
}

per_isa! {
    /// The output plane of an input plane with its border.
    pub(super) fn plane_products<I, T: Float>(
        shape: &ConvolutionShape, plane: &[T], weight: &[T], bias: T, relu: bool, output: &mut [T],
    ) {
        let width = shape.output[2];
        let (offsets, taps) = offsets(shape);
        for (start, output) in rows(shape).zip(output.chunks_exact_mut(width)) {
            let (offsets, plane) = (&offsets[..taps], &plane[start..]);
            let mut cells = Products { offsets, weight, plane, bias, relu, output };
            // SAFETY: `I` is what this function is compiled for.
            unsafe { for_each_cell::<I, _>(width, &mut cells) };
        }
    }
}

/// The working memory of [`add_plane_gradient`]: copies of an input plane with its border and of the
/// output's gradient with rows as long, each with a vector behind.
pub(super) fn gradient_scratch(shape: &ConvolutionShape) -> usize {
    2 * (padded(shape).iter().product::<usize>() + LANES)
}

/// Copies the output's gradient to rows as long as those of a plane with its border.
fn spread<T: Float>(shape: &ConvolutionShape, dy: &[T], next: *const T, copy: &mut [T]) {
    copy.fill(T::ZERO);
    let rows = rows(shape).zip(dy.chunks_exact(shape.output[2])).enumerate();
    for (row, (start, dy)) in rows {
        copy_row(dy, next.wrapping_add(row * dy.len()), &mut copy[start..start + dy.len()]);
    }
}

per_isa! {
    /// Adds the gradients from a plane of the input and one of the output's gradient to a channel's
    /// weight. Those from others are added `next`.
    pub(super) fn add_plane_gradient<I, T: Float>(
        shape: &ConvolutionShape, planes: [&[T]; 2], next: [*const T; 2], dw: &mut [T],
        scratch: &mut [T],
    ) {
        let (x, spread_dy) = scratch.split_at_mut(gradient_scratch(shape) / 2);
        assert_eq!(x.len(), spread_dy.len(), "the working memory has another size");
        let (inside, behind) = x.split_at_mut(x.len() - LANES);
        pad(shape, planes[0], next[0], inside);
        behind.fill(T::ZERO);
        spread(shape, planes[1], next[1], spread_dy);
        let (offsets, taps) = offsets(shape);
        let offsets = &offsets[..taps];
        // The two copies have one order, in which a tap is one distance: zeros come between the rows.
        let length = x.len() - LANES - offsets[taps - 1];
        let mut sums = [[T::ZERO; LANES]; MAX_TAPS];
        // SAFETY: `I` is what this function is compiled for. A vector more than `length` from the last
        // offset on is there.
        unsafe {
            match I::VECTOR_BYTES {
                64 => lane_sums::<T, T::V64>(offsets, x, spread_dy, length, &mut sums),
                32 => lane_sums::<T, T::V32>(offsets, x, spread_dy, length, &mut sums),
                _ => lane_sums::<T, T::V16>(offsets, x, spread_dy, length, &mut sums),
            }
        }
        dw.iter_mut().zip(sums).for_each(|(dw, sums)| *dw += fold(sums));
    }
}

/// The products of the gradients and the elements at each offset from them, in lanes.
///
/// # Safety
/// The CPU has the instructions of `V`, for which the caller is compiled. `x` has a vector more than
/// `length` from each offset on, `dy` from its beginning.
#[inline(always)]
unsafe fn lane_sums<T: Float, V: Lanes<T>>(
    offsets: &[usize],
    x: &[T],
    dy: &[T],
    length: usize,
    sums: &mut [[T; LANES]],
) {
    let mut done = 0;
    // SAFETY: the caller's contract.
    unsafe {
        while offsets.len() - done >= 9 {
            add_lanes::<T, V, 9>(&offsets[done..], x, dy, length, &mut sums[done..]);
            done += 9;
        }
        while offsets.len() - done >= 5 {
            add_lanes::<T, V, 5>(&offsets[done..], x, dy, length, &mut sums[done..]);
            done += 5;
        }
        for done in done..offsets.len() {
            add_lanes::<T, V, 1>(&offsets[done..], x, dy, length, &mut sums[done..]);
        }
    }
}

/// The same for the first `K` offsets, whose sums stay in registers.
///
/// # Safety
/// As [`lane_sums`].
#[inline(always)]
unsafe fn add_lanes<T: Float, V: Lanes<T>, const K: usize>(
    offsets: &[usize],
    x: &[T],
    dy: &[T],
    length: usize,
    sums: &mut [[T; LANES]],
) {
    // SAFETY: the caller's contract.
    unsafe {
        let x: [*const T; K] = std::array::from_fn(|tap| x.as_ptr().add(offsets[tap]));
        let mut lanes = [V::splat(T::ZERO); K];
        for at in (0..length).step_by(V::LANES) {
            let dy = V::load(dy.as_ptr().add(at));
            for tap in 0..K {
                lanes[tap] = lanes[tap].plus_product(dy, V::load(x[tap].add(at)));
            }
        }
        for (lanes, sums) in lanes.iter().zip(sums) {
            lanes.store(sums.as_mut_ptr());
        }
    }
}

/// The sum of partial sums, as a balanced tree.
#[inline(always)]
pub(super) fn fold<T: Float>(mut sums: [T; LANES]) -> T {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            sums[i] += sums[i + width];
        }
    }
    sums[0]
}
