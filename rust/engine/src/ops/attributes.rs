//! The attributes by which Python describes an operation.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::graph::Number;
use crate::types::{DType, dtype_from_name};

/// One attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Floating point numbers.
    Floats(Vec<f64>),
}

/// Named attributes; each is taken once, and none may be left over.
#[derive(Clone, Debug, Default)]
pub struct Attributes(BTreeMap<String, Attribute>);

impl Attributes {
    /// Sets an attribute.
    pub fn set(&mut self, name: impl Into<String>, value: Attribute) {
        self.0.insert(name.into(), value);
    }

    fn take<T>(
        &mut self,
        name: &str,
        kind: &str,
        convert: impl FnOnce(Attribute) -> Option<T>,
    ) -> Result<T, Error> {
        let value = self
            .0
            .remove(name)
            .ok_or_else(|| Error::Argument(format!("the attribute {name} is missing")))?;
        let shown = format!("{value:?}");
        convert(value).ok_or_else(|| Error::Argument(format!("{name} must be {kind}, not {shown}")))
    }

    /// Takes a truth value.
    pub fn bool(&mut self, name: &str) -> Result<bool, Error> {
        self.take(name, "a truth value", |value| match value {
            Attribute::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// Takes an integer.
    pub fn int(&mut self, name: &str) -> Result<i64, Error> {
        self.take(name, "an integer", |value| match value {
            Attribute::Int(value) => Some(value),
            _ => None,
        })
    }

    /// Takes a number.
    pub fn float(&mut self, name: &str) -> Result<f64, Error> {
        self.take(name, "a number", |value| match value {
            Attribute::Float(value) => Some(value),
            Attribute::Int(value) => Some(value as f64),
            _ => None,
        })
    }

    /// Takes a number that keeps integers exact.
    pub fn number(&mut self, name: &str) -> Result<Number, Error> {
        self.take(name, "a number", |value| match value {
            Attribute::Float(value) => Some(Number::Float(value)),
            Attribute::Int(value) => Some(Number::Integer(value)),
            _ => None,
        })
    }

    /// Takes text.
    pub fn text(&mut self, name: &str) -> Result<String, Error> {
        self.take(name, "text", |value| match value {
            Attribute::Text(value) => Some(value),
            _ => None,
        })
    }

    /// Takes integers.
    pub fn ints(&mut self, name: &str) -> Result<Vec<i64>, Error> {
        self.take(name, "a list of integers", |value| match value {
            Attribute::Ints(values) => Some(values),
            Attribute::Floats(values) if values.is_empty() => Some(vec![]),
            _ => None,
        })
    }

    /// Takes numbers.
    pub fn floats(&mut self, name: &str) -> Result<Vec<f64>, Error> {
        self.take(name, "a list of numbers", |value| match value {
            Attribute::Floats(values) => Some(values),
            Attribute::Ints(values) => Some(values.into_iter().map(|v| v as f64).collect()),
            _ => None,
        })
    }

    /// Takes integers that are sizes.
    pub fn sizes(&mut self, name: &str) -> Result<Vec<usize>, Error> {
        self.ints(name)?
            .into_iter()
            .map(|value| {
                usize::try_from(value).map_err(|_| {
                    Error::Argument(format!("{name} must not be negative, found {value}"))
                })
            })
            .collect()
    }

    /// Takes a dtype by its name.
    pub fn dtype(&mut self, name: &str) -> Result<DType, Error> {
        dtype_from_name(&self.text(name)?)
    }

    /// Refuses attributes that nobody took.
    pub fn finish(self, op: &str) -> Result<(), Error> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::Argument(format!("{op} has no attribute {name}"))),
        }
    }
}
