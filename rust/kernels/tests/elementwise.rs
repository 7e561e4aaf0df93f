//! Elementwise programs against the naive interpreter, which computes in float64.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::guard::place_by;
use common::{Bits, Numbers, on_every_isa, ulps};
use flowrs_kernels::elementwise::{
    Instruction, Number, Operand, Operation, Program, ProgramError, run,
};
use flowrs_kernels::{Data, Element, ElementType, Isa, Serial, naive};
use proptest::prelude::*;

const UNARY: &[Operation] = {
    use Operation::*;
    &[
        Copy,
        Negative,
        Abs,
        Relu,
        Exp,
        Log,
        Log1p,
        Expm1,
        Sqrt,
        Rsqrt,
        Square,
        Reciprocal,
        ReciprocalNoNan,
        Sigmoid,
        Tanh,
        Erf,
        Erfc,
        Lgamma,
        Sin,
        Cos,
        Tan,
        Asin,
        Acos,
        Atan,
        Sinh,
        Cosh,
        Asinh,
        Acosh,
        Atanh,
        Floor,
        Ceil,
        Rint,
        Sign,
        Softplus,
        LogSigmoid,
        IsZero,
    ]
};

const BINARY: &[Operation] = {
    use Operation::*;
    &[
        Add,
        Subtract,
        Multiply,
        Divide,
        Maximum,
        Minimum,
        Power,
        FloorMod,
        FloorDivide,
        Atan2,
        Equal,
        NotEqual,
        Less,
        LessEqual,
        Greater,
        GreaterEqual,
        LogicalAnd,
        ReluGradient,
        TimesOrZero,
    ]
};

/// Operations whose float32 result is the float64 one rounded, or off by rounding a few times.
fn tolerance(operation: Operation) -> f64 {
    use Operation::*;
    match operation {
        Exp | Log | Log1p | Expm1 | Tanh | Erf | Sin | Cos | Tan | Asin | Acos | Atan | Sinh
        | Cosh | Sigmoid | Rsqrt | Power | Atan2 => 2.5,
        Softplus | LogSigmoid => 3.0,
        Erfc | Lgamma | Asinh | Acosh | Atanh => 1.0,
        _ => 0.5,
    }
}

/// Numbers where functions change their mind, and many in between.
fn interesting() -> Vec<f32> {
    let mut values = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        -1.5,
        2.5,
        2.0,
        3.0,
        0.625,
        0.927_734_4,
        1e-8,
        -1e-8,
        1e-7,
        3e-7,
        -3e-7,
        1e-4,
        0.99999994,
        1.0000001,
        4.0,
        5.0,
        9.0,
        10.0,
        16.0,
        17.5,
        40.0,
        87.0,
        88.0,
        88.72283,
        88.8,
        89.1,
        -86.0,
        -87.5,
        -88.0,
        -95.0,
        -103.0,
        -103.97,
        -104.5,
        -200.0,
        1e4,
        -1e4,
        1e10,
        1e20,
        -1e20,
        1e30,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-40,
        1e-45,
        -1e-42,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::EPSILON,
    ];
    let mut numbers = Numbers::new(1);
    for scale in [1e-30, 1e-6, 1e-3, 0.1, 1.0, 3.0, 10.0, 90.0, 105.0, 1e5, 1e30] {
        values.extend((0..3000).map(|_| (numbers.next() * scale) as f32));
    }
    // All over the range of exponents.
    values.extend((0..20_000u32).map(|i| f32::from_bits(i.wrapping_mul(214_013_003))));
    values
}

fn apply<T: Element>(
    isa: Isa,
    parallel: &dyn flowrs_kernels::Parallel,
    operation: Operation,
    operands: &[&[T]],
) -> Vec<T>
where
    for<'a> Data<'a>: From<&'a [T]>,
    for<'a> flowrs_kernels::DataMut<'a>: From<&'a mut [T]>,
{
    let mut output = vec![T::default(); operands[0].len()];
    let shape = [operands[0].len()];
    let operands: Vec<Operand> =
        operands.iter().map(|&data| Operand { data: data.into(), strides: &[1] }).collect();
    let program = Program::single(operation);
    run(isa, parallel, &program, T::TYPE, &shape, &operands, output[..].as_mut().into(), None);
    output
}

fn expected<T: Element>(operation: Operation, operands: &[&[T]]) -> Vec<f64>
where
    for<'a> Data<'a>: From<&'a [T]>,
{
    let shape = [operands[0].len()];
    let wide: Vec<Vec<f64>> =
        operands.iter().map(|data| data.iter().map(|x| x.cast()).collect()).collect();
    let operands: Vec<Operand> =
        wide.iter().map(|data| Operand { data: Data::F64(data), strides: &[1] }).collect();
    let mut output = vec![0f64; shape[0]];
    let program = Program::single(operation);
    naive::run(&program, ElementType::F64, &shape, &operands, output[..].as_mut().into(), None);
    output
}

#[test]
fn unary_functions_of_f32_are_accurate_to_a_few_ulps() {
    let x = interesting();
    for &operation in UNARY {
        let want = expected(operation, &[&x[..]]);
        on_every_isa(
            |isa, parallel| apply(isa, parallel, operation, &[&x[..]]),
            |isa, got| {
                for ((&x, &got), &want) in x.iter().zip(&got).zip(&want) {
                    let error = ulps(got, want);
                    assert!(
                        error <= tolerance(operation),
                        "{isa:?} {operation:?}({x:e}) = {got:e} instead of {want:e}: {error} ulps"
                    );
                }
            },
        );
    }
}

#[test]
fn binary_functions_of_f32_are_accurate_to_a_few_ulps() {
    let x: Vec<f32> = interesting().into_iter().step_by(37).collect();
    let a: Vec<f32> = x.iter().flat_map(|&a| x.iter().take(90).map(move |_| a)).collect();
    let b: Vec<f32> = x.iter().flat_map(|_| x.iter().take(90).copied()).collect();
    for &operation in BINARY {
        // In float32 the quotient is rounded before it is floored.
        if operation == Operation::FloorDivide {
            continue;
        }
        let want = expected(operation, &[&a[..], &b[..]]);
        on_every_isa(
            |isa, parallel| apply(isa, parallel, operation, &[&a[..], &b[..]]),
            |isa, got| {
                for (i, (&got, &want)) in got.iter().zip(&want).enumerate() {
                    let error = ulps(got, want);
                    assert!(
                        error <= tolerance(operation),
                        "{isa:?} {operation:?}({:e}, {:e}) = {got:e} instead of {want:e}: {error} ulps",
                        a[i],
                        b[i]
                    );
                }
            },
        );
    }
}

#[test]
fn floor_divide_of_f32_floors_the_rounded_quotient() {
    let (a, b) = ([7.0f32, -7.0, 7.0, 1.0, 0.0], [2.0f32, 2.0, -2.0, 0.0, 0.0]);
    let got = apply(Isa::detect(), &Serial, Operation::FloorDivide, &[&a[..], &b[..]]);
    assert_eq!(got[..4], [3.0, -4.0, -4.0, f32::INFINITY]);
    assert!(got[4].is_nan());
}

/// The arguments of [`interesting`], and such as only float64 has.
fn interesting_doubles() -> Vec<f64> {
    let mut values: Vec<f64> = interesting().into_iter().map(f64::from).collect();
    values.extend([
        709.78,
        709.79,
        -708.5,
        -744.9,
        -745.2,
        -746.5,
        1e-320,
        5e-324,
        f64::MIN_POSITIVE,
    ]);
    values.extend([36.0, 40.5, 5.9, 6.1, 1.0 - 1e-16, 1.0 + 3e-16, 1e-17, 3e-16, -3e-16]);
    values.extend([f64::MAX, f64::MIN, 1e300, 999_999.5, 1_000_001.0, -999_999.5]);
    // Next to whole quarter turns.
    values.extend((1..2000).map(|n| f64::from(n * n) * std::f64::consts::FRAC_PI_4));
    let mut numbers = Numbers::new(2);
    for scale in [1e-12, 1e-3, 0.3, 1.0, 2.0, 6.0, 40.0, 750.0, 1e6] {
        values.extend((0..3000).map(|_| numbers.next() * scale));
    }
    values.extend((0..20_000u64).map(|i| f64::from_bits(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
    values
}

/// How many units in its last place a number is away from another.
fn double_ulps(got: f64, want: f64) -> f64 {
    if got == want || (got.is_nan() && want.is_nan()) {
        return 0.0;
    }
    if !got.is_finite() || !want.is_finite() {
        return f64::INFINITY;
    }
    const EXPONENT: u64 = 0x7ff << 52;
    let power_of_two = f64::from_bits(want.abs().max(f64::MIN_POSITIVE).to_bits() & EXPONENT);
    (got - want).abs() / (power_of_two * f64::EPSILON)
}

#[test]
fn unary_functions_of_f64_are_accurate_to_a_few_ulps() {
    let x = interesting_doubles();
    for &operation in UNARY {
        let want = expected(operation, &[&x[..]]);
        let is_near = |x: f64, got: f64, want: f64| match operation {
            // The interpreter's inverses are the less accurate ones, and its sigmoid overflows.
            Operation::Asinh | Operation::Acosh | Operation::Atanh => {
                double_ulps(got, want) == 0.0 || (got - want).abs() <= 1e-7 * want.abs() + 1e-15
            }
            Operation::Sigmoid if x < -700.0 => double_ulps(got, x.exp()) <= 3.0,
            // Its error function is a series that loses digits; there is a test for that alone.
            Operation::Erf => double_ulps(got, want) <= 10.0,
            // The functions of the standard library are wrong by up to 1 themselves.
            _ if tolerance(operation) >= 1.0 => double_ulps(got, want) <= 3.0 + 1.0,
            _ => double_ulps(got, want) == 0.0,
        };
        on_every_isa(
            |isa, parallel| apply(isa, parallel, operation, &[&x[..]]),
            |isa, got| {
                for ((&x, &got), &want) in x.iter().zip(&got).zip(&want) {
                    assert!(
                        is_near(x, got, want),
                        "{isa:?} {operation:?}({x:e}) = {got:e} instead of {want:e}"
                    );
                }
            },
        );
    }
}

/// Values by mpmath with 40 digits: the interpreter's series is the less accurate one.
#[test]
fn the_error_function_of_f64_is_accurate() {
    let table = [
        (0.001, 0.0011283787909692365),
        (0.1, 0.1124629160182849),
        (0.3, 0.3286267594591274),
        (0.6, 0.6038560908479259),
        (0.8506343364715576, 0.7710154039871618),
        (0.95, 0.8208908072732779),
        (0.999, 0.8422852702064969),
        (1.0, 0.8427007929497149),
        (1.2, 0.9103139782296353),
        (1.5, 0.9661051464753108),
        (1.917292833328247, 0.9933012685891235),
        (2.3, 0.9988568234026434),
        (3.0, 0.9999779095030014),
        (3.7, 0.9999998328489421),
        (4.5, 0.9999999998033839),
        (5.5, 0.9999999999999927),
    ];
    let x = table.map(|(x, _)| x);
    on_every_isa(
        |isa, parallel| apply(isa, parallel, Operation::Erf, &[&x[..]]),
        |isa, got| {
            for (&(x, want), &got) in table.iter().zip(&got) {
                let error = double_ulps(got, want);
                assert!(
                    error <= 2.0,
                    "{isa:?} erf({x}) = {got:e} instead of {want:e}: {error} ulps"
                );
            }
        },
    );
}

/// Next to whole quarter turns, where most of an angle's digits are lost; all are near enough to 0 to be
/// reduced by the kernels.
fn angles() -> Vec<f64> {
    let mut angles = vec![0.0, -0.0, 5e-324, -1e-310, 999_999.5, -999_999.5];
    angles.extend((1..636_619).step_by(41).map(|n| f64::from(n) * std::f64::consts::FRAC_PI_2));
    angles
}

#[test]
fn sines_and_cosines_of_quarter_turns_are_accurate() {
    let x = angles();
    let single: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    for operation in [Operation::Sin, Operation::Cos] {
        let want = expected(operation, &[&x[..]]);
        let want_single = expected(operation, &[&single[..]]);
        on_every_isa(
            |isa, parallel| {
                let got = apply(isa, parallel, operation, &[&x[..]]);
                (got, apply(isa, parallel, operation, &[&single[..]]))
            },
            |isa, (got, got_single)| {
                for ((&x, &got), &want) in x.iter().zip(&got).zip(&want) {
                    let error = double_ulps(got, want);
                    assert!(error <= 3.0, "{isa:?} {operation:?}({x:e}) = {got:e}, not {want:e}");
                }
                for ((&x, &got), &want) in single.iter().zip(&got_single).zip(&want_single) {
                    let error = ulps(got, want);
                    assert!(error <= 2.5, "{isa:?} {operation:?}({x:e}) = {got:e}, not {want:e}");
                }
            },
        );
    }
}

/// One great angle leaves its block to the standard library, and no other.
#[test]
fn great_angles_are_the_librarys() {
    const BLOCK: usize = 1024;
    let mut x = angles();
    x.truncate(3 * BLOCK);
    x[BLOCK + 7] = 1e22;
    x[2 * BLOCK] = f64::INFINITY;
    let (near, far) = (apply(Isa::detect(), &Serial, Operation::Sin, &[&angles()[..]]), x.clone());
    on_every_isa(
        |isa, parallel| apply(isa, parallel, Operation::Sin, &[&x[..]]),
        |isa, got| {
            if isa == Isa::detect() {
                assert_eq!(got[..BLOCK].to_vec().bits(), near[..BLOCK].to_vec().bits());
            }
            let want: Vec<f64> = far[BLOCK..].iter().map(|x| x.sin()).collect();
            let same =
                got[BLOCK..].iter().zip(&want).all(|(got, want)| double_ulps(*got, *want) == 0.0);
            assert!(same, "{isa:?}: {:?}", &got[BLOCK..][..10]);
        },
    );
}

/// Zeros keep their signs, and the least numbers are what the functions of them are.
#[test]
fn odd_functions_of_zeros_and_the_least_numbers_are_these() {
    let x = [0.0, -0.0, 5e-324, -5e-324, 1.5e-323, -1.5e-323];
    let single = x.map(|x: f64| f32::from_bits(x.abs().to_bits() as u32).copysign(x as f32));
    for operation in
        [Operation::Expm1, Operation::Log1p, Operation::Sin, Operation::Tanh, Operation::Asinh]
    {
        on_every_isa(
            |isa, parallel| {
                let got = apply(isa, parallel, operation, &[&x[..]]);
                (got, apply(isa, parallel, operation, &[&single[..]]))
            },
            |isa, (got, got_single)| {
                assert_eq!(got.bits(), x.to_vec().bits(), "{isa:?} {operation:?}");
                assert_eq!(got_single.bits(), single.to_vec().bits(), "{isa:?} {operation:?}");
            },
        );
    }
}

#[test]
fn powers_of_special_numbers_are_the_librarys() {
    let mut values = vec![f32::NAN];
    for x in [
        0.0,
        0.5,
        1.0,
        1.5,
        2.0,
        3.0,
        7.0,
        8_388_607.0,
        8_388_608.5,
        16_777_216.0,
        1e10,
        1e-45,
        1e-38,
        f32::MAX,
        f32::INFINITY,
    ] {
        values.extend([x, -x]);
    }
    let count = values.len();
    let x: Vec<f32> = values.iter().flat_map(|&x| vec![x; count]).collect();
    let y: Vec<f32> = values.repeat(count);
    on_every_isa(
        |isa, parallel| apply(isa, parallel, Operation::Power, &[&x[..], &y[..]]),
        |isa, got| {
            for ((&x, &y), &got) in x.iter().zip(&y).zip(&got) {
                let want = f64::from(x).powf(f64::from(y));
                let same_sign = got.is_nan() || got.is_sign_negative() == want.is_sign_negative();
                assert!(
                    ulps(got, want) <= 1.0 && same_sign,
                    "{isa:?} {x:e} ^ {y:e} = {got:e} instead of {want:e}"
                );
            }
        },
    );
}

#[test]
fn a_zero_times_anything_is_that_zero() {
    let (a, b) = ([0.0, -0.0, 0.0, -0.0, 2.0], [f32::INFINITY, f32::NAN, -3.0, 3.0, f32::INFINITY]);
    on_every_isa(
        |isa, parallel| apply(isa, parallel, Operation::TimesOrZero, &[&a[..], &b[..]]),
        |isa, got| {
            assert_eq!(got.bits(), vec![0.0f32, -0.0, 0.0, -0.0, f32::INFINITY].bits(), "{isa:?}");
        },
    );
}

#[test]
fn normal_probabilities_are_accurate_and_end_at_0_and_1() {
    let x = interesting_doubles();
    let single: Vec<f32> = interesting();
    let operation = Operation::NormalCdf;
    let check = |isa: Isa, x: f64, got: f64, want: f64, bound: f64| {
        let is_near = (got - want).abs() <= bound || (got.is_nan() && want.is_nan());
        let is_whole = x.abs() < 9.0 || got == f64::from(u8::from(x > 0.0)) || x.is_nan();
        assert!(is_near && is_whole, "{isa:?} {operation:?}({x:e}) = {got:e} instead of {want:e}");
    };
    let (want, want_single) = (expected(operation, &[&x[..]]), expected(operation, &[&single[..]]));
    on_every_isa(
        |isa, parallel| {
            let got = apply(isa, parallel, operation, &[&x[..]]);
            (got, apply(isa, parallel, operation, &[&single[..]]))
        },
        |isa, (got, got_single)| {
            for ((&x, &got), &want) in x.iter().zip(&got).zip(&want) {
                check(isa, x, got, want, 1e-15);
            }
            for ((&x, &got), &want) in single.iter().zip(&got_single).zip(&want_single) {
                check(isa, x.into(), got.into(), want, 1e-7);
            }
        },
    );
}

/// Values by mpmath with 50 digits.
#[test]
fn special_functions_have_known_values() {
    for (operation, x, want) in [
        (Operation::Erf, 0.5, 0.5204998778130465),
        (Operation::Erf, 1.0, 0.8427007929497149),
        (Operation::Erf, -2.5, -0.999593047982555),
        (Operation::Erf, 1e-10, 1.1283791670955126e-10),
        (Operation::Erfc, 0.5, 0.4795001221869535),
        (Operation::Erfc, 1.0, 0.15729920705028513),
        (Operation::Erfc, 2.0, 0.004677734981047266),
        (Operation::Erfc, 5.0, 1.537459794428035e-12),
        (Operation::Erfc, 10.0, 2.088487583762545e-45),
        (Operation::Erfc, -1.0, 1.8427007929497148),
        (Operation::NormalCdf, -1.0, 0.15865525393145705),
        (Operation::NormalCdf, -0.5, 0.3085375387259869),
        (Operation::NormalCdf, 0.3, 0.6179114221889527),
        (Operation::NormalCdf, 1.5, 0.9331927987311419),
        (Operation::NormalCdf, 2.0132639408111572, 0.9779565651456956),
        (Operation::NormalCdf, 3.0, 0.9986501019683699),
        (Operation::Lgamma, 0.5, 0.5723649429247001),
        (Operation::Lgamma, 3.5, 1.2009736023470743),
        (Operation::Lgamma, 10.0, 12.801827480081469),
        (Operation::Lgamma, 100.5, 361.4355404677776),
        (Operation::Lgamma, -0.5, 1.2655121234846454),
        (Operation::Lgamma, -3.7, -1.3797399049658245),
    ] {
        let got = apply(Isa::detect(), &Serial, operation, &[&[x][..]])[0];
        let bound = 4e-15 * f64::max(1.0, f64::abs(want));
        let relative = f64::abs(got / want - 1.0) < 4e-15;
        let near = operation == Operation::Lgamma && f64::abs(got - want) < bound;
        assert!(relative || near, "{operation:?}({x}) = {got:e} instead of {want:e}");
    }
    let lgamma = |x: f64| apply(Isa::detect(), &Serial, Operation::Lgamma, &[&[x][..]])[0];
    for pole in [0.0, -1.0, -2.0, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(lgamma(pole), f64::INFINITY);
    }
}

/// Checks every operation that supports the integer type, on small and extreme values.
fn check_integers<T: Element>(values: &[i64])
where
    Vec<T>: Bits,
    for<'a> Data<'a>: From<&'a [T]>,
    for<'a> flowrs_kernels::DataMut<'a>: From<&'a mut [T]>,
{
    let values: Vec<T> = values.iter().map(|x| x.cast()).collect();
    let a: Vec<T> = values.iter().flat_map(|&a| values.iter().map(move |_| a)).collect();
    let b: Vec<T> = values.iter().flat_map(|_| values.iter().copied()).collect();
    let shape = [a.len()];
    for &operation in UNARY.iter().chain(BINARY).chain(&[Operation::Select]) {
        let program = Program::single(operation);
        if !program.supports(T::TYPE) {
            continue;
        }
        let data: Vec<&[T]> = [&a[..], &b[..], &b[..]][..operation.arity()].to_vec();
        let operands: Vec<Operand> =
            data.iter().map(|&data| Operand { data: data.into(), strides: &[1] }).collect();
        let mut want = vec![T::default(); a.len()];
        naive::run(&program, T::TYPE, &shape, &operands, want[..].as_mut().into(), None);
        let got = apply(Isa::detect(), &Serial, operation, &data);
        for i in 0..got.len() {
            assert_eq!(got[i], want[i], "{operation:?}({:?}, {:?})", a[i], b[i]);
        }
    }
}

#[test]
fn integers_wrap_around_and_never_fail() {
    let values = [0, 1, 2, 3, 7, 100, -1, -2, -3, -7, -100, 127, -128, 255];
    check_integers::<i8>(&values);
    check_integers::<u8>(&values.map(|value| value.max(0)));
    check_integers::<i32>(&[&values[..], &[i64::from(i32::MAX), i64::from(i32::MIN)]].concat());
    check_integers::<i64>(&[&values[..], &[i64::MAX, i64::MIN]].concat());
}

/// A random program over operands of random layouts.
#[derive(Clone, Debug)]
struct Case {
    shape: Vec<usize>,
    /// For each operand and axis: 0 broadcast, 1 as it is; and whether the axes are reversed.
    operands: Vec<(Vec<bool>, bool, bool)>,
    steps: Vec<(usize, [usize; 3])>,
    in_place: bool,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let size = prop_oneof![4 => 1usize..6, 1 => Just(0usize), 3 => 6usize..70, 1 => 500usize..1100];
    let shape = prop::collection::vec(size, 0..4)
        .prop_filter("small enough", |shape| shape.iter().product::<usize>() < 100_000);
    shape
        .prop_flat_map(|shape| {
            let operand = (
                prop::collection::vec(prop::bool::weighted(0.7), shape.len()),
                prop::bool::weighted(0.2),
                any::<bool>(),
            );
            let step = (0usize..12, [0usize..100, 0usize..100, 0usize..100]);
            (
                Just(shape),
                prop::collection::vec(operand, 1..4),
                prop::collection::vec(step, 1..9),
                any::<bool>(),
                any::<u64>(),
            )
        })
        .prop_map(|(shape, operands, steps, in_place, seed)| Case {
            shape,
            operands,
            steps,
            in_place,
            seed,
        })
}

/// Operations whose float32 result is the rounded exact one, so that both sides agree in every bit.
const EXACT: [Operation; 12] = {
    use Operation::*;
    [
        Add,
        Subtract,
        Multiply,
        Maximum,
        Less,
        Select,
        ReluGradient,
        Negative,
        Relu,
        Abs,
        Square,
        Constant(Number::Float(0.375)),
    ]
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn programs_agree_with_the_interpreter(case in cases()) {
        let _placed = place_by(case.seed);
        let operand_count = case.operands.len();
        let mut instructions = Vec::new();
        for (index, (operation, arguments)) in case.steps.iter().enumerate() {
            let written = operand_count + index;
            let arguments = arguments.map(|argument| (argument % written) as u16);
            instructions.push(Instruction { operation: EXACT[*operation], arguments });
        }
        let program = Program::new(operand_count, instructions).unwrap();
        let shape = &case.shape;
        let total: usize = shape.iter().product();
        let mut numbers = Numbers::new(case.seed);
        let strides: Vec<Vec<usize>> = case
            .operands
            .iter()
            .map(|(kept, reversed, _)| {
                let mut strides = vec![0; shape.len()];
                let mut step = 1;
                let mut axes: Vec<usize> = (0..shape.len()).rev().collect();
                if *reversed {
                    axes.reverse();
                }
                for axis in axes {
                    if kept[axis] {
                        strides[axis] = step;
                        step *= shape[axis];
                    }
                }
                strides
            })
            .collect();
        let dense: Vec<usize> =
            (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        // None is longer than it needs to be.
        let mut floats_of = |kept: &[bool]| {
            let sizes = shape.iter().zip(kept).filter(|(_, kept)| **kept);
            numbers.f32s(sizes.map(|(size, _)| size).product())
        };
        let floats: Vec<Vec<f32>> =
            case.operands.iter().map(|(kept, _, _)| floats_of(kept)).collect();
        let integers: Vec<Vec<i32>> = floats
            .iter()
            .map(|data| data.iter().map(|x| (x * 3.0) as i32).collect())
            .collect();
        let in_place = case.in_place.then_some(0);
        let operands: Vec<Operand> = (0..operand_count)
            .map(|i| {
                if in_place == Some(i) {
                    return Operand { data: Data::F32(&[]), strides: &dense };
                }
                let integer = case.operands[i].2;
                let data =
                    if integer { Data::I32(&integers[i]) } else { Data::F32(&floats[i]) };
                Operand { data, strides: &strides[i] }
            })
            .collect();
        let old = numbers.f32s(total);
        let mut want = old.clone();
        naive::run(
            &program, ElementType::F32, shape, &operands, want[..].as_mut().into(), in_place,
        );
        on_every_isa(
            |isa, parallel| {
                let mut got = old.clone();
                run(
                    isa, parallel, &program, ElementType::F32, shape, &operands,
                    got[..].as_mut().into(), in_place,
                );
                got
            },
            |isa, got| assert_eq!(got, want, "{isa:?}"),
        );
        // Into another type.
        let mut want = vec![0i8; total];
        let mut got = want.clone();
        if in_place.is_none() {
            naive::run(
                &program, ElementType::F32, shape, &operands, want[..].as_mut().into(), None,
            );
            run(
                Isa::detect(), &Serial, &program, ElementType::F32, shape, &operands,
                got[..].as_mut().into(), None,
            );
            prop_assert_eq!(got, want);
        }
    }
}

#[test]
fn constants_work_in_every_place() {
    // 2 - x in the second block too, and a constant as the result.
    let x: Vec<f32> = (0..2000).map(|i| i as f32).collect();
    let constant =
        Instruction { operation: Operation::Constant(Number::Integer(2)), arguments: [0; 3] };
    let subtract = Instruction { operation: Operation::Subtract, arguments: [1, 0, 0] };
    let operands = [Operand { data: Data::F32(&x), strides: &[1] }];
    let mut output = vec![0f32; 2000];
    for (program, want) in
        [(vec![constant, subtract], (|x| 2.0 - x) as fn(f32) -> f32), (vec![constant], |_| 2.0)]
    {
        let program = Program::new(1, program).unwrap();
        let target = output[..].as_mut().into();
        run(Isa::detect(), &Serial, &program, ElementType::F32, &[2000], &operands, target, None);
        assert!(output.iter().zip(&x).all(|(&y, &x)| y == want(x)));
    }
}

/// Such an output is written past the caches, from wherever it begins.
#[test]
fn large_outputs_are_whole() {
    let count = (16 << 18) + 1001;
    let x: Vec<f32> = (0..count).map(|i| i as f32 - 7e5).collect();
    for first in 0..4 {
        on_every_isa(
            |isa, parallel| {
                let mut y = vec![-1f32; count + 3];
                let (shape, x) = ([count], Operand { data: Data::from(&x[..]), strides: &[1] });
                let output = (&mut y[first..first + count]).into();
                let program = Program::single(Operation::Relu);
                run(isa, parallel, &program, ElementType::F32, &shape, &[x], output, None);
                y
            },
            |isa, y| {
                let (before, y) = y.split_at(first);
                let wrong = x.iter().zip(y).position(|(x, y)| x.max(0.0) != *y);
                assert_eq!(wrong, None, "{isa:?}: begins at {first}");
                let after = &y[count..];
                assert!(before.iter().chain(after).all(|y| *y == -1.0), "{isa:?}: {first}");
            },
        );
    }
}

#[test]
fn bad_programs_are_refused() {
    assert_eq!(Program::new(1, Vec::new()), Err(ProgramError::Empty));
    let ahead = Instruction { operation: Operation::Add, arguments: [0, 1, 0] };
    let error = Program::new(1, vec![ahead]).unwrap_err();
    assert_eq!(error, ProgramError::Unwritten { index: 0, register: 1, written: 1 });
    assert!(error.to_string().contains("reads register 1, but only 1 are written"));
    assert!(!Program::single(Operation::Exp).supports(ElementType::I32));
    assert!(Program::single(Operation::Exp).supports(ElementType::F64));
}

#[test]
#[should_panic(expected = "operand 0 reaches to element 6 of 5")]
fn operands_must_be_long_enough() {
    let mut output = [0f32; 6];
    let operands = [Operand { data: Data::F32(&[0.0; 5]), strides: &[3, 1] }];
    let program = Program::single(Operation::Exp);
    let target = output[..].as_mut().into();
    run(Isa::detect(), &Serial, &program, ElementType::F32, &[2, 3], &operands, target, None);
}
