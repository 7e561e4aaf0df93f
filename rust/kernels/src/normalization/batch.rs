//! Batch normalisation with given statistics, and its gradients.

use super::channels::{Block, Channels, TILE};
use crate::reduce::{Sum, combine_run};
use crate::{Float, Isa, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 16 * 1024;
/// Elements next to one another that are worked on together.
const RUN: usize = 2048;

/// Runs `task(channel, first element, length)` on runs of elements of one channel, or, where there
/// are none, of neighbouring channels.
#[inline(always)]
fn for_each_run(
    channels: usize,
    inner: usize,
    first: usize,
    length: usize,
    mut task: impl FnMut(usize, usize, usize),
) {
    if inner == 1 {
        for row in (0..length).step_by(channels) {
            for channel in (0..channels).step_by(TILE) {
                task(channel, row + channel, TILE.min(channels - channel));
            }
        }
        return;
    }
    let mut at = 0;
    while at < length {
        let element = first + at;
        let run = RUN.min(inner - element % inner).min(length - at);
        task(element / inner % channels, at, run);
        at += run;
    }
}

/// `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta + addend`, then the greater of that and
/// 0 if `relu`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn batch_norm_apply<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    channels: usize,
    inner: usize,
    x: &[T],
    mean: &[T],
    variance: &[T],
    gamma: &[T],
    beta: &[T],
    epsilon: T,
    addend: Option<&[T]>,
    relu: bool,
    y: &mut [T],
) {
}
