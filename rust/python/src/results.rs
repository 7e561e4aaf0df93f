//! Memory for large results, which their arrays give back when nobody needs them any more: fresh
//! pages from the system take longer to come than many an operation takes to fill them.

use std::ffi::c_int;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use flowrs_engine::AlignedBytes;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::arrays::fill_view;
use crate::errors::engine;

/// Smaller results are the allocator's: it keeps what is freed.
const LEAST_BYTES: usize = 1 << 20;
/// Larger ones are not kept.
const MOST_BYTES: usize = 256 << 20;

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
        let is_large = (LEAST_BYTES..=MOST_BYTES).contains(&bytes);
        Self { shape, dtype, shelf: is_large.then(shelf) }
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
    /// Memory of any content.
    fn take(self: &Arc<Self>) -> PyResult<ResultMemory> {
        let kept = self.free.lock().unwrap_or_else(PoisonError::into_inner).take();
        let memory = match kept {
            Some(memory) => memory,
            None => AlignedBytes::zeroed(self.bytes, "a result").map_err(engine)?,
        };
        Ok(ResultMemory { memory: Some(memory), shelf: Arc::downgrade(self) })
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
        if let Some(shelf) = self.shelf.upgrade() {
            *shelf.free.lock().unwrap_or_else(PoisonError::into_inner) = self.memory.take();
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
            Some(memory) => (memory.pointer(), memory.as_slice().len()),
            None => (std::ptr::null_mut(), 0),
        };
        // SAFETY: Python passes a view to fill in. The memory stays where it is as long as the
        // object lives, and nobody but those who look at it reads or writes it.
        unsafe { fill_view(slf.as_any(), view, flags, (pointer, length), false) }
    }
}
