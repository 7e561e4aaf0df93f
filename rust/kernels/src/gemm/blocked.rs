//! Products by our own kernels.
//!
//! The result is cut into panels of as many columns as a kernel is wide. A task computes a few
//! panels, or some rows of one; it goes through the depth in blocks that keep a panel of `b` in the
//! cache, and through the rows in nearly equal groups of at most as many as a kernel has. Operands
//! are read where they are unless their layout forbids it or costs more than a copy.

use std::cell::RefCell;

use super::epilogue::{Epilogue, finish};
use super::matrix::{Block, Matrix, MatrixMut};
use super::microkernel::{Sizes, Tile, WIDE, sizes};
use super::pack::{Buffer, LINE, pack_columns, pack_rows};
use crate::parallel::Parts;
use crate::{Float, Isa, Parallel};

/// The longest stretch of the depth that is summed before it is added to the result: rounding errors
/// grow with the length of a sum, and a stretch of `b`'s panel stays in the cache.
const DEPTH: usize = 256;
/// Multiplications that a task has at least, so that handing it to a thread pays.
const TASK_WORK: usize = 128 * 1024;
/// Groups of rows that make a copy of a panel of `b` pay.
const REUSE: usize = 4;
/// Bytes of a page of memory.
const PAGE: usize = 4096;
/// Panels that are enough for all threads; fewer are cut into groups of rows too.
const ENOUGH_PANELS: usize = 8;

thread_local! {
    /// Where a thread packs its panel of `b`; at most 256 KiB, since a panel is [`DEPTH`] deep. Memory
    /// from the allocator would be given back to the system and fetched again for each task.
    static BUFFER: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// `c = epilogue(alpha * a * b + beta * c)`; see [`super::gemm`], which has checked the sizes.
pub(super) fn gemm<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    alpha: T,
    a: Matrix<T>,
    b: Matrix<T>,
    beta: T,
    mut c: MatrixMut<T>,
    epilogue: Epilogue<T>,
) {
    let cut = Cut::new(sizes::<T>(isa), a, b);
    let packed_a = if cut.pack_a { copy_of_rows(isa, parallel, &cut, a) } else { Vec::new() };
    let c_row = c.row_stride();
    let parts = Parts::new(c.data());
    parallel.for_each(cut.tasks(), &|task| {
        BUFFER.with_borrow_mut(|buffer| {
            let (panels, row_groups) = cut.task(task);
            for (panel, block) in
                panels.flat_map(|panel| (0..cut.depth_blocks).map(move |b| (panel, b)))
            {
                let (column, columns) = cut.columns(panel);
                let (start, depth) = cut.depth(block);
                let wide = columns > cut.sizes.lanes;
                let width = if wide { WIDE * cut.sizes.lanes } else { cut.sizes.lanes };
                let panel_b = b.block(start, depth, column, columns);
                let (b_pointer, b_step) = if cut.pack_b || columns < width {
                    let packed = buffer.take(depth * width);
                    pack_columns(isa, panel_b, width, packed);
                    (packed.as_ptr(), width)
                } else {
                    (panel_b.data().as_ptr(), panel_b.row_stride())
                };
                for group in row_groups.clone() {
                    let (row, rows) = cut.rows(group);
                    let tile_a = a.block(row, rows, start, depth);
                    let (a_pointer, a_row, a_step) = if cut.pack_a {
                        let offset = start * cut.m + row * depth;
                        (packed_a[offset..offset + rows * depth].as_ptr(), 1, rows)
                    } else {
                        (tile_a.data().as_ptr(), tile_a.row_stride(), tile_a.column_stride())
                    };
                    let (ahead, ahead_step) = cut.ahead(b, panel, block, group - row_groups.start);
                    // SAFETY: the tasks' panels and groups of rows do not overlap, and `Parallel`
                    // runs each task once.
                    let mut c =
                        unsafe { Block::new(&parts, c_row, (row, rows), (column, columns)) };
                    let tile = Tile {
                        depth,
                        a: a_pointer,
                        a_row,
                        a_step,
                        stretches: &0,
                        stretch_count: 1,
                        b: b_pointer,
                        b_step,
                        c: c.pointer(),
                        c_row,
                        columns,
                        ahead,
                        ahead_step,
                        alpha,
                        beta: if block == 0 { beta } else { T::ONE },
                    };
                    let kernel = T::kernel(isa, rows, wide, a_row == 1);
                    // SAFETY: the kernel is one for `isa`. `a` is a block of `rows` x `depth`, or its
                    // packed copy; `b` has `depth` rows of `width` elements, either in the packed
                    // copy or inside the matrix since `columns == width`; `c` is this task's block.
                    unsafe { kernel(&tile) };
                    if block + 1 == cut.depth_blocks {
                        finish(isa, &mut c, epilogue.block(row, column, cut.n));
                    }
                }
            }
        });
    });
}

/// `a` packed for the kernels: by depth block, then group of rows, then step.
fn copy_of_rows<T: Float>(isa: Isa, parallel: &dyn Parallel, cut: &Cut, a: Matrix<T>) -> Vec<T> {
    let mut packed = vec![T::ZERO; cut.m * cut.k];
    let parts = Parts::new(&mut packed);
    parallel.for_each(cut.row_groups, &|group| {
        let (row, rows) = cut.rows(group);
        for block in 0..cut.depth_blocks {
            let (start, depth) = cut.depth(block);
            // SAFETY: ranges of different groups and blocks do not overlap, and `Parallel` runs
            // each group once.
            let packed = unsafe { parts.range(start * cut.m + row * depth, rows * depth) };
            pack_rows(isa, a.block(row, rows, start, depth), packed);
        }
    });
    packed
}

/// How a product is cut, by its shape alone.
struct Cut {
    sizes: Sizes,
    m: usize,
    n: usize,
    k: usize,
    panels: usize,
    panels_per_task: usize,
    row_groups: usize,
    row_parts: usize,
    depth_blocks: usize,
    pack_a: bool,
    pack_b: bool,
}

impl Cut {
    fn new<T: Float>(sizes: Sizes, a: Matrix<T>, b: Matrix<T>) -> Cut {
        let (m, k, n) = (a.rows(), a.columns(), b.columns());
        let panels = n.div_ceil(WIDE * sizes.lanes);
        let row_groups = m.div_ceil(sizes.rows);
        let panel_work = m * k * WIDE * sizes.lanes;
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
        let pack_a = !adjacent(a.column_stride()) && (!adjacent(a.row_stride()) || spread);
        let pack_b = !adjacent(b.column_stride()) || row_groups >= REUSE;
        let depth_blocks = k.div_ceil(DEPTH);
        Cut {
            sizes,
            m,
            n,
            k,
            panels,
            panels_per_task,
            row_groups,
            row_parts,
            depth_blocks,
            pack_a,
            pack_b,
        }
    }

    fn tasks(&self) -> usize {
        self.panels.div_ceil(self.panels_per_task) * self.row_parts
    }

    /// The panels and the groups of rows of a task.
    fn task(&self, task: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let (column_part, row_part) = (task / self.row_parts, task % self.row_parts);
        let first = column_part * self.panels_per_task;
        let boundary = |part: usize| part * self.row_groups / self.row_parts;
        (
            first..self.panels.min(first + self.panels_per_task),
            boundary(row_part)..boundary(row_part + 1),
        )
    }

    /// The first column of a panel and their number.
    fn columns(&self, panel: usize) -> (usize, usize) {
        let width = WIDE * self.sizes.lanes;
        (panel * width, width.min(self.n - panel * width))
    }

    /// The first row of a group and their number: nearly equal.
    fn rows(&self, group: usize) -> (usize, usize) {
        let boundary = |group: usize| group * self.m / self.row_groups;
        (boundary(group), boundary(group + 1) - boundary(group))
    }

    /// Where the rows of the next part of `b` lie, and their distance: while it computes, each of the
    /// first groups of rows fetches one line of all of them. Transposed, `b` is read along its lines,
    /// which the CPU foresees by itself.
    fn ahead<T: Float>(
        &self,
        b: Matrix<T>,
        panel: usize,
        block: usize,
        group: usize,
    ) -> (*const T, usize) {
        let (panel, block) =
            if block + 1 < self.depth_blocks { (panel, block + 1) } else { (panel + 1, 0) };
        let line = LINE / size_of::<T>();
        let lines = WIDE * self.sizes.lanes / line;
        if b.column_stride() != 1 || panel >= self.panels || group >= lines {
            return (b.data().as_ptr(), 0);
        }
        let (column, columns) = self.columns(panel);
        let (start, depth) = self.depth(block);
        let next = b.block(start, depth, column, columns);
        (next.data().as_ptr().wrapping_add(group * line), next.row_stride())
    }

    /// The first step of a depth block and their number: nearly equal.
    fn depth(&self, block: usize) -> (usize, usize) {
        let boundary = |block: usize| block * self.k / self.depth_blocks;
        (boundary(block), boundary(block + 1) - boundary(block))
    }
}
