//! Slices, borders, gathers, resampling and order against slow versions that walk over coordinates,
//! under several ways to run tasks.

mod common;

use common::guard::place_by;
use common::{Bits, Numbers, Reverse, Threads};
use flowrs_kernels::gather::{
    Elements, IndexError, Layout, Single, Start, Tuples, Write, gather, gather_elements, one_hot,
    scatter, scatter_add_elements,
};
use flowrs_kernels::pad::pad;
use flowrs_kernels::resample::{Taps, resample};
use flowrs_kernels::slice::{Window, copy_window, fill};
use flowrs_kernels::sort::{Direction, Lanes, argsort, in_top_k, sort};
use flowrs_kernels::triangle::lower_triangle;
use flowrs_kernels::{Element, Parallel, Serial};
use proptest::prelude::*;

/// Runs `kernel` under several ways to run tasks, which must give the same bits.
fn on_all<R: Bits>(kernel: impl Fn(&dyn Parallel) -> R) -> R {
    let result = kernel(&Serial);
    for parallel in [&Reverse as &dyn Parallel, &Threads(2), &Threads(5)] {
        assert_eq!(kernel(parallel).bits(), result.bits(), "the order of tasks changes the result");
    }
    result
}

/// The coordinates of every element of an array, in C order.
fn coordinates(shape: &[usize]) -> Vec<Vec<usize>> {
    let total: usize = shape.iter().product();
    let of = |mut linear: usize| {
        let mut place = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            place[axis] = linear % shape[axis];
            linear /= shape[axis];
        }
        place
    };
    (0..total).map(of).collect()
}

fn position(shape: &[usize], place: &[usize]) -> usize {
    shape.iter().zip(place).fold(0, |linear, (size, at)| linear * size + at)
}

fn counted(count: usize) -> Vec<i32> {
    (0..count as i32).map(|x| x + 1).collect()
}

/// A shape, and for each dimension a start, a step other than 0 and a size that fit.
fn slices() -> impl Strategy<Value = Vec<(usize, usize, isize, usize)>> {
    let axis = (1usize..9).prop_flat_map(|size| {
        let step = prop_oneof![3 => Just(1isize), 1 => -3isize..0, 1 => 2isize..4];
        (Just(size), 0..size, step).prop_flat_map(|(size, start, step)| {
            let room = if step > 0 { size - start } else { start + 1 };
            (Just(size), Just(start), Just(step), 0..=room.div_ceil(step.unsigned_abs()))
        })
    });
    prop::collection::vec(axis, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn windows_are_read_and_written_where_coordinates_say(
        axes in slices(), seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let shape: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
        let starts: Vec<usize> = axes.iter().map(|axis| axis.1).collect();
        let steps: Vec<isize> = axes.iter().map(|axis| axis.2).collect();
        let sizes: Vec<usize> = axes.iter().map(|axis| axis.3).collect();
        let part = Window::stepped(&shape, &starts, &steps);
        let there = |place: &[usize]| {
            let at = |axis: usize| starts[axis] as isize + place[axis] as isize * steps[axis];
            let place: Vec<usize> = (0..shape.len()).map(|axis| at(axis) as usize).collect();
            position(&shape, &place)
        };
        let array = counted(shape.iter().product());
        let whole = Window::whole(&sizes);
        let count: usize = sizes.iter().product();

        let read = on_all(|parallel| {
            let mut output = vec![0; count];
            copy_window(parallel, &sizes, &array, &part, &mut output, &whole);
            output
        });
        let expected: Vec<i32> =
            coordinates(&sizes).iter().map(|place| array[there(place)]).collect();
        prop_assert_eq!(&read, &expected);

        let written = on_all(|parallel| {
            let mut output = vec![7; array.len()];
            fill(parallel, 0, &mut output);
            copy_window(parallel, &sizes, &read, &whole, &mut output, &part);
            output
        });
        let mut expected = vec![0; array.len()];
        for place in coordinates(&sizes) {
            expected[there(&place)] = array[there(&place)];
        }
        prop_assert_eq!(written, expected);
    }

    #[test]
    fn a_border_lies_around_the_input(
        axes in prop::collection::vec((0usize..6, 0usize..3, 0usize..3), 0..5),
        seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let shape: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
        let before: Vec<usize> = axes.iter().map(|axis| axis.1).collect();
        let after: Vec<usize> = axes.iter().map(|axis| axis.2).collect();
        let padded: Vec<usize> = axes.iter().map(|axis| axis.0 + axis.1 + axis.2).collect();
        let input = counted(shape.iter().product());
        let output = on_all(|parallel| {
            let mut output = vec![0; padded.iter().product()];
            pad(parallel, &shape, &before, &after, -9, &input, &mut output);
            output
        });
        for (place, found) in coordinates(&padded).iter().zip(output) {
            let inside: Option<Vec<usize>> = (0..shape.len())
                .map(|axis| place[axis].checked_sub(before[axis]).filter(|at| *at < shape[axis]))
                .collect();
            let expected = inside.map_or(-9, |place| input[position(&shape, &place)]);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn gather_and_scatter_follow_the_entries(
        batch in 0usize..4, outer in 0usize..4, rows in 1usize..40, entries in 0usize..60,
        inner in prop_oneof![Just(1usize), 0usize..7, Just(300)], seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let layout = Layout { batch, outer, inner };
        let mut numbers = Numbers::new(seed);
        let mut index = |_| ((numbers.next() + 1.0) / 2.0 * rows as f64) as i64;
        let indices: Vec<i64> = (0..batch * entries).map(&mut index).collect();
        let single = Single { indices: &indices, limit: rows };
        let table = numbers.f32s(batch * outer * rows * inner);
        let updates = numbers.f32s(batch * outer * entries * inner);
        let places = || coordinates(&[batch, outer, entries, inner]);
        let row_of = |place: &[usize]| {
            let row = indices[place[0] * entries + place[2]] as usize;
            position(&[batch, outer, rows, inner], &[place[0], place[1], row, place[3]])
        };

        let picked = on_all(|parallel| {
            let mut output = vec![0f32; updates.len()];
            gather(parallel, layout, &single, &table, &mut output).expect("in range");
            output
        });
        let expected: Vec<f32> = places().iter().map(|place| table[row_of(place)]).collect();
        prop_assert_eq!(picked, expected);

        for write in [Write::Add, Write::Set] {
            for begin in ["zero", "copy", "keep"] {
                let found = on_all(|parallel| {
                    let mut output = table.clone();
                    let start = match begin {
                        "zero" => Start::Zero,
                        "copy" => Start::Copy(&table),
                        _ => Start::Keep,
                    };
                    scatter(parallel, layout, &single, write, start, &updates, &mut output)
                        .expect("in range");
                    output
                });
                let mut expected = table.clone();
                if begin == "zero" {
                    expected.fill(0.0);
                }
                // Entry by entry: the order of the sums is part of the contract.
                for (place, update) in places().iter().zip(&updates) {
                    let target = &mut expected[row_of(place)];
                    *target = if write == Write::Add { *target + update } else { *update };
                }
                prop_assert_eq!(found.bits(), expected.bits());
            }
        }
    }

    #[test]
    fn tuples_name_rows_of_several_dimensions(
        limits in prop::collection::vec(1usize..5, 0..4), entries in 0usize..20, seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let mut numbers = Numbers::new(seed);
        let indices: Vec<i32> = (0..entries)
            .flat_map(|_| limits.clone())
            .map(|limit| ((numbers.next() + 1.0) / 2.0 * limit as f64) as i32)
            .collect();
        let rows: usize = limits.iter().product();
        let table = numbers.f64s(rows * 3);
        let index = Tuples { indices: &indices, limits: &limits, entries };
        let layout = Layout { batch: 1, outer: 1, inner: 3 };
        let picked = on_all(|parallel| {
            let mut output = vec![0f64; entries * 3];
            gather(parallel, layout, &index, &table, &mut output).expect("in range");
            output
        });
        for entry in 0..entries {
            let place: Vec<usize> = indices[entry * limits.len()..(entry + 1) * limits.len()]
                .iter()
                .map(|index| *index as usize)
                .collect();
            let row = position(&limits, &place);
            prop_assert_eq!(&picked[entry * 3..entry * 3 + 3], &table[row * 3..row * 3 + 3]);
        }
    }

    #[test]
    fn elements_are_picked_and_added_along_an_axis(
        outer in 0usize..4, length in 1usize..9, count in 0usize..12,
        inner in prop_oneof![0usize..5, Just(600)], seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let sizes = Elements { outer, length, count, inner };
        let mut numbers = Numbers::new(seed);
        let total = outer * count * inner;
        let indices: Vec<i32> =
            (0..total).map(|_| ((numbers.next() + 1.0) / 2.0 * length as f64) as i32).collect();
        let table = numbers.f32s(outer * length * inner);
        let updates = numbers.f32s(total);
        let place_of = |linear: usize, place: &[usize]| {
            position(&[outer, length, inner], &[place[0], indices[linear] as usize, place[2]])
        };
        let picked = on_all(|parallel| {
            let mut output = vec![0f32; total];
            gather_elements(parallel, sizes, &indices, &table, &mut output).expect("in range");
            output
        });
        let summed = on_all(|parallel| {
            let mut output = vec![7f32; table.len()];
            scatter_add_elements(parallel, sizes, &indices, &updates, &mut output)
                .expect("in range");
            output
        });
        let mut expected = vec![0f32; table.len()];
        for (linear, place) in coordinates(&[outer, count, inner]).iter().enumerate() {
            prop_assert_eq!(picked[linear], table[place_of(linear, place)]);
            expected[place_of(linear, place)] += updates[linear];
        }
        prop_assert_eq!(summed.bits(), expected.bits());
    }

    #[test]
    fn one_hot_marks_the_index(
        outer in 0usize..50, depth in 1usize..20, inner in 0usize..5, seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let mut numbers = Numbers::new(seed);
        let indices: Vec<u8> = (0..outer * inner)
            .map(|_| ((numbers.next() + 1.0) / 2.0 * depth as f64) as u8)
            .collect();
        let found = on_all(|parallel| {
            let mut output = vec![0i64; outer * depth * inner];
            one_hot(parallel, depth, inner, 5, -2, &indices, &mut output).expect("in range");
            output
        });
        for (place, found) in coordinates(&[outer, depth, inner]).iter().zip(found) {
            let marked = usize::from(indices[place[0] * inner + place[2]]) == place[1];
            prop_assert_eq!(found, if marked { 5 } else { -2 });
        }
    }

    #[test]
    fn resampling_is_a_sum_over_taps_and_its_transpose_is_the_adjoint(
        planes in 0usize..4, inner in prop_oneof![Just(1usize), 2usize..5],
        rows in taps(), columns in taps(), seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let ((row_inputs, rows), (column_inputs, columns)) = (rows, columns);
        let mut numbers = Numbers::new(seed);
        let in_shape = [planes, row_inputs, column_inputs, inner];
        let out_shape = [planes, rows.len(), columns.len(), inner];
        let x = numbers.f64s(in_shape.iter().product());
        let dy = numbers.f64s(out_shape.iter().product());
        let y = on_all(|parallel| {
            let mut output = vec![0f64; dy.len()];
            let (rows, columns) = (Taps::new(row_inputs, &rows), Taps::new(column_inputs, &columns));
            resample(parallel, planes, inner, &rows, &columns, &x, &mut output);
            output
        });
        for (place, &found) in coordinates(&out_shape).iter().zip(&y) {
            let mut sum = 0.0;
            for &(row, row_weight) in &rows[place[1]] {
                for &(column, weight) in &columns[place[2]] {
                    let from = position(&in_shape, &[place[0], row, column, place[3]]);
                    sum += x[from] * row_weight * weight;
                }
            }
            prop_assert!((found - sum).abs() < 1e-12);
        }
        let dx = on_all(|parallel| {
            let mut output = vec![0f64; x.len()];
            let rows = Taps::transposed(&rows, row_inputs);
            let columns = Taps::transposed(&columns, column_inputs);
            resample(parallel, planes, inner, &rows, &columns, &dy, &mut output);
            output
        });
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        prop_assert!((dot(&y, &dy) - dot(&x, &dx)).abs() < 1e-10);
    }

    #[test]
    fn lanes_are_sorted_and_ranked(
        outer in 0usize..4, length in 0usize..40, inner in 0usize..4, kept in 0usize..40,
        descending in any::<bool>(), seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let kept = kept.min(length);
        let direction = if descending { Direction::Descending } else { Direction::Ascending };
        let lanes = Lanes { outer, length, inner };
        let mut numbers = Numbers::new(seed);
        // Few different values, so that there are ties; some NaN.
        let input: Vec<f32> = (0..outer * length * inner)
            .map(|_| (numbers.next() * 5.0).round() as f32)
            .map(|x| if x == 4.0 { f32::NAN } else { x })
            .collect();
        let sorted = on_all(|parallel| {
            let mut output = vec![0f32; input.len()];
            sort(parallel, lanes, direction, &input, &mut output);
            output
        });
        let ranked = on_all(|parallel| {
            let mut output = vec![0i32; outer * kept * inner];
            argsort(parallel, lanes, direction, kept, &input, &mut output);
            output
        });
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let lane: Vec<f32> =
                (0..length).map(|at| input[(o * length + at) * inner + i]).collect();
            // Selection sort: the best of the rest, the first one where there are several.
            let mut rest: Vec<usize> = (0..length).collect();
            for rank in 0..length {
                let better = |a: f32, b: f32| {
                    let less = a < b || (!a.is_nan() && b.is_nan());
                    let greater = a > b || (a.is_nan() && !b.is_nan());
                    if descending { greater } else { less }
                };
                let mut best = 0;
                for other in 1..rest.len() {
                    if better(lane[rest[other]], lane[rest[best]]) {
                        best = other;
                    }
                }
                let index = rest.remove(best);
                let found = sorted[(o * length + rank) * inner + i];
                prop_assert_eq!(found.to_bits(), lane[index].to_bits());
                if rank < kept {
                    prop_assert_eq!(ranked[(o * kept + rank) * inner + i], index as i32);
                }
            }
        }
    }

    #[test]
    fn triangles_keep_what_is_below_the_diagonal(
        planes in 0usize..4, rows in 0usize..9, columns in 0usize..9, diagonal in -10i64..10,
        seed in any::<u64>(),
    ) {
        let _placed = place_by(seed);
        let input = counted(planes * rows * columns);
        let output = on_all(|parallel| {
            let mut output = vec![0; input.len()];
            lower_triangle(parallel, rows, columns, diagonal, -1, &input, &mut output);
            output
        });
        for (linear, place) in coordinates(&[planes, rows, columns]).iter().enumerate() {
            let kept = place[2] as i64 <= place[1] as i64 + diagonal;
            prop_assert_eq!(output[linear], if kept { input[linear] } else { -1 });
        }
    }
}

/// Checks long lanes against a stable sort of the standard library.
fn check_long_lanes<T: Element>(draw: impl Fn(f64) -> T)
where
    Vec<T>: Bits,
{
    for (length, direction) in [255, 256, 257, 3000]
        .into_iter()
        .zip([Direction::Ascending, Direction::Descending].repeat(2))
    {
        let mut numbers = Numbers::new(length as u64);
        let input: Vec<T> = (0..2 * length).map(|_| draw(numbers.next())).collect();
        let lanes = Lanes { outer: 2, length, inner: 1 };
        let (mut sorted, mut indices) = (input.clone(), vec![0; 2 * length]);
        sort(&Serial, lanes, direction, &input, &mut sorted);
        argsort(&Serial, lanes, direction, length, &input, &mut indices);
        let lanes = input.chunks(length).zip(sorted.chunks(length)).zip(indices.chunks(length));
        for ((lane, sorted), indices) in lanes {
            let mut want: Vec<usize> = (0..length).collect();
            want.sort_by(|&a, &b| {
                let order = lane[a].partial_cmp(&lane[b]);
                let order = order.unwrap_or(lane[a].is_nan().cmp(&lane[b].is_nan()));
                if direction == Direction::Descending { order.reverse() } else { order }
            });
            assert!(want.iter().zip(indices).all(|(want, got)| *want == *got as usize));
            let values: Vec<T> = want.iter().map(|&index| lane[index]).collect();
            assert_eq!(sorted.to_vec().bits(), values.bits());
        }
    }
}

#[test]
fn long_lanes_are_sorted() {
    let special = [f64::NAN, f64::INFINITY, -f64::INFINITY, 0.0, -0.0, 1e-310, -f64::MAX];
    let float = |number: f64| match (number * 20.0) as i64 {
        8.. => special[(number * 1e6) as usize % special.len()],
        _ => number * 1e3,
    };
    check_long_lanes(|number| float(number) as f32);
    check_long_lanes(float);
    check_long_lanes(|number| (number * 300.0) as i8);
    check_long_lanes(|number| (number * 300.0) as u8);
    check_long_lanes(|number| (number * 2.0 * f64::from(i32::MAX)) as i32);
    check_long_lanes(|number| (number * 1e19) as i64);
}

/// The number of inputs of an axis, and the taps of some outputs: copies in a row, repeats, or sums.
fn taps() -> impl Strategy<Value = (usize, Vec<Vec<(usize, f64)>>)> {
    (1usize..30).prop_flat_map(|inputs| {
        let run = (0..inputs).prop_flat_map(move |start| {
            (start + 1..=inputs)
                .prop_map(move |end| (start..end).map(|at| vec![(at, 1.0)]).collect::<Vec<_>>())
        });
        let repeats = (1usize..4).prop_map(move |count| {
            (0..inputs * count).map(|at| vec![(at / count, 1.0)]).collect::<Vec<_>>()
        });
        let sums = |taps| {
            let tap = (0..inputs, -1.0..1.0f64);
            prop::collection::vec(prop::collection::vec(tap, taps), 0..20)
        };
        (Just(inputs), prop_oneof![run, repeats, sums(0..4), sums(1..3)])
    })
}

#[test]
fn the_first_index_out_of_range_is_named_and_nothing_is_written() {
    let mut indices = vec![1i32; 100_000];
    indices[70_000] = 3;
    indices[40_000] = -1;
    let single = Single { indices: &indices, limit: 3 };
    let wrong = Err(IndexError { position: 40_000, index: -1, limit: 3 });
    let layout = Layout { batch: 1, outer: 1, inner: 1 };
    for parallel in [&Serial as &dyn Parallel, &Reverse, &Threads(4)] {
        let mut output = vec![9f32; indices.len()];
        assert_eq!(gather(parallel, layout, &single, &[0.0; 3], &mut output), wrong);
        assert!(output.iter().all(|&x| x == 9.0));
        let mut output = [9f32; 3];
        let updates = vec![1.0; indices.len()];
        let start = Start::Zero;
        let found = scatter(parallel, layout, &single, Write::Add, start, &updates, &mut output);
        assert_eq!((found, output), (wrong, [9.0; 3]));
    }
    let none: [f32; 0] = [];
    let nothing = Single { indices: &[0i32], limit: 0 };
    let found = gather(&Serial, layout, &nothing, &none, &mut [0f32]);
    assert_eq!(found, Err(IndexError { position: 0, index: 0, limit: 0 }));
}

#[test]
fn a_target_is_in_the_top_k_if_fewer_than_k_are_greater() {
    let predictions = [
        [0.1f32, 0.5, 0.5, 0.2],
        [0.1, 0.5, 0.6, 0.2],
        [f32::INFINITY, 0.5, 0.6, 0.2],
        [0.0, f32::NAN, 0.6, 0.2],
        [3.0, 2.0, 1.0, 0.0],
        [3.0, 2.0, 1.0, 0.0],
    ]
    .concat();
    let targets = [1i64, 1, 2, 2, 4, -1];
    for (k, expected) in [(0, [0, 0, 0, 0, 0, 0]), (1, [1, 0, 0, 0, 0, 0]), (2, [1, 1, 0, 0, 0, 0])]
    {
        let mut output = [0i8; 6];
        in_top_k(&Serial, 4, k, &targets, &predictions, &mut output);
        assert_eq!(output, expected, "k = {k}");
    }
}

#[test]
#[should_panic(expected = "reaches beyond its array")]
fn a_window_beyond_the_array_is_refused() {
    let from = Window { offset: 1, strides: vec![-1] };
    copy_window(&Serial, &[3], &[0f32; 3], &from, &mut [0f32; 3], &Window::whole(&[3]));
}

#[test]
#[should_panic(expected = "may overlap")]
fn an_output_window_that_overlaps_itself_is_refused() {
    let to = Window { offset: 0, strides: vec![1, 1] };
    copy_window(&Serial, &[2, 2], &[0f32; 4], &Window::whole(&[2, 2]), &mut [0f32; 4], &to);
}
