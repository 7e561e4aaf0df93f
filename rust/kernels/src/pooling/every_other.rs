//! Every other element of an array, as vectors.

use crate::Element;
use crate::isa::Instructions;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Copies the elements 0, 2, 4, .. of `from` to `to`.
///
/// # Safety
/// The CPU has the instructions of `I`, for which the caller is compiled.
///
/// # Panics
/// If `from` has fewer than `2 * N - 1` elements.
#[inline(always)]
pub(super) unsafe fn every_other<I: Instructions, T: Element, const N: usize>(
    from: &[T],
    to: &mut [T; N],
) {
    let from = &from[..2 * N - 1];
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! by_vectors {
            ($($type:ident $lanes:literal $pick:ident),*) => {
                $(if size_of::<T>() == size_of::<$type>()
                    && $lanes * size_of::<T>() <= I::VECTOR_BYTES
                    && N.is_multiple_of($lanes)
                {
                    for first in (0..N).step_by($lanes) {
                        // SAFETY: the caller's contract: vectors as long as this are among its
                        // instructions. From `2 * first` on there are at least `2 * lanes - 1` elements,
                        // from `first` on `lanes` places; any bits are numbers, and are only moved.
                        unsafe {
                            let from = from.as_ptr().add(2 * first).cast::<$type>();
                            vectors::$pick(from, to.as_mut_ptr().add(first).cast());
                        }
                    }
                    return;
                })*
            };
        }
        by_vectors!(f32 16 pick_16, f32 8 pick_8, f32 4 pick_4, f64 8 pick_8_f64, f64 4 pick_4_f64,
            f64 2 pick_2_f64);
    }
    to.iter_mut().zip(from.iter().step_by(2)).for_each(|(to, from)| *to = *from);
}

/// Every other one of `2 * lanes - 1` elements, by two vectors of `lanes`. The second vector begins one element
/// early, since there may be none where it would end: of the first the even lanes are wanted, of the
/// second the odd ones.
#[cfg(target_arch = "x86_64")]
mod vectors {
    use super::*;

    macro_rules! pick {
        ($($name:ident $type:ident $lanes:literal $load:ident $store:ident:
           |$low:ident, $high:ident| $pick:expr;)*) => {
            $(
                /// # Safety
                /// The CPU has the instructions, for which the caller is compiled; from `from` on
                /// `2 * lanes - 1` elements can be read, from `to` on `lanes` written.
                #[inline(always)]
                pub(super) unsafe fn $name(from: *const $type, to: *mut $type) {
                    // SAFETY: the caller's contract.
                    unsafe {
                        let ($low, $high) = ($load(from), $load(from.add($lanes - 1)));
                        $store(to, $pick);
                    }
                }
            )*
        };
    }

    /// Lanes 0 and 2 of the first four, then 1 and 3 of the second.
    const FOURS: i32 = 0b11_01_10_00;
    /// Quarters of a vector of 32 bytes that was made of halves: the even ones, then the odd ones.
    const QUARTERS: i32 = 0b11_01_10_00;

    pick! {
        pick_4 f32 4 _mm_loadu_ps _mm_storeu_ps: |low, high| _mm_shuffle_ps::<FOURS>(low, high);
        pick_2_f64 f64 2 _mm_loadu_pd _mm_storeu_pd: |low, high| _mm_shuffle_pd::<0b10>(low, high);
        pick_8 f32 8 _mm256_loadu_ps _mm256_storeu_ps: |low, high| {
            let halves = _mm256_castps_pd(_mm256_shuffle_ps::<FOURS>(low, high));
            _mm256_castpd_ps(_mm256_permute4x64_pd::<QUARTERS>(halves))
        };
        pick_4_f64 f64 4 _mm256_loadu_pd _mm256_storeu_pd: |low, high| {
            _mm256_permute4x64_pd::<QUARTERS>(_mm256_shuffle_pd::<0b1010>(low, high))
        };
        pick_16 f32 16 _mm512_loadu_ps _mm512_storeu_ps: |low, high| {
            let lanes = _mm512_set_epi32(
                31, 29, 27, 25, 23, 21, 19, 17, 14, 12, 10, 8, 6, 4, 2, 0,
            );
            _mm512_permutex2var_ps(low, lanes, high)
        };
        pick_8_f64 f64 8 _mm512_loadu_pd _mm512_storeu_pd: |low, high| {
            _mm512_permutex2var_pd(low, _mm512_set_epi64(15, 13, 11, 9, 6, 4, 2, 0), high)
        };
    }
}
