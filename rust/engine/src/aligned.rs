//! Zeroed memory on cache-line boundaries, and in huge pages where it is large.

use std::alloc::{Layout, alloc, dealloc};
use std::fmt;
use std::ptr::NonNull;

use crate::error::Error;

/// Alignment of every allocation and of every offset in an arena: a cache line, and the width of
/// the widest vector register.
pub(crate) const ALIGNMENT: usize = 64;

/// Bytes of a huge page. Kernels walk through rows that lie kilobytes apart, and in pages of 4 KiB
/// miss an entry for the address translation at each: Winograd's convolutions take 3 to 10 % longer.
const HUGE_PAGE: usize = 2 << 20;
/// So many bytes are given a huge page of their own.
const MOST_OF_A_HUGE_PAGE: usize = HUGE_PAGE / 4 * 3;

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

/// Owned bytes.
pub struct AlignedBytes {
    pointer: NonNull<u8>,
    length: usize,
    owner: Owner,
}

/// Whose the bytes are.
enum Owner {
    /// Of no one: there are none.
    Nobody,
    /// Of the allocator, which gave them for this layout.
    Allocator(Layout),
    /// Of memory that was made elsewhere.
    Foreign { _memory: Box<dyn ForeignMemory> },
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
    ///
    /// # Errors
    /// [`Error::Memory`] if the system has not as many.
    pub fn zeroed(length: usize, what: &str) -> Result<Self, Error> {
        // SAFETY: they are written before anybody sees them.
        let bytes = unsafe { Self::unwritten(length, what) }?;
        // SAFETY: `length` bytes were allocated, if there are any.
        unsafe { bytes.pointer.write_bytes(0, length) };
        Ok(bytes)
    }

    /// The same without any content.
    ///
    /// # Safety
    /// [`as_slice`](Self::as_slice) and [`as_mut_slice`](Self::as_mut_slice) are called only when all
    /// bytes have been written, through [`pointer`](Self::pointer).
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    pub unsafe fn unwritten(length: usize, what: &str) -> Result<Self, Error> {
        if length == 0 {
            return Ok(Self { pointer: NonNull::dangling(), length, owner: Owner::Nobody });
        }
        let full = || Error::Memory(format!("{what}: the system has no {length} bytes left"));
        let layout = layout(length).ok_or_else(full)?;
        // SAFETY: the layout's size is not zero.
        let pointer = NonNull::new(unsafe { alloc(layout) }).ok_or_else(full)?;
        ask_for_huge_pages(pointer, layout);
        Ok(Self { pointer, length, owner: Owner::Allocator(layout) })
    }

    /// Memory that was made elsewhere, if its beginning is aligned as ours would be.
    pub(crate) fn foreign(
        mut memory: Box<dyn ForeignMemory>,
    ) -> Result<Self, Box<dyn ForeignMemory>> {
        let bytes = memory.bytes_mut();
        let (pointer, length) = (bytes.as_mut_ptr(), bytes.len());
        match NonNull::new(pointer) {
            Some(pointer) if length > 0 && pointer.addr().get().is_multiple_of(ALIGNMENT) => {
                Ok(Self { pointer, length, owner: Owner::Foreign { _memory: memory } })
            }
            _ => Err(memory),
        }
    }

    /// The number of bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The address of the first byte.
    pub fn pointer(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the allocation has `length` initialised bytes (it was zeroed, the caller of
        // `unwritten` says so, or it is a slice of an owner that lives as long and promises that its
        // bytes stay there).
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }

    /// The bytes, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.length) }
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        if let Owner::Allocator(layout) = self.owner {
            // SAFETY: it was allocated by `zeroed` with this layout, and is freed once.
            unsafe { dealloc(self.pointer.as_ptr(), layout) }
        }
    }
}

/// Huge pages, and small ones for the rest unless it fills most of a huge one. None for more bytes than
/// there are addresses.
fn layout(length: usize) -> Option<Layout> {
    let (whole, rest) = (length / HUGE_PAGE * HUGE_PAGE, length % HUGE_PAGE);
    let size = if rest < MOST_OF_A_HUGE_PAGE { length } else { whole.checked_add(HUGE_PAGE)? };
    let alignment = if size < HUGE_PAGE { ALIGNMENT } else { HUGE_PAGE };
    Layout::from_size_align(size, alignment).ok()
}

/// Asks the system to back the whole huge pages of an allocation by such. It may decline: then
/// only the speed differs.
fn ask_for_huge_pages(pointer: NonNull<u8>, layout: Layout) {
    let length = layout.size() / HUGE_PAGE * HUGE_PAGE;
    #[cfg(target_os = "linux")]
    if layout.align() == HUGE_PAGE && length > 0 {
        // SAFETY: the range was just allocated, in whole pages, and the advice changes no content.
        unsafe { libc::madvise(pointer.as_ptr().cast(), length, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (pointer, length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_memory_begins_at_a_huge_page_and_wastes_little() {
        let most = MOST_OF_A_HUGE_PAGE;
        let cases = [
            (1, 1, ALIGNMENT),
            (most - 1, most - 1, ALIGNMENT),
            (most, HUGE_PAGE, HUGE_PAGE),
            (HUGE_PAGE + 1, HUGE_PAGE + 1, HUGE_PAGE),
            (3 * HUGE_PAGE - 1, 3 * HUGE_PAGE, HUGE_PAGE),
        ];
        for (length, size, alignment) in cases {
            let layout = layout(length).expect("a layout");
            assert_eq!((layout.size(), layout.align()), (size, alignment), "of {length} bytes");
            let mut memory = AlignedBytes::zeroed(length, "a test").expect("some memory");
            assert!(memory.pointer().addr().is_multiple_of(alignment));
            assert!(memory.as_slice().iter().all(|&byte| byte == 0), "{length} zero bytes");
            memory.as_mut_slice().fill(1);
        }
    }

    #[test]
    fn memory_that_the_system_has_not_is_an_error_that_says_what_for() {
        for length in [isize::MAX as usize - 4 * HUGE_PAGE, isize::MAX as usize, usize::MAX] {
            let error = AlignedBytes::zeroed(length, "variable w");
            assert!(error.expect_err("too much").to_string().contains("variable w"));
        }
    }
}
