//! Pools of planes, a channel each. Some planes at a time are turned into an image of as many
//! channels, whose pools are computed with a channel in each lane of a vector: so no row is
//! too short for it. Rows that [`rows::suit`](super::rows::suit) are pooled as they lie instead.

use std::cell::RefCell;
use std::ops::Range;

use super::PoolingShape;
use crate::gemm::{Block, Buffer, Matrix, transpose, transpose_to};
use crate::parallel::Parts;
use crate::window::{Axis, Layout};
use crate::{Float, Isa, Parallel};

/// Planes that are turned together: many save work for each pixel, fewer make more parts.
const LANES: usize = 64;
const FEW_LANES: usize = 16;
/// Parts that are enough for many threads.
const PARTS: usize = 16;
/// Elements of the input that are turned at a time, unless a line has more: they stay in a near
/// cache.
const BAND: usize = 12 * 1024;

thread_local! {
    /// A band of the input, one of the output, and its positions.
    static SCRATCH: RefCell<(Buffer, Buffer, Vec<u8>)> =
        const { RefCell::new((Buffer::new(), Buffer::new(), Vec::new())) };
}

/// Planes in groups, each cut into bands along its first axis.
pub(super) struct Turned {
    shape: PoolingShape,
    planes: usize,
    /// The axis that is cut; those before it have size 1.
    axis: usize,
}

/// A part of a group of planes.
struct Band {
    /// The pool of this part, as an image.
    image: PoolingShape,
    /// The planes.
    planes: Range<usize>,
    /// The elements of a plane of the input and of the output.
    input: Range<usize>,
    output: Range<usize>,
    /// The elements of a plane of the input that no other band has.
    own: Range<usize>,
}

impl Turned {
    /// The planes of a shape; `None` if its channels lie last, and are several.
    pub(super) fn new(shape: &PoolingShape) -> Option<Self> {
        if shape.layout == Layout::ChannelsLast && shape.channels > 1 {
            return None;
        }
        let axis = (0..3).find(|&axis| shape.input[axis].max(shape.output[axis]) > 1).unwrap_or(2);
        Some(Self { shape: *shape, planes: shape.batch * shape.channels, axis })
    }

    fn cut_axis(&self) -> Axis {
        self.shape.axis(self.axis)
    }

    /// Elements of the input and of the output at each position of the axis that is cut.
    fn line_elements(&self) -> [usize; 2] {
        [self.shape.input, self.shape.output]
            .map(|sizes| sizes[self.axis + 1..].iter().product::<usize>())
    }

    /// Elements of a plane of the input and of the output.
    fn plane_elements(&self) -> [usize; 2] {
        [self.shape.input, self.shape.output].map(|sizes| sizes.iter().product())
    }

    /// Runs `task` for each group of planes and each of the parts into which the axis' positions,
    /// of which there are `length`, are cut.
    fn for_each_part(
        &self,
        parallel: &dyn Parallel,
        length: usize,
        inputs_per_position: usize,
        task: impl Fn(Range<usize>, Range<usize>) + Sync,
    ) {
        let cut = |lanes: usize| {
            let line = self.line_elements()[0] * self.planes.min(lanes);
            let most = BAND / inputs_per_position.saturating_mul(line).max(1);
            (self.planes.div_ceil(lanes), length.div_ceil(most.max(1)))
        };
        let (groups, parts) = match cut(LANES) {
            (groups, parts) if groups * parts < PARTS => cut(FEW_LANES),
            enough => enough,
        };
        parallel.for_each(groups * parts, &|index| {
            let (group, part) = (index / parts, index % parts);
            // Whole vectors, as far as there are: other numbers of lanes take half as long again.
            let vectors = self.planes.div_ceil(FEW_LANES);
            let boundary = |group: usize| (vectors * group / groups * FEW_LANES).min(self.planes);
            task(
                boundary(group)..boundary(group + 1),
                length * part / parts..length * (part + 1) / parts,
            );
        });
    }

    /// The band that these outputs and inputs of the axis are, of which `own` no other band has.
    fn band(
        &self,
        planes: Range<usize>,
        outputs: Range<usize>,
        inputs: Range<usize>,
        own: Range<usize>,
    ) -> Band {
        let (axis, number) = (self.cut_axis(), self.axis);
        let mut image = PoolingShape {
            batch: 1,
            channels: planes.len(),
            layout: Layout::ChannelsLast,
            ..self.shape
        };
        image.input[number] = inputs.len();
        image.output[number] = outputs.len();
        // Where the windows begin behind all inputs, there are none.
        image.padding_before[number] =
            (inputs.start + axis.padding).saturating_sub(outputs.start * axis.stride);
        let [input_line, output_line] = self.line_elements();
        let elements = |range: Range<usize>, line: usize| range.start * line..range.end * line;
        Band {
            image,
            planes,
            input: elements(inputs, input_line),
            output: elements(outputs, output_line),
            own: elements(own, input_line),
        }
    }

    /// The positions of the axis, from `from` on, that the windows of `outputs` reach.
    fn reach(&self, outputs: &Range<usize>, from: usize) -> Range<usize> {
        let axis = self.cut_axis();
        let start = (outputs.start * axis.stride).saturating_sub(axis.padding).min(from);
        let end = (outputs.end - 1) * axis.stride + axis.window;
        start..end.saturating_sub(axis.padding).clamp(start, axis.input)
    }

    /// Runs `task` for each band of outputs.
    fn for_each_output_band(&self, parallel: &dyn Parallel, task: impl Fn(Band) + Sync) {
        let axis = self.cut_axis();
        self.for_each_part(parallel, axis.output, axis.stride, |planes, outputs| {
            let inputs = self.reach(&outputs, axis.input);
            task(self.band(planes, outputs, inputs.clone(), inputs));
        });
    }

    /// Runs `task` for each band of inputs, with the windows that cover them; if those are to be
    /// `whole`, their other elements come with it.
    fn for_each_input_band(
        &self,
        parallel: &dyn Parallel,
        whole: bool,
        task: impl Fn(Band) + Sync,
    ) {
        let axis = self.cut_axis();
        self.for_each_part(parallel, axis.input, 1, |planes, own| {
            // A window in front of the band does no harm, and padding is not less than 0 then.
            let first =
                axis.covering(own.start).start.min((own.start + axis.padding) / axis.stride);
            let outputs = first.min(axis.output)..axis.covering(own.end - 1).end;
            let inputs = match whole && !outputs.is_empty() {
                true => self.reach(&outputs, own.start),
                false => own.clone(),
            };
            let inputs = inputs.start..inputs.end.max(own.end);
            task(self.band(planes, outputs, inputs, own));
        });
    }

    /// Computes `pool(image, input, output, positions)` band by band.
    pub(super) fn pool<T: Float>(
        &self,
        isa: Isa,
        parallel: &dyn Parallel,
        input: &[T],
        output: &mut [T],
        argmax: Option<&mut [u8]>,
        pool: impl Fn(&PoolingShape, &[T], &mut [T], Option<&mut [u8]>) + Sync,
    ) {
        let [input_plane, output_plane] = self.plane_elements();
        let (output, argmax) = (Parts::new(output), argmax.map(Parts::new));
        self.for_each_output_band(parallel, |band| {
            let turned = |count: usize| count * band.planes.len();
            SCRATCH.with_borrow_mut(|(inputs, outputs, positions)| {
                let x = inputs.take::<T>(turned(band.input.len()));
                let y = outputs.take::<T>(turned(band.output.len()));
                turn(isa, input, input_plane, &band.planes, &band.input, x);
                let Some(argmax) = &argmax else {
                    pool(&band.image, x, y, None);
                    return turn_back(isa, y, &output, output_plane, &band.planes, &band.output);
                };
                positions.resize(turned(band.output.len()), 0);
                pool(&band.image, x, y, Some(positions));
                turn_back(isa, y, &output, output_plane, &band.planes, &band.output);
                for (lane, plane) in band.planes.clone().enumerate() {
                    let start = plane * output_plane + band.output.start;
                    // SAFETY: bands of outputs do not overlap, and each is computed once.
                    let to = unsafe { argmax.range(start, band.output.len()) };
                    let from = positions[lane..].iter().step_by(band.planes.len());
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            });
        });
    }

    /// Computes `pool(image, positions, output gradient, input gradient)` band by band; without
    /// positions there are none.
    pub(super) fn gradient<T: Float>(
        &self,
        isa: Isa,
        parallel: &dyn Parallel,
        argmax: Option<&[u8]>,
        output_gradient: &[T],
        input_gradient: &mut [T],
        pool: impl Fn(&PoolingShape, &[u8], &[T], &mut [T]) + Sync,
    ) {
        let [input_plane, output_plane] = self.plane_elements();
        let input_gradient = Parts::new(input_gradient);
        // A window's maximum is where it is; its average is one of all elements.
        self.for_each_input_band(parallel, argmax.is_none(), |band| {
            let lanes = band.planes.len();
            SCRATCH.with_borrow_mut(|(inputs, outputs, positions)| {
                let dx = inputs.take::<T>(band.input.len() * lanes);
                let dy = outputs.take::<T>(band.output.len() * lanes);
                if band.output.is_empty() {
                    dx.fill(T::ZERO);
                } else {
                    turn(isa, output_gradient, output_plane, &band.planes, &band.output, dy);
                    if let Some(argmax) = argmax {
                        positions.resize(dy.len(), 0);
                        for (lane, plane) in band.planes.clone().enumerate() {
                            let from = &argmax[plane * output_plane..][band.output.clone()];
                            let to = positions[lane..].iter_mut().step_by(lanes);
                            to.zip(from).for_each(|(to, from)| *to = *from);
                        }
                    }
                    pool(&band.image, positions, dy, dx);
                }
                let skipped = (band.own.start - band.input.start) * lanes;
                let own = &dx[skipped..][..band.own.len() * lanes];
                turn_back(isa, own, &input_gradient, input_plane, &band.planes, &band.own);
            });
        });
    }
}

/// Writes these elements of these planes with the planes' elements next to one another.
fn turn<T: Float>(
    isa: Isa,
    from: &[T],
    plane_elements: usize,
    planes: &Range<usize>,
    elements: &Range<usize>,
    to: &mut [T],
) {
    let from = &from[planes.start * plane_elements + elements.start..];
    let from = Matrix::new(from, planes.len(), elements.len(), plane_elements, 1);
    transpose(isa, from, planes.len(), to);
}

/// The reverse of [`turn`], for elements that nobody else writes.
fn turn_back<T: Float>(
    isa: Isa,
    from: &[T],
    to: &Parts<T>,
    plane_elements: usize,
    planes: &Range<usize>,
    elements: &Range<usize>,
) {
    let from = Matrix::row_major(from, elements.len(), planes.len());
    let (rows, columns) = ((planes.start, planes.len()), (elements.start, elements.len()));
    // SAFETY: bands do not overlap in what they write, and each is computed once.
    let mut to = unsafe { Block::new(to, plane_elements, rows, columns) };
    transpose_to(isa, from, &mut to);
}
