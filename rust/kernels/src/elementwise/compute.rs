//! What each operation does to a block of elements.

use std::cell::Cell;

use super::{Number, Operation, Register};
use crate::math::double::is_reducible;
use crate::math::{double, single};
use crate::{Element, Float, Isa, math};

/// A type that programs compute in.
pub(super) trait Compute: Element {
    /// `output[i] = operation(arguments[..][i])` for each i; operations without a meaning in this
    /// type give 0 (see [`Operation::supports`]).
    fn evaluate(isa: Isa, operation: Operation, arguments: [&[Self]; 3], output: &mut [Self]);

    /// Runs `task` with registers that the thread has used before, or with none.
    fn with_registers(task: impl FnOnce(&mut Vec<Box<Register<Self>>>));
}

/// Defines [`Compute::with_registers`]. Memory from the allocator would cost as much as a small
/// program itself.
macro_rules! with_registers {
    ($type:ident) => {
        fn with_registers(task: impl FnOnce(&mut Vec<Box<Register<$type>>>)) {
            thread_local! {
                static REGISTERS: Cell<Vec<Box<Register<$type>>>> = const { Cell::new(Vec::new()) };
            }
            let mut registers = REGISTERS.take();
            task(&mut registers);
            REGISTERS.set(registers);
        }
    };
}

#[inline(always)]
fn unary<T: Element>(a: &[T], output: &mut [T], function: impl Fn(T) -> T) {
    for (output, &a) in output.iter_mut().zip(a) {
        *output = function(a);
    }
}

#[inline(always)]
fn binary<T: Element>(a: &[T], b: &[T], output: &mut [T], function: impl Fn(T, T) -> T) {
    for ((output, &a), &b) in output.iter_mut().zip(a).zip(b) {
        *output = function(a, b);
    }
}

#[inline(always)]
fn truth<T: Element>(condition: bool) -> T {
    if condition { T::ONE } else { T::ZERO }
}

/// Runs the operations that are the same for all types; false if `operation` is none of them.
#[inline(always)]
fn evaluate_common<T: Element>(
    operation: Operation,
    [a, b, c]: [&[T]; 3],
    output: &mut [T],
) -> bool {
    use Operation::*;
    match operation {
        Copy => unary(a, output, |a| a),
        IsZero => unary(a, output, |a| truth(a == T::ZERO)),
        Relu => unary(a, output, |a| if a < T::ZERO { T::ZERO } else { a }),
        Square => unary(a, output, |a| a.times(a)),
        Add => binary(a, b, output, |a, b| a.plus(b)),
        Multiply => binary(a, b, output, |a, b| a.times(b)),
        Maximum => binary(a, b, output, |a, b| if a.is_nan() || a > b { a } else { b }),
        Minimum => binary(a, b, output, |a, b| if a.is_nan() || a < b { a } else { b }),
        Equal => binary(a, b, output, |a, b| truth(a == b)),
        NotEqual => binary(a, b, output, |a, b| truth(a != b)),
        Less => binary(a, b, output, |a, b| truth(a < b)),
        LessEqual => binary(a, b, output, |a, b| truth(a <= b)),
        Greater => binary(a, b, output, |a, b| truth(a > b)),
        GreaterEqual => binary(a, b, output, |a, b| truth(a >= b)),
        LogicalAnd => binary(a, b, output, |a, b| truth(a != T::ZERO && b != T::ZERO)),
        ReluGradient => binary(a, b, output, |a, b| if a > T::ZERO { b } else { T::ZERO }),
        Select => {
            for (((output, &a), &b), &c) in output.iter_mut().zip(a).zip(b).zip(c) {
                *output = if a != T::ZERO { b } else { c };
            }
        }
        Constant(Number::Float(value)) => output.fill(value.cast()),
        Constant(Number::Integer(value)) => output.fill(value.cast()),
        _ => return false,
    }
    true
}

macro_rules! integers {
    ($($type:ident)*) => {$(
        impl Compute for $type {
            with_registers!($type);

            fn evaluate(
                _: Isa,
                operation: Operation,
                arguments: [&[Self]; 3],
                output: &mut [Self],
            ) {
                use Operation::*;
                if evaluate_common(operation, arguments, output) {
                    return;
                }
                let [a, b, _] = arguments;
                const ZERO: $type = 0;
                match operation {
                    Negative => unary(a, output, |a| a.wrapping_neg()),
                    Abs => unary(a, output, |a| if a < ZERO { a.wrapping_neg() } else { a }),
                    Sign => unary(a, output, |a| {
                        if a < ZERO { ZERO.wrapping_sub(1) } else { truth(a > ZERO) }
                    }),
                    Subtract => binary(a, b, output, |a, b| a.wrapping_sub(b)),
                    Divide => {
                        binary(a, b, output, |a, b| if b == 0 { 0 } else { a.wrapping_div(b) })
                    }
                    FloorDivide => binary(a, b, output, |a, b| {
                        let quotient = if b == 0 { return 0 } else { a.wrapping_div(b) };
                        let remainder = a.wrapping_rem(b);
                        let below = remainder != 0 && (remainder < ZERO) != (b < ZERO);
                        if below { quotient - 1 } else { quotient }
                    }),
                    FloorMod => binary(a, b, output, |a, b| {
                        let remainder = if b == 0 { return 0 } else { a.wrapping_rem(b) };
                        let below = remainder != 0 && (remainder < ZERO) != (b < ZERO);
                        if below { remainder + b } else { remainder }
                    }),
                    _ => output.fill(0),
                }
            }
        }
    )*};
}

integers! { i8 i32 i64 u8 }

/// Applies a function that is for arguments near 0, and the library's if there is another one: the last bit
/// of a result depends on the others of its block, which are the same for every number of threads.
#[inline(always)]
fn trigonometric<T: Float>(
    a: &[T],
    output: &mut [T],
    near: impl Fn(T) -> T,
    library: impl Fn(T) -> T,
) {
    // Without an end at the first, which would keep it from being vectorised.
    let all_near = a.iter().fold(true, |all, &a| all & is_reducible(a.cast()));
    if all_near { unary(a, output, near) } else { unary(a, output, library) }
}

/// Defines the operations on a floating-point type, whose own functions are in a module of [`math`].
macro_rules! floats {
    ($($type:ident $functions:ident;)*) => {$(
        impl Compute for $type {
            with_registers!($type);

            fn evaluate(
                isa: Isa,
                operation: Operation,
                arguments: [&[$type]; 3],
                output: &mut [$type],
            ) {
                per_isa! {
                    fn evaluate<I>(
                        operation: Operation, arguments: [&[$type]; 3], output: &mut [$type],
                    ) {
                        use Operation::*;
                        if evaluate_common(operation, arguments, output) {
                            return;
                        }
                        let [a, b, _] = arguments;
                        match operation {
                            Negative => unary(a, output, |a| -a),
                            Abs => unary(a, output, |a| a.abs()),
                            Sqrt => unary(a, output, |a| a.sqrt()),
                            Rsqrt => unary(a, output, |a| 1.0 / a.sqrt()),
                            Reciprocal => unary(a, output, |a| 1.0 / a),
                            ReciprocalNoNan => {
                                unary(a, output, |a| if a == 0.0 { 0.0 } else { 1.0 / a })
                            }
                            Floor => unary(a, output, |a| a.floor()),
                            Ceil => unary(a, output, |a| a.ceil()),
                            Rint => unary(a, output, |a| a.round_ties_even()),
                            Sign => unary(a, output, |a| {
                                if a > 0.0 { 1.0 } else if a < 0.0 { -1.0 } else { a }
                            }),
                            Subtract => binary(a, b, output, |a, b| a - b),
                            TimesOrZero => {
                                binary(a, b, output, |a, b| if a == 0.0 { a } else { a * b })
                            }
                            Divide => binary(a, b, output, |a, b| a / b),
                            Power => $functions::pow::<I>(a, b, output),
                            FloorDivide => binary(a, b, output, |a, b| (a / b).floor()),
                            Atan2 => binary(a, b, output, |a, b| a.atan2(b)),
                            FloorMod => binary(a, b, output, |a, b| {
                                math::floor_mod_f64(a.into(), b.into()) as $type
                            }),
                            Exp => unary(a, output, $functions::exp::<I>),
                            Expm1 => unary(a, output, $functions::exp_m1::<I>),
                            Log => unary(a, output, $functions::ln::<I>),
                            Log1p => unary(a, output, math::ln_1p::<I, $type>),
                            Sigmoid => unary(a, output, math::sigmoid::<I, $type>),
                            Softplus => math::softplus::<I, $type>(a, output),
                            LogSigmoid => math::log_sigmoid::<I, $type>(a, output),
                            Tanh => unary(a, output, $functions::tanh::<I>),
                            Erf => unary(a, output, $functions::erf::<I>),
                            NormalCdf => unary(a, output, $functions::normal_cdf::<I>),
                            Sin => trigonometric(a, output, $functions::sin::<I>, $type::sin),
                            Cos => trigonometric(a, output, $functions::cos::<I>, $type::cos),
                            Tan => unary(a, output, |a| a.tan()),
                            Asin => unary(a, output, |a| a.asin()),
                            Acos => unary(a, output, |a| a.acos()),
                            Atan => unary(a, output, |a| a.atan()),
                            Sinh => unary(a, output, |a| a.sinh()),
                            Cosh => unary(a, output, |a| a.cosh()),
                            // The library's inverses lose digits in f32.
                            Asinh => unary(a, output, |a| math::asinh_f64(a.into()) as $type),
                            Acosh => unary(a, output, |a| math::acosh_f64(a.into()) as $type),
                            Atanh => unary(a, output, |a| math::atanh_f64(a.into()) as $type),
                            Erfc => unary(a, output, |a| math::erfc_f64(a.into()) as $type),
                            Lgamma => unary(a, output, |a| math::lgamma_f64(a.into()) as $type),
                            _ => output.fill(0.0),
                        }
                    }
                }
                evaluate(isa, operation, arguments, output);
            }
        }
    )*};
}

floats! {
    f32 single;
    f64 double;
}
