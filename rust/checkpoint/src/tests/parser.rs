//! What counts as `meta`, by the rules of protobuf's Python parser (checked against it).

use proptest::prelude::*;

use super::effort;
use crate::{DataType, MAX_META_BYTES, Meta};

/// `(text, shape)`; the type is kFloat.
const ACCEPTED: &[(&str, &[usize])] = &[
    ("data_type: kFloat", &[]),
    ("data_type: kFloat shape { dim: 1 }", &[1]),
    ("data_type:kFloat shape{}", &[]),
    ("shape: { dim: 1 dim: 2 } data_type: kFloat", &[1, 2]),
    ("shape < dim: 1 > data_type: 2", &[1]),
    ("shape: < dim: 1 >, data_type: 0x2;", &[1]),
    ("shape { dim: [1, 2] dim: [] dim: 3 } data_type: +2", &[1, 2, 3]),
    ("shape { dim: 1, dim: 2; dim: 3 }; data_type: 0b10", &[1, 2, 3]),
    ("# note\nshape { # inside } \n dim: 1 }\ndata_type: kFloat # end", &[1]),
    (
        "shape { dim: 0x10 dim: 017 dim: 0o7 dim: 1_000 dim: -0 }data_type:kFloat",
        &[16, 15, 7, 1000, 0],
    ),
    ("shape\u{a0}{\tdim:\r\n1\x0b}\x1cdata_type\u{2003}: kFloat", &[1]),
    // Unknown fields.
    ("data_type: kFloat stride { dim: 3 }", &[]),
    ("shape { dim: 1 note: 'x' } data_type: kFloat", &[1]),
    ("a: 1 b: -2.5e3 c: 1.5f d: inf e: -infinity f: nan data_type: kFloat", &[]),
    ("a: 18446744073709551615 b: 99999999999999999999 c: .5 d: 5. data_type: kFloat", &[]),
    ("a: 'one' \"two\" 'th\\'ree' data_type: kFloat", &[]),
    ("a: '\\n\\x4\\101\\u00e9\\U0001F600\\q\\\\' data_type: kFloat", &[]),
    ("a: [] b: [1, 'x' 'y', {c: 1}, < >] data_type: kFloat", &[]),
    ("a { b { c < d: 1 > } [x.y]: 3 [x.y.z/p.q] { } 7: 8 } data_type: kFloat", &[]),
    ("12: 1 1.5: 2 data_type: kFloat", &[]),
    ("a-b: c-d data_type: kFloat", &[]),
    ("\u{e9}: \u{e9} Shape { dim: 1 } DATA_TYPE: 5 data_type: kFloat", &[]),
];

/// `(text, part of the reason)`.
const REJECTED: &[(&str, &str)] = &[
    ("", "no `data_type`"),
    ("shape { dim: 1 }", "no `data_type`"),
    ("shape { } shape { } data_type: kFloat", "`shape` is given twice"),
    ("data_type: kFloat data_type: kFloat", "`data_type` is given twice"),
    ("data_type kFloat", "expected \":\""),
    ("data_type: kFLOAT", "expected a data type"),
    ("data_type: 99", "expected a data type"),
    ("data_type: 02", "expected a data type"),
    ("data_type: [2]", "expected a data type"),
    ("data_type: \"kFloat\"", "expected a data type"),
    ("data_type:", "found the end of the text"),
    ("shape { dim: 1", "expected \"}\", found the end of the text"),
    ("shape { dim: 1 > data_type: kFloat", "line 1, column 16: expected a field name, found \">\""),
    ("shape [ ] data_type: kFloat", "expected \"{\""),
    ("shape { dim 1 } data_type: kFloat", "expected \":\""),
    ("shape { dim: [1, 2,] } data_type: kFloat", "64-bit integer, found \"]\""),
    ("shape { dim: [1 2] } data_type: kFloat", "expected \",\""),
    ("shape { dim: 1.0 } data_type: kFloat", "expected a 64-bit integer"),
    ("shape { dim: - 1 } data_type: kFloat", "expected a 64-bit integer"),
    ("shape { dim: 1__0 } data_type: kFloat", "expected a 64-bit integer"),
    ("shape { dim: 08 } data_type: kFloat", "expected a 64-bit integer"),
    ("shape { dim: +017 } data_type: kFloat", "expected a 64-bit integer"),
    ("shape { dim: 0x } data_type: kFloat", "expected a 64-bit integer"),
    ("shape { dim: 9223372036854775808 } data_type: kFloat", "expected a 64-bit integer"),
    ("shape { dim: 0xfffffffffffffffffffffffffffffffffffff } data_type: kFloat", "64-bit integer"),
    ("shape { dim: -1 } data_type: kFloat", "must be 0 or more, found -1"),
    ("shape { dim: 9223372036854775807 dim: 4 } data_type: kFloat", "overflows"),
    ("shape { dim: 0 dim: 9223372036854775807 } data_type: kDouble", "overflows"),
    ("shape { } data_type: kOFRecord", "no fixed element size"),
    ("data_type: kFloat;;", "expected a field name"),
    (",data_type: kFloat", "expected a field name"),
    ("[a.b]: 1 data_type: kFloat", "expected a field name"),
    ("\u{feff}data_type: kFloat", "expected a field name"),
    ("a: data_type: kFloat", "expected"),
    ("a 1 data_type: kFloat", "expected \"{\""),
    ("a [1] data_type: kFloat", "expected \"{\""),
    ("a: [[1]] data_type: kFloat", "expected a value"),
    ("a: 1.5x data_type: kFloat", "expected a value"),
    ("a: 01.5 data_type: kFloat", "expected a value"),
    ("a: - data_type: kFloat", "expected a value"),
    ("a { b: 1 > data_type: kFloat", "expected \"}\""),
    ("a { [x.]: 1 } data_type: kFloat", "expected an identifier"),
    ("a { [x.y/z]: 1 } data_type: kFloat", "expected \"]\""),
    ("a: 'open data_type: kFloat", "closing quote"),
    ("a: 'open\n' data_type: kFloat", "closing quote"),
    ("a: 'open\\' data_type: kFloat", "closing quote"),
    ("a: '\\x' data_type: kFloat", "valid escape"),
    ("a: '\\477' data_type: kFloat", "valid escape"),
    ("a: '\\ud800' data_type: kFloat", "valid escape"),
    ("a: '\\u12' data_type: kFloat", "valid escape"),
];

#[test]
fn accepted_texts() {
    for (text, shape) in ACCEPTED {
        let meta = Meta::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(meta, Meta { shape: shape.to_vec(), data_type: DataType::Float }, "{text:?}");
    }
}

#[test]
fn rejected_texts() {
    for (text, reason) in REJECTED {
        match Meta::parse(text.as_bytes()) {
            Ok(meta) => panic!("{text:?} gave {meta:?}"),
            Err(error) => assert!(error.to_string().contains(reason), "{text:?}: {error}"),
        }
    }
}

#[test]
fn limits() {
    let dimensions = |count| format!("shape {{ {} }} data_type: kFloat", "dim: 1 ".repeat(count));
    assert_eq!(Meta::parse(dimensions(32).as_bytes()).expect("just allowed").shape, [1; 32]);
    let error = Meta::parse(dimensions(33).as_bytes()).expect_err("too many").to_string();
    assert!(error.contains("more than 32 dimensions"), "{error}");

    let padded = |length: usize| format!("data_type: kFloat{}", " ".repeat(length - 17));
    assert!(Meta::parse(padded(MAX_META_BYTES).as_bytes()).is_ok());
    let error = Meta::parse(padded(MAX_META_BYTES + 1).as_bytes()).expect_err("long").to_string();
    assert!(error.contains("at most 65536 bytes of text are allowed, found 65537"), "{error}");

    let nested = |depth| format!("{}{}data_type: kFloat", "a{".repeat(depth), "}".repeat(depth));
    assert!(Meta::parse(nested(100).as_bytes()).is_ok());
    let error = Meta::parse(nested(101).as_bytes()).expect_err("deep").to_string();
    assert!(error.contains("nest deeper than 100"), "{error}");
    assert!(Meta::parse("a{".repeat(MAX_META_BYTES / 2).as_bytes()).is_err());

    let error = Meta::parse(b"data_type: kFloat # \xff").expect_err("no text").to_string();
    assert!(error.contains("invalid UTF-8 at byte 20"), "{error}");
}

fn any_meta() -> impl Strategy<Value = Meta> {
    let data_type = prop::sample::select(DataType::ALL)
        .prop_filter("has a size", |data_type| data_type.item_size().is_some());
    (prop::collection::vec(0..4usize, 0..20), data_type)
        .prop_map(|(shape, data_type)| Meta { shape, data_type })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: effort(512, 100_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_written_is_read(meta in any_meta()) {
        prop_assert_eq!(Meta::parse(meta.to_text().as_bytes()).expect("our own text"), meta);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Meta::parse(&bytes);
    }

    #[test]
    fn any_tokens_are_read_or_refused(
        tokens in prop::collection::vec(prop::sample::select(&[
            "shape", "dim", "data_type", "kFloat", "note", "{", "}", "<", ">", "[", "]", ":", ",",
            ";", "1", "-1", "0x", "1.5f", "'", "\"", "\\", "#", "\n", " ", ".", "/", "\u{e9}",
        ][..]), 0..60),
    ) {
        let _ = Meta::parse(tokens.concat().as_bytes());
        let _ = Meta::parse(tokens.join(" ").as_bytes());
    }

    #[test]
    fn damaged_texts_are_read_or_refused(
        index in 0..ACCEPTED.len(),
        place in any::<prop::sample::Index>(),
        length in 0..4usize,
        replacement in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut text = ACCEPTED[index].0.as_bytes().to_vec();
        let start = place.index(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, replacement);
        if let Ok(meta) = Meta::parse(&text) {
            prop_assert!(meta.bytes().is_ok());
        }
    }
}
