//! Batch normalisation with given statistics, and its gradients.

use super::channels::{Block, Channels, Statistic, TILE};
use super::moments::{LANES, two_sums};
use crate::stream::Writer;
use crate::{Element, Float, Isa, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 32 * 1024;
/// Elements that are written together.
const PIECE: usize = 4 * 1024;
/// Channels with fewer neighbouring elements are normalised row by row.
const SHORTEST_RUN: usize = 16;
/// Shorter rows are joined.
const SHORTEST_ROW: usize = 512;

/// `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta + addend`, then the greater of that and
/// 0 if `relu`, for `x` seen as `outer x channels x inner`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn batch_norm<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: [usize; 3],
    x: &[T],
    [mean, variance, gamma, beta]: [&[T]; 4],
    epsilon: T,
    addend: Option<&[T]>,
    relu: bool,
    y: &mut [T],
) {
    check(shape, [x, y, addend.unwrap_or(x)], [mean, variance, gamma, beta]);
    let map = |channel: usize| {
        let scale = gamma[channel] / (variance[channel] + epsilon).sqrt();
        [mean[channel], scale, T::ONE, beta[channel]]
    };
    apply(isa, parallel, shape, x, addend, &map, relu, y);
}

/// The gradient of [`batch_norm`] without addend and relu, whose mean and variance are those of `x`,
/// or `fixed`.
///
/// # Panics
/// If the sizes do not fit together, or the working memory is too short.
pub fn batch_norm_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: [usize; 3],
    x: &[T],
    dy: &[T],
    [mean, variance, gamma]: [&[T]; 3],
    epsilon: T,
    fixed: bool,
    [dx, dgamma, dbeta]: [&mut [T]; 3],
    scratch: &mut [T],
) {
    check(shape, [x, dy, dx], [mean, variance, gamma, gamma]);
    let inverse = |channel: usize| T::ONE / (variance[channel] + epsilon).sqrt();
    let sums = Products { x, dy, mean };
    Channels::new(shape).reduce(isa, parallel, &sums, [&mut *dgamma, &mut *dbeta], scratch);
    for (channel, dgamma) in dgamma.iter_mut().enumerate() {
        *dgamma *= inverse(channel);
    }
    let factor = |channel: usize| gamma[channel] * inverse(channel);
    if fixed {
        let map = |channel: usize| [T::ZERO, factor(channel), T::ZERO, T::ZERO];
        return apply(isa, parallel, shape, dy, None, &map, false, dx);
    }
    let count: T = ((shape[0] * shape[2]) as f64).cast();
    // dx = factor * (dy - mean(dy) - normalized x * mean(dy * normalized x))
    let map = |channel: usize| {
        let factor = factor(channel);
        let scale = -factor * inverse(channel) * (dgamma[channel] / count);
        [mean[channel], scale, factor, -factor * (dbeta[channel] / count)]
    };
    apply(isa, parallel, shape, x, Some(dy), &map, false, dx);
}

/// Panics if sizes do not fit together.
fn check<T>([outer, channels, inner]: [usize; 3], arrays: [&[T]; 3], parameters: [&[T]; 4]) {
    for array in arrays {
        assert_eq!(array.len(), outer * channels * inner, "an array does not have this shape");
    }
    for parameter in parameters {
        assert_eq!(parameter.len(), channels, "a parameter is needed for each channel");
    }
}

/// The sums of `dy * (x - mean)` and of `dy`.
struct Products<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    mean: &'a [T],
}

impl<T: Float> Statistic for Products<'_, T> {
    fn compute(&self, isa: Isa, block: &Block<'_>, products: &mut [f64], sums: &mut [f64]) {
        match block.is_run {
            true => products_of_runs(isa, self, block, products, sums),
            false => products_of_lanes(isa, self, block, products, sums),
        }
    }

    #[inline(always)]
    fn merge([a, b]: [f64; 2], _: f64, [c, d]: [f64; 2], _: f64) -> [f64; 2] {
        [a + c, b + d]
    }
}

per_isa! {
    fn products_of_runs<I, T: Float>(
        arrays: &Products<'_, T>, block: &Block<'_>, products: &mut [f64], sums: &mut [f64],
    ) {
        for (lane, (product, sum)) in products.iter_mut().zip(sums).enumerate() {
            let (mean, run) = (arrays.mean[block.channels[lane]], block.run(lane));
            let runs = [&arrays.x[run.clone()], &arrays.dy[run]];
            [*product, *sum] = two_sums(runs, |x, dy| [dy * (x - mean), dy]).map(Element::cast);
        }
    }
}

per_isa! {
    fn products_of_lanes<I, T: Float>(
        arrays: &Products<'_, T>, block: &Block<'_>, products: &mut [f64], sums: &mut [f64],
    ) {
        let mut numbers = [[T::ZERO; TILE]; 3];
        let [mean, product, sum] = numbers.each_mut().map(|numbers| &mut numbers[..sums.len()]);
        for (mean, &channel) in mean.iter_mut().zip(block.channels) {
            *mean = arrays.mean[channel];
        }
        for row in 0..block.length {
            let row = block.row(row);
            let elements = arrays.x[row.clone()].iter().zip(&arrays.dy[row]).zip(&*mean);
            let lanes = product.iter_mut().zip(&mut *sum);
            for ((product, sum), ((&x, &dy), &mean)) in lanes.zip(elements) {
                *product += dy * (x - mean);
                *sum += dy;
            }
        }
        for lane in 0..sums.len() {
            (products[lane], sums[lane]) = (product[lane].cast(), sum[lane].cast());
        }
    }
}

/// What becomes of an element of a channel, with these four numbers in this order:
/// `(x - mean) * scale + other * factor + shift`.
type Map<T> = [T; 4];

/// Applies each channel's map, with an `other` of 0 if there is none; then takes the greater of that
/// and 0 if `relu`.
fn apply<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    [_, channels, inner]: [usize; 3],
    x: &[T],
    other: Option<&[T]>,
    map: &dyn Fn(usize) -> Map<T>,
    relu: bool,
    y: &mut [T],
) {
    if y.is_empty() {
        return;
    }
    let floor = if relu { T::ZERO } else { T::LOWEST };
    // Where runs are short, the maps are repeated, for each element of rows worth a loop.
    let by_row = inner < SHORTEST_RUN;
    let repeat = if by_row { inner } else { 1 };
    let fold = if by_row { SHORTEST_ROW.div_ceil(channels * inner) } else { 1 };
    let maps: [Vec<T>; 4] = std::array::from_fn(|number| {
        let numbers = (0..channels).map(|channel| map(channel)[number]);
        let row: Vec<T> = numbers.flat_map(|value| std::iter::repeat_n(value, repeat)).collect();
        row.repeat(fold)
    });
    let maps = maps.each_ref().map(|numbers| &numbers[..]);
    let width = maps[0].len();
    let piece = if by_row { (PIECE / width).max(1) * width } else { PIECE };
    let (chunk, elements) = ((WORK / piece).max(1) * piece, y.len());
    for_each_chunk(parallel, y, chunk, &|index, y| {
        let mut writer = Writer::new(elements);
        for (number, y) in y.chunks_mut(piece).enumerate() {
            let first = index * chunk + number * piece;
            let x = &x[first..first + y.len()];
            let other = other.map(|other| &other[first..first + y.len()]);
            writer.write(y, |y| match by_row {
                true => map_rows(isa, maps, x, other, floor, y),
                false => map_runs(isa, maps, first, inner, x, other, floor, y),
            });
        }
    });
}

per_isa! {
    fn map_rows<I, T: Float>(
        maps: [&[T]; 4], x: &[T], other: Option<&[T]>, floor: T, y: &mut [T],
    ) {
        let width = maps[0].len();
        for (row, y) in y.chunks_mut(width).enumerate() {
            let row = row * width..row * width + y.len();
            let (x, other) = (&x[row.clone()], other.map(|other| &other[row]));
            let (chunks, rest) = y.as_chunks_mut::<LANES>();
            for (i, y) in chunks.iter_mut().enumerate() {
                map_lanes(maps, i * LANES, x, other, floor, y);
            }
            let done = width.min(x.len()) - rest.len();
            for (i, y) in rest.iter_mut().enumerate() {
                map_lanes(maps, done + i, x, other, floor, std::array::from_mut(y));
            }
        }
    }
}

/// Maps `N` elements from number `first` of a row on. That they are computed before any is written
/// spares the compiler to look whether the arrays overlap.
#[inline(always)]
fn map_lanes<T: Float, const N: usize>(
    maps: [&[T]; 4],
    first: usize,
    x: &[T],
    other: Option<&[T]>,
    floor: T,
    y: &mut [T; N],
) {
    let range = first..first + N;
    let [mean, scale, factor, shift] = maps.map(|numbers| &numbers[range.clone()]);
    let x = &x[range.clone()];
    let mut values = [T::ZERO; N];
    if let Some(other) = other {
        let other = &other[range];
        for i in 0..N {
            let value = (x[i] - mean[i]) * scale[i] + other[i] * factor[i] + shift[i];
            values[i] = at_least(floor, value);
        }
    } else {
        for i in 0..N {
            values[i] = at_least(floor, (x[i] - mean[i]) * scale[i] + shift[i]);
        }
    }
    *y = values;
}

per_isa! {
    /// The first element is number `first` of the array.
    fn map_runs<I, T: Float>(
        maps: [&[T]; 4], first: usize, inner: usize, x: &[T], other: Option<&[T]>, floor: T,
        y: &mut [T],
    ) {
        let mut start = 0;
        while start < y.len() {
            let element = first + start;
            let run = start..y.len().min(start + inner - element % inner);
            start = run.end;
            let channel = element / inner % maps[0].len();
            let [mean, scale, factor, shift] = maps.map(|numbers| numbers[channel]);
            let (x, y) = (&x[run.clone()], &mut y[run.clone()]);
            if let Some(other) = other {
                for ((y, &x), &other) in y.iter_mut().zip(x).zip(&other[run]) {
                    *y = at_least(floor, (x - mean) * scale + other * factor + shift);
                }
            } else {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = at_least(floor, (x - mean) * scale + shift);
                }
            }
        }
    }
}

/// The greater of the two, NaN if the value is.
#[inline(always)]
fn at_least<T: Float>(floor: T, value: T) -> T {
    if value < floor { floor } else { value }
}
