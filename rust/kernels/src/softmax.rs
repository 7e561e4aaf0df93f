//! Softmax and its logarithm along one dimension, and their gradients.
//!
//! Arrays are seen as `outer x depth x inner`; the kernels work along the middle dimension.

use std::ops::Range;

use crate::isa::Instructions;
use crate::reduce::{Combine, Sum};
use crate::rows::{
    Kernel, Vector, Vectors, VectorsMut, Way, for_each_row, map, map_in_place, shared,
};
use crate::{Element, Float, Isa, Parallel, math};

/// `output = exp(input) / sum(exp(input))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn softmax<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    input: &[T],
    output: &mut [T],
) {
    for_each_row(isa, parallel, [outer, depth, inner], [input], output, &Softmax);
}

struct Softmax;

impl<T: Float> Kernel<T, 1> for Softmax {
    const PADDING: [T; 1] = [T::LOWEST];

    #[inline(always)]
    fn compute<I: Instructions, W: Way>(
        &self,
        _: Range<usize>,
        depth: usize,
        [x]: [Vectors<T>; 1],
        mut y: VectorsMut<T>,
    ) {
        softmax_rows::<I, W, T>(depth, x, &mut y);
    }
}

/// The greatest element, or any where there is a NaN: then the sum of the exponentials is one.
struct Top;

impl Combine for Top {
    #[inline(always)]
    fn identity<T: Element>() -> T {
        T::LOWEST
    }

    #[inline(always)]
    fn combine<T: Element>(a: T, b: T) -> T {
        if a > b { a } else { b }
    }
}

/// The distance of an element of a row from the greatest, which may be infinite itself: with one
/// infinite logit the softmax is the limit, and with several they are equally likely.
#[inline(always)]
pub(crate) fn distance<T: Float>(x: T, top: T) -> T {
    if x == top { T::ZERO } else { x - top }
}

/// The softmax of rows; returns their greatest elements and the sums of the exponentials, relative
/// to those.
#[inline(always)]
pub(crate) fn softmax_rows<I: Instructions, W: Way, T: Float>(
    depth: usize,
    x: Vectors<T>,
    y: &mut VectorsMut<T>,
) -> (Vector<T>, Vector<T>) {
    let top = W::reduce::<T, Top, 1, 0>([x], [], |[x], []| x);
    map([x], [&top], y, |[x], [top]| distance(x, top).exp_nonpositive::<I>());
    W::clear_padding(depth, y);
    let sum = W::reduce::<T, Sum, 1, 0>([shared(y)], [], |[y], []| y);
    let mut reciprocal = sum;
    W::map_rows(&mut reciprocal, |sum| T::ONE / sum);
    map_in_place([&sum, &reciprocal], y, |y, [sum, reciprocal]| {
        math::divide::<I, T>(y, sum, reciprocal)
    });
    (top, sum)
}

/// `output = input - log(sum(exp(input)))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn log_softmax<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    input: &[T],
    output: &mut [T],
) {
    for_each_row(isa, parallel, [outer, depth, inner], [input], output, &LogSoftmax);
}

struct LogSoftmax;

impl<T: Float> Kernel<T, 1> for LogSoftmax {
    const PADDING: [T; 1] = [T::LOWEST];

    #[inline(always)]
    fn compute<I: Instructions, W: Way>(
        &self,
        _: Range<usize>,
        depth: usize,
        [x]: [Vectors<T>; 1],
        mut y: VectorsMut<T>,
    ) {
        let (top, mut log_sum) = softmax_rows::<I, W, T>(depth, x, &mut y);
        W::map_rows(&mut log_sum, |sum| sum.ln::<I>());
        map([x], [&top, &log_sum], &mut y, |[x], [top, log_sum]| distance(x, top) - log_sum);
    }
}

/// The gradient of a softmax whose result was `y`: `dx = y * (dy - sum(y * dy))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn softmax_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    y: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    for_each_row(isa, parallel, [outer, depth, inner], [y, dy], dx, &SoftmaxGradient);
}

struct SoftmaxGradient;

impl<T: Float> Kernel<T, 2> for SoftmaxGradient {
    const PADDING: [T; 2] = [T::ZERO; 2];

    #[inline(always)]
    fn compute<I: Instructions, W: Way>(
        &self,
        _: Range<usize>,
        _: usize,
        [y, dy]: [Vectors<T>; 2],
        mut dx: VectorsMut<T>,
    ) {
        let dot = W::reduce::<T, Sum, 2, 0>([y, dy], [], |[y, dy], []| y * dy);
        map([y, dy], [&dot], &mut dx, |[y, dy], [dot]| y * (dy - dot));
    }
}

/// The gradient of a log-softmax whose result was `y`: `dx = dy - exp(y) * sum(dy)`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn log_softmax_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    y: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    for_each_row(isa, parallel, [outer, depth, inner], [y, dy], dx, &LogSoftmaxGradient);
}

struct LogSoftmaxGradient;

impl<T: Float> Kernel<T, 2> for LogSoftmaxGradient {
    const PADDING: [T; 2] = [T::ZERO; 2];

    #[inline(always)]
    fn compute<I: Instructions, W: Way>(
        &self,
        _: Range<usize>,
        _: usize,
        [y, dy]: [Vectors<T>; 2],
        mut dx: VectorsMut<T>,
    ) {
        let sum = W::reduce::<T, Sum, 1, 0>([dy], [], |[dy], []| dy);
        map([y, dy], [&sum], &mut dx, |[y, dy], [sum]| dy - y.exp::<I>() * sum);
    }
}
