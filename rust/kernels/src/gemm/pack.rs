//! Copies of parts of the operands in the order in which the kernels read them.

use super::matrix::Matrix;
use crate::{Float, Isa};

/// Bytes of a cache line; a vector that lies across two costs two reads.
const LINE: usize = 64;

/// Memory for packed operands that begins at a cache line.
pub(super) struct Buffer<T> {
    memory: Vec<T>,
}

impl<T: Float> Buffer<T> {
    pub(super) fn new() -> Self {
        Buffer { memory: Vec::new() }
    }

    /// `length` elements of any content.
    pub(super) fn take(&mut self, length: usize) -> &mut [T] {
        let spare = LINE / size_of::<T>();
        if self.memory.len() < length + spare {
            self.memory = vec![T::ZERO; length + spare];
        }
        let start = self.memory.as_ptr().align_offset(LINE).min(spare);
        &mut self.memory[start..start + length]
    }
}

/// Writes `b` as rows of `width` elements, filled up with zeros.
pub(super) fn pack_columns<T: Float>(isa: Isa, b: Matrix<T>, width: usize, packed: &mut [T]) {
    let (depth, columns) = (b.rows(), b.columns());
    let packed = &mut packed[..depth * width];
    if columns < width {
        packed.fill(T::ZERO);
    }
    if b.column_stride() == 1 {
        for (row, packed) in packed.chunks_exact_mut(width).enumerate() {
            let start = row * b.row_stride();
            packed[..columns].copy_from_slice(&b.data()[start..start + columns]);
        }
    } else {
        interleave(isa, b.data(), columns, b.column_stride(), depth, b.row_stride(), width, packed);
    }
}

/// Writes `a` column by column.
pub(super) fn pack_rows<T: Float>(isa: Isa, a: Matrix<T>, packed: &mut [T]) {
    let (rows, depth) = (a.rows(), a.columns());
    let (row_stride, step) = (a.row_stride(), a.column_stride());
    interleave(isa, a.data(), rows, row_stride, depth, step, rows, packed);
}

per_isa! {
    /// Writes element `p` of each of `count` lanes next to one another, for each `p`:
    /// `packed[p * width + lane] = data[lane * stride + p * step]`.
    fn interleave<I, T: Float>(
        data: &[T], count: usize, stride: usize, depth: usize, step: usize, width: usize,
        packed: &mut [T],
    ) {
        const SIDE: usize = 8;
        if step != 1 {
            for (p, packed) in packed.chunks_exact_mut(width).take(depth).enumerate() {
                for (lane, packed) in packed[..count].iter_mut().enumerate() {
                    *packed = data[lane * stride + p * step];
                }
            }
            return;
        }
        let (whole_lanes, whole_depth) = (count - count % SIDE, depth - depth % SIDE);
        for lane in (0..whole_lanes).step_by(SIDE) {
            for p in (0..whole_depth).step_by(SIDE) {
                let mut block = [[T::ZERO; SIDE]; SIDE];
                for (i, row) in block.iter_mut().enumerate() {
                    let start = (lane + i) * stride + p;
                    row.copy_from_slice(&data[start..start + SIDE]);
                }
                let columns: [[T; SIDE]; SIDE] =
                    std::array::from_fn(|i| std::array::from_fn(|j| block[j][i]));
                for (i, column) in columns.iter().enumerate() {
                    let start = (p + i) * width + lane;
                    packed[start..start + SIDE].copy_from_slice(column);
                }
            }
            for p in whole_depth..depth {
                for lane in lane..lane + SIDE {
                    packed[p * width + lane] = data[lane * stride + p];
                }
            }
        }
        for lane in whole_lanes..count {
            for p in 0..depth {
                packed[p * width + lane] = data[lane * stride + p];
            }
        }
    }
}
