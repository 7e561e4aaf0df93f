//! Products by our own kernels.
//!
//! The result is cut into panels of as many columns as a kernel is wide. A task computes a few
//! panels, some rows of one, or some rows of all; it goes through the depth in blocks that keep a panel
//! of `b` in the cache, and through the rows in nearly equal groups of at most as many as a kernel has.
//! Operands are read where they are unless their layout forbids it or costs more than a copy. While a
//! tile is computed, the lines of the next one, and of the next panel of `b`, are asked for.

use std::cell::RefCell;
use std::ops::Range;

use super::cut::{Cut, GroupRows};
use super::epilogue::{Epilogue, Finish, finish};
use super::matrix::{Block, Matrix, MatrixMut};
use super::microkernel::{Ahead, Tile, sizes};
use super::pack::{Buffer, LINE, pack_columns, pack_steps};
use crate::parallel::Parts;
use crate::permute::copy_strided;
use crate::{Float, Isa, Parallel};

thread_local! {
    // Memory from the allocator would be given back to the system and fetched again each time.
    /// Where a thread packs its panel of `b`; at most 100 KiB, since a panel is not deeper than a
    /// block of the depth.
    static PANEL: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
    /// Where the rows of `a` are packed, or copied apart, for all tasks.
    static ROWS: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
    /// Where a thread packs the rows of its task.
    static OWN_ROWS: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
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
    let c_row = c.row_stride();
    let c = &Parts::new(c.data());
    ROWS.with_borrow_mut(|buffer| {
        let (mut a, mut packed_a) = (a, None);
        if cut.pack_a && !cut.by_rows {
            let packed = buffer.take(cut.row_groups * cut.packed_rows() * cut.k);
            pack_rows(isa, parallel, &cut, a, packed);
            packed_a = Some(&*packed);
        } else if cut.space_a {
            a = space_rows(parallel, a, buffer);
        }
        let product = Product { isa, cut: &cut, alpha, a, packed_a, b, beta, c, c_row, epilogue };
        parallel.for_each(cut.tasks(), &|task| product.task(task));
    });
}

/// Packs `a` for the kernels: by group of rows, then by step.
fn pack_rows<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    cut: &Cut,
    a: Matrix<T>,
    packed: &mut [T],
) {
    /// Groups of rows that a task packs: neighbours share lines.
    const TOGETHER: usize = 8;
    let length = cut.packed_rows() * cut.k;
    let parts = Parts::new(packed);
    parallel.for_each(cut.row_groups.div_ceil(TOGETHER), &|task| {
        let groups = task * TOGETHER..cut.row_groups.min((task + 1) * TOGETHER);
        // SAFETY: ranges of different tasks do not overlap, and `Parallel` runs each task once.
        let packed = unsafe { parts.range(groups.start * length, groups.len() * length) };
        pack_groups(isa, cut, a, groups, packed);
    });
}

/// Packs some groups of rows.
fn pack_groups<T: Float>(
    isa: Isa,
    cut: &Cut,
    a: Matrix<T>,
    groups: Range<usize>,
    packed: &mut [T],
) {
    let width = cut.packed_rows();
    for (group, packed) in groups.zip(packed.chunks_exact_mut(cut.k * width)) {
        let (row, rows) = cut.rows(&(group..group + 1));
        pack_steps(isa, a.block(row, rows, 0, cut.k), width, packed);
    }
}

/// Copies the rows to an odd number of cache lines from one another, so that they spread over the sets
/// of the cache.
fn space_rows<'a, T: Float>(
    parallel: &dyn Parallel,
    a: Matrix<T>,
    buffer: &'a mut Buffer,
) -> Matrix<'a, T> {
    let (rows, columns) = (a.rows(), a.columns());
    let line = LINE / size_of::<T>();
    let stride = (columns.div_ceil(line) | 1) * line;
    let spaced = buffer.take(rows * stride);
    let strides = [[a.row_stride(), 1], [stride, 1]];
    copy_strided(parallel, &[rows, columns], a.data(), &strides[0], spaced, &strides[1]);
    Matrix::new(spaced, rows, columns, stride, 1)
}

/// A product that is being computed.
struct Product<'a, T> {
    isa: Isa,
    cut: &'a Cut,
    alpha: T,
    a: Matrix<'a, T>,
    packed_a: Option<&'a [T]>,
    b: Matrix<'a, T>,
    beta: T,
    c: &'a Parts<'a, T>,
    c_row: usize,
    epilogue: Epilogue<'a, T>,
}

/// Some groups of rows: those of a task.
struct Share<'a, T> {
    groups: Range<usize>,
    /// The first row and their number.
    first: usize,
    rows: usize,
    each: GroupRows,
    /// The rows of `a`, where they are packed.
    packed: Option<&'a [T]>,
}

impl<'a, T> Share<'a, T> {
    fn new(cut: &Cut, groups: Range<usize>, packed: Option<&'a [T]>) -> Self {
        let ((first, rows), each) = (cut.rows(&groups), cut.group_rows(&groups));
        Share { groups, first, rows, each, packed }
    }
}

/// Rows of `a` in a block of the depth, as the kernels read them.
struct Rows<T> {
    data: *const T,
    /// The distances of rows and of steps.
    row: usize,
    step: usize,
    /// The distance of packed groups.
    packed: Option<usize>,
}

impl<T> Rows<T> {
    /// The distance from the first row of a group of so many to that of the next.
    fn group(&self, rows: usize) -> usize {
        self.packed.unwrap_or(rows * self.row)
    }
}

/// A panel of the result in a block of the depth, with its operands.
struct Panel<T> {
    column: usize,
    columns: usize,
    depth: usize,
    a: Rows<T>,
    b: *const T,
    b_step: usize,
    beta: T,
    is_last: bool,
}

impl<T: Float> Product<'_, T> {
    fn task(&self, task: usize) {
        let (panels, groups) = self.cut.task(task);
        let cut = self.cut;
        let length = cut.packed_rows() * cut.k;
        match self.packed_a {
            None if cut.pack_a => OWN_ROWS.with_borrow_mut(|buffer| {
                let packed = buffer.take(groups.len() * length);
                pack_groups(self.isa, cut, self.a, groups.clone(), packed);
                self.panels(panels, &Share::new(cut, groups, Some(packed)));
            }),
            None => self.panels(panels, &Share::new(cut, groups, None)),
            Some(all) => {
                let packed = &all[groups.start * length..groups.end * length];
                self.panels(panels, &Share::new(cut, groups, Some(packed)));
            }
        }
    }

    /// Computes the rows of a task in some panels.
    fn panels(&self, panels: Range<usize>, share: &Share<T>) {
        let blocks = self.cut.depth_blocks;
        let mut turns = panels.flat_map(|panel| (0..blocks).map(move |block| (panel, block)));
        let mut next = turns.next();
        let mut fetched = false;
        PANEL.with_borrow_mut(|buffer| {
            while let Some(panel) = next {
                next = turns.next();
                self.panel(panel, next, share, fetched, buffer);
                fetched = true;
            }
        });
    }

    /// Computes a panel of the result in a block of the depth; `next` is the panel that follows.
    /// With `fetched` the lines of the first tile are on their way.
    fn panel(
        &self,
        (index, block): (usize, usize),
        next: Option<(usize, usize)>,
        share: &Share<T>,
        fetched: bool,
        buffer: &mut Buffer,
    ) {
        let cut = self.cut;
        let (start, depth) = cut.depth(block);
        let (column, columns) = cut.columns(index);
        let width = cut.width(columns);
        let part = self.b.block(start, depth, column, columns);
        let (b, b_step) = if cut.pack_b || columns < width {
            let packed = buffer.take(depth * width);
            pack_columns(self.isa, part, width, packed);
            (packed.as_ptr(), width)
        } else {
            (part.data().as_ptr(), part.row_stride())
        };
        let a = self.rows(share, (start, depth));
        let beta = if block == 0 { self.beta } else { T::ONE };
        let is_last = block + 1 == cut.depth_blocks;
        let panel = Panel { column, columns, depth, a, b, b_step, beta, is_last };
        self.tiles(&panel, share, next, fetched);
    }

    /// Computes a panel tile by tile.
    fn tiles(
        &self,
        panel: &Panel<T>,
        share: &Share<T>,
        next: Option<(usize, usize)>,
        fetched: bool,
    ) {
        let &Panel { column, columns, depth, ref a, .. } = panel;
        let cut = self.cut;
        let least = share.each.least;
        let kernel = |rows| T::kernel(self.isa, rows, columns > cut.sizes.lanes, a.row == 1);
        let kernels = [kernel(least), kernel((least + 1).min(cut.sizes.rows))];
        let epilogue = if panel.is_last { self.epilogue } else { Epilogue::None };
        let is_whole = columns == cut.width(columns);
        // Else a tile has too few steps to ask for all rows of the next one.
        let fetches = depth >= cut.sizes.rows;
        let (mut row, mut left) = (share.first, share.groups.len());
        let mut coming = next.map(|next| (self.tile(row, next.0), cut.places(self.b, next, left)));
        let mut ahead = Ahead::new();
        let mut tile = Tile {
            a: a.data,
            a_row: a.row,
            a_step: a.step,
            stretches: &0,
            stretch_count: 1,
            b: panel.b,
            b_step: panel.b_step,
            c: self.block((row, share.rows), panel).pointer(),
            c_row: self.c_row,
            columns,
            fetched: fetched && fetches,
            ahead: &raw const ahead,
            alpha: self.alpha,
            beta: panel.beta,
            finish: if is_whole {
                epilogue.block(row, column, cut.n).in_registers(share.rows, columns)
            } else {
                Finish::None
            },
        };
        for rows in share.each.clone() {
            left -= 1;
            let below = tile.c.wrapping_add(rows * self.c_row);
            ahead.begin(depth);
            match &coming {
                _ if !fetches => {}
                _ if left > 0 => ahead.add(least + 1, below, self.c_row),
                Some((tile, _)) => ahead.add(cut.sizes.rows, *tile, self.c_row),
                None => {}
            }
            if let Some((_, places)) = &mut coming {
                places.fetch_share(&mut ahead);
            }
            ahead.fill(panel.b);
            tile.ahead = &raw const ahead;
            // SAFETY: the kernel is one for `isa` and so many rows. `a` is a block of `rows` x `depth`,
            // or its packed copy; `b` has `depth` rows of a kernel's width, either in the packed copy
            // or inside the matrix since it has as many columns; `ahead` has `depth` places; `c` is in
            // the block of all groups' rows, and `finish` is for all of that.
            unsafe { kernels[rows - least](&tile) };
            if !is_whole {
                let epilogue = epilogue.block(row, column, cut.n);
                finish(self.isa, &mut self.block((row, rows), panel), epilogue);
            }
            row += rows;
            tile.a = tile.a.wrapping_add(a.group(rows));
            tile.c = below;
            tile.finish = tile.finish.below(rows);
            tile.fetched = fetches;
        }
    }

    /// Some rows of a panel that this task computes.
    fn block(&self, rows: (usize, usize), panel: &Panel<T>) -> Block<'_, T> {
        // SAFETY: the tasks' panels and groups of rows do not overlap, `Parallel` runs each task once,
        // and a task has one block at a time.
        unsafe { Block::new(self.c, self.c_row, rows, (panel.column, panel.columns)) }
    }

    /// Where the tile of a panel begins whose first row is given.
    fn tile(&self, row: usize, panel: usize) -> *const T {
        self.c.pointer().wrapping_add(row * self.c_row + self.cut.columns(panel).0)
    }

    /// The rows of a task in a block of the depth.
    fn rows(&self, share: &Share<T>, (start, depth): (usize, usize)) -> Rows<T> {
        match share.packed {
            Some(packed) => {
                let step = self.cut.packed_rows();
                let data = packed[start * step..].as_ptr();
                Rows { data, row: 1, step, packed: Some(step * self.cut.k) }
            }
            None => {
                let a = self.a.block(share.first, share.rows, start, depth);
                let (data, row, step) = (a.data().as_ptr(), a.row_stride(), a.column_stride());
                Rows { data, row, step, packed: None }
            }
        }
    }
}
