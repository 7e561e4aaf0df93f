//! Means and variances.

use super::channels::{Block, Channels};
use crate::isa::Instructions;
use crate::reduce::{Sum, combine_run};
use crate::{Float, Isa, Parallel};

/// Partial sums of a run.
const LANES: usize = 32;

/// The length of the working memory of [`moments`] and [`batch_norm_statistics`] (with a `batch` of
/// 1).
pub fn moments_scratch(shape: [usize; 4]) -> usize {
    Channels::new(shape).scratch()
}

/// The mean and the biased variance over the second and the fourth dimension of `x`, seen as
/// `batch x outer x channels x inner`.
///
/// # Panics
/// If the sizes do not fit together, or the working memory is too short.
pub fn moments<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: [usize; 4],
    x: &[T],
    mean: &mut [T],
    variance: &mut [T],
    scratch: &mut [T],
) {
    let lanes = shape[0] * shape[2];
    assert_eq!(x.len(), shape.iter().product::<usize>(), "the input has not the shape's size");
    assert!(mean.len() == lanes && variance.len() == lanes, "a mean is needed for each channel");
    let channels = Channels::new(shape);
    if x.is_empty() {
        // The mean of nothing.
        mean.fill(T::ZERO / T::ZERO);
        variance.fill(T::ZERO / T::ZERO);
        return;
    }
    channels.reduce(
        parallel,
        &|block, mean, squares| block_moments(isa, x, block, mean, squares),
        &|[mean, squares], count, [other_mean, other_squares], other_count| {
            merge(isa, [mean, squares], count, [other_mean, other_squares], other_count);
        },
        [mean, &mut *variance],
        scratch,
    );
    let count = T::from_f64(channels.count() as f64);
    variance.iter_mut().for_each(|squares| *squares = *squares / count);
}

/// The mean and the biased variance of each channel of `x`, seen as `outer x channels x inner`.
///
/// # Panics
/// As [`moments`].
pub fn batch_norm_statistics<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    channels: usize,
    inner: usize,
    x: &[T],
    mean: &mut [T],
    variance: &mut [T],
    scratch: &mut [T],
) {
    moments(isa, parallel, [1, outer, channels, inner], x, mean, variance, scratch);
}

per_isa! {
    /// The means of a block's lanes and the sums of their squared deviations.
    fn block_moments<I, T: Float>(
        x: &[T], block: &Block, mean: &mut [T], squares: &mut [T],
    ) {
        if block.width == 1 && block.stride == 1 {
            let run = &x[block.start..block.start + block.rows];
            (mean[0], squares[0]) = run_moments::<I, T>(run);
            return;
        }
        let count = T::from_f64(block.rows as f64);
        let row = |row: usize| {
            let start = block.start + row * block.stride;
            &x[start..start + block.width]
        };
        mean.fill(T::ZERO);
        for index in 0..block.rows {
            mean.iter_mut().zip(row(index)).for_each(|(sum, &x)| *sum += x);
        }
        mean.iter_mut().for_each(|sum| *sum = *sum / count);
        // The sum of the deviations, 0 but for rounding, puts mean and squares right.
        let mut rests = [T::ZERO; super::channels::TILE];
        let rests = &mut rests[..block.width];
        squares.fill(T::ZERO);
        for index in 0..block.rows {
            let sums = squares.iter_mut().zip(rests.iter_mut());
            for ((square, rest), (&x, &mean)) in sums.zip(row(index).iter().zip(&*mean)) {
                let deviation = x - mean;
                *rest += deviation;
                *square += deviation * deviation;
            }
        }
        for ((mean, square), &rest) in mean.iter_mut().zip(squares).zip(&*rests) {
            *mean += rest / count;
            *square = *square - rest * rest / count;
        }
    }
}

/// The mean of a run and the sum of its squared deviations.
#[inline(always)]
pub(super) fn run_moments<I: Instructions, T: Float>(run: &[T]) -> (T, T) {
    let count = T::from_f64(run.len() as f64);
    let mean = combine_run::<T, Sum>(run) / count;
    let mut rests = [T::ZERO; LANES];
    let mut squares = [T::ZERO; LANES];
    let (chunks, rest) = run.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            let deviation = chunk[i] - mean;
            rests[i] += deviation;
            squares[i] += deviation * deviation;
        }
    }
    for (i, &x) in rest.iter().enumerate() {
        let deviation = x - mean;
        rests[i] += deviation;
        squares[i] += deviation * deviation;
    }
    // The sum of the deviations, 0 but for rounding, puts mean and squares right.
    let (rest, squares) = (combine_run::<T, Sum>(&rests), combine_run::<T, Sum>(&squares));
    (mean + rest / count, squares - rest * rest / count)
}

per_isa! {
    /// Combines the means and the sums of squared deviations of two sets.
    fn merge<I, T: Float>(
        sums: [&mut [T]; 2], count: usize, others: [&[T]; 2], other_count: usize,
    ) {
        let total = (count + other_count) as f64;
        let share = T::from_f64(other_count as f64 / total);
        let weight = T::from_f64(count as f64 * (other_count as f64 / total));
        let [means, squares] = sums;
        let [other_means, other_squares] = others;
        let others = other_means.iter().zip(other_squares);
        for ((mean, square), (&other_mean, &other_square)) in
            means.iter_mut().zip(squares).zip(others)
        {
            let distance = other_mean - *mean;
            *mean += distance * share;
            *square += other_square + distance * distance * weight;
        }
    }
}
