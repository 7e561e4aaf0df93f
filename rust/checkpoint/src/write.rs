//! Writing the files of a checkpoint into a directory, by several threads.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::checksum::{Checksum, Hasher};
use crate::data::{Data, PIECE};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::names;
use crate::parallel;
use crate::save::{Durability, Kept, SaveOptions, Variable};
use crate::storage::Storage;

/// From how many bytes on the disk is told to begin with the end of a file.
const FLUSHED: usize = 1 << 20;

/// Bytes that are hashed and then written at once, before they leave the last cache. What is written at
/// once the system keeps in large pages; one of this size, where it begins at a multiple of it, a mapping
/// reaches with a single page fault.
const WRITTEN: usize = 2 << 20;

/// Files and directories that a save has made; directories follow those that they are in.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) directories: Vec<PathBuf>,
}

impl Made {
    /// Removes all of it as far as possible.
    pub(crate) fn remove(&mut self, storage: &dyn Storage) {
        // The failure that is reported is the first one, not one of cleaning up after it.
        while let Some(path) = self.files.pop() {
            let _ = storage.remove_file(&path);
        }
        while let Some(path) = self.directories.pop() {
            let _ = storage.remove_directory(&path);
        }
    }

    /// Makes a directory.
    pub(crate) fn directory(&mut self, storage: &dyn Storage, path: PathBuf) -> Result<()> {
        storage.create_directory(&path).map_err(Error::io(&path, "create"))?;
        self.directories.push(path);
        Ok(())
    }

    /// Makes a file of these few bytes.
    pub(crate) fn file(&mut self, storage: &dyn Storage, path: PathBuf, text: &[u8]) -> Result<()> {
        self.pieces(storage, path, text.len(), |write| write(text), false)
    }

    /// Makes a file of pieces that a function hands over.
    fn pieces(
        &mut self,
        storage: &dyn Storage,
        path: PathBuf,
        length: usize,
        pieces: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
        flush: bool,
    ) -> Result<()> {
        let created = storage.create_file(&path, length as u64);
        // After any other failure the file may be there.
        if !matches!(&created, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            self.files.push(path.clone());
        }
        let mut file = created.map_err(Error::io(&path, "write"))?;
        let mut waiting = 0;
        pieces(&mut |piece| {
            file.write(piece).map_err(Error::io(&path, "write"))?;
            waiting += piece.len();
            if flush && waiting >= PIECE {
                file.start_flush();
                waiting = 0;
            }
            Ok(())
        })?;
        if flush && waiting >= FLUSHED {
            file.start_flush();
        }
        Ok(())
    }

    fn append(&mut self, mut other: Self) {
        self.files.append(&mut other.files);
        self.directories.append(&mut other.directories);
    }
}

/// What is put into one variable's directory.
#[derive(Clone, Copy)]
pub(crate) enum Work<'a> {
    New(&'a Variable<'a>),
    Kept(&'a Kept<'a>),
}

impl Work<'_> {
    fn name(&self) -> &str {
        match self {
            Self::New(variable) => variable.name,
            Self::Kept(kept) => kept.name,
        }
    }

    /// Bytes that are going to be written, as far as known.
    pub(crate) fn length(&self) -> usize {
        match self {
            Self::New(variable) => variable.data.length(),
            Self::Kept(_) => 0,
        }
    }
}

/// Writes all variables below a directory that exists. Whatever was made is added to `made`, also
/// on failure.
pub(crate) fn write(
    storage: &dyn Storage,
    directory: &Path,
    mut work: Vec<Work<'_>>,
    options: &SaveOptions<'_>,
    made: &mut Made,
) -> Result<()> {
    let shared = shared_directories(&work);
    for below in &shared {
        make_variable_directory(storage, directory, below, made)?;
    }
    // The largest first, so that the threads end together.
    work.sort_by_key(|work| std::cmp::Reverse(work.length()));
    let previous = options.link_from.map(|checkpoint| {
        checkpoint.variables.iter().map(|entry| (entry.name.as_str(), entry)).collect()
    });
    let writer = Writer { storage, directory, shared: &shared, options, previous };

    let threads = options.threads.clamp(1, work.len().max(1));
    if threads == 1 {
        return work.iter().try_for_each(|work| writer.write(work, made));
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || {
        let mut made = Made::default();
        let mut result = Ok(());
        while result.is_ok()
            && !failed.load(Ordering::Relaxed)
            && let Some(work) = work.get(next.fetch_add(1, Ordering::Relaxed))
        {
            result = writer.write(work, &mut made);
        }
        if result.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        (made, result)
    };
    let mut first = Ok(());
    for (part, result) in parallel::on_threads(threads, |_| run()) {
        made.append(part);
        first = first.and(result);
    }
    first
}

/// The directories that hold those of other variables, outer ones first.
fn shared_directories(work: &[Work<'_>]) -> BTreeSet<String> {
    let names = work.iter().map(Work::name);
    names.flat_map(|name| name.match_indices('/').map(|(end, _)| name[..end].to_owned())).collect()
}

fn make_variable_directory(
    storage: &dyn Storage,
    directory: &Path,
    name: &str,
    made: &mut Made,
) -> Result<PathBuf> {
    let path = directory.join(name);
    match made.directory(storage, path.clone()) {
        // The directory around it is new, and no two names are the same.
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            Err(names::not_told_apart(name))
        }
        result => result.map(|()| path),
    }
}

struct Writer<'a> {
    storage: &'a dyn Storage,
    directory: &'a Path,
    /// Directories that exist already.
    shared: &'a BTreeSet<String>,
    options: &'a SaveOptions<'a>,
    /// The variables that an unchanged one may be linked to.
    previous: Option<HashMap<&'a str, &'a Entry>>,
}

impl Writer<'_> {
    fn write(&self, work: &Work<'_>, made: &mut Made) -> Result<()> {
        let name = work.name();
        let directory = match self.shared.contains(name) {
            true => self.directory.join(name),
            false => make_variable_directory(self.storage, self.directory, name, made)?,
        };
        match work {
            Work::New(variable) => self.write_new(variable, &directory, made),
            Work::Kept(kept) => self.write_kept(kept.entry, &directory, made),
        }
    }

    fn write_new(&self, variable: &Variable<'_>, directory: &Path, made: &mut Made) -> Result<()> {
        let out = directory.join("out");
        let (linked, mut checksum) = self.link_if_unchanged(variable, &out, made)?;
        if !linked {
            let hash = self.options.checksum && checksum.is_none();
            let written = self.write_out(variable.data, out, hash, made)?;
            checksum = written.or(checksum);
        } else if self.options.checksum && checksum.is_none() {
            checksum = Some(variable.data.checksum()?);
        }
        let mut text = variable.meta.to_text();
        if let Some(checksum) = checksum.filter(|_| self.options.checksum) {
            text.push_str(&checksum.line());
        }
        made.file(self.storage, directory.join("meta"), text.as_bytes())
    }

    /// Links to the previous file if it holds the same bytes; and the checksum, if it had to be
    /// computed to know that.
    fn link_if_unchanged(
        &self,
        variable: &Variable<'_>,
        out: &Path,
        made: &mut Made,
    ) -> Result<(bool, Option<Checksum>)> {
        let previous = self.previous.as_ref().and_then(|previous| previous.get(variable.name));
        let Some(previous) =
            previous.filter(|entry| entry.meta.as_ref() == Some(&variable.meta) && entry.size > 0)
        else {
            return Ok((false, None));
        };
        let (unchanged, checksum) = match previous.checksum {
            Some(known) => {
                let checksum = variable.data.checksum()?;
                (checksum == known, Some(checksum))
            }
            // A file that cannot be read is no reason not to save.
            None => (previous.holds(variable.data).unwrap_or(false), None),
        };
        Ok((unchanged && link(previous, out, made), checksum))
    }

    /// The files of another checkpoint as they are.
    fn write_kept(&self, entry: &Entry, directory: &Path, made: &mut Made) -> Result<()> {
        let (out, meta) = (directory.join("out"), directory.join("meta"));
        if !link(entry, &out, made) {
            self.write_out(Data::Pieces(entry), out, false, made)?;
        }
        match entry.read_meta_text()? {
            Some(text) => made.file(self.storage, meta, &text),
            None => Ok(()),
        }
    }

    fn write_out(
        &self,
        data: Data<'_>,
        path: PathBuf,
        hash: bool,
        made: &mut Made,
    ) -> Result<Option<Checksum>> {
        let mut hasher = hash.then(Hasher::default);
        let flush = self.options.durability == Durability::Full;
        let pieces = |write: &mut dyn FnMut(&[u8]) -> Result<()>| {
            data.for_each_piece(|piece| match &mut hasher {
                Some(hasher) => piece.chunks(WRITTEN).try_for_each(|part| {
                    hasher.update(part);
                    write(part)
                }),
                None => write(piece),
            })
        };
        made.pieces(self.storage, path, data.length(), pieces, flush)?;
        Ok(hasher.map(|hasher| hasher.finish()))
    }
}

/// Whether the file could be linked; where it could not, it is copied.
fn link(entry: &Entry, path: &Path, made: &mut Made) -> bool {
    let linked = entry.link_to(path).is_ok();
    if linked {
        made.files.push(path.to_owned());
    }
    linked
}
