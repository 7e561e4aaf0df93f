//! The file system through the standard library alone.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::storage::{Child, Directory, File, Kind, MapMode, Mapping, Storage, not_a_regular_file};

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
        let path = self.below(relative)?;
        if !fs::symlink_metadata(&path)?.is_file() {
            return Err(not_a_regular_file());
        }
        let file = fs::File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(not_a_regular_file());
        }
        Ok(Box::new(PortableFile(file)))
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
