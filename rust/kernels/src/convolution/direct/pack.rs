//! The weight in packed panels.

use super::super::ConvolutionShape;
use std::cell::RefCell;
use std::ops::Range;

use crate::gemm::{Buffer, Matrix, Panels, transpose};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};
use smallvec::{SmallVec, smallvec};

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
    kernel: [usize; 3],
    rows: usize,
    columns: usize,
    tap: usize,
    row: usize,
    column: usize,
    /// The convolution to whose input the gradient is, or none: the taps are taken as they are.
    backward: Option<ConvolutionShape>,
}

/// The place of each tap in the packed weight, unless it is in none.
type Targets = SmallVec<[Option<usize>; 64]>;

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
            kernel: shape.kernel,
            rows: shape.group_inputs(),
            columns: shape.group_outputs(),
            tap,
            row,
            column: shape.depth(),
            backward: None,
        }
    }

    /// The weight as the gradient to the input takes it: phase by phase (see
    /// [`ConvolutionShape::phases`]), turned around in space, input and output channels exchanged.
    pub(in super::super) fn backward(shape: &ConvolutionShape) -> Self {
        let Order { rows, columns, row, column, .. } = Order::forward(shape);
        Order {
            rows: columns,
            columns: rows,
            row: column,
            column: row,
            backward: Some(*shape),
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
        let targets = self.targets();
        let depth = targets.iter().flatten().count() * self.rows;
        let parts = Parts::new(packed);
        let row_parts = self.rows.div_ceil(ROWS);
        parallel.for_each(self.groups * panels.count() * row_parts, &|task| {
            let (task, row_part) = (task / row_parts, task % row_parts);
            let (group, panel) = (task / panels.count(), task % panels.count());
            let (column, columns, width) = panels.panel(panel);
            let from = group * self.rows * self.columns * targets.len() + column * self.column;
            let from = (&weight[from..], columns);
            let place = group * depth * panels.packed_columns() + column * depth;
            let rows = row_part * ROWS..self.rows.min((row_part + 1) * ROWS);
            let target = |tap: usize, row: usize, count: usize| {
                let start = place + (tap * self.rows + row) * width;
                // SAFETY: tasks have different groups, panels or rows, and `Parallel` runs each once.
                unsafe { parts.range(start, count * width) }
            };
            match self.tap {
                1 => self.pack_taps_together(isa, &targets, rows, from, width, &target),
                _ => self.pack_tap_by_tap(isa, &targets, panels, rows, from, &target),
            }
        });
    }

    fn targets(self) -> Targets {
        let count = self.kernel.iter().product();
        let Some(shape) = self.backward else { return (0..count).map(Some).collect() };
        let mut targets: Targets = smallvec![None; count];
        let [_, height, width] = self.kernel;
        let mut places = 0..;
        for phase in shape.phases().into_iter().flatten() {
            for ([z, y, x], place) in phase.taps().zip(&mut places) {
                targets[(z * height + y) * width + x] = Some(place);
            }
        }
        targets
    }

    /// Packs some rows of a panel whose taps lie apart.
    fn pack_tap_by_tap<'a, T: Float>(
        self,
        isa: Isa,
        targets: &Targets,
        panels: Panels,
        rows: Range<usize>,
        (weight, columns): (&[T], usize),
        target: &dyn Fn(usize, usize, usize) -> &'a mut [T],
    ) {
        for (tap, &place) in targets.iter().enumerate() {
            let Some(place) = place else { continue };
            let from = &weight[tap * self.tap + rows.start * self.row..];
            let from = Matrix::new(from, rows.len(), columns, self.row, self.column);
            panels.pack(isa, from, target(place, rows.start, rows.len()));
        }
    }

    /// Packs some rows of a panel whose taps lie next to one another: a few rows at a time are
    /// transposed with all their taps, and then put in their places.
    fn pack_taps_together<'a, T: Float>(
        self,
        isa: Isa,
        targets: &Targets,
        rows: Range<usize>,
        (weight, columns): (&[T], usize),
        width: usize,
        target: &dyn Fn(usize, usize, usize) -> &'a mut [T],
    ) {
        let taps = targets.len();
        // Rows that follow one another without gaps.
        let together = if self.row == taps { SQUARE.div_ceil(taps) } else { 1 };
        BUFFER.with_borrow_mut(|buffer| {
            let transposed = buffer.take::<T>(together * taps * width);
            transposed.fill(T::ZERO);
            for first in rows.clone().step_by(together) {
                let count = together.min(rows.end - first);
                let from = &weight[first * self.row..];
                let from = Matrix::new(from, columns, count * taps, self.column, 1);
                transpose(isa, from, width, transposed);
                for (index, values) in
                    transposed[..count * taps * width].chunks_exact(width).enumerate()
                {
                    if let Some(place) = targets[index % taps] {
                        target(place, first + index / taps, 1).copy_from_slice(values);
                    }
                }
            }
        });
    }
}
