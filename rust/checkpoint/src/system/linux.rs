//! The file system of Linux: directories stay open, and everything below them is opened relative
//! to them, one part of the path at a time and without following links.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{self as system, AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use crate::storage::{Child, Directory, File, Kind, MapMode, Mapping, Storage, not_a_regular_file};

/// From how many files on one flush of the whole file system is cheaper than one per file, even
/// if it has to write what other programs left in memory.
const FILES_FOR_BATCH: usize = 64;

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealStorage;

impl Storage for RealStorage {
    super::storage_by_path!();

    fn open_directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        LinuxDirectory::shared(system::open(path, flags, Mode::empty())?)
    }

    fn make_durable(&self, files: &[PathBuf], directories: &[PathBuf]) -> io::Result<()> {
        if let Some(directory) = directories.first()
            && files.len() >= FILES_FOR_BATCH
        {
            let directory = fs::File::open(directory)?;
            if flushes_as_a_whole(&directory)? {
                return Ok(system::syncfs(directory)?);
            }
        }
        super::sync_each(files, directories)
    }

    fn rename_directory(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
}

/// Whether `syncfs` is known to write everything of this file system to its disk. On network
/// and user-space file systems it may do less than a flush of each file.
fn flushes_as_a_whole(directory: &fs::File) -> io::Result<bool> {
    const EXT4: u32 = 0xEF53;
    const XFS: u32 = 0x5846_5342;
    const BTRFS: u32 = 0x9123_683E;
    const F2FS: u32 = 0xF2F5_2010;
    const TMPFS: u32 = 0x0102_1994;
    // The type is a 32-bit number, stored in a word whose size and sign differ among machines.
    let file_system = system::fstatfs(directory)?.f_type as u32;
    Ok(matches!(file_system, EXT4 | XFS | BTRFS | F2FS | TMPFS))
}

struct LinuxDirectory {
    descriptor: OwnedFd,
    /// Listing moves the position of the descriptor, so that only one may list at a time.
    listing: Mutex<()>,
}

impl LinuxDirectory {
    fn shared(descriptor: OwnedFd) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(Self { descriptor, listing: Mutex::new(()) }))
    }

    fn child_kind(&self, name: &OsStr) -> io::Result<Kind> {
        let status = system::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(kind_of(FileType::from_raw_mode(status.st_mode)))
    }
}

impl Directory for LinuxDirectory {
    fn list(&self, limit: usize) -> io::Result<Vec<Child>> {
        let _one_at_a_time = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        system::seek(&self.descriptor, SeekFrom::Start(0))?;
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut entries = RawDir::new(&self.descriptor, &mut buffer);
        let mut children = Vec::new();
        while children.len() < limit
            && let Some(entry) = entries.next()
        {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system stores the kind beside the name.
                FileType::Unknown => self.child_kind(name)?,
                file_type => kind_of(file_type),
            };
            children.push(Child { name: OsString::from(name), kind });
        }
        Ok(children)
    }

    fn open_directory(&self, name: &OsStr) -> io::Result<Arc<dyn Directory>> {
        Self::shared(open_below(&self.descriptor, name, OFlags::RDONLY | OFlags::DIRECTORY)?)
    }

    fn file_size(&self, name: &OsStr) -> io::Result<u64> {
        let status = system::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)?;
        regular_size(&status)
    }

    fn open_file(&self, relative: &Path) -> io::Result<Box<dyn File>> {
        let name = relative.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut inner: Option<OwnedFd> = None;
        for part in relative.parent().unwrap_or_else(|| Path::new("")).components() {
            let Component::Normal(part) = part else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let outer = inner.as_ref().unwrap_or(&self.descriptor);
            inner = Some(open_below(outer, part, OFlags::PATH | OFlags::DIRECTORY)?);
        }
        let directory = inner.as_ref().unwrap_or(&self.descriptor);
        // Should it be a pipe after all, opening it does not wait for a writer.
        let file = open_below(directory, name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        regular_size(&system::fstat(&file)?)?;
        Ok(Box::new(LinuxFile(file.into())))
    }
}

/// Opens an entry of a directory that is no symbolic link.
fn open_below(directory: impl AsFd, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    system::openat(directory, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP => not_a_regular_file(),
        error => error.into(),
    })
}

fn regular_size(status: &system::Stat) -> io::Result<u64> {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => {
            u64::try_from(status.st_size).map_err(|_| io::ErrorKind::InvalidData.into())
        }
        _ => Err(not_a_regular_file()),
    }
}

const fn kind_of(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Special,
    }
}

struct LinuxFile(fs::File);

impl File for LinuxFile {
    fn size(&self) -> io::Result<u64> {
        regular_size(&system::fstat(&self.0)?)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn map(&self, length: usize, mode: MapMode) -> io::Result<Mapping> {
        super::map(&self.0, length, mode)
    }
}
