//! The types of values: an element type and a shape.

use std::fmt;

pub use flowrs_kernels::ElementType as DType;

use crate::error::Error;

/// What is known of a value before anything runs: its element type and its shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Type of the elements.
    pub dtype: DType,
    /// Extent of each dimension, outermost first.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// A type from its parts.
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>) -> Self {
        Self { dtype, shape: shape.into() }
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size()
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The same type with another shape.
    pub fn with_shape(&self, shape: impl Into<Vec<usize>>) -> Self {
        Self::new(self.dtype, shape)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", dtype_name(self.dtype), self.shape)
    }
}

/// The name users know the element type by.
pub fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::F64 => "float64",
        DType::I8 => "int8",
        DType::I32 => "int32",
        DType::I64 => "int64",
        DType::U8 => "uint8",
    }
}

/// The element type with the given name.
pub fn dtype_from_name(name: &str) -> Result<DType, Error> {
    [DType::F32, DType::F64, DType::I8, DType::I32, DType::I64, DType::U8]
        .into_iter()
        .find(|dtype| dtype_name(*dtype) == name)
        .ok_or_else(|| {
            Error::DType(format!(
                "no computation is possible in {name}: use float32, float64, int8, int32, int64 \
                 or uint8"
            ))
        })
}

/// The shape that NumPy's broadcasting rule gives for two shapes, or `None` where they clash.
pub fn broadcast_shapes(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i])
    };
    (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// Element strides of a C-contiguous array of the given shape.
pub fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Strides over `output` of an array of shape `input` that is broadcast to it (0 where it repeats).
pub fn broadcast_strides(input: &[usize], output: &[usize]) -> Vec<usize> {
    let own = contiguous_strides(input);
    let missing = output.len() - input.len();
    (0..output.len())
        .map(|axis| match axis.checked_sub(missing) {
            Some(i) if input[i] != 1 => own[i],
            _ => 0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast_shapes(&[2, 1, 3], &[4, 1]), Some(vec![2, 4, 3]));
        assert_eq!(broadcast_shapes(&[], &[5]), Some(vec![5]));
        assert_eq!(broadcast_shapes(&[0, 3], &[1, 3]), Some(vec![0, 3]));
        assert_eq!(broadcast_shapes(&[2], &[3]), None);
        assert_eq!(broadcast_strides(&[4, 1], &[2, 4, 3]), vec![0, 1, 0]);
        assert_eq!(contiguous_strides(&[2, 3, 4]), vec![12, 4, 1]);
    }

    #[test]
    fn every_dtype_is_found_by_its_name() {
        for name in ["float32", "float64", "int8", "int32", "int64", "uint8"] {
            assert_eq!(dtype_name(dtype_from_name(name).expect(name)), name);
        }
        assert!(dtype_from_name("float16").is_err());
    }
}
