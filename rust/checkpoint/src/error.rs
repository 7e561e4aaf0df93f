//! What can go wrong, in variants that a caller can tell apart.

use std::io;
use std::path::{Path, PathBuf};

/// The result of an operation on a checkpoint.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing at the path that should be opened.
    #[error("{}: no such checkpoint; check the path and the working directory", path.display())]
    NotFound {
        /// The path that was asked for.
        path: PathBuf,
    },

    /// The path that should be opened is not a directory.
    #[error(
        "{}: a checkpoint is a directory, and this is none; give the directory that holds the variables",
        path.display()
    )]
    NotADirectory {
        /// The path that was asked for.
        path: PathBuf,
    },

    /// A checkpoint cannot be saved here because something is here already.
    #[error("{}: {hint}", path.display())]
    Exists {
        /// The path that was asked for.
        path: PathBuf,
        /// What is there, and what to do.
        hint: String,
    },

    /// The disk has not the room that a save needs.
    #[error(
        "{}: {needed} bytes are needed and {available} are available; free some space or use \
         another disk",
        path.display()
    )]
    NoSpace {
        /// Where the checkpoint was to be saved.
        path: PathBuf,
        /// Bytes that would be written.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },

    /// What the user says about a checkpoint cannot be stored.
    #[error("metadata: {reason}")]
    InvalidMetadata {
        /// Why not.
        reason: String,
    },

    /// A variable that is asked for is not in the checkpoint.
    #[error("{}: there is no variable {name:?}; `flowrs ls` lists those that are there", path.display())]
    NoSuchVariable {
        /// The checkpoint.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
    },

    /// A file that was there is not any more.
    #[error(
        "{}: cannot open: the checkpoint has been replaced or removed since it was opened; open \
         it again",
        path.display()
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },

    /// The checkpoint has been closed.
    #[error("{}: the checkpoint has been closed; open it again", path.display())]
    Closed {
        /// Where it was opened.
        path: PathBuf,
    },

    /// What is on the disk is not a valid checkpoint.
    #[error("{}: {}{reason}", path.display(), named(variable.as_deref()))]
    Damaged {
        /// The file or directory that is not as it should be.
        path: PathBuf,
        /// The variable it belongs to, if it belongs to one.
        variable: Option<String>,
        /// What was expected, what was found, what to do.
        reason: String,
    },

    /// A variable cannot be stored under its name.
    #[error("variable name {name:?}: {reason}")]
    InvalidName {
        /// The name.
        name: String,
        /// Why not, and what to do.
        reason: String,
    },

    /// The bytes given for a variable do not fit its shape and type.
    #[error("variable {variable:?}: {reason}")]
    InvalidData {
        /// The variable's name.
        variable: String,
        /// The sizes expected and found.
        reason: String,
    },

    /// A `meta` text, or a shape and type, that means no array.
    #[error("invalid variable description: {reason}")]
    InvalidMeta {
        /// What is wrong, with line and column if it came from a text.
        reason: String,
    },

    /// The operating system refused an operation.
    #[error("{}: cannot {operation}: {source}{}", path.display(), advice(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was to be done with it, as a verb.
        operation: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err` on an operation of the storage.
    pub(crate) fn io(path: &Path, operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), operation, source }
    }

    pub(crate) fn invalid_meta(reason: impl Into<String>) -> Self {
        Self::InvalidMeta { reason: reason.into() }
    }
}

fn named(variable: Option<&str>) -> String {
    variable.map_or_else(String::new, |name| format!("variable {name:?}: "))
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space or use another disk"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; change the permissions or use another directory"
        }
        io::ErrorKind::ResourceBusy => "; use a directory inside it",
        _ => "",
    }
}
