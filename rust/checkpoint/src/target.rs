//! Where a save goes, and whether it may.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::inventory::{self, Contents};
use crate::storage::Storage;

/// Where the checkpoint is going to be.
pub(crate) struct Target {
    pub(crate) parent: PathBuf,
    pub(crate) name: OsString,
    pub(crate) existing: Existing,
}

/// What is there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Nothing,
    EmptyDirectory,
    /// A checkpoint that is going to be replaced.
    Checkpoint,
}

impl Target {
    /// Decides where to save. The parent of what does not exist may be missing too.
    pub(crate) fn find(storage: &dyn Storage, path: &Path, overwrite: bool) -> Result<Self> {
        let kind = storage.kind(path).map_err(Error::io(path, "look at"))?;
        if kind.is_none() {
            let Some(name) = path.file_name() else {
                let source = io::Error::new(io::ErrorKind::InvalidInput, "the path has no name");
                return Err(Error::io(path, "save to")(source));
            };
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let (parent, name) = (parent.to_owned(), name.to_owned());
            return Ok(Self { parent, name, existing: Existing::Nothing });
        }
        let existing = what_is_there(storage, path, overwrite)?;
        let resolved = storage.resolve(path).map_err(Error::io(path, "resolve"))?;
        match storage.resolve(Path::new(".")) {
            Ok(current) if current == resolved => return Err(exists(path, WORKING_DIRECTORY)),
            // The working directory has been removed, so it is another one.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(Path::new("."), "resolve")(error));
            }
            _ => {}
        }
        match (resolved.parent(), resolved.file_name()) {
            (Some(parent), Some(name)) => {
                Ok(Self { parent: parent.to_owned(), name: name.to_owned(), existing })
            }
            _ => Err(exists(path, ROOT)),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// A hidden name beside the target that nothing has.
    pub(crate) fn hidden_sibling(&self) -> PathBuf {
        let process = std::process::id();
        let random = RandomState::new().hash_one(process);
        let mut name = OsString::from(".");
        name.push(shortened(&self.name));
        name.push(format!(".tmp-{process}-{random:016x}"));
        self.parent.join(name)
    }
}

fn what_is_there(storage: &dyn Storage, path: &Path, overwrite: bool) -> Result<Existing> {
    let directory = storage.open_directory(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => exists(path, DANGLING),
        io::ErrorKind::NotADirectory => exists(path, A_FILE),
        _ => Error::io(path, "open")(source),
    })?;
    if directory.list(1).map_err(Error::io(path, "list"))?.is_empty() {
        return Ok(Existing::EmptyDirectory);
    }
    if !overwrite {
        return Err(exists(path, NOT_EMPTY));
    }
    match inventory::look(storage, path)? {
        Contents::Empty => Ok(Existing::EmptyDirectory),
        Contents::Checkpoint(_) => Ok(Existing::Checkpoint),
        Contents::Foreign(inside) => {
            let inside = inside.display();
            Err(exists(path, &format!("the directory holds {inside:?}{FOREIGN}")))
        }
    }
}

pub(crate) fn exists(path: &Path, hint: &str) -> Error {
    Error::Exists { path: path.to_owned(), hint: hint.to_owned() }
}

pub(crate) const APPEARED: &str = "something has appeared here while the checkpoint was written; \
                                   save under another name";
pub(crate) const IN_PLACE: &str = "durability \"none\" writes in place and cannot replace a \
                                   checkpoint; use \"rename\" or \"full\"";
const A_FILE: &str = "there is a file of this name; save under another name, or remove it first";
const NOT_EMPTY: &str = "the directory is not empty; save into a new directory, or replace the \
                         checkpoint in it with overwrite=True";
const FOREIGN: &str = ", which is no part of a checkpoint, so it is not replaced; save under \
                       another name, or remove it first";
const DANGLING: &str = "there is a symbolic link that leads nowhere; save under another name, or \
                        remove it first";
const WORKING_DIRECTORY: &str = "this is the working directory, which cannot be replaced; save \
                                 into a new directory inside it";
const ROOT: &str = "the root of a file system cannot be replaced; save into a new directory inside \
                    it";

/// The beginning of a name, so that the temporary name made from it is not too long.
fn shortened(name: &OsStr) -> OsString {
    let name = name.to_string_lossy();
    let mut end = name.len().min(180);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    OsString::from(&name[..end])
}
