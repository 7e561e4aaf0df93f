//! Matrices with strides over slices.

use crate::Element;

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
