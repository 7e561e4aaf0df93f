//! Which names can be stored.

use std::path::Path;

use super::simulated::SimulatedStorage;
use super::{bytes_variable, open_directory, quick};
use crate::{Error, MAX_NAME_PARTS, save};

fn try_save(names: &[&str]) -> crate::Result<SimulatedStorage> {
    let storage = SimulatedStorage::new();
    let variables: Vec<_> =
        names.iter().map(|name| bytes_variable(name, name.as_bytes())).collect();
    save(&storage, Path::new("/saved"), &variables, &quick())?;
    Ok(storage)
}

#[test]
fn legal_names_come_back() {
    let long = "x".repeat(255);
    let deep = vec!["d"; MAX_NAME_PARTS].join("/");
    for names in [
        vec!["System-Train-TrainStep-train_job"],
        vec!["a", "a/b", "a/b/c", "ab"],
        vec!["a/snapshot_done", "out", "meta", "meta/x"],
        vec!["x/out", "x/meta"],
        vec!["Weight", "weight", "L/a", "l/b", "x", "x/Meta"],
        vec!["SNAPSHOT_DONE", "flowrs.json"],
        // The same letter, in one character and in two.
        vec!["caf\u{e9}", "cafe\u{301}"],
        vec![".hidden", "two words", "...", "tr\u{e4}ge", "new\nline", "*?<>|", "-"],
        vec![&long, &deep],
    ] {
        let storage = try_save(&names).unwrap_or_else(|error| panic!("{names:?}: {error}"));
        let checkpoint = open_directory(&storage, Path::new("/saved"));
        let mut expected = names.clone();
        expected.sort_unstable();
        let found: Vec<_> = checkpoint.variables.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(found, expected);
        for entry in &checkpoint.variables {
            assert_eq!(entry.map(Default::default()).expect("data")[..], *entry.name.as_bytes());
        }
        assert!(checkpoint.complete);
    }
}

#[test]
fn illegal_names_are_refused_before_anything_is_made() {
    let long = "x".repeat(256);
    let deep = vec!["d"; MAX_NAME_PARTS + 1].join("/");
    for (names, name, reason) in [
        (vec![""], "", "is empty"),
        (vec!["a\0b"], "a\0b", "NUL"),
        (vec!["/a"], "/a", "names are relative"),
        (vec!["."], ".", "the part \".\""),
        (vec!["a/../b"], "a/../b", "the part \"..\""),
        (vec!["a//b"], "a//b", "the part \"\""),
        (vec!["a/"], "a/", "the part \"\""),
        (vec![&long], &"x".repeat(80), "a part of 256 bytes"),
        (vec![&deep], &deep, "more than 32 parts"),
        (vec!["a", "b", "a"], "a", "is given twice"),
        (vec!["a", "a/out"], "a/out", "\"a/out\" would be both a file and a directory"),
        (vec!["a/meta/b", "a"], "a", "collides with variable \"a/meta/b\""),
        (vec!["snapshot_done"], "snapshot_done", "a file of the format"),
        (vec!["snapshot_done/x"], "snapshot_done/x", "a file of the format"),
    ] {
        match try_save(&names) {
            Err(Error::InvalidName { name: found, reason: why }) => {
                assert!(found.starts_with(name) && why.contains(reason), "{found:?}: {why}");
            }
            other => panic!("{names:?}: {:?}", other.map(|storage| storage.disk().tree())),
        }
    }
}
