//! Errors of the crates as the exception classes of `flowrs.errors`.

use pyo3::import_exception;
use pyo3::prelude::*;

use flowrs_checkpoint::Error as Checkpoint;
use flowrs_engine::Error as Engine;

mod classes {
    use super::import_exception;

    import_exception!(flowrs.errors, ArgumentError);
    import_exception!(flowrs.errors, CheckpointError);
    import_exception!(flowrs.errors, CheckpointExistsError);
    import_exception!(flowrs.errors, CheckpointIOError);
    import_exception!(flowrs.errors, CheckpointNotFoundError);
    import_exception!(flowrs.errors, DTypeError);
    import_exception!(flowrs.errors, GraphError);
    import_exception!(flowrs.errors, OutOfMemoryError);
    import_exception!(flowrs.errors, RangeError);
    import_exception!(flowrs.errors, ShapeError);
    import_exception!(flowrs.errors, VariableError);
}

pub(crate) use classes::ArgumentError;

/// The exception for an error of the engine.
pub(crate) fn engine(error: Engine) -> PyErr {
    let message = error.to_string();
    match error {
        Engine::Shape(_) => classes::ShapeError::new_err(message),
        Engine::DType(_) => classes::DTypeError::new_err(message),
        Engine::Argument(_) => classes::ArgumentError::new_err(message),
        Engine::Graph(_) => classes::GraphError::new_err(message),
        Engine::Range(_) => classes::RangeError::new_err(message),
        Engine::Memory(_) => classes::OutOfMemoryError::new_err(message),
        Engine::Variable(_) => classes::VariableError::new_err(message),
    }
}

/// The exception for an error of the checkpoint crate.
pub(crate) fn checkpoint(error: Checkpoint) -> PyErr {
    let message = error.to_string();
    match error {
        Checkpoint::NotFound { .. } | Checkpoint::NotADirectory { .. } => {
            classes::CheckpointNotFoundError::new_err(message)
        }
        Checkpoint::Exists { .. } => classes::CheckpointExistsError::new_err(message),
        Checkpoint::Io { .. } | Checkpoint::Gone { .. } | Checkpoint::NoSpace { .. } => {
            classes::CheckpointIOError::new_err(message)
        }
        _ => classes::CheckpointError::new_err(message),
    }
}
