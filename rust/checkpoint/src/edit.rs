//! Changing a checkpoint: a new one is made beside it, of links to the files that stay, and takes
//! its place in one step.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::reader::{Checkpoint, Opened, open_with};
use crate::save::{Kept, SaveOptions, Variable, save_with};
use crate::select::Select;
use crate::storage::Storage;

/// What is changed in a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Edit<'a> {
    /// Variables that are added, or replace those of their names.
    pub set: Vec<Variable<'a>>,
    /// Old and new names.
    pub rename: HashMap<String, String>,
    /// Variables that are left out.
    pub drop: HashSet<String>,
}

/// Changes the checkpoint at a path, all at once or not at all. Metadata stay as they are.
///
/// # Errors
///
/// As for [`open_with`] and [`save_with`]; [`Error::NoSuchVariable`] if one that should be renamed
/// or left out is not there.
pub fn edit(
    storage: &dyn Storage,
    path: &Path,
    edit: &Edit<'_>,
    options: &SaveOptions<'_>,
) -> Result<()> {
    let Opened::Directory(checkpoint) =
        open_with(storage, path, &Select::default(), options.threads)?
    else {
        let reason =
            "this is the directory of one variable; give that of the checkpoint".to_owned();
        return Err(Error::Damaged { path: path.to_owned(), variable: None, reason });
    };
    check_names(&checkpoint, edit)?;
    let replaced: HashSet<&str> = edit.set.iter().map(|variable| variable.name).collect();
    let kept: Vec<Kept<'_>> = checkpoint
        .variables
        .iter()
        .filter(|entry| !edit.drop.contains(&entry.name))
        .map(|entry| Kept { name: edit.rename.get(&entry.name).unwrap_or(&entry.name), entry })
        .filter(|kept| !replaced.contains(kept.name))
        .collect();
    let metadata = checkpoint.metadata.as_deref().map(std::str::from_utf8).transpose();
    let metadata = metadata.map_err(|_| Error::InvalidMetadata { reason: NOT_UTF8.to_owned() })?;
    let options = SaveOptions { overwrite: true, metadata, ..options.clone() };
    save_with(storage, path, &edit.set, &kept, &options)
}

const NOT_UTF8: &str = "what is stored is not UTF-8; mend or remove it";

fn check_names(checkpoint: &Checkpoint, edit: &Edit<'_>) -> Result<()> {
    let names: HashSet<&str> =
        checkpoint.variables.iter().map(|entry| entry.name.as_str()).collect();
    let mut asked: Vec<&String> = edit.rename.keys().chain(&edit.drop).collect();
    asked.sort_unstable();
    match asked.into_iter().find(|name| !names.contains(name.as_str())) {
        Some(name) => {
            Err(Error::NoSuchVariable { path: checkpoint.path.clone(), name: name.clone() })
        }
        None => Ok(()),
    }
}
