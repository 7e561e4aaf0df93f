//! Convolutions and their gradients against the naive ones, in float64.

mod common;

use common::guard::{on_both_sides, place_by};
use common::{Bits, Numbers, Reverse, Threads};
use flowrs_kernels::convolution::{
    Algorithm, ConvolutionShape, Pass, Source, Target, choose, convolution,
    convolution_input_gradient, convolution_weight_gradient, naive, scratch_elements,
};
use flowrs_kernels::pooling::{
    MaxPooled, MaxUnpooled, Maxima, PoolingShape, max_pool, max_pool_gradient,
};
use flowrs_kernels::{Element, Float, Isa, Layout, Parallel, Serial};
use proptest::prelude::*;

const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::Im2col,
    Algorithm::Depthwise,
    Algorithm::Direct,
    Algorithm::Winograd6,
    Algorithm::Winograd8,
];

#[derive(Clone, Debug)]
struct Case {
    shape: ConvolutionShape,
    bias: bool,
    relu: bool,
    seed: u64,
}

/// The shape of a convolution whose windows begin and end within the padding.
#[expect(clippy::too_many_arguments, reason = "the sizes of a convolution, in their order")]
fn shape(
    batch: usize,
    channels: [usize; 3],
    input: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    padding: [[usize; 2]; 3],
    layout: Layout,
) -> ConvolutionShape {
    let output = std::array::from_fn(|axis| {
        let reach = (kernel[axis] - 1) * dilation[axis] + 1;
        let padded = input[axis] + padding[axis][0] + padding[axis][1];
        padded.saturating_sub(reach) / stride[axis] + 1
    });
    let before = padding.map(|[before, _]| before);
    ConvolutionShape::new(batch, channels, input, kernel, stride, dilation, before, output, layout)
        .expect("sizes that fit together")
}

/// One spatial axis: input, kernel, stride, dilation, padding.
fn axis(size: usize) -> impl Strategy<Value = (usize, usize, usize, usize, [usize; 2])> {
    let kernel = prop_oneof![Just(1usize), 2usize..6];
    let stride = prop_oneof![3 => Just(1usize), 2 => 2usize..5];
    let dilation = prop_oneof![3 => Just(1usize), 1 => 2usize..4];
    (1..=size, kernel, stride, dilation, [0usize..4, 0usize..4])
}

fn channels() -> impl Strategy<Value = [usize; 3]> {
    let few = (1usize..6, 1usize..9, 1usize..4);
    let many = (1usize..40, 1usize..70, Just(1usize));
    let grouped = prop_oneof![3 => few, 1 => many]
        .prop_map(|(inputs, outputs, groups)| [inputs * groups, outputs * groups, groups]);
    let depthwise = (prop_oneof![2 => 2usize..40, 1 => 40usize..150], 1usize..3)
        .prop_map(|(channels, multiplier)| [channels, channels * multiplier, channels]);
    prop_oneof![3 => grouped, 1 => depthwise]
}

/// Layouts of input, output and weight: one for all in half of the cases.
fn layouts() -> impl Strategy<Value = [Layout; 3]> {
    let layout = || prop_oneof![Just(Layout::ChannelsFirst), Just(Layout::ChannelsLast)];
    prop_oneof![layout().prop_map(|layout| [layout; 3]), [layout(), layout(), layout()]]
}

fn cases() -> impl Strategy<Value = Case> {
    let none = || (Just(1usize), Just(1usize), Just(1usize), Just(1usize), Just([0usize, 0]));
    let axes = prop_oneof![
        (none().boxed(), none().boxed(), axis(40).boxed()),
        (none().boxed(), axis(9).boxed(), axis(20).boxed()),
        (axis(4).boxed(), axis(5).boxed(), axis(6).boxed()),
    ];
    let batch = prop_oneof![1 => Just(0usize), 30 => 1usize..4];
    let options = (any::<bool>(), any::<bool>(), any::<u64>());
    let any = (batch, channels(), axes, layouts(), options).prop_map(
        |(batch, channels, (a, b, c), layouts, (bias, relu, seed))| {
            let axes = [a, b, c];
            let shape = shape(
                batch,
                channels,
                axes.map(|axis| axis.0),
                axes.map(|axis| axis.1),
                axes.map(|axis| axis.2),
                axes.map(|axis| axis.3),
                axes.map(|axis| axis.4),
                layouts[0],
            );
            let [input_layout, output_layout, weight_layout] = layouts;
            let shape = ConvolutionShape { input_layout, output_layout, weight_layout, ..shape };
            Case { shape, bias, relu, seed }
        },
    );
    prop_oneof![9 => any, 1 => pointwise_cases()]
}

/// Kernels of one pixel on so many images that each is a product by itself, also where channels come first.
fn pointwise_cases() -> impl Strategy<Value = Case> {
    let size = prop_oneof![Just([1usize, 4, 8]), Just([1, 16, 17]), Just([2, 4, 4])];
    let channels = prop_oneof![9 => channels(), 1 => Just([1030, 5, 1])];
    (14usize..20, channels, size, layouts(), any::<(bool, bool, u64)>()).prop_map(
        |(batch, channels, size, layouts, (bias, relu, seed))| {
            let (one, none) = ([1; 3], [[0; 2]; 3]);
            let shape = shape(batch, channels, size, one, one, one, none, layouts[0]);
            let [input_layout, output_layout, weight_layout] = layouts;
            let shape = ConvolutionShape { input_layout, output_layout, weight_layout, ..shape };
            Case { shape, bias, relu, seed }
        },
    )
}

/// Shapes that Winograd's method computes.
fn tiled_cases() -> impl Strategy<Value = Case> {
    let kernel = prop_oneof![Just(3usize), Just(5usize)];
    let padding = || [[0usize..4, 0usize..4], [0usize..4, 0usize..4]];
    let size = [1usize..20, 1usize..20];
    // The transformed weights of the last ones leave the cache.
    let few = [1usize..3, 1usize..5].prop_map(|[a, b]| [16 * a, 16 * b, 1]);
    let channels = prop_oneof![4 => few, 1 => Just([80, 64, 1])];
    (0usize..4, channels, kernel, size, padding(), layouts(), any::<(bool, bool, u64)>()).prop_map(
        |(batch, channels, kernel, [height, width], [y, x], layouts, (bias, relu, seed))| {
            let (one, kernel) = ([1; 3], [1, kernel, kernel]);
            let padding = [[0; 2], y, x];
            let input = [1, height, width];
            let shape = shape(batch, channels, input, kernel, one, one, padding, layouts[0]);
            let [input_layout, output_layout, weight_layout] = layouts;
            let shape = ConvolutionShape { input_layout, output_layout, weight_layout, ..shape };
            Case { shape, bias, relu, seed }
        },
    )
}

/// Runs `kernel` serially and checks that other ways to run its tasks give the same bits.
fn same_bits<T>(seed: u64, kernel: impl Fn(&dyn Parallel) -> Vec<T>) -> Vec<T>
where
    Vec<T>: Bits,
{
    let result = kernel(&Serial);
    assert_eq!(kernel(&Reverse).bits(), result.bits(), "the order of tasks changes the result");
    if seed.is_multiple_of(16) {
        for threads in [2, 3, 8] {
            assert_eq!(kernel(&Threads(threads)).bits(), result.bits(), "{threads} threads");
        }
    }
    result
}

/// The same for sums that share their rounding errors with their neighbours.
fn assert_close_together<T: Float>(
    what: &str,
    got: &[T],
    want: &[f64],
    magnitude: &[f64],
    terms: usize,
) {
    let largest = magnitude.iter().fold(0.0, |largest: f64, magnitude| largest.max(*magnitude));
    assert_close(what, got, want, &vec![16.0 * largest; want.len()], terms);
}

/// Fails where `got` is further from `want` than rounding of a sum of `terms` products explains;
/// `magnitude` are the sums of the products' absolute values.
fn assert_close<T: Float>(what: &str, got: &[T], want: &[f64], magnitude: &[f64], terms: usize) {
    let unit = 2f64.powi(-(T::DIGITS as i32));
    let factor = 4.0 * (terms as f64).sqrt() + 8.0;
    for (index, ((got, want), magnitude)) in got.iter().zip(want).zip(magnitude).enumerate() {
        let got: f64 = got.cast();
        assert!(
            (got - want).abs() <= factor * unit * (magnitude + 1e-30),
            "{what}, element {index}: {got} instead of {want}"
        );
    }
}

/// More products than a random case has.
const MANY_PRODUCTS: usize = 1_000_000;

fn check<T: Float>(case: &Case)
where
    Vec<T>: Bits,
{
    let shape = &case.shape;
    let mut numbers = Numbers::new(case.seed);
    let mut fill = |count: usize| -> Vec<T> { (0..count).map(|_| numbers.next().cast()).collect() };
    let (x, w) = (fill(shape.input_elements()), fill(shape.weight_elements()));
    let (dy, bias) = (fill(shape.output_elements()), fill(shape.output_channels));
    let wide = |values: &[T]| -> Vec<f64> { values.iter().map(|x| x.cast()).collect() };
    let sizes =
        |values: &[T]| -> Vec<f64> { values.iter().map(|x| x.cast::<f64>().abs()).collect() };
    let depth = shape.weight_elements() / shape.output_channels;
    let spread = shape.weight_elements() / (shape.input_channels / shape.groups);
    let pixels = shape.output_elements() / shape.output_channels;
    let bias = case.bias.then_some(&bias[..]);
    let wide_bias = bias.map(wide);
    let mut output = [vec![0.0; dy.len()], vec![0.0; dy.len()]];
    let mut dx = [vec![0.0; x.len()], vec![0.0; x.len()]];
    let mut dw = [vec![0.0; w.len()], vec![0.0; w.len()]];
    let bias_sizes = bias.map(sizes);
    let operands = [
        (wide(&x), wide(&w), wide(&dy), wide_bias.as_deref(), case.relu),
        (sizes(&x), sizes(&w), sizes(&dy), bias_sizes.as_deref(), false),
    ];
    for (index, (x, w, dy, bias, relu)) in operands.iter().enumerate() {
        if index == 1 && depth * dy.len() > MANY_PRODUCTS {
            // What the sizes of so many products add up to is known well enough beforehand.
            output[1].fill(depth as f64 / 2.0);
            dx[1].fill(spread as f64 / 2.0);
            dw[1].fill(pixels as f64 / 2.0);
            continue;
        }
        naive::convolution(shape, x, w, *bias, *relu, &mut output[index]);
        naive::convolution_input_gradient(shape, dy, w, &mut dx[index]);
        naive::convolution_weight_gradient(shape, x, dy, &mut dw[index]);
    }

    for isa in Isa::available() {
        for algorithm in ALGORITHMS {
            // Old content of any memory must not matter.
            let scratch = |pass, pooled| {
                vec![
                    T::from_f64(f64::NAN);
                    scratch_elements::<T>(isa, algorithm, pass, shape, pooled)
                ]
            };
            let unset = |count: usize| vec![T::from_f64(f64::NAN); count];
            let name = |pass: &str| format!("{isa:?} {algorithm:?} {pass}");
            let assert_close = match algorithm {
                Algorithm::Winograd6 | Algorithm::Winograd8 => assert_close_together,
                _ => assert_close,
            };
            if algorithm.supports(Pass::Forward, shape) {
                let got = same_bits(case.seed, |parallel| {
                    let (mut y, mut scratch) = (unset(dy.len()), scratch(Pass::Forward, false));
                    convolution(
                        isa,
                        parallel,
                        algorithm,
                        shape,
                        &x,
                        &w,
                        bias,
                        case.relu,
                        Target::Array(&mut y),
                        &mut scratch,
                    );
                    y
                });
                assert_close(&name("forward"), &got, &output[0], &output[1], depth);
            }
            if algorithm.supports(Pass::InputGradient, shape) {
                let got = same_bits(case.seed, |parallel| {
                    let (mut dx, mut scratch) =
                        (unset(x.len()), scratch(Pass::InputGradient, false));
                    convolution_input_gradient(
                        isa,
                        parallel,
                        algorithm,
                        shape,
                        Source::Array(&dy),
                        &w,
                        &mut dx,
                        &mut scratch,
                    );
                    dx
                });
                assert_close(&name("input gradient"), &got, &dx[0], &dx[1], spread);
            }
            if algorithm.supports(Pass::WeightGradient, shape) {
                let got = same_bits(case.seed, |parallel| {
                    let (mut dw, mut scratch) =
                        (unset(w.len()), scratch(Pass::WeightGradient, false));
                    convolution_weight_gradient(
                        isa,
                        parallel,
                        algorithm,
                        shape,
                        &x,
                        Source::Array(&dy),
                        &mut dw,
                        &mut scratch,
                    );
                    dw
                });
                assert_close(&name("weight gradient"), &got, &dw[0], &dw[1], pixels);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..Default::default() })]

    #[test]
    fn f32_convolutions_are_within_the_bound(case in cases()) {
        let _placed = place_by(case.seed);
        check::<f32>(&case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn f64_convolutions_are_within_the_bound(case in cases()) {
        let _placed = place_by(case.seed);
        check::<f64>(&case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..Default::default() })]

    #[test]
    fn tiled_convolutions_are_within_the_bound(case in tiled_cases()) {
        let _placed = place_by(case.seed);
        assert!(Algorithm::Winograd6.supports(Pass::Forward, &case.shape));
        check::<f32>(&case);
        check::<f64>(&case);
    }
}

const NONE: [usize; 3] = [1; 3];

/// A convolution over two axes, `size` pixels square, with the same padding on all sides.
fn square(
    batch: usize,
    channels: [usize; 3],
    size: usize,
    [kernel, stride, dilation, padding]: [usize; 4],
    layout: Layout,
) -> ConvolutionShape {
    let plane = |size| [1, size, size];
    let padding = [[0; 2], [padding; 2], [padding; 2]];
    let (kernel, stride) = (plane(kernel), plane(stride));
    shape(batch, channels, plane(size), kernel, stride, plane(dilation), padding, layout)
}

/// Shapes large enough to be cut into several blocks of pixels and of depth, and into parts of the
/// channels.
fn large_shapes(layout: Layout) -> Vec<ConvolutionShape> {
    vec![
        square(1, [20, 16, 1], 17, [5, 1, 1, 2], layout),
        square(35, [1, 8, 1], 18, [5, 1, 1, 2], layout),
        square(1, [130, 40, 1], 7, [3, 1, 1, 1], layout),
        square(1, [130, 40, 1], 7, [3, 2, 1, 1], layout),
        square(2, [96, 40, 2], 16, [3, 2, 1, 1], layout),
        square(1, [64, 130, 1], 20, [1, 1, 1, 0], layout),
        square(3, [64, 20, 1], 16, [1, 1, 1, 0], layout),
        square(2, [80, 80, 2], 9, [1, 1, 1, 0], layout),
        square(2, [80, 80, 1], 9, [1, 2, 1, 0], layout),
        square(2, [100, 100, 100], 15, [3, 1, 1, 1], layout),
        square(2, [33, 66, 33], 15, [3, 2, 1, 1], layout),
        square(1, [3, 20, 1], 40, [7, 2, 1, 3], layout),
        square(1, [30, 10, 1], 24, [3, 1, 2, 4], layout),
        shape(2, [12, 17, 1], [5, 6, 7], [3; 3], NONE, NONE, [[1; 2]; 3], layout),
        // Weights that leave the cache when they are transformed for tiles.
        square(3, [80, 96, 1], 6, [3, 1, 1, 1], layout),
        square(6, [80, 64, 1], 20, [3, 1, 1, 1], layout),
        square(5, [80, 64, 1], 23, [3, 1, 1, 1], layout),
        square(2, [32, 528, 1], 4, [3, 1, 1, 1], layout),
        square(5, [528, 16, 1], 3, [3, 1, 1, 0], layout),
        square(2, [96, 64, 1], 9, [5, 1, 1, 2], layout),
        // So few channels on one side that windows and weight are multiplied along the other.
        square(2, [37, 1, 1], 13, [5, 1, 1, 2], layout),
        square(1, [70, 3, 1], 21, [3, 1, 1, 1], layout),
        square(2, [130, 4, 1], 15, [3, 2, 1, 1], layout),
        square(3, [300, 2, 1], 9, [3, 1, 2, 2], layout),
        square(2, [257, 1, 1], 11, [1, 1, 1, 0], layout),
        square(2, [3, 45, 1], 14, [5, 1, 1, 2], layout),
        square(1, [136, 6, 2], 12, [3, 1, 1, 1], layout),
    ]
}

#[test]
fn large_convolutions_are_within_the_bound() {
    for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
        for (seed, shape) in large_shapes(layout).into_iter().enumerate() {
            let case = Case { shape, bias: true, relu: seed % 2 == 0, seed: 16 * seed as u64 };
            on_both_sides(|| check::<f32>(&case));
        }
    }
}

/// The convolution is linear in the input and in the weight, and the gradients are its adjoints.
#[test]
fn gradients_are_adjoint() {
    let isa = Isa::detect();
    for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
        for (seed, shape) in large_shapes(layout).into_iter().enumerate() {
            let shape = &shape;
            let mut numbers = Numbers::new(seed as u64);
            let x = numbers.f64s(shape.input_elements());
            let w = numbers.f64s(shape.weight_elements());
            let dy = numbers.f64s(shape.output_elements());
            let (mut y, mut dx, mut dw) =
                (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
            let algorithm = |pass| choose::<f64>(isa, pass, shape, &[], 12.0);
            let scratch =
                |pass| vec![0.0; scratch_elements::<f64>(isa, algorithm(pass), pass, shape, false)];
            let pass = Pass::Forward;
            let (how, scratch_y) = (algorithm(pass), &mut scratch(pass));
            let target = Target::Array(&mut y);
            convolution(isa, &Serial, how, shape, &x, &w, None, false, target, scratch_y);
            let pass = Pass::InputGradient;
            let (how, scratch_dx) = (algorithm(pass), &mut scratch(pass));
            let from = Source::Array(&dy);
            convolution_input_gradient(isa, &Serial, how, shape, from, &w, &mut dx, scratch_dx);
            let pass = Pass::WeightGradient;
            let (how, scratch_dw) = (algorithm(pass), &mut scratch(pass));
            convolution_weight_gradient(isa, &Serial, how, shape, &x, from, &mut dw, scratch_dw);
            let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
            let (forward, input, weight) = (dot(&y, &dy), dot(&x, &dx), dot(&w, &dw));
            let scale = 1e-11 * (dot(&y, &y) * dot(&dy, &dy)).sqrt();
            assert!((forward - input).abs() < scale, "{shape:?}: {forward} and {input}");
            assert!((forward - weight).abs() < scale, "{shape:?}: {forward} and {weight}");
        }
    }
}

#[test]
fn nan_and_infinity_reach_the_output() {
    for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
        let shape = square(1, [1, 1, 1], 3, [3, 1, 1, 1], layout);
        for (value, expected) in [(f32::NAN, f32::NAN), (f32::INFINITY, f32::INFINITY)] {
            let (mut x, w, mut y) = ([1f32; 9], [0.5f32; 9], [0f32; 9]);
            x[4] = value;
            let isa = Isa::detect();
            // Winograd's tiles spread them over their pixels.
            for algorithm in &ALGORITHMS[..3] {
                let algorithm = *algorithm;
                let length = scratch_elements::<f32>(isa, algorithm, Pass::Forward, &shape, false);
                let (scratch, to) = (&mut vec![0.0; length], Target::Array(&mut y));
                convolution(isa, &Serial, algorithm, &shape, &x, &w, None, true, to, scratch);
                assert!(
                    y.iter().all(|y| y.to_bits() == expected.to_bits()),
                    "{algorithm:?}: {y:?}"
                );
            }
        }
    }
}

#[test]
fn depthwise_is_chosen_where_every_channel_is_a_group() {
    let many = square(1, [8, 8, 8], 5, [3, 1, 1, 1], Layout::ChannelsFirst);
    let two = square(1, [8, 8, 2], 5, [3, 1, 1, 1], Layout::ChannelsFirst);
    let isa = Isa::detect();
    for pass in [Pass::Forward, Pass::InputGradient, Pass::WeightGradient] {
        assert_eq!(choose::<f32>(isa, pass, &many, &[], 12.0), Algorithm::Depthwise);
        assert_eq!(choose::<f32>(isa, pass, &two, &[], 12.0), Algorithm::Direct);
    }
    assert!(!Algorithm::Depthwise.supports(Pass::Forward, &two));
}

#[test]
fn sizes_that_do_not_fit_are_errors() {
    let new = |channels, kernel, output| {
        let last = Layout::ChannelsLast;
        ConvolutionShape::new(1, channels, [1, 5, 5], kernel, NONE, NONE, [0; 3], output, last)
    };
    let small = [1, 3, 3];
    assert_eq!(new([4, 4, 1], small, small).map(|shape| shape.padding_after()), Ok([0; 3]));
    assert_eq!(new([4, 4, 1], small, [1, 4, 3]).map(|shape| shape.padding_after()), Ok([0, 1, 0]));
    let groups = new([4, 6, 3], small, small).expect_err("4 channels in 3 groups");
    assert_eq!(groups, "4 input channels do not fall into 3 equal groups");
    let kernel = new([4, 4, 1], [1, 0, 3], small).expect_err("an empty kernel");
    assert_eq!(kernel, "spatial axis 1: the window is 0, expected at least 1");
    let output = new([4, 4, 1], small, [1, usize::MAX / 2, usize::MAX / 2]);
    assert!(output.expect_err("a huge output").contains("too"));
}

#[test]
#[should_panic(expected = "a working memory of")]
fn too_little_working_memory_is_refused() {
    let shape = square(1, [8, 8, 1], 5, [3, 1, 1, 1], Layout::ChannelsFirst);
    let (x, w, mut y) = ([0f32; 200], [0f32; 576], [0f32; 200]);
    let isa = Isa::detect();
    let to = Target::Array(&mut y);
    convolution(isa, &Serial, Algorithm::Im2col, &shape, &x, &w, None, false, to, &mut []);
}

/// A pool of the output of a convolution.
fn pool_of(shape: &ConvolutionShape, window: usize, stride: usize, padding: usize) -> PoolingShape {
    let along = |size: usize| (size + padding).saturating_sub(window) / stride + 1;
    let wide = |size: usize, one: bool| if one { 1 } else { size };
    let single = shape.output.map(|size| size == 1);
    PoolingShape::new(
        shape.batch,
        shape.output_channels,
        shape.output,
        single.map(|one| wide(window, one)),
        single.map(|one| wide(stride, one)),
        single.map(|one| if one { 0 } else { padding }),
        std::array::from_fn(|axis| if single[axis] { 1 } else { along(shape.output[axis]) }),
        Layout::ChannelsLast,
    )
    .expect("a pool that fits")
}

/// Whether the three passes were found to take the pool along: bits as with the pool apart.
fn check_pooled<T: Float>(case: &Case, pool: &PoolingShape) -> [bool; 3]
where
    Vec<T>: Bits,
{
    let shape = &case.shape;
    let mut numbers = Numbers::new(case.seed);
    let mut fill = |count: usize| -> Vec<T> { (0..count).map(|_| numbers.next().cast()).collect() };
    let pooled_count = pool.batch * pool.channels * pool.output.iter().product::<usize>();
    let (x, w) = (fill(shape.input_elements()), fill(shape.weight_elements()));
    let (dy, bias) = (fill(pooled_count), fill(shape.output_channels));
    let bias = case.bias.then_some(&bias[..]);
    let mut found = [false; 3];
    let passes = [Pass::Forward, Pass::InputGradient, Pass::WeightGradient];
    for isa in Isa::available() {
        for algorithm in ALGORITHMS {
            let unset = |count: usize| vec![T::from_f64(f64::NAN); count];
            let scratch =
                |pass, pooled| unset(scratch_elements::<T>(isa, algorithm, pass, shape, pooled));
            let forward = |parallel: &dyn Parallel, output: Target<T>| {
                let scratch = &mut scratch(Pass::Forward, matches!(output, Target::Pooled(_)));
                let relu = case.relu;
                convolution(isa, parallel, algorithm, shape, &x, &w, bias, relu, output, scratch);
            };
            let to_input = |parallel: &dyn Parallel, dy: Source<T>| {
                let pooled = matches!(dy, Source::Unpooled(_));
                let (mut dx, mut scratch) = (unset(x.len()), scratch(Pass::InputGradient, pooled));
                let (to, scratch) = (&mut dx[..], &mut scratch);
                convolution_input_gradient(isa, parallel, algorithm, shape, dy, &w, to, scratch);
                dx
            };
            let to_weight = |parallel: &dyn Parallel, dy: Source<T>| {
                let pooled = matches!(dy, Source::Unpooled(_));
                let (mut dw, mut scratch) = (unset(w.len()), scratch(Pass::WeightGradient, pooled));
                let (to, scratch) = (&mut dw[..], &mut scratch);
                convolution_weight_gradient(isa, parallel, algorithm, shape, &x, dy, to, scratch);
                dw
            };
            let positions: Vec<u8> = {
                let mut positions = vec![0; pooled_count];
                let any = fill_positions(pool, case.seed);
                positions.copy_from_slice(&any);
                positions
            };
            let mut unpooled = unset(shape.output_elements());
            let maxima = Maxima::Positions(&positions);
            max_pool_gradient(isa, &Serial, pool, maxima, &dy, &mut unpooled);
            let fused = MaxUnpooled::new(pool, &positions, &dy);
            for (index, pass) in passes.into_iter().enumerate() {
                if !algorithm.supports(pass, shape) || !algorithm.pools::<T>(isa, pass, shape) {
                    continue;
                }
                found[index] = true;
                let name = format!("{isa:?} {algorithm:?} {pass:?} {shape:?} {pool:?}");
                match pass {
                    Pass::Forward => {
                        let mut whole = unset(shape.output_elements());
                        forward(&Serial, Target::Array(&mut whole));
                        let (mut y, mut argmax) = (unset(pooled_count), vec![0; pooled_count]);
                        max_pool(isa, &Serial, pool, &whole, &mut y, Some(&mut argmax));
                        let got = same_bits(case.seed, |parallel| {
                            let (mut y, mut argmax) = (unset(pooled_count), vec![7; pooled_count]);
                            let target = MaxPooled::new(pool, &mut y, Some(&mut argmax));
                            forward(parallel, Target::Pooled(target));
                            assert_eq!(argmax.len(), pooled_count);
                            y.extend(
                                argmax.iter().map(|position| f64::from(*position).cast::<T>()),
                            );
                            y
                        });
                        y.extend(argmax.iter().map(|position| f64::from(*position).cast::<T>()));
                        assert_eq!(got.bits(), y.bits(), "{name}");
                    }
                    Pass::InputGradient => {
                        let want = to_input(&Serial, Source::Array(&unpooled));
                        let got = same_bits(case.seed, |parallel| {
                            to_input(parallel, Source::Unpooled(&fused))
                        });
                        assert_eq!(got.bits(), want.bits(), "{name}");
                    }
                    Pass::WeightGradient => {
                        let want = to_weight(&Serial, Source::Array(&unpooled));
                        let got = same_bits(case.seed, |parallel| {
                            to_weight(parallel, Source::Unpooled(&fused))
                        });
                        assert_eq!(got.bits(), want.bits(), "{name}");
                    }
                }
            }
        }
    }
    found
}

/// Positions of maxima as a pool of some numbers finds them.
fn fill_positions(pool: &PoolingShape, seed: u64) -> Vec<u8> {
    let pixels = pool.input.iter().product::<usize>();
    let x = Numbers::new(seed ^ 1).f64s(pool.batch * pool.channels * pixels);
    let count = pool.batch * pool.channels * pool.output.iter().product::<usize>();
    let (mut y, mut positions) = (vec![0.0; count], vec![0; count]);
    max_pool(Isa::detect(), &Serial, pool, &x, &mut y, Some(&mut positions));
    positions
}

fn channels_last(case: Case) -> Case {
    Case { shape: ConvolutionShape { output_layout: Layout::ChannelsLast, ..case.shape }, ..case }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() })]

    #[test]
    fn pools_go_along_with_convolutions(
        case in prop_oneof![cases(), tiled_cases()],
        window in 1usize..4,
        stride in 1usize..4,
        padding in 0usize..2,
    ) {
        let _placed = place_by(case.seed);
        let case = channels_last(case);
        let pool = pool_of(&case.shape, window.max(padding + 1), stride, padding);
        check_pooled::<f32>(&case, &pool);
        check_pooled::<f64>(&case, &pool);
    }
}

#[test]
fn pools_go_along_with_the_convolutions_of_a_lenet() {
    for (channels, size) in [([1, 32, 1], 28), ([32, 64, 1], 14)] {
        let shape = square(20, channels, size, [5, 1, 1, 2], Layout::ChannelsLast);
        let case = Case { shape, bias: true, relu: true, seed: 16 };
        assert_eq!(check_pooled::<f32>(&case, &pool_of(&shape, 2, 2, 0)), [true; 3]);
    }
}

/// The gradient of the pool goes to the transformed input of all images, and nothing else along.
#[test]
fn pools_go_along_with_weights_that_leave_the_cache() {
    let shape = square(3, [80, 96, 1], 6, [3, 1, 1, 1], Layout::ChannelsLast);
    let pools = |pass| Algorithm::Winograd6.pools::<f32>(Isa::detect(), pass, &shape);
    let passes = [Pass::Forward, Pass::InputGradient, Pass::WeightGradient];
    assert_eq!(passes.map(pools), [false, true, false]);
    // One row of tiles cannot be cut into parts with whole rows of pixels.
    let plane = |height, width| [1, height, width];
    let padding = [[0; 2], [1; 2], [1; 2]];
    let layout = Layout::ChannelsLast;
    let low = self::shape(1, [80, 96, 1], plane(4, 19), plane(3, 3), NONE, NONE, padding, layout);
    for shape in [shape, low] {
        let case = Case { shape, bias: true, relu: true, seed: 16 };
        check_pooled::<f32>(&case, &pool_of(&shape, 2, 2, 0));
    }
}
