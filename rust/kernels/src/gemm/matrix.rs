//! Matrices with strides over slices.

use crate::Element;
use crate::parallel::Parts;

/// A matrix over a slice; element (i, j) lies at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T: Element> Matrix<'a, T> {
    /// A matrix with the given strides.
    ///
    /// # Panics
    /// If an element would lie outside `data`.
    pub fn new(
        data: &'a [T],
        rows: usize,
        columns: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Self {
        check(data.len(), rows, columns, row_stride, column_stride);
        Matrix { data, rows, columns, row_stride, column_stride }
    }

    /// A matrix whose rows follow one another without gaps.
    ///
    /// # Panics
    /// If `data` is shorter than `rows * columns`.
    pub fn row_major(data: &'a [T], rows: usize, columns: usize) -> Self {
        Matrix::new(data, rows, columns, columns, 1)
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Matrix {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// The part of `rows` x `columns` elements that begins at (`row`, `column`).
    pub(crate) fn block(self, row: usize, rows: usize, column: usize, columns: usize) -> Self {
        assert!(row + rows <= self.rows && column + columns <= self.columns);
        let start = row * self.row_stride + column * self.column_stride;
        let data = self.data.get(start..).unwrap_or(&[]);
        Matrix {
            data,
            rows,
            columns,
            row_stride: self.row_stride,
            column_stride: self.column_stride,
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The distance from an element to the one below it.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// The distance from an element to the one to its right.
    pub fn column_stride(&self) -> usize {
        self.column_stride
    }

    /// The slice that holds the elements.
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// Element (`row`, `column`).
    ///
    /// # Panics
    /// If it lies outside the data.
    pub fn get(&self, row: usize, column: usize) -> T {
        self.data[row * self.row_stride + column * self.column_stride]
    }
}

/// A matrix over a mutable slice.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T: Element> MatrixMut<'a, T> {
    /// A matrix with the given strides.
    ///
    /// # Panics
    /// If an element would lie outside `data`.
    pub fn new(
        data: &'a mut [T],
        rows: usize,
        columns: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Self {
        check(data.len(), rows, columns, row_stride, column_stride);
        MatrixMut { data, rows, columns, row_stride, column_stride }
    }

    /// A matrix whose rows follow one another without gaps.
    ///
    /// # Panics
    /// If `data` is shorter than `rows * columns`.
    pub fn row_major(data: &'a mut [T], rows: usize, columns: usize) -> Self {
        MatrixMut::new(data, rows, columns, columns, 1)
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The distance from an element to the one below it.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// The distance from an element to the one to its right.
    pub fn column_stride(&self) -> usize {
        self.column_stride
    }

    /// The slice that holds the elements.
    pub fn data(&mut self) -> &mut [T] {
        self.data
    }

    /// Element (`row`, `column`).
    ///
    /// # Panics
    /// If it lies outside the data.
    pub fn get(&self, row: usize, column: usize) -> T {
        self.data[row * self.row_stride + column * self.column_stride]
    }

    /// Sets element (`row`, `column`).
    ///
    /// # Panics
    /// If it lies outside the data.
    pub fn set(&mut self, row: usize, column: usize, value: T) {
        self.data[row * self.row_stride + column * self.column_stride] = value;
    }
}

/// Panics if a matrix of this size and these strides reaches beyond `length` elements.
fn check(length: usize, rows: usize, columns: usize, row_stride: usize, column_stride: usize) {
    let last = |size: usize, stride: usize| (size - 1).checked_mul(stride);
    let fits = rows == 0
        || columns == 0
        || last(rows, row_stride)
            .zip(last(columns, column_stride))
            .and_then(|(row, column)| row.checked_add(column))
            .is_some_and(|last| last < length);
    assert!(
        fits,
        "a {rows} x {columns} matrix with strides {row_stride} and {column_stride} reaches beyond \
         its {length} elements"
    );
}

/// A block of a row-major matrix that one task may write.
pub(crate) struct Block<'a, T> {
    parts: &'a Parts<'a, T>,
    start: usize,
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a, T> Block<'a, T> {
    /// # Safety
    /// No two blocks that are alive at the same time overlap.
    pub(crate) unsafe fn new(
        parts: &'a Parts<'a, T>,
        row_stride: usize,
        (row, rows): (usize, usize),
        (column, columns): (usize, usize),
    ) -> Self {
        Block { parts, start: row * row_stride + column, rows, columns, row_stride }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn row_stride(&self) -> usize {
        self.row_stride
    }

    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row beyond the block");
        // SAFETY: rows of a block do not overlap, `&mut self` allows one at a time, and `new`
        // promises that no other block overlaps this one.
        unsafe { self.parts.range(self.start + row * self.row_stride, self.columns) }
    }

    /// The first element; the whole block can be read and written from there.
    pub(crate) fn pointer(&mut self) -> *mut T {
        if self.rows > 0 {
            self.row(self.rows - 1);
        }
        self.parts.pointer().wrapping_add(self.start)
    }
}
