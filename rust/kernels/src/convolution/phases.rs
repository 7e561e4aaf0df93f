//! The gradient to the input as convolutions of the output's gradient.
//!
//! Input positions that lie a stride apart are covered by the same taps of the kernel, so each of the
//! `stride` sets of them, a phase, is a convolution with those taps, whose windows lie next to one another.
//! Along an axis, position `i = stride * q + offset` gets `sum(dy[o] * weight[t])` over all `o` and `t` with
//! `o * stride + t * dilation - padding = i`. The taps that have such an `o` are `first`, `first + step`, ..,
//! and their `o` are some `dilation / gcd(stride, dilation)` apart.

use super::ConvolutionShape;
use crate::window::{Axis, positions};

/// Taps of a kernel along an axis: every `step`th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taps {
    first: usize,
    step: usize,
    count: usize,
}

/// The positions of the input `offset + stride * q`, and the convolution that gives their gradient.
pub(crate) struct Phase {
    /// Of the output's gradient with the taps, turned around in space.
    pub(crate) shape: ConvolutionShape,
    taps: [Taps; 3],
    pub(crate) offset: [usize; 3],
}

impl Phase {
    /// The taps in the order in which the convolution has them: the last one first.
    pub(crate) fn taps(&self) -> impl Iterator<Item = [usize; 3]> {
        let counts = self.taps.map(|taps| taps.count);
        positions(counts).map(|place| {
            [0, 1, 2].map(|axis| {
                let Taps { first, step, count } = self.taps[axis];
                first + (count - 1 - place[axis]) * step
            })
        })
    }
}

/// A phase along an axis.
struct Along {
    positions: usize,
    taps: Taps,
    dilation: usize,
    padding: usize,
}

impl ConvolutionShape {
    /// The convolutions that together give the gradient to the input, if all can be had; positions that no
    /// window covers belong to none. Where windows lie next to one another there is one.
    pub(crate) fn phases(&self) -> Option<impl Iterator<Item = Phase> + use<'_>> {
        let fits = (0..3).all(|axis| {
            let axis = self.axis(axis);
            (0..axis.stride.min(axis.input)).all(|offset| along(axis, offset).is_ok())
        });
        let offsets = [0, 1, 2].map(|axis| self.stride[axis].min(self.input[axis]));
        fits.then(|| positions(offsets).filter_map(|offset| self.phase(offset)))
    }

    fn phase(&self, offset: [usize; 3]) -> Option<Phase> {
        let [depth, height, width] =
            [0, 1, 2].map(|axis| along(self.axis(axis), offset[axis]).ok().flatten());
        let axes = [depth?, height?, width?];
        let shape = ConvolutionShape {
            input_channels: self.output_channels,
            output_channels: self.input_channels,
            input: self.output,
            output: [0, 1, 2].map(|axis| axes[axis].positions),
            kernel: [0, 1, 2].map(|axis| axes[axis].taps.count),
            stride: [1; 3],
            dilation: [0, 1, 2].map(|axis| axes[axis].dilation),
            padding_before: [0, 1, 2].map(|axis| axes[axis].padding),
            input_layout: self.output_layout,
            output_layout: self.input_layout,
            ..*self
        };
        Some(Phase { shape, taps: axes.map(|along| along.taps), offset })
    }

    /// Whether some input positions are in no phase: no window covers them.
    pub(crate) fn has_uncovered(&self) -> bool {
        (0..3).any(|axis| {
            let axis = self.axis(axis);
            (0..axis.stride.min(axis.input)).any(|offset| matches!(along(axis, offset), Ok(None)))
        })
    }
}

/// The phase of an offset along an axis, if there are positions and taps.
///
/// # Errors
/// If its windows begin inside the output's gradient: that is padding less than none.
fn along(axis: Axis, offset: usize) -> Result<Option<Along>, ()> {
    let Axis { input, window, stride, dilation, padding, .. } = axis;
    let positions = input.saturating_sub(offset).div_ceil(stride);
    let covers = |tap: &usize| tap * dilation % stride == (offset + padding) % stride;
    let Some(first) = (0..window.min(stride)).find(covers).filter(|_| positions > 0) else {
        return Ok(None);
    };
    let common = gcd(stride, dilation);
    let step = stride / common;
    let count = (window - first).div_ceil(step);
    let taps = Taps { first, step, count };
    // The last tap comes first.
    let last = (first + (count - 1) * step) * dilation;
    let padding = last.checked_sub(offset + padding).ok_or(())? / stride;
    let dilation = dilation / common;
    Ok(Some(Along { positions, taps, dilation, padding }))
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outputs and taps that cover an input position, by the phase that has it.
    fn covering(axis: Axis, position: usize) -> Vec<(usize, usize)> {
        let Ok(Some(phase)) = along(axis, position % axis.stride) else { return vec![] };
        let window = position / axis.stride;
        assert!(window < phase.positions, "position {position} of {axis:?}");
        let of_tap = |place: usize| {
            let output = (window + place * phase.dilation).checked_sub(phase.padding)?;
            let tap = phase.taps.first + (phase.taps.count - 1 - place) * phase.taps.step;
            (output < axis.output).then_some((output, tap))
        };
        (0..phase.taps.count).filter_map(of_tap).collect()
    }

    #[test]
    fn phases_have_every_product_of_a_gradient_once() {
        let sizes = [1..9, 1..8, 1..5, 1..5, 0..4].map(|range| range.collect::<Vec<usize>>());
        let [inputs, windows, strides, dilations, paddings] = &sizes;
        let mut seen = 0;
        for (input, window) in inputs.iter().flat_map(|&i| windows.iter().map(move |&w| (i, w))) {
            for (stride, dilation) in
                strides.iter().flat_map(|&s| dilations.iter().map(move |&d| (s, d)))
            {
                for &padding in paddings {
                    let output = (input + padding) / stride + 1;
                    let axis = Axis { input, output, window, stride, dilation, padding };
                    if (0..stride).any(|offset| along(axis, offset).is_err()) {
                        continue;
                    }
                    for position in 0..input {
                        let pairs = (0..output).flat_map(|o| (0..window).map(move |tap| (o, tap)));
                        let is_covered =
                            |&(o, tap): &(usize, usize)| axis.position(o, tap) == Some(position);
                        let wanted: Vec<_> = pairs.filter(is_covered).collect();
                        assert_eq!(covering(axis, position), wanted, "{position} of {axis:?}");
                        seen += wanted.len();
                    }
                }
            }
        }
        assert!(seen > 10_000, "only {seen} products were compared");
    }
}
