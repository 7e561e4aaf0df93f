//! Elementwise programs against the naive interpreter, which computes in float64.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::guard::place_by;
use common::programs::{BINARY, UNARY, apply};
use common::{Bits, Numbers, on_every_isa};
use flowrs_kernels::elementwise::{
    Instruction, Number, Operand, Operation, Program, ProgramError, run,
};
use flowrs_kernels::{Data, Element, ElementType, Isa, Serial, naive};
use proptest::prelude::*;

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
