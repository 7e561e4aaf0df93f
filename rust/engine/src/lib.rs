//! The engine of flowrs: graphs of operations, their gradients, and plans that run them.
//!
//! The modules stand in the order in which data flows:
//!
//! ```text
//! graph     nodes and values, built one by one and checked as they come
//! ops       one file an operation: shape rule, derivative, choice of kernel
//! grad      adds the nodes that compute gradients
//! passes    graph -> graph: what is dead goes, what belongs together is fused
//! plan      order, memory, kernels: a list of steps over one arena
//! run       a plan over the caller's arrays and the variables
//! ```
//!
//! `threads` carries the work of a step, `lanes` that of small steps side by side, and `variable` holds what
//! outlives a run.

pub mod error;
pub mod grad;
pub mod graph;
pub mod ops;
pub mod passes;
pub mod plan;
pub mod run;
pub mod settings;
pub mod step;
pub mod threads;
pub mod types;
pub mod variable;

mod aligned;
mod lanes;

pub use aligned::AlignedBytes;
pub use error::Error;
pub use graph::{Builder, Constant, Graph, Number, ValueId};
pub use plan::Plan;
pub use run::Executable;
pub use settings::Settings;
pub use types::{DType, TensorType};
pub use variable::Variable;
