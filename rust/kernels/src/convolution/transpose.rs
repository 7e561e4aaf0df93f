//! Weights in the order that the products want, and back.

use super::ConvolutionShape;
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};

/// Side of the squares in which a transposition goes.
const SIDE: usize = 16;

/// Adds `count` matrices of `rows x columns`, each `distance` after the one before, in order, and
/// writes the transposed sum to `output`.
pub(super) fn transposed_sum<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    matrices: &[T],
    (count, distance): (usize, usize),
    (rows, columns): (usize, usize),
    output: &mut [T],
) {
    per_isa! {
        fn sum_square<I, T: Float>(
            matrices: &[T], count: usize, distance: usize, columns: usize, size: [usize; 2],
            square: &mut [[T; SIDE]; SIDE],
        ) {
            for (row, square) in square[..size[0]].iter_mut().enumerate() {
                let start = row * columns;
                square[..size[1]].copy_from_slice(&matrices[start..start + size[1]]);
                for start in (1..count).map(|index| start + index * distance) {
                    let other = &matrices[start..start + size[1]];
                    square.iter_mut().zip(other).for_each(|(sum, &other)| *sum += other);
                }
            }
        }
    }
    let parts = Parts::new(output);
    parallel.for_each(columns.div_ceil(SIDE), &|task| {
        let column = task * SIDE;
        let width = SIDE.min(columns - column);
        let mut square = [[T::ZERO; SIDE]; SIDE];
        for row in (0..rows).step_by(SIDE) {
            let height = SIDE.min(rows - row);
            let from = &matrices[row * columns + column..];
            sum_square(isa, from, count, distance, columns, [height, width], &mut square);
            for j in 0..width {
                // SAFETY: tasks have different columns, and `Parallel` runs each once.
                let line = unsafe { parts.range((column + j) * rows + row, height) };
                line.iter_mut().zip(&square).for_each(|(y, row)| *y = row[j]);
            }
        }
    });
}

/// The weight as [`super::im2col::forward`] reads it: with channels first as it is, with channels
/// last by (group, depth, output channel).
pub(super) fn forward_weight<'a, T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    weight: &'a [T],
    prepared: &'a mut [T],
) -> &'a [T] {
    if shape.input_layout == Layout::ChannelsFirst {
        return weight;
    }
    let (outputs, depth) = (shape.group_outputs(), shape.depth());
    let groups = weight.chunks_exact(outputs * depth);
    for (weight, prepared) in groups.zip(prepared.chunks_exact_mut(outputs * depth)) {
        transposed_sum(isa, parallel, weight, (1, 0), (outputs, depth), prepared);
    }
    prepared
}

/// The weight of the convolution that computes the gradient to the input of one with `shape`:
/// turned around in space, input and output channels exchanged; in the order of
/// [`forward_weight`].
pub(super) fn backward_weight<T: Float>(
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    weight: &[T],
    prepared: &mut [T],
) {
    let (inputs, outputs, taps) = (shape.group_inputs(), shape.group_outputs(), shape.taps());
    let parts = Parts::new(prepared);
    parallel.for_each(shape.output_channels, &|channel| {
        let (group, output) = (channel / outputs, channel % outputs);
        let weight = &weight[channel * inputs * taps..(channel + 1) * inputs * taps];
        let start = group * outputs * inputs * taps;
        match shape.input_layout {
            Layout::ChannelsFirst => {
                for (input, kernel) in weight.chunks_exact(taps).enumerate() {
                    // SAFETY: tasks have different output channels, and `Parallel` runs each once.
                    let turned =
                        unsafe { parts.range(start + (input * outputs + output) * taps, taps) };
                    turned.iter_mut().zip(kernel.iter().rev()).for_each(|(to, &from)| *to = from);
                }
            }
            Layout::ChannelsLast => {
                for (tap, pixel) in weight.chunks_exact(inputs).rev().enumerate() {
                    // SAFETY: as above.
                    let turned =
                        unsafe { parts.range(start + (tap * outputs + output) * inputs, inputs) };
                    turned.copy_from_slice(pixel);
                }
            }
        }
    });
}
