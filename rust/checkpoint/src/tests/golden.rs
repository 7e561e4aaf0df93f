//! Checkpoints that an independent program wrote are written again, byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{STORAGES, Scratch, open_directory, quick};
use crate::{Data, MapMode, Variable, save};

/// All files below a directory, by their path inside it.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let below = path.strip_prefix(root).expect("below the root").to_owned();
                files.insert(below, fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says why")]
fn golden_checkpoints_are_written_again_byte_for_byte() {
    let Some(golden) = std::env::var_os("FLOWRS_GOLDEN_DIR") else {
        println!("skipped: FLOWRS_GOLDEN_DIR is not set");
        return;
    };
    for (name, count) in [("mlp_init", 5), ("lenet_init", 9)] {
        let path = Path::new(&golden).join(name);
        for storage in STORAGES {
            let checkpoint = open_directory(storage, &path);
            assert!(checkpoint.complete);
            assert_eq!(checkpoint.variables.len(), count, "{name}");
            let data: Vec<_> = checkpoint
                .variables
                .iter()
                .map(|entry| entry.map(MapMode::ReadOnly).expect("a mapping"))
                .collect();
            let variables: Vec<_> = checkpoint
                .variables
                .iter()
                .zip(&data)
                .map(|(entry, data)| Variable {
                    name: &entry.name,
                    meta: entry.meta.clone().expect("a description"),
                    data: Data::Bytes(data),
                })
                .collect();
            let scratch = Scratch::new();
            let again = scratch.path(name);
            save(storage, &again, &variables, &quick()).expect("a save");
            let (expected, found) = (files(&path), files(&again));
            assert!(expected.keys().eq(found.keys()), "{:?}", found.keys());
            for (file, contents) in &expected {
                assert!(found[file] == *contents, "{} differs", file.display());
            }
        }
    }
}
