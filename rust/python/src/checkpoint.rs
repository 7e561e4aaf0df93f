//! Opened checkpoints for Python.

use std::ffi::c_int;
use std::path::PathBuf;
use std::ptr;

use flowrs_checkpoint as core;
use flowrs_checkpoint::{MapMode, Opened, RealStorage, Select};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrays::Array;
use crate::errors::checkpoint;

/// The most threads that read, write or open files at once.
const MOST_THREADS: usize = 4;

/// How many threads are worth while for files.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS)
}

/// The bytes of a file in memory, alive as long as an array looks at them.
#[pyclass(frozen, module = "flowrs._flowrs")]
pub(crate) struct Mapping {
    inner: core::Mapping,
    writable: bool,
}

#[pymethods]
impl Mapping {
    fn __len__(&self) -> usize {
        self.inner.len()
    }

    /// # Safety
    ///
    /// Called by Python with a view to fill in.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill in"));
        }
        let mapping = slf.get();
        let length = isize::try_from(mapping.inner.len())
            .map_err(|_| PyBufferError::new_err("the file is too large for a view"))?;
        let pointer = mapping.inner.as_ptr().cast_mut().cast();
        let readonly = c_int::from(!mapping.writable);
        // SAFETY: `view` is valid and not null. The memory stays mapped while the object lives, and
        // the view holds a reference to it; it is offered for writing only where the mapping is
        // private and writable.
        let status =
            unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), pointer, length, readonly, flags) };
        match status {
            0 => Ok(()),
            _ => Err(PyErr::fetch(slf.py())),
        }
    }

    /// # Safety
    ///
    /// Called by Python when a view is given back.
    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // Nothing was allocated for the view; only its internal pointer is cleared.
        if !view.is_null() {
            // SAFETY: Python passes the view that `__getbuffer__` filled in.
            unsafe { (*view).internal = ptr::null_mut() };
        }
    }
}

/// One variable of a checkpoint: names and sizes are known, the bytes are not read yet.
#[pyclass(frozen, module = "flowrs._flowrs")]
pub(crate) struct CheckpointEntry {
    pub(crate) inner: core::Entry,
}

#[pymethods]
impl CheckpointEntry {
    /// Name of the variable.
    #[getter]
    fn name(&self) -> &str {
        &self.inner.name
    }

    /// The file that holds the elements.
    #[getter]
    fn file_path(&self) -> PathBuf {
        self.inner.path_of_out()
    }

    /// Bytes of the file when the checkpoint was opened.
    #[getter]
    fn size(&self) -> u64 {
        self.inner.size
    }

    /// Element type (as `kFloat`) and shape; None where there is no `meta`.
    #[getter]
    fn meta(&self) -> Option<(&'static str, Vec<usize>)> {
        self.inner.meta.as_ref().map(|meta| (meta.data_type.name(), meta.shape.clone()))
    }

    /// The checksum of the elements as 32 hexadecimal digits, where `meta` has one.
    #[getter]
    fn checksum(&self) -> Option<String> {
        self.inner.checksum.map(|checksum| checksum.to_string())
    }

    /// The path that was opened, and whether it is the variable's own directory.
    #[getter]
    fn opened_from(&self) -> (PathBuf, bool) {
        let (path, single) = self.inner.opened_from();
        (path.to_owned(), single)
    }

    /// Whether the file comes over a network or from another program, so that reading is better
    /// than mapping.
    fn is_remote(&self) -> PyResult<bool> {
        self.inner.is_remote().map_err(checkpoint)
    }

    /// Maps the file; with `copy_on_write` the memory may be written and the file stays as it is.
    fn map(&self, py: Python<'_>, copy_on_write: bool) -> PyResult<Mapping> {
        let mode = if copy_on_write { MapMode::CopyOnWrite } else { MapMode::ReadOnly };
        let inner = py.detach(|| self.inner.map(mode)).map_err(checkpoint)?;
        Ok(Mapping { inner, writable: copy_on_write })
    }

    /// Reads the file into memory of its own, which can be written if `writable`.
    fn read(&self, py: Python<'_>, writable: bool) -> PyResult<Mapping> {
        let inner = py.detach(|| self.inner.read(threads())).map_err(checkpoint)?;
        Ok(Mapping { inner, writable })
    }

    /// Reads the bytes from `offset` on into a C-contiguous array.
    fn read_range(&self, py: Python<'_>, offset: u64, array: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut array = Array::writable(array)?;
        let bytes = array.bytes_mut();
        py.detach(|| self.inner.read_range(offset, bytes)).map_err(checkpoint)
    }

    /// Compares the elements with their checksum; False where there is none.
    fn verify(&self, py: Python<'_>) -> PyResult<bool> {
        py.detach(|| self.inner.verify()).map_err(checkpoint)
    }
}

/// A directory of variables that is open.
#[pyclass(frozen, module = "flowrs._flowrs")]
pub(crate) struct OpenedCheckpoint {
    inner: core::Checkpoint,
}

#[pymethods]
impl OpenedCheckpoint {
    /// Whether a finished save left its marker.
    #[getter]
    fn complete(&self) -> bool {
        self.inner.complete
    }

    /// Links, pipes and other checkpoints below, which were not looked into.
    #[getter]
    fn ignored(&self) -> Vec<PathBuf> {
        self.inner.ignored.clone()
    }

    /// The user's metadata as they are stored.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.inner.metadata.as_ref().map(|bytes| PyBytes::new(py, bytes))
    }

    /// Lets go of the directory; nothing can be opened in it any more.
    fn close(&self) {
        self.inner.close();
    }
}

/// Opens a path: the directory, or None where the path is that of one variable; and the variables
/// whose names match a pattern of `include`, if there are any, and none of `exclude`.
#[pyfunction]
pub(crate) fn open_checkpoint(
    py: Python<'_>,
    path: PathBuf,
    include: Option<Vec<String>>,
    exclude: Vec<String>,
) -> PyResult<(Option<OpenedCheckpoint>, Vec<CheckpointEntry>)> {
    let select = Select { include, exclude };
    let opened = py
        .detach(|| core::open_with(&RealStorage, &path, &select, threads()))
        .map_err(checkpoint)?;
    Ok(match opened {
        Opened::Directory(mut inner) => {
            let variables = std::mem::take(&mut inner.variables);
            let entries = variables.into_iter().map(|inner| CheckpointEntry { inner }).collect();
            (Some(OpenedCheckpoint { inner }), entries)
        }
        Opened::Variable(inner) => (None, vec![CheckpointEntry { inner }]),
    })
}

/// Opens one variable of a checkpoint, or the variable whose own directory the path is if `single`.
/// The directory is not kept open.
#[pyfunction]
pub(crate) fn open_variable(
    py: Python<'_>,
    path: PathBuf,
    name: &str,
    single: bool,
) -> PyResult<CheckpointEntry> {
    let inner =
        py.detach(|| core::open_variable(RealStorage, &path, name, single)).map_err(checkpoint)?;
    Ok(CheckpointEntry { inner })
}

/// For each variable: whether it was compared with a checksum, and what is wrong with it.
#[pyfunction]
pub(crate) fn verify_entries(
    py: Python<'_>,
    entries: Vec<PyRef<'_, CheckpointEntry>>,
) -> Vec<(bool, Option<String>)> {
    let entries: Vec<&core::Entry> = entries.iter().map(|entry| &entry.inner).collect();
    let results = py.detach(|| core::verify_many(&entries, threads()));
    let told = |result: core::Result<bool>| match result {
        Ok(compared) => (compared, None),
        Err(error) => (true, Some(error.to_string())),
    };
    results.into_iter().map(told).collect()
}
