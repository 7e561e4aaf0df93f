//! Zeroed memory on cache-line boundaries.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use crate::error::Error;

/// Alignment of every allocation and of every offset in an arena: a cache line, and the width of
/// the widest vector register.
pub(crate) const ALIGNMENT: usize = 64;

/// Owned bytes, zero at first.
#[derive(Debug)]
pub(crate) struct AlignedBytes {
    pointer: NonNull<u8>,
    length: usize,
}

// SAFETY: the bytes are owned and plain; shared and unique access follow the usual borrow rules.
unsafe impl Send for AlignedBytes {}
// SAFETY: as above; `&AlignedBytes` only gives out `&[u8]`.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// `length` zero bytes; `what` they are for is named in the error.
    pub(crate) fn zeroed(length: usize, what: &str) -> Result<Self, Error> {
        if length == 0 {
            return Ok(Self { pointer: NonNull::dangling(), length });
        }
        let layout = Self::layout(length);
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        match NonNull::new(pointer) {
            Some(pointer) => Ok(Self { pointer, length }),
            None => Err(Error::Memory(format!("{what}: the system has no {length} bytes left"))),
        }
    }

    fn layout(length: usize) -> Layout {
        match Layout::from_size_align(length, ALIGNMENT) {
            Ok(layout) => layout,
            Err(_) => unreachable!("graphs refuse values of more than isize::MAX bytes"),
        }
    }

    /// The address of the first byte.
    pub(crate) fn pointer(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }

    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: the allocation has `length` initialised bytes (it was zeroed).
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }

    /// The bytes, to be changed.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.length) }
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        if self.length != 0 {
            // SAFETY: allocated by `zeroed` with the same layout, and freed once.
            unsafe { dealloc(self.pointer.as_ptr(), Self::layout(self.length)) }
        }
    }
}
