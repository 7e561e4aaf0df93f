//! The slow, obvious version: the specification that the tests hold the fast ones to.

use super::ConvolutionShape;
use crate::Float;
use crate::window::positions;

/// See [`super::convolution`].
pub fn convolution<T: Float>(
    shape: &ConvolutionShape,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    relu: bool,
    output: &mut [T],
) {
    shape.check(input, weight, output);
    output.fill(T::ZERO);
    for_each_product(shape, &mut |x, w, y| output[y] += input[x] * weight[w]);
    for_each_output(shape, &mut |channel, y| {
        let value = output[y] + bias.map_or(T::ZERO, |bias| bias[channel]);
        output[y] = if relu && value < T::ZERO { T::ZERO } else { value };
    });
}

/// See [`super::convolution_input_gradient`].
pub fn convolution_input_gradient<T: Float>(
    shape: &ConvolutionShape,
    output_gradient: &[T],
    weight: &[T],
    input_gradient: &mut [T],
) {
    shape.check(input_gradient, weight, output_gradient);
    input_gradient.fill(T::ZERO);
    for_each_product(shape, &mut |x, w, y| input_gradient[x] += output_gradient[y] * weight[w]);
}

/// See [`super::convolution_weight_gradient`].
pub fn convolution_weight_gradient<T: Float>(
    shape: &ConvolutionShape,
    input: &[T],
    output_gradient: &[T],
    weight_gradient: &mut [T],
) {
    shape.check(input, weight_gradient, output_gradient);
    weight_gradient.fill(T::ZERO);
    for_each_product(shape, &mut |x, w, y| weight_gradient[w] += output_gradient[y] * input[x]);
}

/// Calls `visit(channel, offset)` for every output element.
fn for_each_output(shape: &ConvolutionShape, visit: &mut dyn FnMut(usize, usize)) {
    for image in 0..shape.batch {
        for channel in 0..shape.output_channels {
            for position in positions(shape.output) {
                visit(channel, shape.output_offset(image, channel, position));
            }
        }
    }
}

/// Calls `visit` with the offsets of input, weight and output of every product of a convolution.
fn for_each_product(shape: &ConvolutionShape, visit: &mut dyn FnMut(usize, usize, usize)) {
    let axes = [0, 1, 2].map(|axis| shape.axis(axis));
    for image in 0..shape.batch {
        for channel in 0..shape.output_channels {
            let group = channel / shape.group_outputs();
            for position in positions(shape.output) {
                let y = shape.output_offset(image, channel, position);
                for tap in positions(shape.kernel) {
                    let inside = |axis: usize| axes[axis].position(position[axis], tap[axis]);
                    let (Some(d), Some(h), Some(w)) = (inside(0), inside(1), inside(2)) else {
                        continue;
                    };
                    for input in 0..shape.group_inputs() {
                        let from = group * shape.group_inputs() + input;
                        visit(
                            shape.input_offset(image, from, [d, h, w]),
                            shape.weight_offset(channel, input, tap),
                            y,
                        );
                    }
                }
            }
        }
    }
}
