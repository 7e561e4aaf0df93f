//! Several threads, choosing variables, checksums, single variables, writing in place.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::simulated::{Fault, SimulatedStorage};
use super::{STORAGES, Scratch, bytes_variable, open_directory, quick};
use crate::storage::{Child, Directory, File, Mapping};
use crate::{
    Checksum, Data, Durability, Entry, Error, MapMode, Opened, Pieces, RealStorage, SaveOptions,
    Select, Variable, open_variable, open_with, read_many, save, verify_many,
};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("group{}/{number}", number % 5)).collect()
}

#[test]
fn several_threads_write_and_open_the_same() {
    let names = names(900);
    let variables: Vec<_> =
        names.iter().map(|name| bytes_variable(name, name.as_bytes())).collect();
    for storage in STORAGES {
        let scratch = Scratch::new();
        for (place, threads) in [("one", 1), ("three", 3)] {
            let options = SaveOptions { threads, checksum: true, ..quick() };
            save(storage, &scratch.path(place), &variables, &options).expect("a save");
        }
        for threads in [1, 3] {
            let opened = open_with(storage, &scratch.path("three"), &Select::default(), threads);
            let Ok(Opened::Directory(checkpoint)) = opened else { panic!("{opened:?}") };
            assert_eq!(checkpoint.variables.len(), names.len());
            let mut buffers: Vec<Vec<u8>> =
                checkpoint.variables.iter().map(|entry| vec![0; entry.size as usize]).collect();
            let wanted = checkpoint
                .variables
                .iter()
                .zip(buffers.iter_mut().map(Vec::as_mut_slice))
                .collect();
            read_many(wanted, threads).expect("whole files");
            for (entry, buffer) in checkpoint.variables.iter().zip(&buffers) {
                assert_eq!(buffer, entry.name.as_bytes());
            }
            let entries: Vec<&Entry> = checkpoint.variables.iter().collect();
            assert!(verify_many(&entries, threads).iter().all(|found| matches!(found, Ok(true))));
        }
    }
}

#[test]
fn whatever_the_threads_the_first_damage_in_the_order_of_names_is_told() {
    let scratch = Scratch::new();
    for number in 1000..2500 {
        let size = if matches!(number, 1700 | 1750 | 2400) { "12345" } else { "1234" };
        scratch.write(&format!("s/{number}/out"), size);
        scratch.write(&format!("s/{number}/meta"), "data_type: kFloat");
    }
    for storage in STORAGES {
        for threads in [1, 2, 3, 4, 4, 4] {
            let opened = open_with(storage, &scratch.path("s"), &Select::default(), threads);
            let error = opened.expect_err("three are damaged").to_string();
            assert!(error.contains("s/1700/out: variable \"1700\""), "{threads}: {error}");
        }
    }
}

#[test]
fn a_failure_in_any_thread_leaves_nothing() {
    let names = names(12);
    let variables: Vec<_> =
        names.iter().map(|name| bytes_variable(name, name.as_bytes())).collect();
    let options = SaveOptions { threads: 3, ..SaveOptions::default() };
    let storage = SimulatedStorage::new();
    save(&storage, Path::new("/saved"), &variables, &options).expect("no fault");
    for at in 0..storage.operations() {
        let fault = Some(Fault { at, lasting: false, errno: 28 });
        let storage = SimulatedStorage::on(SimulatedStorage::new().disk(), fault);
        let error = save(&storage, Path::new("/saved"), &variables, &options).expect_err("a fault");
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert_eq!(storage.disk().tree().len(), 1, "only the root is there, {at}");
    }
}

#[test]
fn patterns_choose_variables() {
    let takes = |include: &[&str], exclude: &[&str], name: &str| {
        let owned = |patterns: &[&str]| patterns.iter().map(|&each| each.to_owned()).collect();
        let include = if include == ["all"] { None } else { Some(owned(include)) };
        Select { include, exclude: owned(exclude) }.takes(name)
    };
    for (pattern, name, fits) in [
        ("*", "", true),
        ("", "", true),
        ("", "a", false),
        ("a*", "a/b/c", true),
        ("*c", "a/b/c", true),
        ("*b*b*", "abcbd", true),
        ("*b*b*", "abcd", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("?", "\u{e4}", true),
        ("[a-c]x", "bx", true),
        ("[a-c]x", "dx", false),
        ("[!a-c]x", "dx", true),
        ("[!a-c]x", "ax", false),
        ("[]]", "]", true),
        ("[!]]", "]", false),
        ("[!]]", "a", true),
        ("[a-]", "-", true),
        ("[", "[", true),
        ("[a", "[a", true),
        ("[a", "a", false),
        ("a**", "a", true),
    ] {
        assert_eq!(takes(&[pattern], &[], name), fits, "{pattern:?} and {name:?}");
    }
    assert!(takes(&["all"], &[], "x") && !takes(&["all"], &["x"], "x"));
    assert!(!takes(&[], &[], "x") && takes(&["a", "x"], &["y"], "x"));
}

#[test]
fn what_is_not_chosen_may_be_damaged() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        save(
            storage,
            &scratch.path("s"),
            &[bytes_variable("a", b"1"), bytes_variable("b", b"2")],
            &quick(),
        )
        .expect("a save");
        scratch.write("s/a/meta", "nonsense {");
        let select = Select { include: None, exclude: vec!["a".to_owned()] };
        let opened = open_with(storage, &scratch.path("s"), &select, 1);
        let Ok(Opened::Directory(checkpoint)) = opened else { panic!("{opened:?}") };
        assert_eq!(checkpoint.variables.len(), 1);
    }
}

#[test]
fn checksums_are_read_from_the_last_line_only() {
    let digits = "0123456789abcdef0123456789abcdef";
    let line = format!("# xxh3-128: {digits}\n");
    let found = |text: &str| Checksum::of_meta(text.as_bytes()).map(|found| found.to_string());
    assert_eq!(found(&line).as_deref(), Some(digits));
    assert_eq!(found(&format!("data_type: kFloat\n{line}")).as_deref(), Some(digits));
    for text in [
        format!("{line}data_type: kFloat\n"),
        line.trim_end().to_owned(),
        line.replace('f', "F"),
        line.replace("0123", "123"),
        line.replace("# ", "#"),
        String::new(),
    ] {
        assert_eq!(found(&text), None, "{text:?}");
    }
}

#[test]
fn damage_is_told_by_variable() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        let big = vec![5; 9 << 20];
        let variables = [bytes_variable("big", &big), bytes_variable("small", b"1")];
        let options = SaveOptions { checksum: true, ..quick() };
        save(storage, &scratch.path("s"), &variables, &options).expect("a save");
        let mut damaged = big.clone();
        damaged[8 << 20] = 6;
        scratch.write("s/big/out", &damaged);
        let checkpoint = open_directory(storage, &scratch.path("s"));
        let error = checkpoint.variables[0].verify().expect_err("another byte").to_string();
        assert!(error.contains("variable \"big\": expected checksum"), "{error}");
        assert!(checkpoint.variables[1].verify().expect("whole"));
    }
}

#[test]
fn a_single_variable_is_opened_by_its_name() {
    let scratch = Scratch::new();
    save(&RealStorage, &scratch.path("s"), &[bytes_variable("a/b", b"12")], &quick())
        .expect("a save");
    for (path, single) in [("s", false), ("s/a/b", true)] {
        let entry = open_variable(RealStorage, &scratch.path(path), "a/b", single);
        let entry = entry.expect("it is there");
        assert_eq!(entry.map(MapMode::ReadOnly).expect("data")[..], *b"12");
        assert_eq!(entry.path_of_out(), scratch.path("s/a/b/out"));
        assert!(!entry.is_remote().expect("a local disk"));
    }
    for (name, not_found) in [("a/c", true), ("a", true), ("../s/a/b", false), ("", false)] {
        match open_variable(RealStorage, &scratch.path("s"), name, false) {
            Err(Error::NotFound { .. }) if not_found => {}
            Err(Error::InvalidName { .. }) if !not_found => {}
            other => panic!("{name:?}: {other:?}"),
        }
    }
}

#[test]
fn a_closed_checkpoint_opens_no_file() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        save(storage, &scratch.path("s"), &[bytes_variable("a", b"1")], &quick()).expect("a save");
        let checkpoint = open_directory(storage, &scratch.path("s"));
        let kept = checkpoint.variables[0].map(MapMode::ReadOnly).expect("data");
        checkpoint.close();
        let error = checkpoint.variables[0].map(MapMode::ReadOnly).expect_err("closed");
        assert!(matches!(error, Error::Closed { .. }), "{error}");
        assert_eq!(kept[..], *b"1");
    }
}

#[test]
fn writing_in_place_makes_the_same_tree() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path("empty")).expect("a directory");
        let options = SaveOptions { durability: Durability::None, ..quick() };
        for place in ["new/s", "empty"] {
            save(storage, &scratch.path(place), &[bytes_variable("a", b"1")], &options)
                .expect("a save");
            assert_eq!(scratch.names(place), ["a", "snapshot_done"]);
        }
        assert_eq!(scratch.names("new"), ["s"]);
        let options = SaveOptions { overwrite: true, ..options };
        let error = save(storage, &scratch.path("empty"), &[], &options).expect_err("in place");
        assert!(matches!(error, Error::Exists { .. }), "{error}");
    }
}

/// Bytes that fail to come after the first piece.
struct Failing;

impl Pieces for Failing {
    fn length(&self) -> usize {
        10 << 20
    }

    fn unit(&self) -> usize {
        3
    }

    fn fill(&self, offset: usize, buffer: &mut [u8]) -> crate::Result<()> {
        assert!(offset.is_multiple_of(3), "pieces hold whole elements");
        if offset > 0 {
            return Err(Error::Gone { path: "elsewhere".into() });
        }
        buffer.fill(1);
        Ok(())
    }
}

#[test]
fn a_source_that_fails_leaves_nothing() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        let meta = bytes_variable("x", &vec![0; 10 << 20]).meta;
        let variable = Variable { name: "x", meta, data: Data::Pieces(&Failing) };
        for durability in [Durability::Full, Durability::Rename, Durability::None] {
            let options = SaveOptions { durability, ..SaveOptions::default() };
            let path = scratch.path("s");
            let error = save(storage, &path, std::slice::from_ref(&variable), &options);
            assert!(matches!(error, Err(Error::Gone { .. })), "{error:?}");
            assert!(scratch.names(".").is_empty());
        }
    }
}

/// A file of a system that allows no more mappings.
struct NoMappings;

impl Directory for NoMappings {
    fn list(&self, _limit: usize) -> io::Result<Vec<Child>> {
        Ok(Vec::new())
    }

    fn open_directory(&self, _name: &std::ffi::OsStr) -> io::Result<Arc<dyn Directory>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn file_size(&self, _name: &std::ffi::OsStr) -> io::Result<u64> {
        Ok(100_000)
    }

    fn open_file(&self, _relative: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Self))
    }

    fn identity(&self) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }

    fn is_remote(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn link_file(&self, _relative: &Path, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl File for NoMappings {
    fn size(&self) -> io::Result<u64> {
        Ok(100_000)
    }

    fn read_at(&self, buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
        buffer.fill(7);
        Ok(buffer.len())
    }

    fn map(&self, _length: usize, _mode: MapMode) -> io::Result<Mapping> {
        Err(io::ErrorKind::OutOfMemory.into())
    }
}

#[test]
fn what_cannot_be_mapped_is_read() {
    let entry = Entry::for_test("a", 100_000, Arc::new(NoMappings));
    let mut found = entry.map(MapMode::CopyOnWrite).expect("read instead");
    assert_eq!(found[..], [7; 100_000]);
    assert!(found.as_mut_slice().is_some());
    assert!(entry.is_remote().expect("it says so"));
}
