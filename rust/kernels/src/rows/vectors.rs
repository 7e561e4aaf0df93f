//! Rows as vectors, and what is done to all elements of each.

use crate::Float;
use crate::reduce::Combine;

/// Elements of what is a vector here: enough for a few of the CPU's.
pub(crate) const LANES: usize = 64;
/// Every so many elements of a row are combined one after another, and the results as a tree.
const GROUP: usize = 8;

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

    /// Applies `f` to what belongs to each row.
    fn map_rows<T: Float>(of_rows: &mut Vector<T>, f: impl Fn(T) -> T);

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
    fn map_rows<T: Float>(of_rows: &mut Vector<T>, f: impl Fn(T) -> T) {
        *of_rows = [f(of_rows[0]); LANES];
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

/// Each lane has a short row of its own.
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

    #[inline(always)]
    fn map_rows<T: Float>(of_rows: &mut Vector<T>, f: impl Fn(T) -> T) {
        of_rows.iter_mut().for_each(|of_row| *of_row = f(*of_row));
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
