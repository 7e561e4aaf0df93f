//! Lower triangles of matrices.

use crate::{Element, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 16 * 1024;

/// Copies each matrix of `rows` x `columns` where `column <= row + diagonal` and sets the rest to
/// `fill`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn lower_triangle<T: Element>(
    parallel: &dyn Parallel,
    rows: usize,
    columns: usize,
    diagonal: i64,
    fill: T,
    input: &[T],
    output: &mut [T],
) {
    assert_eq!(input.len(), output.len(), "input and output differ in size");
    if input.is_empty() {
        return;
    }
    assert!(input.len().is_multiple_of(rows * columns), "the input is no stack of such matrices");
    let rows_per_task = WORK / columns + 1;
    for_each_chunk(parallel, output, rows_per_task * columns, &|task, chunk| {
        let first = task * rows_per_task;
        for (number, target) in chunk.chunks_exact_mut(columns).enumerate() {
            let row = first + number;
            let end = ((row % rows) as i64).saturating_add(diagonal).saturating_add(1);
            let kept = end.clamp(0, columns as i64) as usize;
            target[..kept].copy_from_slice(&input[row * columns..row * columns + kept]);
            target[kept..].fill(fill);
        }
    });
}
