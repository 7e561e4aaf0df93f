//! A directory that never ends: opening it, and replacing it, stop at a number of entries.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::quick;
use crate::storage::{Child, Directory, File, Kind, NewFile, Storage};
use crate::{Error, MAX_LISTED, SaveOptions, open, save};

/// Every directory holds as many entries as anyone asks for: files, or directories like itself.
#[derive(Clone, Copy)]
struct Endless {
    kind: Kind,
    /// The most that one directory holds.
    width: usize,
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Storage for Endless {
    fn kind(&self, _path: &Path) -> io::Result<Option<Kind>> {
        Ok(Some(Kind::Directory))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn open_directory(&self, _path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(*self))
    }

    fn create_directory(&self, _path: &Path) -> io::Result<()> {
        unsupported()
    }

    fn create_file(&self, _path: &Path, _size: u64) -> io::Result<Box<dyn NewFile>> {
        unsupported()
    }

    fn available_space(&self, _directory: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn make_durable(&self, _files: &[PathBuf], _directories: &[PathBuf]) -> io::Result<()> {
        unsupported()
    }

    fn rename_directory(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        unsupported()
    }

    fn exchange_directories(&self, _one: &Path, _other: &Path) -> io::Result<()> {
        unsupported()
    }

    fn remove_file(&self, _path: &Path) -> io::Result<()> {
        unsupported()
    }

    fn remove_directory(&self, _path: &Path) -> io::Result<()> {
        unsupported()
    }
}

impl Directory for Endless {
    fn list(&self, limit: usize) -> io::Result<Vec<Child>> {
        let child = |number: usize| Child { name: number.to_string().into(), kind: self.kind };
        Ok((0..limit.min(self.width)).map(child).collect())
    }

    fn open_directory(&self, _name: &OsStr) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(*self))
    }

    fn file_size(&self, _name: &OsStr) -> io::Result<u64> {
        unsupported()
    }

    fn open_file(&self, _relative: &Path) -> io::Result<Box<dyn File>> {
        unsupported()
    }

    fn identity(&self) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }

    fn is_remote(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn link_file(&self, _relative: &Path, _path: &Path) -> io::Result<()> {
        unsupported()
    }
}

#[test]
fn more_than_a_million_entries_are_an_error() {
    for (kind, width) in [(Kind::File, usize::MAX), (Kind::Link, usize::MAX), (Kind::Directory, 90)]
    {
        let endless = Endless { kind, width };
        let error = open(&endless, Path::new("/endless")).expect_err("too many");
        let Error::Damaged { reason, .. } = &error else { panic!("{kind:?}: {error}") };
        assert!(reason.contains(&format!("more than {MAX_LISTED} entries")), "{kind:?}: {error}");
        // What is too large to be looked at is not replaced.
        let options = SaveOptions { overwrite: true, ..quick() };
        let error = save(&endless, Path::new("/endless"), &[], &options).expect_err("too many");
        assert!(matches!(error, Error::Exists { .. }), "{kind:?}: {error}");
    }
}
