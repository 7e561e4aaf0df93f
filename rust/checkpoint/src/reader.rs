//! Opening checkpoints: names, `meta` and sizes first, bytes when they are asked for.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::checksum::Checksum;
use crate::entry::{Entry, Root};
use crate::error::{Error, Result};
use crate::format::{MAX_META_BYTES, Meta};
use crate::names::{self, MARKER, MAX_NAME_PARTS, METADATA};
use crate::parallel;
use crate::select::Select;
use crate::storage::{Child, Directory, Kind, Storage};

/// The most directory entries that opening a checkpoint looks at.
pub const MAX_LISTED: usize = 1_000_000;

/// The longest metadata that are saved and read.
pub const MAX_METADATA_BYTES: usize = 16 << 20;

/// What was found at a path.
#[derive(Debug, Clone)]
pub enum Opened {
    /// A checkpoint.
    Directory(Checkpoint),
    /// The directory of a single variable, which holds an `out` of its own.
    Variable(Entry),
}

/// A checkpoint that has been opened; none of its data has been read.
#[derive(Clone)]
pub struct Checkpoint {
    /// The path that was given.
    pub path: PathBuf,
    /// Whether the marker was seen that a finished save leaves. Other writers never leave one.
    pub complete: bool,
    /// The variables, sorted by name.
    pub variables: Vec<Entry>,
    /// Symbolic links, pipes and the like, and other checkpoints, that were found beside the
    /// variables and not looked into.
    pub ignored: Vec<PathBuf>,
    /// The user's metadata, as they are on the disk; if they are too long, the beginning, longer
    /// than [`MAX_METADATA_BYTES`].
    pub metadata: Option<Vec<u8>>,
    root: Arc<Root>,
}

impl Checkpoint {
    /// Lets go of the directory: what has been mapped or read stays, but no more can be.
    pub fn close(&self) {
        self.root.close();
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Checkpoint")
            .field("path", &self.path)
            .field("complete", &self.complete)
            .field("variables", &self.variables)
            .field("ignored", &self.ignored)
            .finish_non_exhaustive()
    }
}

/// Opens the checkpoint, or the single variable, that is at a path. The path itself may be a
/// symbolic link; below it none is followed.
///
/// A subdirectory that holds a marker of its own is another checkpoint and no part of this one.
///
/// # Errors
///
/// [`Error::NotFound`] and [`Error::NotADirectory`] if there is no directory at the path;
/// [`Error::Damaged`] if a `meta` cannot be understood, if the size of an `out` is not what its
/// `meta` says, if either is no regular file, or if the tree is deeper than [`MAX_NAME_PARTS`] or
/// has more entries than [`MAX_LISTED`]; [`Error::Io`] for whatever the system refuses.
pub fn open(storage: &dyn Storage, path: &Path) -> Result<Opened> {
    open_with(storage, path, &Select::default(), 1)
}

/// As [`open`], for the chosen variables only and with several threads.
///
/// # Errors
///
/// As for [`open`]; variables that are not chosen cause none.
pub fn open_with(
    storage: &dyn Storage,
    path: &Path,
    select: &Select,
    threads: usize,
) -> Result<Opened> {
    for _ in 1..MOST_TRIES {
        let directory = open_root(storage, path)?;
        let opened = open_directory(&directory, path, select, threads);
        // A checkpoint that has been replaced may have lost files before they were looked at.
        if open_root(storage, path)?.identity().map_err(Error::io(path, "look at"))?
            == directory.identity().map_err(Error::io(path, "look at"))?
        {
            return opened;
        }
    }
    open_directory(&open_root(storage, path)?, path, select, threads)
}

/// How often a checkpoint is opened again that is replaced meanwhile.
const MOST_TRIES: usize = 100;

fn open_directory(
    directory: &Arc<dyn Directory>,
    path: &Path,
    select: &Select,
    threads: usize,
) -> Result<Opened> {
    let listed = AtomicUsize::new(0);
    let walk = |single| Walk {
        path,
        root: Root::open(path, single, Arc::clone(directory)),
        directory,
        select,
        listed: &listed,
    };
    let children = walk(false).list(directory.as_ref(), Path::new(""))?;
    if holds_data(&children) {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let variable = walk(true).variable(directory.as_ref(), &children, Path::new(""), name)?;
        return Ok(Opened::Variable(variable));
    }
    let complete = kind_of(&children, MARKER) == Some(Kind::File);
    let metadata = match kind_of(&children, METADATA) {
        Some(Kind::File) => {
            let text = directory.read_file(Path::new(METADATA), MAX_METADATA_BYTES + 1);
            Some(text.map_err(Error::io(&path.join(METADATA), "read"))?)
        }
        _ => None,
    };
    let walk = walk(false);
    let (mut variables, ignored) = walk.all(children, threads)?;
    variables.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let (path, root) = (path.to_owned(), walk.root);
    Ok(Opened::Directory(Checkpoint { path, complete, variables, ignored, metadata, root }))
}

/// Opens one variable of the checkpoint at a path, which is not kept open: each time the variable's
/// bytes are asked for it is opened anew.
///
/// # Errors
///
/// As for [`open`]; [`Error::NotFound`] if there is no such variable.
pub fn open_variable(
    storage: impl Storage + 'static,
    path: &Path,
    name: &str,
    single: bool,
) -> Result<Entry> {
    names::check([name].into_iter(), false)?;
    let directory = open_root(&storage, path)?;
    let root = Root::by_path(path, single, Box::new(storage));
    let (select, listed) = (Select::default(), AtomicUsize::new(0));
    let walk = Walk { path, root, directory: &directory, select: &select, listed: &listed };
    let below = if single { Path::new("") } else { Path::new(name) };
    let missing = || Error::NotFound { path: path.join(below) };
    let inner = open_below(&directory, below).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(),
        _ => Error::io(&path.join(below), "open")(error),
    })?;
    let children = walk.list(inner.as_ref(), below)?;
    if !holds_data(&children) {
        return Err(missing());
    }
    walk.variable(inner.as_ref(), &children, below, name.to_owned())
}

fn open_root(storage: &dyn Storage, path: &Path) -> Result<Arc<dyn Directory>> {
    storage.open_directory(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: path.to_owned() },
        io::ErrorKind::NotADirectory => Error::NotADirectory { path: path.to_owned() },
        _ => Error::io(path, "open")(source),
    })
}

/// Opens a directory below another, part by part.
fn open_below(root: &Arc<dyn Directory>, below: &Path) -> io::Result<Arc<dyn Directory>> {
    below.iter().try_fold(Arc::clone(root), |directory, part| directory.open_directory(part))
}

/// A walk through the directories of a checkpoint.
struct Walk<'a> {
    path: &'a Path,
    root: Arc<Root>,
    directory: &'a Arc<dyn Directory>,
    select: &'a Select,
    listed: &'a AtomicUsize,
}

/// A thread that visits directories.
struct Visitor {
    /// The checkpoint's.
    directory: Arc<dyn Directory>,
    /// Memory for the text of a `meta`.
    meta: Vec<u8>,
}

/// What directories hold.
#[derive(Default)]
struct Visited {
    variables: Vec<Entry>,
    directories: Vec<PathBuf>,
    ignored: Vec<PathBuf>,
}

impl Walk<'_> {
    /// All variables below, level by level: only the directory that is looked at is open.
    fn all(&self, children: Vec<Child>, threads: usize) -> Result<(Vec<Entry>, Vec<PathBuf>)> {
        let mut found = Visited::default();
        self.sort(children, Path::new(""), &mut found);
        for depth in 0.. {
            let Some(first) = found.directories.first() else { break };
            if depth == MAX_NAME_PARTS {
                let reason = format!("lies more than {MAX_NAME_PARTS} directories deep");
                return Err(damaged(&self.path.join(first), None, reason));
            }
            let mut level = std::mem::take(&mut found.directories);
            // By name, as most savers have made them: what lies together is found together.
            level.sort_unstable_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
            let begin = |thread| {
                let another = (thread > 0).then(|| self.directory.for_another_thread()).flatten();
                Visitor { directory: another.unwrap_or(Arc::clone(self.directory)), meta: vec![] }
            };
            let visit = |visitor: &mut Visitor, below: &PathBuf, visited: &mut Visited| {
                self.visit(visitor, below, visited)
            };
            for mut visited in parallel::gather(&level, threads, begin, visit)? {
                found.variables.append(&mut visited.variables);
                found.directories.append(&mut visited.directories);
                found.ignored.append(&mut visited.ignored);
            }
        }
        Ok((found.variables, found.ignored))
    }

    fn list(&self, directory: &dyn Directory, below: &Path) -> Result<Vec<Child>> {
        let limit = MAX_LISTED.saturating_sub(self.listed.load(Ordering::Relaxed)) + 1;
        let path = self.path.join(below);
        let children = directory.list(limit).map_err(Error::io(&path, "list"))?;
        self.count(children.len())?;
        Ok(children)
    }

    fn count(&self, entries: usize) -> Result<()> {
        let listed = self.listed.fetch_add(entries, Ordering::Relaxed) + entries;
        match listed > MAX_LISTED {
            true => Err(damaged(self.path, None, format!("holds more than {MAX_LISTED} entries"))),
            false => Ok(()),
        }
    }

    fn sort(&self, children: Vec<Child>, below: &Path, visited: &mut Visited) {
        for Child { name, kind } in children {
            match kind {
                Kind::Directory if below.as_os_str().is_empty() => {
                    visited.directories.push(name.into());
                }
                Kind::Directory => visited.directories.push(below.join(name)),
                Kind::File => {}
                Kind::Link | Kind::Special => {
                    visited.ignored.push(self.path.join(below).join(name));
                }
            }
        }
    }

    fn visit(&self, visitor: &mut Visitor, below: &Path, visited: &mut Visited) -> Result<()> {
        match visitor.directory.quick_look(below, &mut visitor.meta) {
            Ok(Some(size)) => self.quick(below, &visitor.meta, size, visited),
            Ok(None) => self.thorough(&visitor.directory, below, visited),
            Err(error) => Err(Error::io(&self.path.join(below), "look at")(error)),
        }
    }

    /// A directory that holds a variable and no directories.
    fn quick(&self, below: &Path, meta: &[u8], size: u64, visited: &mut Visited) -> Result<()> {
        self.count(2)?;
        let name = self.variable_name(below)?;
        if self.select.takes(&name) {
            let path_of = |file: &str| self.path.join(below).join(file);
            let described = describe(meta, &name, &path_of)?;
            visited.variables.push(self.described(described, size, name, &path_of)?);
        }
        Ok(())
    }

    fn thorough(
        &self,
        root: &Arc<dyn Directory>,
        below: &Path,
        visited: &mut Visited,
    ) -> Result<()> {
        let opened = open_below(root, below);
        let directory = opened.map_err(Error::io(&self.path.join(below), "open"))?;
        let children = self.list(directory.as_ref(), below)?;
        if kind_of(&children, MARKER) == Some(Kind::File) {
            visited.ignored.push(self.path.join(below));
            return Ok(());
        }
        if holds_data(&children) {
            let name = self.variable_name(below)?;
            if self.select.takes(&name) {
                let variable = self.variable(directory.as_ref(), &children, below, name)?;
                visited.variables.push(variable);
            }
        }
        self.sort(children, below, visited);
        Ok(())
    }

    fn variable_name(&self, below: &Path) -> Result<String> {
        let refused = || {
            let reason = "the name of the variable is not UTF-8; rename it";
            damaged(&self.path.join(below), None, reason)
        };
        let path = below.to_str().ok_or_else(refused)?;
        Ok(if cfg!(windows) { path.replace('\\', "/") } else { path.to_owned() })
    }

    /// The variable whose `out` is among these children.
    fn variable(
        &self,
        directory: &dyn Directory,
        children: &[Child],
        below: &Path,
        name: String,
    ) -> Result<Entry> {
        let path_of = |file: &str| self.path.join(below).join(file);
        if kind_of(children, "out") != Some(Kind::File) {
            return Err(damaged(&path_of("out"), Some(&name), NOT_A_FILE));
        }
        let size = directory
            .file_size(OsStr::new("out"))
            .map_err(|error| Error::io(&path_of("out"), "ask for the size of")(error))?;
        match kind_of(children, "meta") {
            None | Some(Kind::Directory) => {
                let (meta, checksum) = (None, None);
                Ok(Entry { name, size, meta, checksum, root: Arc::clone(&self.root) })
            }
            Some(Kind::File) => {
                // One byte more than allowed tells a text that is too long from one that just fits.
                let text = directory
                    .read_file(Path::new("meta"), MAX_META_BYTES + 1)
                    .map_err(|error| Error::io(&path_of("meta"), "read")(error))?;
                let described = describe(&text, &name, &path_of)?;
                self.described(described, size, name, &path_of)
            }
            Some(Kind::Link | Kind::Special) => {
                Err(damaged(&path_of("meta"), Some(&name), NOT_A_FILE))
            }
        }
    }

    fn described(
        &self,
        (meta, checksum): (Meta, Option<Checksum>),
        size: u64,
        name: String,
        path_of: &dyn Fn(&str) -> PathBuf,
    ) -> Result<Entry> {
        check_size(&name, &meta, size, path_of)?;
        Ok(Entry { name, size, meta: Some(meta), checksum, root: Arc::clone(&self.root) })
    }
}

const NOT_A_FILE: &str = "not a regular file; links, pipes and devices inside a checkpoint are \
                          never opened, copy the checkpoint with `cp -RL` to resolve links";

fn kind_of(children: &[Child], name: &str) -> Option<Kind> {
    children.iter().find(|child| child.name == name).map(|child| child.kind)
}

/// Whether a directory with these children is a variable's. An `out` that is a directory belongs
/// to a variable whose name has the part `out`.
fn holds_data(children: &[Child]) -> bool {
    kind_of(children, "out").is_some_and(|kind| kind != Kind::Directory)
}

/// The description in a `meta`, and the checksum after it.
fn describe(
    text: &[u8],
    variable: &str,
    path_of: &dyn Fn(&str) -> PathBuf,
) -> Result<(Meta, Option<Checksum>)> {
    match Meta::parse(text) {
        Ok(meta) => Ok((meta, Checksum::of_meta(text))),
        Err(Error::InvalidMeta { reason }) => {
            Err(damaged(&path_of("meta"), Some(variable), reason))
        }
        Err(other) => Err(other),
    }
}

fn check_size(
    variable: &str,
    meta: &Meta,
    found: u64,
    path_of: &dyn Fn(&str) -> PathBuf,
) -> Result<()> {
    let expected = meta.bytes()?;
    if expected as u64 == found {
        return Ok(());
    }
    let Meta { shape, data_type } = meta;
    let reason = format!(
        "expected {expected} bytes for shape {shape:?} of {}, found {found}; \
         restore the file from a copy, or save the checkpoint again",
        data_type.name()
    );
    Err(damaged(&path_of("out"), Some(variable), reason))
}

fn damaged(path: &Path, variable: Option<&str>, reason: impl Into<String>) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        variable: variable.map(str::to_owned),
        reason: reason.into(),
    }
}
