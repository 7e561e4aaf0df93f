//! Layer normalisation and its gradients.

use std::ops::Range;

use super::Affine;
use super::channels::{Block, Channels, Statistic, TILE};
use super::moments::{moments_of_run, two_sums};
use crate::parallel::Parts;
use crate::stream::Writer;
use crate::{Element, Float, Isa, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 16 * 1024;

/// `y = (x - mean) * inverse_deviation * gamma + beta` with each row's own mean and
/// `inverse_deviation = 1 / sqrt(variance + epsilon)`, which are results too.
///
/// # Panics
/// If the sizes do not fit together.
pub fn layer_norm<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    row_length: usize,
    x: &[T],
    affine: Affine<T>,
    epsilon: T,
    y: &mut [T],
    mean: &mut [T],
    inverse_deviation: &mut [T],
) {
    check(row_length, [x, y], [mean, inverse_deviation]);
    assert_eq!(affine.beta.len(), affine.gamma.len(), "scales and shifts differ in number");
    let statistics = [Parts::new(mean), Parts::new(inverse_deviation)];
    for_each_row(parallel, row_length, y, &|row, y| {
        let first = row * row_length;
        // SAFETY: each row is worked on once.
        let [mean, inverse] = statistics.each_ref().map(|parts| unsafe { parts.range(row, 1) });
        let x = &x[first..first + row_length];
        (mean[0], inverse[0]) = normalize_row(isa, first, x, affine, epsilon, y);
    });
}

/// The gradient of [`layer_norm`] to `x`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn layer_norm_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    row_length: usize,
    x: &[T],
    dy: &[T],
    [mean, inverse_deviation]: [&[T]; 2],
    gamma: &[T],
    repeat: usize,
    dx: &mut [T],
) {
    check(row_length, [x, dy], [mean, inverse_deviation]);
    assert_eq!(dx.len(), x.len(), "the gradient has not the input's size");
    for_each_row(parallel, row_length, dx, &|row, dx| {
        let first = row * row_length;
        let [x, dy] = [x, dy].map(|array| &array[first..first + row_length]);
        let statistics = [mean[row], inverse_deviation[row]];
        row_gradient(isa, first, x, dy, statistics, gamma, repeat, dx);
    });
}

/// The gradients of [`layer_norm`] to its parameters, which are shared as in [`Affine`].
///
/// # Panics
/// If the sizes do not fit together, or the working memory is too short.
pub fn layer_norm_parameter_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    row_length: usize,
    repeat: usize,
    x: &[T],
    dy: &[T],
    [mean, inverse_deviation]: [&[T]; 2],
    [dgamma, dbeta]: [&mut [T]; 2],
    scratch: &mut [T],
) {
    check(row_length, [x, dy], [mean, inverse_deviation]);
    let outer = x.len() / (dgamma.len() * repeat).max(1);
    let shape = [outer, dgamma.len(), repeat];
    assert_eq!(shape.iter().product::<usize>(), x.len(), "the parameters do not repeat evenly");
    let sums = Products { row_length, x, dy, mean, inverse_deviation };
    Channels::new(shape).reduce(isa, parallel, &sums, [dgamma, dbeta], scratch);
}

/// Panics if sizes do not fit together.
fn check<T>(row_length: usize, arrays: [&[T]; 2], statistics: [&[T]; 2]) {
    for (array, statistic) in arrays.into_iter().zip(statistics) {
        assert_eq!(array.len(), statistics[0].len() * row_length, "an array has another size");
        assert_eq!(statistic.len(), statistics[0].len(), "one mean and deviation for each row");
    }
}

/// Runs `task(row, its elements)`.
fn for_each_row<T: Float>(
    parallel: &dyn Parallel,
    row_length: usize,
    output: &mut [T],
    task: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    let rows_per_task = (WORK / row_length.max(1)).max(1);
    let elements = output.len();
    for_each_chunk(parallel, output, rows_per_task * row_length.max(1), &|index, output| {
        let mut writer = Writer::new(elements);
        for (row, output) in output.chunks_exact_mut(row_length).enumerate() {
            writer.write(output, |output| task(index * rows_per_task + row, output));
        }
    });
}

/// Neighbouring elements, and the parameters of each, or the one of all.
struct Segment {
    elements: Range<usize>,
    parameters: Range<usize>,
}

/// The segments of a row of elements that follow number `first`.
#[inline(always)]
fn segments(
    first: usize,
    length: usize,
    repeat: usize,
    parameters: usize,
) -> impl Iterator<Item = Segment> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let parameter = (first + start) / repeat % parameters;
        let most = match repeat {
            1 => parameters - parameter,
            _ => repeat - (first + start) % repeat,
        };
        let elements = start..length.min(start + most);
        start = elements.end;
        let count = if repeat == 1 { elements.len() } else { 1 };
        (!elements.is_empty())
            .then_some(Segment { elements, parameters: parameter..parameter + count })
    })
}

per_isa! {
    /// Normalises a row whose first element is number `first`; returns its mean and the inverse of
    /// its deviation.
    fn normalize_row<I, T: Float>(
        first: usize, x: &[T], affine: Affine<'_, T>, epsilon: T, y: &mut [T],
    ) -> (T, T) {
        let Affine { gamma, beta, repeat } = affine;
        let (mean, squares) = moments_of_run(x);
        let inverse = T::ONE / (squares / (x.len() as f64).cast() + epsilon).sqrt();
        for Segment { elements, parameters } in segments(first, x.len(), repeat, gamma.len()) {
            let (x, y) = (&x[elements.clone()], &mut y[elements]);
            let (gamma, beta) = (&gamma[parameters.clone()], &beta[parameters]);
            if repeat == 1 {
                for (((y, &x), &gamma), &beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                    *y = (x - mean) * inverse * gamma + beta;
                }
            } else {
                let (scale, beta) = (inverse * gamma[0], beta[0]);
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = (x - mean) * scale + beta;
                }
            }
        }
        (mean, inverse)
    }
}

per_isa! {
    fn row_gradient<I, T: Float>(
        first: usize, x: &[T], dy: &[T], statistics: [T; 2], gamma: &[T], repeat: usize,
        dx: &mut [T],
    ) {
        // The gradient to what gamma multiplies.
        for Segment { elements, parameters } in segments(first, x.len(), repeat, gamma.len()) {
            let (dy, dx) = (&dy[elements.clone()], &mut dx[elements]);
            let gamma = &gamma[parameters];
            if repeat == 1 {
                for ((dx, &dy), &gamma) in dx.iter_mut().zip(dy).zip(gamma) {
                    *dx = dy * gamma;
                }
            } else {
                for (dx, &dy) in dx.iter_mut().zip(dy) {
                    *dx = dy * gamma[0];
                }
            }
        }
        let [mean, inverse] = statistics;
        let count: T = (x.len() as f64).cast();
        // dx = inverse * (dx - mean(dx) - normalized x * mean(dx * normalized x))
        let [product, sum] = two_sums([x, dx], |x, dx| [dx * (x - mean), dx]);
        let (shift, scale) = (sum / count, product / count * inverse * inverse);
        for (dx, &x) in dx.iter_mut().zip(x) {
            *dx = (*dx - shift - (x - mean) * scale) * inverse;
        }
    }
}

/// The sums of `dy` times the normalised `x` and of `dy`.
struct Products<'a, T> {
    row_length: usize,
    x: &'a [T],
    dy: &'a [T],
    mean: &'a [T],
    inverse_deviation: &'a [T],
}

impl<T: Float> Statistic for Products<'_, T> {
    fn compute(&self, isa: Isa, block: &Block<'_>, products: &mut [f64], sums: &mut [f64]) {
        products_of_block(isa, self, block, products, sums);
    }

    #[inline(always)]
    fn merge([a, b]: [f64; 2], _: f64, [c, d]: [f64; 2], _: f64) -> [f64; 2] {
        [a + c, b + d]
    }
}

per_isa! {
    fn products_of_block<I, T: Float>(
        arrays: &Products<'_, T>, block: &Block<'_>, products: &mut [f64], sums: &mut [f64],
    ) {
        let mut numbers = [[T::ZERO; TILE]; 2];
        let [product, sum] = numbers.each_mut().map(|numbers| &mut numbers[..sums.len()]);
        let ranges = if block.is_run { sums.len() } else { block.length };
        for index in 0..ranges {
            let range = if block.is_run { block.run(index) } else { block.row(index) };
            let mut start = range.start;
            while start < range.end {
                let row = start / arrays.row_length;
                let piece = start..range.end.min((row + 1) * arrays.row_length);
                let lane = start - range.start;
                start = piece.end;
                let (x, dy) = (&arrays.x[piece.clone()], &arrays.dy[piece]);
                let (mean, inverse) = (arrays.mean[row], arrays.inverse_deviation[row]);
                if block.is_run {
                    let [more, dy] = two_sums([x, dy], |x, dy| [dy * (x - mean), dy]);
                    product[index] += more * inverse;
                    sum[index] += dy;
                } else {
                    let lanes = product[lane..].iter_mut().zip(&mut sum[lane..]);
                    for ((product, sum), (&x, &dy)) in lanes.zip(x.iter().zip(dy)) {
                        *product += dy * (x - mean) * inverse;
                        *sum += dy;
                    }
                }
            }
        }
        for lane in 0..sums.len() {
            (products[lane], sums[lane]) = (product[lane].cast(), sum[lane].cast());
        }
    }
}
