//! What products of split numbers are made of: see `split`, which computes them on CPUs that have tiles.

use super::epilogue::Epilogue;
use super::matrix::{Matrix, MatrixMut};
use crate::{Isa, Parallel};

/// Parts of each number of a convolution.
pub(super) const PARTS: usize = 2;

/// Steps of the depth, or channels, that are split together.
pub(super) const DEPTH: usize = 32;
/// Elements of a split part of so many numbers: a row of a tile.
pub(super) const ROW: usize = 16;
/// Lines of a panel: rows, or columns, of a square of the result.
pub(crate) const PANEL: usize = 32;
/// Elements before a packed panel, a cache line; the first says whether its numbers could be split.
pub(crate) const HEADER: usize = 16;
/// Rows of a piece at most.
pub(crate) const PIECE: usize = 16;

/// Products of split numbers, where the CPU has tiles.
#[doc(hidden)]
pub struct Splitter<T> {
    /// A product of matrices whose rows or columns lie together; see [`super::gemm`].
    pub(super) product: Product<T>,
    /// Splits a panel of the right operand, for one tap; says whether its numbers can be split.
    pub(crate) panel: fn(lines: Matrix<'_, T>, to: &mut [T]) -> bool,
    /// Splits the channels of pixels, with room for so many; says whether they can be split.
    pub(crate) pixels: fn(pixels: &[T], channels: usize, room: usize, to: &mut [T]) -> bool,
    /// Computes a panel of the result.
    pub(crate) multiply: fn(Isa, &Windows<'_, T>, &mut Finish<'_, T>),
}

/// Elements of a panel of the weight for each tap.
pub(crate) fn split_tap(channels: usize) -> usize {
    channels.div_ceil(DEPTH) * PARTS * PANEL * ROW
}

/// Elements of so many pixels whose channels are split.
pub(crate) fn split_pixels_length(count: usize, channels: usize) -> usize {
    count * channels.div_ceil(DEPTH) * PARTS * ROW
}

/// `c = epilogue(alpha * a * b + beta * c)`, with `alpha` and `beta`, `a` and `b` as pairs.
type Product<T> = fn(
    Isa,
    &dyn Parallel,
    (T, T),
    (Matrix<'_, T>, Matrix<'_, T>),
    MatrixMut<'_, T>,
    Epilogue<'_, T>,
);

/// Takes a piece's index and its sums, row by row.
pub(crate) type Finish<'a, T> = dyn FnMut(usize, &[T]) + 'a;

/// The operands of a panel of the result.
pub(crate) struct Windows<'a, T> {
    /// Pixels whose channels are split, and their number.
    pub(crate) pixels: &'a [T],
    pub(crate) count: usize,
    pub(crate) channels: usize,
    /// The window's size and the distances of its taps along each axis, in pixels.
    pub(crate) kernel: [usize; 3],
    pub(crate) distances: [usize; 3],
    /// The distance of neighbouring rows, in pixels.
    pub(crate) stride: usize,
    /// The split panel, tap by tap, and its columns.
    pub(crate) panel: &'a [T],
    pub(crate) columns: usize,
    /// Pieces of this number of rows, or fewer, make the left operand.
    pub(crate) rows: usize,
    pub(crate) pieces: usize,
    /// The first pixel of a piece's first window.
    pub(crate) start: &'a dyn Fn(usize) -> usize,
}
