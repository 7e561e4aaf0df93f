//! Programs of one operation, and the operations that there are.

use flowrs_kernels::elementwise::{Operand, Operation, Program, run};
use flowrs_kernels::{Data, Element, ElementType, Isa, naive};

/// Those of one argument.
pub const UNARY: &[Operation] = {
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

/// Those of two.
pub const BINARY: &[Operation] = {
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

/// What the kernel gives.
pub fn apply<T: Element>(
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

/// What the naive interpreter gives in float64.
pub fn expected<T: Element>(operation: Operation, operands: &[&[T]]) -> Vec<f64>
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
