//! Matrix products.

mod blocked;
mod cut;
mod epilogue;
mod lanes;
mod library;
mod matrix;
mod microkernel;
mod pack;
mod skinny;
#[cfg(target_arch = "x86_64")]
mod split;
mod stretched;
mod turned;

use crate::parallel::Parts;
use crate::{ElementType, Float, Isa, Parallel};

pub(crate) use epilogue::{BlockEpilogue, finish};
pub(crate) use lanes::{Lanes, Plain, Vectors, prefetch};
pub(crate) use matrix::Block;
pub(crate) use pack::{Buffer, LINE, transpose, transpose_square, transpose_to};
pub(crate) use stretched::{Left, Panels, Stretches, multiply, multiply_by_dots, suits_dots};

pub use epilogue::Epilogue;
pub use matrix::{Matrix, MatrixMut};
pub use microkernel::GemmElement;

/// The ways to compute a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GemmAlgorithm {
    /// The `matrixmultiply` crate, called on blocks of the product.
    MatrixMultiply,
    /// Our own kernel.
    Blocked,
    /// Each number as the sum of three bfloat16 numbers, and six products of those for each product; where
    /// the CPU multiplies no tiles of them, or an operand is spread out, [`GemmAlgorithm::Blocked`].
    Split,
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
    let (m, n) = (c.rows(), c.columns());
    assert_eq!(a.columns(), b.rows(), "the columns of a and the rows of b differ in number");
    assert_eq!((a.rows(), b.columns()), (m, n), "the product does not have the size of c");
    assert!(c.column_stride() == 1 || n <= 1, "the result of a product must be row-major");
    epilogue.check(m, n);
    if m == 0 || n == 0 {
        return;
    }
    if a.columns() == 0 {
        return scale(isa, beta, c, epilogue);
    }
    match algorithm {
        GemmAlgorithm::MatrixMultiply => {
            library::gemm(isa, parallel, alpha, a, b, beta, c, epilogue)
        }
        GemmAlgorithm::Blocked => own(isa, parallel, alpha, a, b, beta, c, epilogue),
        GemmAlgorithm::Split => match T::split(isa).filter(|_| together(a) && together(b)) {
            Some(product) => product(isa, parallel, (alpha, beta), (a, b), c, epilogue),
            None => own(isa, parallel, alpha, a, b, beta, c, epilogue),
        },
    }
}

/// Whether the rows or the columns of a matrix lie together.
fn together<T: Float>(matrix: Matrix<T>) -> bool {
    matrix.row_stride() == 1 || matrix.column_stride() == 1
}

/// Our own kernels.
fn own<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    alpha: T,
    a: Matrix<T>,
    b: Matrix<T>,
    beta: T,
    mut c: MatrixMut<T>,
    epilogue: Epilogue<T>,
) {
    let m = c.rows();
    if c.columns() == 1 && c.row_stride() == 1 && m > 1 && matches!(epilogue, Epilogue::None) {
        // A column is a row seen otherwise, and a row is what the kernels compute well.
        let row = MatrixMut::row_major(c.data(), 1, m);
        return own(isa, parallel, alpha, b.transposed(), a.transposed(), beta, row, epilogue);
    }
    if skinny::suits(a, b) {
        skinny::gemm(isa, parallel, alpha, a, b, beta, c, epilogue);
    } else if beta == T::ZERO && turned::suits(isa, a, b) {
        turned::gemm(isa, parallel, alpha, a, b, c, epilogue);
    } else {
        blocked::gemm(isa, parallel, alpha, a, b, beta, c, epilogue);
    }
}

/// `c = epilogue(beta * c)`, the product of a depth of 0.
fn scale<T: Float>(isa: Isa, beta: T, mut c: MatrixMut<T>, epilogue: Epilogue<T>) {
    let (m, n, stride) = (c.rows(), c.columns(), c.row_stride());
    let parts = Parts::new(c.data());
    // SAFETY: there is one block.
    let mut block = unsafe { Block::new(&parts, stride, (0, m), (0, n)) };
    for row in 0..m {
        let ignored = beta == T::ZERO;
        block.row(row).iter_mut().for_each(|c| *c = if ignored { T::ZERO } else { beta * *c });
    }
    epilogue::finish(isa, &mut block, epilogue.block(0, 0, n));
}

impl GemmAlgorithm {
    /// How many times the largest error of a plain sum the largest error of this
    /// algorithm may be on the same input; the tests hold each bound.
    pub fn error_ratio(self) -> f64 {
        match self {
            GemmAlgorithm::MatrixMultiply | GemmAlgorithm::Blocked => 2.0,
            GemmAlgorithm::Split => 1.5,
        }
    }
}

/// The fastest algorithm for a product of `m x k` by `k x n` that is as exact as a plain sum.
///
/// `matrixmultiply` detects the instruction set for itself, so it serves the best one of this CPU only.
/// There our own kernel was the faster one at every shape of `examples/gemm_bench.rs`.
///
/// Operands are split, where the instruction set has tiles, if that takes little of the time.
pub fn choose(isa: Isa, element: ElementType, (m, n, k): (usize, usize, usize)) -> GemmAlgorithm {
    /// The least number of multiplications for each element of the operands and of the result.
    const USES: f64 = 100.0;
    let pays = [m, n, k].map(|size| 1.0 / size as f64).iter().sum::<f64>() <= 1.0 / USES;
    if isa.has_tiles() && element == ElementType::F32 && pays {
        GemmAlgorithm::Split
    } else {
        GemmAlgorithm::Blocked
    }
}
