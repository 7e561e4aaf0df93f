//! Compute kernels on slices: matrix products, elementwise programs, reductions, losses and
//! optimizer updates.
//!
//! A kernel takes slices and sizes and writes slices. It knows no graph and no Python, owns no
//! threads and keeps nothing between calls but a little scratch memory; the only thing decided at run
//! time is the instruction set, which the caller hands in as an [`Isa`]. A kernel that has work for several threads asks its caller through
//! [`Parallel`].
//!
//! **Determinism.** Work is cut by the shape of the problem, never by the number of threads, and
//! every reduction has a fixed tree: for one [`Isa`] the result is the same, bit for bit, under every
//! [`Parallel`].
//!
//! **Checks.** Sizes that do not fit together are a mistake of the caller, not of its user, and
//! panic with a message; whatever a user's data can bring about (a label out of range) is an error
//! value.
//!
//! The module [`naive`] holds the slow, obvious version of each kernel, which the tests take as the
//! specification.
#![expect(clippy::too_many_arguments, reason = "kernels take plain slices and sizes")]

#[macro_use]
mod isa;
mod cells;
pub mod convolution;
mod element;
pub mod elementwise;
pub mod gather;
pub mod gemm;
pub mod loss;
mod math;
pub mod naive;
pub mod normalization;
pub mod optimizer;
pub mod pad;
mod parallel;
pub mod permute;
pub mod pooling;
pub mod random;
pub mod reduce;
pub mod resample;
mod rows;
mod shape;
pub mod slice;
pub mod softmax;
pub mod sort;
mod stream;
pub mod triangle;
mod window;

pub use element::{Data, DataMut, Element, ElementType, Float};
pub use isa::Isa;
pub use parallel::{Parallel, Serial, for_each_chunk};
pub use window::Layout;
