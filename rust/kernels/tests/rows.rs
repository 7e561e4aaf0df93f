//! Softmax, losses and their gradients against the naive ones, in float64.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::guard::place_by;
use common::{Numbers, on_every_isa};
use flowrs_kernels::loss::{
    LabelError, softmax_cross_entropy, softmax_cross_entropy_gradient,
    sparse_softmax_cross_entropy, sparse_softmax_cross_entropy_gradient,
};
use flowrs_kernels::softmax::{log_softmax, log_softmax_gradient, softmax, softmax_gradient};
use flowrs_kernels::{Isa, Parallel, Serial, naive};
use proptest::prelude::*;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// A kernel with all but its output given.
type Kernel<'a> = &'a dyn Fn(Isa, &dyn Parallel, &mut [f32]);

/// Checks that each element is within `tolerance` of the wanted one, relative to it or to 1.
fn assert_close(what: &str, isa: Isa, got: &[f32], want: &[f64], tolerance: f64) {
    for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs();
        let close = error <= tolerance * want.abs().max(1.0)
            || (got.is_nan() && want.is_nan())
            || f64::from(got) == want;
        assert!(close, "{isa:?} {what}, element {index}: {got:e} instead of {want:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn softmax_and_gradients_agree_with_the_naive_ones(
        (outer, inner) in prop_oneof![
            (0usize..200, Just(1usize)), (0usize..20, 1usize..9), (0usize..4, 60usize..140),
        ],
        depth in prop_oneof![1usize..20, 1usize..200],
        scale in prop_oneof![Just(1.0f32), Just(1e4), Just(1e-3)], seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let total = outer * depth * inner;
        let mut numbers = Numbers::new(seed);
        let x: Vec<f32> = numbers.f32s(total).iter().map(|x| x * scale).collect();
        let dy = numbers.f32s(total);
        let mut y = vec![0f64; total];
        let mut log_y = y.clone();
        naive::softmax(outer, depth, inner, &wide(&x), &mut y);
        naive::log_softmax(outer, depth, inner, &wide(&x), &mut log_y);
        let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|&x| x as f32).collect() };
        let (y32, log_y32) = (narrow(&y), narrow(&log_y));
        let mut dx = vec![0f64; total];
        let mut log_dx = dx.clone();
        naive::softmax_gradient(outer, depth, inner, &wide(&y32), &wide(&dy), &mut dx);
        naive::log_softmax_gradient(outer, depth, inner, &wide(&log_y32), &wide(&dy), &mut log_dx);

        let run = |kernel: Kernel| {
            let mut results = Vec::new();
            on_every_isa(
                |isa, parallel| {
                    let mut output = vec![f32::NAN; total];
                    kernel(isa, parallel, &mut output);
                    output
                },
                |isa, output| results.push((isa, output)),
            );
            results
        };
        for (isa, got) in run(&|isa, p, out| softmax(isa, p, outer, depth, inner, &x, out)) {
            assert_close("softmax", isa, &got, &y, 1e-6);
        }
        for (isa, got) in run(&|isa, p, out| log_softmax(isa, p, outer, depth, inner, &x, out)) {
            assert_close("log_softmax", isa, &got, &log_y, 1e-6);
        }
        for (isa, got) in
            run(&|isa, p, out| softmax_gradient(isa, p, outer, depth, inner, &y32, &dy, out))
        {
            assert_close("softmax_gradient", isa, &got, &dx, 1e-6);
        }
        for (isa, got) in
            run(&|isa, p, out| log_softmax_gradient(isa, p, outer, depth, inner, &log_y32, &dy, out))
        {
            assert_close("log_softmax_gradient", isa, &got, &log_dx, 4e-6);
        }
    }

    #[test]
    fn losses_agree_with_the_naive_ones(
        rows in 0usize..150, depth in 1usize..70,
        scale in prop_oneof![Just(1.0f32), Just(30.0), Just(1e4)], seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let total = rows * depth;
        let mut numbers = Numbers::new(seed);
        let logits: Vec<f32> = numbers.f32s(total).iter().map(|x| x * scale).collect();
        let dy = numbers.f32s(rows);
        let labels: Vec<i32> =
            (0..rows).map(|_| (numbers.next().abs() * depth as f64) as i32).collect();
        let mut one_hot = vec![0f64; total];
        for (row, &label) in labels.iter().enumerate() {
            one_hot[row * depth + label as usize] = 1.0;
        }
        let soft = numbers.f32s(total);
        for (sparse, targets) in [(true, one_hot.clone()), (false, wide(&soft))] {
            let (mut loss, mut probability) = (vec![0f64; rows], vec![0f64; total]);
            naive::softmax_cross_entropy(
                depth, &wide(&logits), &targets, &mut loss, &mut probability,
            );
            let p32: Vec<f32> = probability.iter().map(|&x| x as f32).collect();
            let gradient: Vec<f64> = (0..total)
                .map(|i| f64::from(dy[i / depth]) * (f64::from(p32[i]) - targets[i]))
                .collect();
            on_every_isa(
                |isa, parallel| {
                    let (mut loss, mut p) = (vec![f32::NAN; rows], vec![f32::NAN; total]);
                    if sparse {
                        sparse_softmax_cross_entropy(
                            isa, parallel, depth, &logits, &labels, None, &mut loss, &mut p,
                        )
                        .unwrap();
                    } else {
                        softmax_cross_entropy(
                            isa, parallel, depth, &logits, &soft, &mut loss, &mut p,
                        );
                    }
                    (loss, p)
                },
                |isa, (got, p)| {
                    // The terms of a soft loss may cancel.
                    let tolerance = if sparse { 1e-6 } else { 2e-6 * 46.0 * depth as f64 };
                    assert_close("loss", isa, &got, &loss, tolerance);
                    assert_close("probability", isa, &p, &probability, 1e-6);
                },
            );
            on_every_isa(
                |isa, parallel| {
                    let mut dx = vec![f32::NAN; total];
                    if sparse {
                        sparse_softmax_cross_entropy_gradient(
                            isa, parallel, depth, &p32, &labels, &dy, &mut dx,
                        );
                    } else {
                        softmax_cross_entropy_gradient(
                            isa, parallel, depth, &p32, &soft, &dy, &mut dx,
                        );
                    }
                    dx
                },
                |isa, got| assert_close("gradient", isa, &got, &gradient, 2e-7),
            );
            if sparse {
                on_every_isa(
                    |isa, parallel| in_one_pass(isa, parallel, depth, &logits, &labels),
                    |isa, got| {
                        assert_eq!(got, in_two_passes(isa, depth, &logits, &labels));
                        assert_eq!(got, row_by_row(isa, depth, &logits, &labels));
                    },
                );
            }
        }
    }
}

/// The gradient of each loss, where losses and gradients are computed in one pass or in two.
const DY: f32 = 0.3;

fn in_one_pass(
    isa: Isa,
    parallel: &dyn Parallel,
    depth: usize,
    logits: &[f32],
    labels: &[i32],
) -> (Vec<f32>, Vec<f32>) {
    let (mut loss, mut dx) = (vec![f32::NAN; labels.len()], vec![f32::NAN; logits.len()]);
    let dy = Some(DY);
    sparse_softmax_cross_entropy(isa, parallel, depth, logits, labels, dy, &mut loss, &mut dx)
        .expect("all labels are classes");
    (loss, dx)
}

fn in_two_passes(isa: Isa, depth: usize, logits: &[f32], labels: &[i32]) -> (Vec<f32>, Vec<f32>) {
    let (mut loss, mut p) = (vec![f32::NAN; labels.len()], vec![f32::NAN; logits.len()]);
    sparse_softmax_cross_entropy(isa, &Serial, depth, logits, labels, None, &mut loss, &mut p)
        .expect("all labels are classes");
    let (dy, mut dx) = (vec![DY; labels.len()], vec![f32::NAN; logits.len()]);
    sparse_softmax_cross_entropy_gradient(isa, &Serial, depth, &p, labels, &dy, &mut dx);
    (loss, dx)
}

fn row_by_row(isa: Isa, depth: usize, logits: &[f32], labels: &[i32]) -> (Vec<f32>, Vec<f32>) {
    let rows = logits.chunks(depth).zip(labels.chunks(1));
    let rows = rows.map(|(logits, label)| in_one_pass(isa, &Serial, depth, logits, label));
    let (losses, dx): (Vec<_>, Vec<_>) = rows.unzip();
    (losses.concat(), dx.concat())
}

#[test]
fn softmax_of_extreme_rows() {
    let x = [
        [1e4f32, -1e4, 0.0],
        [f32::NEG_INFINITY, 0.0, 0.0],
        [f32::INFINITY, 0.0, f32::NEG_INFINITY],
        [f32::INFINITY, f32::INFINITY, 0.0],
        [f32::NAN, 0.0, 0.0],
        [0.0, f32::NAN, f32::INFINITY],
    ];
    // Alone, and so many times that rows are computed together.
    for times in [1, 20] {
        let rows = x.len() * times;
        on_every_isa(
            |isa, parallel| {
                let x = x.as_flattened().repeat(times);
                let (mut y, mut log_y) = (vec![0f32; rows * 3], vec![0f32; rows * 3]);
                softmax(isa, parallel, rows, 3, 1, &x, &mut y);
                log_softmax(isa, parallel, rows, 3, 1, &x, &mut log_y);
                (y, log_y)
            },
            |isa, (y, log_y)| {
                let certain = [1.0f32, 0.0, 0.0];
                for (y, log_y) in y.chunks(18).zip(log_y.chunks(18)) {
                    assert_eq!(y[..6], [1.0, 0.0, 0.0, 0.0, 0.5, 0.5], "{isa:?}");
                    assert_eq!(y[6..12], [certain, [0.5, 0.5, 0.0]].concat(), "{isa:?}");
                    assert_eq!(log_y[..4], [0.0, -2e4, -1e4, f32::NEG_INFINITY], "{isa:?}");
                    assert_eq!(log_y[6..9], certain.map(f32::ln), "{isa:?}");
                    let none = y[12..].iter().chain(&log_y[12..]);
                    assert!(none.clone().all(|y| y.is_nan()), "{isa:?}: {y:?}");
                }
            },
        );
    }
}

#[test]
fn masked_elements_share_alike_where_all_are() {
    for depth in [1usize, 5, 64, 65, 100, 130] {
        for rows in [1usize, 9] {
            let x = vec![f32::NEG_INFINITY; rows * depth];
            on_every_isa(
                |isa, parallel| {
                    let mut y = vec![0f32; x.len()];
                    softmax(isa, parallel, rows, depth, 1, &x, &mut y);
                    y
                },
                |isa, y| assert_eq!(y, vec![1.0 / depth as f32; y.len()], "{isa:?}"),
            );
        }
    }
}

/// Over the whole range of the exponentials: down to where they are denormal, and 0.
#[test]
fn small_shares_are_exact_to_their_last_places() {
    let below = (0..8192).map(|i| -(i as f32) / 75.0);
    let x: Vec<f32> = below.flat_map(|x| [0.0, x]).collect();
    on_every_isa(
        |isa, parallel| {
            let mut y = vec![0f32; x.len()];
            softmax(isa, parallel, x.len() / 2, 2, 1, &x, &mut y);
            y
        },
        |isa, y| {
            for (x, y) in x.chunks(2).zip(y.chunks(2)) {
                let e = f64::from(x[1]).exp();
                let (want, got) = (e / (1.0 + e), f64::from(y[1]));
                let unit = f64::from(want as f32 * f32::EPSILON).max(f64::powi(2.0, -149));
                assert!((got - want).abs() <= 3.5 * unit, "{isa:?} {x:?}: {got:e}, not {want:e}");
            }
        },
    );
}

/// Over the whole range of the exponentials, and as many rows as are computed one by one or together.
#[test]
fn float64_rows_agree_with_the_naive_ones() {
    let shapes = [(5, 10, 1), (9, 10, 1), (10, 10, 1), (70, 10, 1), (8, 3, 1), (3, 100, 1)];
    for (outer, depth, inner) in shapes.into_iter().chain([(2, 12, 70), (2, 90, 3)]) {
        let total = outer * depth * inner;
        let mut numbers = Numbers::new(1);
        let (mut x, dy) = (wide(&numbers.f32s(total)), wide(&numbers.f32s(total)));
        // Powers of e down to denormals, and none.
        x.iter_mut().step_by(3).for_each(|x| *x *= 370.0);
        x[1] = f64::NEG_INFINITY;
        let (mut y, mut dx) = (vec![0f64; total], vec![0f64; total]);
        naive::softmax(outer, depth, inner, &x, &mut y);
        naive::softmax_gradient(outer, depth, inner, &y, &dy, &mut dx);
        on_every_isa(
            |isa, parallel| {
                let (mut got, mut gradient) = (vec![0f64; total], vec![0f64; total]);
                softmax(isa, parallel, outer, depth, inner, &x, &mut got);
                softmax_gradient(isa, parallel, outer, depth, inner, &y, &dy, &mut gradient);
                (got, gradient)
            },
            |isa, (got, gradient)| {
                for (got, want) in got.iter().zip(&y) {
                    // What is subtracted is rounded, and exponents of 700 make 350 times as much of it.
                    let bound = 1e-13 * want + 4.0 * 5e-324;
                    assert!((got - want).abs() <= bound, "{isa:?}: {got:e} instead of {want:e}");
                }
                for (got, want) in gradient.iter().zip(&dx) {
                    assert!((got - want).abs() <= 1e-14, "{isa:?}: {got:e} instead of {want:e}");
                }
                let rows = if inner == 1 { outer } else { 0 };
                for (x, y) in x.chunks(depth).zip(got.chunks(depth)).take(rows) {
                    let mut alone = vec![0f64; depth];
                    softmax(isa, &Serial, 1, depth, 1, x, &mut alone);
                    assert_eq!(alone, y, "{isa:?}: a row alone has other bits");
                }
            },
        );
    }
}

#[test]
fn a_loss_is_bounded_by_the_smallest_probability() {
    let (mut loss, mut p) = ([0f32], [0f32; 2]);
    sparse_softmax_cross_entropy(
        Isa::detect(),
        &Serial,
        2,
        &[1e4f32, -1e4],
        &[1i64],
        None,
        &mut loss,
        &mut p,
    )
    .unwrap();
    assert_eq!(p, [1.0, 0.0]);
    assert!((loss[0] - 46.051_7).abs() < 1e-4);
}

#[test]
fn a_loss_of_infinite_logits_is_the_limit() {
    let logits = [f32::INFINITY, 0.0, f32::INFINITY, 0.0];
    on_every_isa(
        |isa, parallel| {
            let (mut loss, mut p) = ([0f32; 2], [0f32; 4]);
            let (labels, mut dense) = ([0i64, 1], [0f32; 2]);
            sparse_softmax_cross_entropy(
                isa, parallel, 2, &logits, &labels, None, &mut loss, &mut p,
            )
            .unwrap();
            let hot = [1.0, 0.0, 0.0, 1.0];
            softmax_cross_entropy(isa, parallel, 2, &logits, &hot, &mut dense, &mut p);
            ([loss, dense].concat(), p.to_vec())
        },
        |isa, (losses, p)| {
            let floor = -1e-20f32.ln();
            for loss in losses.chunks(2) {
                assert!(loss[0] == 0.0 && (loss[1] - floor).abs() < 1e-4, "{isa:?}: {loss:?}");
            }
            assert_eq!(p[..], [1.0, 0.0, 1.0, 0.0], "{isa:?}");
        },
    );
}

#[test]
fn a_label_out_of_range_changes_nothing() {
    let logits = [0f32; 9];
    for (labels, index, label) in [([0i8, 3, 1], 1, 3), ([0, 1, -1], 2, -1)] {
        let (mut loss, mut p) = ([7f32; 3], [7f32; 9]);
        let error = sparse_softmax_cross_entropy(
            Isa::detect(),
            &Serial,
            3,
            &logits,
            &labels,
            None,
            &mut loss,
            &mut p,
        )
        .unwrap_err();
        assert_eq!(error, LabelError { index, label, depth: 3 });
        let message = format!("label {label} at position {index} is outside [0, 3)");
        assert_eq!(error.to_string(), message);
        assert_eq!((loss, p), ([7.0; 3], [7.0; 9]));
    }
}
