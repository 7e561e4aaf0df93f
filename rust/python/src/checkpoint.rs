//! Checkpoint directories for Python.

use std::collections::HashMap;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use flowrs_checkpoint as core;
use flowrs_checkpoint::{DataType, MapMode, Meta, Opened, RealStorage, SaveOptions};
use flowrs_engine::variable::ReadGuard;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::arrays::Array;
use crate::errors::{ArgumentError, checkpoint};
use crate::variable::Variable;

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
    inner: core::Entry,
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
        self.inner.path_of_out.clone()
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

    /// Maps the file; with `copy_on_write` the memory may be written and the file stays as it is.
    fn map(&self, py: Python<'_>, copy_on_write: bool) -> PyResult<Mapping> {
        let mode = if copy_on_write { MapMode::CopyOnWrite } else { MapMode::ReadOnly };
        let inner = py.detach(|| self.inner.map(mode)).map_err(checkpoint)?;
        Ok(Mapping { inner, writable: copy_on_write })
    }

    /// Reads the file into a C-contiguous array of its size.
    fn read_into(&self, py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut array = Array::writable(array)?;
        let bytes = array.bytes_mut();
        py.detach(|| self.inner.read_into(bytes)).map_err(checkpoint)
    }
}

/// Opens a path: its variables, whether a finished save left its marker, and whether the path is
/// the directory of one variable.
#[pyfunction]
pub(crate) fn open_checkpoint(
    py: Python<'_>,
    path: PathBuf,
) -> PyResult<(Vec<CheckpointEntry>, bool, bool)> {
    let opened = py.detach(|| core::open(&RealStorage, &path)).map_err(checkpoint)?;
    Ok(match opened {
        Opened::Directory(directory) => {
            let entries = directory.variables.into_iter().map(|inner| CheckpointEntry { inner });
            (entries.collect(), directory.complete, false)
        }
        Opened::Variable(inner) => (vec![CheckpointEntry { inner }], true, true),
    })
}

/// What a variable's bytes are taken from, as Python gives it.
#[derive(FromPyObject)]
pub(crate) enum Source<'py> {
    Variable(PyRef<'py, Variable>),
    Array(Bound<'py, PyAny>),
}

/// What a variable's bytes are taken from, held for a save.
enum Held {
    Variable(Arc<flowrs_engine::Variable>),
    Array(Array),
}

/// Saves variables, given as name, element type (as `kFloat`), shape and a `Variable` or a
/// C-contiguous little-endian array, sorted by name.
#[pyfunction]
pub(crate) fn save_checkpoint(
    py: Python<'_>,
    path: PathBuf,
    variables: Vec<(String, String, Vec<usize>, Source<'_>)>,
) -> PyResult<()> {
    let mut held = vec![];
    for (name, data_type, shape, source) in variables {
        let data_type = DataType::from_name(&data_type).ok_or_else(|| {
            ArgumentError::new_err(format!("variable {name}: there is no type {data_type}"))
        })?;
        let source = match source {
            Source::Variable(variable) => Held::Variable(Arc::clone(&variable.inner)),
            Source::Array(array) => Held::Array(Array::new(&array)?),
        };
        held.push((name, Meta { shape, data_type }, source));
    }
    py.detach(|| save(&path, &held)).map_err(checkpoint)
}

/// Holds all variables at once, and saves what they hold.
fn save(path: &Path, held: &[(String, Meta, Held)]) -> core::Result<()> {
    let guards = read_all(held);
    let described: Vec<core::Variable<'_>> = held
        .iter()
        .map(|(name, meta, source)| core::Variable {
            name,
            meta: meta.clone(),
            data: match source {
                Held::Variable(variable) => guards[&Arc::as_ptr(variable)].bytes(),
                Held::Array(array) => array.bytes(),
            },
        })
        .collect();
    core::save(&RealStorage, path, &described, &SaveOptions::default())
}

/// Each variable held once, whatever names it is saved under, and in the order of their own names
/// as runs do: otherwise a save and a run could wait for each other for ever.
fn read_all(
    held: &[(String, Meta, Held)],
) -> HashMap<*const flowrs_engine::Variable, ReadGuard<'_>> {
    let mut variables: Vec<_> = held
        .iter()
        .filter_map(|(_, _, source)| match source {
            Held::Variable(variable) => Some(variable),
            Held::Array(_) => None,
        })
        .collect();
    variables.sort_unstable_by_key(|variable| (variable.name(), Arc::as_ptr(variable)));
    variables.dedup_by_key(|variable| Arc::as_ptr(variable));
    variables.into_iter().map(|variable| (Arc::as_ptr(variable), variable.read())).collect()
}
