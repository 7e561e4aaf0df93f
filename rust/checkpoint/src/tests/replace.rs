//! Replacing, changing and linking checkpoints: the power fails after every operation, and every
//! operation fails once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::crash::for_each_crash;
use super::simulated::{Disk, Fault, SimulatedStorage};
use super::{bytes_variable, effort, open_directory};
use crate::{Checkpoint, Edit, Error, Opened, Result, SaveOptions, Storage, edit, open, save};

const PATH: &str = "/runs/checkpoint";
const OTHER: &str = "/runs/other";

type Contents = BTreeMap<String, Vec<u8>>;

/// A change of a disk that holds the same two checkpoints at the beginning.
struct Scene {
    name: &'static str,
    run: fn(&SimulatedStorage) -> Result<()>,
    /// What is at the path afterwards.
    after: &'static [(&'static str, u8)],
    no_exchange: bool,
}

const BEFORE: [(&str, u8); 3] = [("kept", 1), ("n/changed", 2), ("gone", 3)];

const SCENES: [Scene; 7] = [
    Scene {
        name: "overwrite",
        run: overwrite,
        after: &[("kept", 1), ("new", 9)],
        no_exchange: false,
    },
    Scene {
        name: "overwrite in two steps",
        run: overwrite,
        after: &[("kept", 1), ("new", 9)],
        no_exchange: true,
    },
    Scene {
        name: "update",
        run: |storage| {
            let changed = [7; SIZE];
            let set = vec![bytes_variable("n/changed", &changed)];
            change(storage, &Edit { set, ..Edit::default() })
        },
        after: &[("kept", 1), ("n/changed", 7), ("gone", 3)],
        no_exchange: false,
    },
    Scene {
        name: "rename",
        run: |storage| {
            let rename = HashMap::from([
                ("kept".to_owned(), "gone".to_owned()),
                ("gone".to_owned(), "kept".to_owned()),
            ]);
            change(storage, &Edit { rename, ..Edit::default() })
        },
        after: &[("kept", 3), ("n/changed", 2), ("gone", 1)],
        no_exchange: false,
    },
    Scene {
        name: "drop",
        run: |storage| {
            let drop = HashSet::from(["gone".to_owned(), "n/changed".to_owned()]);
            change(storage, &Edit { drop, ..Edit::default() })
        },
        after: &[("kept", 1)],
        no_exchange: false,
    },
    Scene {
        name: "link to another",
        run: |storage| linked(storage, OTHER),
        after: &[("kept", 1), ("n/changed", 8)],
        no_exchange: false,
    },
    Scene {
        name: "link to what is replaced",
        run: |storage| linked(storage, PATH),
        after: &[("kept", 1), ("n/changed", 8)],
        no_exchange: false,
    },
];

const SIZE: usize = 1100;

fn overwrite(storage: &SimulatedStorage) -> Result<()> {
    let (kept, new) = ([1; SIZE], [9; SIZE]);
    let variables = [bytes_variable("kept", &kept), bytes_variable("new", &new)];
    let options = SaveOptions { overwrite: true, ..SaveOptions::default() };
    save(storage, Path::new(PATH), &variables, &options)
}

fn change(storage: &SimulatedStorage, what: &Edit<'_>) -> Result<()> {
    edit(storage, Path::new(PATH), what, &SaveOptions::default())
}

fn linked(storage: &SimulatedStorage, to: &str) -> Result<()> {
    let previous = checkpoint(storage, to)?;
    let (kept, changed) = ([1; SIZE], [8; SIZE]);
    let variables = [bytes_variable("kept", &kept), bytes_variable("n/changed", &changed)];
    let options =
        SaveOptions { overwrite: true, link_from: Some(&previous), ..SaveOptions::default() };
    save(storage, Path::new(PATH), &variables, &options)
}

fn checkpoint(storage: &SimulatedStorage, path: &str) -> Result<Checkpoint> {
    match open(storage, Path::new(path))? {
        Opened::Directory(checkpoint) => Ok(checkpoint),
        Opened::Variable(entry) => panic!("{entry:?} is no checkpoint"),
    }
}

fn contents(variables: &[(&str, u8)]) -> Contents {
    variables.iter().map(|&(name, value)| (name.to_owned(), vec![value; SIZE])).collect()
}

/// What a finished checkpoint holds; its checksums have been compared.
fn found(storage: &SimulatedStorage, path: &str) -> Result<Contents> {
    let checkpoint = checkpoint(storage, path)?;
    assert!(checkpoint.complete, "only finished checkpoints are ever at {path}");
    let read = |entry: &crate::Entry| {
        assert!(entry.verify()?, "every variable has a checksum");
        Ok((entry.name.clone(), entry.map(Default::default())?.to_vec()))
    };
    checkpoint.variables.iter().map(read).collect()
}

/// A durable disk with the two checkpoints.
fn prepared(scene: &Scene) -> Disk {
    let storage = SimulatedStorage::new();
    storage.create_directory(Path::new("/runs")).expect("a directory");
    storage.make_durable(&[], &["/".into()]).expect("durable");
    let data: Vec<_> = BEFORE.iter().map(|&(name, value)| (name, [value; SIZE])).collect();
    let variables: Vec<_> = data.iter().map(|(name, data)| bytes_variable(name, data)).collect();
    for path in [PATH, OTHER] {
        save(&storage, Path::new(path), &variables, &SaveOptions::default()).expect("no fault");
    }
    let mut disk = storage.disk();
    disk.no_exchange = scene.no_exchange;
    disk
}

#[test]
fn after_a_crash_there_is_the_old_checkpoint_or_the_new_one() {
    let seeds = effort(40, 10_000);
    let mut states = 0;
    for scene in &SCENES {
        let storage = SimulatedStorage::on(prepared(scene), None);
        (scene.run)(&storage).expect("nothing fails");
        let (old, new) = (contents(&BEFORE), contents(scene.after));
        let history = storage.history();
        let (last, before) = history.split_last().expect("at least the initial state");
        for (disk, returned) in before.iter().map(|disk| (disk, false)).chain([(last, true)]) {
            for_each_crash(disk, seeds, |after| {
                states += 1;
                let tree = after.tree();
                let storage = SimulatedStorage::on(after, None);
                match found(&storage, PATH) {
                    Ok(found) if found == new || !returned && found == old => {}
                    // Between the two renames of a system that cannot exchange.
                    Err(Error::NotFound { .. }) if scene.no_exchange && !returned => {}
                    other => panic!("{}: {other:?} in {:?}", scene.name, tree.keys()),
                }
                assert_eq!(found(&storage, OTHER).expect("untouched"), old, "{}", scene.name);
            });
        }
        let names = last.tree();
        assert!(!names.keys().any(|path| path.to_string_lossy().contains(".tmp-")), "{names:?}");
    }
    assert!(states >= 20_000, "only {states} states were tried");
}

#[test]
fn a_change_that_fails_anywhere_leaves_everything_as_it_was() {
    for scene in &SCENES {
        let initial = prepared(scene);
        let storage = SimulatedStorage::on(initial.clone(), None);
        (scene.run)(&storage).expect("no fault");
        let mut failures = 0;
        for at in 0..storage.operations() {
            for (lasting, errno) in [(false, 28), (false, 5), (true, 5)] {
                let fault = Fault { at, lasting, errno };
                let storage = SimulatedStorage::on(initial.clone(), Some(fault));
                let result = (scene.run)(&storage);
                let disk = storage.disk();
                let healed = SimulatedStorage::on(disk.clone(), None);
                let told = format!("{}, {fault:?}: {result:?}", scene.name);
                assert_eq!(found(&healed, OTHER).expect("untouched"), contents(&BEFORE), "{told}");
                let now = found(&healed, PATH);
                match result {
                    // What went wrong was a link, which was then copied, or the removal of the old
                    // checkpoint under its hidden name.
                    Ok(()) => assert_eq!(now.expect(&told), contents(scene.after), "{told}"),
                    Err(_) if lasting => match now {
                        Ok(now) => assert!(
                            now == contents(&BEFORE) || now == contents(scene.after),
                            "{told}"
                        ),
                        Err(_) => assert!(scene.no_exchange, "{told}"),
                    },
                    Err(_) => {
                        failures += 1;
                        assert_eq!(disk.tree(), initial.tree(), "{told}");
                    }
                }
            }
        }
        assert!(failures > 60, "{}: only {failures} failures", scene.name);
    }
}

#[test]
fn a_disk_without_room_is_refused_before_anything_is_written() {
    let mut disk = prepared(&SCENES[0]);
    disk.available = Some(2 * SIZE as u64 - 1);
    let storage = SimulatedStorage::on(disk.clone(), None);
    let error = overwrite(&storage).expect_err("no room");
    assert!(matches!(error, Error::NoSpace { needed: 2200, available: 2199, .. }), "{error}");
    assert_eq!(storage.disk().tree(), disk.tree());
    disk.available = Some(2 * SIZE as u64);
    overwrite(&SimulatedStorage::on(disk, None)).expect("just enough");
}

#[test]
fn links_share_files_and_copies_do_not() {
    let storage = SimulatedStorage::on(prepared(&SCENES[0]), None);
    linked(&storage, OTHER).expect("no fault");
    let node = |path: &str, name: &str| {
        open_directory(&storage, Path::new(path));
        storage.disk().node_of(&Path::new(path).join(name).join("out"))
    };
    assert_eq!(node(PATH, "kept"), node(OTHER, "kept"));
    assert_ne!(node(PATH, "n/changed"), node(OTHER, "n/changed"));
}
