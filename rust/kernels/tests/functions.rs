//! Elementary functions against the standard library and known values, in units in the last place.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::programs::{BINARY, UNARY, apply, expected};
use common::{Bits, Numbers, on_every_isa, ulps};
use flowrs_kernels::elementwise::Operation;
use flowrs_kernels::{Data, Element, Isa, Serial};

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

/// Holds a function's results, on every instruction set, to `is_near(x, got, want)`.
fn check<T: Element + std::fmt::LowerExp>(
    operation: Operation,
    x: &[T],
    is_near: impl Fn(T, T, f64) -> bool,
) where
    Vec<T>: Bits,
    for<'a> Data<'a>: From<&'a [T]>,
    for<'a> flowrs_kernels::DataMut<'a>: From<&'a mut [T]>,
{
    let want = expected(operation, &[x]);
    on_every_isa(
        |isa, parallel| apply(isa, parallel, operation, &[x]),
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

#[test]
fn unary_functions_of_f32_are_accurate_to_a_few_ulps() {
    let x = interesting();
    for &operation in UNARY {
        check(operation, &x, |_, got, want| ulps(got, want) <= tolerance(operation));
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
        check(operation, &x, is_near);
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
        check(operation, &x, |_, got, want| double_ulps(got, want) <= 3.0);
        check(operation, &single, |_, got, want| ulps(got, want) <= 2.5);
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
    fn is_near(x: f64, got: f64, want: f64, bound: f64) -> bool {
        let is_whole = x.abs() < 9.0 || got == f64::from(u8::from(x > 0.0));
        ((got - want).abs() <= bound && is_whole) || (got.is_nan() && x.is_nan())
    }
    let operation = Operation::NormalCdf;
    check(operation, &interesting_doubles(), |x, got, want| is_near(x, got, want, 1e-15));
    check(operation, &interesting(), |x, got, want| is_near(x.into(), got.into(), want, 1e-7));
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
