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

/// An array of any layout that is held to be saved.
pub(crate) struct Strided {
    buffer: PyUntypedBuffer,
    /// Whether the bytes of each element are in the other order.
    swapped: bool,
}

impl Strided {
    /// Holds an array to read it; `swapped`: its elements are big-endian.
    pub(crate) fn new(object: &Bound<'_, PyAny>, swapped: bool) -> PyResult<Self> {
        let buffer = PyUntypedBuffer::get(object)?;
        match buffer.suboffsets().is_some() {
            false => Ok(Self { buffer, swapped }),
            true => Err(ArgumentError::new_err("the array's memory is not in one piece")),
        }
    }

    /// All bytes, where they lie in memory as they are to be stored.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        if self.buffer.len_bytes() == 0 {
            return Some(&[]);
        }
        let plain =
            self.buffer.is_c_contiguous() && (!self.swapped || self.buffer.item_size() == 1);
        // SAFETY: the held buffer is C-contiguous, so its memory is `len_bytes` bytes from
        // `buf_ptr` on; that others do not write it meanwhile is as for `Array::bytes`.
        plain.then(|| unsafe {
            std::slice::from_raw_parts(self.buffer.buf_ptr().cast(), self.buffer.len_bytes())
        })
    }
}

impl flowrs_checkpoint::Pieces for Strided {
    fn length(&self) -> usize {
        self.buffer.len_bytes()
    }

    fn unit(&self) -> usize {
        self.buffer.item_size()
    }

    fn fill(&self, offset: usize, target: &mut [u8]) -> flowrs_checkpoint::Result<()> {
        let (shape, strides) = (self.buffer.shape(), self.buffer.strides());
        let item = self.buffer.item_size();
        // Where the first element is, in the order of the last axis first.
        let mut left = offset / item;
        let mut index = vec![0; shape.len()];
        for (position, &extent) in index.iter_mut().zip(shape).rev() {
            (left, *position) = (left / extent, left % extent);
        }
        let start: *const u8 = self.buffer.buf_ptr().cast();
        for element in target.chunks_exact_mut(item) {
            let distance: isize = index
                .iter()
                .zip(strides)
                .map(|(&position, &stride)| position as isize * stride)
                .sum();
            // SAFETY: every position is below the extent of its axis, so `start + distance` is an
            // element of the array, which stays exported while `self` lives.
            element.copy_from_slice(unsafe {
                std::slice::from_raw_parts(start.offset(distance), item)
            });
            for (position, &extent) in index.iter_mut().zip(shape).rev() {
                *position += 1;
                if *position < extent {
                    break;
                }
                *position = 0;
            }
        }
        if self.swapped {
            target.chunks_exact_mut(item).for_each(<[u8]>::reverse);
        }
        Ok(())
    }
}

/// True where two pieces of memory have bytes in common.
pub(crate) fn overlap(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (a.as_ptr_range(), b.as_ptr_range());
    a.start < b.end && b.start < a.end
}
