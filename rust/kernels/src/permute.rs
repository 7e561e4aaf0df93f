//! Moving elements without changing them.

use crate::{Element, Parallel, naive};

/// Copies `input`, of this shape, with its dimensions reordered: dimension `i` of the output is
/// dimension `permutation[i]` of the input.
///
/// # Panics
/// If the sizes do not fit together or `permutation` is none.
pub fn transpose<T: Element>(
    parallel: &dyn Parallel,
    shape: &[usize],
    permutation: &[usize],
    input: &[T],
    output: &mut [T],
) {
    let _ = parallel;
    naive::transpose(shape, permutation, input, output);
}

/// Copies an array of this shape from one layout to another; strides are in elements, and 0 repeats
/// an input.
///
/// # Panics
/// If either layout reaches beyond its slice, or if the output's elements may overlap.
pub fn copy_strided<T: Element>(
    parallel: &dyn Parallel,
    shape: &[usize],
    input: &[T],
    input_strides: &[usize],
    output: &mut [T],
    output_strides: &[usize],
) {
    let _ = parallel;
    for linear in 0..crate::shape::element_count(shape) {
        let value = input[crate::shape::offset(linear, shape, input_strides)];
        output[crate::shape::offset(linear, shape, output_strides)] = value;
    }
}
