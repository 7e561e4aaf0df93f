//! The real file system: everything that the operating system is asked for is asked here.
//!
//! `linux` opens everything below a checkpoint relative to one open directory, so that nothing
//! can be exchanged on the way; `portable` uses the standard library alone.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, not(target_os = "linux")))]
pub(crate) mod portable;

#[cfg(target_os = "linux")]
pub use linux::RealStorage;
#[cfg(not(target_os = "linux"))]
pub use portable::PortableStorage as RealStorage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use memmap2::MmapOptions;

use crate::storage::{Kind, MapMode, Mapping};

/// What both implementations do by path, with the standard library.
macro_rules! storage_by_path {
    () => {
        fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
            super::kind(path)
        }

        fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
            std::fs::canonicalize(path)
        }

        fn create_directory(&self, path: &Path) -> io::Result<()> {
            std::fs::create_dir(path)
        }

        fn remove_file(&self, path: &Path) -> io::Result<()> {
            std::fs::remove_file(path)
        }

        fn remove_directory(&self, path: &Path) -> io::Result<()> {
            std::fs::remove_dir(path)
        }
    };
}
use storage_by_path;

fn kind(path: &Path) -> io::Result<Option<Kind>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(kind_of(metadata.file_type()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn kind_of(file_type: fs::FileType) -> Kind {
    if file_type.is_file() {
        Kind::File
    } else if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        Kind::Link
    } else {
        Kind::Special
    }
}

fn create_new_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).open(path)
}

/// Makes each file and directory durable on its own.
fn sync_each(files: &[PathBuf], directories: &[PathBuf]) -> io::Result<()> {
    for path in files {
        // Windows flushes only what is open for writing.
        fs::OpenOptions::new().read(true).write(cfg!(windows)).open(path)?.sync_all()?;
    }
    // Other systems have no handle to a directory that could be flushed.
    if cfg!(unix) {
        for path in directories {
            fs::File::open(path)?.sync_all()?;
        }
    }
    Ok(())
}

fn map(file: &fs::File, length: usize, mode: MapMode) -> io::Result<Mapping> {
    let mut options = MmapOptions::new();
    options.len(length);
    match mode {
        // SAFETY: the file is regular and has at least `length` bytes. This crate never changes
        // or shortens a file that exists; that others do not either is a condition which
        // `Mapping` documents and no system can check.
        MapMode::ReadOnly => unsafe { options.map(file) }.map(Mapping::from),
        // SAFETY: as above; writes go to private pages.
        MapMode::CopyOnWrite => unsafe { options.map_copy(file) }.map(Mapping::from),
    }
}
