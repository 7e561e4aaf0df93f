//! Reductions and argmax against the naive ones.

mod common;

use common::guard::place_by;
use common::{Bits, Numbers, on_every_isa};
use flowrs_kernels::reduce::{Reduction, argmax, reduce};
use flowrs_kernels::{Element, Isa, Serial, naive};
use proptest::prelude::*;

const ALL: [Reduction; 4] = [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Product];

fn kept(shape: &[usize], axes: &[bool]) -> usize {
    shape.iter().zip(axes).filter(|(_, reduced)| !**reduced).map(|(size, _)| size).product()
}

/// Reductions whose result does not depend on the order must be equal to the naive ones.
fn check_exact<T: Element>(reduction: Reduction, shape: &[usize], axes: &[bool], input: &[T])
where
    Vec<T>: Bits,
{
    let mut want = vec![T::default(); kept(shape, axes)];
    naive::reduce(reduction, shape, axes, input, &mut want);
    on_every_isa(
        |isa, parallel| {
            let mut got = want.clone();
            reduce(isa, parallel, reduction, shape, axes, input, &mut got);
            got
        },
        |isa, got| {
            for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                let same = got == want || (got.is_nan() && want.is_nan());
                assert!(same, "{isa:?} {reduction:?} {shape:?} {axes:?} {index}: {got:?} {want:?}");
            }
        },
    );
}

/// Sums of f32 must be close to those in f64.
fn check_sum(shape: &[usize], axes: &[bool], input: &[f32]) {
    let wide: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
    let absolute: Vec<f64> = wide.iter().map(|x| x.abs()).collect();
    let mut want = vec![0f64; kept(shape, axes)];
    let mut magnitude = want.clone();
    naive::reduce(Reduction::Sum, shape, axes, &wide, &mut want);
    naive::reduce(Reduction::Sum, shape, axes, &absolute, &mut magnitude);
    on_every_isa(
        |isa, parallel| {
            let mut got = vec![f32::NAN; want.len()];
            reduce(isa, parallel, Reduction::Sum, shape, axes, input, &mut got);
            got
        },
        |isa, got| {
            for (index, &got) in got.iter().enumerate() {
                // Not even the root of the length: the tree keeps errors to a few roundings.
                let bound = 16.0 * 2f64.powi(-24) * magnitude[index];
                let error = (f64::from(got) - want[index]).abs();
                assert!(error <= bound, "{isa:?} {shape:?} {axes:?} {index}: error {error:e}");
            }
        },
    );
}

fn shapes() -> impl Strategy<Value = (Vec<usize>, Vec<bool>)> {
    let size = prop_oneof![4 => 1usize..4, 4 => 4usize..40, 1 => Just(0usize), 1 => 100usize..600];
    prop::collection::vec((size, any::<bool>()), 0..5)
        .prop_map(|axes| axes.into_iter().unzip())
        .prop_filter("small enough", |(shape, _): &(Vec<usize>, Vec<bool>)| {
            shape.iter().product::<usize>() < 200_000
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn reductions_agree_with_the_naive_ones((shape, axes) in shapes(), seed in any::<u64>()) {
        let _placed = place_by(seed);
        let total: usize = shape.iter().product();
        let mut numbers = Numbers::new(seed);
        let mut floats = numbers.f32s(total);
        check_sum(&shape, &axes, &floats);
        let integers: Vec<i32> = floats.iter().map(|x| (x * 2e9) as i32).collect();
        let bytes: Vec<i8> = floats.iter().map(|x| (x * 127.0) as i8).collect();
        for reduction in ALL {
            check_exact(reduction, &shape, &axes, &integers);
            check_exact(reduction, &shape, &axes, &bytes);
        }
        check_exact(Reduction::Max, &shape, &axes, &floats);
        check_exact(Reduction::Min, &shape, &axes, &floats);
        if total > 0 {
            floats[total / 3] = f32::NAN;
            floats[total / 2] = f32::INFINITY;
            for reduction in [Reduction::Sum, Reduction::Max, Reduction::Min] {
                let signs: Vec<f32> = floats.iter().map(|x| x * f32::MAX.sqrt()).collect();
                if reduction != Reduction::Sum {
                    check_exact(reduction, &shape, &axes, &signs);
                }
            }
        }
    }

    #[test]
    fn argmax_agrees_with_the_naive_one(
        outer in 1usize..20, length in 1usize..50, inner in 1usize..10, seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        // Few different values, so that there are ties.
        let mut input: Vec<f64> =
            Numbers::new(seed).f64s(outer * length * inner).iter().map(|x| (x * 4.0).round()).collect();
        if seed % 2 == 0 {
            input[seed as usize % (outer * length * inner)] = f64::NAN;
        }
        if seed % 3 == 0 {
            input.iter_mut().filter(|x| **x < 0.0).for_each(|x| *x = f64::NEG_INFINITY);
        }
        let mut want = vec![0; outer * inner];
        naive::argmax(outer, length, inner, &input, &mut want);
        on_every_isa(
            |isa, parallel| {
                let mut got = vec![-1; outer * inner];
                argmax(isa, parallel, outer, length, inner, &input, &mut got);
                got
            },
            |isa, got| assert_eq!(got, want, "{isa:?}"),
        );
    }
}

#[test]
fn long_reductions_are_cut_and_stay_accurate() {
    let numbers = Numbers::new(3).f32s(3_000_000);
    check_sum(&[3_000_000], &[true], &numbers);
    check_sum(&[1_000_000, 3], &[true, false], &numbers);
    check_sum(&[3, 1_000_000], &[false, true], &numbers);
    check_sum(&[100, 10, 3000], &[true, false, true], &numbers);
    check_sum(&[1_500_000, 2], &[true, true], &numbers);
    check_sum(&[1000, 1000, 3], &[true, false, true], &numbers);
    // Ones show any element that is lost or counted twice.
    let ones = vec![1f32; 3_000_000];
    for (shape, axes, want) in [
        (&[3_000_000][..], &[true][..], 3e6),
        (&[1_000_000, 3], &[true, false], 1e6),
        (&[2, 1_500_000], &[false, true], 1.5e6),
    ] {
        let mut sums = vec![0f32; kept(shape, axes)];
        reduce(Isa::detect(), &Serial, Reduction::Sum, shape, axes, &ones, &mut sums);
        assert!(sums.iter().all(|&sum| sum == want), "{shape:?}: {sums:?}");
    }
}

#[test]
fn reductions_of_nothing_give_the_identity() {
    for (reduction, want) in ALL.into_iter().zip([0.0, f32::NEG_INFINITY, f32::INFINITY, 1.0]) {
        let mut output = [5f32; 3];
        reduce(Isa::detect(), &Serial, reduction, &[0, 3], &[true, false], &[], &mut output);
        assert_eq!(output, [want; 3]);
    }
    let mut output = [7i8];
    reduce(Isa::detect(), &Serial, Reduction::Max, &[0], &[true], &[], &mut output);
    assert_eq!(output, [i8::MIN]);
}

#[test]
fn products_of_floats_are_accurate() {
    let input: Vec<f32> = (0..1000).map(|i| 1.0 + (i % 7) as f32 * 1e-3).collect();
    let want: f64 = input.iter().map(|&x| f64::from(x)).product();
    let mut output = [0f32];
    reduce(Isa::detect(), &Serial, Reduction::Product, &[1000], &[true], &input, &mut output);
    assert!((f64::from(output[0]) / want - 1.0).abs() < 1e-5);
}
