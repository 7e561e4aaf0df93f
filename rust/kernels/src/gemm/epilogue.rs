//! What is done to a block of a product while it is in registers, or at least in the cache.

use super::matrix::Block;
use crate::{Float, Isa};

/// What is done to each element of a product on its way to memory.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a, T> {
    /// Nothing.
    None,
    /// Adds `bias[column]`, then takes the greater of that and 0 if `relu`.
    Bias {
        /// One number per column of the product.
        bias: &'a [T],
        /// Whether a relu follows.
        relu: bool,
    },
    /// Takes the greater of the element and 0; NaN stays NaN.
    Relu,
    /// Puts 0 where `reference` is not positive: the gradient of a relu whose result that was.
    ReluMask {
        /// Row-major and without gaps, of the product's shape.
        reference: &'a [T],
    },
}

/// An epilogue seen from a block of the product.
#[derive(Clone, Copy)]
pub(crate) struct BlockEpilogue<'a, T> {
    epilogue: Epilogue<'a, T>,
    /// Columns of the whole product.
    reference_stride: usize,
}

impl<'a, T: Float> Epilogue<'a, T> {
    /// A bias, if there is one, and a relu if asked for.
    pub(crate) fn of(bias: Option<&'a [T]>, relu: bool) -> Self {
        match bias {
            Some(bias) => Epilogue::Bias { bias, relu },
            None if relu => Epilogue::Relu,
            None => Epilogue::None,
        }
    }

    /// The part for the block that begins at (`row`, `column`) of a product of `columns` columns.
    pub(crate) fn block(self, row: usize, column: usize, columns: usize) -> BlockEpilogue<'a, T> {
        let epilogue = match self {
            Epilogue::Bias { bias, relu } => Epilogue::Bias { bias: &bias[column..], relu },
            Epilogue::ReluMask { reference } => {
                Epilogue::ReluMask { reference: &reference[row * columns + column..] }
            }
            other => other,
        };
        BlockEpilogue { epilogue, reference_stride: columns }
    }

    /// Panics if a slice does not fit a product of this size.
    pub(super) fn check(&self, rows: usize, columns: usize) {
        match self {
            Epilogue::Bias { bias, .. } => {
                assert_eq!(bias.len(), columns, "a bias has one number per column");
            }
            Epilogue::ReluMask { reference } => {
                assert_eq!(reference.len(), rows * columns, "a mask has the product's size");
            }
            Epilogue::None | Epilogue::Relu => {}
        }
    }
}

/// What a kernel does to the sums of a tile, while they are in registers: the epilogue for a tile as wide
/// as the kernel.
#[derive(Clone, Copy)]
pub(super) enum Finish<T> {
    /// Nothing.
    None,
    /// Adds a vector of the row at `bias` to each row, and takes the greater of that and `floor`.
    Bias { bias: *const T, floor: T },
    /// Takes the greater of the element and 0.
    Relu,
    /// Puts 0 where an element is not positive of the rows that begin at `reference`, `stride` apart.
    ReluMask { reference: *const T, stride: usize },
}

impl<T: Float> BlockEpilogue<'_, T> {
    /// Nothing is done.
    pub(crate) const NONE: Self = BlockEpilogue { epilogue: Epilogue::None, reference_stride: 0 };

    /// The same for the kernels. What it points to can be read for `rows` x `columns` elements.
    #[inline(always)]
    pub(super) fn in_registers(self, rows: usize, columns: usize) -> Finish<T> {
        match self.epilogue {
            Epilogue::None => Finish::None,
            Epilogue::Bias { bias, relu } => {
                let floor = if relu { T::ZERO } else { T::LOWEST };
                Finish::Bias { bias: bias[..columns].as_ptr(), floor }
            }
            Epilogue::Relu => Finish::Relu,
            Epilogue::ReluMask { reference } => {
                let stride = self.reference_stride;
                let last = (rows - 1) * stride + columns;
                Finish::ReluMask { reference: reference[..last].as_ptr(), stride }
            }
        }
    }
}

impl<T> Finish<T> {
    /// The same for the tile that begins so many rows below.
    #[inline(always)]
    pub(super) fn below(self, rows: usize) -> Self {
        match self {
            Finish::ReluMask { reference, stride } => {
                Finish::ReluMask { reference: reference.wrapping_add(rows * stride), stride }
            }
            other => other,
        }
    }
}

/// Applies the epilogue to a finished block.
pub(crate) fn finish<T: Float>(isa: Isa, c: &mut Block<T>, epilogue: BlockEpilogue<T>) {
    if !matches!(epilogue.epilogue, Epilogue::None) {
        apply(isa, c, epilogue);
    }
}

per_isa! {
    fn apply<I, T: Float>(c: &mut Block<T>, epilogue: BlockEpilogue<T>) {
        match epilogue.epilogue {
            Epilogue::None => {}
            Epilogue::Bias { bias, relu: false } => each(c, bias, 0, |c, bias| c + bias),
            Epilogue::Bias { bias, relu: true } => each(c, bias, 0, |c, bias| relu(c + bias)),
            Epilogue::Relu => {
                for row in 0..c.rows() {
                    c.row(row).iter_mut().for_each(|c| *c = relu(*c));
                }
            }
            Epilogue::ReluMask { reference } => {
                let mask = |c, y| if y > T::ZERO { c } else { T::ZERO };
                each(c, reference, epilogue.reference_stride, mask);
            }
        }
    }
}

/// `c = f(c, other)` for each element; rows of `other` are `stride` apart.
#[inline(always)]
fn each<T: Float>(c: &mut Block<T>, other: &[T], stride: usize, f: impl Fn(T, T) -> T) {
    for row in 0..c.rows() {
        let c = c.row(row);
        let other = &other[row * stride..][..c.len()];
        // Rows are short, and of a known length they need no loop.
        match c.len() {
            32 => each_of::<T, 32>(c, other, &f),
            _ => each_of::<T, 16>(c, other, &f),
        }
    }
}

#[inline(always)]
fn each_of<T: Float, const LENGTH: usize>(c: &mut [T], other: &[T], f: impl Fn(T, T) -> T) {
    let (whole, rest) = c.as_chunks_mut::<LENGTH>();
    let (other, other_rest) = other.as_chunks::<LENGTH>();
    for (c, other) in whole.iter_mut().zip(other) {
        // Copies: all is read before anything is written, or the compiler makes no vectors.
        let (mut values, other) = (*c, *other);
        values.iter_mut().zip(other).for_each(|(c, other)| *c = f(*c, other));
        *c = values;
    }
    rest.iter_mut().zip(other_rest).for_each(|(c, &other)| *c = f(*c, other));
}

/// The greater of `value` and 0; NaN stays NaN.
#[inline(always)]
fn relu<T: Float>(value: T) -> T {
    if value < T::ZERO { T::ZERO } else { value }
}
