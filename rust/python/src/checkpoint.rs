//! Opened checkpoints for Python.

use std::ffi::{OsString, c_int};
use std::path::{Component, Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use flowrs_checkpoint as core;
use flowrs_checkpoint::{MapMode, Opened, RealStorage, Select};
use pyo3::exceptions::PyIndexError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrays::{Array, fill_view};
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
        let mapping = slf.get();
        let bytes = (mapping.inner.as_ptr().cast_mut(), mapping.inner.len());
        // SAFETY: Python passes a view to fill in. The memory stays mapped while the object lives;
        // it is offered for writing only where the mapping is private and writable.
        unsafe { fill_view(slf.as_any(), view, flags, bytes, !mapping.writable) }
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

/// One variable of a checkpoint: names and sizes are known, the bytes are not read yet. The base of
/// the class that Python shows, which adds no fields: a checkpoint may have a great many of them.
#[pyclass(frozen, subclass, module = "flowrs._flowrs")]
pub(crate) struct CheckpointEntry {
    opened: Arc<Opening>,
    index: usize,
}

impl CheckpointEntry {
    pub(crate) fn inner(&self) -> &core::Entry {
        &self.opened.entries[self.index]
    }
}

/// What the variables of one opened checkpoint share. Each of them keeps all, which is a few
/// hundred bytes for each variable, and thereby costs nearly nothing itself.
struct Opening {
    entries: Vec<core::Entry>,
    /// Whether bytes are read, and not mapped.
    reads: bool,
    /// Where relative paths began when the checkpoint was opened.
    working_directory: PathBuf,
}

#[pymethods]
impl CheckpointEntry {
    /// The variable of a number among those that were opened.
    #[new]
    fn new(opened: PyRef<'_, OpenedCheckpoint>, index: usize) -> PyResult<Self> {
        if index >= opened.inner.entries.len() {
            return Err(PyIndexError::new_err("no such variable"));
        }
        Ok(Self { opened: Arc::clone(&opened.inner), index })
    }

    /// Name of the variable.
    #[getter]
    fn name(&self) -> &str {
        &self.inner().name
    }

    /// The file that holds the elements.
    #[getter]
    fn _path(&self) -> OsString {
        // A text, without parts that mean nothing: a `Path` takes Python ten times as long.
        let path = self.inner().path_of_out();
        let parts = path.components().filter(|part| *part != Component::CurDir);
        parts.collect::<PathBuf>().into_os_string()
    }

    /// The same, from the root.
    #[getter]
    fn _absolute_path(&self) -> OsString {
        self.opened.working_directory.join(self.inner().path_of_out()).into_os_string()
    }

    /// Bytes of the file when the checkpoint was opened.
    #[getter]
    fn size_in_bytes(&self) -> u64 {
        self.inner().size
    }

    /// Element type (as `kFloat`) and shape; None where there is no `meta`.
    #[getter]
    fn _meta(&self) -> Option<(&'static str, Vec<usize>)> {
        self.inner().meta.as_ref().map(|meta| (meta.data_type.name(), meta.shape.clone()))
    }

    /// The XXH3-128 of the elements when they were saved, as 32 hexadecimal digits; None where
    /// ``meta`` has none.
    #[getter]
    fn checksum(&self) -> Option<String> {
        self.inner().checksum.map(|checksum| checksum.to_string())
    }

    /// The absolute path that was opened, and whether it is the variable's own directory.
    #[getter]
    fn _opened_from(&self) -> (PathBuf, bool) {
        let (path, single) = self.inner().opened_from();
        (self.opened.working_directory.join(path), single)
    }

    /// Whether bytes are read, and not mapped.
    #[getter]
    fn _reads(&self) -> bool {
        self.opened.reads
    }

    /// Maps the file; with `copy_on_write` the memory may be written and the file stays as it is.
    fn _map(&self, py: Python<'_>, copy_on_write: bool) -> PyResult<Mapping> {
        let mode = if copy_on_write { MapMode::CopyOnWrite } else { MapMode::ReadOnly };
        let inner = py.detach(|| self.inner().map(mode)).map_err(checkpoint)?;
        Ok(Mapping { inner, writable: copy_on_write })
    }

    /// Reads the file into memory of its own.
    fn _read(&self, py: Python<'_>) -> PyResult<Mapping> {
        let inner = py.detach(|| self.inner().read(threads())).map_err(checkpoint)?;
        Ok(Mapping { inner, writable: false })
    }

    /// Reads the bytes from `offset` on into a C-contiguous array.
    fn _read_range(&self, py: Python<'_>, offset: u64, array: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut array = Array::writable(array)?;
        let bytes = array.bytes_mut();
        py.detach(|| self.inner().read_range(offset, bytes)).map_err(checkpoint)
    }

    /// Compares the elements with their checksum; False where there is none.
    fn _verify(&self, py: Python<'_>) -> PyResult<bool> {
        py.detach(|| self.inner().verify()).map_err(checkpoint)
    }
}

/// A directory of variables that is open, or a single variable.
#[pyclass(frozen, module = "flowrs._flowrs")]
pub(crate) struct OpenedCheckpoint {
    /// None: it is a single variable.
    directory: Option<core::Checkpoint>,
    inner: Arc<Opening>,
}

#[pymethods]
impl OpenedCheckpoint {
    /// Whether it is a single variable.
    #[getter]
    fn single(&self) -> bool {
        self.directory.is_none()
    }

    /// Names of the variables, in the order of their numbers.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.inner.entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    /// Whether bytes are read, and not mapped.
    #[getter]
    fn reads(&self) -> bool {
        self.inner.reads
    }

    /// The absolute form of a path that was relative when the checkpoint was opened.
    fn absolute(&self, path: PathBuf) -> PathBuf {
        self.inner.working_directory.join(path)
    }

    /// Whether a finished save left its marker.
    #[getter]
    fn complete(&self) -> bool {
        self.directory.as_ref().is_some_and(|directory| directory.complete)
    }

    /// Links, pipes and other checkpoints below, which were not looked into.
    #[getter]
    fn ignored(&self) -> Vec<PathBuf> {
        self.directory.as_ref().map_or_else(Vec::new, |directory| directory.ignored.clone())
    }

    /// The user's metadata as they are stored.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let metadata = self.directory.as_ref()?.metadata.as_ref()?;
        Some(PyBytes::new(py, metadata))
    }

    /// Lets go of the directory; nothing can be opened in it any more.
    fn close(&self) {
        if let Some(directory) = &self.directory {
            directory.close();
        }
    }
}

/// Opens a path: the variables whose names match a pattern of `include`, if there are any, and none
/// of `exclude`. `io` is `"auto"`, `"mmap"` or `"read"`.
#[pyfunction]
pub(crate) fn open_checkpoint(
    py: Python<'_>,
    path: PathBuf,
    io: &str,
    include: Option<Vec<String>>,
    exclude: Vec<String>,
) -> PyResult<OpenedCheckpoint> {
    let select = Select { include, exclude };
    let open = || core::open_with(&RealStorage, &path, &select, threads());
    let (directory, entries) = match py.detach(open).map_err(checkpoint)? {
        Opened::Directory(mut directory) => {
            let entries = std::mem::take(&mut directory.variables);
            (Some(directory), entries)
        }
        Opened::Variable(entry) => (None, vec![entry]),
    };
    Ok(OpenedCheckpoint { directory, inner: opening(&path, io, entries)? })
}

/// Opens one variable of a checkpoint, or the variable whose own directory the path is if `single`.
/// The directory is not kept open.
#[pyfunction]
pub(crate) fn open_variable(
    py: Python<'_>,
    path: PathBuf,
    name: &str,
    single: bool,
    io: &str,
) -> PyResult<OpenedCheckpoint> {
    let entry =
        py.detach(|| core::open_variable(RealStorage, &path, name, single)).map_err(checkpoint)?;
    Ok(OpenedCheckpoint { directory: None, inner: opening(&path, io, vec![entry])? })
}

fn opening(path: &Path, io: &str, entries: Vec<core::Entry>) -> PyResult<Arc<Opening>> {
    let reads = match (io, entries.first()) {
        ("read", _) => true,
        ("auto", Some(entry)) => entry.is_remote().map_err(checkpoint)?,
        _ => false,
    };
    let working_directory =
        if path.is_absolute() { PathBuf::new() } else { std::env::current_dir()? };
    Ok(Arc::new(Opening { entries, reads, working_directory }))
}

/// For each variable: whether it was compared with a checksum, and what is wrong with it.
#[pyfunction]
pub(crate) fn verify_entries(
    py: Python<'_>,
    entries: Vec<PyRef<'_, CheckpointEntry>>,
) -> Vec<(bool, Option<String>)> {
    let entries: Vec<&core::Entry> = entries.iter().map(|entry| entry.inner()).collect();
    let results = py.detach(|| core::verify_many(&entries, threads()));
    let told = |result: core::Result<bool>| match result {
        Ok(compared) => (compared, None),
        Err(error) => (true, Some(error.to_string())),
    };
    results.into_iter().map(told).collect()
}
