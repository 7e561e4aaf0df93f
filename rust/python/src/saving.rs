//! Saving and changing checkpoints for Python.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowrs_checkpoint as core;
use flowrs_checkpoint::{
    Data, DataType, Durability, Edit, Meta, Opened, Pieces, RealStorage, SaveOptions, Select,
};
use flowrs_engine::variable::ReadGuard;
use pyo3::prelude::*;

use crate::arrays::Strided;
use crate::checkpoint::{CheckpointEntry, threads};
use crate::errors::{ArgumentError, checkpoint};
use crate::variable::Variable;

/// What a variable's bytes are taken from, as Python gives it.
#[derive(FromPyObject)]
pub(crate) enum Source<'py> {
    Variable(PyRef<'py, Variable>),
    Entry(PyRef<'py, CheckpointEntry>),
    /// An array, and whether it is big-endian.
    Array((Bound<'py, PyAny>, bool)),
}

/// A variable as Python gives it: name, element type (as `kFloat`), shape, and the bytes.
type Given<'py> = (String, String, Vec<usize>, Source<'py>);

/// What a variable's bytes are taken from, held for a save.
enum Held {
    Variable(Arc<flowrs_engine::Variable>),
    Entry(core::Entry),
    Array(Strided),
    Bytes(Vec<u8>),
}

/// Variables that are held for a save.
struct HeldVariables(Vec<(String, Meta, Held)>);

/// How to save, as Python gives it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Options {
    overwrite: bool,
    durability: String,
    checksum: bool,
    metadata: Option<String>,
    link_unchanged_from: Option<PathBuf>,
}

impl Options {
    fn durability(&self) -> PyResult<Durability> {
        match self.durability.as_str() {
            "full" => Ok(Durability::Full),
            "rename" => Ok(Durability::Rename),
            "none" => Ok(Durability::None),
            other => Err(ArgumentError::new_err(format!(
                "durability must be \"full\", \"rename\" or \"none\", not {other:?}"
            ))),
        }
    }
}

/// Saves variables.
#[pyfunction]
pub(crate) fn save_checkpoint(
    py: Python<'_>,
    path: PathBuf,
    variables: Vec<Given<'_>>,
    options: Options,
) -> PyResult<()> {
    let (held, durability) = (HeldVariables::new(variables)?, options.durability()?);
    py.detach(|| held.save(&path, &options, durability)).map_err(checkpoint)
}

/// Changes a checkpoint: `variables` are added or replace others, `rename` maps old to new names,
/// `drop` names those that are left out.
#[pyfunction]
pub(crate) fn edit_checkpoint(
    py: Python<'_>,
    path: PathBuf,
    variables: Vec<Given<'_>>,
    rename: HashMap<String, String>,
    drop: HashSet<String>,
    options: Options,
) -> PyResult<()> {
    let (held, durability) = (HeldVariables::new(variables)?, options.durability()?);
    let edit = || {
        let guards = held.read_all();
        let edit = Edit { set: held.described(&guards), rename, drop };
        let options = SaveOptions {
            durability,
            checksum: options.checksum,
            threads: threads(),
            ..SaveOptions::default()
        };
        core::edit(&RealStorage, &path, &edit, &options)
    };
    py.detach(edit).map_err(checkpoint)
}

/// Copies of variables' values, to be saved while the variables change.
#[pyclass(frozen, module = "flowrs._flowrs")]
pub(crate) struct StagedVariables {
    held: HeldVariables,
}

#[pymethods]
impl StagedVariables {
    /// Copies all values at one moment.
    #[new]
    fn new(py: Python<'_>, variables: Vec<Given<'_>>) -> PyResult<Self> {
        let held = HeldVariables::new(variables)?;
        let staged = py.detach(|| held.copied()).map_err(checkpoint)?;
        Ok(Self { held: staged })
    }

    /// Saves the copies.
    fn save(&self, py: Python<'_>, path: PathBuf, options: Options) -> PyResult<()> {
        let durability = options.durability()?;
        py.detach(|| self.held.save(&path, &options, durability)).map_err(checkpoint)
    }
}

type Guards<'a> = HashMap<*const flowrs_engine::Variable, ReadGuard<'a>>;

impl HeldVariables {
    fn new(given: Vec<Given<'_>>) -> PyResult<Self> {
        let hold = |(name, data_type, shape, source): Given<'_>| {
            let data_type = DataType::from_name(&data_type).ok_or_else(|| {
                ArgumentError::new_err(format!("variable {name}: there is no type {data_type}"))
            })?;
            let held = match source {
                Source::Variable(variable) => Held::Variable(Arc::clone(&variable.inner)),
                Source::Entry(entry) => Held::Entry(entry.inner().clone()),
                Source::Array((array, swapped)) => Held::Array(Strided::new(&array, swapped)?),
            };
            Ok((name, Meta { shape, data_type }, held))
        };
        given.into_iter().map(hold).collect::<PyResult<_>>().map(Self)
    }

    fn save(&self, path: &Path, options: &Options, durability: Durability) -> core::Result<()> {
        let previous = options.link_unchanged_from.as_deref().map(open_previous).transpose()?;
        let guards = self.read_all();
        let options = SaveOptions {
            durability,
            overwrite: options.overwrite,
            checksum: options.checksum,
            metadata: options.metadata.as_deref(),
            link_from: previous.as_ref(),
            threads: threads(),
        };
        core::save(&RealStorage, path, &self.described(&guards), &options)
    }

    /// Each variable held once, whatever names it is saved under, and in the order of their own
    /// names as runs do: otherwise a save and a run could wait for each other for ever.
    fn read_all(&self) -> Guards<'_> {
        let mut variables: Vec<_> = self
            .0
            .iter()
            .filter_map(|(_, _, held)| match held {
                Held::Variable(variable) => Some(variable),
                _ => None,
            })
            .collect();
        variables.sort_unstable_by_key(|variable| (variable.name(), Arc::as_ptr(variable)));
        variables.dedup_by_key(|variable| Arc::as_ptr(variable));
        variables.into_iter().map(|variable| (Arc::as_ptr(variable), variable.read())).collect()
    }

    fn described<'a>(&'a self, guards: &'a Guards<'_>) -> Vec<core::Variable<'a>> {
        let describe = |(name, meta, held): &'a (String, Meta, Held)| core::Variable {
            name,
            meta: meta.clone(),
            data: match held {
                Held::Variable(variable) => Data::Bytes(guards[&Arc::as_ptr(variable)].bytes()),
                Held::Entry(entry) => Data::Pieces(entry),
                Held::Array(array) => array.bytes().map_or(Data::Pieces(array), Data::Bytes),
                Held::Bytes(bytes) => Data::Bytes(bytes),
            },
        };
        self.0.iter().map(describe).collect()
    }

    fn copied(&self) -> core::Result<Self> {
        let guards = self.read_all();
        let copy = |((name, meta, _), described): (&(String, Meta, Held), core::Variable<'_>)| {
            let bytes = match described.data {
                Data::Bytes(bytes) => bytes.to_vec(),
                Data::Pieces(pieces) => all_bytes(pieces)?,
            };
            Ok((name.clone(), meta.clone(), Held::Bytes(bytes)))
        };
        let copies = self.0.iter().zip(self.described(&guards)).map(copy);
        copies.collect::<core::Result<_>>().map(Self)
    }
}

fn all_bytes(pieces: &dyn Pieces) -> core::Result<Vec<u8>> {
    let mut bytes = vec![0; pieces.length()];
    pieces.fill(0, &mut bytes)?;
    Ok(bytes)
}

fn open_previous(path: &Path) -> core::Result<core::Checkpoint> {
    match core::open_with(&RealStorage, path, &Select::default(), threads())? {
        Opened::Directory(checkpoint) => Ok(checkpoint),
        Opened::Variable(_) => Err(core::Error::NotADirectory { path: path.to_owned() }),
    }
}
