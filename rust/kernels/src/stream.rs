//! Stores that go past the caches.

use crate::Element;

/// An output of at least so many bytes is written past the caches: it does not stay in them until it
/// is read again, and a store into a cache reads the line first, half as much traffic again.
const MANY_BYTES: usize = 16 << 20;

/// Writes blocks past the caches; what was written is seen by other threads when it is dropped.
pub(crate) struct Stream(());

impl Stream {
    /// A stream for parts of such an output, if it is worth one.
    pub(crate) fn for_output(bytes: usize) -> Option<Stream> {
        (cfg!(target_arch = "x86_64") && bytes >= MANY_BYTES).then_some(Stream(()))
    }

    /// Copies a block.
    ///
    /// # Panics
    /// If the slices differ in length.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn store<T: Element>(&mut self, from: &[T], to: &mut [T]) {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
        assert_eq!(from.len(), to.len(), "the blocks differ in length");
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

    /// Copies a block.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn store<T: Element>(&mut self, from: &[T], to: &mut [T]) {
        to.copy_from_slice(from);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: every x86-64 has the instruction.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::x86_64::_mm_sfence();
        }
    }
}
