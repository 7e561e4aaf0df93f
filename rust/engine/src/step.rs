//! What a kernel sees while it runs: typed views of its inputs and outputs, and threads.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use flowrs_kernels::{Data, DataMut, Element, Parallel};

use crate::error::Error;
use crate::types::{DType, dtype_name};

/// A compiled step: reads the inputs and writes the outputs of a [`Step`].
pub type Kernel = Box<dyn Fn(&Step<'_>) -> Result<(), Error> + Send + Sync>;

/// A piece of memory with its element type; valid while the [`Step`] that holds it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub(crate) pointer: *mut u8,
    pub(crate) elements: usize,
    pub(crate) dtype: DType,
}

impl Buffer {
    /// No memory at all.
    pub(crate) const EMPTY: Self =
        Self { pointer: std::ptr::null_mut(), elements: 0, dtype: DType::U8 };
}

/// The inputs and outputs of one step of a plan during one run.
///
/// Outputs (and inputs that are updated in place) are handed out once each, so that no two
/// mutable views of the same memory exist.
pub struct Step<'a> {
    inputs: &'a [Buffer],
    outputs: &'a [Buffer],
    scratch: Buffer,
    updates: &'a [usize],
    taken: Cell<u64>,
    parallel: &'a dyn Parallel,
    lifetime: PhantomData<&'a mut u8>,
}

impl fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl<'a> Step<'a> {
    /// Joins the memory of a step.
    ///
    /// # Safety
    ///
    /// For the lifetime `'a` every buffer must point to `elements` initialised, aligned elements
    /// of its type. Outputs, scratch and updated inputs must overlap nothing else in this step, and
    /// nobody else may write what is read or touch what is written here. Scratch must be bytes on a
    /// cache-line boundary.
    pub(crate) unsafe fn new(
        inputs: &'a [Buffer],
        outputs: &'a [Buffer],
        scratch: Buffer,
        updates: &'a [usize],
        parallel: &'a dyn Parallel,
    ) -> Self {
        let lifetime = PhantomData;
        Self { inputs, outputs, scratch, updates, taken: Cell::new(0), parallel, lifetime }
    }

    /// The threads to work on.
    pub fn parallel(&self) -> &'a dyn Parallel {
        self.parallel
    }

    /// Input `index` as a slice of `T`.
    ///
    /// # Panics
    ///
    /// Where the planner's types and the kernel's differ, or the input is updated in place: both
    /// are faults of an operation's `lower`, never of what a user passes in.
    pub fn input<T: Element>(&self, index: usize) -> &'a [T] {
        assert!(
            !self.updates.contains(&index),
            "input {index} is updated: it is not a plain input"
        );
        self.typed::<T>(self.inputs[index])
    }

    /// Input `index` with its type.
    pub fn data(&self, index: usize) -> Data<'a> {
        match self.inputs[index].dtype {
            DType::F32 => Data::F32(self.input(index)),
            DType::F64 => Data::F64(self.input(index)),
            DType::I8 => Data::I8(self.input(index)),
            DType::I32 => Data::I32(self.input(index)),
            DType::I64 => Data::I64(self.input(index)),
            DType::U8 => Data::U8(self.input(index)),
        }
    }

    /// Output `index` as a slice of `T`, once.
    ///
    /// # Panics
    ///
    /// At the second call for the same output, or where the types differ.
    pub fn output<T: Element>(&self, index: usize) -> &'a mut [T] {
        self.take(index);
        self.typed_mut::<T>(self.outputs[index])
    }

    /// Output `index` with its type, once.
    pub fn data_mut(&self, index: usize) -> DataMut<'a> {
        match self.outputs[index].dtype {
            DType::F32 => DataMut::F32(self.output(index)),
            DType::F64 => DataMut::F64(self.output(index)),
            DType::I8 => DataMut::I8(self.output(index)),
            DType::I32 => DataMut::I32(self.output(index)),
            DType::I64 => DataMut::I64(self.output(index)),
            DType::U8 => DataMut::U8(self.output(index)),
        }
    }

    /// The variable at input `index`, to be changed in place, once.
    ///
    /// # Panics
    ///
    /// Where the operation does not declare the input as updated, or at the second call.
    pub fn updated<T: Element>(&self, index: usize) -> &'a mut [T] {
        assert!(self.updates.contains(&index), "input {index} is not declared as updated");
        self.take(32 + index);
        self.typed_mut::<T>(self.inputs[index])
    }

    /// The working memory that the operation asked for, as elements of `T`, once. Its content is
    /// what the last user left.
    ///
    /// # Panics
    ///
    /// At the second call.
    pub fn scratch<T: Element>(&self) -> &'a mut [T] {
        self.take(63);
        let elements = self.scratch.elements / T::TYPE.size();
        self.typed_mut::<T>(Buffer { elements, dtype: T::TYPE, ..self.scratch })
    }

    fn take(&self, bit: usize) {
        let mask = 1 << bit;
        assert!(self.taken.get() & mask == 0, "a mutable view was handed out already");
        self.taken.set(self.taken.get() | mask);
    }

    fn typed<T: Element>(&self, buffer: Buffer) -> &'a [T] {
        check::<T>(buffer);
        if buffer.elements == 0 {
            return &[];
        }
        // SAFETY: `new` demands valid, aligned, initialised elements of the buffer's type, which
        // `check` compared with `T`, and that nobody writes them during `'a`: outputs and updated
        // inputs overlap no plain input.
        unsafe { std::slice::from_raw_parts(buffer.pointer.cast::<T>(), buffer.elements) }
    }

    fn typed_mut<T: Element>(&self, buffer: Buffer) -> &'a mut [T] {
        check::<T>(buffer);
        if buffer.elements == 0 {
            return &mut [];
        }
        // SAFETY: as in `typed`; besides, `take` hands each mutable view out once.
        unsafe { std::slice::from_raw_parts_mut(buffer.pointer.cast::<T>(), buffer.elements) }
    }
}

fn check<T: Element>(buffer: Buffer) {
    let (found, wanted) = (dtype_name(buffer.dtype), dtype_name(T::TYPE));
    assert!(buffer.dtype == T::TYPE, "the buffer holds {found}, the kernel wants {wanted}");
}
