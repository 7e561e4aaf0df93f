//! What is refused on the real file system, and that nothing is touched or waited for.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{STORAGES, Scratch, bytes_variable, open_directory, quick, refusal};
use crate::{Data, DataType, Error, MAX_NAME_PARTS, Meta, Variable, save};

fn make_pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
}

#[test]
fn save_refuses_whatever_is_there() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        scratch.write("full/precious", "1");
        scratch.write("file", "2");
        symlink("nowhere", scratch.path("dangling")).expect("a link");
        symlink("full", scratch.path("link")).expect("a link");
        make_pipe(&scratch.path("pipe"));
        let before = scratch.names(".");
        for (name, hint) in [
            ("full", "the directory is not empty"),
            ("link", "the directory is not empty"),
            ("file", "there is a file of this name"),
            ("pipe", "there is a file of this name"),
            ("dangling", "a symbolic link that leads nowhere"),
        ] {
            let path = scratch.path(name);
            let error = save(storage, &path, &[bytes_variable("a", b"1")], &quick())
                .expect_err("something is there");
            assert!(matches!(&error, Error::Exists { path: named, .. } if *named == path));
            assert!(error.to_string().contains(hint), "{name}: {error}");
        }
        let below_a_file = scratch.path("file/below");
        assert!(matches!(
            save(storage, &below_a_file, &[bytes_variable("a", b"1")], &quick()),
            Err(Error::Io { .. })
        ));
        assert_eq!(scratch.names("."), before);
        assert_eq!(scratch.names("full"), ["precious"]);
        assert_eq!(fs::read(scratch.path("file")).expect("a file"), b"2");
    }
}

#[test]
fn save_refuses_paths_that_cannot_be_replaced() {
    let scratch = Scratch::new();
    for storage in STORAGES {
        let nameless = scratch.path("missing/..");
        let error = save(storage, &nameless, &[], &quick()).expect_err("no name");
        assert!(error.to_string().contains("the path has no name"), "{error}");
        let error = save(storage, Path::new("/"), &[], &quick()).expect_err("the root");
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        let error = save(storage, Path::new("."), &[], &quick()).expect_err("not empty");
        assert!(matches!(error, Error::Exists { .. }), "{error}");
    }
}

#[test]
fn save_refuses_data_that_does_not_fit() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        let meta = Meta { shape: vec![2, 3], data_type: DataType::Float };
        let short = Variable { name: "w", meta, data: Data::Bytes(&[0; 23]) };
        let error = save(storage, &scratch.path("saved"), &[short], &quick()).expect_err("short");
        assert_eq!(
            error.to_string(),
            "variable \"w\": expected 24 bytes for shape [2, 3] of kFloat, found 23"
        );
        let meta = Meta { shape: vec![], data_type: DataType::OFRecord };
        let record = Variable { name: "r", meta, data: Data::Bytes(&[]) };
        let error = save(storage, &scratch.path("saved"), &[record], &quick()).expect_err("record");
        assert!(matches!(error, Error::InvalidData { .. }), "{error}");
        assert!(scratch.names(".").is_empty());
    }
}

#[test]
fn open_says_what_is_not_there() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        scratch.write("file", "");
        make_pipe(&scratch.path("pipe"));
        assert!(refusal(storage, &scratch.path("missing")).contains("no such checkpoint"));
        for name in ["file", "pipe", "file/below"] {
            assert!(refusal(storage, &scratch.path(name)).contains("a checkpoint is a directory"));
        }
    }
}

#[test]
fn open_refuses_damage_and_names_it() {
    let deep: PathBuf = std::iter::repeat_n("d", MAX_NAME_PARTS + 1).collect();
    let deep = deep.to_str().expect("ASCII").to_owned();
    for (file, contents, reason) in [
        ("w/out", "123", "\"w\": expected 4 bytes for shape [1] of kFloat, found 3"),
        ("w/out", "12345", "found 5; restore the file from a copy"),
        ("w/meta", "shape { dim: -1 } data_type: kFloat", "0 or more, found -1"),
        ("w/meta", "shape { dim: 1 }", "w/meta: variable \"w\": there is no `data_type`"),
        ("w/meta", "shape { dim: 9223372036854775807 } data_type: kFloat", "overflows"),
        ("w/meta", "shape {", "line 1, column 8"),
        ("w/meta", &" ".repeat(70_000), "at most 65536 bytes"),
        (&format!("{deep}/x"), "", "more than 32 directories deep"),
    ] {
        for storage in STORAGES {
            let scratch = Scratch::new();
            scratch.write("saved/w/out", "1234");
            scratch.write("saved/w/meta", "shape { dim: 1 } data_type: kFloat");
            open_directory(storage, &scratch.path("saved"));
            scratch.write(&format!("saved/{file}"), contents);
            let message = refusal(storage, &scratch.path("saved"));
            assert!(message.contains(reason), "{file}: {message}");
            assert!(message.starts_with(scratch.path("saved").to_str().expect("UTF-8")));
        }
    }
}

#[test]
fn links_pipes_and_sockets_are_never_opened() {
    type Maker = fn(&Path);
    let makers: [(&str, Maker); 4] = [
        ("link", |path| symlink("../../secret", path).expect("a link")),
        ("dangling", |path| symlink("nowhere", path).expect("a link")),
        ("pipe", make_pipe),
        ("socket", |path| drop(UnixListener::bind(path).expect("a socket"))),
    ];
    for storage in STORAGES {
        for (kind, make) in makers {
            for name in ["out", "meta"] {
                let scratch = Scratch::new();
                scratch.write("secret", "data_type: kFloat");
                let other = if name == "out" { "meta" } else { "out" };
                scratch.write(&format!("s/w/{other}"), "data_type: kFloat");
                make(&scratch.path(&format!("s/w/{name}")));
                for path in ["s", "s/w"] {
                    let message = refusal(storage, &scratch.path(path));
                    assert!(message.contains("not a regular file"), "{kind} {name}: {message}");
                    assert!(message.contains(&format!("w/{name}")), "{kind} {name}: {message}");
                }
            }
            // Beside the variables they are no concern of a checkpoint, but are told.
            let scratch = Scratch::new();
            scratch.write("s/w/out", "1234");
            make(&scratch.path("s/stray"));
            let checkpoint = open_directory(storage, &scratch.path("s"));
            assert_eq!(checkpoint.variables.len(), 1);
            assert_eq!(checkpoint.ignored, [scratch.path("s/stray")]);
        }
    }
}

/// The kinds of entries are known from listing them; should one be exchanged after that, opening
/// it neither follows nor waits.
#[test]
fn what_is_exchanged_after_listing_is_not_opened_either() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        scratch.write("real/out", "1234");
        symlink("real", scratch.path("directory")).expect("a link");
        symlink("real/out", scratch.path("file")).expect("a link");
        make_pipe(&scratch.path("pipe"));
        let root = storage.open_directory(&scratch.0).expect("a directory");
        assert!(root.open_file(Path::new("real/out")).is_ok());
        for name in ["directory/out", "file", "pipe", "real", "../x", "real/../real/out", ""] {
            assert!(root.open_file(Path::new(name)).is_err(), "{name}");
        }
        for name in ["directory", "file", "pipe"] {
            assert!(root.open_directory(name.as_ref()).is_err(), "{name}");
            assert!(root.file_size(name.as_ref()).is_err(), "{name}");
        }
    }
}

#[test]
fn a_listing_stops_where_it_is_told() {
    for storage in STORAGES {
        let scratch = Scratch::new();
        for name in ["a", "b", "c"] {
            scratch.write(name, "");
        }
        let root = storage.open_directory(&scratch.0).expect("a directory");
        for (limit, found) in [(0, 0), (2, 2), (3, 3), (9, 3)] {
            assert_eq!(root.list(limit).expect("a listing").len(), found);
        }
    }
}
