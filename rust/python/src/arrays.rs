//! Python arrays as bytes, through the buffer protocol.
//!
//! The Python side makes arrays native, aligned and C-contiguous; here it is checked again.

use std::ffi::c_int;

use flowrs_engine::{DType, TensorType};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
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

    /// Whether the array has this type and shape, and is aligned for it.
    pub(crate) fn is(&self, ty: &TensorType) -> bool {
        self.0.shape() == ty.shape
            && self.dtype().is_ok_and(|dtype| dtype == ty.dtype)
            && self.bytes().as_ptr().addr().is_multiple_of(ty.dtype.size())
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

/// Fills in a view of bytes that `owner` keeps.
///
/// # Safety
///
/// `view` is null or one that Python wants filled in; the bytes can be read, and written unless the
/// view is `readonly`, as long as `owner` lives.
pub(crate) unsafe fn fill_view(
    owner: &Bound<'_, PyAny>,
    view: *mut ffi::Py_buffer,
    flags: c_int,
    (pointer, length): (*mut u8, usize),
    readonly: bool,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("no view to fill in"));
    }
    let length = isize::try_from(length)
        .map_err(|_| PyBufferError::new_err("the memory is too large for a view"))?;
    // SAFETY: `view` is valid and not null; what it shows is as the caller promises, and the view
    // holds a reference to the owner.
    let status = unsafe {
        ffi::PyBuffer_FillInfo(
            view,
            owner.as_ptr(),
            pointer.cast(),
            length,
            c_int::from(readonly),
            flags,
        )
    };
    match status {
        0 => Ok(()),
        _ => Err(PyErr::fetch(owner.py())),
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
        match buffer.suboffsets().is_none() && matches!(buffer.item_size(), 1 | 2 | 4 | 8) {
            true => Ok(Self { buffer, swapped }),
            false => Err(ArgumentError::new_err("the array's memory has an unknown form")),
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
        let item = self.buffer.item_size();
        let [outer @ .., inner] = self.buffer.shape() else {
            // Scalars are passed as arrays of one element.
            return Ok(());
        };
        let Some((&stride, outer_strides)) = self.buffer.strides().split_last() else {
            return Ok(());
        };
        // The first element's row, and its place in it.
        let (mut row, mut column) = (offset / item / inner, offset / item % inner);
        let mut rest = target;
        while !rest.is_empty() {
            let mut left = row;
            let mut distance = column as isize * stride;
            for (&extent, &stride) in outer.iter().zip(outer_strides).rev() {
                distance += (left % extent) as isize * stride;
                left /= extent;
            }
            let length = rest.len().min((inner - column) * item);
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(length);
            // SAFETY: positions are below the extents of their axes, so that these are the elements
            // of one row from `column` on, which the array has; it stays exported while `self`
            // lives.
            unsafe {
                let first = self.buffer.buf_ptr().cast::<u8>().cast_const().offset(distance);
                gather_any(first, stride, item, part);
            }
            if self.swapped {
                part.chunks_exact_mut(item).for_each(<[u8]>::reverse);
            }
            (rest, row, column) = (tail, row + 1, 0);
        }
        Ok(())
    }
}

/// Copies elements that lie `stride` bytes apart one after the other.
///
/// # Safety
///
/// As many elements of `item` bytes as `target` has room for can be read there.
unsafe fn gather_any(first: *const u8, stride: isize, item: usize, target: &mut [u8]) {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        match item {
            1 => gather::<1>(first, stride, target),
            2 => gather::<2>(first, stride, target),
            4 => gather::<4>(first, stride, target),
            _ => gather::<8>(first, stride, target),
        }
    }
}

/// As `gather_any`, for elements of `ITEM` bytes.
///
/// # Safety
///
/// As for `gather_any`.
unsafe fn gather<const ITEM: usize>(first: *const u8, stride: isize, target: &mut [u8]) {
    for (index, element) in target.chunks_exact_mut(ITEM).enumerate() {
        // SAFETY: the caller's promise, for this element; bytes need no alignment.
        let found: [u8; ITEM] =
            unsafe { first.offset(index as isize * stride).cast::<[u8; ITEM]>().read() };
        element.copy_from_slice(&found);
    }
}

/// True where two pieces of memory have bytes in common.
pub(crate) fn overlap(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (a.as_ptr_range(), b.as_ptr_range());
    a.start < b.end && b.start < a.end
}
