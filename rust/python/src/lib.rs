//! The extension module `flowrs._flowrs`: converts arguments, releases the interpreter, calls the
//! engine or the checkpoint crate, and maps errors. It decides nothing.

mod arrays;
mod checkpoint;
mod errors;
mod graph;
mod loading;
mod plan;
mod results;
mod saving;
mod variable;

use pyo3::prelude::*;

/// The native part of flowrs.
#[pymodule]
mod _flowrs {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::checkpoint::{
        CheckpointEntry, Mapping, OpenedCheckpoint, open_checkpoint, open_variable, verify_entries,
    };
    #[pymodule_export]
    use crate::graph::GraphBuilder;
    #[pymodule_export]
    use crate::loading::{check_entries, load_values};
    #[pymodule_export]
    use crate::plan::{Call, Plan};
    #[pymodule_export]
    use crate::saving::{StagedVariables, edit_checkpoint, save_checkpoint};
    #[pymodule_export]
    use crate::variable::{Variable, assign_variables};

    use crate::errors::engine;

    /// Names of all operations that a graph can be built from.
    #[pyfunction]
    fn op_names() -> Vec<&'static str> {
        flowrs_engine::ops::names()
    }

    /// Number of threads that steps run on.
    #[pyfunction]
    fn threads() -> usize {
        flowrs_engine::threads::threads()
    }

    /// Sets the number of threads that steps run on.
    #[pyfunction]
    fn set_threads(py: Python<'_>, threads: usize) -> PyResult<()> {
        py.detach(|| flowrs_engine::threads::set_threads(threads)).map_err(engine)
    }

    /// The instruction set that plans are made for: FLOWRS_ISA, or the best of this CPU.
    #[pyfunction]
    fn isa() -> PyResult<&'static str> {
        Ok(flowrs_engine::Settings::from_environment().map_err(engine)?.isa.name())
    }

    /// Version and kind of this build.
    #[pyfunction]
    fn build_info() -> (&'static str, &'static str) {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        (env!("CARGO_PKG_VERSION"), profile)
    }
}
