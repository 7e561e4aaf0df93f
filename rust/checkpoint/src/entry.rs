//! A variable on the disk: its description, and its bytes when they are asked for.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::checksum::{Checksum, Hasher};
use crate::data::{CACHED, Data, PIECE};
use crate::error::{Error, Result};
use crate::format::{MAX_META_BYTES, Meta};
use crate::parallel;
use crate::storage::{Directory, File, MapMode, Mapping, Storage};

/// A variable on the disk.
#[derive(Clone)]
pub struct Entry {
    /// The variable's name; its parts are separated by `/`.
    pub name: String,
    /// Bytes of its file when the checkpoint was opened.
    pub size: u64,
    /// Shape and element type; `None` if there is no `meta`, as in the oldest checkpoints.
    pub meta: Option<Meta>,
    /// What the elements' checksum was when they were saved, if `meta` says so.
    pub checksum: Option<Checksum>,
    pub(crate) root: Arc<Root>,
}

/// The directory that the files of a checkpoint's variables are opened from.
pub(crate) struct Root {
    path: PathBuf,
    /// Whether it is the directory of a single variable.
    single: bool,
    access: Access,
}

enum Access {
    /// The directory is open, whatever its name is now; `None` after it was closed.
    Open(RwLock<Option<Arc<dyn Directory>>>),
    /// It is opened by its path each time.
    ByPath(Box<dyn Storage>),
}

impl Root {
    pub(crate) fn open(path: &Path, single: bool, directory: Arc<dyn Directory>) -> Arc<Self> {
        let access = Access::Open(RwLock::new(Some(directory)));
        Arc::new(Self { path: path.to_owned(), single, access })
    }

    pub(crate) fn by_path(path: &Path, single: bool, storage: Box<dyn Storage>) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), single, access: Access::ByPath(storage) })
    }

    pub(crate) fn close(&self) {
        if let Access::Open(directory) = &self.access {
            *directory.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    pub(crate) fn directory(&self) -> Result<Arc<dyn Directory>> {
        match &self.access {
            Access::Open(directory) => {
                let directory = directory.read().unwrap_or_else(PoisonError::into_inner);
                directory.clone().ok_or_else(|| Error::Closed { path: self.path.clone() })
            }
            Access::ByPath(storage) => {
                storage.open_directory(&self.path).map_err(Error::io(&self.path, "open"))
            }
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Entry")
            .field("name", &self.name)
            .field("path_of_out", &self.path_of_out())
            .field("size", &self.size)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// The file that holds the elements.
    #[must_use]
    pub fn path_of_out(&self) -> PathBuf {
        self.root.path.join(self.relative("out"))
    }

    /// The path that was opened, and whether it is this variable's own directory.
    #[must_use]
    pub fn opened_from(&self) -> (&Path, bool) {
        (&self.root.path, self.root.single)
    }

    /// Whether mapping the file is unwise: over a network its pages come one by one, and a loss of
    /// the connection ends the process.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system does not tell.
    pub fn is_remote(&self) -> Result<bool> {
        self.root.directory()?.is_remote().map_err(Error::io(&self.root.path, "look at"))
    }

    /// Fails if the file is not there any more, or has changed its size.
    ///
    /// # Errors
    ///
    /// As for [`Entry::map`].
    pub fn check(&self) -> Result<()> {
        self.open().map(drop)
    }

    /// Maps the elements into memory; none of them is read before it is touched. Where the process
    /// has no room for more mappings, the elements are read instead.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the file no longer has the size it had when the checkpoint was
    /// opened; [`Error::Io`] if it cannot be opened or mapped.
    pub fn map(&self, mode: MapMode) -> Result<Mapping> {
        let file = self.open()?;
        if self.size == 0 {
            return Ok(Mapping::empty());
        }
        let mapped = Mapping::of_file(file.as_ref(), self.length()?, mode);
        match mapped.map_err(Error::io(&self.path_of_out(), "map"))? {
            Some(mapping) => Ok(mapping),
            None => self.read(1),
        }
    }

    /// Reads all elements into new memory.
    ///
    /// # Errors
    ///
    /// As for [`Entry::read_into`].
    pub fn read(&self, threads: usize) -> Result<Mapping> {
        let mut memory = Mapping::zeroed(self.length()?)
            .map_err(Error::io(&self.path_of_out(), "get memory for"))?;
        if let Some(buffer) = memory.as_mut_slice() {
            read_many(vec![(self, buffer)], threads)?;
        }
        Ok(memory)
    }

    /// Reads all elements into `buffer`, which must have the size of the file.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidData`] if `buffer` has another size; [`Error::Damaged`] if the file no
    /// longer has the size it had when the checkpoint was opened, or ends before the last byte;
    /// [`Error::Io`] if it cannot be opened or read.
    pub fn read_into(&self, buffer: &mut [u8]) -> Result<()> {
        read_many(vec![(self, buffer)], 1)
    }

    /// Reads the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// As for [`Entry::read_into`].
    pub fn read_range(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.read_from(self.open()?.as_ref(), offset, buffer)
    }

    fn read_from(&self, file: &dyn File, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let position = offset + done as u64;
            match file.read_at(&mut buffer[done..], position) {
                Ok(0) => return Err(self.changed(position)),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(&self.path_of_out(), "read")(error)),
            }
        }
        Ok(())
    }

    /// Compares the elements with their checksum; says whether there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if it differs; and as for [`Entry::read_into`].
    pub fn verify(&self) -> Result<bool> {
        let Some(expected) = self.checksum else { return Ok(false) };
        let file = self.open()?;
        let (mut hasher, length) = (Hasher::default(), self.length()?);
        let mut buffer = vec![0; CACHED.min(length)];
        for offset in (0..length).step_by(CACHED) {
            let piece = &mut buffer[..CACHED.min(length - offset)];
            self.read_from(file.as_ref(), offset as u64, piece)?;
            hasher.update(piece);
        }
        let found = hasher.finish();
        if found == expected {
            return Ok(true);
        }
        Err(self.damaged(format!(
            "expected checksum {expected}, found {found}: the bytes are not those that were saved; \
             restore the file from a copy"
        )))
    }

    /// Whether the elements are exactly these bytes.
    pub(crate) fn holds(&self, data: Data<'_>) -> Result<bool> {
        if data.length() as u64 != self.size {
            return Ok(false);
        }
        let file = self.open()?;
        let (mut buffer, mut offset, mut same) = (Vec::new(), 0, true);
        data.for_each_piece(|piece| {
            if same {
                buffer.resize(piece.len(), 0);
                self.read_from(file.as_ref(), offset, &mut buffer)?;
                same = buffer == piece;
            }
            offset += piece.len() as u64;
            Ok(())
        })?;
        Ok(same)
    }

    /// Gives the file another name as well.
    pub(crate) fn link_to(&self, path: &Path) -> Result<()> {
        let directory = self.root.directory()?;
        directory.link_file(&self.relative("out"), path).map_err(Error::io(path, "link"))
    }

    /// The text of `meta`, if there is one.
    pub(crate) fn read_meta_text(&self) -> Result<Option<Vec<u8>>> {
        if self.meta.is_none() {
            return Ok(None);
        }
        let path = self.root.path.join(self.relative("meta"));
        let directory = self.root.directory()?;
        let text = directory.read_file(&self.relative("meta"), MAX_META_BYTES);
        text.map(Some).map_err(Error::io(&path, "read"))
    }

    /// A file of the variable, from the root on.
    fn relative(&self, file: &str) -> PathBuf {
        if self.root.single { PathBuf::from(file) } else { Path::new(&self.name).join(file) }
    }

    fn length(&self) -> Result<usize> {
        usize::try_from(self.size)
            .map_err(|_| self.damaged(format!("{} bytes do not fit into memory", self.size)))
    }

    /// An entry of a directory that is not a real one.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str, size: u64, directory: Arc<dyn Directory>) -> Self {
        let root = Root::open(Path::new("test"), false, directory);
        Self { name: name.to_owned(), size, meta: None, checksum: None, root }
    }

    fn open(&self) -> Result<Box<dyn File>> {
        let path = self.path_of_out();
        let opened = self.root.directory()?.open_file(&self.relative("out"));
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Gone { path: path.clone() },
            _ => Error::io(&path, "open")(error),
        })?;
        let size = file.size().map_err(Error::io(&path, "ask for the size of"))?;
        if size == self.size { Ok(file) } else { Err(self.changed(size)) }
    }

    fn changed(&self, found: u64) -> Error {
        let expected = self.size;
        self.damaged(format!(
            "expected {expected} bytes as when the checkpoint was opened, found {found}; \
             open it again when nothing writes to it"
        ))
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Damaged { path: self.path_of_out(), variable: Some(self.name.clone()), reason }
    }
}

/// Reads variables into buffers of their sizes, several pieces at once.
///
/// # Errors
///
/// As for [`Entry::read_into`]; some of the buffers are filled then.
pub fn read_many(wanted: Vec<(&Entry, &mut [u8])>, threads: usize) -> Result<()> {
    let mut pieces = Vec::new();
    for (entry, buffer) in wanted {
        if buffer.len() as u64 != entry.size {
            let reason =
                format!("{} bytes are stored, {} were asked for", entry.size, buffer.len());
            return Err(Error::InvalidData { variable: entry.name.clone(), reason });
        }
        if buffer.is_empty() {
            entry.open()?;
        }
        let offsets = (0..).step_by(PIECE);
        pieces.extend(buffer.chunks_mut(PIECE).zip(offsets).map(|(piece, at)| (entry, at, piece)));
    }
    parallel::for_each(pieces, threads, |(entry, offset, piece)| entry.read_range(offset, piece))
}

/// Compares each variable with its checksum, as [`Entry::verify`] does.
#[must_use]
pub fn verify_many(entries: &[&Entry], threads: usize) -> Vec<Result<bool>> {
    let mut results: Vec<Result<bool>> = entries.iter().map(|_| Ok(false)).collect();
    let work = entries.iter().zip(&mut results).collect();
    // The failures are among the results; the work itself does not fail.
    let _ = parallel::for_each(work, threads, |(entry, result)| {
        *result = entry.verify();
        Ok(())
    });
    results
}
