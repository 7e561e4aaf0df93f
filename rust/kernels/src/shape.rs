//! Shapes and strides of C-contiguous arrays.

use smallvec::{SmallVec, smallvec};

/// Extents or strides of some axes; for nearly all arrays they need no memory of the system's.
pub(crate) type Sizes = SmallVec<[usize; 8]>;

/// The number of elements of an array of this shape.
pub(crate) fn element_count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// The strides, in elements, of a C-contiguous array of this shape.
pub(crate) fn contiguous_strides(shape: &[usize]) -> Sizes {
    let mut strides: Sizes = smallvec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Where the element at `linear` (its position in C order) lies in an array of these strides.
pub(crate) fn offset(mut linear: usize, shape: &[usize], strides: &[usize]) -> usize {
    let (Some((_, shape)), Some((outermost, strides))) =
        (shape.split_first(), strides.split_first())
    else {
        return 0;
    };
    let mut offset = 0;
    for (size, stride) in shape.iter().zip(strides).rev() {
        offset += linear % size * stride;
        linear /= size;
    }
    offset + linear * outermost
}

/// One past the highest offset that an array of this shape and these strides touches.
pub(crate) fn extent(shape: &[usize], strides: &[usize]) -> usize {
    if element_count(shape) == 0 {
        return 0;
    }
    shape.iter().zip(strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>() + 1
}
