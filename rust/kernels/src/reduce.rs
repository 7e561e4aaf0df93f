//! Reductions over any set of axes.

use crate::{Element, Isa, Parallel, naive};

/// How two elements become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum; wraps around for integers.
    Sum,
    /// The greatest element, NaN if there is one.
    Max,
    /// The least element, NaN if there is one.
    Min,
    /// The product; wraps around for integers.
    Product,
}

impl Reduction {
    /// The reduction of nothing.
    #[inline(always)]
    pub fn identity<T: Element>(self) -> T {
        match self {
            Reduction::Sum => T::ZERO,
            Reduction::Max => T::LOWEST,
            Reduction::Min => T::HIGHEST,
            Reduction::Product => T::ONE,
        }
    }

    /// The reduction of two elements.
    #[inline(always)]
    pub fn combine<T: Element>(self, a: T, b: T) -> T {
        match self {
            Reduction::Sum => a.plus(b),
            Reduction::Max => {
                if a.is_nan() || a > b {
                    a
                } else {
                    b
                }
            }
            Reduction::Min => {
                if a.is_nan() || a < b {
                    a
                } else {
                    b
                }
            }
            Reduction::Product => a.times(b),
        }
    }
}

/// Reduces the marked `axes` of `input`, a C-contiguous array of this shape; the other axes keep
/// their order in `output`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn reduce<T: Element>(
    isa: Isa,
    parallel: &dyn Parallel,
    reduction: Reduction,
    shape: &[usize],
    axes: &[bool],
    input: &[T],
    output: &mut [T],
) {
    let _ = (isa, parallel);
    naive::reduce(reduction, shape, axes, input, output);
}

/// The position of the first greatest element along the middle dimension of `input`, seen as
/// `outer x length x inner`; NaN counts as greatest.
///
/// # Panics
/// If the sizes do not fit together, or if there are lanes of length 0.
pub fn argmax<T: Element>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    length: usize,
    inner: usize,
    input: &[T],
    output: &mut [i32],
) {
    let _ = (isa, parallel);
    naive::argmax(outer, length, inner, input, output);
}
