//! Arrays with a border of one value.

use crate::shape::element_count;
use crate::slice::copy;
use crate::{Element, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 16 * 1024;

/// A dimension: its size in the input, and what is added before and after.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    before: usize,
    after: usize,
}

impl Axis {
    fn padded(self) -> usize {
        self.before + self.size + self.after
    }

    fn is_plain(self) -> bool {
        self.before == 0 && self.after == 0
    }
}

/// Copies `input`, of this shape, into an array that is larger by `before` and `after` in each
/// dimension and holds `value` there.
///
/// # Panics
/// If the sizes do not fit together.
pub fn pad<T: Element>(
    parallel: &dyn Parallel,
    shape: &[usize],
    before: &[usize],
    after: &[usize],
    value: T,
    input: &[T],
    output: &mut [T],
) {
    assert!(before.len() == shape.len() && after.len() == shape.len());
    assert_eq!(input.len(), element_count(shape), "the input does not have the shape's size");
    let axes: Vec<Axis> = (0..shape.len())
        .map(|axis| Axis { size: shape[axis], before: before[axis], after: after[axis] })
        .collect();
    let padded: usize = axes.iter().map(|axis| axis.padded()).product();
    assert_eq!(output.len(), padded, "the output does not have the padded shape's size");
    if output.len() == input.len() {
        return copy(parallel, input, output);
    }
    let (outer, row, inner) = split(&axes);
    let (left, middle) = (row.before * inner, row.size * inner);
    let width = row.padded() * inner;
    let rows_per_task = WORK / width + 1;
    for_each_chunk(parallel, output, rows_per_task * width, &|task, chunk| {
        for (number, target) in chunk.chunks_exact_mut(width).enumerate() {
            match source_row(&outer, task * rows_per_task + number) {
                None => target.fill(value),
                Some(source) => {
                    let (head, rest) = target.split_at_mut(left);
                    let (body, tail) = rest.split_at_mut(middle);
                    head.fill(value);
                    body.copy_from_slice(&input[source * middle..(source + 1) * middle]);
                    tail.fill(value);
                }
            }
        }
    });
}

/// The dimensions before the last padded one, with plain neighbours merged; that one; and the size
/// of what follows it.
fn split(axes: &[Axis]) -> (Vec<Axis>, Axis, usize) {
    let row = axes.iter().rposition(|axis| !axis.is_plain()).unwrap_or(0);
    let mut outer: Vec<Axis> = vec![];
    for &axis in &axes[..row] {
        match outer.last_mut() {
            Some(last) if last.is_plain() && axis.is_plain() => last.size *= axis.size,
            _ => outer.push(axis),
        }
    }
    let inner = axes.iter().skip(row + 1).map(|axis| axis.size).product();
    let row = axes.get(row).copied().unwrap_or(Axis { size: 1, before: 0, after: 0 });
    (outer, row, inner)
}

/// The input's row that the output's row with this number comes from; none in the border.
fn source_row(outer: &[Axis], mut row: usize) -> Option<usize> {
    let (mut source, mut stride) = (0, 1);
    for axis in outer.iter().rev() {
        let place = (row % axis.padded()).checked_sub(axis.before).filter(|at| *at < axis.size)?;
        row /= axis.padded();
        source += place * stride;
        stride *= axis.size;
    }
    Some(source)
}
