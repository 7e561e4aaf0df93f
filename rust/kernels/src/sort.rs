//! Order along an axis.
//!
//! NaN counts as greater than any number, and of equal elements the one with the smaller index comes
//! first, in either direction.

use std::cmp::Ordering;

use crate::parallel::Parts;
use crate::{Element, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 8 * 1024;

/// An array seen as `(outer, length, inner)`; what is ordered runs along `length`.
#[derive(Clone, Copy, Debug)]
pub struct Lanes {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Size of the axis.
    pub length: usize,
    /// Product of the dimensions behind the axis.
    pub inner: usize,
}

/// Which elements come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The least.
    Ascending,
    /// The greatest.
    Descending,
}

impl Direction {
    #[inline(always)]
    fn compare<T: Element>(self, a: T, b: T) -> Ordering {
        let order = match a.partial_cmp(&b) {
            Some(order) => order,
            None => a.is_nan().cmp(&b.is_nan()),
        };
        match self {
            Direction::Ascending => order,
            Direction::Descending => order.reverse(),
        }
    }
}

impl Lanes {
    /// Calls `order(lane, result)` with each lane's elements and writes the `kept` results back.
    fn for_each<T: Element, R: Element>(
        self,
        parallel: &dyn Parallel,
        kept: usize,
        input: &[T],
        output: &mut [R],
        order: &(dyn Fn(&[T], &mut [R]) + Sync),
    ) {
        let Self { outer, length, inner } = self;
        assert_eq!(input.len(), outer * length * inner, "the input has another size");
        assert_eq!(output.len(), outer * kept * inner, "the output has another size");
        let lanes = outer * inner;
        let lanes_per_task = WORK / length.max(1) + 1;
        let parts = Parts::new(output);
        parallel.for_each(lanes.div_ceil(lanes_per_task), &|task| {
            let mut lane = vec![T::ZERO; length];
            let mut result = vec![R::ZERO; kept];
            let first = task * lanes_per_task;
            for number in first..lanes.min(first + lanes_per_task) {
                let (o, i) = (number / inner, number % inner);
                for (at, value) in lane.iter_mut().enumerate() {
                    *value = input[(o * length + at) * inner + i];
                }
                order(&lane, &mut result);
                for (at, &value) in result.iter().enumerate() {
                    // SAFETY: each lane belongs to one task.
                    let target = unsafe { parts.range((o * kept + at) * inner + i, 1) };
                    target[0] = value;
                }
            }
        });
    }
}

/// The elements of each lane in order.
///
/// # Panics
/// If the sizes do not fit together.
pub fn sort<T: Element>(
    parallel: &dyn Parallel,
    lanes: Lanes,
    direction: Direction,
    input: &[T],
    output: &mut [T],
) {
    lanes.for_each(parallel, lanes.length, input, output, &|lane, sorted| {
        sorted.copy_from_slice(lane);
        // Stable, so that 0 and -0 lie as the indices of `argsort` say.
        sorted.sort_by(|&a, &b| direction.compare(a, b));
    });
}

/// The indices of the first `kept` elements of each lane in order.
///
/// # Panics
/// If the sizes do not fit together, `kept` is greater than the lanes' length, or that is beyond
/// an `i32`.
pub fn argsort<T: Element>(
    parallel: &dyn Parallel,
    lanes: Lanes,
    direction: Direction,
    kept: usize,
    input: &[T],
    output: &mut [i32],
) {
    assert!(kept <= lanes.length, "a lane has not so many elements");
    assert!(lanes.length <= i32::MAX as usize, "the indices do not fit an i32");
    lanes.for_each(parallel, kept, input, output, &|lane, indices| {
        let mut pairs: Vec<(T, i32)> =
            lane.iter().enumerate().map(|(at, &value)| (value, at as i32)).collect();
        let compare =
            |a: &(T, i32), b: &(T, i32)| direction.compare(a.0, b.0).then_with(|| a.1.cmp(&b.1));
        if 0 < kept && kept < pairs.len() {
            pairs.select_nth_unstable_by(kept - 1, compare);
            pairs.truncate(kept);
        }
        pairs.sort_unstable_by(compare);
        for (index, pair) in indices.iter_mut().zip(&pairs) {
            *index = pair.1;
        }
    });
}

/// 1 where fewer than `k` predictions of the row are greater than the target's, else 0; also 0 for a
/// target that is no class, and for a row that holds an infinity or a NaN.
///
/// # Panics
/// If the sizes do not fit together.
pub fn in_top_k<T: Element, L: Element>(
    parallel: &dyn Parallel,
    classes: usize,
    k: usize,
    targets: &[L],
    predictions: &[T],
    output: &mut [i8],
) {
    assert_eq!(targets.len(), output.len(), "there must be one result for each target");
    assert_eq!(predictions.len(), targets.len() * classes, "the predictions have another size");
    let rows_per_task = WORK / classes.max(1) + 1;
    for_each_chunk(parallel, output, rows_per_task, &|task, chunk| {
        for (number, output) in chunk.iter_mut().enumerate() {
            let row = task * rows_per_task + number;
            let scores = &predictions[row * classes..(row + 1) * classes];
            let target = usize::try_from(targets[row].cast::<i64>()).ok();
            let found = target.and_then(|target| scores.get(target)).is_some_and(|&score| {
                let all_finite = scores.iter().all(|&score| is_finite(score));
                all_finite && scores.iter().filter(|&&other| other > score).count() < k
            });
            *output = i8::from(found);
        }
    });
}

fn is_finite<T: Element>(value: T) -> bool {
    !value.is_nan() && value.cast::<f64>().abs() != f64::INFINITY
}
