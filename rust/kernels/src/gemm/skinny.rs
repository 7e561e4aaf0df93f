//! Products of few rows or few columns whose operands both lie along the depth: dot products.
//!
//! Nothing is packed; each vector that is read serves all rows or columns of a small tile.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

use super::epilogue::{Epilogue, finish};
use super::lanes::{Lanes, Plain, prefetch};
use super::matrix::{Block, Matrix, MatrixMut};
use crate::isa::Level;
use crate::parallel::Parts;
use crate::{Float, Isa, Parallel};

/// Rows and columns of a tile, at most.
pub(super) const SIDE: usize = 4;
/// Up to so many rows, or columns, dot products beat the kernels with packed panels.
const FEW_ROWS: usize = 8;
const FEW_COLUMNS: usize = 16;
/// The shortest depth that outweighs adding up the lanes.
pub(super) const MIN_DEPTH: usize = 64;
/// Multiplications per task.
const TASK_WORK: usize = 128 * 1024;
/// The widest vector's number of elements.
const MAX_LANES: usize = 16;
/// How many elements ahead of their use columns are asked for: the hardware follows them within a page
/// of memory only.
const AHEAD: usize = 512;

/// Computes a tile of dot products: `result[r][j] = sum(a[r] * b[j])`.
///
/// # Safety
/// The CPU has the instructions of the [`Isa`] that it was chosen for; for the tile's rows and columns
/// `a + r * a_stride` and `b + j * b_stride` can be read for `depth` elements.
pub(super) type Dots<T> =
    unsafe fn(depth: usize, a: *const T, a_stride: usize, b: *const T, b_stride: usize) -> Tile<T>;

type Tile<T> = [[T; SIDE]; SIDE];

/// Is this a product for [`gemm`]?
pub(super) fn suits<T: Float>(a: Matrix<T>, b: Matrix<T>) -> bool {
    a.column_stride() == 1
        && b.row_stride() == 1
        && a.columns() >= MIN_DEPTH
        && (a.rows() <= FEW_ROWS || b.columns() <= FEW_COLUMNS)
}

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
    let (m, n, k) = (a.rows(), b.columns(), a.columns());
    // The longer side is cut, if it has as many tiles into an even number of parts, so that two threads have
    // as much each.
    let tiles = m.max(n).div_ceil(SIDE);
    let tasks = match (m * n * k).div_ceil(TASK_WORK) {
        tasks @ 0..=1 => tasks,
        tasks => tasks.next_multiple_of(2).min(tiles),
    };
    let c_row = c.row_stride();
    let parts = Parts::new(c.data());
    parallel.for_each(tasks, &|task| {
        let boundary = |task: usize| (task * tiles / tasks * SIDE).min(m.max(n));
        let (start, length) = (boundary(task), boundary(task + 1) - boundary(task));
        let [(row, rows), (column, columns)] =
            if m > n { [(start, length), (0, n)] } else { [(0, m), (start, length)] };
        // SAFETY: blocks of different tasks do not overlap, and `Parallel` runs each task once.
        let mut block = unsafe { Block::new(&parts, c_row, (row, rows), (column, columns)) };
        for i in (0..rows).step_by(SIDE) {
            for j in (0..columns).step_by(SIDE) {
                let (tile_rows, tile_columns) = (SIDE.min(rows - i), SIDE.min(columns - j));
                let a = a.block(row + i, tile_rows, 0, k);
                let b = b.block(0, k, column + j, tile_columns);
                let dots = T::dots(isa, tile_rows, tile_columns);
                let (a_data, b_data) = (a.data().as_ptr(), b.data().as_ptr());
                // SAFETY: `dots` is one for `isa` and for this number of rows and columns, which
                // `block` has found to lie inside the matrices, along the depth.
                let sums = unsafe { dots(k, a_data, a.row_stride(), b_data, b.column_stride()) };
                for (r, sums) in sums[..tile_rows].iter().enumerate() {
                    for (c, &sum) in block.row(i + r)[j..j + tile_columns].iter_mut().zip(sums) {
                        let old = if beta == T::ZERO { T::ZERO } else { beta * *c };
                        *c = alpha * sum + old;
                    }
                }
            }
        }
        finish(isa, &mut block, epilogue.block(row, column, n));
    });
}

macro_rules! dots {
    ($name:ident, $type:ident, $portable:literal, $avx2:ident, $avx512:ident) => {
        pub(super) fn $name(isa: Isa, rows: usize, columns: usize) -> Dots<$type> {
            type Portable = Plain<$type, $portable>;
            match isa.level() {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => choose!(avx512 $type $avx512, rows columns),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => choose!(avx2 $type $avx2, rows columns),
                _ => choose!(portable $type Portable, rows columns),
            }
        }
    };
}

/// The instance for a number of rows and columns.
macro_rules! choose {
    ($kernel:ident $type:ident $vector:ident, $rows:ident $columns:ident) => {
        choose!(@ $kernel $type $vector, $rows $columns;
                1 1, 1 2, 1 3, 1 4, 2 1, 2 2, 2 3, 2 4, 3 1, 3 2, 3 3, 3 4, 4 1, 4 2, 4 3, 4 4)
    };
    (@ $kernel:ident $type:ident $vector:ident, $rows:ident $columns:ident;
     $($r:literal $c:literal),*) => {
        match ($rows, $columns) {
            $(($r, $c) => $kernel::<$type, $vector, $r, $c>,)*
            _ => unreachable!("no tile has {} x {} dot products", $rows, $columns),
        }
    };
}

dots!(sdots, f32, 4, __m256, __m512);
dots!(ddots, f64, 2, __m256d, __m512d);

macro_rules! kernels {
    ($($(#[$attribute:meta])* $name:ident;)*) => {$(
        /// # Safety
        /// See [`Dots`].
        $(#[$attribute])*
        unsafe fn $name<T: Float, V: Lanes<T>, const R: usize, const C: usize>(
            depth: usize, a: *const T, a_stride: usize, b: *const T, b_stride: usize,
        ) -> Tile<T> {
            // SAFETY: the same contract.
            unsafe { dots_body::<T, V, R, C>(depth, a, a_stride, b, b_stride) }
        }
    )*};
}

kernels! {
    portable;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    avx2;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    avx512;
}

/// # Safety
/// See [`Dots`].
#[inline(always)]
unsafe fn dots_body<T: Float, V: Lanes<T>, const R: usize, const C: usize>(
    depth: usize,
    a: *const T,
    a_stride: usize,
    b: *const T,
    b_stride: usize,
) -> Tile<T> {
    let whole = depth - depth % V::LANES;
    let mut result = [[T::ZERO; SIDE]; SIDE];
    // SAFETY: rows `r < R` of `a` and columns `j < C` of `b` can be read for `depth` elements; a
    // vector fits into `lanes`.
    unsafe {
        let mut sums = [[V::splat(T::ZERO); C]; R];
        for p in (0..whole).step_by(V::LANES) {
            // After the end of these columns follow the next tile's. Rows are asked for nowhere: of one
            // or a few samples, whose weight comes from memory, they stay in the cache.
            let ahead = p + AHEAD;
            let ahead = if ahead < depth { ahead } else { C * b_stride + ahead - depth };
            let columns: [V; C] = std::array::from_fn(|j| {
                prefetch(b.wrapping_add(j * b_stride + ahead));
                V::load(b.add(j * b_stride + p))
            });
            for (r, sums) in sums.iter_mut().enumerate() {
                let row = V::load(a.add(r * a_stride + p));
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = sum.plus_product(row, column);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                let mut lanes = [T::ZERO; MAX_LANES];
                sum.store(lanes.as_mut_ptr());
                let mut width = V::LANES;
                while width > 1 {
                    width /= 2;
                    for lane in 0..width {
                        lanes[lane] += lanes[lane + width];
                    }
                }
                for p in whole..depth {
                    lanes[0] += *a.add(r * a_stride + p) * *b.add(j * b_stride + p);
                }
                result[r][j] = lanes[0];
            }
        }
    }
    result
}
