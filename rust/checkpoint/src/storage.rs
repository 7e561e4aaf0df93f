//! The operations on files that checkpoints are made of.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::{Mmap, MmapMut};

/// A file system, as far as checkpoints need one.
///
/// Writing goes by paths, since a save writes only below a directory that it has just made.
/// Reading goes by [`Directory`], since what is read may have been put there by anyone.
pub trait Storage: Send + Sync {
    /// What is at the path itself, without following a symbolic link; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// Any failure other than that nothing is there.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>>;

    /// The absolute path, free of symbolic links, of something that exists.
    ///
    /// # Errors
    ///
    /// `NotFound` if nothing is there; any other failure to look.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;

    /// Opens a directory for reading; the path is followed through symbolic links.
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotADirectory`, or any other failure to open it.
    fn open_directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>>;

    /// Makes a directory in one that exists.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if anything is at the path; any other failure to make it.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes a file that is going to have this size, where the system can do so with the room on
    /// the disk that it needs. On failure the file may exist.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if anything is at the path; any other failure to make it.
    fn create_file(&self, path: &Path, size: u64) -> io::Result<Box<dyn NewFile>>;

    /// Bytes that a directory's file system has left for us, if it says so.
    ///
    /// # Errors
    ///
    /// Any failure to ask.
    fn available_space(&self, directory: &Path) -> io::Result<Option<u64>>;

    /// Returns when the contents of the files and the entries of the directories (not those of
    /// directories below them) would survive a loss of power. All are on one file system.
    ///
    /// # Errors
    ///
    /// Any failure to write what was still in memory.
    fn make_durable(&self, files: &[PathBuf], directories: &[PathBuf]) -> io::Result<()>;

    /// Gives a directory another name in the same parent, in one step. An empty directory that
    /// has this name is replaced; nothing else is.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, `DirectoryNotEmpty` or `NotADirectory` if the name is taken; any other
    /// failure.
    fn rename_directory(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Exchanges the names of two directories of the same parent, in one step.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the system cannot do so; any other failure.
    fn exchange_directories(&self, one: &Path, other: &Path) -> io::Result<()>;

    /// Removes a file or a symbolic link, never what it points to.
    ///
    /// # Errors
    ///
    /// Any failure to remove it.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// `DirectoryNotEmpty`, or any other failure to remove it.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
}

/// A file that is being written, from its beginning to its end.
pub trait NewFile {
    /// Adds bytes.
    ///
    /// # Errors
    ///
    /// Any failure to write; a part of the bytes may have been written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Has the system begin to write to the disk what it holds in memory. Only a hint.
    fn start_flush(&mut self) {}
}

/// A directory that is open for reading. Nothing here follows a symbolic link.
pub trait Directory: Send + Sync {
    /// The entries except `.` and `..`, in no order; stops after `limit` of them.
    ///
    /// # Errors
    ///
    /// Any failure to read the directory.
    fn list(&self, limit: usize) -> io::Result<Vec<Child>>;

    /// Opens a directory in this one.
    ///
    /// # Errors
    ///
    /// If it is no directory, or cannot be opened.
    fn open_directory(&self, name: &OsStr) -> io::Result<Arc<dyn Directory>>;

    /// Size in bytes of a regular file in this directory, without opening it.
    ///
    /// # Errors
    ///
    /// If it is no regular file, or cannot be looked at.
    fn file_size(&self, name: &OsStr) -> io::Result<u64>;

    /// Opens a regular file in this directory or below it.
    ///
    /// # Errors
    ///
    /// If it is no regular file, if a directory on the way is none, or if it cannot be opened.
    fn open_file(&self, relative: &Path) -> io::Result<Box<dyn File>>;

    /// Reads a small regular file in this directory or below it; stops after `limit` bytes.
    ///
    /// # Errors
    ///
    /// As for [`Directory::open_file`]; any failure to read.
    fn read_file(&self, relative: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let file = self.open_file(relative)?;
        let mut bytes = vec![0; limit.min(512)];
        let mut length = 0;
        while length < limit {
            match file.read_at(&mut bytes[length..], length as u64) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if length == bytes.len() {
                bytes.resize((2 * length).min(limit), 0);
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// The same directory for another thread, if that is faster: a descriptor counts who uses it, and
    /// threads that share one wait for each other's counting.
    fn for_another_thread(&self) -> Option<Arc<dyn Directory>> {
        None
    }

    /// Looks at a directory below that holds a variable and no directories, with fewer calls than
    /// by opening and listing it: the bytes of `out`, and in `meta` the text of that. `None`: it is
    /// something else, or the system has no short way.
    ///
    /// # Errors
    ///
    /// None that opening and listing it would not have too.
    fn quick_look(&self, _relative: &Path, _meta: &mut Vec<u8>) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// A value that no other directory has at this time, if the system tells one.
    ///
    /// # Errors
    ///
    /// Any failure to ask.
    fn identity(&self) -> io::Result<Option<(u64, u64)>>;

    /// Whether it lies on a file system whose files should be read and not mapped.
    ///
    /// # Errors
    ///
    /// Any failure to ask.
    fn is_remote(&self) -> io::Result<bool>;

    /// Gives a regular file in this directory or below it another name, `path`, as well.
    ///
    /// # Errors
    ///
    /// As for [`Directory::open_file`]; if something is at `path`; if the system has no links, or
    /// none between the two places.
    fn link_file(&self, relative: &Path, path: &Path) -> io::Result<()>;
}

/// A regular file that is open for reading.
pub trait File: Send + Sync {
    /// Size in bytes.
    ///
    /// # Errors
    ///
    /// Any failure to ask for it.
    fn size(&self) -> io::Result<u64>;

    /// Reads from a position; returns how many bytes were read, 0 only at the end of the file.
    ///
    /// # Errors
    ///
    /// Any failure to read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Maps the first `length` bytes, which is not 0 and not more than the file has.
    ///
    /// # Errors
    ///
    /// Any failure to map.
    fn map(&self, length: usize, mode: MapMode) -> io::Result<Mapping>;
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its name.
    pub name: OsString,
    /// What it is.
    pub kind: Kind,
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, wherever it points.
    Link,
    /// A pipe, a socket, a device.
    Special,
}

/// Whether a mapping can be written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MapMode {
    /// Reads only.
    #[default]
    ReadOnly,
    /// Writes stay in this process and never reach the file.
    CopyOnWrite,
}

/// The bytes of a file in memory. Keeps them alive without the file being open, and also after
/// the file has been replaced or removed.
///
/// The file must not be cut short while a mapping of it is in use: reading a page that is gone
/// ends the process (`SIGBUS`). Nothing in this crate ever shortens a file or writes into one
/// that exists.
#[derive(Debug)]
pub struct Mapping {
    memory: Memory,
    /// Held by the mapping of a file that was asked for by [`Mapping::of_file`].
    _place: Option<Place>,
}

#[derive(Debug)]
enum Memory {
    Shared(Mmap),
    Private(MmapMut),
    Owned(Vec<u8>),
}

/// The most files that are mapped at once. A process can have about twice as many mappings on Linux;
/// one that has them all cannot even start a thread any more.
pub(crate) const MOST_MAPPED: usize = 1 << 15;

/// How many files are mapped.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// One of [`MOST_MAPPED`], until it is dropped.
#[derive(Debug)]
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let before = MAPPED.fetch_add(1, Ordering::Relaxed);
        // Without room, the new one is dropped and counted back here.
        Some(Self).filter(|_| before < MOST_MAPPED)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        MAPPED.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Mapping {
    /// Maps the first `length` bytes of a file; `None` where the process has no room for one mapping
    /// more.
    pub(crate) fn of_file(
        file: &dyn File,
        length: usize,
        mode: MapMode,
    ) -> io::Result<Option<Self>> {
        let Some(place) = Place::take() else { return Ok(None) };
        match file.map(length, mode) {
            Ok(mapping) => Ok(Some(Self { _place: Some(place), ..mapping })),
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bytes for writing, if the mapping is copy-on-write (or empty).
    #[must_use]
    pub fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        match &mut self.memory {
            Memory::Shared(_) => None,
            Memory::Private(bytes) => Some(bytes),
            Memory::Owned(bytes) => Some(bytes),
        }
    }

    /// Zeroed memory of this size, at the beginning of a page if it is large.
    pub(crate) fn zeroed(length: usize) -> io::Result<Self> {
        const LARGE: usize = 64 << 10;
        if length >= LARGE
            && let Ok(memory) = MmapMut::map_anon(length)
        {
            return Ok(memory.into());
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(length, 0);
        Ok(Self::from(Memory::Owned(bytes)))
    }

    /// A mapping of nothing: systems refuse to map zero bytes.
    pub(crate) fn empty() -> Self {
        Memory::Owned(Vec::new()).into()
    }

    #[cfg(test)]
    pub(crate) fn owned(bytes: Vec<u8>) -> Self {
        Memory::Owned(bytes).into()
    }
}

impl From<Memory> for Mapping {
    fn from(memory: Memory) -> Self {
        Self { memory, _place: None }
    }
}

impl From<Mmap> for Mapping {
    fn from(bytes: Mmap) -> Self {
        Memory::Shared(bytes).into()
    }
}

impl From<MmapMut> for Mapping {
    fn from(bytes: MmapMut) -> Self {
        Memory::Private(bytes).into()
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Shared(bytes) => bytes,
            Memory::Private(bytes) => bytes,
            Memory::Owned(bytes) => bytes,
        }
    }
}

/// What [`Directory::open_file`] and [`Directory::file_size`] say of anything but a file.
pub(crate) fn not_a_regular_file() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a regular file (symbolic links, pipes and devices are never opened)",
    )
}
