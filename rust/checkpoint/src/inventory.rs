//! What a checkpoint consists of: looked at before one is replaced, so that nothing else ever is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::names::{MARKER, MAX_NAME_PARTS, METADATA};
use crate::reader::MAX_LISTED;
use crate::storage::{Child, Directory, Kind, Storage};

/// The files and directories of a checkpoint, relative to it.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    files: Vec<PathBuf>,
    /// Each after the directories that it holds.
    directories: Vec<PathBuf>,
}

/// What a directory is.
pub(crate) enum Contents {
    Empty,
    Checkpoint(Inventory),
    /// Something else; this path in it belongs to no checkpoint.
    Foreign(PathBuf),
}

/// Looks at everything in a directory.
pub(crate) fn look(storage: &dyn Storage, path: &Path) -> Result<Contents> {
    let root = storage.open_directory(path).map_err(Error::io(path, "open"))?;
    let mut found = Inventory::default();
    let mut listed = 0;
    match found.visit(root.as_ref(), path, Path::new(""), &mut listed)? {
        Some(foreign) => Ok(Contents::Foreign(foreign)),
        None if found.files.is_empty() && found.directories.is_empty() => Ok(Contents::Empty),
        // Empty directories alone may be the beginning of anything.
        None if found.files.is_empty() => Ok(Contents::Foreign(found.directories.swap_remove(0))),
        None => Ok(Contents::Checkpoint(found)),
    }
}

impl Inventory {
    /// Removes all of it and then the directory itself; whatever has been added meanwhile stays,
    /// and so does what holds it.
    pub(crate) fn remove(&self, storage: &dyn Storage, path: &Path) {
        for file in &self.files {
            // What cannot be removed is left; nobody depends on it any more.
            let _ = storage.remove_file(&path.join(file));
        }
        for directory in &self.directories {
            let _ = storage.remove_directory(&path.join(directory));
        }
        let _ = storage.remove_directory(path);
    }

    /// Adds what is in a directory; returns the path of something that belongs to no checkpoint.
    /// The depth of the recursion is bounded by [`MAX_NAME_PARTS`].
    fn visit(
        &mut self,
        directory: &dyn Directory,
        path: &Path,
        below: &Path,
        listed: &mut usize,
    ) -> Result<Option<PathBuf>> {
        let depth = below.components().count();
        let place = path.join(below);
        let children = directory.list(MAX_LISTED - *listed).map_err(Error::io(&place, "list"))?;
        *listed += children.len();
        if depth > MAX_NAME_PARTS || *listed == MAX_LISTED {
            return Ok(Some(below.to_owned()));
        }
        let variable = depth > 0 && holds(&children, "out");
        for Child { name, kind } in &children {
            let inner = below.join(name);
            match kind {
                Kind::File if belongs(name, depth, variable) => self.files.push(inner),
                Kind::Directory => {
                    let opened =
                        directory.open_directory(name).map_err(Error::io(&place, "open"))?;
                    let foreign = self.visit(opened.as_ref(), path, &inner, listed)?;
                    if foreign.is_some() {
                        return Ok(foreign);
                    }
                    self.directories.push(inner);
                }
                Kind::File | Kind::Link | Kind::Special => return Ok(Some(inner)),
            }
        }
        Ok(None)
    }
}

/// Whether a file of this name is a part of a checkpoint there.
fn belongs(name: &OsStr, depth: usize, variable: bool) -> bool {
    match depth {
        0 => name == MARKER || name == METADATA,
        _ => variable && (name == "out" || name == "meta"),
    }
}

fn holds(children: &[Child], name: &str) -> bool {
    children.iter().any(|child| child.name == name && child.kind == Kind::File)
}
