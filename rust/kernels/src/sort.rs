//! Order along an axis.
//!
//! NaN counts as greater than any number, and of equal elements the one with the smaller index comes
//! first, in either direction.

use crate::parallel::Parts;
use crate::{Element, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 8 * 1024;

/// From so many elements on they are sorted digit by digit.
const MANY: usize = 256;

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
    assert!(u32::try_from(lanes.length).is_ok(), "the indices do not fit 32 bits");
    // By their indices, so that 0 and -0 lie as those of `argsort` say.
    lanes.for_each(parallel, lanes.length, input, output, &|lane, sorted| {
        in_order(lane, direction, lane.len(), |place, index| sorted[place] = lane[index]);
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
        in_order(lane, direction, kept, |place, index| indices[place] = index as i32);
    });
}

/// Calls `place(0, index)`, `place(1, index)`, .. with the indices of the first `kept` elements.
fn in_order<T: Element>(
    lane: &[T],
    direction: Direction,
    kept: usize,
    place: impl FnMut(usize, usize),
) {
    let flip = if direction == Direction::Ascending { 0 } else { u64::MAX };
    let keys = lane.iter().enumerate().map(|(index, value)| (value.order() ^ flip, index));
    // A key and its index as one number: of equal keys the one with the smaller index comes first.
    if size_of::<T>() <= size_of::<u32>() {
        let numbers = keys.map(|(key, index)| key << u32::BITS | index as u64).collect();
        // A selection is no longer in the order of the indices.
        let by_digits = kept == lane.len() && kept >= MANY;
        let sort = |numbers: &mut Vec<u64>| match by_digits {
            true => sort_by_digits(numbers),
            false => numbers.sort_unstable(),
        };
        place_first(numbers, kept, sort, |number| number as u32, place);
    } else {
        let numbers = keys.map(|(key, index)| u128::from(key) << u32::BITS | index as u128);
        let sort = |numbers: &mut Vec<u128>| numbers.sort_unstable();
        place_first(numbers.collect(), kept, sort, |number| number as u32, place);
    }
}

fn place_first<N: Ord + Copy>(
    mut numbers: Vec<N>,
    kept: usize,
    sort: impl Fn(&mut Vec<N>),
    index: impl Fn(N) -> u32,
    mut place: impl FnMut(usize, usize),
) {
    if kept < numbers.len() {
        numbers.select_nth_unstable(kept);
        numbers.truncate(kept);
    }
    sort(&mut numbers);
    for (position, &number) in numbers.iter().enumerate() {
        place(position, index(number) as usize);
    }
}

/// Sorts numbers whose lower halves ascend: by one byte of the upper halves after the other, from the
/// lowest on, which leaves numbers in order that are equal in it.
fn sort_by_digits(numbers: &mut Vec<u64>) {
    let digit = |number: u64, place: usize| (number >> (u32::BITS as usize + 8 * place)) as u8;
    let mut counts = [[0u32; 256]; 4];
    for &number in numbers.iter() {
        for (place, counts) in counts.iter_mut().enumerate() {
            counts[usize::from(digit(number, place))] += 1;
        }
    }
    let mut sorted = vec![0; numbers.len()];
    for (place, starts) in counts.iter_mut().enumerate() {
        if starts.iter().any(|&count| count as usize == numbers.len()) {
            continue;
        }
        let mut start = 0;
        for count in starts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for &number in numbers.iter() {
            let at = &mut starts[usize::from(digit(number, place))];
            sorted[*at as usize] = number;
            *at += 1;
        }
        std::mem::swap(numbers, &mut sorted);
    }
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
