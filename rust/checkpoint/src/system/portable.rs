//! The file system through the standard library alone.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::storage::{
    Child, Directory, File, Kind, MapMode, Mapping, NewFile, Storage, not_a_regular_file,
};

/// The file system of a system for which there is nothing better.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(target_os = "linux", expect(unreachable_pub, reason = "there for the tests only"))]
pub struct PortableStorage;

impl Storage for PortableStorage {
    super::storage_by_path!();

    fn open_directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        // Absolute, so that a later change of the working directory does not matter.
        let path = fs::canonicalize(path)?;
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Arc::new(PortableDirectory { path }))
    }

    fn create_file(&self, path: &Path, _size: u64) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(PortableNewFile(super::create_new_file(path)?)))
    }

    fn available_space(&self, _directory: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn make_durable(&self, files: &[PathBuf], directories: &[PathBuf]) -> io::Result<()> {
        super::sync_each(files, directories)
    }

    fn rename_directory(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::rename(from, to) {
            // Where an empty directory is not replaced, it is removed first.
            Err(_) if super::kind(to)? == Some(Kind::Directory) => {
                fs::remove_dir(to)?;
                fs::rename(from, to).inspect_err(|_| drop(fs::create_dir(to)))
            }
            result => result,
        }
    }

    fn exchange_directories(&self, _one: &Path, _other: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct PortableNewFile(fs::File);

impl NewFile for PortableNewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.0, bytes)
    }
}

struct PortableDirectory {
    path: PathBuf,
}

impl PortableDirectory {
    /// The path of something below, if every directory on the way is really one.
    fn below(&self, relative: &Path) -> io::Result<PathBuf> {
        let mut path = self.path.clone();
        if let Some(parents) = relative.parent() {
            for part in parents.components() {
                let Component::Normal(part) = part else {
                    return Err(io::ErrorKind::InvalidInput.into());
                };
                path.push(part);
                if super::kind(&path)? != Some(Kind::Directory) {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
            }
        }
        path.push(relative.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        Ok(path)
    }

    /// The path of a regular file below.
    fn regular(&self, relative: &Path) -> io::Result<PathBuf> {
        let path = self.below(relative)?;
        if fs::symlink_metadata(&path)?.is_file() { Ok(path) } else { Err(not_a_regular_file()) }
    }
}

impl Directory for PortableDirectory {
    fn list(&self, limit: usize) -> io::Result<Vec<Child>> {
        let child = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok(Child { name: entry.file_name(), kind: super::kind_of(entry.file_type()?) })
        };
        fs::read_dir(&self.path)?.take(limit).map(child).collect()
    }

    fn open_directory(&self, name: &OsStr) -> io::Result<Arc<dyn Directory>> {
        let path = self.path.join(name);
        if super::kind(&path)? != Some(Kind::Directory) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Arc::new(Self { path }))
    }

    fn file_size(&self, name: &OsStr) -> io::Result<u64> {
        let metadata = fs::symlink_metadata(self.path.join(name))?;
        if metadata.is_file() { Ok(metadata.len()) } else { Err(not_a_regular_file()) }
    }

    fn open_file(&self, relative: &Path) -> io::Result<Box<dyn File>> {
        let file = fs::File::open(self.regular(relative)?)?;
        if !file.metadata()?.is_file() {
            return Err(not_a_regular_file());
        }
        Ok(Box::new(PortableFile(file)))
    }

    fn identity(&self) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }

    fn is_remote(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn link_file(&self, relative: &Path, path: &Path) -> io::Result<()> {
        fs::hard_link(self.regular(relative)?, path)
    }
}

struct PortableFile(fs::File);

impl File for PortableFile {
    fn size(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset)
    }

    fn map(&self, length: usize, mode: MapMode) -> io::Result<Mapping> {
        super::map(&self.0, length, mode)
    }
}
