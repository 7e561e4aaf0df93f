//! Every operation of a save and of opening fails once.

use std::path::Path;

use super::simulated::{Fault, SimulatedStorage};
use super::{bytes_variable, open_directory};
use crate::{Error, Opened, SaveOptions, Storage, Variable, open, save};

const NO_SPACE: i32 = 28;
const INPUT_OUTPUT: i32 = 5;
const OVER_QUOTA: i32 = 122;

/// What is there before, and where to save.
const SCENES: [(&[&str], &str); 5] = [
    (&["/runs"], "/runs/first"),
    (&["/runs", "/runs/first"], "/runs/first"),
    (&[], "/deep/er/and/deeper"),
    (&[], "relative"),
    (&[], "relative/deeper"),
];

fn prepared(directories: &[&str]) -> SimulatedStorage {
    let storage = SimulatedStorage::new();
    for directory in directories {
        storage.create_directory(Path::new(directory)).expect("a directory");
    }
    storage.make_durable(&[], &["/".into()]).expect("durable");
    SimulatedStorage::on(storage.disk(), None)
}

fn variables(data: &[u8]) -> Vec<Variable<'_>> {
    ["a", "b/c", "b/d/e"].into_iter().map(|name| bytes_variable(name, data)).collect()
}

#[test]
fn a_save_that_fails_anywhere_leaves_nothing_behind() {
    let data = [7; 1500];
    for (before, path) in SCENES {
        let path = Path::new(path);
        let storage = prepared(before);
        let initial = storage.disk();
        save(&storage, path, &variables(&data), &SaveOptions::default()).expect("no fault");
        let operations = storage.operations();
        assert!(operations > 40, "{operations} operations are too few to be the whole save");

        for at in 0..operations {
            for errno in [NO_SPACE, OVER_QUOTA, INPUT_OUTPUT] {
                let fault = Fault { at, lasting: false, errno };
                let storage = SimulatedStorage::on(initial.clone(), Some(fault));
                let error = save(&storage, path, &variables(&data), &SaveOptions::default())
                    .expect_err("an operation has failed");
                let Error::Io { source, .. } = &error else { panic!("{fault:?}: {error}") };
                assert_eq!(source.raw_os_error(), Some(errno), "{fault:?}");
                assert_eq!(storage.disk().tree(), initial.tree(), "{path:?}, {fault:?}");
            }
        }
    }
}

#[test]
fn a_save_on_a_disk_that_dies_leaves_the_target_whole_or_untouched() {
    let data = [7; 1500];
    for (before, path) in SCENES {
        let path = Path::new(path);
        let storage = prepared(before);
        let initial = storage.disk();
        save(&storage, path, &variables(&data), &SaveOptions::default()).expect("no fault");

        for at in 0..storage.operations() {
            let fault = Fault { at, lasting: true, errno: INPUT_OUTPUT };
            let dying = SimulatedStorage::on(initial.clone(), Some(fault));
            save(&dying, path, &variables(&data), &SaveOptions::default())
                .expect_err("the disk is dead");
            let storage = SimulatedStorage::on(dying.disk(), None);
            match open(&storage, path) {
                Ok(Opened::Directory(checkpoint)) => {
                    let whole = checkpoint.complete && checkpoint.variables.len() == 3;
                    let untouched = !checkpoint.complete && checkpoint.variables.is_empty();
                    assert!(whole || untouched, "{path:?}, {fault:?}: {checkpoint:?}");
                }
                Err(Error::NotFound { .. }) => {}
                other => panic!("{path:?}, {fault:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn opening_reports_every_fault() {
    let storage = prepared(&[]);
    let path = Path::new("/saved");
    save(&storage, path, &variables(&[1; 2500]), &SaveOptions::default()).expect("no fault");
    let disk = storage.disk();

    let read_all = |storage: &SimulatedStorage| -> crate::Result<()> {
        let Opened::Directory(checkpoint) = open(storage, path)? else {
            panic!("{path:?} is a checkpoint")
        };
        for entry in &checkpoint.variables {
            assert_eq!(entry.map(Default::default())?[..], [1; 2500]);
            entry.read_into(&mut [0; 2500])?;
        }
        Ok(())
    };
    let storage = SimulatedStorage::on(disk.clone(), None);
    read_all(&storage).expect("no fault");
    for at in 0..storage.operations() {
        let fault = Fault { at, lasting: false, errno: INPUT_OUTPUT };
        let error = read_all(&SimulatedStorage::on(disk.clone(), Some(fault)))
            .expect_err("an operation has failed");
        assert!(matches!(error, Error::Io { .. }), "{fault:?}: {error}");
    }
    assert_eq!(open_directory(&storage, path).variables.len(), 3);
}

#[test]
fn a_full_disk_says_what_to_do() {
    for errno in [NO_SPACE, OVER_QUOTA] {
        let fault = Fault { at: 6, lasting: false, errno };
        let storage = SimulatedStorage::on(prepared(&[]).disk(), Some(fault));
        let error = save(&storage, Path::new("/a"), &variables(&[1]), &SaveOptions::default())
            .expect_err("the disk is full");
        assert!(error.to_string().contains("free some space"), "{error}");
    }
}
