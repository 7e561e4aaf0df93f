//! Rows and elements named by indices: reading them, and adding or writing to them.
//!
//! Every function looks at all indices first and gives an [`IndexError`] for the first one that is
//! out of range, before it writes anything. Where several entries name the same place, they are
//! taken in their order, so that sums do not depend on threads.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::parallel::Parts;
use crate::{Element, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 16 * 1024;
/// Columns per task where rows cannot be split.
const COLUMNS: usize = 256;

/// An index that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexError {
    /// Position among the indices.
    pub position: usize,
    /// The index itself.
    pub index: i64,
    /// How many there are: 0 to `limit - 1` were possible.
    pub limit: usize,
}

/// Entries, each of which names a row.
pub trait RowIndex: Sync {
    /// Number of entries.
    fn entries(&self) -> usize;
    /// Number of rows that can be named.
    fn rows(&self) -> usize;
    /// The row that an entry names.
    fn row(&self, entry: usize) -> Result<usize, IndexError>;
    /// Do all these entries name rows?
    fn are_valid(&self, mut entries: Range<usize>) -> bool {
        entries.all(|entry| self.row(entry).is_ok())
    }
}

fn in_range<L: Element>(indices: &[L], position: usize, limit: usize) -> Result<usize, IndexError> {
    let index: i64 = indices[position].cast();
    match usize::try_from(index) {
        Ok(row) if row < limit => Ok(row),
        _ => Err(IndexError { position, index, limit }),
    }
}

/// One index for each entry.
#[derive(Clone, Copy, Debug)]
pub struct Single<'a, L> {
    /// The indices, of an integer type.
    pub indices: &'a [L],
    /// Number of rows.
    pub limit: usize,
}

impl<L: Element> RowIndex for Single<'_, L> {
    fn entries(&self) -> usize {
        self.indices.len()
    }

    fn rows(&self) -> usize {
        self.limit
    }

    #[inline(always)]
    fn row(&self, entry: usize) -> Result<usize, IndexError> {
        in_range(self.indices, entry, self.limit)
    }

    fn are_valid(&self, entries: Range<usize>) -> bool {
        // To the end even after a bad one: that takes vectors.
        let in_range = |index: &L| (index.cast::<i64>() as u64) < self.limit as u64;
        self.indices[entries].iter().fold(true, |all, index| all & in_range(index))
    }
}

/// One index into each of the leading dimensions for each entry.
#[derive(Clone, Copy, Debug)]
pub struct Tuples<'a, L> {
    /// The indices, entry by entry, of an integer type.
    pub indices: &'a [L],
    /// Sizes of the dimensions indexed.
    pub limits: &'a [usize],
    /// Number of entries (there may be no dimension to index).
    pub entries: usize,
}

impl<L: Element> RowIndex for Tuples<'_, L> {
    fn entries(&self) -> usize {
        self.entries
    }

    fn rows(&self) -> usize {
        self.limits.iter().product()
    }

    #[inline(always)]
    fn row(&self, entry: usize) -> Result<usize, IndexError> {
        let first = entry * self.limits.len();
        let mut row = 0;
        for (place, &limit) in self.limits.iter().enumerate() {
            row = row * limit + in_range(self.indices, first + place, limit)?;
        }
        Ok(row)
    }
}

/// Looks at all entries; the error is that of the first bad one.
fn check<R: RowIndex>(parallel: &dyn Parallel, index: &R) -> Result<(), IndexError> {
    let first_bad = AtomicUsize::new(usize::MAX);
    let entries = index.entries();
    parallel.for_each(entries.div_ceil(WORK), &|task| {
        let range = task * WORK..entries.min((task + 1) * WORK);
        if !index.are_valid(range.clone())
            && let Some(entry) = { range }.find(|&entry| index.row(entry).is_err())
        {
            first_bad.fetch_min(entry, Ordering::Relaxed);
        }
    });
    match first_bad.into_inner() {
        usize::MAX => Ok(()),
        entry => index.row(entry).map(|_| ()),
    }
}

/// How the arrays of [`gather`] and [`scatter`] are laid out: `(batch, outer, rows, inner)` and
/// `(batch, outer, entries / batch, inner)`. Each batch has its own entries.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Groups with entries of their own.
    pub batch: usize,
    /// Repetitions that share a batch's entries.
    pub outer: usize,
    /// Elements of a row.
    pub inner: usize,
}

impl Layout {
    /// Entries of one batch, after the sizes are checked.
    fn entries<R: RowIndex>(self, index: &R, table: usize, picked: usize) -> usize {
        let entries = index.entries().checked_div(self.batch).unwrap_or(0);
        assert_eq!(entries * self.batch, index.entries(), "batches must have as many entries each");
        let planes = self.batch * self.outer * self.inner;
        assert_eq!(table, planes * index.rows(), "the table has another size");
        assert_eq!(picked, planes * entries, "the rows picked have another size");
        entries
    }
}

/// Copies the rows that the entries name: `output[b, o, k] = input[b, o, row(b, k)]`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gather<T: Element, R: RowIndex>(
    parallel: &dyn Parallel,
    layout: Layout,
    index: &R,
    input: &[T],
    output: &mut [T],
) -> Result<(), IndexError> {
    let entries = layout.entries(index, input.len(), output.len());
    check(parallel, index)?;
    let inner = layout.inner;
    if output.is_empty() {
        return Ok(());
    }
    let table = index.rows() * inner;
    let rows_per_task = WORK / inner + 1;
    for_each_chunk(parallel, output, rows_per_task * inner, &|task, mut chunk| {
        let mut at = task * rows_per_task;
        while !chunk.is_empty() {
            let (plane, first) = (at / entries, at % entries);
            let count = (entries - first).min(chunk.len() / inner);
            let (now, later) = chunk.split_at_mut(count * inner);
            let input = &input[plane * table..][..table];
            let entry = plane / layout.outer * entries + first;
            gather_plane(index, entry, inner, input, now);
            (chunk, at) = (later, at + count);
        }
    });
    Ok(())
}

fn gather_plane<T: Element, R: RowIndex>(
    index: &R,
    first: usize,
    inner: usize,
    input: &[T],
    output: &mut [T],
) {
    // All entries were checked before: none is left out here.
    if inner == 1 {
        for (number, target) in output.iter_mut().enumerate() {
            if let Ok(row) = index.row(first + number) {
                *target = input[row];
            }
        }
        return;
    }
    for (number, target) in output.chunks_exact_mut(inner).enumerate() {
        if let Ok(row) = index.row(first + number) {
            target.copy_from_slice(&input[row * inner..(row + 1) * inner]);
        }
    }
}

/// What [`scatter`] finds in its output.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, T> {
    /// Nothing: it begins with zeros.
    Zero,
    /// Nothing: it begins with a copy of this array.
    Copy(&'a [T]),
    /// The array itself.
    Keep,
}

/// What happens to a row that an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The entry's row is added.
    Add,
    /// The entry's row replaces it; the last one stays.
    Set,
}

/// Writes rows to where the entries say: `output[b, o, row(b, k)] += updates[b, o, k]`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn scatter<T: Element, R: RowIndex>(
    parallel: &dyn Parallel,
    layout: Layout,
    index: &R,
    write: Write,
    start: Start<'_, T>,
    updates: &[T],
    output: &mut [T],
) -> Result<(), IndexError> {
    let entries = layout.entries(index, output.len(), updates.len());
    if let Start::Copy(base) = start {
        assert_eq!(base.len(), output.len(), "the array to begin with has another size");
    }
    check(parallel, index)?;
    if output.is_empty() {
        return Ok(());
    }
    let (inner, rows) = (layout.inner, index.rows());
    // A task owns some rows and looks at all entries; more tasks pay only while looking at an entry
    // is cheap against the work on rows.
    let work = (rows + entries) * inner;
    let most = work / (4 * entries).max(1);
    let tasks = work.div_ceil(WORK).clamp(1, most.max(1)).min(rows);
    let rows_per_task = rows.div_ceil(tasks);
    let tasks = rows.div_ceil(rows_per_task);
    let parts = Parts::new(output);
    parallel.for_each(layout.batch * layout.outer * tasks, &|task| {
        let (plane, first) = (task / tasks, task % tasks * rows_per_task);
        let count = rows_per_task.min(rows - first);
        let begin = (plane * rows + first) * inner;
        // SAFETY: each task has its own plane or its own rows of a plane.
        let target = unsafe { parts.range(begin, count * inner) };
        match start {
            Start::Zero => target.fill(T::ZERO),
            Start::Copy(base) => target.copy_from_slice(&base[begin..begin + count * inner]),
            Start::Keep => {}
        }
        let updates = &updates[plane * entries * inner..][..entries * inner];
        for (number, update) in updates.chunks_exact(inner).enumerate() {
            let row = index.row(plane / layout.outer * entries + number);
            let Some(row) = row.ok().and_then(|row| row.checked_sub(first)) else { continue };
            if row < count {
                write_row(write, update, &mut target[row * inner..(row + 1) * inner]);
            }
        }
    });
    Ok(())
}

#[inline(always)]
fn write_row<T: Element>(write: Write, update: &[T], target: &mut [T]) {
    match write {
        Write::Set => target.copy_from_slice(update),
        Write::Add => {
            for (target, &update) in target.iter_mut().zip(update) {
                *target = target.plus(update);
            }
        }
    }
}

/// The sizes of [`gather_elements`] and [`scatter_add_elements`]: arrays `(outer, length, inner)`
/// and, of the indices, `(outer, count, inner)`.
#[derive(Clone, Copy, Debug)]
pub struct Elements {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Size of the axis in the array that is indexed.
    pub length: usize,
    /// Size of the axis in the indices.
    pub count: usize,
    /// Product of the dimensions behind the axis.
    pub inner: usize,
}

impl Elements {
    fn check<L: Element>(
        self,
        parallel: &dyn Parallel,
        indices: &[L],
        table: usize,
        picked: usize,
    ) -> Result<(), IndexError> {
        assert_eq!(table, self.outer * self.length * self.inner, "the table has another size");
        assert_eq!(picked, self.outer * self.count * self.inner, "what is picked has another size");
        assert_eq!(indices.len(), picked, "there must be one index for each element");
        check(parallel, &Single { indices, limit: self.length })
    }
}

/// Picks elements along an axis: `output[o, k, i] = input[o, indices[o, k, i], i]`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gather_elements<T: Element, L: Element>(
    parallel: &dyn Parallel,
    sizes: Elements,
    indices: &[L],
    input: &[T],
    output: &mut [T],
) -> Result<(), IndexError> {
    sizes.check(parallel, indices, input.len(), output.len())?;
    let Elements { length, count, inner, .. } = sizes;
    if output.is_empty() {
        return Ok(());
    }
    let rows_per_task = WORK / inner + 1;
    for_each_chunk(parallel, output, rows_per_task * inner, &|task, chunk| {
        let first = task * rows_per_task;
        for (number, target) in chunk.chunks_exact_mut(inner).enumerate() {
            let row = first + number;
            let plane = &input[row / count * length * inner..][..length * inner];
            for (column, target) in target.iter_mut().enumerate() {
                if let Ok(at) = in_range(indices, row * inner + column, length) {
                    *target = plane[at * inner + column];
                }
            }
        }
    });
    Ok(())
}

/// Adds elements along an axis: `output[o, indices[o, k, i], i] += updates[o, k, i]`, from zero on.
///
/// # Panics
/// If the sizes do not fit together.
pub fn scatter_add_elements<T: Element, L: Element>(
    parallel: &dyn Parallel,
    sizes: Elements,
    indices: &[L],
    updates: &[T],
    output: &mut [T],
) -> Result<(), IndexError> {
    sizes.check(parallel, indices, output.len(), updates.len())?;
    let Elements { outer, length, count, inner } = sizes;
    let blocks = inner.div_ceil(COLUMNS);
    let parts = Parts::new(output);
    parallel.for_each(outer * blocks, &|task| {
        let (plane, first) = (task / blocks, task % blocks * COLUMNS);
        let columns = first..inner.min(first + COLUMNS);
        for row in 0..length {
            let begin = (plane * length + row) * inner + first;
            // SAFETY: each task has its own plane or its own columns of a plane, and keeps no range.
            unsafe { parts.range(begin, columns.len()) }.fill(T::ZERO);
        }
        for row in plane * count..(plane + 1) * count {
            for column in columns.clone() {
                let from = row * inner + column;
                if let Ok(at) = in_range(indices, from, length) {
                    // SAFETY: as above.
                    let to = unsafe { parts.range((plane * length + at) * inner + column, 1) };
                    to[0] = to[0].plus(updates[from]);
                }
            }
        }
    });
    Ok(())
}

/// `on` where the depth's position is the index, else `off`: `output[o, d, i]` from `indices[o, i]`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn one_hot<T: Element, L: Element>(
    parallel: &dyn Parallel,
    depth: usize,
    inner: usize,
    on: T,
    off: T,
    indices: &[L],
    output: &mut [T],
) -> Result<(), IndexError> {
    assert_eq!(output.len(), indices.len() * depth, "the output has another size");
    check(parallel, &Single { indices, limit: depth })?;
    if output.is_empty() {
        return Ok(());
    }
    let plane = depth * inner;
    let planes_per_task = WORK / plane + 1;
    for_each_chunk(parallel, output, planes_per_task * plane, &|task, chunk| {
        for (number, target) in chunk.chunks_exact_mut(plane).enumerate() {
            target.fill(off);
            let first = (task * planes_per_task + number) * inner;
            for column in 0..inner {
                if let Ok(at) = in_range(indices, first + column, depth) {
                    target[at * inner + column] = on;
                }
            }
        }
    });
    Ok(())
}
