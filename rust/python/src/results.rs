//! Memory for large results, which their arrays give back when nobody needs them any more: fresh
//! pages from the system take longer to come than many an operation takes to fill them.

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use flowrs_engine::AlignedBytes;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::arrays::fill_view;
use crate::errors::engine;

/// Smaller results are the allocator's: it keeps what is freed.
const LEAST_BYTES: usize = 1 << 20;
/// Bytes that wait for next calls at most, of all jobs together.
const MOST_BYTES: usize = 256 << 20;
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// How the arrays of a result are made.
pub(crate) struct ResultArray {
    shape: Py<PyAny>,
    dtype: Py<PyAny>,
    /// For a large one.
    shelf: Option<Arc<Shelf>>,
}

impl ResultArray {
    /// For arrays of this shape and dtype, and so many bytes.
    pub(crate) fn new(shape: Py<PyAny>, dtype: Py<PyAny>, bytes: usize) -> Self {
        let shelf = || Arc::new(Shelf { bytes, free: Mutex::new(None) });
        Self { shape, dtype, shelf: (bytes >= LEAST_BYTES).then(shelf) }
    }

    /// An array of any content, by `numpy.empty` or, of memory that is there, by `numpy.ndarray`.
    pub(crate) fn make<'py>(
        &self,
        empty: &Bound<'py, PyAny>,
        array: &Bound<'py, PyType>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match &self.shelf {
            None => empty.call1((&self.shape, &self.dtype)),
            Some(shelf) => {
                let memory = Bound::new(array.py(), shelf.take()?)?;
                array.call1((&self.shape, &self.dtype, memory))
            }
        }
    }
}

/// Where the memory of a job's result waits for the next call: of one array, since a loop that
/// assigns its result has two at a time.
struct Shelf {
    bytes: usize,
    free: Mutex<Option<AlignedBytes>>,
}

impl Shelf {
    /// What is on it.
    fn clear(&self) -> Option<AlignedBytes> {
        let memory = self.free.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        WAITING.fetch_sub(self.bytes, Ordering::Relaxed);
        Some(memory)
    }

    /// Memory of any content.
    fn take(self: &Arc<Self>) -> PyResult<ResultMemory> {
        let memory = match self.clear() {
            Some(memory) => memory,
            // SAFETY: nobody here makes a slice of the bytes; what looks at them are arrays, which, as
            // those of `numpy.empty`, have any content until they are written.
            None => unsafe { AlignedBytes::unwritten(self.bytes, "a result") }.map_err(engine)?,
        };
        Ok(ResultMemory { memory: Some(memory), shelf: Arc::downgrade(self) })
    }

    /// Puts memory there, if there is room.
    fn put(&self, memory: AlignedBytes) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let more = |waiting: usize| {
            waiting.checked_add(self.bytes).filter(|waiting| *waiting <= MOST_BYTES)
        };
        let order = Ordering::Relaxed;
        if free.is_none() && WAITING.fetch_update(order, order, more).is_ok() {
            *free = Some(memory);
        }
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The memory of a result, alive as long as an array looks at it.
#[pyclass(frozen, module = "flowrs._flowrs")]
struct ResultMemory {
    /// Taken only when this is dropped.
    memory: Option<AlignedBytes>,
    shelf: Weak<Shelf>,
}

impl Drop for ResultMemory {
    fn drop(&mut self) {
        if let (Some(shelf), Some(memory)) = (self.shelf.upgrade(), self.memory.take()) {
            shelf.put(memory);
        }
    }
}

#[pymethods]
impl ResultMemory {
    /// # Safety
    ///
    /// Called by Python with a view to fill in.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let (pointer, length) = match &slf.get().memory {
            Some(memory) => (memory.pointer(), memory.length()),
            None => (std::ptr::null_mut(), 0),
        };
        // SAFETY: Python passes a view to fill in. The memory stays where it is as long as the
        // object lives, and nobody but those who look at it reads or writes it.
        unsafe { fill_view(slf.as_any(), view, flags, (pointer, length), false) }
    }
}
