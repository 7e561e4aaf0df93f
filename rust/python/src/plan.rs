//! Plans for Python.

use flowrs_engine::run::{Input, Output};
use flowrs_engine::types::dtype_name;
use flowrs_engine::{Executable, TensorType, threads};
use pyo3::prelude::*;

use crate::arrays::{Array, overlap};
use crate::errors::{ArgumentError, engine};
use crate::variable::Variable;

type NamedType = (String, &'static str, Vec<usize>);

/// What runs: steps over one arena, made for concrete shapes.
#[pyclass(frozen, module = "flowrs._flowrs")]
pub(crate) struct Plan {
    pub(crate) executable: Executable,
}

fn typed(ty: &TensorType) -> (&'static str, Vec<usize>) {
    (dtype_name(ty.dtype), ty.shape.clone())
}

#[pymethods]
impl Plan {
    /// Dtype and shape of each input.
    #[getter]
    fn inputs(&self) -> Vec<(&'static str, Vec<usize>)> {
        self.executable.plan().inputs().iter().map(typed).collect()
    }

    /// Dtype and shape of each fetched value.
    #[getter]
    fn outputs(&self) -> Vec<(&'static str, Vec<usize>)> {
        self.executable.plan().outputs().iter().map(typed).collect()
    }

    /// Name, dtype and shape of each variable that a run needs, in the order that `run` takes.
    #[getter]
    fn variables(&self) -> Vec<NamedType> {
        let variables = self.executable.plan().variables().iter();
        variables.map(|v| (v.name.clone(), dtype_name(v.ty.dtype), v.ty.shape.clone())).collect()
    }

    /// Bytes of the memory that all intermediate values share.
    #[getter]
    fn arena_bytes(&self) -> usize {
        self.executable.plan().arena_bytes()
    }

    /// Runs once: reads the inputs, updates the variables, writes the outputs.
    fn run(
        &self,
        py: Python<'_>,
        inputs: Vec<Bound<'_, PyAny>>,
        variables: Vec<PyRef<'_, Variable>>,
        outputs: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let inputs = inputs.iter().map(Array::new).collect::<PyResult<Vec<_>>>()?;
        let mut outputs = outputs.iter().map(Array::writable).collect::<PyResult<Vec<_>>>()?;
        for (number, output) in outputs.iter().enumerate() {
            let others = inputs.iter().chain(&outputs[..number]);
            if { others }.any(|other| overlap(other.bytes(), output.bytes())) {
                return Err(ArgumentError::new_err(format!("output {number} overlaps an array")));
            }
        }
        let inputs = inputs
            .iter()
            .map(|array| Ok(Input { dtype: array.dtype()?, bytes: array.bytes() }))
            .collect::<PyResult<Vec<_>>>()?;
        let mut outputs = outputs
            .iter_mut()
            .map(|array| Ok(Output { dtype: array.dtype()?, bytes: array.bytes_mut() }))
            .collect::<PyResult<Vec<_>>>()?;
        let variables: Vec<_> = variables.iter().map(|variable| &*variable.inner).collect();
        py.detach(|| self.executable.run(&inputs, &variables, &mut outputs, &*threads::pool()))
            .map_err(engine)
    }

    fn __str__(&self) -> String {
        self.executable.plan().to_string()
    }
}
