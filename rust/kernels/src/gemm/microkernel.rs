//! The innermost loops: one tile of the product, kept in registers.
//!
//! A tile is `MR` rows by `NV` vectors; its sums are that many registers. Of the others, `NV` hold a step
//! of `b` and one or two an element of `a` in all lanes. Rows of `a` are reached from one address for
//! each `SPAN` of them.

use super::epilogue::Finish;
use super::lanes::{Lanes, Plain, in_register, prefetch};
use super::pack::Transposer;
#[cfg(target_arch = "x86_64")]
use super::pack::{AVX2_TRANSPOSER, AVX512_TRANSPOSER};
use super::skinny::Dots;
use crate::Float;
use crate::convolution::winograd;
use crate::isa::{Isa, Level};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

/// One call of a kernel: `c = alpha * a * b + beta * c` for a tile.
pub struct Tile<T> {
    pub(super) a: *const T,
    pub(super) a_row: usize,
    pub(super) a_step: usize,
    /// Where the stretches of `a` begin; `b` goes on from one to the next.
    pub(super) stretches: *const usize,
    pub(super) stretch_count: usize,
    pub(super) b: *const T,
    pub(super) b_step: usize,
    pub(super) c: *mut T,
    pub(super) c_row: usize,
    pub(super) columns: usize,
    /// The lines of `c` are on their way; else they are asked for at once.
    pub(super) fetched: bool,
    /// What will be needed next.
    pub(super) ahead: *const Ahead<T>,
    pub(super) alpha: T,
    pub(super) beta: T,
    /// Done last, where the tile is as wide as the kernel.
    pub(super) finish: Finish<T>,
}

/// The most walks along places during a stretch.
const WALKS: usize = 6;

/// Places to ask for during a stretch, one with each step: a core can wait for few at a time. A place is
/// as many vectors as the kernel is wide.
pub(super) struct Ahead<T> {
    walks: [Walk<T>; WALKS],
    count: usize,
    left: usize,
}

/// So many places, `step` elements from one to the next, at any address.
#[derive(Clone, Copy)]
struct Walk<T> {
    places: usize,
    start: *const T,
    step: usize,
}

impl<T: Copy> Ahead<T> {
    pub(super) fn new() -> Self {
        let none = Walk { places: 0, start: std::ptr::null(), step: 0 };
        Ahead { walks: [none; WALKS], count: 0, left: 0 }
    }

    /// Forgets all and has room for a place with each of `depth` steps.
    #[inline(always)]
    pub(super) fn begin(&mut self, depth: usize) {
        (self.count, self.left) = (0, depth);
    }

    /// Asks for places, as far as there is room.
    #[inline(always)]
    pub(super) fn add(&mut self, places: usize, start: *const T, step: usize) {
        let places = places.min(self.left);
        if places > 0 && self.count + 1 < WALKS {
            self.walks[self.count] = Walk { places, start, step };
            self.count += 1;
            self.left -= places;
        }
    }

    /// With the steps that are left nothing new is asked for, but this place.
    #[inline(always)]
    pub(super) fn fill(&mut self, place: *const T) {
        if self.left > 0 {
            self.walks[self.count] = Walk { places: self.left, start: place, step: 0 };
            self.count += 1;
            self.left = 0;
        }
    }
}

/// How many steps ahead of their use the lines of packed rows are asked for.
const STEPS_AHEAD: usize = 8;

/// Computes a tile.
///
/// # Safety
/// The CPU has the instructions of the [`Isa`] that the kernel was chosen for. There are
/// `stretch_count` stretches, of as many steps as `ahead` has places: their `depth`. For each of the
/// kernel's rows `r`, each stretch `s`, each step `p < depth`, and each column `j`: `a + stretches[s] + r * a_row + p * a_step` and
/// `b + (s * depth + p) * b_step + j` can be read for every `j` of the kernel's full width, and
/// `c + r * c_row + j` can be read and written by this call alone for every `j < columns`;
/// `columns` is at most the width, and if it is less, there is nothing to `finish`; what that points to
/// can be read for every row and the whole width.
pub(super) type Kernel<T> = unsafe fn(&Tile<T>);

/// Rows of `a` that are read from one address.
const SPAN: usize = 3;
/// Such addresses at most, on any instruction set.
const SPANS: usize = 14_usize.div_ceil(SPAN);

/// The sizes that kernels exist for, on one instruction set.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// Lanes per vector.
    pub(super) lanes: usize,
    /// The most rows of a tile.
    pub(super) rows: usize,
}

/// Vectors per row of a wide tile; a narrow one has one.
pub(super) const WIDE: usize = 2;

/// The most columns of a tile, on any instruction set.
const MAX_WIDTH: usize = 2 * 16;

/// Repeats the body for each row of a kernel. A loop would do, but the compiler does not unroll one
/// of this size, and only unrolled do the sums stay in registers.
macro_rules! each_row {
    ($row:ident < $rows:ident => $body:block) => {
        each_row!(@ $row $rows $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (@ $row:ident $rows:ident $body:block $($index:literal)*) => {
        $(if $index < $rows {
            let $row = $index;
            $body
        })*
    };
}

/// The kernels for an element type.
pub trait GemmElement: Sized {
    #[doc(hidden)]
    fn gemm(call: super::library::Call<Self>);
    #[doc(hidden)]
    fn lanes(isa: Isa) -> usize;
    #[doc(hidden)]
    fn kernel(isa: Isa, rows: usize, wide: bool, adjacent: bool) -> Kernel<Self>;
    #[doc(hidden)]
    fn transposer(isa: Isa) -> Option<Transposer<Self>>;
    #[doc(hidden)]
    fn dots(isa: Isa, rows: usize, columns: usize) -> Dots<Self>;
    #[doc(hidden)]
    fn transform(isa: Isa, side: usize, kind: winograd::TransformKind) -> winograd::Run<Self>;
}

pub(super) fn sizes<T: GemmElement>(isa: Isa) -> Sizes {
    let rows = match isa.level() {
        Level::Portable => 4,
        Level::Avx2 => 6,
        Level::Avx512 => 14,
    };
    Sizes { lanes: T::lanes(isa), rows }
}

macro_rules! gemm_elements {
    ($($type:ident $library:ident, $portable:literal $avx2:ident $avx512:ident,
       $avx2_transposer:expr, $avx512_transposer:expr, $dots:ident $transform:ident;)*) => {$(
        impl GemmElement for $type {
            fn gemm(call: super::library::Call<$type>) {
                super::library::$library(call);
            }

            fn lanes(isa: Isa) -> usize {
                match isa.level() {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => <$avx512 as Lanes<$type>>::LANES,
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => <$avx2 as Lanes<$type>>::LANES,
                    _ => $portable,
                }
            }

            fn kernel(isa: Isa, rows: usize, wide: bool, adjacent: bool) -> Kernel<$type> {
                type Portable = Plain<$type, $portable>;
                match isa.level() {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => {
                        choose!(avx512 $type $avx512, rows wide adjacent;
                                1 2 3 4 5 6 7 8 9 10 11 12 13 14)
                    }
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => choose!(avx2 $type $avx2, rows wide adjacent; 1 2 3 4 5 6),
                    _ => choose!(portable $type Portable, rows wide adjacent; 1 2 3 4),
                }
            }

            fn transposer(isa: Isa) -> Option<Transposer<$type>> {
                match isa.level() {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => $avx512_transposer,
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => $avx2_transposer,
                    _ => None,
                }
            }

            fn dots(isa: Isa, rows: usize, columns: usize) -> Dots<$type> {
                super::skinny::$dots(isa, rows, columns)
            }

            fn transform(isa: Isa, side: usize, kind: winograd::TransformKind) -> winograd::Run<$type> {
                winograd::$transform(isa, side, kind)
            }
        }
    )*};
}

/// The instance of `$kernel` for the given number of rows, width and layout.
macro_rules! choose {
    ($kernel:ident $type:ident $vector:ident, $rows:ident $wide:ident $adjacent:ident;
     $($count:literal)*) => {
        match ($rows, $wide, $adjacent) {
            $(($count, false, false) => $kernel::<$type, $vector, $count, 1, false>,
              ($count, false, true) => $kernel::<$type, $vector, $count, 1, true>,
              ($count, true, false) => $kernel::<$type, $vector, $count, WIDE, false>,
              ($count, true, true) => $kernel::<$type, $vector, $count, WIDE, true>,)*
            _ => unreachable!("no kernel has {} rows", $rows),
        }
    };
}

gemm_elements! {
    f32 sgemm, 4 __m256 __m512, Some(AVX2_TRANSPOSER), Some(AVX512_TRANSPOSER), sdots stransform;
    f64 dgemm, 2 __m256d __m512d, None, None, ddots dtransform;
}

macro_rules! kernels {
    ($($(#[$attribute:meta])* $name:ident;)*) => {$(
        /// # Safety
        /// See [`Kernel`].
        $(#[$attribute])*
        unsafe fn $name<T, V, const MR: usize, const NV: usize, const ADJACENT: bool>(tile: &Tile<T>)
        where
            T: Float,
            V: Lanes<T>,
        {
            // SAFETY: the same contract.
            unsafe { multiply::<T, V, MR, NV, ADJACENT>(tile) }
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

/// The body of every kernel; with `ADJACENT` the rows of `a` lie next to one another.
///
/// # Safety
/// See [`Kernel`].
#[inline(always)]
unsafe fn multiply<T, V, const MR: usize, const NV: usize, const ADJACENT: bool>(tile: &Tile<T>)
where
    T: Float,
    V: Lanes<T>,
{
    let a_row = if ADJACENT { 1 } else { tile.a_row };
    // SAFETY: each pointer is used within the bounds that the kernel's contract gives: `a` and `b`
    // at steps `p < depth`, `c` in its own rows and columns, what `finish` points to in all of a whole
    // tile, `edge` within its width.
    unsafe {
        let mut sums = [[V::splat(T::ZERO); NV]; MR];
        if !tile.fetched {
            each_row!(row < MR => {
                for v in 0..NV {
                    prefetch(tile.c.wrapping_add(row * tile.c_row + v * V::LANES));
                }
            });
        }
        let ahead = &*tile.ahead;
        let walks = ahead.walks.get_unchecked(..ahead.count);
        let mut b = tile.b;
        for stretch in 0..tile.stretch_count {
            let start = tile.a.wrapping_add(*tile.stretches.add(stretch));
            // One address for each few rows.
            let mut rows: [*const T; SPANS] =
                std::array::from_fn(|span| start.wrapping_add(span * SPAN * a_row));
            for &walk in walks {
                let Walk { places, mut start, step } = walk;
                for _ in 0..places {
                    let vectors: [V; NV] = std::array::from_fn(|v| V::load(b.add(v * V::LANES)));
                    each_row!(row < MR => {
                        let (span, place) = match ADJACENT {
                            true => (0, row),
                            false => (row / SPAN, row % SPAN),
                        };
                        let factor = V::splat(*rows[span].add(place * a_row));
                        for v in 0..NV {
                            sums[row][v] = sums[row][v].plus_product(factor, vectors[v]);
                        }
                    });
                    for row in rows.iter_mut().take(MR.div_ceil(SPAN)) {
                        *row = in_register(row.wrapping_add(tile.a_step));
                    }
                    b = b.wrapping_add(tile.b_step);
                    for v in 0..NV {
                        prefetch(start.wrapping_add(v * V::LANES));
                    }
                    start = start.wrapping_add(step);
                    if ADJACENT {
                        prefetch(rows[0].wrapping_add(STEPS_AHEAD * tile.a_step));
                    }
                }
            }
        }
        let alpha = V::splat(tile.alpha);
        if tile.columns < NV * V::LANES {
            // A narrower last tile goes through `edge`, which has room for the full width.
            let mut edge = [T::ZERO; MAX_WIDTH];
            each_row!(row < MR => {
                let c = tile.c.add(row * tile.c_row);
                std::ptr::copy_nonoverlapping(c, edge.as_mut_ptr(), tile.columns);
                for (v, sum) in sums[row].into_iter().enumerate() {
                    let edge = edge.as_mut_ptr().add(v * V::LANES);
                    updated(sum, edge, alpha, tile.beta).store(edge);
                }
                std::ptr::copy_nonoverlapping(edge.as_ptr(), c, tile.columns);
            });
            return;
        }
        let at = |row: usize, v: usize| tile.c.add(row * tile.c_row + v * V::LANES);
        if tile.alpha != T::ONE || tile.beta != T::ZERO {
            each_row!(row < MR => {
                for (v, sum) in sums[row].iter_mut().enumerate() {
                    *sum = updated(*sum, at(row, v), alpha, tile.beta);
                }
            });
        }
        // Not a `match`: most often there is nothing to do, and that comes first.
        if let Finish::None = tile.finish {
            each_row!(row < MR => {
                for (v, sum) in sums[row].into_iter().enumerate() {
                    sum.store(at(row, v));
                }
            });
        } else if let Finish::Bias { bias, floor } = tile.finish {
            let bias: [V; NV] = std::array::from_fn(|v| V::load(bias.add(v * V::LANES)));
            let floor = V::splat(floor);
            each_row!(row < MR => {
                for (v, sum) in sums[row].into_iter().enumerate() {
                    sum.plus(bias[v]).at_least(floor).store(at(row, v));
                }
            });
        } else if let Finish::ReluMask { reference, stride } = tile.finish {
            each_row!(row < MR => {
                for (v, sum) in sums[row].into_iter().enumerate() {
                    let reference = V::load(reference.add(row * stride + v * V::LANES));
                    sum.where_positive(reference).store(at(row, v));
                }
            });
        } else {
            each_row!(row < MR => {
                for (v, sum) in sums[row].into_iter().enumerate() {
                    sum.at_least(V::splat(T::ZERO)).store(at(row, v));
                }
            });
        }
    }
}

/// `alpha * sum + beta * c`; with a `beta` of 0 `c` is not read.
///
/// # Safety
/// The vectors' instructions may be used, and `c` can be read for a vector.
#[inline(always)]
unsafe fn updated<T: Float, V: Lanes<T>>(sum: V, c: *const T, alpha: V, beta: T) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        if beta == T::ZERO {
            sum.times(alpha)
        } else if beta == T::ONE {
            V::load(c).plus_product(sum, alpha)
        } else {
            sum.times(alpha).plus_product(V::load(c), V::splat(beta))
        }
    }
}
