//! Plans for Python.

use std::sync::Arc;

use flowrs_engine::run::{Input, Output};
use flowrs_engine::types::dtype_name;
use flowrs_engine::{Executable, TensorType, threads};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::arrays::{Array, overlap};
use crate::errors::{ArgumentError, engine};
use crate::results::ResultArray;
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

    /// The most bytes of intermediate values that are needed at one time.
    #[getter]
    fn live_bytes(&self) -> usize {
        self.executable.plan().live_bytes()
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
        let outputs = outputs.iter().map(Array::writable).collect::<PyResult<Vec<_>>>()?;
        let variables: Vec<_> = variables.iter().map(|variable| &*variable.inner).collect();
        run(py, &self.executable, &inputs, &variables, outputs)
    }

    fn __str__(&self) -> String {
        self.executable.plan().to_string()
    }
}

/// Runs a plan over arrays.
fn run(
    py: Python<'_>,
    executable: &Executable,
    inputs: &[Array],
    variables: &[&flowrs_engine::Variable],
    mut outputs: Vec<Array>,
) -> PyResult<()> {
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
    py.detach(|| executable.run(&inputs, variables, &mut outputs, &threads::Lazy::default()))
        .map_err(engine)
}

/// What the calls of a job with one signature run: a plan, its variables, and new arrays for the
/// results. It takes arrays as they should be, and leaves all others to its caller.
#[pyclass(frozen, module = "flowrs._flowrs")]
pub(crate) struct Call {
    plan: Py<Plan>,
    variables: Vec<Arc<flowrs_engine::Variable>>,
    results: Vec<ResultArray>,
    /// `numpy.empty`.
    empty: Py<PyAny>,
    /// `numpy.ndarray`.
    array: Py<PyType>,
}

#[pymethods]
impl Call {
    /// A call of `plan`; each of `results` has the shape and the dtype of one array.
    #[new]
    fn new(
        plan: Py<Plan>,
        variables: Vec<PyRef<'_, Variable>>,
        results: Vec<(Py<PyAny>, Py<PyAny>)>,
        empty: Py<PyAny>,
        array: Py<PyType>,
    ) -> Self {
        let variables = variables.iter().map(|variable| Arc::clone(&variable.inner)).collect();
        let types = plan.get().executable.plan().outputs().iter();
        let results = results.into_iter().zip(types);
        let results = results
            .map(|((shape, dtype), ty)| ResultArray::new(shape, dtype, ty.bytes()))
            .collect();
        Self { plan, variables, results, empty, array }
    }

    /// New arrays of any content for the results.
    fn new_results<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let (empty, array) = (self.empty.bind(py), self.array.bind(py));
        self.results.iter().map(|result| result.make(empty, array)).collect()
    }

    /// Runs the plan over a tuple of arrays and returns the results; None where one is not an array
    /// of its input's type and shape that can be read in place.
    fn run<'py>(
        &self,
        py: Python<'py>,
        arguments: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let arguments = arguments.cast::<PyTuple>()?;
        let executable = &self.plan.get().executable;
        let types = executable.plan().inputs();
        if arguments.len() != types.len() {
            return Ok(None);
        }
        let array_type = self.array.bind(py);
        let mut inputs = Vec::with_capacity(types.len());
        for (argument, ty) in arguments.iter_borrowed().zip(types) {
            if !argument.get_type().is(array_type) {
                return Ok(None);
            }
            match Array::new(&argument) {
                Ok(array) if array.is(ty) => inputs.push(array),
                _ => return Ok(None),
            }
        }
        let results = self.new_results(py)?;
        let outputs = results.iter().map(Array::writable).collect::<PyResult<_>>()?;
        let variables: Vec<_> = self.variables.iter().map(|variable| &**variable).collect();
        run(py, executable, &inputs, &variables, outputs)?;
        Ok(Some(results))
    }
}
