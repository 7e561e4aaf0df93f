//! Checkpoint directories: model parameters on a disk, one directory per variable.
//!
//! ```text
//! <path>/<variable name>/out      the elements: row-major, little-endian, no header, no padding
//! <path>/<variable name>/meta     shape and element type, in protobuf's text format
//! <path>/snapshot_done            empty; written last, so it says that the save was finished
//! ```
//!
//! A variable name may hold `/`; each part is then a directory of its own. `meta` of a float32
//! matrix of 2 rows and 3 columns is exactly
//!
//! ```text
//! shape {
//!   dim: 2
//!   dim: 3
//! }
//! data_type: kFloat
//! ```
//!
//! Reading accepts what other writers of this format left behind: no marker, no `meta`, stray
//! files, unknown fields, comments. Nothing that is read is trusted: sizes are computed with
//! checked arithmetic, and below the given path only directories and regular files are opened,
//! never a symbolic link, a pipe or a device.
//!
//! [`save`] writes into a temporary sibling, makes it durable and renames it into place: the
//! directory appears whole or not at all. [`open`] reads names, `meta` and sizes only; the bytes
//! of a variable are mapped by [`Entry::map`] or read by [`Entry::read_into`].
//!
//! ```
//! use flowrs_checkpoint::{Data, DataType, Meta, Opened, RealStorage, SaveOptions, Variable};
//!
//! # fn main() -> flowrs_checkpoint::Result<()> {
//! let path = std::env::temp_dir().join(format!("flowrs-doc-{}", std::process::id()));
//! let bias = Variable {
//!     name: "dense1-bias",
//!     meta: Meta { shape: vec![2], data_type: DataType::Float },
//!     data: Data::Bytes(&[0, 0, 0, 0, 0, 0, 128, 63]),
//! };
//! flowrs_checkpoint::save(&RealStorage, &path, &[bias], &SaveOptions::default())?;
//!
//! let Opened::Directory(checkpoint) = flowrs_checkpoint::open(&RealStorage, &path)? else {
//!     unreachable!("the path holds no `out` of its own")
//! };
//! assert!(checkpoint.complete);
//! assert_eq!(checkpoint.variables[0].map(Default::default())?[4..], [0, 0, 128, 63]);
//! # std::fs::remove_dir_all(&path).ok();
//! # Ok(())
//! # }
//! ```
//!
//! Everything that is done to files goes through [`Storage`]. [`RealStorage`] is the operating
//! system; the tests have another one in memory that can fail and crash at every operation
//! (`FLOWRS_LONG_TESTS=1 cargo test -p flowrs-checkpoint` tries more of that, for a minute).

mod checksum;
mod data;
mod edit;
mod entry;
mod error;
mod format;
mod inventory;
mod names;
mod parallel;
mod reader;
mod save;
mod select;
mod storage;
mod system;
mod target;
mod text_format;
mod write;

#[cfg(test)]
mod tests;

pub use checksum::Checksum;
pub use data::{Data, Pieces};
pub use edit::{Edit, edit};
pub use entry::{Entry, read_many, verify_many};
pub use error::{Error, Result};
pub use format::{DataType, MAX_DIMENSIONS, MAX_META_BYTES, Meta};
pub use names::{MARKER, MAX_NAME_PARTS, METADATA};
pub use reader::{
    Checkpoint, MAX_LISTED, MAX_METADATA_BYTES, Opened, open, open_variable, open_with,
};
pub use save::{Durability, Kept, SaveOptions, Variable, save, save_with};
pub use select::Select;
pub use storage::{Child, Directory, File, Kind, MapMode, Mapping, NewFile, Storage};
pub use system::RealStorage;
