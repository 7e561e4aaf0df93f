//! The slow, obvious version of every kernel: the specification that the tests hold the fast
//! versions to.

use crate::elementwise::{Instruction, Number, Operand, Operation, Program};
use crate::gemm::{Epilogue, Matrix, MatrixMut};
use crate::reduce::Reduction;
use crate::shape::{contiguous_strides, element_count, offset};
use crate::{Data, DataMut, Element, ElementType, Float};

/// `c = epilogue(alpha * a * b + beta * c)`.
pub fn gemm<T: Float>(
    alpha: T,
    a: Matrix<T>,
    b: Matrix<T>,
    beta: T,
    mut c: MatrixMut<T>,
    epilogue: Epilogue<T>,
) {
    let columns = c.columns();
    for row in 0..c.rows() {
        for column in 0..columns {
            let mut sum = T::ZERO;
            for depth in 0..a.columns() {
                sum += a.get(row, depth) * b.get(depth, column);
            }
            let mut value = alpha * sum;
            if beta != T::ZERO {
                value += beta * c.get(row, column);
            }
            value =
                match epilogue {
                    Epilogue::None => value,
                    Epilogue::Bias { bias, relu: false } => value + bias[column],
                    Epilogue::Bias { bias, relu: true } => relu(value + bias[column]),
                    Epilogue::Relu => relu(value),
                    Epilogue::ReluMask { reference } => {
                        if reference[row * columns + column] > T::ZERO { value } else { T::ZERO }
                    }
                };
            c.set(row, column, value);
        }
    }
}

/// The greater of `value` and 0; NaN stays NaN.
fn relu<T: Float>(value: T) -> T {
    if value < T::ZERO { T::ZERO } else { value }
}

/// Runs an elementwise program one element at a time, every register as a [`Number`] rounded to the
/// compute type.
pub fn run(
    program: &Program,
    compute: ElementType,
    shape: &[usize],
    operands: &[Operand],
    mut output: DataMut,
    in_place: Option<usize>,
) {
    for linear in 0..element_count(shape) {
        let mut registers: Vec<Number> = operands
            .iter()
            .enumerate()
            .map(|(index, operand)| {
                let value = match in_place {
                    Some(operand) if operand == index => load(&output.as_data(), linear),
                    _ => load(&operand.data, offset(linear, shape, operand.strides)),
                };
                round(value, compute)
            })
            .collect();
        for Instruction { operation, arguments } in program.instructions() {
            let [a, b, c] = arguments.map(|register| registers.get(register as usize).copied());
            registers.push(round(evaluate(*operation, a, b, c), compute));
        }
        if let Some(result) = registers.last() {
            store(&mut output, linear, *result);
        }
    }
}

fn load(data: &Data, index: usize) -> Number {
    match data {
        Data::F32(slice) => Number::Float(slice[index] as f64),
        Data::F64(slice) => Number::Float(slice[index]),
        Data::I8(slice) => Number::Integer(slice[index] as i64),
        Data::I32(slice) => Number::Integer(slice[index] as i64),
        Data::I64(slice) => Number::Integer(slice[index]),
        Data::U8(slice) => Number::Integer(slice[index] as i64),
    }
}

fn store(data: &mut DataMut, index: usize, value: Number) {
    match data {
        DataMut::F32(slice) => slice[index] = number_as(value),
        DataMut::F64(slice) => slice[index] = number_as(value),
        DataMut::I8(slice) => slice[index] = number_as(value),
        DataMut::I32(slice) => slice[index] = number_as(value),
        DataMut::I64(slice) => slice[index] = number_as(value),
        DataMut::U8(slice) => slice[index] = number_as(value),
    }
}

fn number_as<T: Element>(value: Number) -> T {
    match value {
        Number::Float(value) => value.cast(),
        Number::Integer(value) => value.cast(),
    }
}

/// `value` as the compute type would hold it.
fn round(value: Number, compute: ElementType) -> Number {
    match compute {
        ElementType::F32 => Number::Float(number_as::<f32>(value) as f64),
        ElementType::F64 => Number::Float(number_as(value)),
        ElementType::I8 => Number::Integer(number_as::<i8>(value) as i64),
        ElementType::I32 => Number::Integer(number_as::<i32>(value) as i64),
        ElementType::I64 => Number::Integer(number_as(value)),
        ElementType::U8 => Number::Integer(number_as::<u8>(value) as i64),
    }
}

fn evaluate(
    operation: Operation,
    a: Option<Number>,
    b: Option<Number>,
    c: Option<Number>,
) -> Number {
    use Number::{Float, Integer};
    match (operation, a, b, c) {
        (Operation::Constant(value), ..) => value,
        (_, Some(Float(a)), b, c) => {
            let number = |value| match value {
                Some(Float(value)) => value,
                _ => 0.0,
            };
            Float(evaluate_float(operation, a, number(b), number(c)))
        }
        (_, Some(Integer(a)), b, c) => {
            let number = |value| match value {
                Some(Integer(value)) => value,
                _ => 0,
            };
            Integer(evaluate_integer(operation, a, number(b), number(c)))
        }
        (_, None, ..) => Integer(0),
    }
}

fn evaluate_float(operation: Operation, a: f64, b: f64, c: f64) -> f64 {
    use crate::math;
    let truth = |condition: bool| if condition { 1.0 } else { 0.0 };
    let either_nan = a.is_nan() || b.is_nan();
    match operation {
        Operation::Copy => a,
        Operation::Negative => -a,
        Operation::Abs => a.abs(),
        Operation::Relu => {
            if a < 0.0 {
                0.0
            } else {
                a
            }
        }
        Operation::Exp => a.exp(),
        Operation::Expm1 => a.exp_m1(),
        Operation::Log => a.ln(),
        Operation::Log1p => a.ln_1p(),
        Operation::Sqrt => a.sqrt(),
        Operation::Rsqrt => 1.0 / a.sqrt(),
        Operation::Square => a * a,
        Operation::Reciprocal => 1.0 / a,
        Operation::ReciprocalNoNan => {
            if a == 0.0 {
                0.0
            } else {
                1.0 / a
            }
        }
        Operation::Sigmoid => 1.0 / (1.0 + (-a).exp()),
        Operation::Tanh => a.tanh(),
        Operation::Erf => math::erf_f64(a),
        Operation::Erfc => math::erfc_f64(a),
        Operation::NormalCdf => 0.5 * math::erfc_f64(-a * std::f64::consts::FRAC_1_SQRT_2),
        Operation::Lgamma => math::lgamma_f64(a),
        Operation::Sin => a.sin(),
        Operation::Cos => a.cos(),
        Operation::Tan => a.tan(),
        Operation::Asin => a.asin(),
        Operation::Acos => a.acos(),
        Operation::Atan => a.atan(),
        Operation::Sinh => a.sinh(),
        Operation::Cosh => a.cosh(),
        Operation::Asinh => a.asinh(),
        Operation::Acosh => a.acosh(),
        Operation::Atanh => a.atanh(),
        Operation::Floor => a.floor(),
        Operation::Ceil => a.ceil(),
        Operation::Rint => a.round_ties_even(),
        Operation::Sign => {
            if a > 0.0 {
                1.0
            } else if a < 0.0 {
                -1.0
            } else {
                a
            }
        }
        Operation::Softplus => {
            if a.is_nan() {
                a
            } else {
                a.max(0.0) + (-a.abs()).exp().ln_1p()
            }
        }
        Operation::LogSigmoid => {
            if a.is_nan() {
                a
            } else {
                a.min(0.0) - (-a.abs()).exp().ln_1p()
            }
        }
        Operation::IsZero => truth(a == 0.0),
        Operation::Add => a + b,
        Operation::Subtract => a - b,
        Operation::Multiply => a * b,
        Operation::Divide => a / b,
        Operation::Maximum => {
            if either_nan {
                f64::NAN
            } else {
                a.max(b)
            }
        }
        Operation::Minimum => {
            if either_nan {
                f64::NAN
            } else {
                a.min(b)
            }
        }
        Operation::Power => a.powf(b),
        Operation::FloorMod => math::floor_mod_f64(a, b),
        Operation::FloorDivide => (a / b).floor(),
        Operation::Atan2 => a.atan2(b),
        Operation::Equal => truth(a == b),
        Operation::NotEqual => truth(a != b),
        Operation::Less => truth(a < b),
        Operation::LessEqual => truth(a <= b),
        Operation::Greater => truth(a > b),
        Operation::GreaterEqual => truth(a >= b),
        Operation::LogicalAnd => truth(a != 0.0 && b != 0.0),
        Operation::ReluGradient => {
            if a > 0.0 {
                b
            } else {
                0.0
            }
        }
        Operation::TimesOrZero => {
            if a == 0.0 {
                a
            } else {
                a * b
            }
        }
        Operation::Select => {
            if a != 0.0 {
                b
            } else {
                c
            }
        }
        Operation::Constant(_) => f64::NAN,
    }
}

fn evaluate_integer(operation: Operation, a: i64, b: i64, c: i64) -> i64 {
    let truth = |condition: bool| if condition { 1 } else { 0 };
    match operation {
        Operation::Copy => a,
        Operation::Negative => a.wrapping_neg(),
        Operation::Abs => a.wrapping_abs(),
        Operation::Relu => a.max(0),
        Operation::Square => a.wrapping_mul(a),
        Operation::Sign => a.signum(),
        Operation::IsZero => truth(a == 0),
        Operation::Add => a.wrapping_add(b),
        Operation::Subtract => a.wrapping_sub(b),
        Operation::Multiply => a.wrapping_mul(b),
        Operation::Divide => {
            if b == 0 {
                0
            } else {
                a.wrapping_div(b)
            }
        }
        Operation::FloorDivide => {
            if b == 0 {
                0
            } else {
                let quotient = a.wrapping_div(b);
                if a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }
            }
        }
        Operation::FloorMod => {
            if b == 0 {
                0
            } else {
                let remainder = a.wrapping_rem(b);
                if remainder != 0 && (remainder < 0) != (b < 0) { remainder + b } else { remainder }
            }
        }
        Operation::Maximum => a.max(b),
        Operation::Minimum => a.min(b),
        Operation::Equal => truth(a == b),
        Operation::NotEqual => truth(a != b),
        Operation::Less => truth(a < b),
        Operation::LessEqual => truth(a <= b),
        Operation::Greater => truth(a > b),
        Operation::GreaterEqual => truth(a >= b),
        Operation::LogicalAnd => truth(a != 0 && b != 0),
        Operation::ReluGradient if a > 0 => b,
        Operation::Select => {
            if a != 0 {
                b
            } else {
                c
            }
        }
        _ => 0,
    }
}

/// Reduces the axes that are marked.
pub fn reduce<T: Element>(
    reduction: Reduction,
    shape: &[usize],
    axes: &[bool],
    input: &[T],
    output: &mut [T],
) {
    let kept: Vec<usize> =
        shape.iter().zip(axes).map(|(&size, &reduced)| if reduced { 1 } else { size }).collect();
    let strides: Vec<usize> = contiguous_strides(&kept)
        .into_iter()
        .zip(axes)
        .map(|(stride, &reduced)| if reduced { 0 } else { stride })
        .collect();
    output.fill(reduction.identity());
    for (linear, &value) in input.iter().enumerate() {
        let target = &mut output[offset(linear, shape, &strides)];
        *target = reduction.combine(*target, value);
    }
}

/// The position of the first greatest element along the middle dimension; NaN counts as greatest.
pub fn argmax<T: Element>(
    outer: usize,
    length: usize,
    inner: usize,
    input: &[T],
    output: &mut [i32],
) {
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let value = |position: usize| input[(o * length + position) * inner + i];
        let mut best = 0;
        for position in 1..length {
            let better = value(position) > value(best) || value(position).is_nan();
            if better && !value(best).is_nan() {
                best = position;
            }
        }
        output[o * inner + i] = best as i32;
    }
}

/// `lane - log(sum(exp(lane)))`; elements that are the greatest, even infinite, are equally likely.
fn log_probabilities(lane: &[f64]) -> Vec<f64> {
    let top = lane.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let distance = |value: &f64| if *value == top { 0.0 } else { value - top };
    let log_sum = lane.iter().map(|value| distance(value).exp()).sum::<f64>().ln();
    lane.iter().map(|value| distance(value) - log_sum).collect()
}

/// The offsets of each lane of an array seen as `outer x depth x inner`.
fn lanes(outer: usize, depth: usize, inner: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..outer).flat_map(move |o| {
        (0..inner).map(move |i| (0..depth).map(|d| (o * depth + d) * inner + i).collect())
    })
}

fn gather<T: Float>(values: &[T], lane: &[usize]) -> Vec<f64> {
    lane.iter().map(|&index| values[index].cast()).collect()
}

/// Softmax along the middle dimension, in f64.
pub fn softmax<T: Float>(outer: usize, depth: usize, inner: usize, x: &[T], y: &mut [T]) {
    for lane in lanes(outer, depth, inner) {
        for (&index, value) in lane.iter().zip(log_probabilities(&gather(x, &lane))) {
            y[index] = value.exp().cast();
        }
    }
}

/// Logarithm of the softmax along the middle dimension, in f64.
pub fn log_softmax<T: Float>(outer: usize, depth: usize, inner: usize, x: &[T], y: &mut [T]) {
    for lane in lanes(outer, depth, inner) {
        for (&index, value) in lane.iter().zip(log_probabilities(&gather(x, &lane))) {
            y[index] = value.cast();
        }
    }
}

/// `dx = y * (dy - sum(y * dy))`.
pub fn softmax_gradient<T: Float>(
    outer: usize,
    depth: usize,
    inner: usize,
    y: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    for lane in lanes(outer, depth, inner) {
        let (y, dy) = (gather(y, &lane), gather(dy, &lane));
        let dot: f64 = y.iter().zip(&dy).map(|(y, dy)| y * dy).sum();
        for (position, &index) in lane.iter().enumerate() {
            dx[index] = (y[position] * (dy[position] - dot)).cast();
        }
    }
}

/// `dx = dy - exp(y) * sum(dy)`.
pub fn log_softmax_gradient<T: Float>(
    outer: usize,
    depth: usize,
    inner: usize,
    y: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    for lane in lanes(outer, depth, inner) {
        let (y, dy) = (gather(y, &lane), gather(dy, &lane));
        let sum: f64 = dy.iter().sum();
        for (position, &index) in lane.iter().enumerate() {
            dx[index] = (dy[position] - y[position].exp() * sum).cast();
        }
    }
}

/// `-sum(label * log(max(softmax(logits), 1e-20)))` of each row.
pub fn softmax_cross_entropy<T: Float>(
    depth: usize,
    logits: &[T],
    labels: &[T],
    loss: &mut [T],
    probability: &mut [T],
) {
    softmax(loss.len(), depth, 1, logits, probability);
    for (row, loss) in loss.iter_mut().enumerate() {
        let range: Vec<usize> = (row * depth..(row + 1) * depth).collect();
        let mut sum = 0.0;
        for (index, log_probability) in range.iter().zip(log_probabilities(&gather(logits, &range)))
        {
            let label: f64 = labels[*index].cast();
            // Not `f64::max`, which would hide a NaN.
            let floor = 1e-20f64.ln();
            sum -= label * if log_probability < floor { floor } else { log_probability };
        }
        *loss = sum.cast();
    }
}

/// Copies `input` with its dimensions reordered: dimension `i` of the output is dimension
/// `permutation[i]` of the input.
pub fn transpose<T: Element>(
    shape: &[usize],
    permutation: &[usize],
    input: &[T],
    output: &mut [T],
) {
    let input_strides = contiguous_strides(shape);
    let shape: Vec<usize> = permutation.iter().map(|&axis| shape[axis]).collect();
    let strides: Vec<usize> = permutation.iter().map(|&axis| input_strides[axis]).collect();
    for (linear, output) in output.iter_mut().enumerate() {
        *output = input[offset(linear, &shape, &strides)];
    }
}
