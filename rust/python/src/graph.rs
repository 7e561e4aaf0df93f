//! Building graphs from Python.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flowrs_engine::ops::attributes::{Attribute, Attributes};
use flowrs_engine::settings::{Precision, SideBySide, parse_convolution};
use flowrs_engine::types::{dtype_from_name, dtype_name};
use flowrs_engine::{
    Builder, Constant, Error, Executable, Number, Settings, TensorType, ValueId, grad, ops,
};
use pyo3::prelude::*;

use crate::arrays::Array;
use crate::errors::engine;
use crate::plan::Plan;

/// A graph under construction; values are known by their numbers.
#[pyclass(frozen, module = "flowrs._flowrs")]
pub(crate) struct GraphBuilder {
    builder: Mutex<Builder>,
}

/// An attribute as Python gives it. The order is that of the attempts: a `bool` is an `int` too.
#[derive(FromPyObject)]
enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

/// A number as Python gives it.
#[derive(FromPyObject)]
enum FillValue {
    Integer(i64),
    Float(f64),
}

impl From<Value> for Attribute {
    fn from(value: Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(value),
            Value::Int(value) => Self::Int(value),
            Value::Float(value) => Self::Float(value),
            Value::Text(value) => Self::Text(value),
            Value::Ints(values) => Self::Ints(values),
            Value::Floats(values) => Self::Floats(values),
        }
    }
}

fn ids(values: &[usize]) -> Vec<ValueId> {
    values.iter().map(|value| ValueId::from_index(*value)).collect()
}

fn tensor_type(dtype: &str, shape: Vec<usize>) -> PyResult<TensorType> {
    Ok(TensorType::new(dtype_from_name(dtype).map_err(engine)?, shape))
}

impl GraphBuilder {
    fn lock(&self) -> MutexGuard<'_, Builder> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl GraphBuilder {
    /// An empty graph.
    #[new]
    fn new() -> Self {
        Self { builder: Mutex::new(Builder::default()) }
    }

    /// Adds the caller's next array.
    fn input(&self, name: &str, dtype: &str, shape: Vec<usize>) -> PyResult<usize> {
        let ty = tensor_type(dtype, shape)?;
        Ok(self.lock().input(name, ty).map_err(engine)?.index())
    }

    /// Adds the start value of a variable.
    fn variable(&self, name: &str, dtype: &str, shape: Vec<usize>) -> PyResult<usize> {
        let ty = tensor_type(dtype, shape)?;
        Ok(self.lock().variable(name, ty).map_err(engine)?.index())
    }

    /// Adds a constant that holds one number everywhere.
    fn fill(
        &self,
        name: &str,
        dtype: &str,
        shape: Vec<usize>,
        value: FillValue,
    ) -> PyResult<usize> {
        let ty = tensor_type(dtype, shape)?;
        let number = match value {
            FillValue::Integer(value) => Number::Integer(value),
            FillValue::Float(value) => Number::Float(value),
        };
        let value = self.lock().constant(name, ty, Constant::Fill(number)).map_err(engine)?;
        Ok(value.index())
    }

    /// Adds a constant with the content of a C-contiguous array.
    fn constant(
        &self,
        name: &str,
        dtype: &str,
        shape: Vec<usize>,
        array: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        let ty = tensor_type(dtype, shape)?;
        let content = Constant::Bytes(Array::new(array)?.bytes().into());
        Ok(self.lock().constant(name, ty, content).map_err(engine)?.index())
    }

    /// Adds an operation; returns the numbers of its outputs.
    fn add(
        &self,
        op: &str,
        inputs: Vec<usize>,
        attributes: Vec<(String, Value)>,
        name: &str,
        origin: &str,
    ) -> PyResult<Vec<usize>> {
        let mut described = Attributes::default();
        for (key, value) in attributes {
            described.set(key, value.into());
        }
        let op = ops::build(op, described).map_err(engine)?;
        let mut builder = self.lock();
        builder.set_origin(origin);
        let outputs = builder.add(op, &ids(&inputs), name).map_err(engine)?;
        Ok(outputs.into_iter().map(ValueId::index).collect())
    }

    /// Dtype and shape of a value.
    fn type_of(&self, value: usize) -> PyResult<(&'static str, Vec<usize>)> {
        let builder = self.lock();
        let known = builder.graph().value(ValueId::from_index(value));
        let missing = || engine(Error::Graph(format!("there is no value {value}")));
        let ty = &known.ok_or_else(missing)?.ty;
        Ok((dtype_name(ty.dtype), ty.shape.clone()))
    }

    /// Adds the nodes that compute the gradient of the sum of all elements of all losses.
    fn gradients(&self, losses: Vec<usize>, wrt: Vec<usize>) -> PyResult<Vec<Option<usize>>> {
        let found = grad::gradients(&mut self.lock(), &ids(&losses), &ids(&wrt)).map_err(engine)?;
        Ok(found.into_iter().map(|value| value.map(ValueId::index)).collect())
    }

    /// Marks a value as one that the caller wants.
    fn fetch(&self, value: usize) -> PyResult<usize> {
        self.lock().fetch(ValueId::from_index(value)).map_err(engine)
    }

    /// Plans the graph as it is now, under the settings of `flow.config`.
    #[pyo3(signature = (fuse = true, convolution_algorithm = "auto", precision = "default", side_by_side = true))]
    fn compile(
        &self,
        py: Python<'_>,
        fuse: bool,
        convolution_algorithm: &str,
        precision: &str,
        side_by_side: bool,
    ) -> PyResult<Plan> {
        let graph = self.lock().graph().clone();
        let settings = Settings {
            fuse,
            convolution: parse_convolution(convolution_algorithm).map_err(engine)?,
            precision: Precision::parse(precision).map_err(engine)?,
            side_by_side: if side_by_side { SideBySide::WhereItPays } else { SideBySide::Never },
            ..Settings::from_environment().map_err(engine)?
        };
        let plan = py.detach(|| flowrs_engine::Plan::new(&graph, settings)).map_err(engine)?;
        Ok(Plan { executable: Executable::new(plan).map_err(engine)? })
    }

    fn __str__(&self) -> String {
        self.lock().graph().to_string()
    }
}
