//! The gradient to such a weight: of each panel, a few rows at a time are summed over all tiles by
//! frequency, and taken back before they leave the cache.

use super::super::super::ConvolutionShape;
use super::super::super::direct::{Part, in_order};
use super::super::super::ends::{Gradient, Source};
use super::super::super::units::{TASKS, for_each_unit};
use super::super::tiles::Tiles;
use super::super::transform::{Finish, Kind, Strip, transform};
use super::super::{ALIGNMENT, in_cache};
use super::{UNITS, Vectors, weight_frequency};
use crate::gemm::{Block, BlockEpilogue, Left, Panels, Stretches, multiply};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};
use smallvec::smallvec;
use std::ops::Range;

/// Tiles of all images at most: the transformed ones of a panel of the output's gradient stay in the
/// cache beside the sums.
const TILES: usize = 256;

/// Whether a weight's gradient is better computed so.
pub(in super::super) fn suits<T, const SIDE: usize>(shape: &ConvolutionShape) -> bool {
    let tiles = shape.batch * Tiles::<SIDE>::new(shape).grid.output_pixels();
    !in_cache::<T>(SIDE, shape) && (1..=TILES).contains(&tiles)
}

/// How the pass is cut: into (panel, part of the depth).
struct Cut<const SIDE: usize> {
    vectors: Vectors<SIDE>,
    panels: Panels,
    depth_parts: usize,
}

impl<const SIDE: usize> Cut<SIDE> {
    fn new<T: Float>(isa: Isa, shape: &ConvolutionShape) -> Self {
        let vectors = Vectors::new(Tiles::new(shape), shape.batch);
        let panels = Panels::new::<T>(isa, shape.output_channels);
        let depth_parts = UNITS.div_ceil(panels.count()).clamp(1, vectors.depth_parts().count());
        Cut { vectors, panels, depth_parts }
    }

    /// The length of the transformed input.
    fn vectors(&self) -> usize {
        self.vectors.elements().next_multiple_of(ALIGNMENT)
    }

    /// Lengths of a task's copy of a panel of the output's gradient, of its transformed tiles, and of
    /// the sums.
    fn scratch_parts(&self) -> [usize; 3] {
        let (tiles, width) = (self.vectors.tiles, self.panels.panel(0).2);
        let pixels = self.vectors.count() * tiles.outputs.pow(2);
        let panel = match tiles.grid.output_layout {
            Layout::ChannelsFirst => pixels * width,
            Layout::ChannelsLast => 0,
        };
        let gradients = Tiles::<SIDE>::frequency(self.vectors.count(), width);
        let by_frequency = [gradients, weight_frequency(width)];
        let [gradients, sums] = by_frequency.map(|size| Tiles::<SIDE>::FREQUENCIES * size);
        [panel.next_multiple_of(ALIGNMENT), gradients, sums]
    }

    fn scratch_per_task(&self) -> usize {
        self.scratch_parts().iter().sum::<usize>().next_multiple_of(ALIGNMENT)
    }

    fn units(&self) -> usize {
        self.panels.count() * self.depth_parts
    }
}

/// The length of the working memory that the pass needs.
pub(in super::super) fn scratch_elements<T: Float, const SIDE: usize>(
    isa: Isa,
    shape: &ConvolutionShape,
) -> usize {
    let cut = Cut::<SIDE>::new::<T>(isa, shape);
    let own = cut.units().min(TASKS) * cut.scratch_per_task();
    cut.vectors.tiles.gradient_by_tap() + cut.vectors() + own.max(cut.vectors.scratch())
}

/// See [`super::super::super::convolution_weight_gradient`].
pub(in super::super) fn weight_gradient<T: Float, const SIDE: usize>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: &[T],
    output_gradient: Source<T>,
    weight_gradient: &mut [T],
    scratch: &mut [T],
) {
    let cut = Cut::<SIDE>::new::<T>(isa, shape);
    let (by_tap, scratch) = scratch.split_at_mut(cut.vectors.tiles.gradient_by_tap());
    let (vectors, scratch) = scratch.split_at_mut(cut.vectors());
    let (tiles, images) = (cut.vectors.tiles, 0..shape.batch);
    cut.vectors.fill(isa, parallel, images.clone(), Source::Array(input), vectors, scratch);
    let (vectors, part) = (&*vectors, Part::of_images(&tiles.grid, images));
    let pixels = tiles.pixels(shape, &part);
    let parts = Parts::new(by_tap);
    let unit = |unit: usize, scratch: &mut [T]| {
        let (panel, depth_part) = (unit / cut.depth_parts, unit % cut.depth_parts);
        let [memory, gradients, _] = cut.scratch_parts();
        let (memory, scratch) = scratch.split_at_mut(memory);
        let (gradients, sums) = scratch.split_at_mut(gradients);
        let gradient = Gradient::new(isa, shape, &pixels, output_gradient, &mut []);
        let (panel_of, memory) = ((cut.panels, panel), (memory, &mut *gradients));
        let stride = tiles.transform_gradient(isa, &part, &pixels, panel_of, &gradient, memory);
        let own = cut.vectors.depth_parts().skip(depth_part).step_by(cut.depth_parts);
        for channels in own {
            cut.multiply(isa, panel, &channels, vectors, (gradients, stride), sums);
            // SAFETY: units have different panels or parts of the depth, and each is run once.
            unsafe { cut.inverse(isa, panel, &channels, sums, &parts) };
        }
    };
    for_each_unit(parallel, cut.units(), scratch, cut.scratch_per_task(), &unit);
    in_order(parallel, shape, by_tap, weight_gradient);
}

impl<const SIDE: usize> Cut<SIDE> {
    /// The sums of some rows of a panel over all tiles.
    fn multiply<T: Float>(
        &self,
        isa: Isa,
        panel: usize,
        channels: &Range<usize>,
        vectors: &[T],
        (gradients, stride): (&[T], usize),
        sums: &mut [T],
    ) {
        let (_, columns, width) = self.panels.panel(panel);
        let (start, frequency) = self.vectors.depth_part(channels);
        let (tiles, depth) = (self.vectors.count(), channels.len());
        let (sums, stretches) = (Parts::new(sums), Stretches::new(smallvec![0], tiles));
        for index in 0..Tiles::<SIDE>::FREQUENCIES {
            let data = &vectors[start + index * frequency..];
            let left = Left { data, row: 1, step: depth, stretches: &stretches };
            let gradients = &gradients[index * stride..][..tiles * width];
            let columns = (index * weight_frequency(width), columns);
            // SAFETY: the sums are borrowed, and computed one after another.
            let mut c = unsafe { Block::new(&sums, width, (0, depth), columns) };
            multiply(isa, self.panels, left, gradients, false, &mut c, BlockEpilogue::NONE);
        }
    }

    /// Writes the rows by tap.
    ///
    /// # Safety
    /// Nobody else reads or writes these rows of the panel meanwhile.
    unsafe fn inverse<T: Float>(
        &self,
        isa: Isa,
        panel: usize,
        channels: &Range<usize>,
        sums: &[T],
        by_tap: &Parts<T>,
    ) {
        let (column, columns, width) = self.panels.panel(panel);
        let (tiles, count) = (self.vectors.tiles, channels.len());
        let (outputs, taps) = (tiles.grid.output_channels, tiles.taps());
        let distance = tiles.grid.input_channels * outputs;
        let start = [0, channels.start * outputs + column];
        let strip = Strip { start, step: [width, outputs], count, size: [taps, count * taps] };
        let from = (sums, Tiles::<SIDE>::frequencies(weight_frequency(width)));
        let to = (by_tap, [taps * distance, distance]);
        let (kind, strips) = (Kind::Inverse(taps), std::iter::once(strip));
        // SAFETY: the caller's promise.
        unsafe { transform::<T, SIDE>(isa, kind, columns, from, to, Finish::NONE, strips) };
    }
}
