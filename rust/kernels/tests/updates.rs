//! Optimizer updates, copies between layouts and random numbers.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::guard::{on_both_sides, place_by};
use common::{Numbers, on_every_isa};
use flowrs_kernels::optimizer::{adam, momentum, sgd};
use flowrs_kernels::permute::{copy_strided, transpose};
use flowrs_kernels::random::{philox, uniform_f32};
use flowrs_kernels::{Isa, Serial, for_each_chunk, naive};
use proptest::prelude::*;

fn assert_close(got: &[f32], want: &[f64]) {
    for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(error <= 4e-7 * want.abs().max(1.0), "element {index}: {got} instead of {want}");
    }
}

#[test]
fn updates_follow_their_formulas() {
    on_both_sides(|| check_updates(40_003));
    on_both_sides(|| check_updates(13));
}

fn check_updates(count: usize) {
    let mut numbers = Numbers::new(11);
    let (w, v, g) = (numbers.f32s(count), numbers.f32s(count), numbers.f32s(count));
    let squares: Vec<f32> = v.iter().map(|v| v * v).collect();
    let f = f64::from;
    let each = |rule: &dyn Fn(f64, f64, f64, f64) -> f64| -> Vec<f64> {
        (0..count).map(|i| rule(f(w[i]), f(v[i]), f(squares[i]), f(g[i]))).collect()
    };
    on_every_isa(
        |isa, parallel| {
            let mut w = w.clone();
            sgd(isa, parallel, 0.1, 0.5, 0.01, &mut w, &g);
            w
        },
        |_, got| assert_close(&got, &each(&|w, _, _, g| w - 0.1 * (0.5 * g + 0.01 * w))),
    );
    on_every_isa(
        |isa, parallel| {
            let (mut w, mut v) = (w.clone(), v.clone());
            momentum(isa, parallel, 0.1, 0.5, 0.01, 0.9, &mut w, &mut v, &g);
            (w, v)
        },
        |_, (got_w, got_v)| {
            let rule = |v: f64, g: f64| 0.9 * v - 0.1 * 0.5 * g;
            assert_close(&got_v, &each(&|_, v, _, g| rule(v, g)));
            assert_close(&got_w, &each(&|w, v, _, g| w + rule(v, g) - 0.1 * 0.01 * w));
        },
    );
    on_every_isa(
        |isa, parallel| {
            let (mut w, mut m, mut v) = (w.clone(), v.clone(), squares.clone());
            adam(isa, parallel, 0.1, 0.5, 0.01, 0.9, 0.99, 1e-3, &mut w, &mut m, &mut v, &g);
            (w, (m, v))
        },
        |_, (got_w, (got_m, got_v))| {
            let m = |m: f64, g: f64| 0.9 * m + 0.1 * (0.5 * g);
            let v = |v: f64, g: f64| 0.99 * v + 0.01 * (0.25 * g * g);
            assert_close(&got_m, &each(&|_, old, _, g| m(old, g)));
            assert_close(&got_v, &each(&|_, _, old, g| v(old, g)));
            let update = |w: f64, first: f64, second: f64, g: f64| {
                w - 0.1 * (m(first, g) / (v(second, g).sqrt() + 1e-3) + 0.01 * w)
            };
            assert_close(&got_w, &each(&update));
        },
    );
}

fn shape_and_permutation() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    let size = prop_oneof![4 => 1usize..5, 4 => 5usize..40, 1 => Just(0usize), 1 => 100usize..300];
    prop::collection::vec(size, 0..5)
        .prop_filter("small enough", |shape| shape.iter().product::<usize>() < 100_000)
        .prop_flat_map(|shape| {
            let axes: Vec<usize> = (0..shape.len()).collect();
            (Just(shape), Just(axes).prop_shuffle())
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn transpositions_agree_with_the_naive_one(
        (shape, permutation) in shape_and_permutation(), seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let total: usize = shape.iter().product();
        let input: Vec<i32> = (0..total as i32).collect();
        let mut want = vec![0; total];
        naive::transpose(&shape, &permutation, &input, &mut want);
        on_every_isa(
            |_, parallel| {
                let mut got = vec![-1; total];
                transpose(parallel, &shape, &permutation, &input, &mut got);
                got
            },
            |_, got| assert_eq!(got, want),
        );
    }

    #[test]
    fn strided_copies_touch_what_they_should(
        (shape, order) in shape_and_permutation(), gap in 1usize..4, broadcast in any::<[bool; 5]>(),
        seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        // Output axes nest in a random order with gaps; some input axes are repeated.
        let mut output_strides = vec![0; shape.len()];
        let mut reach = gap;
        for &axis in &order {
            output_strides[axis] = reach;
            reach *= shape[axis].max(1) + gap - 1;
        }
        let mut input_strides = vec![0; shape.len()];
        let mut length = 1;
        for axis in (0..shape.len()).rev().filter(|&axis| !broadcast[axis]) {
            input_strides[axis] = length;
            length *= shape[axis].max(1);
        }
        prop_assume!(reach < 1_000_000);
        let input: Vec<i64> = (1..=length as i64).collect();
        let mut want = vec![0; reach + 1];
        let total: usize = shape.iter().product();
        for mut linear in 0..total {
            let (mut from, mut to) = (0, 0);
            for axis in (0..shape.len()).rev() {
                from += linear % shape[axis] * input_strides[axis];
                to += linear % shape[axis] * output_strides[axis];
                linear /= shape[axis];
            }
            want[to] = input[from];
        }
        on_every_isa(
            |_, parallel| {
                let mut got = vec![0; reach + 1];
                copy_strided(parallel, &shape, &input, &input_strides, &mut got, &output_strides);
                got
            },
            |_, got| assert_eq!(got, want),
        );
    }
}

#[test]
#[should_panic(expected = "the output's elements may overlap")]
fn copies_refuse_outputs_that_overlap() {
    copy_strided(&Serial, &[3, 3], &[1; 9], &[3, 1], &mut [0; 9], &[1, 1]);
}

/// The known answers that come with Random123 for philox4x32 with ten rounds.
#[test]
fn philox_gives_the_published_answers() {
    for (counter, key, want) in [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ] {
        assert_eq!(philox(counter, key), want);
    }
}

#[test]
fn an_element_depends_on_its_position_alone() {
    let (key, stream) = ([1, 2], 3);
    let count = 100_000;
    let start = u64::from(u32::MAX) * 4 - 5000;
    let mut want = Vec::new();
    on_every_isa(
        |isa, parallel| {
            let mut output = vec![-1f32; count];
            uniform_f32(isa, parallel, key, stream, start, &mut output);
            output
        },
        |isa, output| {
            if want.is_empty() {
                want = output;
            } else {
                assert_eq!(output, want, "{isa:?}");
            }
        },
    );
    for (first, length) in [(0, 1), (1, 2), (3, 9), (50_001, 777), (99_997, 3)] {
        let mut part = vec![-1f32; length];
        uniform_f32(Isa::detect(), &Serial, key, stream, start + first as u64, &mut part);
        assert_eq!(part, want[first..first + length]);
    }
    assert!(want.iter().all(|x| (0.0..1.0).contains(x)));
    let mean = want.iter().sum::<f32>() / count as f32;
    assert!((mean - 0.5).abs() < 0.005, "mean {mean}");
    let mut other = vec![0f32; 100];
    uniform_f32(Isa::detect(), &Serial, key, stream + 1, start, &mut other);
    assert_ne!(other, want[..100]);
}

#[test]
fn chunks_cover_a_slice_once() {
    on_every_isa(
        |_, parallel| {
            let mut output = vec![0i32; 1003];
            for_each_chunk(parallel, &mut output, 10, &|index, chunk| {
                let base = 10 * index as i32;
                chunk.iter_mut().zip(base..).for_each(|(x, value)| *x += value + 1);
            });
            output
        },
        |_, output| assert!(output.iter().copied().eq(1..=1003)),
    );
}

#[test]
fn instruction_sets_have_names() {
    let available = Isa::available();
    assert!(available.is_sorted() && available.last() == Some(&Isa::detect()));
    for isa in available {
        assert_eq!(Isa::parse(isa.name()), Ok(isa));
    }
    let error = Isa::parse("sse9").unwrap_err();
    assert!(error.contains("\"sse9\"") && error.contains("portable"), "{error}");
}
