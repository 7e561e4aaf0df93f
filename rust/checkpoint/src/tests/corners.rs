//! What is seldom met: errors and texts of all kinds, and changes on the real file systems.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::simulated::SimulatedStorage;
use super::{STORAGES, Scratch, bytes_variable, open_directory, quick, refusal};
use crate::system::portable::PortableStorage;
use crate::{
    Data, Edit, Error, MAX_METADATA_BYTES, MapMode, Meta, RealStorage, SaveOptions, Storage, edit,
    open_variable, save,
};

fn inode(scratch: &Scratch, below: &str) -> u64 {
    fs::metadata(scratch.path(below)).expect("a file").ino()
}

#[test]
fn changes_on_real_file_systems_link_what_stays() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let variables = [bytes_variable("a", b"1"), bytes_variable("b/c", b"22")];
        let options = SaveOptions { metadata: Some("{}"), ..quick() };
        save(storage, &path, &variables, &options).expect("a save");
        fs::remove_file(scratch.path("s/a/meta")).expect("the oldest checkpoints have none");
        let before = (inode(&scratch, "s/a/out"), inode(&scratch, "s/b/c/out"));
        let change = Edit {
            set: vec![bytes_variable("new", b"333")],
            rename: HashMap::from([("b/c".to_owned(), "moved".to_owned())]),
            ..Edit::default()
        };
        edit(storage, &path, &change, &quick()).expect("a change");
        assert_eq!((inode(&scratch, "s/a/out"), inode(&scratch, "s/moved/out")), before);
        assert_eq!(scratch.names("s"), ["a", "flowrs.json", "moved", "new", "snapshot_done"]);
        assert_eq!(scratch.names(""), ["s"]);
        let checkpoint = open_directory(storage, &path);
        assert_eq!(checkpoint.metadata.as_deref(), Some(&b"{}"[..]));
        assert_eq!(checkpoint.variables[0].meta, None);
        assert!(checkpoint.variables.iter().all(|entry| !entry.is_remote().expect("told")));

        let drop = HashSet::from(["nowhere".to_owned()]);
        let error = edit(storage, &path, &Edit { drop, ..Edit::default() }, &quick());
        assert!(matches!(error, Err(Error::NoSuchVariable { .. })), "{error:?}");
        let error = edit(storage, &scratch.path("s/new"), &Edit::default(), &quick());
        assert!(error.expect_err("one variable").to_string().contains("directory of one variable"));
        fs::write(scratch.path("s/flowrs.json"), b"\xff").expect("written");
        let error = edit(storage, &path, &Edit::default(), &quick()).expect_err("no UTF-8");
        assert!(error.to_string().contains("not UTF-8; mend or remove it"), "{error}");
    }
}

#[test]
fn unchanged_files_without_checksum_are_compared() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        let first = [bytes_variable("a", b"same"), bytes_variable("b", b"old!")];
        save(storage, &scratch.path("1"), &first, &quick()).expect("a save");
        let previous = open_directory(storage, &scratch.path("1"));
        let second = [bytes_variable("a", b"same"), bytes_variable("b", b"new!")];
        let options =
            SaveOptions { link_from: Some(&previous), checksum: true, threads: 2, ..quick() };
        save(storage, &scratch.path("2"), &second, &options).expect("a save");
        assert_eq!(inode(&scratch, "1/a/out"), inode(&scratch, "2/a/out"));
        assert_ne!(inode(&scratch, "1/b/out"), inode(&scratch, "2/b/out"));
        let checkpoint = open_directory(storage, &scratch.path("2"));
        for entry in &checkpoint.variables {
            assert!(entry.verify().expect("whole"), "{entry:?} has a checksum");
        }
    }
}

#[test]
fn whatever_is_no_part_of_a_checkpoint_keeps_it_from_being_replaced() {
    let deep = format!("s/{}/out", ["d"; 34].join("/"));
    for (foreign, named) in [("s/a/note", "a/note"), ("s/note", "note"), (&deep, "d/d/d")] {
        let scratch = Scratch::new();
        save(&RealStorage, &scratch.path("s"), &[bytes_variable("a", b"1")], &quick())
            .expect("a save");
        scratch.write(foreign, "mine");
        let options = SaveOptions { overwrite: true, ..quick() };
        let error = save(&RealStorage, &scratch.path("s"), &[], &options).expect_err("refused");
        assert!(matches!(error, Error::Exists { .. }), "{error:?}");
        assert!(error.to_string().contains(named), "{error}");
        assert!(scratch.path(foreign).exists() && scratch.path("s/a/out").exists());
    }
    // Directories alone may be the beginning of anything.
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("s/a/b")).expect("directories");
    let options = SaveOptions { overwrite: true, ..quick() };
    save(&RealStorage, &scratch.path("s"), &[], &options).expect_err("refused");
    assert_eq!(scratch.names("s"), ["a"]);
}

/// As file systems do on which names that differ only in case are the same.
#[test]
fn names_that_the_file_system_takes_for_the_same_are_refused() {
    let mut disk = SimulatedStorage::new().disk();
    disk.ignores_case = true;
    for names in [["Weight", "weight"], ["L/a", "l/A"]] {
        for threads in [1, 2] {
            let storage = SimulatedStorage::on(disk.clone(), None);
            let variables = names.map(|name| bytes_variable(name, name.as_bytes()));
            let options = SaveOptions { threads, ..SaveOptions::default() };
            let error = save(&storage, Path::new("/s"), &variables, &options);
            let error = error.expect_err("one of them would be lost");
            assert!(matches!(error, Error::InvalidName { .. }), "{error:?}");
            assert!(error.to_string().contains("differ only in case"), "{error}");
            assert_eq!(storage.disk().tree(), disk.tree());
        }
    }
}

#[test]
fn a_large_file_is_flushed_while_it_is_written() {
    let scratch = Scratch::new();
    let data: Vec<u8> = (0..(5 << 20) + 3).map(|index| (index % 251) as u8).collect();
    for (name, checksum) in [("with", true), ("without", false)] {
        let options = SaveOptions { checksum, ..SaveOptions::default() };
        save(&RealStorage, &scratch.path(name), &[bytes_variable("a", &data)], &options)
            .expect("a save");
        let checkpoint = open_directory(&RealStorage, &scratch.path(name));
        assert_eq!(checkpoint.variables[0].verify().expect("whole"), checksum);
        assert!(checkpoint.variables[0].map(MapMode::ReadOnly).expect("mapped")[..] == data);
    }
}

#[test]
fn more_than_the_disk_can_hold_is_refused_by_the_system_too() {
    let scratch = Scratch::new();
    let path = scratch.path("huge");
    assert!(RealStorage.create_file(&path, i64::MAX as u64).is_err());
    // On failure the file may exist; what it is part of is removed by the save.
    fs::remove_file(&path).expect("it was made");
}

#[test]
fn directories_with_something_in_them_are_not_renamed_over() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        scratch.write("full/x", "mine");
        fs::create_dir(scratch.path("new")).expect("a directory");
        let error = storage.rename_directory(&scratch.path("new"), &scratch.path("full"));
        assert_eq!(error.expect_err("full").kind(), io::ErrorKind::DirectoryNotEmpty);
        assert_eq!(scratch.names(""), ["full", "new"]);
    }
}

#[test]
fn metadata_are_bounded() {
    let scratch = Scratch::new();
    let text = " ".repeat(MAX_METADATA_BYTES + 1);
    let options = SaveOptions { metadata: Some(&text), ..quick() };
    let error = save(&RealStorage, &scratch.path("s"), &[], &options).expect_err("too long");
    assert!(error.to_string().contains("at most 16777216 bytes"), "{error}");
    let options = SaveOptions { metadata: Some(&text[1..]), ..quick() };
    save(&RealStorage, &scratch.path("s"), &[], &options).expect("just fits");
    let found = open_directory(&RealStorage, &scratch.path("s")).metadata.expect("metadata");
    assert_eq!(found.len(), MAX_METADATA_BYTES);
}

#[test]
fn names_of_other_encodings_are_refused_by_path() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        let name = OsStr::from_bytes(b"s/half\xff");
        fs::create_dir_all(scratch.0.join(name)).expect("directories");
        for file in ["out", "meta"] {
            fs::write(scratch.0.join(name).join(file), "data_type: kInt8").expect("a file");
        }
        assert!(refusal(storage, &scratch.path("s")).contains("not UTF-8; rename it"));
    }
}

#[test]
fn a_name_that_is_cut_at_a_character_can_be_saved_to() {
    let scratch = Scratch::new();
    let name = format!("a{}", "\u{e9}".repeat(120));
    save(&RealStorage, &scratch.path(&name), &[], &quick()).expect("a save");
    assert_eq!(scratch.names(""), [name]);
}

#[test]
fn the_way_to_a_variable_must_be_directories() {
    let scratch = Scratch::new();
    scratch.write("s/file", "");
    scratch.write("s/w/out", "1234");
    for (name, message) in [("file/x", "cannot open"), ("w/x", "no such"), ("nowhere", "no such")] {
        let error = open_variable(RealStorage, &scratch.path("s"), name, false);
        let error = error.expect_err("none").to_string();
        assert!(error.contains(message), "{name}: {error}");
        open_variable(PortableStorage, &scratch.path("s"), name, false).expect_err("none");
    }
}

#[test]
fn file_systems_that_do_not_count_directories_have_no_short_way() {
    let proc = RealStorage.open_directory(Path::new("/proc")).expect("Linux has it");
    assert_eq!(proc.quick_look(Path::new("self"), &mut vec![]).expect("no error"), None);
}

#[cfg(target_os = "linux")]
#[test]
fn the_short_way_reads_no_pipe() {
    let scratch = Scratch::new();
    let meta = "data_type: kInt8 shape { dim: 4 }";
    scratch.write("s/w/out", "1234");
    scratch.write("s/w/meta", meta);
    let directory = RealStorage.open_directory(&scratch.path("s")).expect("a directory");
    let (mut text, below) = (vec![], Path::new("w"));
    // Where there is a short way at all.
    if directory.quick_look(below, &mut text).expect("no error") == Some(4) {
        assert_eq!(text, meta.as_bytes());
    }
    let path = scratch.path("s/w/meta");
    fs::remove_file(&path).expect("removed");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a pipe");
    let mut pipe = fs::File::options().read(true).write(true).open(&path).expect("the pipe");
    io::Write::write_all(&mut pipe, meta.as_bytes()).expect("written");
    assert_eq!(directory.quick_look(below, &mut text).expect("no error"), None);
    assert!(refusal(&RealStorage, &scratch.path("s")).contains("not a regular file"));
}

#[test]
fn small_files_are_read_into_memory_that_can_be_written() {
    let scratch = Scratch::new();
    scratch.write("s/w/out", "1234");
    let checkpoint = open_directory(&RealStorage, &scratch.path("s"));
    let entry = &checkpoint.variables[0];
    entry.check().expect("it is there");
    let mut found = entry.read(2).expect("read");
    found.as_mut_slice().expect("writable")[0] = b'9';
    assert_eq!(found[..], *b"9234");
    let mut mapped = entry.map(MapMode::ReadOnly).expect("mapped");
    assert!(mapped.as_mut_slice().is_none());
    assert_eq!(fs::read(scratch.path("s/w/out")).expect("a file"), b"1234");
    fs::remove_file(scratch.path("s/w/out")).expect("removed");
    assert!(matches!(entry.check(), Err(Error::Gone { .. })));
}

#[test]
fn everything_can_be_shown() {
    let scratch = Scratch::new();
    scratch.write("s/w/out", "1234");
    let checkpoint = open_directory(&RealStorage, &scratch.path("s"));
    assert_eq!(format!("{:?}", Data::from(&b"123"[..])), "3 bytes");
    let entry = &checkpoint.variables[0];
    assert_eq!(entry.opened_from(), (scratch.path("s").as_path(), false));
    let (shown, whole) = (format!("{entry:?}"), format!("{checkpoint:?}"));
    assert!(shown.contains("\"w\"") && shown.contains("size: 4"), "{shown}");
    assert!(whole.contains(&shown) && whole.contains("complete: false"), "{whole}");
    for (kind, advice) in [
        (io::ErrorKind::PermissionDenied, "; change the permissions or use another directory"),
        (io::ErrorKind::ResourceBusy, "; use a directory inside it"),
        (io::ErrorKind::BrokenPipe, ""),
    ] {
        let error = Error::io(Path::new("x"), "write")(kind.into()).to_string();
        assert_eq!(error, format!("x: cannot write: {}{advice}", io::Error::from(kind)));
    }
    // A named character would need the tables of Unicode.
    assert!(Meta::parse(br#"data_type: kFloat x: "\N{DASH}""#).is_err());
}
