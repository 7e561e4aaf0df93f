//! The exact bytes of the format, and the sizes that follow from it.

use std::fs;

use super::{STORAGES, Scratch, quick};
use crate::{DataType, MAX_DIMENSIONS, Meta, Variable, save};

fn meta(shape: &[usize], data_type: DataType) -> Meta {
    Meta { shape: shape.to_vec(), data_type }
}

#[test]
fn meta_has_exactly_these_bytes() {
    let cases = [
        (
            meta(&[512, 784], DataType::Float),
            "shape {\n  dim: 512\n  dim: 784\n}\ndata_type: kFloat\n",
        ),
        (meta(&[10], DataType::Float), "shape {\n  dim: 10\n}\ndata_type: kFloat\n"),
        (meta(&[], DataType::Float), "shape {\n}\ndata_type: kFloat\n"),
        (meta(&[1], DataType::Int64), "shape {\n  dim: 1\n}\ndata_type: kInt64\n"),
        (meta(&[10], DataType::Double), "shape {\n  dim: 10\n}\ndata_type: kDouble\n"),
    ];
    for (meta, text) in cases {
        assert_eq!(meta.to_text(), text);
        assert_eq!(Meta::parse(text.as_bytes()).expect("our own text"), meta);
    }
}

#[test]
fn data_types_have_these_names_numbers_and_sizes() {
    let expected = [
        ("kChar", 1, Some(1)),
        ("kFloat", 2, Some(4)),
        ("kDouble", 3, Some(8)),
        ("kInt8", 4, Some(1)),
        ("kInt32", 5, Some(4)),
        ("kInt64", 6, Some(8)),
        ("kUInt8", 7, Some(1)),
        ("kOFRecord", 8, None),
        ("kFloat16", 9, Some(2)),
        ("kTensorBuffer", 10, None),
        ("kBFloat16", 11, Some(2)),
        ("kBool", 12, Some(1)),
    ];
    let found: Vec<_> = DataType::ALL
        .iter()
        .map(|data_type| (data_type.name(), data_type.number(), data_type.item_size()))
        .collect();
    assert_eq!(found, expected);
    for &data_type in DataType::ALL {
        assert_eq!(DataType::from_name(data_type.name()), Some(data_type));
        assert_eq!(DataType::from_number(data_type.number().into()), Some(data_type));
    }
    assert_eq!((DataType::from_name("kfloat"), DataType::from_number(13)), (None, None));
}

#[test]
fn sizes_are_products_that_may_not_overflow() {
    let huge = 1 << (usize::BITS / 2);
    assert_eq!(meta(&[3, 5], DataType::Double).bytes().expect("small"), 120);
    assert_eq!(meta(&[], DataType::Float16).bytes().expect("a scalar"), 2);
    assert_eq!(meta(&[3, 0], DataType::Double).bytes().expect("empty"), 0);
    assert_eq!(meta(&[1; MAX_DIMENSIONS], DataType::Bool).bytes().expect("just allowed"), 1);
    for (shape, data_type, part) in [
        (vec![huge, huge], DataType::Int8, "overflows"),
        (vec![0, huge, huge], DataType::Int8, "overflows"),
        (vec![usize::MAX / 2, 1], DataType::Float16, "overflows"),
        (vec![usize::MAX], DataType::Int8, "overflows"),
        (
            vec![1; MAX_DIMENSIONS + 1],
            DataType::Int8,
            "at most 32 dimensions are allowed, found 33",
        ),
        (vec![1], DataType::OFRecord, "kOFRecord has no fixed element size"),
        (vec![0], DataType::TensorBuffer, "kTensorBuffer has no fixed element size"),
    ] {
        let error = meta(&shape, data_type).bytes().expect_err("no array").to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_saved_directory_is_exactly_this_tree() {
    let weight = [0, 0, 128, 63, 0, 0, 0, 64];
    let step = 7i64.to_le_bytes();
    for storage in STORAGES {
        let scratch = Scratch::new();
        let variables = [
            Variable { name: "w", meta: meta(&[2, 1], DataType::Float), data: weight[..].into() },
            Variable { name: "n/step", meta: meta(&[1], DataType::Int64), data: step[..].into() },
        ];
        save(storage, &scratch.path("saved"), &variables, &quick()).expect("a save");
        assert_eq!(scratch.names("."), ["saved"]);
        assert_eq!(scratch.names("saved"), ["n", "snapshot_done", "w"]);
        assert_eq!(scratch.names("saved/n"), ["step"]);
        assert_eq!(scratch.names("saved/w"), ["meta", "out"]);
        let read = |below| fs::read(scratch.path(below)).expect("a file");
        assert_eq!(read("saved/snapshot_done"), b"");
        assert_eq!(read("saved/w/out"), weight);
        assert_eq!(read("saved/n/step/out"), step);
        assert_eq!(read("saved/w/meta"), b"shape {\n  dim: 2\n  dim: 1\n}\ndata_type: kFloat\n");
    }
}
