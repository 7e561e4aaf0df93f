//! Matrix products.

mod matrix;

use crate::{ElementType, Float, Isa, Parallel, naive};

pub use matrix::{Matrix, MatrixMut};

/// What is done to each element of a product on its way to memory.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a, T> {
    /// Nothing.
    None,
    /// Adds `bias[column]`, then takes the greater of that and 0 if `relu`.
    Bias {
        /// One number per column of the product.
        bias: &'a [T],
        /// Whether a relu follows.
        relu: bool,
    },
    /// Takes the greater of the element and 0.
    Relu,
    /// Puts 0 where `reference` is not positive: the gradient of a relu whose result that was.
    ReluMask {
        /// Row-major and without gaps, of the product's shape.
        reference: &'a [T],
    },
}

/// The ways to compute a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GemmAlgorithm {
    /// The `matrixmultiply` crate, called on blocks of the product.
    MatrixMultiply,
    /// Our own kernel.
    Blocked,
}

/// `c = epilogue(alpha * a * b + beta * c)`; `c` must be row-major.
///
/// With `beta` 0 the old content of `c` is ignored, even NaN; with a depth of 0 the product is 0.
///
/// # Panics
/// If the sizes of the matrices or of the epilogue's slices do not fit together.
pub fn gemm<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    algorithm: GemmAlgorithm,
    alpha: T,
    a: Matrix<T>,
    b: Matrix<T>,
    beta: T,
    c: MatrixMut<T>,
    epilogue: Epilogue<T>,
) {
    let _ = (isa, parallel, algorithm);
    naive::gemm(alpha, a, b, beta, c, epilogue);
}

/// The faster algorithm for a product of `m x k` by `k x n`.
pub fn choose(
    isa: Isa,
    element: ElementType,
    m: usize,
    n: usize,
    k: usize,
    a_transposed: bool,
    b_transposed: bool,
) -> GemmAlgorithm {
    let _ = (isa, element, m, n, k, a_transposed, b_transposed);
    GemmAlgorithm::Blocked
}

#[doc(hidden)]
pub trait GemmElement {}
impl GemmElement for f32 {}
impl GemmElement for f64 {}
