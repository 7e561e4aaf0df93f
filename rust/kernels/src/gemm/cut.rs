//! How a product is cut into tasks and tiles, by its shape alone.

use std::ops::Range;

use super::matrix::Matrix;
use super::microkernel::{Ahead, Sizes, WIDE};
use super::pack::LINE;
use crate::Float;

/// The longest stretch of the depth, where there are several: each is summed before it is added to the
/// result. Rounding errors grow with the length of a sum, and so much of `b`'s panel stays in the second
/// cache. It need not fit into the first: a tile uses each row of it for as many multiplications as it has
/// rows.
const DEPTH: usize = 640;
/// A depth below this is one stretch: in two shorter ones the result is read and written once more.
const WHOLE_DEPTH: usize = DEPTH + DEPTH / 4;
/// About the multiplications of a task, so that handing it to a thread pays.
const TASK_WORK: usize = 128 * 1024;
/// Panels, or groups of rows, that make a copy of the other operand pay.
const REUSE: usize = 4;
/// Bytes of a page of memory.
const PAGE: usize = 4096;
/// Panels that are enough for all threads; fewer are cut into groups of rows too.
const ENOUGH_PANELS: usize = 8;
/// Tasks of whole panels, at most: within one the next panel is asked for while one is computed.
const PANEL_TASKS: usize = 32;
/// What an element of the result costs besides its multiplications, in those.
const ELEMENT_WORK: usize = 32;
/// Tasks of a product that is cut by its rows, at most.
const ROW_TASKS: usize = 16;
/// Sets of the first cache, and the lines that a set has room for, at least.
const CACHE_SETS: usize = 64;
const CACHE_WAYS: usize = 8;

/// A product's panels of columns, groups of rows and blocks of the depth.
pub(super) struct Cut {
    pub(super) sizes: Sizes,
    m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    panels: usize,
    panel_parts: usize,
    pub(super) row_groups: usize,
    row_parts: usize,
    pub(super) depth_blocks: usize,
    /// Whether tasks are rows with all their columns.
    pub(super) by_rows: bool,
    pub(super) pack_a: bool,
    /// Whether the rows of `a` are copied to where they do not drive one another out of the cache.
    pub(super) space_a: bool,
    pub(super) pack_b: bool,
}

impl Cut {
    pub(super) fn new<T: Float>(sizes: Sizes, a: Matrix<T>, b: Matrix<T>) -> Cut {
        let (m, k, n) = (a.rows(), a.columns(), b.columns());
        let width = WIDE * sizes.lanes;
        let panels = n.div_ceil(width);
        let row_groups = m.div_ceil(sizes.rows);
        let panel_work = m * (k + ELEMENT_WORK) * width;
        let by_rows = cut_by_rows(sizes, row_groups, panels, a, b);
        let tasks = (panels * panel_work).div_ceil(TASK_WORK).max(1);
        let row_parts = if by_rows {
            ROW_TASKS.min(tasks)
        } else if panels >= ENOUGH_PANELS {
            1
        } else {
            (ENOUGH_PANELS / panels).min(panel_work.div_ceil(TASK_WORK)).clamp(1, row_groups)
        };
        let panel_parts = match row_parts {
            _ if by_rows => 1,
            1 => tasks.min(panels).min(PANEL_TASKS),
            _ => panels,
        };
        let adjacent = |stride: usize| stride == 1;
        // Rows that a kernel reads in steps of this many bytes lie on a page of their own each.
        let spread = a.column_stride() * size_of::<T>() >= PAGE / 4 && panels >= REUSE;
        // Its rows lie as they would in a copy.
        let is_panel = panels == 1 && b.row_stride() == n;
        Cut {
            sizes,
            m,
            n,
            k,
            panels,
            panel_parts,
            // An even number, so that two threads have as many rows each.
            row_groups: if row_parts > 1 { row_groups.next_multiple_of(2) } else { row_groups },
            row_parts,
            by_rows,
            depth_blocks: if k < WHOLE_DEPTH { 1 } else { k.div_ceil(DEPTH) },
            pack_a: !adjacent(a.column_stride()) && (!adjacent(a.row_stride()) || spread),
            space_a: adjacent(a.column_stride())
                && panels >= REUSE
                && crowded(sizes.rows.min(m), a),
            pack_b: !adjacent(b.column_stride()) || row_groups >= REUSE && !by_rows && !is_panel,
        }
    }

    pub(super) fn tasks(&self) -> usize {
        self.panel_parts * self.row_parts
    }

    /// The panels and the groups of rows of a task.
    pub(super) fn task(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let (panel_part, row_part) = (task / self.row_parts, task % self.row_parts);
        let panel = |part: usize| part * self.panels / self.panel_parts;
        let group = |part: usize| part * self.row_groups / self.row_parts;
        (panel(panel_part)..panel(panel_part + 1), group(row_part)..group(row_part + 1))
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

    /// The first row of some groups and their number. Groups are nearly equal, and so are as many of them.
    pub(super) fn rows(&self, groups: &Range<usize>) -> (usize, usize) {
        let boundary = |group: usize| group * self.m / self.row_groups;
        (boundary(groups.start), boundary(groups.end) - boundary(groups.start))
    }

    /// The number of rows of each of some groups.
    pub(super) fn group_rows(&self, groups: &Range<usize>) -> GroupRows {
        let (least, larger) = (self.m / self.row_groups, self.m % self.row_groups);
        let over = groups.start * larger % self.row_groups;
        GroupRows { least, larger, over, groups: self.row_groups, left: groups.len() }
    }

    /// The room that each step of a packed group of rows has: whole vectors are copied where those are wide.
    /// Elsewhere steps lie close, so that more of them are in the second cache.
    pub(super) fn packed_rows(&self) -> usize {
        const FEW: usize = 8;
        let rows = self.sizes.rows;
        if rows > FEW { rows.next_power_of_two() } else { rows }
    }

    /// The first step of a depth block and their number: nearly equal.
    pub(super) fn depth(&self, block: usize) -> (usize, usize) {
        let boundary = |block: usize| block * self.k / self.depth_blocks;
        (boundary(block), boundary(block + 1) - boundary(block))
    }

    /// The places of a panel of `b` in a block of the depth, to be asked for in so many shares.
    pub(super) fn places<T: Float>(
        &self,
        b: Matrix<T>,
        (panel, block): (usize, usize),
        shares: usize,
    ) -> Places<T> {
        let (column, columns) = self.columns(panel);
        let (start, depth) = self.depth(block);
        let part = b.block(start, depth, column, columns);
        let part = if b.column_stride() == 1 { part } else { part.transposed() };
        let (rows, width) = (part.rows(), WIDE * self.sizes.lanes);
        let left = part.columns().div_ceil(width);
        let (next, stride) = (part.data().as_ptr(), part.row_stride());
        Places { next, row: 0, rows, stride, width, left, share: (rows * left).div_ceil(shares) }
    }
}

/// The number of rows of each of some groups, in order: a tile may be too short to divide for it.
#[derive(Clone)]
pub(super) struct GroupRows {
    /// Rows of a smaller group.
    pub(super) least: usize,
    /// So many of all groups have a row more; `over` of them would be due one now.
    larger: usize,
    over: usize,
    groups: usize,
    left: usize,
}

impl Iterator for GroupRows {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        self.over += self.larger;
        let is_larger = self.over >= self.groups;
        self.over -= if is_larger { self.groups } else { 0 };
        Some(self.least + usize::from(is_larger))
    }
}

/// Whether tasks are rows of the result with all its columns, rather than columns with all its rows.
///
/// Of a product with little depth, such as the gradient of a weight, the result is what takes most
/// memory. Cut by rows, as the weight is in the forward pass, its parts stay in the caches of the
/// threads. All tasks then read all of `b`, where it is: not where a panel's rows lie so that they drive
/// one another out of the cache.
fn cut_by_rows<T: Float>(
    sizes: Sizes,
    row_groups: usize,
    panels: usize,
    a: Matrix<T>,
    b: Matrix<T>,
) -> bool {
    /// Rows of a kernel, at least. With fewer the steps of a tile take too little time to hide where they
    /// lie, and CPUs that have no wider vectors have second caches too small for the parts.
    const MIN_ROWS: usize = 8;
    let [width, stride] = [WIDE * sizes.lanes, b.row_stride()].map(|count| count * size_of::<T>());
    let lines = width.div_ceil(LINE) + usize::from(!stride.is_multiple_of(LINE));
    sizes.rows >= MIN_ROWS
        && a.row_stride() == 1
        && b.column_stride() == 1
        && b.rows() * lines <= cache_sets(stride) * CACHE_WAYS
        && row_groups >= ROW_TASKS
        && panels >= ENOUGH_PANELS
}

/// Whether so many rows, read side by side along the depth, fall on so few sets of the first cache that
/// little of them is still there at the next step.
fn crowded<T: Float>(rows: usize, a: Matrix<T>) -> bool {
    rows > cache_sets(a.row_stride() * size_of::<T>()) * CACHE_WAYS
}

/// Sets of the first cache that rows so many bytes apart fall on: few where the distance is a power of
/// two of lines, or nearly so.
fn cache_sets(stride: usize) -> usize {
    let distance = (stride + LINE / 2) / LINE;
    CACHE_SETS >> distance.trailing_zeros().min(CACHE_SETS.ilog2())
}

/// A matrix in places as wide as a tile: the first ones of all rows, then the second ones.
pub(super) struct Places<T> {
    /// The first row's place of those that are asked for now.
    next: *const T,
    row: usize,
    rows: usize,
    stride: usize,
    width: usize,
    /// Places of a row that are not asked for yet.
    left: usize,
    share: usize,
}

impl<T: Float> Places<T> {
    /// Asks for the next share of the places.
    pub(super) fn fetch_share(&mut self, ahead: &mut Ahead<T>) {
        let mut share = self.share;
        while share > 0 && self.left > 0 {
            let count = share.min(self.rows - self.row);
            ahead.add(count, self.next.wrapping_add(self.row * self.stride), self.stride);
            share -= count;
            self.row += count;
            if self.row == self.rows {
                self.row = 0;
                self.left -= 1;
                self.next = self.next.wrapping_add(self.width);
            }
        }
    }
}
