//! Where the bytes of a variable come from when it is saved.

use std::fmt;

use crate::checksum::{Checksum, Hasher};
use crate::entry::Entry;
use crate::error::Result;

/// Bytes that are written, read or hashed at once.
pub(crate) const PIECE: usize = 4 << 20;

/// Bytes that stay in a core's own cache, so that what is hashed is read from memory only once.
pub(crate) const CACHED: usize = 256 << 10;

/// The elements of a variable, row-major and little-endian.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    /// They lie in memory.
    Bytes(&'a [u8]),
    /// They are made piece by piece.
    Pieces(&'a dyn Pieces),
}

/// Bytes that are made on demand, such as those of an array with its axes exchanged.
pub trait Pieces: Sync {
    /// How many bytes there are.
    fn length(&self) -> usize;

    /// Makes the bytes from `offset` on. Offsets are multiples of [`Pieces::unit`].
    ///
    /// # Errors
    ///
    /// Any failure to read what they are made from.
    fn fill(&self, offset: usize, buffer: &mut [u8]) -> Result<()>;

    /// Bytes that are only made together: the size of an element.
    fn unit(&self) -> usize;
}

impl Pieces for Entry {
    fn length(&self) -> usize {
        // A file that does not fit into memory addresses has been refused with its `meta`.
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    fn fill(&self, offset: usize, buffer: &mut [u8]) -> Result<()> {
        self.read_range(offset as u64, buffer)
    }

    fn unit(&self) -> usize {
        1
    }
}

impl Data<'_> {
    /// How many bytes there are.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Pieces(pieces) => pieces.length(),
        }
    }

    /// Hands over all bytes, in order and in pieces.
    pub(crate) fn for_each_piece(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match self {
            Self::Bytes(bytes) => bytes.chunks(PIECE).try_for_each(take),
            Self::Pieces(pieces) => {
                let (length, unit) = (pieces.length(), pieces.unit().max(1));
                let step = (PIECE / unit).max(1) * unit;
                let mut buffer = vec![0; step.min(length)];
                for offset in (0..length).step_by(step) {
                    let piece = &mut buffer[..step.min(length - offset)];
                    pieces.fill(offset, piece)?;
                    take(piece)?;
                }
                Ok(())
            }
        }
    }

    pub(crate) fn checksum(&self) -> Result<Checksum> {
        let mut hasher = Hasher::default();
        self.for_each_piece(|piece| {
            hasher.update(piece);
            Ok(())
        })?;
        Ok(hasher.finish())
    }
}

impl<'a> From<&'a [u8]> for Data<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Data<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.length())
    }
}
