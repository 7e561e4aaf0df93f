//! Checksums: XXH3 with 128 bits, kept in a comment that ends `meta`.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

const PREFIX: &str = "# xxh3-128: ";
const DIGITS: usize = 32;

/// The checksum of a variable's elements. It finds accidents, not forgeries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checksum(u128);

impl Checksum {
    /// The line that ends `meta`; to other readers of the format it is a comment.
    pub(crate) fn line(self) -> String {
        format!("{PREFIX}{self}\n")
    }

    /// The checksum in the last line of a `meta`, if there is one.
    pub(crate) fn of_meta(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b"\n")?;
        let start = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let digits = text[start..].strip_prefix(PREFIX.as_bytes())?;
        let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != DIGITS || !digits.iter().all(lower) {
            return None;
        }
        // Two halves of 64 bits are read far faster than 128 bits at once.
        let half = |digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let (high, low) = digits.split_at(DIGITS / 2);
        Some(Self(u128::from(half(high)?) << 64 | u128::from(half(low)?)))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:0DIGITS$x}", self.0)
    }
}

/// Computes a checksum from pieces.
#[derive(Default)]
pub(crate) struct Hasher(Box<Xxh3>);

impl Hasher {
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub(crate) fn finish(&self) -> Checksum {
        Checksum(self.0.digest128())
    }
}
