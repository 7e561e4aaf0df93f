//! Products of float32 matrices by products of bfloat16 tiles.
//!
//! A float32 number is the sum of three bfloat16 numbers, of which each is 2^-8 of the one before or less.
//! Of the nine products of two such sums six matter, and the result is as exact as a plain sum of float32
//! products (Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For
//! Higher-Precision Computations", 2019). AMX multiplies bfloat16 numbers 16 times as fast as AVX-512
//! float32 ones.
//!
//! The operand with fewer lines (rows of the left one, columns of the right one) is packed first, for all
//! tasks; each task then packs a few panels of the other one and multiplies them with all of the first.
//! Where a panel holds numbers that cannot be split (infinite, NaN, tiny) its squares are computed by
//! the kernels for float32.

mod pack;
mod tiles;

use std::cell::RefCell;
use std::ops::Range;

use pack::{Side, pack, packed};
use tiles::{Registers, SIDE, STEP, STEP_DEPTH, Sums, kernel};

use super::blocked;
use super::epilogue::{Epilogue, finish};
use super::lanes::prefetch;
use super::matrix::{Block, Matrix, MatrixMut};
use super::pack::{Buffer, transpose};
use crate::parallel::Parts;
use crate::{Isa, Parallel, Serial};

thread_local! {
    /// Where the panels that all tasks read are packed.
    static SHARED: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
    /// Where a task packs its own panels.
    static OWN: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// The longest stretch of the depth that is packed, and summed before it is added to the result.
const DEPTH: usize = 1024;
/// Tasks that are enough for all threads.
const TASKS: usize = 16;
/// Panels of a task, at most: they are read from the second cache.
const PANELS: usize = 4;
/// How often the products of a square are interrupted to finish a part of the one before.
const INTERRUPTIONS: usize = 4;
/// Elements before a packed panel, a cache line; the first says whether its numbers could be split.
const HEADER: usize = 16;

/// `c = epilogue(alpha * a * b + beta * c)`; see [`super::gemm`], which has checked the sizes. Rows or
/// columns of both operands lie together.
pub(super) fn gemm(
    isa: Isa,
    parallel: &dyn Parallel,
    (alpha, beta): (f32, f32),
    (a, b): (Matrix<f32>, Matrix<f32>),
    mut c: MatrixMut<f32>,
    epilogue: Epilogue<f32>,
) {
    assert!(isa.has_tiles(), "the instruction set has no tiles");
    let cut = Cut::new(a, b);
    let c_row = c.row_stride();
    let c = &Parts::new(c.data());
    let blocks = cut.depth.div_ceil(DEPTH);
    SHARED.with_borrow_mut(|buffer| {
        for block in 0..blocks {
            let depth = cut.block(block, blocks);
            let beta = if block == 0 { beta } else { 1.0 };
            let epilogue = (block + 1 == blocks).then_some(epilogue);
            let shared = cut.pack_shared(parallel, &depth, buffer);
            let product =
                Product { isa, cut: &cut, depth, shared, alpha, beta, c, c_row, epilogue };
            parallel.for_each(cut.tasks * cut.shared_tasks, &|task| product.task(task));
        }
    });
}

/// Lines of one operand, as panels.
#[derive(Clone, Copy)]
struct Operand<'a> {
    lines: Matrix<'a, f32>,
    side: Side,
}

impl<'a> Operand<'a> {
    fn panels(&self) -> usize {
        self.lines.rows().div_ceil(SIDE)
    }

    /// The first line of a panel, and their number.
    #[inline(always)]
    fn lines(&self, panel: usize) -> (usize, usize) {
        (panel * SIDE, SIDE.min(self.lines.rows() - panel * SIDE))
    }

    fn stretch(&self, (first, count): (usize, usize), depth: &Range<usize>) -> Matrix<'a, f32> {
        self.lines.block(first, count, depth.start, depth.len())
    }

    /// Packs a stretch of the depth of a panel behind its header.
    fn pack(&self, panel: usize, depth: &Range<usize>, to: &mut [f32]) {
        let lines = self.stretch(self.lines(panel), depth);
        let (header, to) = to.split_at_mut(HEADER);
        // SAFETY: `gemm` has checked that the CPU has tiles, and so AVX-512.
        let is_split = unsafe { pack(lines, self.side, to) };
        header[0] = f32::from(u8::from(is_split));
    }
}

/// A product's operands, perhaps exchanged: then the transposed product is computed.
struct Cut<'a> {
    depth: usize,
    exchanged: bool,
    shared: Operand<'a>,
    own: Operand<'a>,
    /// Parts of the own panels, and of the shared ones.
    tasks: usize,
    shared_tasks: usize,
}

impl<'a> Cut<'a> {
    fn new(a: Matrix<'a, f32>, b: Matrix<'a, f32>) -> Self {
        // Lines of the left operand lie together best, those of the right one side by side; others are
        // transposed, as the result is if operands are exchanged.
        let elements = |matrix: Matrix<f32>| matrix.rows() * matrix.columns();
        let unless = |stride: usize, count: usize| if stride == 1 { 0 } else { count };
        let plain = unless(a.column_stride(), elements(a)) + unless(b.column_stride(), elements(b));
        let turned = unless(a.row_stride(), elements(a))
            + unless(b.row_stride(), elements(b))
            + a.rows() * b.columns() / 2;
        let exchanged = turned < plain;
        let (left, right) = if exchanged { (b.transposed(), a.transposed()) } else { (a, b) };
        let left = Operand { lines: left, side: Side::Left };
        let right = Operand { lines: right.transposed(), side: Side::Right };
        // Rows of the result lie together, so that its left operand is cut unless the right one is
        // much larger.
        let (own, shared) = match right.lines.rows() > 2 * left.lines.rows() {
            true => (right, left),
            false => (left, right),
        };
        let panels = own.panels();
        let tasks = panels.div_ceil((panels / TASKS).clamp(1, PANELS));
        let shared_tasks = (TASKS / 2 / tasks).clamp(1, shared.panels().div_ceil(2));
        Cut { depth: a.columns(), exchanged, shared, own, tasks, shared_tasks }
    }

    /// A stretch of the depth: nearly equal ones, of whole tiles.
    fn block(&self, block: usize, blocks: usize) -> Range<usize> {
        let boundary = |block: usize| {
            (block * self.depth / blocks).next_multiple_of(STEP_DEPTH).min(self.depth)
        };
        boundary(block)..boundary(block + 1)
    }

    /// Elements of a packed panel, with its header.
    fn panel(&self, depth: &Range<usize>) -> usize {
        HEADER + packed(depth.len())
    }

    #[inline(always)]
    fn left(&self) -> &Operand<'a> {
        self.sides(&self.own, &self.shared).0
    }

    #[inline(always)]
    fn right(&self) -> &Operand<'a> {
        self.sides(&self.own, &self.shared).1
    }

    /// What belongs to the left and to the right operand.
    #[inline(always)]
    fn sides<T>(&self, own: T, shared: T) -> (T, T) {
        match self.own.side {
            Side::Left => (own, shared),
            Side::Right => (shared, own),
        }
    }

    /// Columns of the result.
    fn columns(&self) -> usize {
        let operand = if self.exchanged { self.left() } else { self.right() };
        operand.lines.rows()
    }

    fn pack_shared<'b>(
        &self,
        parallel: &dyn Parallel,
        depth: &Range<usize>,
        buffer: &'b mut Buffer,
    ) -> &'b [f32] {
        let length = self.panel(depth);
        let packed = buffer.take(self.shared.panels() * length);
        crate::for_each_chunk(parallel, packed, length, &|panel, packed| {
            self.shared.pack(panel, depth, packed);
        });
        packed
    }
}

/// A stretch of the depth of a product that is being computed.
struct Product<'a> {
    isa: Isa,
    cut: &'a Cut<'a>,
    depth: Range<usize>,
    shared: &'a [f32],
    alpha: f32,
    beta: f32,
    c: &'a Parts<'a, f32>,
    c_row: usize,
    /// Follows the last stretch.
    epilogue: Option<Epilogue<'a, f32>>,
}

/// The square of the result that a panel of the left and one of the right operand make.
#[derive(Clone, Copy)]
struct Square {
    left: usize,
    right: usize,
}

/// Packed panels of an operand, from the first that a task needs.
struct Panels<'a> {
    first: usize,
    length: usize,
    packed: &'a [f32],
}

impl<'a> Panels<'a> {
    /// A panel's numbers, unless they could not be split.
    #[inline(always)]
    fn get(&self, panel: usize) -> Option<&'a [f32]> {
        let packed = &self.packed[(panel - self.first) * self.length..][..self.length];
        (packed[0] != 0.0).then(|| &packed[HEADER..])
    }
}

impl Product<'_> {
    fn task(&self, task: usize) {
        let cut = self.cut;
        let part = |index: usize, parts: usize, count: usize| {
            index * count / parts..(index + 1) * count / parts
        };
        let own = part(task / cut.shared_tasks, cut.tasks, cut.own.panels());
        let shared = part(task % cut.shared_tasks, cut.shared_tasks, cut.shared.panels());
        let length = cut.panel(&self.depth);
        OWN.with_borrow_mut(|buffer| {
            let packed = buffer.take(own.len() * length);
            for (index, packed) in own.clone().zip(packed.chunks_exact_mut(length)) {
                cut.own.pack(index, &self.depth, packed);
            }
            let own_panels = Panels { first: own.start, length, packed };
            let shared_panels = Panels { first: 0, length, packed: self.shared };
            let (left, right) = cut.sides(&own_panels, &shared_panels);
            let squares = shared.flat_map(|shared| own.clone().map(move |own| (own, shared)));
            self.squares(left, right, squares);
        });
    }

    /// Computes the squares of pairs of own and shared panels. What is left to do with one overlaps with
    /// the products of the next; nothing in between must wait for the sums to be stored.
    fn squares(
        &self,
        left: &Panels<'_>,
        right: &Panels<'_>,
        pairs: impl Iterator<Item = (usize, usize)>,
    ) {
        let registers = Registers::new(self.isa);
        let mut sums = Sums::new();
        let mut unfinished = None;
        for (own, shared) in pairs {
            let square = match self.cut.own.side {
                Side::Left => Square { left: own, right: shared },
                Side::Right => Square { left: shared, right: own },
            };
            if let (Some(a), Some(b)) = (left.get(square.left), right.get(square.right)) {
                self.multiply(&registers, square, (a, b), unfinished, &mut sums);
                unfinished = Some(square);
            } else {
                if let Some(square) = unfinished.take() {
                    self.finish(square, (0, 1), &mut sums);
                }
                self.multiply_unsplit(square, &mut sums.0[0]);
                self.finish(square, (0, 1), &mut sums);
            }
        }
        if let Some(square) = unfinished {
            self.finish(square, (0, 1), &mut sums);
        }
    }

    /// Computes the sums of a square of split numbers, and meanwhile finishes the one before: a part at a
    /// time, since the CPU looks a few hundred instructions ahead for more work of the tiles.
    fn multiply(
        &self,
        registers: &Registers,
        square: Square,
        (a, b): (&[f32], &[f32]),
        unfinished: Option<Square>,
        sums: &mut Sums,
    ) {
        let (rows, columns) = self.sizes(square);
        let kernel = kernel(rows, columns);
        let [(a, _), (b, _)] = [a, b].map(|panel| panel.as_chunks::<STEP>());
        let steps = a.len();
        let parts = steps.min(INTERRUPTIONS);
        registers.clear();
        for part in 0..parts {
            for index in part * steps / parts..(part + 1) * steps / parts {
                kernel(registers, &a[index], &b[index]);
            }
            self.fetch(square, (part, parts));
            if let Some(square) = unfinished {
                self.finish(square, (part, parts), sums);
            }
        }
        registers.store(&mut sums.0[0]);
    }

    /// Rows and columns of a square.
    #[inline(always)]
    fn sizes(&self, square: Square) -> (usize, usize) {
        let (left, right) = (self.cut.left(), self.cut.right());
        (left.lines(square.left).1, right.lines(square.right).1)
    }

    /// Where a square begins in the result.
    #[inline(always)]
    fn place(&self, square: Square) -> (usize, usize) {
        let (row, column) = (square.left * SIDE, square.right * SIDE);
        if self.cut.exchanged { (column, row) } else { (row, column) }
    }

    /// A part of the rows that a square, or its transposed one, is of the result, and the first of them.
    #[inline(always)]
    fn target(&self, square: Square, (part, parts): (usize, usize)) -> (usize, Block<'_, f32>) {
        let ((row, column), (rows, columns)) = (self.place(square), self.sizes(square));
        let (rows, columns) = if self.cut.exchanged { (columns, rows) } else { (rows, columns) };
        let (first, end) = (part * rows / parts, (part + 1) * rows / parts);
        let rows = (row + first, end - first);
        // SAFETY: squares do not overlap, `Parallel` runs each task once, and a task has one such block
        // at a time.
        (first, unsafe { Block::new(self.c, self.c_row, rows, (column, columns)) })
    }

    /// Asks for the lines of a part of a square of the result.
    #[inline(always)]
    fn fetch(&self, square: Square, part: (usize, usize)) {
        let (_, mut c) = self.target(square, part);
        let start = c.pointer();
        for row in 0..c.rows() {
            let line = start.wrapping_add(row * self.c_row);
            prefetch(line);
            prefetch(line.wrapping_add(HEADER));
        }
    }

    /// A square whose numbers cannot be split.
    fn multiply_unsplit(&self, square: Square, sums: &mut [f32; SIDE * SIDE]) {
        let (left, right) = (self.cut.left(), self.cut.right());
        let a = left.stretch(left.lines(square.left), &self.depth);
        let b = right.stretch(right.lines(square.right), &self.depth).transposed();
        let sums = MatrixMut::new(sums, a.rows(), b.columns(), SIDE, 1);
        blocked::gemm(self.isa, &Serial, 1.0, a, b, 0.0, sums, Epilogue::None);
    }

    /// Adds a part of a square's sums to the result, and does what follows.
    #[inline(always)]
    fn finish(&self, square: Square, part: (usize, usize), sums: &mut Sums) {
        let [sums, transposed] = &mut sums.0;
        let (first, mut c) = self.target(square, part);
        let sums = if self.cut.exchanged {
            if part.0 == 0 {
                transpose(self.isa, Matrix::row_major(sums, SIDE, SIDE), SIDE, transposed);
            }
            transposed
        } else {
            sums
        };
        add(self.isa, &sums[first * SIDE..], self.alpha, self.beta, &mut c);
        if let Some(epilogue) = self.epilogue {
            let (row, column) = self.place(square);
            finish(self.isa, &mut c, epilogue.block(row + first, column, self.cut.columns()));
        }
    }
}

per_isa! {
    /// `c = alpha * sums + beta * c` for rows of sums of a square; with a `beta` of 0 `c` is not read.
    fn add<I>(sums: &[f32], alpha: f32, beta: f32, c: &mut Block<f32>) {
        if beta == 0.0 {
            combine(sums, c, |sum, _| alpha * sum);
        } else {
            combine(sums, c, |sum, c| alpha * sum + beta * c);
        }
    }
}

#[inline(always)]
fn combine(sums: &[f32], c: &mut Block<f32>, f: impl Fn(f32, f32) -> f32) {
    for row in 0..c.rows() {
        let sums = &sums[row * SIDE..][..SIDE];
        let c = c.row(row);
        match <&mut [f32; SIDE]>::try_from(&mut *c) {
            Ok(c) => {
                let old = *c;
                *c = std::array::from_fn(|i| f(sums[i], old[i]));
            }
            Err(_) => c.iter_mut().zip(sums).for_each(|(c, &sum)| *c = f(sum, *c)),
        }
    }
}
