//! Matrix products against the naive one, in float64.

mod common;

use common::guard::{on_both_sides, place_by};
use common::{Numbers, on_every_isa};
use flowrs_kernels::gemm::{Epilogue, GemmAlgorithm, Matrix, MatrixMut, gemm};
use flowrs_kernels::{Element, Float, Isa, Serial, naive};
use proptest::prelude::*;

/// A product of a random shape and layout.
#[derive(Clone, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    a_layout: Layout,
    b_layout: Layout,
    /// Elements between the rows of the result.
    gap: usize,
    alpha: f64,
    beta: f64,
    epilogue: u8,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    RowMajor,
    Transposed,
    /// Every second element of every row, rows with gaps.
    Spread,
}

impl Layout {
    /// Row stride, column stride and length, which ends with the last element.
    fn strides(self, rows: usize, columns: usize) -> (usize, usize, usize) {
        let (row, column) = match self {
            Layout::RowMajor => (columns, 1),
            Layout::Transposed => (1, rows),
            Layout::Spread => (2 * columns + 3, 2),
        };
        let last = rows.checked_sub(1).zip(columns.checked_sub(1));
        (row, column, last.map_or(0, |(i, j)| i * row + j * column + 1))
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let size = || prop_oneof![1usize..8, 8usize..40, 40usize..140];
    let layout =
        || prop_oneof![Just(Layout::RowMajor), Just(Layout::Transposed), Just(Layout::Spread)];
    let depth = prop_oneof![Just(0usize), 1usize..20, 20usize..300, 1000usize..1200];
    (
        (size(), size(), depth),
        (layout(), layout(), 0usize..3),
        (prop_oneof![Just(1.0), Just(-0.3)], prop_oneof![Just(0.0), Just(1.0), Just(0.7)]),
        (0u8..5, any::<u64>()),
    )
        .prop_map(|((m, n, k), (a_layout, b_layout, gap), (alpha, beta), (epilogue, seed))| {
            Case { m, n, k, a_layout, b_layout, gap, alpha, beta, epilogue, seed }
        })
}

/// Runs the case in `T` by `algorithm` and compares with the naive product in float64.
fn check<T: Float>(case: &Case, algorithm: GemmAlgorithm)
where
    Vec<T>: common::Bits,
{
    let Case { m, n, k, .. } = *case;
    let mut numbers = Numbers::new(case.seed);
    let mut fill = |count: usize| -> Vec<T> { (0..count).map(|_| numbers.next().cast()).collect() };
    let (a_row, a_column, a_length) = case.a_layout.strides(m, k);
    let (b_row, b_column, b_length) = case.b_layout.strides(k, n);
    let (a, b, c) = (fill(a_length), fill(b_length), fill(m * (n + case.gap) - case.gap));
    let (bias, reference) = (fill(n), fill(m * n));
    let wide = |values: &[T]| -> Vec<f64> { values.iter().map(|x| x.cast()).collect() };

    let (wide_a, wide_b, mut want) = (wide(&a), wide(&b), wide(&c));
    let (wide_bias, wide_reference) = (wide(&bias), wide(&reference));
    let alpha: T = case.alpha.cast();
    let beta: T = case.beta.cast();
    naive::gemm(
        alpha.cast::<f64>(),
        Matrix::new(&wide_a, m, k, a_row, a_column),
        Matrix::new(&wide_b, k, n, b_row, b_column),
        beta.cast::<f64>(),
        MatrixMut::new(&mut want, m, n, n + case.gap, 1),
        epilogue(case.epilogue, &wide_bias, &wide_reference),
    );

    on_every_isa(
        |isa, parallel| {
            let mut got = c.clone();
            if case.beta == 0.0 {
                // Old content must not matter, but for the gaps between rows.
                for row in got.chunks_mut(n + case.gap) {
                    row[..n].fill(f64::NAN.cast());
                }
            }
            gemm(
                isa,
                parallel,
                algorithm,
                alpha,
                Matrix::new(&a, m, k, a_row, a_column),
                Matrix::new(&b, k, n, b_row, b_column),
                beta,
                MatrixMut::new(&mut got, m, n, n + case.gap, 1),
                epilogue(case.epilogue, &bias, &reference),
            );
            got
        },
        |isa, got| {
            let unit = 2f64.powi(-(T::DIGITS as i32));
            for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                // All factors are below 1, so the sum of absolute products is below k.
                let magnitude = k as f64 / 4.0 + 2.0;
                let bound = 4.0 * (k as f64).sqrt().max(1.0) * unit * magnitude;
                let got: f64 = got.cast();
                assert!(
                    (got - want).abs() <= bound,
                    "{isa:?} {algorithm:?}, element {index}: {got} instead of {want}"
                );
            }
        },
    );
}

const ALGORITHMS: [GemmAlgorithm; 2] = [GemmAlgorithm::MatrixMultiply, GemmAlgorithm::Blocked];

fn epilogue<'a, T>(which: u8, bias: &'a [T], reference: &'a [T]) -> Epilogue<'a, T> {
    match which {
        0 => Epilogue::None,
        1 => Epilogue::Bias { bias, relu: false },
        2 => Epilogue::Bias { bias, relu: true },
        3 => Epilogue::Relu,
        _ => Epilogue::ReluMask { reference },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn f32_products_are_within_the_bound(case in cases()) {
        let _placed = place_by(case.seed);
        for algorithm in ALGORITHMS {
            check::<f32>(&case, algorithm);
        }
    }

    #[test]
    fn f64_products_are_within_the_bound(case in cases()) {
        let _placed = place_by(case.seed);
        for algorithm in ALGORITHMS {
            check::<f64>(&case, algorithm);
        }
    }
}

#[test]
fn the_shapes_of_training_are_within_the_bound() {
    let shapes = [
        (100, 512, 784, Layout::RowMajor, Layout::Transposed),
        (512, 784, 100, Layout::Transposed, Layout::RowMajor),
        (300, 500, 64, Layout::Transposed, Layout::RowMajor),
        (300, 1023, 200, Layout::Transposed, Layout::RowMajor),
        (100, 10, 512, Layout::RowMajor, Layout::Transposed),
        (1, 512, 784, Layout::RowMajor, Layout::Transposed),
        (300, 1, 2500, Layout::RowMajor, Layout::RowMajor),
        (300, 1, 2500, Layout::Transposed, Layout::RowMajor),
        (1, 300, 2500, Layout::RowMajor, Layout::RowMajor),
        (130, 70, 2048, Layout::RowMajor, Layout::RowMajor),
        // Rows that would drive one another out of the cache are copied apart.
        (37, 200, 1024, Layout::RowMajor, Layout::Transposed),
        (37, 200, 2048, Layout::RowMajor, Layout::RowMajor),
        // Depths just below and above the longest that is summed at once.
        (30, 70, 799, Layout::RowMajor, Layout::Transposed),
        (30, 70, 800, Layout::RowMajor, Layout::Transposed),
    ];
    for (number, (m, n, k, a_layout, b_layout)) in shapes.into_iter().enumerate() {
        let (gap, alpha, beta, epilogue, seed) = (0, 0.5, 1.0, [0, 2, 4][number % 3], 7);
        let case = Case { m, n, k, a_layout, b_layout, gap, alpha, beta, epilogue, seed };
        on_both_sides(|| {
            for algorithm in ALGORITHMS {
                check::<f32>(&case, algorithm);
            }
        });
    }
}

/// Such products are computed as their transposed ones where the rows fill vectors.
#[test]
fn products_of_small_batches_are_within_the_bound() {
    for (number, (m, n, k)) in
        [(16, 513, 600), (32, 300, 900), (32, 4230, 130), (8, 600, 513), (12, 600, 513)]
            .into_iter()
            .enumerate()
    {
        let (a_layout, b_layout) =
            ([Layout::RowMajor, Layout::Spread][number % 2], Layout::Transposed);
        for (beta, epilogue) in [(0.0, 0), (0.0, 2), (0.0, 4), (0.7, 1)] {
            let (gap, alpha, seed) = (number % 3, 0.5, number as u64);
            let case = Case { m, n, k, a_layout, b_layout, gap, alpha, beta, epilogue, seed };
            on_both_sides(|| {
                check::<f32>(&case, GemmAlgorithm::Blocked);
                check::<f64>(&case, GemmAlgorithm::Blocked);
            });
        }
    }
}

#[test]
fn infinities_and_nan_reach_the_result() {
    for algorithm in ALGORITHMS {
        on_every_isa(
            |isa, parallel| {
                let mut c = vec![0f32; 4];
                let a = [f32::INFINITY, 1.0, f32::NAN, 1.0];
                let b = [1.0, 2.0, 3.0, 4.0];
                let (a, b) = (Matrix::row_major(&a, 2, 2), Matrix::row_major(&b, 2, 2));
                let target = MatrixMut::row_major(&mut c, 2, 2);
                gemm(isa, parallel, algorithm, 1.0, a, b, 0.0, target, Epilogue::Relu);
                c
            },
            |isa, c| {
                assert_eq!(c[..2], [f32::INFINITY; 2], "{isa:?}");
                assert!(c[2].is_nan() && c[3].is_nan(), "{isa:?}");
            },
        );
    }
}

/// `a * b` in row-major matrices.
fn product(isa: Isa, algorithm: GemmAlgorithm, (m, k, n): Sizes, a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    let (a, b) = (Matrix::row_major(a, m, k), Matrix::row_major(b, k, n));
    let target = MatrixMut::row_major(&mut c, m, n);
    gemm(isa, &Serial, algorithm, 1.0, a, b, 0.0, target, Epilogue::None);
    c
}

type Sizes = (usize, usize, usize);

#[test]
fn every_algorithm_keeps_its_error_ratio() {
    // Numbers of both signs, and such as follow a relu.
    for (k, positive) in [64, 100, 256, 784, 3136].into_iter().flat_map(|k| [(k, false), (k, true)])
    {
        let (m, n) = (70, 90);
        let mut numbers = Numbers::new(k as u64);
        // Sums of uniform numbers have the long tails of those that training meets.
        let mut sum = || (0..4).map(|_| numbers.next()).sum::<f64>() as f32;
        let a: Vec<f32> = (0..m * k).map(|_| sum()).collect();
        let a: Vec<f32> = if positive { a.iter().map(|x| x.max(0.0)).collect() } else { a };
        let b: Vec<f32> = (0..k * n).map(|_| sum()).collect();
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&x| f64::from(x)).collect() };
        let (wide_a, wide_b, mut exact) = (wide(&a), wide(&b), vec![0.0; m * n]);
        let (x, y) = (Matrix::row_major(&wide_a, m, k), Matrix::row_major(&wide_b, k, n));
        naive::gemm(1.0, x, y, 0.0, MatrixMut::row_major(&mut exact, m, n), Epilogue::None);
        let mut plain = vec![0.0; m * n];
        let (x, y) = (Matrix::row_major(&a, m, k), Matrix::row_major(&b, k, n));
        naive::gemm(1.0, x, y, 0.0, MatrixMut::row_major(&mut plain, m, n), Epilogue::None);
        let largest = |got: &[f32]| {
            let errors = got.iter().zip(&exact).map(|(got, exact)| (f64::from(*got) - exact).abs());
            errors.fold(0.0, f64::max)
        };
        for isa in Isa::available() {
            for algorithm in ALGORITHMS {
                let ratio = largest(&product(isa, algorithm, (m, k, n), &a, &b)) / largest(&plain);
                assert!(
                    ratio <= GemmAlgorithm::ERROR_RATIO,
                    "{isa:?} {algorithm:?}, depth {k}: {ratio} times the error of a plain sum"
                );
            }
        }
    }
}

#[test]
fn extreme_numbers_give_the_plain_sum() {
    let (m, k, n) = (70, 150, 80);
    let mut numbers = Numbers::new(3);
    let (a, b) = (numbers.f32s(m * k), numbers.f32s(k * n));
    // What an element of each operand is made, or all of one.
    let one = |values: &[f32], special: f32| -> Vec<f32> {
        let mut values = values.to_vec();
        let middle = values.len() / 2;
        values[middle] = special;
        values
    };
    let all =
        |values: &[f32], factor: f32| -> Vec<f32> { values.iter().map(|x| x * factor).collect() };
    let special = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE, 1e-42];
    let mut cases: Vec<(Vec<f32>, Vec<f32>)> = vec![(vec![0.0; m * k], b.clone())];
    cases.extend(special.iter().map(|&special| (one(&a, special), b.clone())));
    cases.extend(special.iter().map(|&special| (a.clone(), one(&b, special))));
    cases.extend([1e-30, 1e-36, 1e20].map(|factor| (all(&a, factor), b.clone())));
    cases.extend([1e-30, 1e-36, 1e20].map(|factor| (a.clone(), all(&b, factor))));
    for (number, (a, b)) in cases.iter().enumerate() {
        let mut want = vec![0.0; m * n];
        let (x, y) = (Matrix::row_major(a, m, k), Matrix::row_major(b, k, n));
        naive::gemm(1.0, x, y, 0.0, MatrixMut::row_major(&mut want, m, n), Epilogue::None);
        // An element's products, without their signs.
        let magnitude = |index: usize| -> f64 {
            let (row, column) = (index / n, index % n);
            let product =
                |step: usize| f64::from(a[row * k + step]) * f64::from(b[step * n + column]);
            (0..k).map(|step| product(step).abs()).sum()
        };
        for isa in Isa::available() {
            for algorithm in ALGORITHMS {
                let got = product(isa, algorithm, (m, k, n), a, b);
                for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                    let (error, magnitude) = (f64::from(got - want).abs(), magnitude(index));
                    let same = got == want || got.is_nan() && want.is_nan();
                    assert!(
                        same || magnitude.is_finite() && error <= 1e-6 * magnitude,
                        "{isa:?} {algorithm:?}, case {number}: {got} instead of {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_empty_product_leaves_nothing_to_do() {
    let a = Matrix::row_major(&[0f32; 0], 0, 5);
    let b = [1f32; 15];
    let mut c = [0f32; 0];
    let c = MatrixMut::row_major(&mut c, 0, 3);
    let b = Matrix::row_major(&b, 5, 3);
    gemm(Isa::detect(), &Serial, GemmAlgorithm::Blocked, 1.0, a, b, 0.0, c, Epilogue::None);
}

#[test]
#[should_panic(expected = "reaches beyond its 5 elements")]
fn a_matrix_must_lie_inside_its_slice() {
    Matrix::row_major(&[0f32; 5], 2, 3);
}

#[test]
#[should_panic(expected = "the columns of a and the rows of b differ")]
fn sizes_must_fit() {
    let (a, b, mut c) = ([0f32; 6], [0f32; 8], [0f32; 8]);
    let c = MatrixMut::row_major(&mut c, 2, 4);
    let (a, b) = (Matrix::row_major(&a, 2, 3), Matrix::row_major(&b, 2, 4));
    gemm(Isa::detect(), &Serial, GemmAlgorithm::Blocked, 1.0, a, b, 0.0, c, Epilogue::None);
}
