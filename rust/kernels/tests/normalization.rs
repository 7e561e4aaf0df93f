//! Moments, normalisations and their gradients against the naive ones, in float64.

mod common;

use common::guard::place_by;
use common::{Bits, Numbers, on_every_isa};
use flowrs_kernels::normalization::{
    Affine, batch_norm, batch_norm_gradient, layer_norm, layer_norm_gradient,
    layer_norm_parameter_gradient, moments, naive, scratch_elements,
};
use flowrs_kernels::{Element, Float};
use proptest::prelude::*;

const EPSILON: f64 = 1e-3;

/// Elements of type `T`, and the same in f64.
fn numbers<T: Float>(
    numbers: &mut Numbers,
    count: usize,
    mean: f64,
    scale: f64,
) -> (Vec<T>, Vec<f64>) {
    let narrow: Vec<T> = (0..count).map(|_| (mean + scale * numbers.next()).cast()).collect();
    let wide = narrow.iter().map(|x| x.cast()).collect();
    (narrow, wide)
}

fn unset<T: Float>(count: usize) -> Vec<T> {
    vec![f64::NAN.cast(); count]
}

/// Checks that each element is within `error` roundings of `magnitude` of the wanted one.
fn assert_close<T: Float>(what: &str, got: &[T], want: &[f64], magnitude: f64, error: f64) {
    assert_eq!(got.len(), want.len());
    let tolerance = error * magnitude * 2f64.powi(-(T::DIGITS as i32));
    for (index, (got, &want)) in got.iter().zip(want).enumerate() {
        let got: f64 = got.cast();
        let close = (got - want).abs() <= tolerance || (got.is_nan() && want.is_nan());
        assert!(close, "{what}, element {index}: {got:e} instead of {want:e} (+-{tolerance:e})");
    }
}

/// Roundings that a sum of so many terms may be off by: few, but those of the naive sum, too, where
/// that is no more precise.
fn roundings<T: Float>(terms: usize) -> f64 {
    16.0 + if T::DIGITS < 53 { 0.0 } else { terms as f64 }
}

/// The greatest absolute value, at least 1.
fn magnitude(values: &[f64]) -> f64 {
    values.iter().fold(1.0, |greatest: f64, value| greatest.max(value.abs()))
}

/// Shapes of both layouts: short and long runs, few and many channels, nothing and one of each.
fn shapes() -> impl Strategy<Value = [usize; 3]> {
    prop_oneof![
        4 => (0usize..90, 0usize..9, 0usize..60),
        2 => (1usize..6, 1usize..6, 60usize..1200),
        1 => (1usize..3, 1usize..3, 4000usize..9000),
        3 => (1usize..300, 1usize..70, Just(1usize)),
        1 => (1usize..40, 500usize..1100, 1usize..3),
        1 => (1usize..2000, Just(1usize), 1usize..4),
    ]
    .prop_map(|(outer, channels, inner)| [outer, channels, inner])
}

fn check_batch_norm<T: Float>(shape: [usize; 3], offset: f64, addend: bool, relu: bool, seed: u64)
where
    Vec<T>: Bits,
{
    let [outer, channels, inner] = shape;
    let total = outer * channels * inner;
    let source = &mut Numbers::new(seed);
    let (x, wide_x) = numbers::<T>(source, total, offset, 2.0);
    let (added, wide_added) = numbers::<T>(source, total, 0.0, 1.0);
    let (dy, wide_dy) = numbers::<T>(source, total, 0.1, 1.0);
    let (gamma, wide_gamma) = numbers::<T>(source, channels, 1.0, 0.5);
    let (beta, wide_beta) = numbers::<T>(source, channels, 0.0, 1.0);
    let length = scratch_elements(shape);

    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    naive::moments(shape, &wide_x, &mut mean, &mut variance);
    on_every_isa(
        |isa, parallel| {
            let (mut mean, mut variance) = (unset::<T>(channels), unset::<T>(channels));
            let scratch = &mut unset(length);
            moments(isa, parallel, shape, &x, &mut mean, &mut variance, scratch);
            (mean, variance)
        },
        |isa, (got_mean, got_variance)| {
            let (error, size) = (roundings::<T>(outer * inner), offset.abs() + 2.0);
            assert_close(&format!("{isa:?} mean"), &got_mean, &mean, size, error / 4.0);
            // A shifted mean is a variance too great by the square of the shift.
            assert_close(&format!("{isa:?} variance"), &got_variance, &variance, 4.0, error);
        },
    );
    if total == 0 {
        return;
    }

    // Statistics as a kernel gets them, which the naive one takes too.
    let narrow = |values: &[f64]| -> Vec<T> { values.iter().map(|x| x.cast()).collect() };
    let widen = |values: &[T]| -> Vec<f64> { values.iter().map(|x| x.cast()).collect() };
    let (mean, variance) = (narrow(&mean), narrow(&variance));
    let (wide_mean, wide_variance) = (widen(&mean), widen(&variance));
    let epsilon: T = EPSILON.cast();
    let wide_epsilon: f64 = epsilon.cast();
    let mut y = vec![0.0; total];
    naive::batch_norm(
        [channels, inner],
        &wide_x,
        [&wide_mean, &wide_variance, &wide_gamma, &wide_beta],
        wide_epsilon,
        addend.then_some(&wide_added[..]),
        relu,
        &mut y,
    );
    on_every_isa(
        |isa, parallel| {
            let (mut y, addend) = (unset::<T>(total), addend.then_some(&added[..]));
            let parameters = [&mean[..], &variance, &gamma, &beta];
            batch_norm(isa, parallel, shape, &x, parameters, epsilon, addend, relu, &mut y);
            y
        },
        |isa, got| assert_close(&format!("{isa:?} batch norm"), &got, &y, magnitude(&y), 16.0),
    );
    for fixed in [false, true] {
        let mut want = [vec![0.0; total], vec![0.0; channels], vec![0.0; channels]];
        naive::batch_norm_gradient(
            [channels, inner],
            &wide_x,
            &wide_dy,
            [&wide_mean, &wide_variance, &wide_gamma],
            wide_epsilon,
            fixed,
            want.each_mut().map(|gradient| &mut gradient[..]),
        );
        let terms = outer * inner;
        let greatest = wide_variance.iter().map(|variance| (variance + EPSILON).sqrt().recip());
        let greatest = magnitude(&greatest.collect::<Vec<_>>());
        on_every_isa(
            |isa, parallel| {
                let mut dx = unset::<T>(total);
                let (mut dgamma, mut dbeta) = (unset::<T>(channels), unset::<T>(channels));
                let statistics = [&mean[..], &variance, &gamma];
                let gradients = [&mut dx[..], &mut dgamma, &mut dbeta];
                let scratch = &mut unset(length);
                batch_norm_gradient(
                    isa, parallel, shape, &x, &dy, statistics, epsilon, fixed, gradients, scratch,
                );
                ((dx, dgamma), dbeta)
            },
            |isa, ((dx, dgamma), dbeta)| {
                let name = |what: &str| format!("{isa:?} {what}, fixed: {fixed}");
                let (error, sum) = (4.0 * roundings::<T>(terms), (terms as f64).sqrt() + 4.0);
                assert_close(&name("dx"), &dx, &want[0], greatest * 4.0, error);
                assert_close(&name("dgamma"), &dgamma, &want[1], sum * 4.0, error);
                assert_close(&name("dbeta"), &dbeta, &want[2], sum, error);
            },
        );
    }
}

fn check_layer_norm<T: Float>(
    [rows, parameters, repeat, repeats]: [usize; 4],
    rows_in_one: bool,
    offset: f64,
    seed: u64,
) where
    Vec<T>: Bits,
{
    // The pattern of the parameters may be shorter than a row, or longer.
    let total = rows * parameters * repeat * repeats;
    let (rows, row_length) = if rows_in_one {
        (rows * repeats, parameters * repeat)
    } else if parameters % 2 == 0 {
        (rows * repeats * 2, parameters / 2 * repeat)
    } else {
        (rows, parameters * repeat * repeats)
    };
    let source = &mut Numbers::new(seed);
    let (x, wide_x) = numbers::<T>(source, total, offset, 2.0);
    let (dy, wide_dy) = numbers::<T>(source, total, 0.1, 1.0);
    let (gamma, wide_gamma) = numbers::<T>(source, parameters, 1.0, 0.5);
    let (beta, wide_beta) = numbers::<T>(source, parameters, 0.0, 1.0);
    let epsilon: T = EPSILON.cast();

    let (mut y, mut mean, mut inverse) = (vec![0.0; total], vec![0.0; rows], vec![0.0; rows]);
    let affine = Affine { gamma: &wide_gamma, beta: &wide_beta, repeat };
    naive::layer_norm(row_length, &wide_x, affine, epsilon.cast(), &mut y, &mut mean, &mut inverse);
    let greatest = magnitude(&inverse) * (1.0 + offset.abs());
    on_every_isa(
        |isa, parallel| {
            let (mut y, mut mean) = (unset::<T>(total), unset::<T>(rows));
            let (mut inverse, affine) =
                (unset(rows), Affine { gamma: &gamma, beta: &beta, repeat });
            layer_norm(
                isa,
                parallel,
                row_length,
                &x,
                affine,
                epsilon,
                &mut y,
                &mut mean,
                &mut inverse,
            );
            ((y, mean), inverse)
        },
        |isa, ((got, got_mean), got_inverse)| {
            let (error, size) = (roundings::<T>(row_length), offset.abs() + 2.0);
            assert_close(&format!("{isa:?} mean"), &got_mean, &mean, size, error / 4.0);
            let scale = magnitude(&inverse).powi(3);
            assert_close(&format!("{isa:?} deviation"), &got_inverse, &inverse, scale, error);
            assert_close(&format!("{isa:?} layer norm"), &got, &y, greatest * 4.0, error);
        },
    );

    let narrow = |values: &[f64]| -> Vec<T> { values.iter().map(|x| x.cast()).collect() };
    let widen = |values: &[T]| -> Vec<f64> { values.iter().map(|x| x.cast()).collect() };
    let (mean, inverse) = (narrow(&mean), narrow(&inverse));
    let (wide_mean, wide_inverse) = (widen(&mean), widen(&inverse));
    let statistics = [&wide_mean[..], &wide_inverse];
    let mut dx = vec![0.0; total];
    naive::layer_norm_gradient(
        row_length,
        &wide_x,
        &wide_dy,
        statistics,
        &wide_gamma,
        repeat,
        &mut dx,
    );
    let (mut dgamma, mut dbeta) = (vec![0.0; parameters], vec![0.0; parameters]);
    let gradients = [&mut dgamma[..], &mut dbeta];
    naive::layer_norm_parameter_gradient(
        row_length, repeat, &wide_x, &wide_dy, statistics, gradients,
    );
    on_every_isa(
        |isa, parallel| {
            let mut dx = unset::<T>(total);
            let (mut dgamma, mut dbeta) = (unset::<T>(parameters), unset::<T>(parameters));
            let statistics = [&mean[..], &inverse];
            layer_norm_gradient(
                isa, parallel, row_length, &x, &dy, statistics, &gamma, repeat, &mut dx,
            );
            let gradients = [&mut dgamma[..], &mut dbeta];
            let shape = [total / (parameters * repeat).max(1), parameters, repeat];
            let scratch = &mut unset(scratch_elements(shape));
            layer_norm_parameter_gradient(
                isa, parallel, row_length, repeat, &x, &dy, statistics, gradients, scratch,
            );
            ((dx, dgamma), dbeta)
        },
        |isa, ((got, got_dgamma), got_dbeta)| {
            let scale = magnitude(&wide_inverse);
            let terms = total / parameters;
            let (error, sum) = (4.0 * roundings::<T>(terms), (terms as f64).sqrt() + 4.0);
            assert_close(&format!("{isa:?} dx"), &got, &dx, scale.powi(3) * 8.0, error);
            assert_close(&format!("{isa:?} dgamma"), &got_dgamma, &dgamma, scale * sum, error);
            assert_close(&format!("{isa:?} dbeta"), &got_dbeta, &dbeta, sum, error);
        },
    );
}

fn offsets() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(-3.0), Just(1e4)]
}

/// Rows, parameters, elements of each, how often that is repeated.
fn patterns() -> impl Strategy<Value = [usize; 4]> {
    prop_oneof![
        3 => (1usize..50, 1usize..200, Just(1usize), 1usize..3),
        3 => (1usize..20, 1usize..9, 1usize..90, 1usize..3),
        1 => (1usize..3, 1usize..3, 900usize..5000, 1usize..3),
    ]
    .prop_map(|(rows, parameters, repeat, repeats)| [rows, parameters, repeat, repeats])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]

    #[test]
    fn batch_norms_agree_with_the_naive_ones(
        shape in shapes(), offset in offsets(), addend in any::<bool>(), relu in any::<bool>(),
        wide in any::<bool>(), seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        match wide {
            true => check_batch_norm::<f64>(shape, offset, addend, relu, seed),
            false => check_batch_norm::<f32>(shape, offset, addend, relu, seed),
        }
    }

    #[test]
    fn layer_norms_agree_with_the_naive_ones(
        pattern in patterns(), rows_in_one in any::<bool>(), offset in offsets(),
        wide in any::<bool>(), seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        match wide {
            true => check_layer_norm::<f64>(pattern, rows_in_one, offset, seed),
            false => check_layer_norm::<f32>(pattern, rows_in_one, offset, seed),
        }
    }
}

#[test]
fn a_large_mean_costs_no_digits() {
    for shape in [[50, 2, 5000], [125_000, 4, 1], [1000, 10, 50], [1, 1, 500_000]] {
        let (x, wide) = numbers::<f32>(&mut Numbers::new(1), 500_000, 1e4, 1.0);
        let zeros = || vec![0.0; shape[1]];
        let (mut mean, mut variance) = (zeros(), zeros());
        naive::moments(shape, &wide, &mut mean, &mut variance);
        on_every_isa(
            |isa, parallel| {
                let (mut mean, mut variance) = (vec![0.0; shape[1]], vec![0.0; shape[1]]);
                let scratch = &mut vec![0.0; scratch_elements(shape)];
                moments(isa, parallel, shape, &x, &mut mean, &mut variance, scratch);
                (mean, variance)
            },
            |isa, (got_mean, got_variance)| {
                assert_close(&format!("{isa:?} {shape:?} mean"), &got_mean, &mean, 1e4, 1.0);
                let name = format!("{isa:?} {shape:?} variance");
                assert_close(&name, &got_variance, &variance, 1.0, 8.0);
            },
        );
    }
}
