//! Tiles of a product whose left operand lies in stretches at any distance from one another: the
//! windows of a convolution, read where they are.

use super::epilogue::{BlockEpilogue, Finish, finish};
use super::matrix::{Block, Matrix};
use super::microkernel::{Ahead, Tile, WIDE, sizes};
use super::pack::pack_columns;
use super::skinny;
use crate::shape::Sizes;
use crate::{Float, Isa};

/// Where the columns of a left operand lie: the same number of steps from each offset.
pub(crate) struct Stretches {
    offsets: Sizes,
    depth: usize,
    furthest: usize,
}

impl Stretches {
    /// `depth` steps from each of the `offsets`.
    pub(crate) fn new(offsets: Sizes, depth: usize) -> Self {
        let furthest = offsets.iter().copied().max().unwrap_or(0);
        Stretches { offsets, depth, furthest }
    }

    /// The same for other offsets and another depth, in the same memory.
    pub(crate) fn refill(&mut self, offsets: impl Iterator<Item = usize>, depth: usize) {
        self.offsets.clear();
        self.offsets.extend(offsets);
        self.furthest = self.offsets.iter().copied().max().unwrap_or(0);
        self.depth = depth;
    }

    /// The number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.offsets.len() * self.depth
    }
}

/// The left operand of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a, T> {
    /// Begins at the tile's first row; offsets count from here.
    pub(crate) data: &'a [T],
    /// The distance of a row from the one above.
    pub(crate) row: usize,
    /// The distance of a step from the one before.
    pub(crate) step: usize,
    /// Where the columns lie.
    pub(crate) stretches: &'a Stretches,
}

/// A right operand cut into panels of as many columns as a kernel is wide.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    columns: usize,
    lanes: usize,
    rows: usize,
}

impl Panels {
    /// The panels of an operand of so many columns.
    pub(crate) fn new<T: Float>(isa: Isa, columns: usize) -> Self {
        let sizes = sizes::<T>(isa);
        Panels { columns, lanes: sizes.lanes, rows: sizes.rows }
    }

    /// The number of panels.
    pub(crate) fn count(self) -> usize {
        self.columns.div_ceil(WIDE * self.lanes)
    }

    /// The first column of a panel, their number, and the length of a packed row.
    pub(crate) fn panel(self, index: usize) -> (usize, usize, usize) {
        let first = index * WIDE * self.lanes;
        let columns = (self.columns - first).min(WIDE * self.lanes);
        (first, columns, self.width(columns))
    }

    /// The length of a row of all panels.
    pub(crate) fn packed_columns(self) -> usize {
        let last = self.count().saturating_sub(1);
        if self.columns == 0 {
            return 0;
        }
        let (first, _, width) = self.panel(last);
        first + width
    }

    /// The length of a packed row of so many columns.
    pub(crate) fn width(self, columns: usize) -> usize {
        if columns > self.lanes { WIDE * self.lanes } else { self.lanes }
    }

    /// Writes columns of `b` as a panel's rows.
    pub(crate) fn pack<T: Float>(self, isa: Isa, b: Matrix<T>, packed: &mut [T]) {
        pack_columns(isa, b, self.width(b.columns()), packed);
    }
}

/// `c = epilogue(left * panel)`, or `c = epilogue(c + left * panel)`; `panel` holds one packed row for each
/// column of `left`. Rows are computed in nearly equal groups of at most as many as a tile has.
///
/// # Panics
/// If the operands are too short.
pub(crate) fn multiply<T: Float>(
    isa: Isa,
    panels: Panels,
    left: Left<T>,
    panel: &[T],
    accumulate: bool,
    c: &mut Block<T>,
    epilogue: BlockEpilogue<T>,
) {
    let Left { data, row, step, stretches } = left;
    let (rows, columns) = (c.rows(), c.columns());
    let (depth, width) = (stretches.depth, panels.width(columns));
    assert!(rows > 0 && columns <= width && depth > 0, "a panel is narrower than its result");
    let last = stretches.furthest + (rows - 1) * row + (depth - 1) * step;
    assert!(last < data.len(), "the left operand is too short");
    assert!(stretches.columns() * width <= panel.len(), "the panel is too short");
    let groups = rows.div_ceil(panels.rows);
    let (least, larger) = (rows / groups, rows % groups);
    let kernel = |rows| T::kernel(isa, rows, columns > panels.lanes, row == 1);
    let kernels = [kernel(least), if larger > 0 { kernel(least + 1) } else { kernel(least) }];
    let is_whole = columns == width;
    let mut ahead = Ahead::new();
    ahead.begin(depth);
    ahead.fill(panel.as_ptr());
    let mut tile = Tile {
        a: data.as_ptr(),
        a_row: row,
        a_step: step,
        stretches: stretches.offsets.as_ptr(),
        stretch_count: stretches.offsets.len(),
        b: panel.as_ptr(),
        b_step: width,
        c: c.pointer(),
        c_row: c.row_stride(),
        columns,
        // Rows that lie one after another and are only written are fetched by the core itself.
        fetched: !accumulate && c.row_stride() == columns,
        ahead: &ahead,
        alpha: T::ONE,
        beta: if accumulate { T::ONE } else { T::ZERO },
        finish: if is_whole { epilogue.in_registers(rows, columns) } else { Finish::None },
    };
    for group in 0..groups {
        let more = usize::from(group < larger);
        // SAFETY: the kernels are ones for `isa`; `a` and `b` can be read as far as was checked
        // above, since `stretches` has the offsets it counts; `c` is the caller's alone, and the
        // groups have all of its rows together; `finish` is for all of them.
        unsafe { kernels[more](&tile) };
        tile.a = tile.a.wrapping_add((least + more) * row);
        tile.c = tile.c.wrapping_add((least + more) * tile.c_row);
        tile.finish = tile.finish.below(least + more);
    }
    if !is_whole {
        finish(isa, c, epilogue);
    }
}

/// Whether [`multiply_by_dots`] takes less time than [`multiply`] for so many columns: they would
/// leave most of a vector empty, and stretches are long enough to outweigh adding up the lanes.
pub(crate) fn suits_dots(columns: usize, stretches: &Stretches) -> bool {
    columns <= skinny::SIDE && stretches.depth >= skinny::MIN_DEPTH
}

/// `c = left * right`, or `c += left * right`, by dot products along the stretches; the steps of
/// `left` lie side by side. `right` has a row for each column of `c`.
///
/// # Panics
/// If the operands are too short.
pub(crate) fn multiply_by_dots<T: Float>(
    isa: Isa,
    left: Left<T>,
    right: Matrix<T>,
    accumulate: bool,
    c: &mut Block<T>,
) {
    let Left { data, row, step, stretches } = left;
    let (rows, columns, depth) = (c.rows(), c.columns(), stretches.depth);
    assert!(step == 1 && columns <= skinny::SIDE, "no product for dots");
    assert!(rows > 0 && depth > 0, "there is nothing to multiply");
    let last = stretches.furthest + (rows - 1) * row + depth - 1;
    assert!(last < data.len(), "the left operand is too short");
    assert_eq!((right.rows(), right.columns()), (columns, stretches.columns()), "other sizes");
    for first in (0..rows).step_by(skinny::SIDE) {
        let count = skinny::SIDE.min(rows - first);
        let dots = T::dots(isa, count, columns);
        let mut sums = [[T::ZERO; skinny::SIDE]; skinny::SIDE];
        for (stretch, offset) in stretches.offsets.iter().enumerate() {
            let from = data[first * row + offset..].as_ptr();
            let weight = right.block(0, columns, stretch * depth, depth);
            // SAFETY: `dots` is one for `isa` and for so many rows and columns; the rows of the
            // left operand can be read as far as was checked above, and `block` has checked those
            // of the right one.
            let found =
                unsafe { dots(depth, from, row, weight.data().as_ptr(), weight.row_stride()) };
            for (sum, found) in sums.as_flattened_mut().iter_mut().zip(found.as_flattened()) {
                *sum += *found;
            }
        }
        for (index, sums) in sums[..count].iter().enumerate() {
            for (c, &sum) in c.row(first + index).iter_mut().zip(sums) {
                *c = if accumulate { *c + sum } else { sum };
            }
        }
    }
}
