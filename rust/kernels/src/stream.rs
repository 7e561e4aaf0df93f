//! Large outputs, which are written past the caches.

use crate::Element;

/// An output of at least so many bytes does not stay in the caches until it is read again, and a
/// store into them reads the line first: half as much traffic again.
const LARGE: usize = 16 << 20;

/// How the parts of an output are written: in place, or, if it is large, by way of a buffer and past
/// the caches. Other threads may read what was written when this is dropped.
pub(crate) struct Writer<T> {
    is_large: bool,
    buffer: Vec<T>,
}

impl<T: Element> Writer<T> {
    /// For a part of an output of so many elements.
    pub(crate) fn new(elements: usize) -> Self {
        let is_large = cfg!(target_arch = "x86_64") && elements * size_of::<T>() >= LARGE;
        Self { is_large, buffer: Vec::new() }
    }

    /// Has `compute` write a piece, small enough for the nearest cache.
    #[inline(always)]
    pub(crate) fn write(&mut self, piece: &mut [T], compute: impl FnOnce(&mut [T])) {
        if !self.is_large {
            return compute(piece);
        }
        if self.buffer.len() < piece.len() {
            self.buffer.resize(piece.len(), T::ZERO);
        }
        let buffer = &mut self.buffer[..piece.len()];
        compute(buffer);
        store(buffer, piece);
    }
}

/// Copies elements past the caches.
#[cfg(target_arch = "x86_64")]
fn store<T: Element>(from: &[T], to: &mut [T]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    assert_eq!(from.len(), to.len(), "the pieces differ in length");
    // SAFETY: elements are plain numbers, any bits of which are an `__m128i` and the reverse.
    let (head, body, tail) = unsafe { to.align_to_mut::<__m128i>() };
    let (from_head, rest) = from.split_at(head.len());
    let (from_body, from_tail) = rest.split_at(rest.len() - tail.len());
    head.copy_from_slice(from_head);
    tail.copy_from_slice(from_tail);
    let source = from_body.as_ptr().cast::<__m128i>();
    for (index, target) in body.iter_mut().enumerate() {
        // SAFETY: `from_body` has as many bytes as `body`, and the target is aligned.
        unsafe { _mm_stream_si128(target, _mm_loadu_si128(source.add(index))) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn store<T: Element>(from: &[T], to: &mut [T]) {
    to.copy_from_slice(from);
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.is_large {
            // SAFETY: every x86-64 has the instruction.
            unsafe { std::arch::x86_64::_mm_sfence() };
        }
    }
}
