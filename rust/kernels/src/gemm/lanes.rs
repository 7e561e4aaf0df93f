//! Vectors for the product kernels.
//!
//! Elsewhere the compiler's own vectorisation does; here a tile's sums must stay in registers
//! through the whole depth, and plain arrays of them ended up in memory.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Asks for the cache line at `address`, which need not be valid.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    // SAFETY: a prefetch touches no memory as far as the program can tell, and faults nowhere.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(address.cast())
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The same address, in a register of its own. From one address the compiler derives those of all rows,
/// each from the one before: a chain of additions as long as a step's multiplications take.
#[inline(always)]
pub(super) fn in_register<T>(mut address: *const T) -> *const T {
    // SAFETY: there is no instruction, but a comment.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    unsafe {
        std::arch::asm!(
            "/* {0} */",
            inout(reg) address,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = &mut address;
    address
}

/// A vector of `T`.
///
/// # Safety
/// All methods may be called only where the CPU has the vector's instructions, and inlined into a
/// function compiled for them; the pointers must allow reading or writing `LANES` elements.
pub trait Lanes<T>: Copy {
    /// Elements per vector.
    const LANES: usize;

    unsafe fn splat(value: T) -> Self;
    unsafe fn load(from: *const T) -> Self;
    unsafe fn store(self, to: *mut T);
    unsafe fn plus(self, other: Self) -> Self;
    unsafe fn minus(self, other: Self) -> Self;
    unsafe fn times(self, factor: Self) -> Self;
    /// The greater of each element and that of `floor`; NaN stays NaN.
    unsafe fn at_least(self, floor: Self) -> Self;
    /// 0 where an element of `reference` is not positive.
    unsafe fn where_positive(self, reference: Self) -> Self;
    /// `self + a * b`
    unsafe fn plus_product(self, a: Self, b: Self) -> Self;
}

macro_rules! vectors {
    ($($vector:ident of $count:literal $type:ident:
       $splat:ident $load:ident $store:ident $plus:ident $minus:ident $times:ident $greater:ident
       $multiply_add:ident $where_positive:ident;)*) => {$(
        #[cfg(target_arch = "x86_64")]
        impl Lanes<$type> for $vector {
            const LANES: usize = $count;

            #[inline(always)]
            unsafe fn splat(value: $type) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $splat(value) }
            }
            #[inline(always)]
            unsafe fn load(from: *const $type) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $type) {
                // SAFETY: the trait's contract.
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn plus(self, other: Self) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $plus(self, other) }
            }
            #[inline(always)]
            unsafe fn minus(self, other: Self) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $minus(self, other) }
            }
            #[inline(always)]
            unsafe fn at_least(self, floor: Self) -> Self {
                // If one is NaN, or both are zeros, the instruction gives the second.
                // SAFETY: the trait's contract.
                unsafe { $greater(floor, self) }
            }
            #[inline(always)]
            unsafe fn where_positive(self, reference: Self) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $where_positive(self, reference) }
            }
            #[inline(always)]
            unsafe fn times(self, factor: Self) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $times(self, factor) }
            }
            #[inline(always)]
            unsafe fn plus_product(self, a: Self, b: Self) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $multiply_add(a, b, self) }
            }
        }
    )*};
}

macro_rules! where_positive {
    ($($name:ident $vector:ident, $feature:literal: $kept:expr;)*) => {$(
        /// The elements of `values` where those of `reference` are positive, else 0.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $feature)]
        #[inline]
        fn $name(values: $vector, reference: $vector) -> $vector {
            $kept(values, reference)
        }
    )*};
}

where_positive! {
    positive_512_ps __m512, "avx512f": |values, reference| {
        _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(reference, _mm512_setzero_ps()), values)
    };
    positive_512_pd __m512d, "avx512f": |values, reference| {
        _mm512_maskz_mov_pd(_mm512_cmp_pd_mask::<_CMP_GT_OQ>(reference, _mm512_setzero_pd()), values)
    };
    positive_256_ps __m256, "avx": |values, reference| {
        _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(reference, _mm256_setzero_ps()), values)
    };
    positive_256_pd __m256d, "avx": |values, reference| {
        _mm256_and_pd(_mm256_cmp_pd::<_CMP_GT_OQ>(reference, _mm256_setzero_pd()), values)
    };
}

vectors! {
    __m512 of 16 f32: _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_sub_ps
        _mm512_mul_ps _mm512_max_ps _mm512_fmadd_ps positive_512_ps;
    __m512d of 8 f64: _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_add_pd _mm512_sub_pd
        _mm512_mul_pd _mm512_max_pd _mm512_fmadd_pd positive_512_pd;
    __m256 of 8 f32: _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps
        _mm256_mul_ps _mm256_max_ps _mm256_fmadd_ps positive_256_ps;
    __m256d of 4 f64: _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_add_pd _mm256_sub_pd
        _mm256_mul_pd _mm256_max_pd _mm256_fmadd_pd positive_256_pd;
}

/// A vector in plain Rust.
#[derive(Clone, Copy)]
pub struct Plain<T, const N: usize>([T; N]);

impl<T: crate::Float, const N: usize> Lanes<T> for Plain<T, N> {
    const LANES: usize = N;

    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        Plain([value; N])
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the trait's contract; `read_unaligned` needs no alignment.
        Plain(unsafe { from.cast::<[T; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the trait's contract; `write_unaligned` needs no alignment.
        unsafe { to.cast::<[T; N]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn plus(self, other: Self) -> Self {
        Plain(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
    #[inline(always)]
    unsafe fn minus(self, other: Self) -> Self {
        Plain(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }
    #[inline(always)]
    unsafe fn at_least(self, floor: Self) -> Self {
        let greater = |i| if self.0[i] < floor.0[i] { floor.0[i] } else { self.0[i] };
        Plain(std::array::from_fn(greater))
    }
    #[inline(always)]
    unsafe fn where_positive(self, reference: Self) -> Self {
        let kept = |i| if reference.0[i] > T::ZERO { self.0[i] } else { T::ZERO };
        Plain(std::array::from_fn(kept))
    }
    #[inline(always)]
    unsafe fn times(self, factor: Self) -> Self {
        Plain(std::array::from_fn(|i| self.0[i] * factor.0[i]))
    }
    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        Plain(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }
}

/// The vectors of an element type, of 64, 32 and 16 bytes: kernels take those that
/// [`Instructions::VECTOR_BYTES`](crate::isa::Instructions) allows.
pub trait Vectors: Sized {
    #[doc(hidden)]
    type V64: Lanes<Self>;
    #[doc(hidden)]
    type V32: Lanes<Self>;
    #[doc(hidden)]
    type V16: Lanes<Self>;
}

macro_rules! vectors_of {
    ($($type:ident: $v64:ident $v32:ident $lanes:literal;)*) => {$(
        #[cfg(target_arch = "x86_64")]
        impl Vectors for $type {
            type V64 = $v64;
            type V32 = $v32;
            type V16 = Plain<$type, $lanes>;
        }
        #[cfg(not(target_arch = "x86_64"))]
        impl Vectors for $type {
            type V64 = Plain<$type, $lanes>;
            type V32 = Plain<$type, $lanes>;
            type V16 = Plain<$type, $lanes>;
        }
    )*};
}

vectors_of! {
    f32: __m512 __m256 4;
    f64: __m512d __m256d 2;
}
