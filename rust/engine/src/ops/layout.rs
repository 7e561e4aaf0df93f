//! What operations say of a change of layout: the channels of some values are moved from the second
//! axis to the last, where convolutions and pools compute fastest.

use std::sync::Arc;

use flowrs_kernels::Layout;

use super::Op;
use crate::types::TensorType;

/// An operation on values with channels last.
#[derive(Debug)]
pub struct ChannelsLast {
    /// The operation.
    pub op: Arc<dyn Op>,
    /// Which inputs it takes with channels last.
    pub inputs: Vec<bool>,
    /// Which outputs it gives with channels last.
    pub outputs: Vec<bool>,
}

/// A shape with the channels last.
pub(crate) fn last(shape: &[usize]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[1..].rotate_left(1);
    shape
}

/// The layout as the end of an operation's attributes.
pub(crate) fn named(layout: Layout) -> &'static str {
    match layout {
        Layout::ChannelsFirst => "",
        Layout::ChannelsLast => ", channels last",
    }
}

/// `op` between values that all have channels last, wherever one of the inputs is there so.
pub(crate) fn throughout(there: &[bool], op: impl Op, outputs: usize) -> Option<ChannelsLast> {
    there.contains(&true).then(|| ChannelsLast {
        op: Arc::new(op),
        inputs: vec![true; there.len()],
        outputs: vec![true; outputs],
    })
}

/// `op` where only the first input and the first output have channels.
pub(crate) fn first_only(there: &[bool], op: impl Op, outputs: usize) -> Option<ChannelsLast> {
    let first = |count: usize| (0..count).map(|index| index == 0).collect();
    there[0].then(|| ChannelsLast {
        op: Arc::new(op),
        inputs: first(there.len()),
        outputs: first(outputs),
    })
}

/// An operation that works on each position by itself and repeats its inputs by NumPy's rule, if they
/// have as many axes as the output or one element: then all axes may be moved alike.
pub(crate) fn elementwise(
    inputs: &[&TensorType],
    there: &[bool],
    op: impl Op,
) -> Option<ChannelsLast> {
    let index = there.iter().position(|there| *there)?;
    let rank = inputs[index].rank();
    let fits = |ty: &&TensorType| ty.rank() == rank || ty.shape == [1];
    inputs.iter().all(fits).then(|| ChannelsLast {
        op: Arc::new(op),
        inputs: inputs.iter().map(|ty| ty.rank() == rank).collect(),
        outputs: vec![true],
    })
}
