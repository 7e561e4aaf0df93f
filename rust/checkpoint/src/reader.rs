//! Opening checkpoints: names, `meta` and sizes first, bytes when they are asked for.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{MAX_META_BYTES, Meta};
use crate::names::{MARKER, MAX_NAME_PARTS};
use crate::storage::{Child, Directory, File, Kind, MapMode, Mapping, Storage};

/// The most directory entries that opening a checkpoint looks at.
pub const MAX_LISTED: usize = 1_000_000;

/// What was found at a path.
#[derive(Debug, Clone)]
pub enum Opened {
    /// A checkpoint.
    Directory(Checkpoint),
    /// The directory of a single variable, which holds an `out` of its own.
    Variable(Entry),
}

/// A checkpoint that has been opened; none of its data has been read.
#[derive(Debug, Clone)]
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
}

/// A variable on the disk.
#[derive(Clone)]
pub struct Entry {
    /// The variable's name; its parts are separated by `/`.
    pub name: String,
    /// The file that holds the elements.
    pub path_of_out: PathBuf,
    /// Bytes of that file when the checkpoint was opened.
    pub size: u64,
    /// Shape and element type; `None` if there is no `meta`, as in the oldest checkpoints.
    pub meta: Option<Meta>,
    /// The directory that was opened, and where the file is below it.
    root: Arc<dyn Directory>,
    out: PathBuf,
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Entry")
            .field("name", &self.name)
            .field("path_of_out", &self.path_of_out)
            .field("size", &self.size)
            .field("meta", &self.meta)
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
    let root = storage.open_directory(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: path.to_owned() },
        io::ErrorKind::NotADirectory => Error::NotADirectory { path: path.to_owned() },
        _ => Error::io(path, "open")(source),
    })?;
    let mut walk =
        Walk { path, root: &root, listed: 0, variables: Vec::new(), ignored: Vec::new() };
    let children = walk.list(root.as_ref(), Path::new(""))?;
    if holds_data(&children) {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        return walk.variable(root.as_ref(), &children, Path::new(""), name).map(Opened::Variable);
    }
    let complete = kind_of(&children, MARKER) == Some(Kind::File);
    walk.visit(root.as_ref(), children, Path::new(""))?;
    let (mut variables, ignored) = (walk.variables, walk.ignored);
    variables.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(Opened::Directory(Checkpoint { path: path.to_owned(), complete, variables, ignored }))
}

/// The state of a walk through the directories of a checkpoint.
struct Walk<'a> {
    path: &'a Path,
    root: &'a Arc<dyn Directory>,
    listed: usize,
    variables: Vec<Entry>,
    ignored: Vec<PathBuf>,
}

impl Walk<'_> {
    fn list(&mut self, directory: &dyn Directory, below: &Path) -> Result<Vec<Child>> {
        let limit = MAX_LISTED - self.listed + 1;
        let path = self.path.join(below);
        let children = directory.list(limit).map_err(Error::io(&path, "list"))?;
        if children.len() == limit {
            return Err(damaged(self.path, None, format!("holds more than {MAX_LISTED} entries")));
        }
        self.listed += children.len();
        Ok(children)
    }

    /// Looks for variables in the subdirectories of a directory. The depth of the recursion is
    /// bounded by [`MAX_NAME_PARTS`].
    fn visit(
        &mut self,
        directory: &dyn Directory,
        children: Vec<Child>,
        below: &Path,
    ) -> Result<()> {
        for child in children {
            let below = below.join(&child.name);
            match child.kind {
                Kind::Directory => self.subdirectory(directory, &child.name, &below)?,
                Kind::File => {}
                Kind::Link | Kind::Special => self.ignored.push(self.path.join(below)),
            }
        }
        Ok(())
    }

    fn subdirectory(&mut self, parent: &dyn Directory, name: &OsStr, below: &Path) -> Result<()> {
        let path = self.path.join(below);
        if below.components().count() > MAX_NAME_PARTS {
            let reason = format!("lies more than {MAX_NAME_PARTS} directories deep");
            return Err(damaged(&path, None, reason));
        }
        let directory = parent.open_directory(name).map_err(Error::io(&path, "open"))?;
        let children = self.list(directory.as_ref(), below)?;
        if kind_of(&children, MARKER) == Some(Kind::File) {
            self.ignored.push(path);
            return Ok(());
        }
        if holds_data(&children) {
            let name = variable_name(&path, below)?;
            let entry = self.variable(directory.as_ref(), &children, below, name)?;
            self.variables.push(entry);
        }
        self.visit(directory.as_ref(), children, below)
    }

    /// The variable whose `out` is among these children.
    fn variable(
        &self,
        directory: &dyn Directory,
        children: &[Child],
        below: &Path,
        name: String,
    ) -> Result<Entry> {
        let out = below.join("out");
        let path_of_out = self.path.join(&out);
        if kind_of(children, "out") != Some(Kind::File) {
            return Err(damaged(&path_of_out, Some(&name), NOT_A_FILE));
        }
        let size = directory
            .file_size(OsStr::new("out"))
            .map_err(Error::io(&path_of_out, "ask for the size of"))?;
        let path_of_meta = self.path.join(below).join("meta");
        let meta = match kind_of(children, "meta") {
            None | Some(Kind::Directory) => None,
            Some(Kind::File) => Some(read_meta(directory, &path_of_meta, &name)?),
            Some(Kind::Link | Kind::Special) => {
                return Err(damaged(&path_of_meta, Some(&name), NOT_A_FILE));
            }
        };
        if let Some(meta) = &meta {
            check_size(&path_of_out, &name, meta, size)?;
        }
        Ok(Entry { name, path_of_out, size, meta, root: Arc::clone(self.root), out })
    }
}

impl Entry {
    /// Maps the elements into memory; none of them is read before it is touched.
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
        let length = usize::try_from(self.size)
            .map_err(|_| self.damaged(format!("{} bytes do not fit into memory", self.size)))?;
        file.map(length, mode).map_err(Error::io(&self.path_of_out, "map"))
    }

    /// Reads all elements into `buffer`, which must have the size of the file.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidData`] if `buffer` has another size; [`Error::Damaged`] if the file no
    /// longer has the size it had when the checkpoint was opened, or ends before the last byte;
    /// [`Error::Io`] if it cannot be opened or read.
    pub fn read_into(&self, buffer: &mut [u8]) -> Result<()> {
        if buffer.len() as u64 != self.size {
            let reason = format!("{} bytes are stored, {} were asked for", self.size, buffer.len());
            return Err(Error::InvalidData { variable: self.name.clone(), reason });
        }
        let file = self.open()?;
        let mut done = 0;
        while done < buffer.len() {
            match file.read_at(&mut buffer[done..], done as u64) {
                Ok(0) => return Err(self.changed(done as u64)),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(&self.path_of_out, "read")(error)),
            }
        }
        Ok(())
    }

    /// An entry of a directory that is not a real one.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str, size: u64, root: Arc<dyn Directory>) -> Self {
        let out = Path::new(name).join("out");
        Self { name: name.to_owned(), path_of_out: out.clone(), size, meta: None, root, out }
    }

    fn open(&self) -> Result<Box<dyn File>> {
        let file = self.root.open_file(&self.out).map_err(Error::io(&self.path_of_out, "open"))?;
        let size = file.size().map_err(Error::io(&self.path_of_out, "ask for the size of"))?;
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
        damaged(&self.path_of_out, Some(&self.name), reason)
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

fn variable_name(path: &Path, below: &Path) -> Result<String> {
    let parts: Vec<OsString> = below.iter().map(OsStr::to_owned).collect();
    parts
        .join(OsStr::new("/"))
        .into_string()
        .map_err(|_| damaged(path, None, "the name of the variable is not UTF-8; rename it"))
}

fn read_meta(directory: &dyn Directory, path: &Path, variable: &str) -> Result<Meta> {
    let file = directory.open_file(Path::new("meta")).map_err(Error::io(path, "open"))?;
    // One byte more than allowed tells a text that is too long from one that just fits.
    let mut text = vec![0; 512];
    let mut length = 0;
    loop {
        match file.read_at(&mut text[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path, "read")(error)),
        }
        if length > MAX_META_BYTES {
            break;
        }
        if length == text.len() {
            text.resize((2 * length).min(MAX_META_BYTES + 1), 0);
        }
    }
    Meta::parse(&text[..length]).map_err(|error| match error {
        Error::InvalidMeta { reason } => damaged(path, Some(variable), reason),
        other => other,
    })
}

fn check_size(path_of_out: &Path, variable: &str, meta: &Meta, found: u64) -> Result<()> {
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
    Err(damaged(path_of_out, Some(variable), reason))
}

fn damaged(path: &Path, variable: Option<&str>, reason: impl Into<String>) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        variable: variable.map(str::to_owned),
        reason: reason.into(),
    }
}
