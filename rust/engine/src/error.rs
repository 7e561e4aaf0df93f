//! What can go wrong in the engine.

use thiserror::Error;

/// An error of the engine. Each variant becomes a Python exception class of its own.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Shapes do not fit together.
    #[error("{0}")]
    Shape(String),
    /// An element type is not supported here.
    #[error("{0}")]
    DType(String),
    /// An attribute has a value that the operation cannot use.
    #[error("{0}")]
    Argument(String),
    /// The graph cannot be built, differentiated or planned.
    #[error("{0}")]
    Graph(String),
    /// A value met while running is out of range.
    #[error("{0}")]
    Range(String),
    /// A variable does not fit the plan or the value that it is given.
    #[error("{0}")]
    Variable(String),
    /// The system has not the memory that is needed.
    #[error("{0}")]
    Memory(String),
}

impl Error {
    /// The same error with `prefix` (an operation and a node's name) before its message.
    pub fn within(self, prefix: &str) -> Self {
        let join = |message: String| format!("{prefix}: {message}");
        match self {
            Self::Shape(message) => Self::Shape(join(message)),
            Self::DType(message) => Self::DType(join(message)),
            Self::Argument(message) => Self::Argument(join(message)),
            Self::Graph(message) => Self::Graph(join(message)),
            Self::Range(message) => Self::Range(join(message)),
            Self::Variable(message) => Self::Variable(join(message)),
            Self::Memory(message) => Self::Memory(join(message)),
        }
    }
}
