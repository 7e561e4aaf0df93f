//! What `meta` says: the shape and element type of a variable.

use std::fmt::Write as _;

use crate::error::{Error, Result};
use crate::text_format;

/// The longest `meta` that is read.
pub const MAX_META_BYTES: usize = 64 * 1024;

/// The most dimensions that a variable may have.
pub const MAX_DIMENSIONS: usize = 32;

macro_rules! data_types {
    ($($variant:ident = $number:literal, $name:literal, $item_size:expr, $doc:literal;)*) => {
        /// The type of a variable's elements, by the names and numbers of the format.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DataType {
            $(#[doc = $doc] $variant = $number,)*
        }

        impl DataType {
            /// All element types, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name that `meta` holds, such as `kFloat`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Bytes of one element; `None` for types whose elements have no fixed size.
            #[must_use]
            pub const fn item_size(self) -> Option<usize> {
                match self { $(Self::$variant => $item_size,)* }
            }
        }
    };
}

data_types! {
    Char = 1, "kChar", Some(1), "One byte, read as a signed integer.";
    Float = 2, "kFloat", Some(4), "32-bit floating point.";
    Double = 3, "kDouble", Some(8), "64-bit floating point.";
    Int8 = 4, "kInt8", Some(1), "8-bit signed integer.";
    Int32 = 5, "kInt32", Some(4), "32-bit signed integer.";
    Int64 = 6, "kInt64", Some(8), "64-bit signed integer.";
    UInt8 = 7, "kUInt8", Some(1), "8-bit unsigned integer.";
    OFRecord = 8, "kOFRecord", None, "A serialised record of a data set.";
    Float16 = 9, "kFloat16", Some(2), "16-bit floating point (IEEE half).";
    TensorBuffer = 10, "kTensorBuffer", None, "A buffer that carries its own shape.";
    BFloat16 = 11, "kBFloat16", Some(2), "16-bit floating point with the exponent of 32 bits.";
    Bool = 12, "kBool", Some(1), "One byte, 0 or 1.";
}

impl DataType {
    /// The number of the type in the format's enumeration.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The type that has this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|data_type| data_type.name() == name)
    }

    /// The type that has this number.
    #[must_use]
    pub fn from_number(number: i128) -> Option<Self> {
        Self::ALL.iter().copied().find(|data_type| i128::from(data_type.number()) == number)
    }
}

/// The shape and element type of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Length of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub data_type: DataType,
}

impl Meta {
    /// Bytes that the elements take.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidMeta`] if the type has no fixed element size, if there are more than
    /// [`MAX_DIMENSIONS`] dimensions, or if the size does not fit into memory addresses.
    pub fn bytes(&self) -> Result<usize> {
        if self.shape.len() > MAX_DIMENSIONS {
            let found = self.shape.len();
            return Err(Error::invalid_meta(format!(
                "at most {MAX_DIMENSIONS} dimensions are allowed, found {found}"
            )));
        }
        let name = self.data_type.name();
        let item_size = self.data_type.item_size().ok_or_else(|| {
            Error::invalid_meta(format!("{name} has no fixed element size; store numbers instead"))
        })?;
        // An empty dimension must not hide others whose product overflows: the array libraries
        // that get this shape multiply in their own order.
        let occupied = self.shape.iter().filter(|&&dimension| dimension != 0);
        let largest = occupied
            .copied()
            .try_fold(item_size, usize::checked_mul)
            .filter(|&size| isize::try_from(size).is_ok())
            .ok_or_else(|| {
                Error::invalid_meta(format!(
                    "the size of shape {:?} of {name} overflows",
                    self.shape
                ))
            })?;
        Ok(if self.shape.contains(&0) { 0 } else { largest })
    }

    /// The exact text of `meta`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::from("shape {\n");
        for dimension in &self.shape {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  dim: {dimension}");
        }
        let _ = writeln!(text, "}}\ndata_type: {}", self.data_type.name());
        text
    }

    /// Reads the text of `meta` by the rules of protobuf's text format; unknown fields are
    /// skipped, and a text without `shape` describes a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidMeta`] if the text is longer than [`MAX_META_BYTES`], is not text format,
    /// lacks `data_type` or names an unknown one, or if a dimension is negative; and whatever
    /// [`Meta::bytes`] refuses.
    pub fn parse(text: &[u8]) -> Result<Self> {
        if text.len() > MAX_META_BYTES {
            let found = text.len();
            return Err(Error::invalid_meta(format!(
                "at most {MAX_META_BYTES} bytes of text are allowed, found {found}"
            )));
        }
        let text = std::str::from_utf8(text).map_err(|error| {
            Error::invalid_meta(format!("invalid UTF-8 at byte {}", error.valid_up_to()))
        })?;
        let fields = text_format::parse(text).map_err(Error::invalid_meta)?;
        let shape = fields.dimensions.into_iter().map(dimension).collect::<Result<Vec<usize>>>()?;
        let data_type = fields.data_type.ok_or_else(|| {
            Error::invalid_meta("there is no `data_type`; add one, such as kFloat")
        })?;
        let meta = Self { shape, data_type };
        meta.bytes()?;
        Ok(meta)
    }
}

fn dimension(value: i64) -> Result<usize> {
    usize::try_from(value)
        .map_err(|_| Error::invalid_meta(format!("a dimension must be 0 or more, found {value}")))
}
