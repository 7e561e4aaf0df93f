//! A file system in memory that can fail at every operation and lose power after every operation.
//!
//! It keeps apart what programs see and what is on the disk. The contents of a file reach the disk
//! when the file is made durable, the entries of a directory when the directory is; until then a
//! crash keeps any part of them ([`Disk::after_crash`]).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::storage::{Child, Directory, File, Kind, MapMode, Mapping, NewFile, Storage};

/// What a disk writes at once: of a file that was being written, such parts survive a crash.
const SECTOR: usize = 512;

type Entries = BTreeMap<OsString, usize>;

#[derive(Clone)]
enum Node {
    File { seen: Vec<u8>, durable: Vec<u8> },
    Directory { seen: Entries, durable: Entries, pending: Vec<Change> },
}

/// A change of a directory's entries that is not durable yet.
#[derive(Clone)]
enum Change {
    Add(OsString, usize),
    Remove(OsString),
    Rename { from: OsString, to: OsString, node: usize },
    Exchange { one: (OsString, usize), other: (OsString, usize) },
}

impl Change {
    fn apply(&self, entries: &mut Entries) {
        match self {
            Self::Add(name, node) => drop(entries.insert(name.clone(), *node)),
            Self::Remove(name) => drop(entries.remove(name)),
            Self::Rename { from, to, node } => {
                entries.remove(from);
                entries.insert(to.clone(), *node);
            }
            Self::Exchange { one, other } => {
                entries.insert(one.0.clone(), other.1);
                entries.insert(other.0.clone(), one.1);
            }
        }
    }
}

/// A disk as programs see it, and as it is.
#[derive(Clone, Default)]
pub(super) struct Disk {
    /// All files and directories; the first one is the root.
    nodes: Vec<Node>,
    /// What it says is free.
    pub(super) available: Option<u64>,
    /// Whether names cannot be exchanged in one step.
    pub(super) no_exchange: bool,
    /// Whether names that differ only in case are the same.
    pub(super) ignores_case: bool,
}

/// What a crash does to things that are not durable.
pub(super) trait Crash {
    /// What is left of the contents of a file.
    fn contents(&mut self, durable: &[u8], seen: &[u8]) -> Vec<u8>;
    /// Which of the changes of a directory have happened, a bit for each.
    fn changes(&mut self, count: usize) -> u64;
}

/// What survives of unwritten contents.
#[derive(Debug, Clone, Copy)]
pub(super) enum Contents {
    Lost,
    Kept,
    /// The file ends within what was written, at the end of a sector.
    CutShort,
    /// The file has its length, but every other sector was not written.
    WithHoles,
}

impl Contents {
    pub(super) const ALL: [Self; 4] = [Self::Lost, Self::Kept, Self::CutShort, Self::WithHoles];

    pub(super) fn survivor(self, durable: &[u8], seen: &[u8]) -> Vec<u8> {
        match self {
            Self::Lost => durable.to_vec(),
            Self::Kept => seen.to_vec(),
            Self::CutShort => seen[..seen.len() / 2 / SECTOR * SECTOR].to_vec(),
            Self::WithHoles => {
                let mut torn = seen.to_vec();
                torn.chunks_mut(SECTOR).step_by(2).for_each(|sector| sector.fill(0));
                torn
            }
        }
    }
}

impl Disk {
    /// The disk that is found after a crash. Every node is kept; unreachable ones do not matter.
    pub(super) fn after_crash(&self, crash: &mut dyn Crash) -> Self {
        let survivor = |node: &Node| match node {
            Node::File { seen, durable } if seen == durable => node.clone(),
            Node::File { seen, durable } => {
                let contents = crash.contents(durable, seen);
                Node::File { seen: contents.clone(), durable: contents }
            }
            Node::Directory { durable, pending, .. } => {
                let happened = if pending.is_empty() { 0 } else { crash.changes(pending.len()) };
                let mut entries = durable.clone();
                for (index, change) in pending.iter().enumerate() {
                    if happened >> index & 1 == 1 {
                        change.apply(&mut entries);
                    }
                }
                Node::Directory { seen: entries.clone(), durable: entries, pending: Vec::new() }
            }
        };
        Self { nodes: self.nodes.iter().map(survivor).collect(), ..*self }
    }

    /// The most changes that any one directory has pending.
    pub(super) fn most_pending(&self) -> usize {
        let pending = |node: &Node| match node {
            Node::File { .. } => 0,
            Node::Directory { pending, .. } => pending.len(),
        };
        self.nodes.iter().map(pending).max().unwrap_or(0)
    }

    /// All paths as programs see them, with the contents of files.
    pub(super) fn tree(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut tree = BTreeMap::new();
        let mut left = vec![(PathBuf::from("/"), 0)];
        while let Some((path, node)) = left.pop() {
            let contents = match &self.nodes[node] {
                Node::File { seen, .. } => Some(seen.clone()),
                Node::Directory { seen, .. } => {
                    left.extend(seen.iter().map(|(name, &node)| (path.join(name), node)));
                    None
                }
            };
            tree.insert(path, contents);
        }
        tree
    }

    fn find(&self, start: usize, path: &Path) -> io::Result<usize> {
        let mut node = start;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let entries = self.entries(node)?;
            let same = |other: &&OsString| self.ignores_case && other.eq_ignore_ascii_case(name);
            let found = entries.get(name).or_else(|| entries.get(entries.keys().find(same)?));
            node = *found.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    /// Which node a path leads to.
    pub(super) fn node_of(&self, path: &Path) -> Option<usize> {
        self.find(0, path).ok()
    }

    fn entries(&self, node: usize) -> io::Result<&Entries> {
        match &self.nodes[node] {
            Node::Directory { seen, .. } => Ok(seen),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn contents(&self, node: usize) -> io::Result<&[u8]> {
        match &self.nodes[node] {
            Node::File { seen, .. } => Ok(seen),
            Node::Directory { .. } => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn kind(&self, node: usize) -> Kind {
        match self.nodes[node] {
            Node::File { .. } => Kind::File,
            Node::Directory { .. } => Kind::Directory,
        }
    }

    fn change(&mut self, parent: &Path, change: Change) -> io::Result<()> {
        let parent = self.find(0, parent)?;
        let Node::Directory { seen, pending, .. } = &mut self.nodes[parent] else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        change.apply(seen);
        pending.push(change);
        Ok(())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        if self.find(0, path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(node);
        let (parent, name) = split(path)?;
        self.change(parent, Change::Add(name, self.nodes.len() - 1))
    }

    fn remove(&mut self, path: &Path, kind: Kind) -> io::Result<()> {
        let node = self.find(0, path)?;
        if self.kind(node) != kind {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if kind == Kind::Directory && !self.entries(node)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (parent, name) = split(path)?;
        self.change(parent, Change::Remove(name))
    }

    fn make_durable(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(0, path)?;
        match &mut self.nodes[node] {
            Node::File { seen, durable } => durable.clone_from(seen),
            Node::Directory { seen, durable, pending } => {
                durable.clone_from(seen);
                pending.clear();
            }
        }
        Ok(())
    }
}

fn split(path: &Path) -> io::Result<(&Path, OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name.to_owned())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// An operation that fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    /// Number of the operation, from 0.
    pub(super) at: usize,
    /// Whether all later operations fail as well.
    pub(super) lasting: bool,
    /// The system's number of the error.
    pub(super) errno: i32,
}

struct State {
    disk: Disk,
    /// The disk after each operation that changed it.
    history: Vec<Disk>,
    operations: usize,
    fault: Option<Fault>,
}

impl State {
    /// Counts an operation; fails if it is to fail.
    fn count(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some(fault) if number == fault.at || fault.lasting && number > fault.at => {
                Err(io::Error::from_raw_os_error(fault.errno))
            }
            _ => Ok(()),
        }
    }

    fn record(&mut self) {
        self.history.push(self.disk.clone());
    }
}

/// The storage on such a disk. Relative paths begin at the root.
#[derive(Clone)]
pub(super) struct SimulatedStorage(Arc<Mutex<State>>);

impl SimulatedStorage {
    pub(super) fn new() -> Self {
        let root =
            Node::Directory { seen: Entries::new(), durable: Entries::new(), pending: Vec::new() };
        Self::on(Disk { nodes: vec![root], ..Disk::default() }, None)
    }

    pub(super) fn on(disk: Disk, fault: Option<Fault>) -> Self {
        let history = vec![disk.clone()];
        Self(Arc::new(Mutex::new(State { disk, history, operations: 0, fault })))
    }

    pub(super) fn disk(&self) -> Disk {
        self.state().disk.clone()
    }

    pub(super) fn history(&self) -> Vec<Disk> {
        self.state().history.clone()
    }

    pub(super) fn operations(&self) -> usize {
        self.state().operations
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the lock")
    }

    /// Does one operation that may change the disk.
    fn change(&self, change: impl FnOnce(&mut Disk) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        state.count()?;
        change(&mut state.disk)?;
        state.record();
        Ok(())
    }

    /// Does one operation that only looks.
    fn look<T>(&self, look: impl FnOnce(&Disk) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        state.count()?;
        look(&state.disk)
    }

    fn opened(&self, node: usize) -> Opened {
        Opened { storage: self.clone(), node }
    }
}

impl Storage for SimulatedStorage {
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        self.look(|disk| Ok(disk.find(0, path).ok().map(|node| disk.kind(node))))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.look(|disk| disk.find(0, path))?;
        let normal = path.components().filter(|part| matches!(part, Component::Normal(_)));
        Ok(Path::new("/").join(normal.collect::<PathBuf>()))
    }

    fn open_directory(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        let node = self.look(|disk| {
            let node = disk.find(0, path)?;
            disk.entries(node).map(|_| node)
        })?;
        Ok(Arc::new(self.opened(node)))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let (seen, durable, pending) = Default::default();
        self.change(|disk| disk.add(path, Node::Directory { seen, durable, pending }))
    }

    fn create_file(&self, path: &Path, _size: u64) -> io::Result<Box<dyn NewFile>> {
        let (seen, durable) = Default::default();
        self.change(|disk| disk.add(path, Node::File { seen, durable }))?;
        let node = self.state().disk.find(0, path)?;
        Ok(Box::new(self.opened(node)))
    }

    fn available_space(&self, _directory: &Path) -> io::Result<Option<u64>> {
        self.look(|disk| Ok(disk.available))
    }

    fn make_durable(&self, files: &[PathBuf], directories: &[PathBuf]) -> io::Result<()> {
        files
            .iter()
            .chain(directories)
            .try_for_each(|path| self.change(|disk| disk.make_durable(path)))
    }

    fn rename_directory(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|disk| {
            let node = disk.find(0, from)?;
            if let Ok(replaced) = disk.find(0, to)
                && !disk.entries(replaced)?.is_empty()
            {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            let ((parent, from), (same, to)) = (split(from)?, split(to)?);
            assert_eq!(parent, same, "a rename between directories is not one change");
            disk.change(parent, Change::Rename { from, to, node })
        })
    }

    fn exchange_directories(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.change(|disk| {
            if disk.no_exchange {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let nodes = (disk.find(0, one)?, disk.find(0, other)?);
            let ((parent, one), (same, other)) = (split(one)?, split(other)?);
            assert_eq!(parent, same, "an exchange between directories is not one change");
            disk.change(parent, Change::Exchange { one: (one, nodes.0), other: (other, nodes.1) })
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(|disk| disk.remove(path, Kind::File))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.change(|disk| disk.remove(path, Kind::Directory))
    }
}

/// A node that is open; its place in the tree does not matter any more.
struct Opened {
    storage: SimulatedStorage,
    node: usize,
}

impl NewFile for Opened {
    /// In two steps, so that a crash can come between them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for half in [&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]] {
            self.storage.change(|disk| {
                if let Node::File { seen, .. } = &mut disk.nodes[self.node] {
                    seen.extend_from_slice(half);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl Directory for Opened {
    fn identity(&self) -> io::Result<Option<(u64, u64)>> {
        self.storage.look(|_| Ok(Some((0, self.node as u64))))
    }

    fn is_remote(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn link_file(&self, relative: &Path, path: &Path) -> io::Result<()> {
        self.storage.change(|disk| {
            let node = disk.find(self.node, relative)?;
            disk.contents(node)?;
            if disk.find(0, path).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let (parent, name) = split(path)?;
            disk.change(parent, Change::Add(name, node))
        })
    }

    fn list(&self, limit: usize) -> io::Result<Vec<Child>> {
        self.storage.look(|disk| {
            let child = |(name, &node): (&OsString, &usize)| Child {
                name: name.clone(),
                kind: disk.kind(node),
            };
            Ok(disk.entries(self.node)?.iter().take(limit).map(child).collect())
        })
    }

    fn open_directory(&self, name: &OsStr) -> io::Result<Arc<dyn Directory>> {
        let node = self.storage.look(|disk| disk.find(self.node, Path::new(name)))?;
        Ok(Arc::new(self.storage.opened(node)))
    }

    fn file_size(&self, name: &OsStr) -> io::Result<u64> {
        self.storage.look(|disk| {
            let node = disk.find(self.node, Path::new(name))?;
            Ok(disk.contents(node)?.len() as u64)
        })
    }

    fn open_file(&self, relative: &Path) -> io::Result<Box<dyn File>> {
        let node = self.storage.look(|disk| disk.find(self.node, relative))?;
        Ok(Box::new(self.storage.opened(node)))
    }
}

impl File for Opened {
    fn size(&self) -> io::Result<u64> {
        self.storage.look(|disk| Ok(disk.contents(self.node)?.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.storage.look(|disk| {
            let contents = disk.contents(self.node)?;
            let start =
                usize::try_from(offset).map_or(contents.len(), |start| start.min(contents.len()));
            // Less than asked for, as systems may.
            let count = buffer.len().min(contents.len() - start).min(1000);
            buffer[..count].copy_from_slice(&contents[start..start + count]);
            Ok(count)
        })
    }

    fn map(&self, length: usize, _mode: MapMode) -> io::Result<Mapping> {
        self.storage.look(|disk| Ok(Mapping::owned(disk.contents(self.node)?[..length].to_vec())))
    }
}
