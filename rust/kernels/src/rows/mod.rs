//! Kernels that reduce rows and map them by what they found, as softmax and the losses do.
//!
//! Such a kernel is written once, for vectors: those of one long row, or those of some short rows
//! abreast, each in a lane of its own.

mod vectors;

use std::ops::Range;

use crate::gemm::transpose_square;
use crate::isa::Instructions;
use crate::parallel::Parts;
use crate::{Float, Isa, Parallel};

pub(crate) use vectors::{
    Abreast, Along, LANES, Vector, Vectors, VectorsMut, Way, map, map_in_place, shared,
};

/// The longest rows that are computed abreast. One alone would leave lanes empty, and each of its
/// steps waits for the last.
const SHORT: usize = 64;
/// From so many on, short rows take less time abreast; those of float64, whose vectors hold few, if there
/// are as many as a row has elements, too.
const SOME: usize = 8;
/// Side of the squares in which short rows are turned.
const SIDE: usize = 16;
/// Elements of a task at most; where there are fewer in all, into how many tasks they are cut, and
/// how many a task has at least: their exponentials take a microsecond.
const WORK: usize = 8 * 1024;
const TASKS: usize = 16;
const LEAST_WORK: usize = 512;

/// What is computed of rows with `N` inputs.
pub(crate) trait Kernel<T: Float, const N: usize>: Sync {
    /// What the ends of the inputs' rows are filled up with, to whole vectors.
    const PADDING: [T; N];

    /// Computes one row or, abreast, some rows, whose numbers these are. Lanes that no row is in
    /// may be written.
    fn compute<I: Instructions, W: Way>(
        &self,
        rows: Range<usize>,
        depth: usize,
        inputs: [Vectors<T>; N],
        output: VectorsMut<T>,
    );
}

per_isa! {
    fn compute<I, T: Float, W: Way, K: Kernel<T, N>; const N: usize>(
        kernel: &K,
        rows: Range<usize>,
        depth: usize,
        inputs: [Vectors<T>; N],
        output: VectorsMut<T>,
    ) {
        kernel.compute::<I, W>(rows, depth, inputs, output);
    }
}

/// Runs a kernel on all rows along the middle dimension of arrays seen as `outer x depth x inner`.
/// Their numbers mean something only where `inner` is 1.
///
/// # Panics
/// If the sizes do not fit together.
pub(crate) fn for_each_row<T: Float, K: Kernel<T, N>, const N: usize>(
    isa: Isa,
    parallel: &dyn Parallel,
    [outer, depth, inner]: [usize; 3],
    inputs: [&[T]; N],
    output: &mut [T],
    kernel: &K,
) {
    for length in inputs.iter().map(|input| input.len()).chain([output.len()]) {
        assert_eq!(length, outer * depth * inner, "an array does not have the given size");
    }
    if output.is_empty() {
        return;
    }
    let some = if size_of::<T>() > 4 { SOME.max(depth) } else { SOME };
    let abreast = depth <= SHORT && outer * inner >= some;
    // A unit has rows that are computed together.
    let spread = Spread::new([outer, depth, inner]);
    let (units, unit_rows) = match (inner, abreast) {
        (1, false) => (outer, 1),
        (1, true) => (outer.div_ceil(LANES), LANES),
        _ => (spread.units(), LANES),
    };
    let work = (output.len() / TASKS).clamp(LEAST_WORK, WORK);
    let units_per_task = (work / (depth * unit_rows)).max(1);
    let output = &Parts::new(output);
    parallel.for_each(units.div_ceil(units_per_task), &|task| {
        let units = task * units_per_task..units.min((task + 1) * units_per_task);
        match (inner, abreast) {
            (1, false) => single_rows(isa, units, depth, inputs, output, kernel),
            (1, true) => {
                let rows = units.start * LANES..outer.min(units.end * LANES);
                short_rows(isa, rows, depth, inputs, output, kernel);
            }
            _ => spread.compute(isa, units, inputs, output, kernel),
        }
    });
}

/// Computes rows one by one.
fn single_rows<T: Float, K: Kernel<T, N>, const N: usize>(
    isa: Isa,
    rows: Range<usize>,
    depth: usize,
    inputs: [&[T]; N],
    output: &Parts<T>,
    kernel: &K,
) {
    let mut ends = Ends::new::<K>();
    for row in rows {
        // SAFETY: rows do not overlap, and each is computed once.
        let output = unsafe { output.range(row * depth, depth) };
        let inputs = inputs.map(|input| &input[row * depth..]);
        ends.compute_row(isa, row, inputs, output, kernel);
    }
}

/// The ends of a row's arrays, filled up to whole vectors.
struct Ends<T, const N: usize> {
    inputs: [[Vector<T>; 1]; N],
    output: [Vector<T>; 1],
}

impl<T: Float, const N: usize> Ends<T, N> {
    fn new<K: Kernel<T, N>>() -> Self {
        let inputs = K::PADDING.map(|padding| [[padding; LANES]]);
        Self { inputs, output: [[T::ZERO; LANES]] }
    }

    /// Computes a row; all have the same length. The inputs may go on behind it.
    fn compute_row<K: Kernel<T, N>>(
        &mut self,
        isa: Isa,
        row: usize,
        inputs: [&[T]; N],
        output: &mut [T],
        kernel: &K,
    ) {
        let depth = output.len();
        let whole = depth - depth % LANES;
        let ends = usize::from(whole < depth);
        for (([end], padding), input) in self.inputs.iter_mut().zip(K::PADDING).zip(inputs) {
            fill_end(isa, &input[whole..], depth - whole, padding, end);
        }
        let vectors =
            std::array::from_fn(|i| [inputs[i][..whole].as_chunks().0, &self.inputs[i][..ends]]);
        let (vectors_mut, rest) = output.as_chunks_mut();
        let target = [vectors_mut, &mut self.output[..ends]];
        compute::<T, Along, K, N>(isa, kernel, row..row + 1, depth, vectors, target);
        rest.copy_from_slice(&self.output[0][..depth - whole]);
    }
}

per_isa! {
    /// Writes a row's last elements and padding behind them: in whole vectors where the array goes
    /// on, since reading what was just written in other pieces takes a while.
    fn fill_end<I, T: Float>(
        input: &[T], length: usize, padding: T, end: &mut Vector<T>,
    ) {
        match input.first_chunk::<LANES>() {
            Some(input) => {
                for (lane, (to, &from)) in end.iter_mut().zip(input).enumerate() {
                    *to = if lane < length { from } else { padding };
                }
            }
            None => end[..length].copy_from_slice(&input[..length]),
        }
    }
}

/// Computes short rows abreast.
fn short_rows<T: Float, K: Kernel<T, N>, const N: usize>(
    isa: Isa,
    rows: Range<usize>,
    depth: usize,
    inputs: [&[T]; N],
    output: &Parts<T>,
    kernel: &K,
) {
    let mut input_columns = [[[T::ZERO; LANES]; SHORT]; N];
    let mut output_columns = [[T::ZERO; LANES]; SHORT];
    for first in rows.clone().step_by(LANES) {
        let rows = first..rows.end.min(first + LANES);
        let elements = rows.start * depth..rows.end * depth;
        for (columns, input) in input_columns.iter_mut().zip(inputs) {
            turn_to_columns(isa, depth, &input[elements.clone()], columns);
        }
        // SAFETY: rows do not overlap, and each is computed once.
        let output = unsafe { output.range(elements.start, elements.len()) };
        let vectors = input_columns.each_ref().map(|columns| [&columns[..depth], &[]]);
        let target = [&mut output_columns[..depth], &mut []];
        compute::<T, Abreast, K, N>(isa, kernel, rows, depth, vectors, target);
        turn_to_rows(isa, depth, &output_columns, output);
    }
}

/// Writes the elements of up to [`LANES`] rows column by column. What lanes hold that have no row
/// is any number, and so is what columns hold from `depth` on.
fn turn_to_columns<T: Float>(isa: Isa, depth: usize, rows: &[T], columns: &mut [Vector<T>; SHORT]) {
    for lane in (0..rows.len() / depth).step_by(SIDE) {
        for column in (0..depth).step_by(SIDE) {
            let to = &mut columns[column..].as_flattened_mut()[lane..];
            let from = &rows[lane * depth + column..];
            if from.len() >= square_length(depth) {
                transpose_square::<T, SIDE>(isa, from, depth, to, LANES);
                continue;
            }
            let mut square = [[T::ZERO; SIDE]; SIDE];
            for (to, from) in square.iter_mut().zip(from.chunks(depth)) {
                let length = from.len().min(SIDE);
                to[..length].copy_from_slice(&from[..length]);
            }
            transpose_square::<T, SIDE>(isa, square.as_flattened(), SIDE, to, LANES);
        }
    }
}

/// Elements that a square spans in an array with this row length.
fn square_length(row: usize) -> usize {
    (SIDE - 1) * row + SIDE
}

/// The reverse of [`turn_to_columns`].
fn turn_to_rows<T: Float>(isa: Isa, depth: usize, columns: &[Vector<T>; SHORT], rows: &mut [T]) {
    for lane in (0..rows.len() / depth).step_by(SIDE) {
        // Squares reach into the next row's first columns, which come later.
        for column in (0..depth).step_by(SIDE).rev() {
            let from = &columns[column..].as_flattened()[lane..];
            let to = &mut rows[lane * depth + column..];
            if to.len() >= square_length(depth) {
                transpose_square::<T, SIDE>(isa, from, LANES, to, depth);
                continue;
            }
            let mut square = [[T::ZERO; SIDE]; SIDE];
            transpose_square::<T, SIDE>(isa, from, LANES, square.as_flattened_mut(), SIDE);
            for (to, from) in to.chunks_mut(depth).zip(&square) {
                let length = to.len().min(depth - column).min(SIDE);
                to[..length].copy_from_slice(&from[..length]);
            }
        }
    }
}

/// Rows whose elements lie `inner` apart. A unit has up to [`LANES`] of them: some that lie side by
/// side, or, if those are few, the ones of several steps of the outer dimension.
struct Spread {
    shape: [usize; 3],
    /// Steps of the outer dimension in a unit, and units in each of them.
    together: usize,
    blocks: usize,
}

impl Spread {
    fn new([outer, depth, inner]: [usize; 3]) -> Self {
        let (together, blocks) = ((LANES / inner).max(1), inner.div_ceil(LANES));
        Self { shape: [outer, depth, inner], together, blocks }
    }

    fn units(&self) -> usize {
        self.shape[0].div_ceil(self.together) * self.blocks
    }

    /// Rows of a unit that lie side by side: where the first begins, its lane, and their number.
    fn pieces(&self, unit: usize) -> impl Iterator<Item = (usize, usize, usize)> + Clone + use<> {
        let [outer, depth, inner] = self.shape;
        let (first, block) = (unit / self.blocks * self.together, unit % self.blocks * LANES);
        let count = LANES.min(inner - block);
        let steps = first..outer.min(first + self.together);
        steps.map(move |step| (step * depth * inner + block, (step - first) * inner, count))
    }

    fn compute<T: Float, K: Kernel<T, N>, const N: usize>(
        &self,
        isa: Isa,
        units: Range<usize>,
        inputs: [&[T]; N],
        output: &Parts<T>,
        kernel: &K,
    ) {
        match self.shape[1] {
            ..=SHORT => self.compute_abreast(isa, units, inputs, output, kernel),
            _ => self.compute_along(isa, units, inputs, output, kernel),
        }
    }

    fn compute_abreast<T: Float, K: Kernel<T, N>, const N: usize>(
        &self,
        isa: Isa,
        units: Range<usize>,
        inputs: [&[T]; N],
        output: &Parts<T>,
        kernel: &K,
    ) {
        let [_, depth, inner] = self.shape;
        let mut input_columns = [[[T::ZERO; LANES]; SHORT]; N];
        let mut output_columns = [[T::ZERO; LANES]; SHORT];
        for unit in units {
            for (start, lane, count) in self.pieces(unit) {
                for (columns, input) in input_columns.iter_mut().zip(inputs) {
                    for (index, column) in columns[..depth].iter_mut().enumerate() {
                        let from = &input[start + index * inner..][..count];
                        column[lane..lane + count].copy_from_slice(from);
                    }
                }
            }
            let vectors = input_columns.each_ref().map(|columns| [&columns[..depth], &[]]);
            let target = [&mut output_columns[..depth], &mut []];
            compute::<T, Abreast, K, N>(isa, kernel, 0..LANES, depth, vectors, target);
            for (start, lane, count) in self.pieces(unit) {
                for (index, column) in output_columns[..depth].iter().enumerate() {
                    // SAFETY: units do not overlap, and each is computed once.
                    let to = unsafe { output.range(start + index * inner, count) };
                    to.copy_from_slice(&column[lane..lane + count]);
                }
            }
        }
    }

    /// One by one, from copies without gaps.
    fn compute_along<T: Float, K: Kernel<T, N>, const N: usize>(
        &self,
        isa: Isa,
        units: Range<usize>,
        inputs: [&[T]; N],
        output: &Parts<T>,
        kernel: &K,
    ) {
        let [_, depth, inner] = self.shape;
        let mut ends = Ends::new::<K>();
        let (mut rows, mut result) = ([(); N].map(|()| vec![T::ZERO; depth]), vec![T::ZERO; depth]);
        let pieces = units.flat_map(|unit| self.pieces(unit));
        for first in pieces.flat_map(|(start, _, count)| start..start + count) {
            for (row, input) in rows.iter_mut().zip(inputs) {
                let elements = input[first..].iter().step_by(inner);
                row.iter_mut().zip(elements).for_each(|(to, &from)| *to = from);
            }
            ends.compute_row(isa, 0, rows.each_ref().map(Vec::as_slice), &mut result, kernel);
            for (column, &value) in result.iter().enumerate() {
                // SAFETY: units do not overlap, and each is computed once.
                let to = unsafe { output.range(first + column * inner, 1) };
                to[0] = value;
            }
        }
    }
}
