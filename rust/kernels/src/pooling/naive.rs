//! The slow, obvious version: the specification that the tests hold the fast one to.

use super::PoolingShape;
use crate::window::positions;
use crate::{Element, Float};

/// See [`super::max_pool`].
pub fn max_pool<T: Float>(
    shape: &PoolingShape,
    input: &[T],
    output: &mut [T],
    mut argmax: Option<&mut [u8]>,
) {
    shape.check(input, output);
    for_each_window(shape, &mut |window, y| {
        let (position, greatest) = first_maximum(input, window);
        output[y] = greatest;
        if let Some(argmax) = &mut argmax {
            argmax[y] = position as u8;
        }
    });
}

/// See [`super::max_pool_gradient`].
pub fn max_pool_gradient<T: Float>(
    shape: &PoolingShape,
    input: &[T],
    output_gradient: &[T],
    input_gradient: &mut [T],
) {
    shape.check(input, output_gradient);
    input_gradient.fill(T::ZERO);
    for_each_window(shape, &mut |window, y| {
        let (position, _) = first_maximum(input, window);
        if let Some(x) = window[position] {
            input_gradient[x] += output_gradient[y];
        }
    });
}

/// See [`super::avg_pool`].
pub fn avg_pool<T: Float>(shape: &PoolingShape, input: &[T], output: &mut [T]) {
    shape.check(input, output);
    for_each_window(shape, &mut |window, y| {
        let sum: T = window.iter().flatten().map(|x| input[*x]).sum();
        output[y] = sum / count(window);
    });
}

/// See [`super::avg_pool_gradient`].
pub fn avg_pool_gradient<T: Float>(
    shape: &PoolingShape,
    output_gradient: &[T],
    input_gradient: &mut [T],
) {
    shape.check(input_gradient, output_gradient);
    input_gradient.fill(T::ZERO);
    for_each_window(shape, &mut |window, y| {
        for x in window.iter().flatten() {
            input_gradient[*x] += output_gradient[y] / count(window);
        }
    });
}

/// How many elements of a window count, at least one.
fn count<T: Float>(window: &[Option<usize>]) -> T {
    (window.iter().flatten().count().max(1) as f64).cast()
}

/// Where in a window its first greatest element is, and that element; NaN counts as greatest.
fn first_maximum<T: Float>(input: &[T], window: &[Option<usize>]) -> (usize, T) {
    let mut best: Option<(usize, T)> = None;
    for (position, x) in window.iter().enumerate() {
        let Some(value) = x.map(|x| input[x]) else { continue };
        let better = match best {
            None => true,
            Some((_, greatest)) => value > greatest || (value.is_nan() && !greatest.is_nan()),
        };
        if better {
            best = Some((position, value));
        }
    }
    best.unwrap_or((0, T::LOWEST))
}

/// Calls `visit(offsets of the window's elements, offset of its result)` for every window.
fn for_each_window(shape: &PoolingShape, visit: &mut dyn FnMut(&[Option<usize>], usize)) {
    let axes = [0, 1, 2].map(|axis| shape.axis(axis));
    for image in 0..shape.batch {
        for channel in 0..shape.channels {
            for position in positions(shape.output) {
                let window: Vec<Option<usize>> = positions(shape.window)
                    .map(|tap| {
                        let inside = |axis: usize| axes[axis].position(position[axis], tap[axis]);
                        let at = [inside(0)?, inside(1)?, inside(2)?];
                        Some(shape.input_offset(image, channel, at))
                    })
                    .collect();
                visit(&window, shape.output_offset(image, channel, position));
            }
        }
    }
}
