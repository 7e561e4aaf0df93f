//! Means and variances.

use super::channels::{Block, Channels, Statistic, TILE};
use crate::reduce::{Sum, combine_run};
use crate::{Element, Float, Isa, Parallel};

/// Partial sums of a run, and of its last elements.
pub(super) const LANES: usize = 32;
pub(super) const FEW_LANES: usize = 8;
/// Elements of a run whose deviations are from the same mean.
const PIECE: usize = 4096;

/// The mean and the biased variance of each channel of `x`, seen as `outer x channels x inner`;
/// both are NaN where there are no elements.
///
/// # Panics
/// If the sizes do not fit together, or the working memory is too short.
pub fn moments<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: [usize; 3],
    x: &[T],
    mean: &mut [T],
    variance: &mut [T],
    scratch: &mut [T],
) {
    assert_eq!(x.len(), shape.iter().product::<usize>(), "the input does not have this shape");
    let [outer, _, inner] = shape;
    if x.is_empty() {
        mean.fill(f64::NAN.cast());
        return variance.fill(f64::NAN.cast());
    }
    let moments = Moments { x, inner };
    let results = [&mut *mean, &mut *variance];
    Channels::new(shape).reduce(isa, parallel, &moments, results, scratch);
    let count: T = ((outer * inner) as f64).cast();
    for (channel, (mean, squares)) in mean.iter_mut().zip(variance).enumerate() {
        *mean += moments.first(channel);
        *squares = *squares / count;
    }
}

/// The mean, relative to the channel's first element lest a large mean cost digits, and the sum of
/// the squared deviations from it.
struct Moments<'a, T> {
    x: &'a [T],
    inner: usize,
}

impl<T: Float> Moments<'_, T> {
    #[inline(always)]
    fn first(&self, channel: usize) -> T {
        self.x[channel * self.inner]
    }
}

impl<T: Float> Statistic for Moments<'_, T> {
    fn compute(&self, isa: Isa, block: &Block<'_>, means: &mut [f64], squares: &mut [f64]) {
        match block.is_run {
            true => moments_of_runs(isa, self, block, means, squares),
            false => moments_of_lanes(isa, self, block, means, squares),
        }
    }

    #[inline(always)]
    fn merge(
        [mean, squares]: [f64; 2],
        count: f64,
        [other_mean, other_squares]: [f64; 2],
        other_count: f64,
    ) -> [f64; 2] {
        let share = other_count / (count + other_count);
        let distance = other_mean - mean;
        [mean + distance * share, squares + other_squares + distance * distance * (count * share)]
    }
}

per_isa! {
    fn moments_of_runs<I, T: Float>(
        moments: &Moments<'_, T>, block: &Block<'_>, means: &mut [f64], squares: &mut [f64],
    ) {
        for (lane, (mean, square)) in means.iter_mut().zip(squares).enumerate() {
            let first = moments.first(block.channels[lane]);
            (*mean, *square) = moments_of_piece(first, &moments.x[block.run(lane)]);
        }
    }
}

per_isa! {
    fn moments_of_lanes<I, T: Float>(
        moments: &Moments<'_, T>, block: &Block<'_>, means: &mut [f64], squares: &mut [f64],
    ) {
        let (x, count) = (moments.x, block.length as f64);
        let mut sums = [[T::ZERO; TILE]; 3];
        let [mean, rests, square] = sums.each_mut().map(|sums| &mut sums[..means.len()]);
        for row in 0..block.length {
            for (sum, &x) in mean.iter_mut().zip(&x[block.row(row)]) {
                *sum += x;
            }
        }
        for mean in mean.iter_mut() {
            *mean = *mean / count.cast();
        }
        for row in 0..block.length {
            let sums = rests.iter_mut().zip(&mut *square);
            for ((rest, square), (&x, &mean)) in sums.zip(x[block.row(row)].iter().zip(&*mean)) {
                let deviation = x - mean;
                *rest += deviation;
                *square += deviation * deviation;
            }
        }
        for lane in 0..means.len() {
            let first = moments.first(block.channels[lane]);
            let sums = [rests[lane], square[lane]];
            (means[lane], squares[lane]) = corrected(count, first, mean[lane], sums);
        }
    }
}

/// The mean of a run of elements and the sum of their squared deviations from it.
#[inline(always)]
pub(super) fn moments_of_run<T: Float>(run: &[T]) -> (T, T) {
    let (first, mut total, mut count) = (run[0], [0.0; 2], 0.0);
    for piece in run.chunks(PIECE) {
        let (mean, squares) = moments_of_piece(first, piece);
        let more = piece.len() as f64;
        total = Moments::<T>::merge(total, count, [mean, squares], more);
        count += more;
    }
    let [mean, squares] = total.map(|number| number.cast::<T>());
    (mean + first, squares)
}

/// The mean of a run of elements, relative to `first`, and the sum of their squared deviations from
/// it.
#[inline(always)]
fn moments_of_piece<T: Float>(first: T, run: &[T]) -> (f64, f64) {
    let count = run.len() as f64;
    let mean = combine_run::<T, Sum>(run) / count.cast();
    let sums = two_sums([run, run], |x, _| {
        let deviation = x - mean;
        [deviation, deviation * deviation]
    });
    corrected(count, first, mean, sums)
}

/// Makes a mean relative to `first`, and puts it and the sum of the squared deviations right by the
/// sum of the deviations, which is 0 but for rounding.
#[inline(always)]
fn corrected<T: Float>(count: f64, first: T, mean: T, [rest, squares]: [T; 2]) -> (f64, f64) {
    let (rest, squares): (f64, f64) = (rest.cast(), squares.cast());
    ((mean - first).cast::<f64>() + rest / count, squares - rest * rest / count)
}

/// The sums of the two values that each pair of elements gives.
#[inline(always)]
pub(super) fn two_sums<T: Float>([a, b]: [&[T]; 2], values: impl Fn(T, T) -> [T; 2]) -> [T; 2] {
    let mut sums = [[T::ZERO; LANES]; 2];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        add(&mut sums, a, b, &values);
    }
    let (a_chunks, a_rest) = a_rest.as_chunks::<FEW_LANES>();
    let (b_chunks, b_rest) = b_rest.as_chunks::<FEW_LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        add(&mut sums, a, b, &values);
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        add(&mut sums, &[*a], &[*b], &values);
    }
    let [first, second] = sums;
    [total(first), total(second)]
}

/// The sum of partial sums, by halves.
#[inline(always)]
fn total<T: Float>(mut sums: [T; LANES]) -> T {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

/// Adds the values of some pairs to as many partial sums.
#[inline(always)]
fn add<T: Float, const N: usize>(
    [first, second]: &mut [[T; LANES]; 2],
    a: &[T; N],
    b: &[T; N],
    values: &impl Fn(T, T) -> [T; 2],
) {
    for i in 0..N {
        let [x, y] = values(a[i], b[i]);
        first[i] += x;
        second[i] += y;
    }
}
