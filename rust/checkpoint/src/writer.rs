//! Saving checkpoints: whole or not at all.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::Meta;
use crate::names::{self, MARKER};
use crate::storage::Storage;

/// A variable to be saved.
#[derive(Debug, Clone)]
pub struct Variable<'a> {
    /// Its name; parts separated by `/` become directories.
    pub name: &'a str,
    /// Its shape and element type.
    pub meta: Meta,
    /// Its elements, row-major and little-endian.
    pub data: &'a [u8],
}

/// How to save.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SaveOptions {
    /// Whether to return only when the checkpoint would survive a loss of power. Without this,
    /// a checkpoint is still whole or absent for every program, but not after a crash of the
    /// system.
    pub durable: bool,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self { durable: true }
    }
}

/// Saves variables as a checkpoint. Missing parents of `path` are made.
///
/// Everything is written into a hidden directory beside `path`, which is made durable, gets its
/// marker last and is then renamed. Nothing that exists is ever written to. When an error is
/// returned, nothing is left of what was begun; a crash can leave the hidden directory behind,
/// which is called `.NAME.tmp-...` and may be removed.
///
/// # Errors
///
/// [`Error::InvalidName`] and [`Error::InvalidData`] for variables that cannot be stored;
/// [`Error::Exists`] unless there is nothing or an empty directory at `path`; [`Error::Io`] for
/// whatever the system refuses.
pub fn save(
    storage: &dyn Storage,
    path: &Path,
    variables: &[Variable<'_>],
    options: &SaveOptions,
) -> Result<()> {
    names::check(variables.iter().map(|variable| variable.name))?;
    variables.iter().try_for_each(check_data)?;
    let mut save = Save { storage, durable: options.durable, made: Vec::new() };
    let result = save.run(path, variables);
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
    let found = variable.data.len();
    if expected == found {
        return Ok(());
    }
    let Meta { shape, data_type } = &variable.meta;
    let name = data_type.name();
    Err(invalid(format!("expected {expected} bytes for shape {shape:?} of {name}, found {found}")))
}

/// A save that is going on, and what has to be taken back if it fails.
struct Save<'s> {
    storage: &'s dyn Storage,
    durable: bool,
    made: Vec<Made>,
}

/// Something that this save has done.
enum Made {
    File(PathBuf),
    Directory(PathBuf),
    /// The temporary directory has become the checkpoint, in place of an empty directory or not.
    Renamed {
        from: PathBuf,
        to: PathBuf,
        replaced: bool,
    },
}

/// Where the checkpoint is going to be.
struct Target {
    parent: PathBuf,
    name: OsString,
    /// Whether an empty directory is there.
    replaces: bool,
}

impl Save<'_> {
    fn run(&mut self, path: &Path, variables: &[Variable<'_>]) -> Result<()> {
        let target = self.find_target(path)?;
        let temporary = self.make_temporary(&target)?;
        let (files, directories) = self.write(&temporary, variables)?;
        self.make_durable(&temporary, &files, &directories)?;

        // The marker promises that everything else is on the disk.
        let marker = temporary.join(MARKER);
        self.write_file(&marker, &[])?;
        self.make_durable(&temporary, &[marker], std::slice::from_ref(&temporary))?;

        self.rename(path, temporary, &target)?;
        self.make_durable(path, &[], std::slice::from_ref(&target.parent))
    }

    /// Decides where to save, and makes the parents that are missing.
    fn find_target(&mut self, path: &Path) -> Result<Target> {
        let kind = self.storage.kind(path).map_err(Error::io(path, "look at"))?;
        if kind.is_none() {
            let Some(name) = path.file_name() else {
                let source = io::Error::new(io::ErrorKind::InvalidInput, "the path has no name");
                return Err(Error::io(path, "save to")(source));
            };
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            self.make_parents(parent)?;
            let parent = self.storage.resolve(parent).map_err(Error::io(parent, "resolve"))?;
            return Ok(Target { parent, name: name.to_owned(), replaces: false });
        }
        let exists = |hint| Error::Exists { path: path.to_owned(), hint };
        let directory =
            self.storage.open_directory(path).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => exists(DANGLING),
                io::ErrorKind::NotADirectory => exists(A_FILE),
                _ => Error::io(path, "open")(source),
            })?;
        if !directory.list(1).map_err(Error::io(path, "list"))?.is_empty() {
            return Err(exists(NOT_EMPTY));
        }
        let resolved = self.storage.resolve(path).map_err(Error::io(path, "resolve"))?;
        match self.storage.resolve(Path::new(".")) {
            Ok(current) if current == resolved => return Err(exists(WORKING_DIRECTORY)),
            // The working directory has been removed, so it is another one.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(Path::new("."), "resolve")(error));
            }
            _ => {}
        }
        match (resolved.parent(), resolved.file_name()) {
            (Some(parent), Some(name)) => {
                Ok(Target { parent: parent.to_owned(), name: name.to_owned(), replaces: true })
            }
            _ => Err(exists(ROOT)),
        }
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
            match self.storage.create_directory(directory) {
                Ok(()) => self.made.push(Made::Directory(directory.to_owned())),
                // Somebody else has made it in the meantime.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::io(directory, "create")(error)),
            }
            changed.insert(match directory.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            });
        }
        let changed: Vec<_> = changed.into_iter().collect();
        self.make_durable(parent, &[], &changed)
    }

    fn make_temporary(&mut self, target: &Target) -> Result<PathBuf> {
        let process = std::process::id();
        loop {
            let random = RandomState::new().hash_one(process);
            let mut name = OsString::from(".");
            name.push(shortened(&target.name));
            name.push(format!(".tmp-{process}-{random:016x}"));
            let path = target.parent.join(name);
            match self.storage.create_directory(&path) {
                Ok(()) => {
                    self.made.push(Made::Directory(path.clone()));
                    return Ok(path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(&path, "create")(error)),
            }
        }
    }

    /// Writes all variables; returns the files and directories that have to be made durable.
    fn write(
        &mut self,
        temporary: &Path,
        variables: &[Variable<'_>],
    ) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let mut files = Vec::with_capacity(2 * variables.len());
        let mut directories = BTreeSet::from([temporary.to_owned()]);
        for variable in variables {
            let mut directory = temporary.to_owned();
            for part in variable.name.split('/') {
                directory.push(part);
                if directories.insert(directory.clone()) {
                    self.storage
                        .create_directory(&directory)
                        .map_err(Error::io(&directory, "create"))?;
                    self.made.push(Made::Directory(directory.clone()));
                }
            }
            let text = variable.meta.to_text();
            for (name, contents) in [("out", variable.data), ("meta", text.as_bytes())] {
                let file = directory.join(name);
                self.write_file(&file, contents)?;
                files.push(file);
            }
        }
        Ok((files, directories.into_iter().collect()))
    }

    fn write_file(&mut self, path: &Path, contents: &[u8]) -> Result<()> {
        let result = self.storage.write_new_file(path, contents);
        // After any other failure a part of the file may be there.
        if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            self.made.push(Made::File(path.to_owned()));
        }
        result.map_err(Error::io(path, "write"))
    }

    fn rename(&mut self, path: &Path, temporary: PathBuf, target: &Target) -> Result<()> {
        let to = target.parent.join(&target.name);
        // What has appeared at the path since it was looked at is not replaced either.
        if !target.replaces && self.storage.kind(&to).map_err(Error::io(path, "look at"))?.is_some()
        {
            return Err(Error::Exists { path: path.to_owned(), hint: APPEARED });
        }
        self.storage.rename_directory(&temporary, &to).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotADirectory => {
                Error::Exists { path: path.to_owned(), hint: APPEARED }
            }
            _ => Error::io(path, "rename the finished checkpoint to")(source),
        })?;
        self.made.push(Made::Renamed { from: temporary, to, replaced: target.replaces });
        Ok(())
    }

    fn make_durable(&self, path: &Path, files: &[PathBuf], directories: &[PathBuf]) -> Result<()> {
        if !self.durable || files.is_empty() && directories.is_empty() {
            return Ok(());
        }
        self.storage.make_durable(files, directories).map_err(Error::io(path, "make durable"))
    }

    /// Takes back what was done, last things first. Only what this save has made is removed; a
    /// directory into which somebody else has put something stays.
    fn undo(&mut self) {
        while let Some(made) = self.made.pop() {
            // The failure that is reported is the first one, not one of cleaning up after it.
            let _ = match made {
                Made::File(path) => self.storage.remove_file(&path),
                Made::Directory(path) => self.storage.remove_directory(&path),
                Made::Renamed { from, to, replaced } => {
                    if self.storage.rename_directory(&to, &from).is_err() {
                        // Whole and in its place: better left there than taken apart there.
                        return;
                    }
                    if replaced { self.storage.create_directory(&to) } else { Ok(()) }
                }
            };
        }
    }
}

const A_FILE: &str = "there is a file of this name; save under another name, or remove it first";
const NOT_EMPTY: &str = "the directory is not empty; save into a new directory, or remove this one \
                         first";
const DANGLING: &str = "there is a symbolic link that leads nowhere; save under another name, or \
                        remove it first";
const WORKING_DIRECTORY: &str = "this is the working directory, which cannot be replaced; save \
                                 into a new directory inside it";
const ROOT: &str = "the root of a file system cannot be replaced; save into a new directory inside \
                    it";
const APPEARED: &str = "something has appeared here while the checkpoint was written; save under \
                        another name";

/// The beginning of a name, so that the temporary name made from it is not too long.
fn shortened(name: &OsStr) -> OsString {
    let name = name.to_string_lossy();
    let mut end = name.len().min(180);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    OsString::from(&name[..end])
}
