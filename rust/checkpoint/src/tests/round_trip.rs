//! Saving and opening on the real file system.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{STORAGES, Scratch, bytes_variable, effort, open_directory, quick};
use crate::storage::{Child, Directory, File};
use crate::{
    Data, DataType, Error, MapMode, Mapping, Meta, Opened, RealStorage, SaveOptions, Variable,
    open, save,
};

#[test]
fn what_is_saved_durably_comes_back() {
    let big = vec![3; 1 << 20];
    for storage in STORAGES {
        let scratch = Scratch::new();
        let path = scratch.path("new/parents/saved");
        let variables = [
            bytes_variable("weight", &big),
            bytes_variable("empty", &[]),
            Variable {
                name: "group/scalar",
                meta: Meta { shape: vec![], data_type: DataType::Double },
                data: Data::Bytes(&1.5f64.to_le_bytes()),
            },
        ];
        save(storage, &path, &variables, &SaveOptions::default()).expect("a save");

        let checkpoint = open_directory(storage, &path);
        assert!(checkpoint.complete && checkpoint.ignored.is_empty());
        assert_eq!(checkpoint.path, path);
        let names: Vec<_> = checkpoint.variables.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["empty", "group/scalar", "weight"]);
        for entry in &checkpoint.variables {
            let saved = variables.iter().find(|variable| variable.name == entry.name);
            let saved = saved.expect("a name that was saved");
            assert_eq!(entry.meta.as_ref(), Some(&saved.meta));
            assert_eq!(entry.size, saved.data.length() as u64);
            assert_eq!(entry.path_of_out(), path.join(saved.name).join("out"));
            let Data::Bytes(data) = saved.data else { panic!("bytes were saved") };
            assert_eq!(entry.map(MapMode::ReadOnly).expect("a mapping")[..], *data);
            let mut read = vec![0; data.len()];
            entry.read_into(&mut read).expect("a read");
            assert_eq!(read, data);
        }
    }
}

#[test]
fn many_variables_are_made_durable_at_once() {
    let names: Vec<_> = (0..100).map(|number| format!("layer{}/{number}", number % 7)).collect();
    let variables: Vec<_> =
        names.iter().map(|name| bytes_variable(name, name.as_bytes())).collect();
    for storage in STORAGES {
        let scratch = Scratch::new();
        save(storage, &scratch.path("many"), &variables, &SaveOptions::default()).expect("a save");
        let checkpoint = open_directory(storage, &scratch.path("many"));
        assert_eq!(checkpoint.variables.len(), names.len());
        for entry in &checkpoint.variables {
            assert_eq!(entry.map(MapMode::ReadOnly).expect("data")[..], *entry.name.as_bytes());
        }
    }
}

#[test]
fn an_empty_directory_is_replaced_also_through_a_link() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path("empty")).expect("a directory");
        save(storage, &scratch.path("empty"), &[bytes_variable("a", b"1")], &quick())
            .expect("a save");
        fs::create_dir_all(scratch.path("elsewhere/disk")).expect("directories");
        symlink("elsewhere/disk", scratch.path("link")).expect("a link");
        save(storage, &scratch.path("link"), &[bytes_variable("b", b"2")], &quick())
            .expect("a save");

        assert_eq!(scratch.names("."), ["elsewhere", "empty", "link"]);
        assert_eq!(scratch.names("elsewhere"), ["disk"]);
        assert_eq!(open_directory(storage, &scratch.path("empty")).variables[0].name, "a");
        for name in ["link", "elsewhere/disk"] {
            assert_eq!(open_directory(storage, &scratch.path(name)).variables[0].name, "b");
        }
    }
}

#[test]
fn a_name_of_the_longest_length_can_be_saved_to() {
    let scratch = Scratch::new();
    let path = scratch.path(&"\u{e4}".repeat(127));
    save(&RealStorage, &path, &[bytes_variable("a", b"1")], &quick()).expect("a save");
    assert_eq!(open_directory(&RealStorage, &path).variables.len(), 1);
}

#[test]
fn what_other_writers_leave_opens() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        // No marker, no `meta`, files beside the variables and inside them, an empty directory.
        scratch.write("old/conv/out", [1, 2, 3, 4]);
        scratch.write("old/dense/out", [5; 8]);
        scratch.write("old/dense/out.npy", "stray");
        scratch.write("old/dense/meta", "data_type: 2 # ours\nshape <dim: [2, 1]> stride {dim: 1}");
        scratch.write("old/notes.txt", "stray");
        scratch.write("old/deep/er/out", []);
        fs::create_dir(scratch.path("old/hollow")).expect("a directory");
        // Another checkpoint inside is not part of this one.
        scratch.write("old/backup/snapshot_done", "");
        scratch.write("old/backup/conv/out", [9]);
        // A link that may lead anywhere is not followed.
        symlink("/", scratch.path("old/root")).expect("a link");

        let checkpoint = open_directory(storage, &scratch.path("old"));
        assert!(!checkpoint.complete);
        let found: Vec<_> = checkpoint
            .variables
            .iter()
            .map(|entry| (entry.name.as_str(), entry.size, entry.meta.clone()))
            .collect();
        let meta = Meta { shape: vec![2, 1], data_type: DataType::Float };
        assert_eq!(
            found,
            [("conv", 4, None), ("deep/er", 0, None), ("dense", 8, Some(meta.clone()))]
        );
        let mut ignored = checkpoint.ignored;
        ignored.sort_unstable();
        assert_eq!(ignored, [scratch.path("old/backup"), scratch.path("old/root")]);

        match open(storage, &scratch.path("old/dense")) {
            Ok(Opened::Variable(entry)) => {
                assert_eq!((entry.name.as_str(), entry.meta.as_ref()), ("dense", Some(&meta)));
                assert_eq!(entry.path_of_out(), scratch.path("old/dense/out"));
                assert_eq!(entry.map(MapMode::ReadOnly).expect("data")[..], [5; 8]);
            }
            other => panic!("expected a variable, found {other:?}"),
        }
        fs::create_dir(scratch.path("nothing")).expect("a directory");
        assert!(open_directory(storage, &scratch.path("nothing")).variables.is_empty());
    }
}

#[test]
fn mappings_outlive_their_files_and_keep_writes_to_themselves() {
    const fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    for storage in STORAGES {
        let scratch = Scratch::new();
        let path = scratch.path("saved");
        let variables = [bytes_variable("a", &[1, 2, 3]), bytes_variable("empty", &[])];
        save(storage, &path, &variables, &quick()).expect("a save");
        let checkpoint = open_directory(storage, &path);
        let entry = &checkpoint.variables[0];

        let mut private = entry.map(MapMode::CopyOnWrite).expect("a mapping");
        private.as_mut_slice().expect("copy-on-write")[0] = 9;
        assert_eq!(private[..], [9, 2, 3]);
        let mut shared = entry.map(MapMode::ReadOnly).expect("a mapping");
        assert!(shared.as_mut_slice().is_none());
        assert_eq!(shared[..], [1, 2, 3]);
        is_shared(&shared);
        is_shared(&checkpoint);
        assert_eq!(fs::read(path.join("a/out")).expect("a file"), [1, 2, 3]);

        let empty = checkpoint.variables[1].map(MapMode::CopyOnWrite).expect("a mapping");
        assert!(empty.is_empty());
        fs::remove_dir_all(&path).expect("removed");
        drop(checkpoint);
        assert_eq!((private[..].to_vec(), shared[..].to_vec()), (vec![9, 2, 3], vec![1, 2, 3]));
    }
}

#[test]
fn a_file_that_changes_after_opening_is_noticed() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        let path = scratch.path("saved");
        save(storage, &path, &[bytes_variable("a", &[1; 10])], &quick()).expect("a save");
        let entry = open_directory(storage, &path).variables.remove(0);
        assert!(matches!(entry.read_into(&mut [0; 9]), Err(Error::InvalidData { .. })));

        for size in [3, 11] {
            let file = fs::OpenOptions::new().write(true).open(path.join("a/out")).expect("a file");
            file.set_len(size).expect("another size");
            for error in [
                entry.map(MapMode::ReadOnly).expect_err("another size"),
                entry.read_into(&mut [0; 10]).expect_err("another size"),
            ] {
                let expected =
                    format!("expected 10 bytes as when the checkpoint was opened, found {size}");
                assert!(matches!(error, Error::Damaged { .. }), "{error}");
                assert!(error.to_string().contains(&expected), "{error}");
            }
        }
        fs::remove_file(path.join("a/out")).expect("removed");
        let error = entry.map(MapMode::ReadOnly).expect_err("no file");
        assert!(error.to_string().contains("replaced or removed since it was opened"), "{error}");
        symlink("/dev/zero", path.join("a/out")).expect("a link");
        assert!(matches!(entry.map(MapMode::ReadOnly), Err(Error::Io { operation: "open", .. })));
    }
}

/// A file that ends earlier than its size says, as one does that is cut short between the two.
struct Shrinking;

impl Directory for Shrinking {
    fn list(&self, _limit: usize) -> io::Result<Vec<Child>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open_directory(&self, _name: &std::ffi::OsStr) -> io::Result<Arc<dyn Directory>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn file_size(&self, _name: &std::ffi::OsStr) -> io::Result<u64> {
        Ok(10)
    }

    fn identity(&self) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }

    fn is_remote(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn link_file(&self, _relative: &Path, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open_file(&self, _relative: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Self))
    }
}

impl File for Shrinking {
    fn size(&self) -> io::Result<u64> {
        Ok(10)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(buffer.len().min(4usize.saturating_sub(offset as usize)))
    }

    fn map(&self, _length: usize, _mode: MapMode) -> io::Result<Mapping> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_is_an_error() {
    let entry = crate::Entry::for_test("a", 10, Arc::new(Shrinking));
    let error = entry.read_into(&mut [0; 10]).expect_err("four bytes only");
    assert!(error.to_string().contains("found 4"), "{error}");
}

fn any_checkpoint() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let part = "[a-c]{1,2}";
    let name = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let data = prop::collection::vec(any::<u8>(), 0..2000);
    prop::collection::btree_map(name, data, 0..8).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: effort(48, 5_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_checkpoint_comes_back(saved in any_checkpoint()) {
        for storage in STORAGES {
            let scratch = Scratch::new();
            let variables: Vec<_> =
                saved.iter().map(|(name, data)| bytes_variable(name, data)).collect();
            save(storage, &scratch.path("saved"), &variables, &quick()).expect("a save");
            let found: Vec<_> = open_directory(storage, &scratch.path("saved"))
                .variables
                .iter()
                .map(|entry| {
                    (entry.name.clone(), entry.map(MapMode::ReadOnly).expect("data").to_vec())
                })
                .collect();
            prop_assert_eq!(&found, &saved);
        }
    }
}
