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
mod stretched;
mod turned;

use crate::parallel::Parts;
use crate::{Float, Isa, Parallel};

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
    /// The `matrixmultiply` crate, called on blocks of the product: to compare with.
    MatrixMultiply,
    /// Our own kernels: what plans use. `examples/gemm_bench.rs` compares the two.
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
    }
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
    /// How many times the largest error of a plain sum the largest error of an algorithm may be on the
    /// same input; the tests hold each to it.
    pub const ERROR_RATIO: f64 = 2.0;
}
