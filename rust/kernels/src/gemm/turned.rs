//! Products of few rows whose right operand lies along the depth, such as a dense layer's of a small
//! batch and its weight: computed as their transposed ones.
//!
//! A kernel reads its right operand step by step. So laid out, a weight would be copied for a few rows
//! only; as the left operand it is read where it is, and what is copied is the batch.

use std::cell::RefCell;

use super::blocked;
use super::epilogue::{Epilogue, finish};
use super::matrix::{Block, Matrix, MatrixMut};
use super::microkernel::sizes;
use super::pack::{Buffer, transpose, transpose_to};
use crate::parallel::Parts;
use crate::{Float, Isa, Parallel, for_each_chunk};

/// Up to so many rows the copy of the other operand costs more than those of the rows and of the result.
const MOST_ROWS: usize = 32;
/// The least columns and depth, and elements of the right operand, that make a copy of the result pay.
const MIN_SIDE: usize = 128;
const MIN_SIZE: usize = 256 * 1024;
/// Columns that are computed before they are written where they belong, so that they are in the cache.
const STRIP: usize = 4096;
/// Columns per task that writes them.
const COLUMNS: usize = 64;
/// Steps per task that packs the rows.
const STEPS: usize = 256;

thread_local! {
    /// The rows, packed for all tasks.
    static ROWS: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
    /// The transposed result of a strip; at most 1 MiB.
    static TURNED: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// Is this a product for [`gemm`]? Its rows fill vectors.
pub(super) fn suits<T: Float>(isa: Isa, a: Matrix<T>, b: Matrix<T>) -> bool {
    let (m, lanes) = (a.rows(), sizes::<T>(isa).lanes);
    b.row_stride() == 1
        && b.column_stride() != 1
        && m <= MOST_ROWS
        && m.is_multiple_of(lanes)
        && b.columns().min(b.rows()) >= MIN_SIDE
        && b.columns() * b.rows() >= MIN_SIZE
}

/// `c = epilogue(alpha * a * b)`; see [`super::gemm`], which has checked the sizes.
pub(super) fn gemm<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    alpha: T,
    a: Matrix<T>,
    b: Matrix<T>,
    mut c: MatrixMut<T>,
    epilogue: Epilogue<T>,
) {
    let (m, n, k, stride) = (c.rows(), c.columns(), a.columns(), c.row_stride());
    let parts = Parts::new(c.data());
    let with_buffers = |rows: &mut Buffer, buffer: &mut Buffer| {
        let right = pack(isa, parallel, a, rows);
        for first in (0..n).step_by(STRIP) {
            let strip = STRIP.min(n - first);
            let turned = buffer.take(strip * m);
            let left = b.block(0, k, first, strip).transposed();
            let to = MatrixMut::row_major(&mut *turned, strip, m);
            blocked::gemm(isa, parallel, alpha, left, right, T::ZERO, to, Epilogue::None);
            let turned = Matrix::row_major(turned, strip, m);
            parallel.for_each(strip.div_ceil(COLUMNS), &|task| {
                let start = task * COLUMNS;
                let (column, columns) = (first + start, COLUMNS.min(strip - start));
                // SAFETY: blocks of different tasks do not overlap, and `Parallel` runs each task once.
                let mut block = unsafe { Block::new(&parts, stride, (0, m), (column, columns)) };
                transpose_to(isa, turned.block(start, columns, 0, m), &mut block);
                finish(isa, &mut block, epilogue.block(0, column, n));
            });
        }
    };
    ROWS.with_borrow_mut(|rows| TURNED.with_borrow_mut(|buffer| with_buffers(rows, buffer)));
}

/// Writes the rows step by step: a panel of a right operand, which is not copied again.
fn pack<'a, T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    a: Matrix<T>,
    buffer: &'a mut Buffer,
) -> Matrix<'a, T> {
    let (m, k) = (a.rows(), a.columns());
    let steps = buffer.take(k * m);
    for_each_chunk(parallel, steps, STEPS * m, &|task, steps| {
        transpose(isa, a.block(0, m, task * STEPS, steps.len() / m), m, steps);
    });
    Matrix::row_major(steps, k, m)
}
