//! The weight in packed panels.

use super::super::ConvolutionShape;
use std::cell::RefCell;
use std::ops::Range;

use crate::gemm::{Buffer, Matrix, Panels, transpose};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};

/// Rows of a panel that a task packs.
const ROWS: usize = 16;
/// Elements that a transposition takes at once, at most.
const SQUARE: usize = 16;

thread_local! {
    /// Where a thread transposes a few rows.
    static BUFFER: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// Where the elements of a weight lie, seen as taps of rows (input channels) of columns (output
/// channels) for each group.
#[derive(Clone, Copy)]
pub(in super::super) struct Order {
    groups: usize,
    taps: usize,
    rows: usize,
    columns: usize,
    tap: usize,
    row: usize,
    column: usize,
    /// The taps are read from the last to the first.
    reversed: bool,
}

impl Order {
    /// The weight as the convolution takes it.
    pub(in super::super) fn forward(shape: &ConvolutionShape) -> Self {
        let taps = shape.taps();
        let (tap, row) = match shape.weight_layout {
            Layout::ChannelsFirst => (1, taps),
            Layout::ChannelsLast => (shape.group_inputs(), 1),
        };
        Order {
            groups: shape.groups,
            taps,
            rows: shape.group_inputs(),
            columns: shape.group_outputs(),
            tap,
            row,
            column: shape.depth(),
            reversed: false,
        }
    }

    /// The weight as the gradient to the input takes it: turned around in space, input and output
    /// channels exchanged.
    pub(in super::super) fn backward(shape: &ConvolutionShape) -> Self {
        let Order { rows, columns, row, column, .. } = Order::forward(shape);
        Order {
            rows: columns,
            columns: rows,
            row: column,
            column: row,
            reversed: true,
            ..Order::forward(shape)
        }
    }

    /// Writes, for each group and panel, the rows of all taps.
    pub(in super::super) fn pack<T: Float>(
        self,
        isa: Isa,
        parallel: &dyn Parallel,
        panels: Panels,
        weight: &[T],
        packed: &mut [T],
    ) {
        let depth = self.taps * self.rows;
        let parts = Parts::new(packed);
        let row_parts = self.rows.div_ceil(ROWS);
        parallel.for_each(self.groups * panels.count() * row_parts, &|task| {
            let (task, row_part) = (task / row_parts, task % row_parts);
            let (group, panel) = (task / panels.count(), task % panels.count());
            let (column, columns, width) = panels.panel(panel);
            let from = group * self.rows * self.columns * self.taps + column * self.column;
            let from = (&weight[from..], columns);
            let place = group * depth * panels.packed_columns() + column * depth;
            let rows = row_part * ROWS..self.rows.min((row_part + 1) * ROWS);
            let target = |tap: usize, row: usize, count: usize| {
                let start = place + (tap * self.rows + row) * width;
                // SAFETY: tasks have different groups, panels or rows, and `Parallel` runs each once.
                unsafe { parts.range(start, count * width) }
            };
            match self.tap {
                1 => self.pack_taps_together(isa, rows, from, width, &target),
                _ => self.pack_tap_by_tap(isa, panels, rows, from, &target),
            }
        });
    }

    /// The place of a tap in the packed weight.
    fn target_tap(self, tap: usize) -> usize {
        if self.reversed { self.taps - 1 - tap } else { tap }
    }

    /// Packs some rows of a panel whose taps lie apart.
    fn pack_tap_by_tap<'a, T: Float>(
        self,
        isa: Isa,
        panels: Panels,
        rows: Range<usize>,
        (weight, columns): (&[T], usize),
        target: &dyn Fn(usize, usize, usize) -> &'a mut [T],
    ) {
        for tap in 0..self.taps {
            let from = &weight[tap * self.tap + rows.start * self.row..];
            let from = Matrix::new(from, rows.len(), columns, self.row, self.column);
            panels.pack(isa, from, target(self.target_tap(tap), rows.start, rows.len()));
        }
    }

    /// Packs some rows of a panel whose taps lie next to one another: a few rows at a time are
    /// transposed with all their taps, and then put in their places.
    fn pack_taps_together<'a, T: Float>(
        self,
        isa: Isa,
        rows: Range<usize>,
        (weight, columns): (&[T], usize),
        width: usize,
        target: &dyn Fn(usize, usize, usize) -> &'a mut [T],
    ) {
        // Rows that follow one another without gaps.
        let together = if self.row == self.taps { SQUARE.div_ceil(self.taps) } else { 1 };
        BUFFER.with_borrow_mut(|buffer| {
            let transposed = buffer.take::<T>(together * self.taps * width);
            transposed.fill(T::ZERO);
            for first in rows.clone().step_by(together) {
                let count = together.min(rows.end - first);
                let from = &weight[first * self.row..];
                let from = Matrix::new(from, columns, count * self.taps, self.column, 1);
                transpose(isa, from, width, transposed);
                for (index, values) in
                    transposed[..count * self.taps * width].chunks_exact(width).enumerate()
                {
                    let tap = self.target_tap(index % self.taps);
                    target(tap, first + index / self.taps, 1).copy_from_slice(values);
                }
            }
        });
    }
}
