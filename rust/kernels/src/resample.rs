//! Images read at other positions: mirrored and repeated borders, enlargement, and the gradients of
//! all of these.
//!
//! Rows and columns are resampled independently: each output position is a weighted sum of some
//! input positions, its [`Taps`]. The gradient is the same computation with the transposed taps, so
//! it needs no scattered writes and its sums have a fixed order.

use crate::{Element, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 16 * 1024;
/// Copies of this many elements on average are made run by run.
const LONG_RUN: usize = 8;

/// For each output position along one axis, the input positions that it is made from.
#[derive(Clone, Debug)]
pub struct Taps<T> {
    inputs: usize,
    /// Where the taps of each output position begin; one more at the end.
    starts: Vec<usize>,
    sources: Vec<usize>,
    weights: Vec<T>,
    /// The same as copies of neighbouring elements, where that is all there is to do.
    runs: Option<Vec<Run>>,
    /// The same as two taps for each position, where there are one or two: half of one is twice
    /// there.
    pairs: Option<Vec<[(usize, T); 2]>>,
}

/// `length` elements from `source` on that go to the output in one piece.
#[derive(Clone, Copy, Debug)]
struct Run {
    source: usize,
    length: usize,
}

impl<T: Element> Taps<T> {
    /// Taps from the input positions and weights of each output position.
    ///
    /// # Panics
    /// If a position is not below `inputs`.
    pub fn new(inputs: usize, lists: &[Vec<(usize, f64)>]) -> Self {
        assert!(lists.iter().flatten().all(|(source, _)| *source < inputs), "no such position");
        let mut starts = vec![0];
        let (mut sources, mut weights) = (vec![], vec![]);
        for list in lists {
            sources.extend(list.iter().map(|(source, _)| *source));
            weights.extend(list.iter().map(|(_, weight)| weight.cast::<T>()));
            starts.push(sources.len());
        }
        let copies = lists.iter().all(|list| matches!(list[..], [(_, weight)] if weight == 1.0));
        let runs = copies.then(|| runs(&sources));
        let pairs = lists.iter().map(|list| match list[..] {
            [(a, weight)] => Some([(a, (weight / 2.0).cast()); 2]),
            [(a, one), (b, other)] => Some([(a, one.cast()), (b, other.cast())]),
            _ => None,
        });
        let pairs = if T::TYPE.is_float() { pairs.collect() } else { None };
        Self { inputs, starts, sources, weights, runs, pairs }
    }

    /// The taps of the gradient: for each input position, the output positions that it goes to.
    pub fn transposed(lists: &[Vec<(usize, f64)>], inputs: usize) -> Self {
        let mut reversed = vec![vec![]; inputs];
        for (target, list) in lists.iter().enumerate() {
            for &(source, weight) in list {
                reversed[source].push((target, weight));
            }
        }
        Self::new(lists.len(), &reversed)
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, position: usize) -> (&[usize], &[T]) {
        let range = self.starts[position]..self.starts[position + 1];
        (&self.sources[range.clone()], &self.weights[range])
    }
}

fn runs(sources: &[usize]) -> Vec<Run> {
    let mut runs: Vec<Run> = vec![];
    for &source in sources {
        match runs.last_mut() {
            Some(run) if run.source + run.length == source => run.length += 1,
            _ => runs.push(Run { source, length: 1 }),
        }
    }
    runs
}

/// Resamples rows and columns of `planes` images, whose pixels have `inner` elements each.
///
/// # Panics
/// If the sizes do not fit together.
pub fn resample<T: Element>(
    parallel: &dyn Parallel,
    planes: usize,
    inner: usize,
    rows: &Taps<T>,
    columns: &Taps<T>,
    input: &[T],
    output: &mut [T],
) {
    let (width_in, width) = (columns.inputs * inner, columns.len() * inner);
    assert_eq!(input.len(), planes * rows.inputs * width_in, "the input has another size");
    assert_eq!(output.len(), planes * rows.len() * width, "the output has another size");
    if output.is_empty() {
        return;
    }
    let rows_per_task = WORK / width + 1;
    for_each_chunk(parallel, output, rows_per_task * width, &|task, chunk| {
        let mut blended = vec![T::ZERO; width_in];
        let mut previous = None;
        for number in 0..chunk.len() / width {
            let at = task * rows_per_task + number;
            let (plane, row) = (at / rows.len(), at % rows.len());
            let (sources, weights) = rows.of(row);
            let key = (plane, sources, weights);
            if previous == Some(key) {
                chunk.copy_within((number - 1) * width..number * width, number * width);
                continue;
            }
            previous = Some(key);
            let image = &input[plane * rows.inputs * width_in..][..rows.inputs * width_in];
            let line = blend(image, width_in, sources, weights, &mut blended);
            stretch(line, inner, columns, &mut chunk[number * width..(number + 1) * width]);
        }
    });
}

/// The weighted sum of some rows of an image; a single row of weight 1 is not copied.
fn blend<'a, T: Element>(
    image: &'a [T],
    width: usize,
    sources: &[usize],
    weights: &[T],
    sum: &'a mut [T],
) -> &'a [T] {
    let row = |source: usize| &image[source * width..(source + 1) * width];
    if let ([source], [weight]) = (sources, weights)
        && *weight == T::ONE
    {
        return row(*source);
    }
    if let ([a, b], [one, other]) = (sources, weights) {
        for ((sum, a), b) in sum.iter_mut().zip(row(*a)).zip(row(*b)) {
            *sum = a.times(*one).plus(b.times(*other));
        }
        return sum;
    }
    sum.fill(T::ZERO);
    for (&source, &weight) in sources.iter().zip(weights) {
        for (sum, &value) in sum.iter_mut().zip(row(source)) {
            *sum = sum.plus(value.times(weight));
        }
    }
    sum
}

/// Resamples one row of pixels.
fn stretch<T: Element>(line: &[T], inner: usize, columns: &Taps<T>, target: &mut [T]) {
    match (&columns.runs, &columns.pairs) {
        (Some(runs), _) if inner > 1 || runs.len() * LONG_RUN <= columns.len() => {
            let mut rest = target;
            for run in runs {
                let (now, later) = rest.split_at_mut(run.length * inner);
                now.copy_from_slice(&line[run.source * inner..][..run.length * inner]);
                rest = later;
            }
        }
        (Some(_), _) => {
            for (target, &source) in target.iter_mut().zip(&columns.sources) {
                *target = line[source];
            }
        }
        (None, Some(pairs)) if inner == 1 => {
            for (target, [(a, one), (b, other)]) in target.iter_mut().zip(pairs) {
                *target = line[*a].times(*one).plus(line[*b].times(*other));
            }
        }
        (None, None) if inner == 1 => {
            for (position, target) in target.iter_mut().enumerate() {
                let (sources, weights) = columns.of(position);
                let terms = sources.iter().zip(weights);
                *target =
                    terms.fold(T::ZERO, |sum, (&at, &weight)| sum.plus(line[at].times(weight)));
            }
        }
        (None, _) => {
            for (position, pixel) in target.chunks_exact_mut(inner).enumerate() {
                let (sources, weights) = columns.of(position);
                pixel.fill(T::ZERO);
                for (&at, &weight) in sources.iter().zip(weights) {
                    for (target, &value) in pixel.iter_mut().zip(&line[at * inner..][..inner]) {
                        *target = target.plus(value.times(weight));
                    }
                }
            }
        }
    }
}
