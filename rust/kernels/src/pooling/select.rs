//! Choices between numbers, lane by lane: in cells of a constant size the compiler makes branches of
//! them.

use crate::isa::Instructions;
use crate::{Element, Float};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Choices between the numbers of cells.
pub trait Select: Sized {
    /// A number that stands for a position: its lowest bits are those of the position, so that it
    /// fills vectors as the elements do and is a byte again at no cost.
    #[doc(hidden)]
    fn from_position(position: u8) -> Self;
    /// The position that a number stands for.
    #[doc(hidden)]
    fn position(self) -> u8;

    /// Where a value exceeds the greatest until now, takes it and `position`.
    ///
    /// # Safety
    /// The CPU has the instructions of `I`, for which the caller is compiled.
    #[doc(hidden)]
    unsafe fn take_greater<I: Instructions, const N: usize>(
        greatest: &mut [Self; N],
        positions: &mut [Self; N],
        values: &[Self; N],
        position: Self,
    );

    /// Adds the gradients of the maxima that were at `position`.
    ///
    /// # Safety
    /// As above.
    #[doc(hidden)]
    unsafe fn add_chosen<I: Instructions, const N: usize>(
        sums: &mut [Self; N],
        positions: &[Self; N],
        gradients: &[Self; N],
        position: Self,
    );
}

/// The choices for vectors whose comparisons give vectors.
#[cfg(target_arch = "x86_64")]
macro_rules! by_vector {
    ($take:ident $add:ident: $lanes:literal $type:ident:
     $load:ident $store:ident $splat:ident $exceeds:ident $equals:ident $and:ident $blend:ident
     $plus:ident) => {
        #[inline(always)]
        pub(super) unsafe fn $take(
            greatest: &mut [$type; $lanes],
            positions: &mut [$type; $lanes],
            values: &[$type; $lanes],
            position: $type,
        ) {
            // SAFETY: the caller's contract, and the arrays have as many numbers as a vector.
            unsafe {
                let (old, value) = ($load(greatest.as_ptr()), $load(values.as_ptr()));
                let better = $exceeds(value, old);
                $store(greatest.as_mut_ptr(), $blend(old, value, better));
                let old = $load(positions.as_ptr());
                $store(positions.as_mut_ptr(), $blend(old, $splat(position), better));
            }
        }

        #[inline(always)]
        pub(super) unsafe fn $add(
            sums: &mut [$type; $lanes],
            positions: &[$type; $lanes],
            gradients: &[$type; $lanes],
            position: $type,
        ) {
            // SAFETY: as above.
            unsafe {
                let chosen = $equals($load(positions.as_ptr()), $splat(position));
                let gradient = $and($load(gradients.as_ptr()), chosen);
                $store(sums.as_mut_ptr(), $plus($load(sums.as_ptr()), gradient));
            }
        }
    };
}

/// The choices for vectors whose comparisons give masks.
#[cfg(target_arch = "x86_64")]
macro_rules! by_mask {
    ($take:ident $add:ident: $lanes:literal $type:ident:
     $load:ident $store:ident $splat:ident $compare:ident $and_compare:ident $blend:ident
     $plus:ident) => {
        #[inline(always)]
        pub(super) unsafe fn $take(
            greatest: &mut [$type; $lanes],
            positions: &mut [$type; $lanes],
            values: &[$type; $lanes],
            position: $type,
        ) {
            // SAFETY: the caller's contract, and the arrays have as many numbers as a vector.
            unsafe {
                let (old, value) = ($load(greatest.as_ptr()), $load(values.as_ptr()));
                let number = $compare::<_CMP_ORD_Q>(old, old);
                let better = $and_compare::<_CMP_NLE_UQ>(number, value, old);
                $store(greatest.as_mut_ptr(), $blend(better, old, value));
                let old = $load(positions.as_ptr());
                $store(positions.as_mut_ptr(), $blend(better, old, $splat(position)));
            }
        }

        #[inline(always)]
        pub(super) unsafe fn $add(
            sums: &mut [$type; $lanes],
            positions: &[$type; $lanes],
            gradients: &[$type; $lanes],
            position: $type,
        ) {
            // SAFETY: as above.
            unsafe {
                let chosen = $compare::<_CMP_EQ_OQ>($load(positions.as_ptr()), $splat(position));
                let gradient = $blend(chosen, $splat(0.0), $load(gradients.as_ptr()));
                $store(sums.as_mut_ptr(), $plus($load(sums.as_ptr()), gradient));
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use super::*;

    /// Comparisons and choices of vectors without masks; see [`exceeds`].
    macro_rules! comparisons {
        ($vector:ident $features:literal: $exceeds:ident $number:expr, $greater:expr, $and:ident;
         $equals:ident $equal:expr; |$old:ident, $new:ident, $better:ident| $blend:ident $blended:expr) => {
            #[inline]
            #[target_feature(enable = $features)]
            fn $exceeds(value: $vector, best: $vector) -> $vector {
                $and($greater(value, best), $number(best, best))
            }
            #[inline]
            #[target_feature(enable = $features)]
            fn $equals(a: $vector, b: $vector) -> $vector {
                $equal(a, b)
            }
            #[inline]
            #[target_feature(enable = $features)]
            fn $blend($old: $vector, $new: $vector, $better: $vector) -> $vector {
                $blended
            }
        };
    }
    comparisons!(__m128 "sse2": exceeds_4_f32 _mm_cmpord_ps, _mm_cmpnle_ps, _mm_and_ps;
        equal_4_f32 _mm_cmpeq_ps; |old, new, better| blend_4_f32
        _mm_or_ps(_mm_and_ps(better, new), _mm_andnot_ps(better, old)));
    comparisons!(__m128d "sse2": exceeds_2_f64 _mm_cmpord_pd, _mm_cmpnle_pd, _mm_and_pd;
        equal_2_f64 _mm_cmpeq_pd; |old, new, better| blend_2_f64
        _mm_or_pd(_mm_and_pd(better, new), _mm_andnot_pd(better, old)));
    comparisons!(__m256 "avx": exceeds_8_f32 _mm256_cmp_ps::<_CMP_ORD_Q>,
        _mm256_cmp_ps::<_CMP_NLE_UQ>, _mm256_and_ps; equal_8_f32 _mm256_cmp_ps::<_CMP_EQ_OQ>;
        |old, new, better| blend_8_f32 _mm256_blendv_ps(old, new, better));
    comparisons!(__m256d "avx": exceeds_4_f64 _mm256_cmp_pd::<_CMP_ORD_Q>,
        _mm256_cmp_pd::<_CMP_NLE_UQ>, _mm256_and_pd; equal_4_f64 _mm256_cmp_pd::<_CMP_EQ_OQ>;
        |old, new, better| blend_4_f64 _mm256_blendv_pd(old, new, better));

    by_vector!(take_4_f32 add_4_f32: 4 f32: _mm_loadu_ps _mm_storeu_ps _mm_set1_ps
        exceeds_4_f32 equal_4_f32 _mm_and_ps blend_4_f32 _mm_add_ps);
    by_vector!(take_2_f64 add_2_f64: 2 f64: _mm_loadu_pd _mm_storeu_pd _mm_set1_pd
        exceeds_2_f64 equal_2_f64 _mm_and_pd blend_2_f64 _mm_add_pd);
    by_vector!(take_8_f32 add_8_f32: 8 f32: _mm256_loadu_ps _mm256_storeu_ps
        _mm256_set1_ps exceeds_8_f32 equal_8_f32 _mm256_and_ps blend_8_f32 _mm256_add_ps);
    by_vector!(take_4_f64 add_4_f64: 4 f64: _mm256_loadu_pd _mm256_storeu_pd
        _mm256_set1_pd exceeds_4_f64 equal_4_f64 _mm256_and_pd blend_4_f64 _mm256_add_pd);
    by_mask!(take_16_f32 add_16_f32: 16 f32: _mm512_loadu_ps _mm512_storeu_ps
        _mm512_set1_ps _mm512_cmp_ps_mask _mm512_mask_cmp_ps_mask _mm512_mask_blend_ps
        _mm512_add_ps);
    by_mask!(take_8_f64 add_8_f64: 8 f64: _mm512_loadu_pd _mm512_storeu_pd
        _mm512_set1_pd _mm512_cmp_pd_mask _mm512_mask_cmp_pd_mask _mm512_mask_blend_pd
        _mm512_add_pd);
}

macro_rules! selects {
    ($($type:ident $bits:ident $first:literal: $lanes5:literal $take5:ident $add5:ident,
       $lanes4:literal $take4:ident $add4:ident,
       $lanes3:literal $take3:ident $add3:ident;)*) => {$(
        impl Select for $type {
            #[inline(always)]
            fn from_position(position: u8) -> Self {
                Self::from_bits($first.to_bits() | $bits::from(position))
            }

            #[inline(always)]
            fn position(self) -> u8 {
                self.to_bits() as u8
            }

            #[inline(always)]
            unsafe fn take_greater<I: Instructions, const N: usize>(
                greatest: &mut [Self; N],
                positions: &mut [Self; N],
                values: &[Self; N],
                position: Self,
            ) {
                #[cfg(target_arch = "x86_64")]
                selects!(@vectors I N, $lanes5 $take5, $lanes4 $take4, $lanes3 $take3;
                    (as_chunks_mut greatest), (as_chunks_mut positions), (as_chunks values); position);
                match N {
                    1 => take_greater(greatest, positions, values, position),
                    _ => take_greater_vectors(greatest, positions, values, position),
                }
            }

            #[inline(always)]
            unsafe fn add_chosen<I: Instructions, const N: usize>(
                sums: &mut [Self; N],
                positions: &[Self; N],
                gradients: &[Self; N],
                position: Self,
            ) {
                #[cfg(target_arch = "x86_64")]
                selects!(@vectors I N, $lanes5 $add5, $lanes4 $add4, $lanes3 $add3;
                    (as_chunks_mut sums), (as_chunks positions), (as_chunks gradients); position);
                match N {
                    1 => add_chosen(sums, positions, gradients, position),
                    _ => add_chosen_vectors(sums, positions, gradients, position),
                }
            }
        }
    )*};
    // The first vectors that fit: of the instruction set and a cell.
    (@vectors $i:ident $n:ident, $($lanes:literal $function:ident),*;
     ($a_chunks:ident $a:ident), ($b_chunks:ident $b:ident), ($c_chunks:ident $c:ident);
     $position:ident) => {
        $(if $lanes * size_of::<Self>() <= $i::VECTOR_BYTES && $n.is_multiple_of($lanes) {
            let (a, b) = ($a.$a_chunks::<$lanes>().0, $b.$b_chunks::<$lanes>().0);
            for ((a, b), c) in a.into_iter().zip(b).zip($c.$c_chunks::<$lanes>().0) {
                // SAFETY: the caller's contract: vectors as long as this are among its instructions.
                unsafe { vectors::$function(a, b, c, $position) };
            }
            return;
        })*
    };
}

selects! {
    f32 u32 8388608f32: 16 take_16_f32 add_16_f32, 8 take_8_f32 add_8_f32,
        4 take_4_f32 add_4_f32;
    f64 u64 4503599627370496f64: 8 take_8_f64 add_8_f64, 4 take_4_f64 add_4_f64,
        2 take_2_f64 add_2_f64;
}

/// Whether `value` goes before `best` as the maximum; NaN goes before all else.
#[inline(always)]
pub(super) fn exceeds<T: Element>(value: T, best: T) -> bool {
    (value > best) | (value.is_nan() & !best.is_nan())
}

/// See [`Select::take_greater`].
#[inline(always)]
fn take_greater<T: Element>(greatest: &mut [T], positions: &mut [T], values: &[T], position: T) {
    for ((greatest, at), value) in greatest.iter_mut().zip(positions).zip(values) {
        let better = exceeds(*value, *greatest);
        *greatest = if better { *value } else { *greatest };
        *at = if better { position } else { *at };
    }
}

/// See [`Select::add_chosen`].
#[inline(always)]
fn add_chosen<T: Float>(sums: &mut [T], positions: &[T], gradients: &[T], position: T) {
    for ((sum, at), gradient) in sums.iter_mut().zip(positions).zip(gradients) {
        *sum += if *at == position { *gradient } else { T::ZERO };
    }
}

/// As [`take_greater`]: by itself, where the length is unknown, the loop is vectorised.
#[inline(never)]
fn take_greater_vectors<T: Element>(
    greatest: &mut [T],
    positions: &mut [T],
    values: &[T],
    position: T,
) {
    take_greater(greatest, positions, values, position);
}

/// As [`add_chosen`], likewise.
#[inline(never)]
fn add_chosen_vectors<T: Float>(sums: &mut [T], positions: &[T], gradients: &[T], position: T) {
    add_chosen(sums, positions, gradients, position);
}
