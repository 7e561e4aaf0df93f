//! Copies of parts of the operands in the order in which the kernels read them.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::matrix::{Block, Matrix};
use crate::parallel::Parts;
use crate::{Float, Isa};

/// Bytes of a cache line; a vector that lies across two costs two reads.
pub(crate) const LINE: usize = 64;

/// Memory for packed operands that begins at a cache line.
pub(crate) struct Buffer {
    lines: Vec<Line>,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "it is read as floats")] [u8; LINE]);

impl Buffer {
    pub(crate) const fn new() -> Self {
        Buffer { lines: Vec::new() }
    }

    /// `length` elements of any content.
    pub(crate) fn take<T: Float>(&mut self, length: usize) -> &mut [T] {
        let lines = (length * size_of::<T>()).div_ceil(LINE);
        if self.lines.len() < lines {
            self.lines = vec![Line([0; LINE]); lines];
        }
        // SAFETY: the lines are initialised, aligned for any float and hold `length` of them, of
        // which every bit pattern is one; `&mut self` is borrowed as long as the result.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), length) }
    }
}

/// Writes `b` as rows of `width` elements, filled up with zeros.
pub(crate) fn pack_columns<T: Float>(isa: Isa, b: Matrix<T>, width: usize, packed: &mut [T]) {
    let (depth, columns) = (b.rows(), b.columns());
    let packed = &mut packed[..depth * width];
    if columns < width {
        packed.fill(T::ZERO);
    }
    if b.column_stride() != 1 {
        return transpose(isa, b.transposed(), width, packed);
    }
    let (from, stride) = (b.data(), b.row_stride());
    match (columns == width, width) {
        (true, 32) => copy_rows::<T, 32>(isa, from, stride, packed),
        (true, 16) => copy_rows::<T, 16>(isa, from, stride, packed),
        (true, 8) => copy_rows::<T, 8>(isa, from, stride, packed),
        _ => {
            for (row, packed) in packed.chunks_exact_mut(width).enumerate() {
                packed[..columns].copy_from_slice(&from[row * stride..][..columns]);
            }
        }
    }
}

/// Writes the rows of `a` step by step, each step in `width` elements of which the last are any.
pub(super) fn pack_steps<T: Float>(isa: Isa, a: Matrix<T>, width: usize, packed: &mut [T]) {
    match (a.row_stride(), width) {
        (1, 16) => copy_steps::<T, 16>(isa, a, packed),
        (1, 6) => copy_steps::<T, 6>(isa, a, packed),
        (1, 4) => copy_steps::<T, 4>(isa, a, packed),
        _ => transpose(isa, a, width, packed),
    }
}

per_isa! {
    /// [`pack_steps`] where rows lie side by side: whole steps are copied, of which the last
    /// elements may not be needed, but where they would lie outside the matrix.
    fn copy_steps<I, T: Float; const WIDTH: usize>(a: Matrix<T>, packed: &mut [T]) {
        let (from, stride) = (a.data(), a.column_stride());
        let packed = packed.as_chunks_mut::<WIDTH>().0;
        let whole = match from.len().checked_sub(WIDTH) {
            Some(last) => packed.len().min(last / stride.max(1) + 1),
            None => 0,
        };
        // Apart from the rest: of one loop for both the compiler would make calls for each step.
        let (whole_steps, rest) = packed.split_at_mut(whole);
        for (step, packed) in whole_steps.iter_mut().enumerate() {
            packed.copy_from_slice(&from[step * stride..][..WIDTH]);
        }
        for (step, packed) in rest.iter_mut().enumerate() {
            packed[..a.rows()].copy_from_slice(&from[(whole + step) * stride..][..a.rows()]);
        }
    }
}

per_isa! {
    /// Copies whole rows, which begin at a distance from one another.
    fn copy_rows<I, T: Float; const WIDTH: usize>(from: &[T], stride: usize, packed: &mut [T]) {
        for (row, packed) in packed.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
            packed.copy_from_slice(&from[row * stride..][..WIDTH]);
        }
    }
}

/// Transposes a square of `side` in registers: `to[i * to_stride + j] = from[j * from_stride + i]`.
#[doc(hidden)]
pub struct Transposer<T> {
    side: usize,
    /// # Safety
    /// The CPU has the instructions of the [`Isa`] it was chosen for; `from` can be read and `to`
    /// written in all of the square, and they do not overlap. The rows of `to` are written in order.
    transpose: unsafe fn(from: *const T, from_stride: usize, to: *mut T, to_stride: usize),
}

/// Writes the matrix column by column: `packed[column * width + row] = matrix[row][column]`.
///
/// # Panics
/// If the columns overlap or reach beyond `packed`.
pub(crate) fn transpose<T: Float>(isa: Isa, matrix: Matrix<T>, width: usize, packed: &mut [T]) {
    let (rows, columns) = (matrix.rows(), matrix.columns());
    assert!(rows <= width, "the columns of the transposed matrix overlap");
    let parts = Parts::new(packed);
    // SAFETY: there is one block.
    let mut block = unsafe { Block::new(&parts, width, (0, columns), (0, rows)) };
    transpose_to(isa, matrix, &mut block);
}

/// Writes the transposed matrix to a block of its size.
pub(crate) fn transpose_to<T: Float>(isa: Isa, matrix: Matrix<T>, to: &mut Block<T>) {
    let (rows, columns) = (matrix.rows(), matrix.columns());
    assert_eq!((to.rows(), to.columns()), (columns, rows), "a matrix and its transposed one");
    let squares = T::transposer(isa).filter(|squares| squares.side <= rows.min(columns));
    let (Some(Transposer { side, transpose }), 1) = (squares, matrix.column_stride()) else {
        return copy_elements(isa, matrix, to);
    };
    let (pointer, stride) = (to.pointer(), to.row_stride());
    for row in square_starts(rows, side) {
        for column in square_starts(columns, side) {
            let square = matrix.block(row, side, column, side);
            let to = pointer.wrapping_add(column * stride + row);
            // SAFETY: `transpose` is one for `isa`; `matrix.block` has checked the square, and its
            // rows `column..column + side` and columns `row..row + side` lie in `to`.
            unsafe { transpose(square.data().as_ptr(), matrix.row_stride(), to, stride) };
        }
    }
}

/// Transposes a square: `to[j * to_stride + i] = from[i * from_stride + j]` for `i` and `j` below `SIDE`.
/// Rows of the result may overlap: then the later ones remain.
///
/// # Panics
/// If the square reaches beyond a slice.
pub(crate) fn transpose_square<T: Float, const SIDE: usize>(
    isa: Isa,
    from: &[T],
    from_stride: usize,
    to: &mut [T],
    to_stride: usize,
) {
    for (length, stride) in [(from.len(), from_stride), (to.len(), to_stride)] {
        assert!(length >= (SIDE - 1) * stride + SIDE, "the square reaches beyond the slice");
    }
    let Some(Transposer { side, transpose }) =
        T::transposer(isa).filter(|squares| SIDE.is_multiple_of(squares.side))
    else {
        for j in 0..SIDE {
            for (i, to) in to[j * to_stride..][..SIDE].iter_mut().enumerate() {
                *to = from[i * from_stride + j];
            }
        }
        return;
    };
    for j in (0..SIDE).step_by(side) {
        // What reaches into the next rows must be there before them.
        for i in (0..SIDE).step_by(side).rev() {
            let from = from[i * from_stride + j..].as_ptr();
            let to = to[j * to_stride + i..].as_mut_ptr();
            // SAFETY: the parts lie in the squares, which the slices hold (checked above), and
            // `transpose` is one for `isa`.
            unsafe { transpose(from, from_stride, to, to_stride) };
        }
    }
}

/// Where squares begin that cover so many rows or columns; the last one may cover some again.
fn square_starts(count: usize, side: usize) -> impl Iterator<Item = usize> {
    (0..count.div_ceil(side)).map(move |square| (square * side).min(count - side))
}

per_isa! {
    /// [`transpose_to`], one element at a time.
    fn copy_elements<I, T: Float>(matrix: Matrix<T>, to: &mut Block<T>) {
        for column in 0..matrix.columns() {
            let mut at = column * matrix.column_stride();
            for to in to.row(column) {
                *to = matrix.data()[at];
                at += matrix.row_stride();
            }
        }
    }
}

/// Transposers of float32: of loops the compiler makes single loads and stores.
macro_rules! transposers {
    ($($constant:ident $name:ident, $side:literal, $feature:literal, $quarter:ident => $gathered:expr;
       $unpacklo:ident $unpackhi:ident $to_pairs:ident $unpacklo_pairs:ident $unpackhi_pairs:ident
       $from_pairs:ident $store:ident;)*) => {$(
        #[cfg(target_arch = "x86_64")]
        pub(super) const $constant: Transposer<f32> =
            Transposer { side: $side, transpose: $name };

        /// # Safety
        /// See [`Transposer`].
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $feature)]
        unsafe fn $name(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            for column in (0..$side).step_by(4) {
                // Four columns; the vector's quarters (or halves) hold rows j, j + 4, ..
                let gather = |j: usize| {
                    // SAFETY: rows and columns of the square can be read.
                    let $quarter = |i: usize| unsafe {
                        _mm_loadu_ps(from.add((j + 4 * i) * from_stride + column))
                    };
                    $gathered
                };
                let (a, b, c, d) = (gather(0), gather(1), gather(2), gather(3));
                // In each quarter a 4 x 4 transposition.
                let (ab_low, ab_high) = ($unpacklo(a, b), $unpackhi(a, b));
                let (cd_low, cd_high) = ($unpacklo(c, d), $unpackhi(c, d));
                let (x, y) = ($to_pairs(ab_low), $to_pairs(cd_low));
                let (z, w) = ($to_pairs(ab_high), $to_pairs(cd_high));
                let columns = [
                    $unpacklo_pairs(x, y),
                    $unpackhi_pairs(x, y),
                    $unpacklo_pairs(z, w),
                    $unpackhi_pairs(z, w),
                ];
                for (i, values) in columns.into_iter().enumerate() {
                    // SAFETY: row `column + i` of the transposed square can be written.
                    unsafe { $store(to.add((column + i) * to_stride), $from_pairs(values)) };
                }
            }
        }
    )*};
}

transposers! {
    AVX512_TRANSPOSER transpose_avx512, 16, "avx512f,avx512dq", quarter => {
        let rows = _mm512_castps128_ps512(quarter(0));
        let rows = _mm512_insertf32x4::<1>(rows, quarter(1));
        let rows = _mm512_insertf32x4::<2>(rows, quarter(2));
        _mm512_insertf32x4::<3>(rows, quarter(3))
    };
    _mm512_unpacklo_ps _mm512_unpackhi_ps _mm512_castps_pd _mm512_unpacklo_pd _mm512_unpackhi_pd
    _mm512_castpd_ps _mm512_storeu_ps;
    AVX2_TRANSPOSER transpose_avx2, 8, "avx2", half => {
        _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(half(0)), half(1))
    };
    _mm256_unpacklo_ps _mm256_unpackhi_ps _mm256_castps_pd _mm256_unpacklo_pd _mm256_unpackhi_pd
    _mm256_castpd_ps _mm256_storeu_ps;
}
