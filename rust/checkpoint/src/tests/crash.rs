//! The power fails after every operation of a save, and anything that is not durable may be lost,
//! kept or torn. The usual run tries some thousand states; `FLOWRS_LONG_TESTS=1` tries a hundred
//! times as many.

use std::collections::BTreeMap;
use std::path::Path;

use super::simulated::{Contents, Crash, Disk, SimulatedStorage};
use super::{bytes_variable, effort, quick};
use crate::{Data, Error, Opened, SaveOptions, Storage, Variable, open, save};

/// All files suffer the same, all directories too.
struct Uniform {
    contents: Contents,
    changes: u64,
}

impl Crash for Uniform {
    fn contents(&mut self, durable: &[u8], seen: &[u8]) -> Vec<u8> {
        self.contents.survivor(durable, seen)
    }

    fn changes(&mut self, _count: usize) -> u64 {
        self.changes
    }
}

/// Every file and every change of a directory has its own fate (splitmix64 of a seed).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Crash for Random {
    fn contents(&mut self, durable: &[u8], seen: &[u8]) -> Vec<u8> {
        Contents::ALL[(self.next() % 4) as usize].survivor(durable, seen)
    }

    fn changes(&mut self, _count: usize) -> u64 {
        self.next()
    }
}

/// A save into a disk that was durable, and what must be true after a crash.
struct Scene<'a> {
    directories: &'a [&'a str],
    path: &'a str,
    variables: Vec<Variable<'a>>,
}

impl Scene<'_> {
    /// Runs the save, crashes it in every way and returns how many states were looked at.
    fn crash_everywhere(&self, seeds: u32) -> u32 {
        let storage = SimulatedStorage::new();
        for directory in self.directories {
            storage.create_directory(Path::new(directory)).expect("a directory");
            let parent = Path::new(directory).parent().expect("a parent").to_owned();
            storage.make_durable(&[], &[parent]).expect("durable");
        }
        let storage = SimulatedStorage::on(storage.disk(), None);
        save(&storage, Path::new(self.path), &self.variables, &SaveOptions::default())
            .expect("nothing fails");

        let history = storage.history();
        let (last, before) = history.split_last().expect("at least the initial state");
        let mut states = 0;
        for (disk, returned) in before.iter().map(|disk| (disk, false)).chain([(last, true)]) {
            for_each_crash(disk, seeds, |after| {
                states += 1;
                self.check(after, returned);
            });
        }
        states
    }

    fn check(&self, disk: Disk, returned: bool) {
        let tree = disk.tree();
        let storage = SimulatedStorage::on(disk, None);
        match open(&storage, Path::new(self.path)) {
            Ok(Opened::Directory(checkpoint)) if checkpoint.complete => {
                let mut found = BTreeMap::new();
                for entry in &checkpoint.variables {
                    let data = entry.map(Default::default()).expect("a whole file");
                    found.insert(entry.name.clone(), (entry.meta.clone(), data.to_vec()));
                }
                let expected: BTreeMap<_, _> = self
                    .variables
                    .iter()
                    .map(|variable| {
                        let meta = Some(variable.meta.clone());
                        (variable.name.to_owned(), (meta, bytes_of(variable)))
                    })
                    .collect();
                assert_eq!(found, expected, "the marker promises the whole: {:?}", tree.keys());
            }
            Ok(Opened::Directory(checkpoint)) => {
                let untouched = checkpoint.variables.is_empty()
                    && self.directories.contains(&self.path)
                    && !tree.keys().any(|path| path.parent() == Some(Path::new(self.path)));
                assert!(untouched && !returned, "a part of a save: {:?}", tree.keys());
            }
            Err(Error::NotFound { .. }) if !returned => {}
            other => panic!("{other:?} in {:?}", tree.keys()),
        }
    }
}

fn bytes_of(variable: &Variable<'_>) -> Vec<u8> {
    let Data::Bytes(bytes) = variable.data else { panic!("bytes are saved") };
    bytes.to_vec()
}

pub(super) fn for_each_crash(disk: &Disk, seeds: u32, mut check: impl FnMut(Disk)) {
    let mut masks = vec![0, u64::MAX];
    for index in 0..disk.most_pending() {
        // Everything up to one change, everything but one, one alone.
        masks.extend([(1 << index) - 1, !(1 << index), 1 << index]);
    }
    for contents in Contents::ALL {
        for &changes in &masks {
            check(disk.after_crash(&mut Uniform { contents, changes }));
        }
    }
    for seed in 0..seeds {
        check(disk.after_crash(&mut Random(seed.into())));
    }
}

#[test]
fn after_a_crash_there_is_the_whole_checkpoint_or_none() {
    let long: Vec<u8> = (0..3000u32).map(|value| (value % 251 + 1) as u8).collect();
    let weight = || bytes_variable("dense1-weight", &long);
    let bias = || bytes_variable("dense1-bias", &long[..700]);
    let scenes = [
        Scene { directories: &[], path: "/first", variables: vec![weight(), bias()] },
        Scene {
            directories: &["/runs", "/runs/first"],
            path: "/runs/first",
            variables: vec![weight(), bias(), bytes_variable("nested/step", &long[..8])],
        },
        Scene {
            directories: &["/runs"],
            path: "/runs/of/today/first",
            variables: vec![bytes_variable("a/b/c", &long[..600]), bytes_variable("a/b", &[])],
        },
        Scene { directories: &["/empty"], path: "/empty", variables: vec![] },
    ];
    let seeds = effort(40, 10_000);
    let states: u32 = scenes.iter().map(|scene| scene.crash_everywhere(seeds)).sum();
    assert!(states >= 5_000, "only {states} states were tried");
}

/// The enumeration must find the mistakes that it is there for: here the directory is renamed
/// before its files are durable.
#[test]
fn the_enumeration_notices_a_save_that_is_not_durable() {
    let data = [9; 2000];
    let path = Path::new("/careless");
    let storage = SimulatedStorage::new();
    let careless = quick();
    save(&storage, path, &[bytes_variable("a", &data)], &careless).expect("nothing fails");

    let mut half_written = 0;
    for_each_crash(&storage.disk(), 200, |disk| {
        let storage = SimulatedStorage::on(disk, None);
        let whole = match open(&storage, path) {
            Ok(Opened::Directory(checkpoint)) => {
                checkpoint.complete
                    && checkpoint.variables.first().is_some_and(|entry| {
                        entry.map(Default::default()).is_ok_and(|found| found[..] == data)
                    })
            }
            Err(Error::NotFound { .. }) => true,
            _ => false,
        };
        half_written += u32::from(!whole);
    });
    assert!(half_written > 0, "no crash was noticed");
}
