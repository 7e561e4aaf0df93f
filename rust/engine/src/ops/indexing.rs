//! What operations share that find their elements by indices.
//!
//! Such an operation looks at its indices when it runs, and fails if one is out of range. It has a
//! second output, one int8, whose only meaning is that the check is done. The operations of its
//! gradient take the same indices and that output: so they need not check again, which would hold
//! back the updates of variables, and the check takes place even where nobody wants the result.

use flowrs_kernels::gather::IndexError;

use super::Op;
use super::attributes::Attributes;
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Step;
use crate::types::{DType, TensorType, dtype_name};

/// Runs `$body` with the Rust type of an integer dtype bound to `$L`.
macro_rules! with_index {
    ($dtype:expr, $L:ident => $body:expr) => {
        match $dtype {
            $crate::types::DType::I32 => {
                type $L = i32;
                $body
            }
            $crate::types::DType::I64 => {
                type $L = i64;
                $body
            }
            $crate::types::DType::I8 => {
                type $L = i8;
                $body
            }
            $crate::types::DType::U8 => {
                type $L = u8;
                $body
            }
            other => Err($crate::error::Error::DType(format!(
                "indices must be integers, not {}",
                $crate::types::dtype_name(other)
            ))),
        }
    };
}

pub(crate) use with_index;

/// Who looks at the indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// The operation itself.
    Here,
    /// Another operation did; its proof may be the last input.
    Done,
}

impl Check {
    /// The inputs without the proof.
    pub(crate) fn inputs<const N: usize>(
        self,
        inputs: &[&TensorType],
    ) -> Result<[TensorType; N], Error> {
        let own = match self {
            Self::Done if inputs.len() == N + 1 => &inputs[..N],
            _ => inputs,
        };
        super::expect_inputs(own)
    }

    /// The outputs, with a proof where this operation gives one.
    pub(crate) fn outputs(self, y: TensorType) -> Vec<TensorType> {
        match self {
            Self::Here => vec![y, TensorType::new(DType::I8, [1])],
            Self::Done => vec![y],
        }
    }

    /// Ends a kernel: names a bad index, or gives the proof.
    pub(crate) fn finish(
        self,
        step: &Step<'_>,
        result: Result<(), IndexError>,
    ) -> Result<(), Error> {
        result.map_err(out_of_range)?;
        if self == Self::Here {
            step.output::<i8>(1).fill(1);
        }
        Ok(())
    }

    /// Adds an operation on the indices of `node`, one that relies on `node`'s check; `node` has
    /// `N` inputs besides a proof.
    pub(crate) fn derive<const N: usize>(
        self,
        g: &mut Builder,
        node: &Node,
        op: impl Op,
        inputs: &[ValueId],
    ) -> Result<ValueId, Error> {
        let proof = match self {
            Self::Here => node.outputs.get(1),
            Self::Done => node.inputs.get(N),
        };
        let mut inputs = inputs.to_vec();
        inputs.extend(proof);
        g.derive(op, &inputs)
    }
}

/// The error for an index that is out of range.
pub(crate) fn out_of_range(error: IndexError) -> Error {
    let IndexError { position, index, limit } = error;
    Error::Range(match limit {
        0 => format!("index {index} at position {position} is out of range: there is nothing"),
        _ => format!(
            "index {index} at position {position} is out of range: 0 to {} are possible",
            limit - 1
        ),
    })
}

/// Checks that a value can be used as indices.
pub(crate) fn expect_indices(ty: &TensorType) -> Result<(), Error> {
    match ty.dtype.is_float() {
        false => Ok(()),
        true => {
            let found = dtype_name(ty.dtype);
            Err(Error::DType(format!("indices must be integers, not {found}; cast them")))
        }
    }
}

/// An attribute that counts or names something, and so is not negative.
pub(crate) fn size(attributes: &mut Attributes, name: &str) -> Result<usize, Error> {
    let value = attributes.int(name)?;
    usize::try_from(value)
        .map_err(|_| Error::Argument(format!("{name} must not be negative, found {value}")))
}
