//! Variables for Python.

use std::sync::Arc;

use flowrs_engine::types::{dtype_from_name, dtype_name};
use flowrs_engine::{TensorType, Variable as Engine};
use pyo3::prelude::*;

use crate::arrays::Array;
use crate::errors::{ArgumentError, engine};

/// Named memory that outlives a run.
#[pyclass(frozen, module = "flowrs._flowrs")]
pub(crate) struct Variable {
    pub(crate) inner: Arc<Engine>,
}

#[pymethods]
impl Variable {
    /// A variable that holds zeros.
    #[new]
    fn new(name: &str, dtype: &str, shape: Vec<usize>) -> PyResult<Self> {
        let ty = TensorType::new(dtype_from_name(dtype).map_err(engine)?, shape);
        Ok(Self { inner: Arc::new(Engine::new(name, ty).map_err(engine)?) })
    }

    /// Full name.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// Name of the element type.
    #[getter]
    fn dtype(&self) -> &'static str {
        dtype_name(self.inner.ty().dtype)
    }

    /// Extent of each dimension.
    #[getter]
    fn shape(&self) -> Vec<usize> {
        self.inner.ty().shape.clone()
    }

    /// How often the value was changed.
    #[getter]
    fn version(&self) -> u64 {
        self.inner.version()
    }

    /// Copies the value into a C-contiguous array of the same size.
    fn read_into(&self, py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut array = Array::writable(array)?;
        let (wanted, found) = (self.inner.ty().bytes(), array.bytes().len());
        if wanted != found {
            return Err(ArgumentError::new_err(format!(
                "variable {} holds {wanted} bytes, the array {found}",
                self.inner.name()
            )));
        }
        let target = array.bytes_mut();
        py.detach(|| target.copy_from_slice(self.inner.read().bytes()));
        Ok(())
    }
}

/// Gives variables the values of C-contiguous arrays of their sizes, in one step.
#[pyfunction]
pub(crate) fn assign_variables(
    py: Python<'_>,
    values: Vec<(PyRef<'_, Variable>, Bound<'_, PyAny>)>,
) -> PyResult<()> {
    let arrays = values
        .iter()
        .map(|(variable, array)| Ok((Arc::clone(&variable.inner), Array::new(array)?)))
        .collect::<PyResult<Vec<_>>>()?;
    py.detach(|| {
        flowrs_engine::variable::assign(
            arrays.iter().map(|(variable, array)| (&**variable, array.bytes())).collect(),
        )
    })
    .map_err(engine)
}
