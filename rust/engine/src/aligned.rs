//! Zeroed memory on cache-line boundaries.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::ptr::NonNull;

use crate::error::Error;

/// Alignment of every allocation and of every offset in an arena: a cache line, and the width of
/// the widest vector register.
pub(crate) const ALIGNMENT: usize = 64;

/// Memory that somebody else made, to be owned and written by a variable.
///
/// # Safety
///
/// The bytes stay where they are, and are nobody else's, as long as the value lives; also when it is
/// moved.
pub unsafe trait ForeignMemory: Send + Sync {
    /// The bytes.
    fn bytes_mut(&mut self) -> &mut [u8];
}

/// Owned bytes, zero at first.
pub(crate) struct AlignedBytes {
    pointer: NonNull<u8>,
    length: usize,
    /// Where the bytes are if they were not allocated here.
    owner: Option<Box<dyn ForeignMemory>>,
}

impl fmt::Debug for AlignedBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AlignedBytes({})", self.length)
    }
}

// SAFETY: the bytes are owned and plain; shared and unique access follow the usual borrow rules.
unsafe impl Send for AlignedBytes {}
// SAFETY: as above; `&AlignedBytes` only gives out `&[u8]`.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// `length` zero bytes; `what` they are for is named in the error.
    pub(crate) fn zeroed(length: usize, what: &str) -> Result<Self, Error> {
        if length == 0 {
            return Ok(Self { pointer: NonNull::dangling(), length, owner: None });
        }
        let layout = Self::layout(length);
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        match NonNull::new(pointer) {
            Some(pointer) => Ok(Self { pointer, length, owner: None }),
            None => Err(Error::Memory(format!("{what}: the system has no {length} bytes left"))),
        }
    }

    /// Memory that was made elsewhere, if its beginning is aligned as ours would be.
    pub(crate) fn foreign(
        mut owner: Box<dyn ForeignMemory>,
    ) -> Result<Self, Box<dyn ForeignMemory>> {
        let bytes = owner.bytes_mut();
        let (pointer, length) = (bytes.as_mut_ptr(), bytes.len());
        match NonNull::new(pointer) {
            Some(pointer) if length > 0 && pointer.addr().get().is_multiple_of(ALIGNMENT) => {
                Ok(Self { pointer, length, owner: Some(owner) })
            }
            _ => Err(owner),
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
        // SAFETY: the allocation has `length` initialised bytes (it was zeroed, or is a slice of an
        // owner that lives as long and promises that its bytes stay there).
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
        if self.length != 0 && self.owner.is_none() {
            // SAFETY: without an owner it was allocated by `zeroed` with the same layout, and is
            // freed once.
            unsafe { dealloc(self.pointer.as_ptr(), Self::layout(self.length)) }
        }
    }
}
