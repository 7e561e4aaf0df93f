//! How a product is cut into tasks and tiles, by its shape alone.

use std::ops::Range;

use super::matrix::Matrix;
use super::microkernel::{Ahead, Sizes, WIDE};
use super::pack::LINE;
use crate::Float;

/// The longest stretch of the depth that is summed before it is added to the result: rounding errors
/// grow with the length of a sum, and a stretch of `b`'s panel stays in the cache.
const DEPTH: usize = 256;
/// Multiplications that a task has at least, so that handing it to a thread pays.
const TASK_WORK: usize = 128 * 1024;
/// Panels, or groups of rows, that make a copy of the other operand pay.
const REUSE: usize = 4;
/// Bytes of a page of memory.
const PAGE: usize = 4096;
/// Panels that are enough for all threads; fewer are cut into groups of rows too.
const ENOUGH_PANELS: usize = 8;

/// A product's panels of columns, groups of rows and blocks of the depth.
pub(super) struct Cut {
    pub(super) sizes: Sizes,
    pub(super) n: usize,
    pub(super) k: usize,
    panels: usize,
    panels_per_task: usize,
    pub(super) row_groups: usize,
    /// Rows of a small group; the first `larger_groups` have one more.
    group_rows: usize,
    larger_groups: usize,
    row_parts: usize,
    pub(super) depth_blocks: usize,
    pub(super) pack_a: bool,
    pub(super) pack_b: bool,
    /// Cache lines of a tile of the result.
    pub(super) tile_lines: usize,
}

impl Cut {
    pub(super) fn new<T: Float>(sizes: Sizes, a: Matrix<T>, b: Matrix<T>) -> Cut {
        let (m, k, n) = (a.rows(), a.columns(), b.columns());
        let width = WIDE * sizes.lanes;
        let panels = n.div_ceil(width);
        let row_groups = m.div_ceil(sizes.rows);
        let panel_work = m * k * width;
        let row_parts = if panels >= ENOUGH_PANELS {
            1
        } else {
            (ENOUGH_PANELS / panels).min(panel_work.div_ceil(TASK_WORK)).clamp(1, row_groups)
        };
        let panels_per_task =
            if row_parts > 1 { 1 } else { TASK_WORK.div_ceil(panel_work).clamp(1, panels) };
        let adjacent = |stride: usize| stride == 1;
        // Rows that a kernel reads in steps of this many bytes lie on a page of their own each.
        let spread = a.column_stride() * size_of::<T>() >= PAGE / 4 && panels >= REUSE;
        Cut {
            sizes,
            n,
            k,
            panels,
            panels_per_task,
            row_groups,
            group_rows: m / row_groups,
            larger_groups: m % row_groups,
            row_parts,
            depth_blocks: k.div_ceil(DEPTH),
            pack_a: !adjacent(a.column_stride()) && (!adjacent(a.row_stride()) || spread),
            pack_b: !adjacent(b.column_stride()) || row_groups >= REUSE,
            tile_lines: sizes.rows * (width * size_of::<T>()).div_ceil(LINE),
        }
    }

    pub(super) fn tasks(&self) -> usize {
        self.panels.div_ceil(self.panels_per_task) * self.row_parts
    }

    /// The panels and the groups of rows of a task.
    pub(super) fn task(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let (column_part, row_part) = (task / self.row_parts, task % self.row_parts);
        let first = column_part * self.panels_per_task;
        let boundary = |part: usize| part * self.row_groups / self.row_parts;
        (
            first..self.panels.min(first + self.panels_per_task),
            boundary(row_part)..boundary(row_part + 1),
        )
    }

    /// The first column of a panel and their number.
    pub(super) fn columns(&self, panel: usize) -> (usize, usize) {
        let width = WIDE * self.sizes.lanes;
        (panel * width, width.min(self.n - panel * width))
    }

    /// The columns of the kernel for a panel of so many.
    pub(super) fn width(&self, columns: usize) -> usize {
        if columns > self.sizes.lanes { WIDE * self.sizes.lanes } else { self.sizes.lanes }
    }

    /// The first row of a group and their number: nearly equal.
    pub(super) fn rows(&self, group: usize) -> (usize, usize) {
        let first = group * self.group_rows + group.min(self.larger_groups);
        (first, self.group_rows + usize::from(group < self.larger_groups))
    }

    /// The room that each step of a packed group of rows has: steps begin at cache lines.
    pub(super) fn packed_rows(&self) -> usize {
        self.sizes.rows.next_power_of_two()
    }

    /// The first step of a depth block and their number: nearly equal.
    pub(super) fn depth(&self, block: usize) -> (usize, usize) {
        let boundary = |block: usize| block * self.k / self.depth_blocks;
        (boundary(block), boundary(block + 1) - boundary(block))
    }

    /// The lines of a panel of `b` in a block of the depth, to be asked for in so many shares.
    pub(super) fn lines<T: Float>(
        &self,
        b: Matrix<T>,
        (panel, block): (usize, usize),
        shares: usize,
    ) -> Lines<T> {
        let (column, columns) = self.columns(panel);
        let (start, depth) = self.depth(block);
        let part = b.block(start, depth, column, columns);
        let part = if b.column_stride() == 1 { part } else { part.transposed() };
        let (rows, line) = (part.rows(), LINE / size_of::<T>());
        let lines = part.columns().div_ceil(line);
        let (next, stride) = (part.data().as_ptr(), part.row_stride());
        Lines { next, row: 0, rows, stride, lines, share: (rows * lines).div_ceil(shares) }
    }
}

/// The cache lines of a matrix: the first ones of all rows, then the second ones.
pub(super) struct Lines<T> {
    /// The first row's line of those that are asked for now.
    next: *const T,
    row: usize,
    rows: usize,
    stride: usize,
    /// Lines of a row that are not asked for yet.
    lines: usize,
    share: usize,
}

impl<T: Float> Lines<T> {
    /// Asks for the next share of the lines.
    pub(super) fn fetch_share(&mut self, ahead: &mut Ahead<T>) {
        let mut left = self.share;
        while left > 0 && self.lines > 0 {
            let count = left.min(self.rows - self.row);
            ahead.add(count, self.next.wrapping_add(self.row * self.stride), self.stride);
            left -= count;
            self.row += count;
            if self.row == self.rows {
                self.row = 0;
                self.lines -= 1;
                self.next = self.next.wrapping_add(LINE / size_of::<T>());
            }
        }
    }
}
