//! Saving checkpoints: whole or not at all.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::data::Data;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::format::Meta;
use crate::inventory::{self, Contents};
use crate::names::{self, MARKER, METADATA};
use crate::reader::{Checkpoint, MAX_METADATA_BYTES};
use crate::storage::Storage;
use crate::target::{APPEARED, Existing, IN_PLACE, Target, exists};
use crate::write::{Made, Work, write};

/// A variable to be saved.
#[derive(Debug, Clone)]
pub struct Variable<'a> {
    /// Its name; parts separated by `/` become directories.
    pub name: &'a str,
    /// Its shape and element type.
    pub meta: Meta,
    /// Its elements, row-major and little-endian.
    pub data: Data<'a>,
}

/// A variable of an opened checkpoint that is taken over with its files as they are: as hard links
/// where the system has them, otherwise as copies.
#[derive(Debug, Clone)]
pub struct Kept<'a> {
    /// The name that it gets.
    pub name: &'a str,
    /// Where its files are.
    pub entry: &'a Entry,
}

/// What a save promises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it returns, the checkpoint would survive a loss of power; before that, the old state.
    #[default]
    Full,
    /// Every program sees the whole checkpoint or none, also if the save is killed; what a loss
    /// of power leaves is up to the system.
    Rename,
    /// Files are written where they are to stay, the marker last.
    None,
}

/// How to save.
#[derive(Debug, Clone)]
pub struct SaveOptions<'a> {
    /// What the save promises.
    pub durability: Durability,
    /// Whether a checkpoint that is at the path is replaced. Nothing else ever is.
    pub overwrite: bool,
    /// Whether each `meta` ends with a comment that holds the checksum of the elements.
    pub checksum: bool,
    /// A JSON text of the user's that is kept beside the variables.
    pub metadata: Option<&'a str>,
    /// A checkpoint whose files are linked to for variables that have not changed since.
    pub link_from: Option<&'a Checkpoint>,
    /// How many threads write.
    pub threads: usize,
}

impl Default for SaveOptions<'_> {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            overwrite: false,
            checksum: true,
            metadata: None,
            link_from: None,
            threads: 1,
        }
    }
}

/// Saves variables as a checkpoint. Missing parents of `path` are made.
///
/// Everything is written into a hidden directory beside `path`, which is made durable, gets its
/// marker last and is then renamed, or exchanged with the checkpoint that it replaces. Nothing that
/// exists is ever written to. When an error is returned, nothing is left of what was begun; a crash
/// can leave the hidden directory behind, which is called `.NAME.tmp-PROCESS-NUMBER` and may be
/// removed when no process of that number is saving.
///
/// # Errors
///
/// [`Error::InvalidName`] and [`Error::InvalidData`] for variables that cannot be stored;
/// [`Error::Exists`] unless there is nothing, an empty directory, or a checkpoint that may be
/// replaced at `path`; [`Error::NoSpace`] if the disk has no room; [`Error::Io`] for whatever the
/// system refuses.
pub fn save(
    storage: &dyn Storage,
    path: &Path,
    variables: &[Variable<'_>],
    options: &SaveOptions<'_>,
) -> Result<()> {
    save_with(storage, path, variables, &[], options)
}

/// As [`save`], with variables of other checkpoints beside the new ones.
///
/// # Errors
///
/// As for [`save`].
pub fn save_with(
    storage: &dyn Storage,
    path: &Path,
    variables: &[Variable<'_>],
    kept: &[Kept<'_>],
    options: &SaveOptions<'_>,
) -> Result<()> {
    let kept_names = kept.iter().map(|kept| kept.name);
    let all_names = variables.iter().map(|variable| variable.name).chain(kept_names);
    names::check(all_names, options.metadata.is_some())?;
    variables.iter().try_for_each(check_data)?;
    check_metadata(options.metadata)?;
    let work = variables.iter().map(Work::New).chain(kept.iter().map(Work::Kept)).collect();
    let mut save =
        Save { storage, options, parents: Made::default(), made: Made::default(), moves: vec![] };
    let result = save.run(path, work);
    if result.is_err() {
        save.undo();
    }
    result
}

fn check_data(variable: &Variable<'_>) -> Result<()> {
    let invalid = |reason| Error::InvalidData { variable: variable.name.to_owned(), reason };
    let expected = variable.meta.bytes().map_err(|error| match error {
        Error::InvalidMeta { reason } => invalid(reason),
        other => other,
    })?;
    let found = variable.data.length();
    if expected == found {
        return Ok(());
    }
    let Meta { shape, data_type } = &variable.meta;
    let name = data_type.name();
    Err(invalid(format!("expected {expected} bytes for shape {shape:?} of {name}, found {found}")))
}

fn check_metadata(metadata: Option<&str>) -> Result<()> {
    let found = metadata.map_or(0, str::len);
    if found <= MAX_METADATA_BYTES {
        return Ok(());
    }
    let reason = format!("at most {MAX_METADATA_BYTES} bytes of text are allowed, found {found}");
    Err(Error::InvalidMetadata { reason })
}

/// A save that is going on, and what has to be taken back if it fails.
struct Save<'s> {
    storage: &'s dyn Storage,
    options: &'s SaveOptions<'s>,
    /// The directories above the checkpoint that were missing.
    parents: Made,
    made: Made,
    moves: Vec<Move>,
}

/// A directory that has got another name.
enum Move {
    Renamed {
        from: PathBuf,
        to: PathBuf,
        /// Whether an empty directory had the name.
        replaced: bool,
    },
    Exchanged {
        one: PathBuf,
        other: PathBuf,
    },
}

impl Save<'_> {
    fn run(&mut self, path: &Path, work: Vec<Work<'_>>) -> Result<()> {
        let mut target = Target::find(self.storage, path, self.options.overwrite)?;
        if target.existing == Existing::Nothing {
            self.make_parents(&target.parent)?;
            let resolved = self.storage.resolve(&target.parent);
            target.parent = resolved.map_err(Error::io(&target.parent, "resolve"))?;
        }
        self.check_space(path, &target, &work)?;
        if self.options.durability == Durability::None {
            return self.write_in_place(path, &target, work);
        }
        let temporary = self.make_temporary(&target)?;
        self.write(&temporary, work)?;
        let made = &self.made;
        self.make_durable(&temporary, &made.files, &made.directories)?;
        self.put_marker(&temporary)?;
        let replaced = self.put_into_place(path, temporary, &target)?;
        self.make_durable(path, &[], std::slice::from_ref(&target.parent))?;

        if let Some(replaced) = replaced
            && let Ok(Contents::Checkpoint(inventory)) = inventory::look(self.storage, &replaced)
        {
            inventory.remove(self.storage, &replaced);
        }
        Ok(())
    }

    fn make_parents(&mut self, parent: &Path) -> Result<()> {
        let mut missing = Vec::new();
        for ancestor in parent.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            match self.storage.resolve(ancestor) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(ancestor),
                Err(error) => return Err(Error::io(ancestor, "look at")(error)),
            }
        }
        let mut changed = BTreeSet::new();
        for directory in missing.into_iter().rev() {
            match self.parents.directory(self.storage, directory.to_owned()) {
                Ok(()) => {}
                // Somebody else has made it in the meantime.
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                    continue;
                }
                Err(error) => return Err(error),
            }
            changed.insert(match directory.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            });
        }
        let changed: Vec<_> = changed.into_iter().collect();
        self.make_durable(parent, &[], &changed)
    }

    /// Refuses what cannot fit before anything is written.
    fn check_space(&self, path: &Path, target: &Target, work: &[Work<'_>]) -> Result<()> {
        let available = self.storage.available_space(&target.parent);
        let Some(available) = available.map_err(Error::io(&target.parent, "look at"))? else {
            return Ok(());
        };
        let needed = work.iter().map(|work| work.length() as u64).sum();
        match needed <= available {
            true => Ok(()),
            false => Err(Error::NoSpace { path: path.to_owned(), needed, available }),
        }
    }

    fn make_temporary(&mut self, target: &Target) -> Result<PathBuf> {
        loop {
            let path = target.hidden_sibling();
            match self.made.directory(self.storage, path.clone()) {
                Ok(()) => return Ok(path),
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, directory: &Path, work: Vec<Work<'_>>) -> Result<()> {
        write(self.storage, directory, work, self.options, &mut self.made)?;
        match self.options.metadata {
            Some(text) => self.made.file(self.storage, directory.join(METADATA), text.as_bytes()),
            None => Ok(()),
        }
    }

    /// The marker promises that everything else is on the disk.
    fn put_marker(&mut self, directory: &Path) -> Result<()> {
        let marker = directory.join(MARKER);
        self.made.file(self.storage, marker.clone(), &[])?;
        self.make_durable(directory, &[marker], &[directory.to_owned()])
    }

    fn write_in_place(&mut self, path: &Path, target: &Target, work: Vec<Work<'_>>) -> Result<()> {
        let place = target.path();
        match target.existing {
            Existing::Nothing => self.made.directory(self.storage, place.clone())?,
            Existing::EmptyDirectory => {}
            Existing::Checkpoint => return Err(exists(path, IN_PLACE)),
        }
        self.write(&place, work)?;
        self.put_marker(&place)
    }

    /// Gives the finished directory its name; returns the hidden one that what it replaces has got.
    fn put_into_place(
        &mut self,
        path: &Path,
        temporary: PathBuf,
        target: &Target,
    ) -> Result<Option<PathBuf>> {
        let place = target.path();
        if target.existing != Existing::Checkpoint {
            let kind = self.storage.kind(&place).map_err(Error::io(path, "look at"))?;
            // What has appeared at the path since it was looked at is not replaced either.
            if target.existing == Existing::Nothing && kind.is_some() {
                return Err(exists(path, APPEARED));
            }
            let replaced = target.existing == Existing::EmptyDirectory;
            return self.rename(path, temporary, place, replaced).map(|()| None);
        }
        match self.storage.exchange_directories(&temporary, &place) {
            Ok(()) => {
                let old = temporary.clone();
                self.moves.push(Move::Exchanged { one: temporary, other: place });
                Ok(Some(old))
            }
            // In two steps there is a moment in which nothing is at the path.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let old = target.hidden_sibling();
                self.rename(path, place.clone(), old.clone(), false)?;
                self.rename(path, temporary, place, false)?;
                Ok(Some(old))
            }
            Err(error) => Err(Error::io(path, "exchange the finished checkpoint with")(error)),
        }
    }

    fn rename(&mut self, path: &Path, from: PathBuf, to: PathBuf, replaced: bool) -> Result<()> {
        self.storage.rename_directory(&from, &to).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotADirectory => exists(path, APPEARED),
            _ => Error::io(path, "rename the finished checkpoint to")(source),
        })?;
        self.moves.push(Move::Renamed { from, to, replaced });
        Ok(())
    }

    fn make_durable(&self, path: &Path, files: &[PathBuf], directories: &[PathBuf]) -> Result<()> {
        if self.options.durability != Durability::Full || files.is_empty() && directories.is_empty()
        {
            return Ok(());
        }
        self.storage.make_durable(files, directories).map_err(Error::io(path, "make durable"))
    }

    /// Takes back what was done, last things first. Only what this save has made is removed; a
    /// directory into which somebody else has put something stays.
    fn undo(&mut self) {
        while let Some(moved) = self.moves.pop() {
            let undone = match &moved {
                Move::Renamed { from, to, .. } => self.storage.rename_directory(to, from),
                Move::Exchanged { one, other } => self.storage.exchange_directories(one, other),
            };
            if undone.is_err() {
                // Whole and in its place: better left there than taken apart there.
                return;
            }
            if let Move::Renamed { to, replaced: true, .. } = &moved {
                let _ = self.storage.create_directory(to);
            }
        }
        self.made.remove(self.storage);
        self.parents.remove(self.storage);
    }
}
