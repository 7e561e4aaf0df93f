//! Pools and their gradients against the naive ones, bit by bit: both add in the same order.

mod common;

use common::guard::place_by;
use common::{Bits, Numbers, Reverse, Threads};
use flowrs_kernels::pooling::{
    Maxima, PoolingShape, avg_pool, avg_pool_gradient, max_pool, max_pool_gradient, naive,
};
use flowrs_kernels::{Element, Float, Isa, Layout, Parallel, Serial};
use proptest::prelude::*;

/// What the elements are.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// Numbers that differ.
    Numbers,
    /// Few different ones, so that many are the greatest of their window, with zeros of both signs.
    Ties,
    /// NaN and the infinities among numbers.
    Special,
}

impl Values {
    fn draw(self, numbers: &mut Numbers) -> f64 {
        let number = numbers.next();
        let pick = |values: &[f64]| values[((number + 1.0) / 2.0 * values.len() as f64) as usize];
        match self {
            Values::Numbers => number,
            Values::Ties => pick(&[-1.0, -0.0, 0.0, 1.0]),
            Values::Special => pick(&[
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::NEG_INFINITY,
                0.5,
                -0.5,
                numbers.next(),
                numbers.next(),
            ]),
        }
    }
}

/// One spatial axis: input, window, stride, padding before, padding behind. Padding may hold whole
/// windows.
type AxisSizes = [usize; 5];

fn axis(input: usize, window: usize) -> impl Strategy<Value = AxisSizes> {
    let stride = prop_oneof![3 => 1usize..4, 1 => 4usize..8];
    (1..=input, 1..=window, stride).prop_flat_map(|(input, window, stride)| {
        let padding = || prop_oneof![2 => 0..window, 1 => 0..2 * window + 2];
        (padding(), padding())
            .prop_map(move |(before, behind)| [input, window, stride, before, behind])
    })
}

fn shapes() -> impl Strategy<Value = PoolingShape> {
    let none = || Just([1usize, 1, 1, 0, 0]).boxed();
    let axes = prop_oneof![
        1 => [none(), none(), axis(70, 9).boxed()],
        // Rows that are pooled as they lie.
        1 => [none(), axis(8, 4).boxed(), axis(190, 5).boxed()],
        1 => [axis(3, 2).boxed(), axis(4, 3).boxed(), axis(150, 4).boxed()],
        4 => [none(), axis(12, 5).boxed(), axis(40, 5).boxed()],
        2 => [axis(6, 3).boxed(), axis(6, 4).boxed(), axis(9, 4).boxed()],
        // More elements in a window than a byte can count.
        1 => [none(), axis(20, 18).boxed(), axis(20, 18).boxed()],
    ];
    let batch = prop_oneof![1 => Just(0usize), 20 => 1usize..4];
    let channels = prop_oneof![3 => 1usize..6, 1 => 6usize..70];
    let layout = prop_oneof![Just(Layout::ChannelsFirst), Just(Layout::ChannelsLast)];
    (batch, channels, axes, layout).prop_map(|(batch, channels, axes, layout)| {
        let output = axes.map(|[input, window, stride, before, behind]| {
            (input + before + behind).saturating_sub(window) / stride + 1
        });
        let sizes = |number: usize| axes.map(|axis| axis[number]);
        let (input, window, stride, padding) = (sizes(0), sizes(1), sizes(2), sizes(3));
        PoolingShape::new(batch, channels, input, window, stride, padding, output, layout)
            .expect("sizes that fit together")
    })
}

/// Runs `kernel` on every instruction set and checks that other ways to run its tasks give the same.
fn on_every_isa<R: Bits>(seed: u64, kernel: impl Fn(Isa, &dyn Parallel) -> R, want: &R) {
    let others: &[&dyn Parallel] =
        if seed.is_multiple_of(16) { &[&Reverse, &Threads(2), &Threads(3)] } else { &[&Reverse] };
    for isa in Isa::available() {
        assert_eq!(kernel(isa, &Serial).bits(), want.bits(), "{isa:?}");
        for parallel in others {
            let got = kernel(isa, *parallel).bits();
            assert_eq!(got, want.bits(), "{isa:?}: the order of tasks changes the result");
        }
    }
}

/// All NaN become one: which of several a sum keeps is not said.
fn one_nan<T: Float>(mut values: Vec<T>) -> Vec<T> {
    values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = f64::NAN.cast());
    values
}

/// Old content of any memory must not matter.
fn unset<T: Float>(like: &[T]) -> Vec<T> {
    vec![T::from_f64(7.5); like.len()]
}

fn check_max_pool<T: Float>(shape: &PoolingShape, seed: u64, x: &[T], y: Vec<T>, argmax: &[u8])
where
    Vec<T>: Bits,
{
    let (fits, like) = (shape.argmax_fits(), y.clone());
    let max = |isa: Isa, parallel: &dyn Parallel| {
        let (mut y, mut argmax) = (unset(&like), vec![7u8; like.len()]);
        max_pool(isa, parallel, shape, x, &mut y, fits.then_some(&mut argmax[..]));
        (one_nan(y), argmax)
    };
    let without_argmax = |isa: Isa, parallel: &dyn Parallel| {
        let mut y = unset(&like);
        max_pool(isa, parallel, shape, x, &mut y, None);
        one_nan(y)
    };
    let want = (one_nan(y), argmax.to_vec());
    on_every_isa(seed, without_argmax, &want.0);
    on_every_isa(seed, max, &want);
}

fn check_avg_pool<T: Float>(shape: &PoolingShape, seed: u64, x: &[T], y: Vec<T>)
where
    Vec<T>: Bits,
{
    // A sum of zeros may begin with either.
    let one_zero = |y: Vec<T>| one_nan(y.into_iter().map(|y| y + T::ZERO).collect());
    let like = y.clone();
    let average = |isa: Isa, parallel: &dyn Parallel| {
        let mut y = unset(&like);
        avg_pool(isa, parallel, shape, x, &mut y);
        one_zero(y)
    };
    on_every_isa(seed, average, &one_zero(y));
}

fn check<T: Float>(shape: &PoolingShape, values: Values, seed: u64)
where
    Vec<T>: Bits,
{
    let numbers = &mut Numbers::new(seed);
    let x: Vec<T> = (0..shape.input_elements()).map(|_| values.draw(numbers).cast()).collect();
    let dy: Vec<T> = (0..shape.output_elements()).map(|_| numbers.next().cast()).collect();
    let fits = shape.argmax_fits();
    let (mut y, mut argmax, mut dx) = (unset(&dy), vec![7u8; dy.len()], unset(&x));
    naive::max_pool(shape, &x, &mut y, fits.then_some(&mut argmax[..]));
    naive::max_pool_gradient(shape, &x, &dy, &mut dx);
    check_max_pool(shape, seed, &x, y, &argmax);
    let maxima = [Maxima::Input(&x[..]), Maxima::Positions(&argmax[..])];
    for maxima in maxima.into_iter().take(1 + usize::from(fits)) {
        let gradient = |isa: Isa, parallel: &dyn Parallel| {
            let mut dx = unset(&x);
            max_pool_gradient(isa, parallel, shape, maxima, &dy, &mut dx);
            dx
        };
        on_every_isa(seed, gradient, &dx);
    }

    let (mut y, mut dx) = (unset(&dy), unset(&x));
    naive::avg_pool(shape, &x, &mut y);
    naive::avg_pool_gradient(shape, &dy, &mut dx);
    check_avg_pool(shape, seed, &x, y);
    let gradient = |isa: Isa, parallel: &dyn Parallel| {
        let mut dx = unset(&x);
        avg_pool_gradient(isa, parallel, shape, &dy, &mut dx);
        dx
    };
    on_every_isa(seed, gradient, &dx);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn pools_are_the_naive_ones(
        shape in shapes(), wide in prop::bool::weighted(0.3), seed in any::<u64>(),
        values in prop_oneof![Just(Values::Numbers), Just(Values::Ties), Just(Values::Special)],
    ) {
        let _placed = place_by(seed);
        match wide {
            true => check::<f64>(&shape, values, seed),
            false => check::<f32>(&shape, values, seed),
        }
    }
}

/// Pools of planes that have to come from memory, with short and long rows.
fn check_large<T: Float>(window: usize, stride: usize, padding: usize, width: usize)
where
    Vec<T>: Bits,
{
    /// So many elements are `LARGE` in `pooling/planes.rs`.
    const LARGE: usize = 4 << 20;
    let (batch, channels) = (2, 3);
    let height = LARGE / (batch * channels * width) + 1;
    let output = |size: usize| (size + 2 * padding - window) / stride + 1;
    let square = |size: usize| [1, size, size];
    let (strides, paddings) = ([1, stride, stride], [0, padding, padding]);
    let (input, outputs) = ([1, height, width], [1, output(height), output(width)]);
    let layout = Layout::ChannelsFirst;
    let shape = PoolingShape::new(
        batch,
        channels,
        input,
        square(window),
        strides,
        paddings,
        outputs,
        layout,
    )
    .expect("sizes that fit together");
    let numbers = &mut Numbers::new(width as u64);
    let x: Vec<T> =
        (0..shape.input_elements()).map(|_| Values::Ties.draw(numbers).cast()).collect();
    let mut y = vec![T::ZERO; shape.output_elements()];
    let mut argmax = vec![7u8; y.len()];
    naive::max_pool(&shape, &x, &mut y, Some(&mut argmax));
    check_max_pool(&shape, 1, &x, y.clone(), &argmax);
    naive::avg_pool(&shape, &x, &mut y);
    check_avg_pool(&shape, 1, &x, y);
}

#[test]
fn pools_of_large_planes_are_the_naive_ones() {
    check_large::<f32>(2, 2, 0, 28);
    check_large::<f32>(3, 1, 1, 17);
    check_large::<f32>(3, 2, 1, 140);
    check_large::<f64>(2, 2, 0, 31);
    check_large::<f64>(3, 2, 1, 130);
}

/// A pool over one axis of one channel.
fn line(input: usize, window: usize, stride: usize, padding: usize, output: usize) -> PoolingShape {
    let sizes = |size| [1, 1, size];
    let padding = [0, 0, padding];
    let (input, window, stride) = (sizes(input), sizes(window), sizes(stride));
    let layout = Layout::ChannelsFirst;
    PoolingShape::new(1, 1, input, window, stride, padding, sizes(output), layout)
        .expect("sizes that fit together")
}

#[test]
fn of_equal_elements_the_first_is_the_greatest() {
    let shape = line(4, 2, 1, 0, 3);
    let (x, dy) = ([1f32, 1.0, f32::NAN, f32::NAN], [1f32, 10.0, 100.0]);
    let (isa, mut y, mut argmax, mut dx) = (Isa::detect(), [0f32; 3], [9u8; 3], [0f32; 4]);
    max_pool(isa, &Serial, &shape, &x, &mut y, Some(&mut argmax));
    max_pool_gradient(isa, &Serial, &shape, Maxima::Positions(&argmax), &dy, &mut dx);
    assert_eq!((y[0], argmax), (1.0, [0, 1, 0]));
    assert!(y[1].is_nan() && y[2].is_nan());
    assert_eq!(dx, [1.0, 0.0, 110.0, 0.0]);
}

#[test]
fn padding_counts_for_nothing() {
    let shape = line(2, 2, 1, 3, 6);
    let (x, dy) = ([-4f32, -2.0], [1f32; 6]);
    let (isa, mut y, mut dx) = (Isa::detect(), [0f32; 6], [0f32; 2]);
    let lowest = f32::NEG_INFINITY;
    max_pool(isa, &Serial, &shape, &x, &mut y, None);
    assert_eq!(y, [lowest, lowest, -4.0, -2.0, -2.0, lowest]);
    avg_pool(isa, &Serial, &shape, &x, &mut y);
    assert_eq!(y, [0.0, 0.0, -4.0, -3.0, -2.0, 0.0]);
    avg_pool_gradient(isa, &Serial, &shape, &dy, &mut dx);
    assert_eq!(dx, [1.5, 1.5]);
}
