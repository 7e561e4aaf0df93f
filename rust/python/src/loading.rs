//! Loading values of checkpoints and arrays into variables.

use std::sync::Arc;

use flowrs_checkpoint as core;
use flowrs_checkpoint::MapMode;
use flowrs_engine::variable::{ForeignMemory, WriteGuard, change};
use pyo3::prelude::*;

use crate::arrays::Array;
use crate::checkpoint::{CheckpointEntry, threads};
use crate::errors::{ArgumentError, checkpoint, engine};
use crate::variable::Variable;

/// Where a variable's new value comes from, as Python gives it.
#[derive(FromPyObject)]
pub(crate) enum Source<'py> {
    Entry(PyRef<'py, CheckpointEntry>),
    /// A C-contiguous array.
    Array(Bound<'py, PyAny>),
}

/// Where a variable's new value comes from.
enum Held<'a> {
    Entry(&'a core::Entry),
    Array(Array),
}

/// The private mapping of a file, as a variable's memory.
struct Adopted(core::Mapping);

// SAFETY: a mapping stays where it is until it is dropped, and one that is copy-on-write is private
// to this process; what was read instead lies in a vector that is never resized.
unsafe impl ForeignMemory for Adopted {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_slice().unwrap_or_default()
    }
}

/// Fails if one of the files is not there any more, or has changed its size.
#[pyfunction]
pub(crate) fn check_entries(
    py: Python<'_>,
    entries: Vec<PyRef<'_, CheckpointEntry>>,
) -> PyResult<()> {
    let entries: Vec<&core::Entry> = entries.iter().map(|entry| entry.inner()).collect();
    py.detach(|| entries.iter().try_for_each(|entry| entry.check())).map_err(checkpoint)
}

/// Gives variables the values of files and arrays of their sizes, in one step. Files are read into
/// the variables' memory; with `adopt` their copy-on-write mapping becomes that memory.
#[pyfunction]
pub(crate) fn load_values(
    py: Python<'_>,
    values: Vec<(PyRef<'_, Variable>, Source<'_>)>,
    adopt: bool,
) -> PyResult<()> {
    let held = values
        .iter()
        .map(|(variable, source)| {
            let (wanted, name) = (variable.inner.ty().bytes(), variable.inner.name());
            let (held, found) = match source {
                Source::Entry(entry) => (Held::Entry(entry.inner()), entry.inner().size),
                Source::Array(array) => {
                    let array = Array::new(array)?;
                    let length = array.bytes().len() as u64;
                    (Held::Array(array), length)
                }
            };
            match wanted as u64 == found {
                true => Ok((Arc::clone(&variable.inner), held)),
                false => Err(ArgumentError::new_err(format!(
                    "variable {name} holds {wanted} bytes and cannot take {found}"
                ))),
            }
        })
        .collect::<PyResult<Vec<_>>>()?;
    py.detach(|| {
        let variables: Vec<_> = held.iter().map(|(variable, _)| &**variable).collect();
        let sources: Vec<_> = held.iter().map(|(_, source)| source).collect();
        change(&variables, |guards| fill(guards, &sources, adopt))
    })
    .map_err(engine)?
}

fn fill(guards: &mut [WriteGuard<'_>], sources: &[&Held<'_>], adopt: bool) -> PyResult<()> {
    // All that is mapped is mapped before the first variable changes.
    let map = |source: &&Held<'_>| match source {
        Held::Entry(entry) if adopt => entry.map(MapMode::CopyOnWrite).map(Some),
        _ => Ok(None),
    };
    let mappings: Vec<_> = sources.iter().map(map).collect::<Result<_, _>>().map_err(checkpoint)?;
    let mut wanted = vec![];
    for ((guard, source), mapping) in guards.iter_mut().zip(sources).zip(mappings) {
        match (source, mapping) {
            (_, Some(mapping)) => guard.adopt(Box::new(Adopted(mapping))).map_err(engine)?,
            (Held::Array(array), None) => guard.bytes_mut().copy_from_slice(array.bytes()),
            (Held::Entry(entry), None) => wanted.push((*entry, guard.bytes_mut())),
        }
    }
    core::read_many(wanted, threads()).map_err(checkpoint)
}
