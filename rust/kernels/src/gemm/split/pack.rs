//! Splits operands into bfloat16 numbers, in the order in which tiles are loaded.
//!
//! A panel is 32 rows of the left operand, or columns of the right one: its *lines*. It is packed by steps
//! of 32 of the depth, each in two tiles of 16 lines, each row of a tile by parts. Rows of the left
//! operand's tiles are lines, those of the right one's are two steps each. In both, step k of the first 16
//! and step k of the others lie side by side.

use std::arch::x86_64::*;

use super::tiles::{LINES, PARTS, ROW, SIDE, STEP, STEP_DEPTH, TILES};
use crate::gemm::lanes::prefetch;
use crate::gemm::matrix::Matrix;
use crate::gemm::pack::AVX512_TRANSPOSER;

/// Elements of a vector.
const LANES: usize = 16;

/// Which operand a panel is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Elements of a packed panel of so much depth.
pub(super) fn packed(depth: usize) -> usize {
    depth.div_ceil(STEP_DEPTH) * STEP
}

/// Packs a panel, one row of the matrix for each of its lines. The result says whether its numbers can be
/// split: they are finite, and the largest is not so small that parts of it would be lost.
///
/// # Safety
/// The CPU has AVX-512 (F, BW, DQ, VL).
///
/// # Panics
/// If the matrix has more lines than a panel, if neither its rows nor its columns lie together, or if `to`
/// is not as long as a packed panel.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn pack(lines: Matrix<f32>, side: Side, to: &mut [f32]) -> bool {
    let (count, depth) = (lines.rows(), lines.columns());
    assert_eq!(to.len(), packed(depth), "the length of a packed panel");
    assert!(count <= SIDE, "a panel has at most so many lines");
    let along = lines.column_stride() == 1;
    assert!(along || lines.row_stride() == 1, "neither rows nor columns lie together");
    let transposed = along != (side == Side::Left);
    let mut copy = [0.0; LINES * STEP_DEPTH];
    let mut squares = [_mm512_setzero_ps(); 2];
    for (step, to) in to.chunks_exact_mut(STEP).enumerate() {
        let first = step * STEP_DEPTH;
        let steps = STEP_DEPTH.min(depth - first);
        for (line, tiles) in (0..count).step_by(LINES).zip(to.chunks_exact_mut(TILES)) {
            let mut block = lines.block(line, LINES.min(count - line), first, steps);
            if transposed {
                block = turned(block, &mut copy);
            }
            match side {
                Side::Left => pack_along(block, tiles, &mut squares),
                Side::Right => pack_across(block, tiles, &mut squares),
            }
        }
    }
    let [x, y] = squares;
    can_be_split(_mm512_reduce_add_ps(_mm512_add_ps(x, y))) || is_zero(lines)
}

/// A copy of up to 16 lines and 32 steps, in which lines lie side by side where they lay one after another,
/// and the other way round.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn turned<'a>(block: Matrix<f32>, copy: &'a mut [f32; LINES * STEP_DEPTH]) -> Matrix<'a, f32> {
    let (lines, steps) = (block.rows(), block.columns());
    let (from_line, from_step) = (block.row_stride(), block.column_stride());
    let (line, step) = if from_step == 1 { (1, LINES) } else { (STEP_DEPTH, 1) };
    let (from_stride, to_stride) =
        if from_step == 1 { (from_line, step) } else { (from_step, line) };
    for first in (0..steps).step_by(LANES) {
        let square = block.block(0, lines, first, LANES.min(steps - first));
        let (mut from, mut from_stride) = (square.data(), from_stride);
        let mut filled = [0.0; LINES * LANES];
        if square.rows() < LINES || square.columns() < LANES {
            // A square of its own, filled up with zeros.
            let rows = if from_step == 1 { square } else { square.transposed() };
            for row in 0..rows.rows() {
                let to = &mut filled[row * LANES..][..rows.columns()];
                to.copy_from_slice(&from[row * from_stride..][..rows.columns()]);
            }
            (from, from_stride) = (&filled, LANES);
        }
        let to = copy[first * step..].as_mut_ptr();
        // SAFETY: the square lies inside the block, which was checked, or fills one of its own, and it
        // lies inside the copy.
        unsafe { (AVX512_TRANSPOSER.transpose)(from.as_ptr(), from_stride, to, to_stride) };
    }
    Matrix::new(copy, lines, steps, line, step)
}

/// Whether numbers with this sum of squares can be split. All are finite, and rounding reaches no infinity;
/// parts 2^24 times as small as the largest, and their products with others like them, are normal numbers.
fn can_be_split(squares: f32) -> bool {
    /// 2^-80
    const SMALLEST: f32 = f32::from_bits((127 - 80) << 23);
    (SMALLEST..f32::INFINITY).contains(&squares)
}

/// Whether nothing but zeros is in a matrix.
fn is_zero(matrix: Matrix<f32>) -> bool {
    (0..matrix.rows()).all(|row| (0..matrix.columns()).all(|column| matrix.get(row, column) == 0.0))
}

/// A bit for each of the first `count` lanes of 16.
fn first(count: usize) -> __mmask16 {
    ((1u32 << count.min(16)) - 1) as __mmask16
}

/// Bfloat16 numbers, as float32, whose sum is `x`. The last one's lower half is to be ignored.
#[inline]
#[target_feature(enable = "avx512f")]
fn split(x: __m512) -> [__m512i; PARTS] {
    let half = _mm512_set1_epi32(0x8000);
    let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    let mut rest = x;
    std::array::from_fn(|part| {
        let nearest = _mm512_add_epi32(_mm512_castps_si512(rest), half);
        if part + 1 == PARTS {
            return nearest;
        }
        let nearest = _mm512_and_si512(nearest, upper);
        rest = _mm512_sub_ps(rest, _mm512_castsi512_ps(nearest));
        nearest
    })
}

/// The same part of two vectors as one tile row: elements of the first beside those of the second.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pairs(x: __m512i, y: __m512i) -> __m512i {
    const UPPER: __mmask32 = 0xaaaa_aaaa;
    _mm512_mask_blend_epi16(UPPER, _mm512_srli_epi32::<16>(x), y)
}

/// Makes a row of a tile of each part, and adds the squares of the numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pack_row([x, y]: [__m512; 2], row: &mut [f32], squares: &mut [__m512; 2]) {
    squares[0] = _mm512_fmadd_ps(x, x, squares[0]);
    squares[1] = _mm512_fmadd_ps(y, y, squares[1]);
    let (xs, ys) = (split(x), split(y));
    for ((x, y), to) in xs.into_iter().zip(ys).zip(row.as_chunks_mut::<ROW>().0) {
        // SAFETY: that is the length of a vector.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), pairs(x, y)) };
    }
}

/// A tile of each part of lines that each lie together: a row for each, and rows of zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pack_along(block: Matrix<f32>, tiles: &mut [f32], squares: &mut [__m512; 2]) {
    let (lines, steps, stride) = (block.rows(), block.columns(), block.row_stride());
    let masks = [first(steps), first(steps.saturating_sub(LANES))];
    let mut rows = tiles.chunks_exact_mut(PARTS * ROW);
    for (line, row) in (0..lines).zip(&mut rows) {
        let from = block.data()[line * stride..].as_ptr();
        // SAFETY: the block holds `steps` elements from there; others are not read.
        let halves = std::array::from_fn(|half| unsafe {
            _mm512_maskz_loadu_ps(masks[half], from.wrapping_add(LANES * half))
        });
        prefetch(from.wrapping_add(4 * STEP_DEPTH));
        prefetch(from.wrapping_add(4 * STEP_DEPTH + LANES));
        pack_row(halves, row, squares);
    }
    rows.for_each(|row| row.fill(0.0));
}

/// A tile of each part of lines that lie side by side: a row for each two steps.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pack_across(block: Matrix<f32>, tiles: &mut [f32], squares: &mut [__m512; 2]) {
    let (lines, steps, stride) = (block.rows(), block.columns(), block.column_stride());
    let mask = first(lines);
    for (index, row) in tiles.chunks_exact_mut(PARTS * ROW).enumerate() {
        let halves = std::array::from_fn(|half| {
            let step = index + LANES * half;
            if step < steps {
                let from = block.data()[step * stride..].as_ptr();
                prefetch(from.wrapping_add(SIDE));
                // SAFETY: the block holds `lines` elements from there; others are not read.
                unsafe { _mm512_maskz_loadu_ps(mask, from) }
            } else {
                _mm512_setzero_ps()
            }
        });
        pack_row(halves, row, squares);
    }
}
