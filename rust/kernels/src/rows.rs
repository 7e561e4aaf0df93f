//! Kernels that reduce rows and map them by what they found, as softmax and the losses do.
//!
//! Such a kernel is written once, for vectors: those of one long row, or those of some short rows
//! abreast, each in a lane of its own.

use std::ops::Range;

use crate::gemm::transpose_square;
use crate::isa::Instructions;
use crate::parallel::Parts;
use crate::reduce::Combine;
use crate::{Float, Isa, Parallel};

/// Elements of what is a vector here: enough for a few of the CPU's.
pub(crate) const LANES: usize = 64;
/// The longest rows that are computed abreast. One alone would leave lanes empty, and each of its
/// steps waits for the last.
const SHORT: usize = 64;
/// From so many short rows on they take less time abreast.
const SOME: usize = 8;
/// Every so many elements of a row are combined one after another, and the results as a tree.
const GROUP: usize = 8;
/// Side of the squares in which short rows are turned.
const SIDE: usize = 16;
/// Elements of a task at most; where there are fewer in all, into how many tasks they are cut, and
/// how many a task has at least: their exponentials take a microsecond.
const WORK: usize = 8 * 1024;
const TASKS: usize = 16;
const LEAST_WORK: usize = 512;

/// So many elements of a row, or one of as many rows.
pub(crate) type Vector<T> = [T; LANES];

/// The vectors of a row or of rows: whole ones, and one for the end of a row that is not.
pub(crate) type Vectors<'a, T> = [&'a [Vector<T>]; 2];

/// Vectors to write.
pub(crate) type VectorsMut<'a, T> = [&'a mut [Vector<T>]; 2];

/// Vectors to read.
#[inline(always)]
pub(crate) fn shared<'a, T>([whole, end]: &'a VectorsMut<'_, T>) -> Vectors<'a, T> {
    [whole, end]
}

/// How elements lie in vectors.
pub(crate) trait Way {
    /// Combines `f(input elements, of the row)` of each row's elements, in an order that depends on
    /// its length alone. `of_rows` holds what belongs to a row in all of its lanes, and so does the
    /// result.
    fn reduce<T: Float, C: Combine, const N: usize, const M: usize>(
        inputs: [Vectors<T>; N],
        of_rows: [&Vector<T>; M],
        f: impl Fn([T; N], [T; M]) -> T,
    ) -> Vector<T>;

    /// Sets what follows the rows' ends in their last vectors to 0.
    fn clear_padding<T: Float>(depth: usize, vectors: &mut VectorsMut<T>);

    /// In which vector, and in which of its lanes, this element of a row lies.
    fn place(row: usize, column: usize) -> (usize, usize);
}

/// The vectors are those of one row.
pub(crate) struct Along;

impl Way for Along {
    #[inline(always)]
    fn reduce<T: Float, C: Combine, const N: usize, const M: usize>(
        inputs: [Vectors<T>; N],
        of_rows: [&Vector<T>; M],
        f: impl Fn([T; N], [T; M]) -> T,
    ) -> Vector<T> {
        let mut lanes = [C::identity(); LANES];
        for part in 0..2 {
            let inputs = inputs.map(|input| input[part]);
            for index in 0..inputs[0].len() {
                combine::<T, C, N, M>(&mut lanes, inputs.map(|input| &input[index]), of_rows, &f);
            }
        }
        let (groups, _) = lanes.as_chunks::<GROUP>();
        let mut sums = groups[0];
        for group in &groups[1..] {
            sums = std::array::from_fn(|lane| C::combine(sums[lane], group[lane]));
        }
        [tree::<T, C>(sums); LANES]
    }

    #[inline(always)]
    fn clear_padding<T: Float>(depth: usize, [_, end]: &mut VectorsMut<T>) {
        for end in end.iter_mut() {
            let used = depth % LANES;
            for (lane, value) in end.iter_mut().enumerate() {
                *value = if lane < used { *value } else { T::ZERO };
            }
        }
    }

    #[inline(always)]
    fn place(_: usize, column: usize) -> (usize, usize) {
        (column / LANES, column % LANES)
    }
}

/// Each lane has a row of its own, of at most [`SHORT`] elements.
pub(crate) struct Abreast;

impl Way for Abreast {
    /// In the order of [`Along`], so that a row's bits do not depend on how many there are.
    #[inline(always)]
    fn reduce<T: Float, C: Combine, const N: usize, const M: usize>(
        inputs: [Vectors<T>; N],
        of_rows: [&Vector<T>; M],
        f: impl Fn([T; N], [T; M]) -> T,
    ) -> Vector<T> {
        let inputs = inputs.map(|[columns, _]| columns);
        let mut groups = [[C::identity(); LANES]; GROUP];
        for (first, group) in groups.iter_mut().enumerate().take(inputs[0].len()) {
            for index in (first..inputs[0].len()).step_by(GROUP) {
                combine::<T, C, N, M>(group, inputs.map(|input| &input[index]), of_rows, &f);
            }
        }
        let mut half = GROUP / 2;
        while half > 0 {
            let (groups, others) = groups.split_at_mut(half);
            for (group, other) in groups.iter_mut().zip(&*others) {
                combine::<T, C, 1, 0>(group, [other], [], |[x], []| x);
            }
            half /= 2;
        }
        groups[0]
    }

    /// All vectors are whole.
    #[inline(always)]
    fn clear_padding<T: Float>(_: usize, _: &mut VectorsMut<T>) {}

    #[inline(always)]
    fn place(row: usize, column: usize) -> (usize, usize) {
        (column, row)
    }
}

/// Combines `f(input elements, of the row)` with what is in the same lanes.
#[inline(always)]
fn combine<T: Float, C: Combine, const N: usize, const M: usize>(
    lanes: &mut Vector<T>,
    inputs: [&Vector<T>; N],
    of_rows: [&Vector<T>; M],
    f: impl Fn([T; N], [T; M]) -> T,
) {
    for lane in 0..LANES {
        let value = f(inputs.map(|input| input[lane]), of_rows.map(|of_row| of_row[lane]));
        lanes[lane] = C::combine(lanes[lane], value);
    }
}

/// Combines what the elements of a row were combined to.
#[inline(always)]
fn tree<T: Float, C: Combine>([a, b, c, d, e, f, g, h]: [T; GROUP]) -> T {
    let [a, b, c, d] = [C::combine(a, e), C::combine(b, f), C::combine(c, g), C::combine(d, h)];
    C::combine(C::combine(a, c), C::combine(b, d))
}

/// Writes `f(input elements, of the row)` to each element of the output, where the second are what
/// the row's lane has in these vectors.
#[inline(always)]
pub(crate) fn map<T: Float, const N: usize, const M: usize>(
    inputs: [Vectors<T>; N],
    of_rows: [&Vector<T>; M],
    output: &mut VectorsMut<T>,
    f: impl Fn([T; N], [T; M]) -> T,
) {
    for (part, output) in output.iter_mut().enumerate() {
        for (index, output) in output.iter_mut().enumerate() {
            let inputs = inputs.map(|input| &input[part][index]);
            for lane in 0..LANES {
                output[lane] =
                    f(inputs.map(|input| input[lane]), of_rows.map(|of_row| of_row[lane]));
            }
        }
    }
}

/// Writes `f(element, of the row)` in place of each element.
#[inline(always)]
pub(crate) fn map_in_place<T: Float, const M: usize>(
    of_rows: [&Vector<T>; M],
    output: &mut VectorsMut<T>,
    f: impl Fn(T, [T; M]) -> T,
) {
    for output in output.iter_mut().flat_map(|part| part.iter_mut()) {
        for lane in 0..LANES {
            output[lane] = f(output[lane], of_rows.map(|of_row| of_row[lane]));
        }
    }
}

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
    let abreast = depth <= SHORT && outer * inner >= SOME;
    // A unit has rows that can be computed together.
    let unit_rows = if abreast && inner == 1 { LANES } else { 1 };
    let units = match inner {
        1 => outer.div_ceil(unit_rows),
        _ => outer * inner.div_ceil(LANES),
    };
    let work = (output.len() / TASKS).clamp(LEAST_WORK, WORK);
    let unit_work = depth * if inner == 1 { unit_rows } else { inner.min(LANES) };
    let units_per_task = (work / unit_work).max(1);
    let output = &Parts::new(output);
    parallel.for_each(units.div_ceil(units_per_task), &|task| {
        let units = task * units_per_task..units.min((task + 1) * units_per_task);
        match (inner, abreast) {
            (1, false) => single_rows(isa, units, depth, inputs, output, kernel),
            (1, true) => {
                let rows = units.start * LANES..outer.min(units.end * LANES);
                short_rows(isa, rows, depth, inputs, output, kernel);
            }
            _ => spread_rows(isa, units, [depth, inner], inputs, output, kernel),
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

/// Computes rows whose elements lie `inner` apart: each unit is [`LANES`] rows next to one another.
fn spread_rows<T: Float, K: Kernel<T, N>, const N: usize>(
    isa: Isa,
    units: Range<usize>,
    [depth, inner]: [usize; 2],
    inputs: [&[T]; N],
    output: &Parts<T>,
    kernel: &K,
) {
    let places = units.map(|unit| {
        let (outer, first) = (unit / inner.div_ceil(LANES), unit % inner.div_ceil(LANES) * LANES);
        (outer * depth * inner + first, LANES.min(inner - first))
    });
    let line = |at: usize, length: usize| {
        // SAFETY: units do not overlap, and each is computed once.
        unsafe { output.range(at, length) }
    };
    if depth <= SHORT {
        let mut input_columns = [[[T::ZERO; LANES]; SHORT]; N];
        let mut output_columns = [[T::ZERO; LANES]; SHORT];
        for (start, count) in places {
            let lines = (0..depth).map(|column| start + column * inner);
            for (columns, input) in input_columns.iter_mut().zip(inputs) {
                for (column, at) in columns.iter_mut().zip(lines.clone()) {
                    column[..count].copy_from_slice(&input[at..at + count]);
                }
            }
            let vectors = input_columns.each_ref().map(|columns| [&columns[..depth], &[]]);
            let target = [&mut output_columns[..depth], &mut []];
            compute::<T, Abreast, K, N>(isa, kernel, 0..count, depth, vectors, target);
            for (column, at) in output_columns.iter().zip(lines) {
                line(at, count).copy_from_slice(&column[..count]);
            }
        }
        return;
    }
    let mut ends = Ends::new::<K>();
    let (mut rows, mut result) = ([(); N].map(|()| vec![T::ZERO; depth]), vec![T::ZERO; depth]);
    for first in places.flat_map(|(start, count)| start..start + count) {
        for (row, input) in rows.iter_mut().zip(inputs) {
            let elements = input[first..].iter().step_by(inner);
            row.iter_mut().zip(elements).for_each(|(to, &from)| *to = from);
        }
        ends.compute_row(isa, 0, rows.each_ref().map(Vec::as_slice), &mut result, kernel);
        for (column, &value) in result.iter().enumerate() {
            line(first + column * inner, 1)[0] = value;
        }
    }
}
