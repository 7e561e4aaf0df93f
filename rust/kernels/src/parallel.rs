//! How a kernel asks its caller for threads, and how it hands out disjoint parts of its output.

use std::marker::PhantomData;

/// How a kernel asks its caller for threads.
pub trait Parallel: Sync {
    /// Runs `task(0)`, .., `task(count - 1)`, each exactly once, in any order and on any thread;
    /// returns when all are done.
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync));
}

/// Runs the tasks in order on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Parallel for Serial {
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(task);
    }
}

/// Cuts `output` into chunks of `chunk` elements (the last may be shorter) and runs
/// `task(index, chunk)` on each.
///
/// # Panics
/// If `chunk` is 0.
pub fn for_each_chunk<T: Send>(
    parallel: &dyn Parallel,
    output: &mut [T],
    chunk: usize,
    task: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    assert!(chunk > 0, "a chunk needs at least one element");
    if output.len() <= chunk {
        if !output.is_empty() {
            task(0, output);
        }
        return;
    }
    let length = output.len();
    let parts = Parts::new(output);
    parallel.for_each(length.div_ceil(chunk), &|index| {
        let start = index * chunk;
        // SAFETY: chunks of different indices do not overlap, and `Parallel` runs each index once.
        let part = unsafe { parts.range(start, chunk.min(length - start)) };
        task(index, part);
    });
}

/// A mutable slice that tasks may take disjoint ranges of.
pub(crate) struct Parts<'a, T> {
    pointer: *mut T,
    length: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: the only access is `range`, whose contract forbids overlap, so sharing a `Parts` is the
// same as sending disjoint `&mut [T]` to other threads, which `T: Send` allows.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Parts { pointer: slice.as_mut_ptr(), length: slice.len(), lifetime: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn pointer(&self) -> *mut T {
        self.pointer
    }

    /// The same memory as elements of another type.
    ///
    /// # Safety
    /// Both types have the same size and alignment, and all bytes of one are an element of the other.
    pub(crate) unsafe fn cast<U>(&self) -> Parts<'a, U> {
        Parts { pointer: self.pointer.cast(), length: self.length, lifetime: PhantomData }
    }

    /// The elements `start..start + length`.
    ///
    /// # Safety
    /// No two ranges that are alive at the same time overlap.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that ranges are disjoint")]
    #[inline(always)]
    pub(crate) unsafe fn range(&self, start: usize, length: usize) -> &mut [T] {
        assert!(start <= self.length && length <= self.length - start, "range beyond the slice");
        // SAFETY: the range lies inside the slice (checked above), which is borrowed mutably for
        // `'a`; the caller promises that no other live range overlaps it.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), length) }
    }
}
