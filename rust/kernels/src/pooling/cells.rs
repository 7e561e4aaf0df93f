//! Cells: some outputs of a segment. A cell's sums or maxima stay in registers while its windows'
//! elements go by, one tap after the other.

use std::ops::Range;

use super::every_other::every_other;
use super::planes::Planes;
use crate::cells::Cells;
use crate::isa::Instructions;
use crate::{Element, Float};

/// Neighbouring outputs whose windows have the same taps inside the input; see [`Planes`].
pub(super) struct Segment {
    /// The outputs, within their row.
    pub(super) outputs: Range<usize>,
    /// The taps inside the input, along depth, height and width.
    pub(super) taps: [Range<usize>; 3],
    /// Where the element of the first of these taps of the first output lies in the plane.
    pub(super) start: usize,
}

impl Segment {
    /// The first tap inside the input; 0 if there is none.
    #[inline(always)]
    pub(super) fn first_tap(&self, planes: &Planes) -> usize {
        let [_, height, width] = planes.axes;
        let [depths, heights, widths] = &self.taps;
        let first = (depths.start * height.window + heights.start) * width.window + widths.start;
        if self.count() == 0 { 0 } else { first }
    }

    /// How many elements of the input each window has.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.taps.iter().map(|taps| taps.len()).product()
    }
}

/// Runs the body for each tap of a segment, with its number and where its element lies for the output
/// whose window begins `first` elements behind the first one's. A closure might be compiled for other
/// instructions than the function it is in.
macro_rules! for_each_tap {
    ($segment:expr, $planes:expr, $first:expr, |$tap:ident, $at:ident| $body:block) => {
        let (segment, planes): (&Segment, &Planes) = ($segment, $planes);
        let [_, height, width] = planes.axes;
        let [depths, heights, widths] = &segment.taps;
        let start = segment.start + $first;
        for d in 0..depths.len() {
            for h in 0..heights.len() {
                let line = (d * height.input + h) * width.input * planes.inner;
                let tap = ((depths.start + d) * height.window + heights.start + h) * width.window;
                for w in 0..widths.len() {
                    let ($tap, $at) = (tap + widths.start + w, start + line + w * planes.inner);
                    $body
                }
            }
        }
    };
}
pub(super) use for_each_tap;

/// So many elements, each `STEP` behind the one before it.
///
/// # Safety
/// The CPU has the instructions of `I`, for which the caller is compiled.
#[inline(always)]
unsafe fn load<I: Instructions, T: Float, const STEP: usize, const N: usize>(
    from: &[T],
    at: usize,
) -> [T; N] {
    const { assert!(STEP == 1 || STEP == 2, "elements are next to one another, or every other one") };
    let mut values = [T::ZERO; N];
    if STEP == 1 {
        values.copy_from_slice(&from[at..at + N]);
    } else {
        // SAFETY: the caller's contract.
        unsafe { every_other::<I, T, N>(&from[at..], &mut values) };
    }
    values
}

/// The greatest elements of a segment's windows.
pub(super) struct Maxima<'a, T, const STEP: usize> {
    pub(super) planes: &'a Planes,
    pub(super) segment: &'a Segment,
    pub(super) plane: &'a [T],
    pub(super) output: &'a mut [T],
}

impl<T: Float, const STEP: usize> Cells for Maxima<'_, T, STEP> {
    const LONGEST: usize = 64;

    #[inline(always)]
    unsafe fn cell<I: Instructions, const N: usize>(&mut self, first: usize) {
        let (mut best, mut positions) = ([T::LOWEST; N], [T::ZERO; N]);
        for_each_tap!(self.segment, self.planes, first * STEP, |_tap, at| {
            // SAFETY: the trait's contract.
            let values = unsafe { load::<I, T, STEP, N>(self.plane, at) };
            // SAFETY: as above.
            unsafe { T::take_greater::<I, N>(&mut best, &mut positions, &values, T::ZERO) };
        });
        self.output[first..first + N].copy_from_slice(&best);
    }
}

/// The greatest elements of a segment's windows, and which they are.
pub(super) struct Positions<'a, T, const STEP: usize> {
    pub(super) planes: &'a Planes,
    pub(super) segment: &'a Segment,
    pub(super) plane: &'a [T],
    pub(super) output: &'a mut [T],
    pub(super) positions: &'a mut [u8],
}

impl<T: Float, const STEP: usize> Cells for Positions<'_, T, STEP> {
    const LONGEST: usize = 64;

    #[inline(always)]
    unsafe fn cell<I: Instructions, const N: usize>(&mut self, first: usize) {
        let mut best = [T::LOWEST; N];
        let mut positions = [T::from_position(self.segment.first_tap(self.planes) as u8); N];
        for_each_tap!(self.segment, self.planes, first * STEP, |tap, at| {
            let tap = T::from_position(tap as u8);
            // SAFETY: the trait's contract.
            let values = unsafe { load::<I, T, STEP, N>(self.plane, at) };
            // SAFETY: as above.
            unsafe { T::take_greater::<I, N>(&mut best, &mut positions, &values, tap) };
        });
        self.output[first..first + N].copy_from_slice(&best);
        // SAFETY: the trait's contract.
        let bytes = unsafe { bytes::<I, T, N>(&positions) };
        self.positions[first..first + N].copy_from_slice(&bytes);
    }
}

/// Positions as they are stored. Of a loop the compiler makes a move for each byte.
///
/// # Safety
/// The CPU has the instructions of `I`, for which the caller is compiled.
#[inline(always)]
unsafe fn bytes<I: Instructions, T: Float, const N: usize>(positions: &[T; N]) -> [u8; N] {
    let mut bytes = [0; N];
    #[cfg(target_arch = "x86_64")]
    if I::VECTOR_BYTES == 64 && size_of::<T>() == 4 && N.is_multiple_of(16) {
        use std::arch::x86_64::{_mm_storeu_si128, _mm512_cvtepi32_epi8, _mm512_loadu_si512};
        for first in (0..N).step_by(16) {
            // SAFETY: vectors of 64 bytes are AVX-512's; sixteen positions and bytes begin there.
            unsafe {
                let numbers = _mm512_loadu_si512(positions.as_ptr().add(first).cast());
                let to = bytes.as_mut_ptr().add(first);
                _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(numbers));
            }
        }
        return bytes;
    }
    for (byte, position) in bytes.iter_mut().zip(positions) {
        *byte = T::position(*position);
    }
    bytes
}

/// The averages of a segment's windows.
pub(super) struct Averages<'a, T, const STEP: usize> {
    pub(super) planes: &'a Planes,
    pub(super) segment: &'a Segment,
    pub(super) plane: &'a [T],
    pub(super) output: &'a mut [T],
}

impl<T: Float, const STEP: usize> Cells for Averages<'_, T, STEP> {
    const LONGEST: usize = 64;

    #[inline(always)]
    unsafe fn cell<I: Instructions, const N: usize>(&mut self, first: usize) {
        let mut sums = [T::ZERO; N];
        for_each_tap!(self.segment, self.planes, first * STEP, |_tap, at| {
            // SAFETY: the trait's contract.
            let values = unsafe { load::<I, T, STEP, N>(self.plane, at) };
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        });
        let count: T = (self.segment.count().max(1) as f64).cast();
        let averages = sums.map(|sum| sum / count);
        self.output[first..first + N].copy_from_slice(&averages);
    }
}

/// Positions as numbers to compare. A function of the standard library that fills an array might be
/// called, and the numbers go through memory.
#[inline(always)]
fn numbers<T: Float, const N: usize>(positions: &[u8]) -> [T; N] {
    let mut numbers = [T::ZERO; N];
    for (number, position) in numbers.iter_mut().zip(positions) {
        *number = T::from_position(*position);
    }
    numbers
}

/// The gradients to the channels of an input pixel: those of the windows that cover it, where it is
/// the greatest.
pub(super) struct Gathered<'a, T> {
    pub(super) planes: &'a Planes,
    /// The input pixel.
    pub(super) pixel: [usize; 3],
    /// The outputs whose windows cover it.
    pub(super) outputs: [Range<usize>; 3],
    pub(super) positions: &'a [u8],
    pub(super) output_gradient: &'a [T],
    pub(super) input_gradient: &'a mut [T],
}

impl<T: Float> Cells for Gathered<'_, T> {
    const LONGEST: usize = 64;

    #[inline(always)]
    unsafe fn cell<I: Instructions, const N: usize>(&mut self, first: usize) {
        let Planes { axes, inner, .. } = *self.planes;
        let [depths, heights, widths] = &self.outputs;
        let shifted: [usize; 3] = std::array::from_fn(|axis| self.pixel[axis] + axes[axis].padding);
        let mut sums = [T::ZERO; N];
        for d in depths.clone() {
            for h in heights.clone() {
                let line = (d * axes[1].output + h) * axes[2].output;
                let taps = (shifted[0] - d * axes[0].stride) * axes[1].window + shifted[1]
                    - h * axes[1].stride;
                for w in widths.clone() {
                    let tap = taps * axes[2].window + shifted[2] - w * axes[2].stride;
                    let tap = T::from_position(tap as u8);
                    let at = (line + w) * inner + first;
                    let positions = numbers::<T, N>(&self.positions[at..at + N]);
                    let mut gradients = [T::ZERO; N];
                    gradients.copy_from_slice(&self.output_gradient[at..at + N]);
                    // SAFETY: the trait's contract.
                    unsafe { T::add_chosen::<I, N>(&mut sums, &positions, &gradients, tap) };
                }
            }
        }
        self.input_gradient[first..first + N].copy_from_slice(&sums);
    }
}

/// The gradients to some input pixels next to one another, from the one window that covers them.
pub(super) struct Given<'a, T> {
    /// The number of channels.
    pub(super) inner: usize,
    /// The number of the first pixel within the window.
    pub(super) tap: usize,
    /// The positions of the window's maxima, by channel.
    pub(super) positions: &'a [u8],
    pub(super) output_gradient: &'a [T],
    /// All channels of each of the pixels.
    pub(super) input_gradient: &'a mut [T],
}

impl<T: Float> Cells for Given<'_, T> {
    const LONGEST: usize = 64;

    #[inline(always)]
    unsafe fn cell<I: Instructions, const N: usize>(&mut self, first: usize) {
        let mut gradients = [T::ZERO; N];
        gradients.copy_from_slice(&self.output_gradient[first..first + N]);
        let positions = numbers::<T, N>(&self.positions[first..first + N]);
        let pixels = self.input_gradient.chunks_exact_mut(self.inner);
        for (tap, pixel) in (self.tap..).zip(pixels) {
            let (mut sums, tap) = ([T::ZERO; N], T::from_position(tap as u8));
            // SAFETY: the trait's contract.
            unsafe { T::add_chosen::<I, N>(&mut sums, &positions, &gradients, tap) };
            pixel[first..first + N].copy_from_slice(&sums);
        }
    }
}
