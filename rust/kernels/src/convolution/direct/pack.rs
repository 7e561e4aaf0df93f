//! The weight in packed panels.

use super::super::ConvolutionShape;
use crate::gemm::{Matrix, Panels};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};

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
        parallel.for_each(self.groups * panels.count() * self.taps, &|task| {
            let (task, tap) = (task / self.taps, task % self.taps);
            let (group, panel) = (task / panels.count(), task % panels.count());
            let (column, columns, width) = panels.panel(panel);
            let from = if self.reversed { self.taps - 1 - tap } else { tap };
            let start = group * self.rows * self.columns * self.taps
                + from * self.tap
                + column * self.column;
            let rows = Matrix::new(&weight[start..], self.rows, columns, self.row, self.column);
            let start =
                group * depth * panels.packed_columns() + column * depth + tap * self.rows * width;
            // SAFETY: tasks have different groups, panels or taps, and `Parallel` runs each once.
            panels.pack(isa, rows, unsafe { parts.range(start, self.rows * width) });
        });
    }
}
