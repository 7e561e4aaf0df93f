//! Products by the `matrixmultiply` crate, called on blocks of the result.

use super::epilogue::{Epilogue, finish};
use super::matrix::{Block, Matrix, MatrixMut};
use crate::parallel::Parts;
use crate::{Float, Isa, Parallel};

/// Blocks are at most this many rows or columns, so that several threads find work.
const BLOCK: usize = 256;

/// The arguments of one call of the crate.
#[doc(hidden)]
pub struct Call<'a, 'b, T> {
    alpha: T,
    a: Matrix<'a, T>,
    b: Matrix<'a, T>,
    beta: T,
    c: &'a mut Block<'b, T>,
}

macro_rules! call {
    ($name:ident, $type:ident) => {
        pub(super) fn $name(call: Call<$type>) {
            let Call { alpha, a, b, beta, c } = call;
            let (m, k, n) = (a.rows(), a.columns(), b.columns());
            assert!(b.rows() == k && (c.rows(), c.columns()) == (m, n));
            // SAFETY: matrices lie inside their slices, which `Matrix` and `Block` check, and `c` is
            // this call's alone; strides fit `isize` since offsets do.
            unsafe {
                matrixmultiply::$name(
                    m,
                    k,
                    n,
                    alpha,
                    a.data().as_ptr(),
                    a.row_stride() as isize,
                    a.column_stride() as isize,
                    b.data().as_ptr(),
                    b.row_stride() as isize,
                    b.column_stride() as isize,
                    beta,
                    c.pointer(),
                    c.row_stride() as isize,
                    1,
                );
            }
        }
    };
}

call!(sgemm, f32);
call!(dgemm, f64);

/// `c = epilogue(alpha * a * b + beta * c)`; see [`super::gemm`], which has checked the sizes.
pub(super) fn gemm<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    alpha: T,
    a: Matrix<T>,
    b: Matrix<T>,
    beta: T,
    mut c: MatrixMut<T>,
    epilogue: Epilogue<T>,
) {
    let (m, n) = (c.rows(), c.columns());
    let c_row = c.row_stride();
    // The longer side is cut: the operand of the shorter one is packed once per block.
    let (row_block, column_block) = if m > n { (BLOCK.min(m), n) } else { (m, BLOCK.min(n)) };
    let blocks_across = n.div_ceil(column_block);
    let parts = Parts::new(c.data());
    parallel.for_each(m.div_ceil(row_block) * blocks_across, &|index| {
        let (row, column) =
            (index / blocks_across * row_block, index % blocks_across * column_block);
        let (rows, columns) = (row_block.min(m - row), column_block.min(n - column));
        // SAFETY: blocks of different indices do not overlap, and `Parallel` runs each index once.
        let mut c = unsafe { Block::new(&parts, c_row, (row, rows), (column, columns)) };
        let a = a.block(row, rows, 0, a.columns());
        let b = b.block(0, b.rows(), column, columns);
        T::gemm(Call { alpha, a, b, beta, c: &mut c });
        finish(isa, &mut c, epilogue.block(row, column, n));
    });
}
