//! The crate's tests: exact bytes, the parser, real file systems, faults and crashes.

mod bytes;
#[cfg(target_os = "linux")]
mod corners;
mod crash;
mod endless;
mod faults;
mod features;
mod golden;
mod names;
mod parser;
#[cfg(target_os = "linux")]
mod refusals;
mod replace;
#[cfg(unix)]
mod round_trip;
mod simulated;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::system::portable::PortableStorage;
use crate::{
    Checkpoint, DataType, Durability, Meta, Opened, RealStorage, SaveOptions, Storage, Variable,
};

/// Both implementations of the real file system; a test of one is a test of the other.
const STORAGES: [&dyn Storage; 2] = [&RealStorage, &PortableStorage];

/// A directory of its own for each test, removed with all it holds.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("flowrs-checkpoint-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    /// Writes a file, and makes the directories that it needs.
    fn write(&self, below: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(&path, contents).expect("a file");
        path
    }

    /// The names in a directory, sorted.
    fn names(&self, below: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(below))
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays for the system's cleaning of temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bytes_variable<'a>(name: &'a str, data: &'a [u8]) -> Variable<'a> {
    let meta = Meta { shape: vec![data.len()], data_type: DataType::UInt8 };
    Variable { name, meta, data: data.into() }
}

fn quick() -> SaveOptions<'static> {
    SaveOptions { durability: Durability::Rename, checksum: false, ..SaveOptions::default() }
}

fn open_directory(storage: &dyn Storage, path: &Path) -> Checkpoint {
    match crate::open(storage, path) {
        Ok(Opened::Directory(checkpoint)) => checkpoint,
        other => panic!("expected a checkpoint at {}, found {other:?}", path.display()),
    }
}

/// Opens what must not open, and returns what is said about it.
fn refusal(storage: &dyn Storage, path: &Path) -> String {
    match crate::open(storage, path) {
        Ok(opened) => panic!("{} opened: {opened:?}", path.display()),
        Err(error) => error.to_string(),
    }
}

/// How much to try: more in the long mode, which `FLOWRS_LONG_TESTS=1` asks for.
fn effort(usual: u32, long: u32) -> u32 {
    if std::env::var_os("FLOWRS_LONG_TESTS").is_some_and(|value| value == "1") {
        long
    } else {
        usual
    }
}
