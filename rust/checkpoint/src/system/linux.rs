//! The file system of Linux: directories stay open, and everything below them is opened relative
//! to them, one part of the path at a time and without following links.

use std::ffi::{CStr, OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::buffer::spare_capacity;
use rustix::fs::{
    self as system, AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RawDir, RenameFlags,
    ResolveFlags, SeekFrom,
};
use rustix::io::Errno;

use crate::storage::{
    Child, Directory, File, Kind, MapMode, Mapping, NewFile, Storage, not_a_regular_file,
};

/// From how many files on one flush of the whole file system is cheaper than one per file, even
/// if it has to write what other programs left in memory.
const FILES_FOR_BATCH: usize = 64;

const EXT4: u32 = 0xEF53;
const XFS: u32 = 0x5846_5342;
const TMPFS: u32 = 0x0102_1994;

/// A `meta` that we write is shorter than this.
const USUAL_META: usize = 1024;

const NOT_LINKS: AtFlags = AtFlags::SYMLINK_NOFOLLOW;

/// From which size on a file gets its room on the disk before it is written, and is flushed while
/// it is written. For smaller ones that costs more than it gains.
const LARGE: u64 = 1 << 20;

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealStorage;

impl Storage for RealStorage {
    super::storage_by_path!();

    fn open_directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = system::open(path, flags, Mode::empty())?;
        let counts_directories =
            matches!(system::fstatfs(&descriptor)?.f_type as u32, EXT4 | XFS | TMPFS);
        Ok(Arc::new(LinuxDirectory { descriptor, listed: Mutex::new(false), counts_directories }))
    }

    fn create_file(&self, path: &Path, size: u64) -> io::Result<Box<dyn NewFile>> {
        let file = super::create_new_file(path)?;
        let large = size >= LARGE;
        if large {
            match system::fallocate(&file, FallocateFlags::empty(), 0, size) {
                // Not every file system can; then a full disk shows while writing.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Box::new(LinuxNewFile { file, large, flushed: 0, written: 0 }))
    }

    fn available_space(&self, directory: &Path) -> io::Result<Option<u64>> {
        let found = system::statvfs(directory)?;
        // File systems without a size of their own say 0 of everything.
        Ok((found.f_blocks != 0).then(|| found.f_bavail.saturating_mul(found.f_frsize)))
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

    fn exchange_directories(&self, one: &Path, other: &Path) -> io::Result<()> {
        match system::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
            result => Ok(result?),
        }
    }
}

/// Whether `syncfs` is known to write everything of this file system to its disk. On network
/// and user-space file systems it may do less than a flush of each file.
fn flushes_as_a_whole(directory: &fs::File) -> io::Result<bool> {
    const BTRFS: u32 = 0x9123_683E;
    const F2FS: u32 = 0xF2F5_2010;
    // The type is a 32-bit number, stored in a word whose size and sign differ among machines.
    let file_system = system::fstatfs(directory)?.f_type as u32;
    Ok(matches!(file_system, EXT4 | XFS | BTRFS | F2FS | TMPFS))
}

/// Whether the files of this kind of file system come over a network or from another program.
const fn is_remote(file_system: u32) -> bool {
    const NFS: u32 = 0x6969;
    const SMB: u32 = 0x517B;
    const CIFS: u32 = 0xFF53_4D42;
    const SMB2: u32 = 0xFE53_4D42;
    const CEPH: u32 = 0x00C3_6400;
    const LUSTRE: u32 = 0x0BD0_0BD0;
    const FUSE: u32 = 0x6573_5546;
    const NINE_P: u32 = 0x0102_1997;
    const AFS: u32 = 0x5346_414F;
    const GPFS: u32 = 0x4750_4653;
    matches!(file_system, NFS | SMB | CIFS | SMB2 | CEPH | LUSTRE | FUSE | NINE_P | AFS | GPFS)
}

struct LinuxNewFile {
    file: fs::File,
    large: bool,
    written: u64,
    /// How much the system has been told to write to the disk.
    flushed: u64,
}

impl NewFile for LinuxNewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.file, bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn start_flush(&mut self) {
        let (Ok(from), Ok(length)) =
            (i64::try_from(self.flushed), i64::try_from(self.written - self.flushed))
        else {
            return;
        };
        if self.large && length > 0 {
            // SAFETY: the descriptor is open, and the call touches no memory of ours. What it
            // returns does not matter: the flush that counts comes later.
            unsafe {
                libc::sync_file_range(
                    self.file.as_raw_fd(),
                    from,
                    length,
                    libc::SYNC_FILE_RANGE_WRITE,
                );
            }
            self.flushed = self.written;
        }
    }
}

struct LinuxDirectory {
    descriptor: OwnedFd,
    /// Listing moves the position of the descriptor, so that only one may list at a time. Whether
    /// it has been moved.
    listed: Mutex<bool>,
    /// Whether the links to a directory tell how many directories it holds.
    counts_directories: bool,
}

impl LinuxDirectory {
    /// Opens the directory of a file below, if it is not this one; and the file's name.
    fn innermost<'p>(&self, relative: &'p Path) -> io::Result<(Option<OwnedFd>, &'p OsStr)> {
        let name = relative.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut inner: Option<OwnedFd> = None;
        for part in relative.parent().unwrap_or_else(|| Path::new("")).components() {
            let Component::Normal(part) = part else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let outer = inner.as_ref().unwrap_or(&self.descriptor);
            inner = Some(open_below(outer, part, OFlags::PATH | OFlags::DIRECTORY)?);
        }
        Ok((inner, name))
    }

    fn child_kind(&self, name: &OsStr) -> io::Result<Kind> {
        let status = system::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(kind_of(FileType::from_raw_mode(status.st_mode)))
    }
}

impl Directory for LinuxDirectory {
    fn list(&self, limit: usize) -> io::Result<Vec<Child>> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *listed, true) {
            system::seek(&self.descriptor, SeekFrom::Start(0))?;
        }
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
        let descriptor = open_below(&self.descriptor, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let counts_directories = self.counts_directories;
        Ok(Arc::new(Self { descriptor, listed: Mutex::new(false), counts_directories }))
    }

    fn file_size(&self, name: &OsStr) -> io::Result<u64> {
        let status = system::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)?;
        regular_size(&status)
    }

    fn open_file(&self, relative: &Path) -> io::Result<Box<dyn File>> {
        let (inner, name) = self.innermost(relative)?;
        let directory = inner.as_ref().unwrap_or(&self.descriptor);
        // Should it be a pipe after all, opening it does not wait for a writer.
        let file = open_below(directory, name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        regular_size(&system::fstat(&file)?)?;
        Ok(Box::new(LinuxFile(file.into())))
    }

    fn read_file(&self, relative: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let (inner, name) = self.innermost(relative)?;
        let directory = inner.as_ref().unwrap_or(&self.descriptor);
        let file = open_below(directory, name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let size = regular_size(&system::fstat(&file)?)?;
        let mut bytes = vec![0; usize::try_from(size).map_or(limit, |size| size.min(limit))];
        let file = fs::File::from(file);
        let mut length = 0;
        while length < bytes.len() {
            match file.read_at(&mut bytes[length..], length as u64) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn for_another_thread(&self) -> Option<Arc<dyn Directory>> {
        // Where no descriptor is left, threads share one.
        self.open_directory(OsStr::new(".")).ok()
    }

    fn quick_look(&self, relative: &Path, meta: &mut Vec<u8>) -> io::Result<Option<u64>> {
        if !self.counts_directories {
            return Ok(None);
        }
        let mut look = || -> io::Result<Option<u64>> {
            let mut path = SystemPath::new(relative);
            let inside = system::statat(&self.descriptor, path.get("")?, NOT_LINKS)?;
            // Its own name, `.` inside it, and a `..` in each directory that it holds.
            let is_leaf = inside.st_nlink == 2
                && FileType::from_raw_mode(inside.st_mode) == FileType::Directory;
            if !is_leaf {
                return Ok(None);
            }
            let out = system::statat(&self.descriptor, path.get("/out")?, NOT_LINKS)?;
            // The names in the path were listed, so that none of them is `..`; and without links
            // nothing leads elsewhere.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let (path, no_links) = (path.get("/meta")?, ResolveFlags::NO_SYMLINKS);
            let file = system::openat2(&self.descriptor, path, flags, Mode::empty(), no_links)?;
            meta.clear();
            meta.reserve_exact(USUAL_META);
            // A pipe or a socket has no positions and fails; devices that have them fill the memory, or
            // end at once. Those, and texts that are longer, are read the long way.
            let read = rustix::io::pread(&file, spare_capacity(meta), 0)?;
            Ok((1..USUAL_META).contains(&read).then_some(regular_size(&out)?))
        };
        // The long way tells what is wrong.
        Ok(look().unwrap_or(None))
    }

    fn identity(&self) -> io::Result<Option<(u64, u64)>> {
        let status = system::fstat(&self.descriptor)?;
        Ok(Some((status.st_dev, status.st_ino)))
    }

    fn is_remote(&self) -> io::Result<bool> {
        Ok(is_remote(system::fstatfs(&self.descriptor)?.f_type as u32))
    }

    fn link_file(&self, relative: &Path, path: &Path) -> io::Result<()> {
        let (inner, name) = self.innermost(relative)?;
        let directory = inner.as_ref().unwrap_or(&self.descriptor);
        system::linkat(directory, name, CWD, path, AtFlags::empty())?;
        let status = system::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
        regular_size(&status).map(drop).inspect_err(|_| drop(fs::remove_file(path)))
    }
}

/// A path as the system takes it, to which different ends are put in turn.
struct SystemPath {
    bytes: Vec<u8>,
    length: usize,
}

impl SystemPath {
    fn new(path: &Path) -> Self {
        let path = path.as_os_str().as_bytes();
        let mut bytes = Vec::with_capacity(path.len() + "/meta\0".len());
        bytes.extend_from_slice(path);
        Self { bytes, length: path.len() }
    }

    fn get(&mut self, end: &str) -> io::Result<&CStr> {
        self.bytes.truncate(self.length);
        self.bytes.extend_from_slice(end.as_bytes());
        self.bytes.push(0);
        CStr::from_bytes_with_nul(&self.bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
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
