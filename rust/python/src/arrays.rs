//! Python arrays as bytes, through the buffer protocol.
//!
//! The Python side makes arrays native, aligned and C-contiguous; here it is checked again.

use flowrs_engine::DType;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;

use crate::errors::ArgumentError;

/// A C-contiguous array that is held for a call.
pub(crate) struct Array(PyUntypedBuffer);

impl Array {
    /// Holds an array to read it.
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyUntypedBuffer::get(object)?;
        match buffer.is_c_contiguous() {
            true => Ok(Self(buffer)),
            false => Err(ArgumentError::new_err("the array is not C-contiguous")),
        }
    }

    /// Holds an array to write it.
    pub(crate) fn writable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let array = Self::new(object)?;
        match array.0.readonly() {
            false => Ok(array),
            true => Err(ArgumentError::new_err("the array is read-only")),
        }
    }

    /// The element type by the buffer's format, if the engine has it.
    pub(crate) fn dtype(&self) -> PyResult<DType> {
        let size = self.0.item_size();
        let format = self.0.format().to_bytes();
        let code = format.strip_prefix(b"@").or(format.strip_prefix(b"=")).unwrap_or(format);
        match (code, size) {
            (b"f", 4) => Ok(DType::F32),
            (b"d", 8) => Ok(DType::F64),
            (b"b", 1) => Ok(DType::I8),
            (b"B", 1) => Ok(DType::U8),
            (b"i" | b"l", 4) => Ok(DType::I32),
            (b"l" | b"q", 8) => Ok(DType::I64),
            _ => Err(ArgumentError::new_err(format!(
                "no computation is possible with an array of format {}",
                String::from_utf8_lossy(format)
            ))),
        }
    }

    /// The elements' bytes. Who holds the array must not let others write it meanwhile.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self.0.len_bytes() {
            0 => &[],
            // SAFETY: the held buffer is C-contiguous, so its memory is `len_bytes` bytes from
            // `buf_ptr` on, and it stays exported while `self` lives. Python code of another
            // thread that writes into an array while it is an argument here would race, as it
            // would with any library that releases the interpreter.
            length => unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast(), length) },
        }
    }

    /// The elements' bytes, to be written.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match self.0.len_bytes() {
            0 => &mut [],
            // SAFETY: as in `bytes`; `writable` checked that writing is allowed, and callers hold
            // no other view of the same memory (`Plan::run` compares the addresses).
            length => unsafe { std::slice::from_raw_parts_mut(self.0.buf_ptr().cast(), length) },
        }
    }
}

/// True where two pieces of memory have bytes in common.
pub(crate) fn overlap(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (a.as_ptr_range(), b.as_ptr_range());
    a.start < b.end && b.start < a.end
}
