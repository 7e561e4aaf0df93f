//! Products whose left operand are the windows of a convolution, read where they are.

use super::pack::{PART, Side, pack, split_pixels};
use super::tiles::{Operand, Registers, SIDE, Sums, kernel};
use crate::Isa;
use crate::gemm::matrix::Matrix;
use crate::gemm::windows::{
    DEPTH, Finish, PARTS, PIECE, ROW, Splitter, Windows, split_pixels_length,
};

pub(in crate::gemm) const SPLITTER: Splitter<f32> =
    Splitter { product: super::gemm, panel, pixels, multiply };

fn panel(lines: Matrix<'_, f32>, to: &mut [f32]) -> bool {
    // SAFETY: a splitter exists only where the CPU has tiles, and so AVX-512.
    unsafe { pack::<PARTS>(lines, Side::Right, to) }
}

fn pixels(pixels: &[f32], channels: usize, room: usize, to: &mut [f32]) -> bool {
    // SAFETY: as above.
    unsafe { split_pixels::<PARTS>(pixels, channels, room, to) }
}

/// Calls `finish` with each piece's index and its sums, row by row, of which each has the columns of a panel.
/// What it does overlaps with the products of the pieces that follow.
fn multiply(isa: Isa, windows: &Windows<'_, f32>, finish: &mut Finish<'_, f32>) {
    let Windows { count, channels, stride, rows, pieces, .. } = *windows;
    let blocks = channels.div_ceil(DEPTH);
    let [depth, height, width] = windows.kernel;
    let step = PARTS * PART;
    let reach = (0..3).map(|axis| (windows.kernel[axis] - 1) * windows.distances[axis]);
    let reach = reach.sum::<usize>() + (rows - 1) * stride;
    assert!(split_pixels_length(count, channels) <= windows.pixels.len(), "too few pixels");
    assert_eq!(windows.panel.len(), depth * height * width * blocks * step, "the panel's length");
    let registers = Registers::new(isa, rows);
    let mut sums = Sums::new();
    let mut unfinished = None;
    let row = PARTS * ROW;
    for first in (0..pieces).step_by(2) {
        let number = 2.min(pieces - first);
        let starts = [first, first + number - 1].map(windows.start);
        assert!(starts.iter().all(|start| start + reach < count), "a window beyond the pixels");
        let kernel = kernel(PARTS, if number == 2 { SIDE } else { PIECE }, windows.columns);
        let mut steps = windows.panel.chunks_exact(step);
        registers.clear();
        for tap in 0..depth * height * width {
            let at = [tap / width / height, tap / width % height, tap % width];
            let offset: usize = (0..3).map(|axis| at[axis] * windows.distances[axis]).sum();
            for (block, b) in (0..blocks).zip(&mut steps) {
                let tiles = starts.map(|start| {
                    windows.pixels.as_ptr().wrapping_add((block * count + start + offset) * row)
                });
                let a = Operand { tiles, row: stride * row };
                // SAFETY: `rows` rows `stride` pixels apart lie inside the pixels, as was checked; `b`
                // is a step of a panel.
                unsafe { kernel(&registers, a, Operand::packed(b)) };
            }
        }
        if let Some((first, number)) = unfinished.replace((first, number)) {
            finish_pieces(first, number, &sums, finish);
        }
        registers.store(&mut sums.0[0]);
    }
    if let Some((first, number)) = unfinished {
        finish_pieces(first, number, &sums, finish);
    }
}

fn finish_pieces(first: usize, number: usize, sums: &Sums, finish: &mut Finish<'_, f32>) {
    for (piece, sums) in (first..first + number).zip(sums.0[0].chunks_exact(PIECE * SIDE)) {
        finish(piece, sums);
    }
}
