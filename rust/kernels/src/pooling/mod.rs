//! Maximum and average over windows, and their gradients.

mod cells;
mod every_other;
mod gradients;
mod images;
pub mod naive;
mod planes;
mod rows;
mod select;
mod shape;
mod turned;

use crate::{Float, Isa, Parallel, Serial};

pub use images::{MaxPooled, MaxUnpooled};
pub(crate) use select::Select;
pub use shape::PoolingShape;
use turned::Turned;

/// The planes of a shape to be turned, unless rows are better pooled as they lie.
fn turned(shape: &PoolingShape) -> Option<Turned> {
    Turned::new(shape).filter(|_| !rows::suit(shape))
}

/// The greatest element of each window, NaN if there is one; minus infinity for windows that lie
/// outside the input.
///
/// `argmax` receives the position of the first greatest element within its window, in row-major
/// order.
///
/// # Panics
/// If the sizes do not fit together, or if there is an `argmax` and the window has more elements
/// than a byte can count ([`PoolingShape::argmax_fits`]).
pub fn max_pool<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    input: &[T],
    output: &mut [T],
    argmax: Option<&mut [u8]>,
) {
    shape.check(input, output);
    if let Some(argmax) = &argmax {
        assert!(shape.argmax_fits(), "the window has more elements than a byte can count");
        assert_eq!(argmax.len(), output.len(), "one position for each output");
    }
    match turned(shape) {
        None => rows::max_pool(isa, parallel, shape, input, output, argmax),
        Some(planes) => {
            planes.pool(isa, parallel, input, output, argmax, |image, x, y, argmax| {
                rows::max_pool(isa, &Serial, image, x, y, argmax);
            });
        }
    }
}

/// Where the maxima of a pool are.
#[derive(Clone, Copy)]
pub enum Maxima<'a, T> {
    /// At these positions within their windows.
    Positions(&'a [u8]),
    /// Where the pool's input is the greatest, which is looked for again.
    Input(&'a [T]),
}

/// The gradient of [`max_pool`]: each window's goes to its first greatest element.
///
/// # Panics
/// If the sizes do not fit together.
pub fn max_pool_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    maxima: Maxima<T>,
    output_gradient: &[T],
    input_gradient: &mut [T],
) {
    shape.check(input_gradient, output_gradient);
    let (dy, dx) = (output_gradient, input_gradient);
    match maxima {
        Maxima::Positions(positions) => {
            assert!(shape.argmax_fits(), "the window has more elements than a byte can count");
            assert_eq!(positions.len(), dy.len(), "one position for each output");
            match Turned::new(shape) {
                None => gradients::max_pool_gradient(isa, parallel, shape, positions, dy, dx),
                Some(planes) => {
                    let pool = |image: &_, positions: &[u8], dy: &[T], dx: &mut [T]| {
                        gradients::max_pool_gradient(isa, &Serial, image, positions, dy, dx);
                    };
                    planes.gradient(isa, parallel, Some(positions), dy, dx, pool);
                }
            }
        }
        Maxima::Input(input) => {
            shape.check(input, dy);
            gradients::max_pool_gradient_by_search(parallel, shape, input, dy, dx);
        }
    }
}

/// The average of the elements of each window that lie inside the input; 0 if none does.
///
/// # Panics
/// If the sizes do not fit together.
pub fn avg_pool<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    input: &[T],
    output: &mut [T],
) {
    shape.check(input, output);
    match turned(shape) {
        None => rows::avg_pool(isa, parallel, shape, input, output),
        Some(planes) => planes.pool(isa, parallel, input, output, None, |image, x, y, _| {
            rows::avg_pool(isa, &Serial, image, x, y);
        }),
    }
}

/// The gradient of [`avg_pool`].
///
/// # Panics
/// If the sizes do not fit together.
pub fn avg_pool_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    output_gradient: &[T],
    input_gradient: &mut [T],
) {
    shape.check(input_gradient, output_gradient);
    let (dy, dx) = (output_gradient, input_gradient);
    match Turned::new(shape) {
        None => gradients::avg_pool_gradient(isa, parallel, shape, dy, dx),
        Some(planes) => planes.gradient(isa, parallel, None, dy, dx, |image, _, dy, dx| {
            gradients::avg_pool_gradient(isa, &Serial, image, dy, dx);
        }),
    }
}
