//! How near elementwise chains, normalisations, softmax and pools come to the bandwidth of a plain copy.
//!
//! `cargo run --release -p flowrs-engine --example bandwidth` prints GB/s, of all that must be read
//! and written, the best of many rounds, on one thread and on two; and the part of the copy's.
//! `FLOWRS_ISA` chooses the instruction set, an argument the cases whose names contain it.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::time::Instant;

use flowrs_engine::threads::Pool;
use flowrs_kernels::elementwise::{Instruction, Number, Operand, Operation, Program, run};
use flowrs_kernels::normalization::{
    Affine, batch_norm, batch_norm_gradient, layer_norm, layer_norm_gradient,
    layer_norm_parameter_gradient, moments, scratch_elements,
};
use flowrs_kernels::pooling::{PoolingShape, avg_pool, max_pool};
use flowrs_kernels::softmax::softmax;
use flowrs_kernels::{Data, DataMut, ElementType, Isa, Layout, Parallel, Serial, for_each_chunk};

type Kernel = Box<dyn FnMut(&dyn Parallel)>;

/// What is measured: a kernel, and how many bytes it must read and write.
struct Case {
    name: String,
    bytes: usize,
    kernel: Kernel,
}

/// An array that begins at a cache line, as those of a plan do.
fn numbers(count: usize) -> &'static mut [f32] {
    let numbers = (0..count + 16).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0);
    let memory = numbers.collect::<Vec<_>>().leak();
    let start = memory.as_ptr().align_offset(64);
    &mut memory[start..start + count]
}

fn copy(count: usize) -> Case {
    let (x, y) = (numbers(count), numbers(count));
    let kernel = Box::new(move |parallel: &dyn Parallel| {
        const CHUNK: usize = 64 * 1024;
        for_each_chunk(parallel, y, CHUNK, &|index, y| {
            y.copy_from_slice(&x[index * CHUNK..index * CHUNK + y.len()]);
        });
    });
    Case { name: "copy".into(), bytes: 8 * count, kernel }
}

/// A program on operands of one size.
fn elementwise(isa: Isa, name: &str, program: Program, count: usize) -> Case {
    let inputs: Vec<_> = (0..program.operand_count()).map(|_| numbers(count)).collect();
    let (bytes, y) = (4 * count * (inputs.len() + 1), numbers(count));
    let kernel = Box::new(move |parallel: &dyn Parallel| {
        let operands: Vec<_> =
            inputs.iter().map(|x| Operand { data: Data::F32(x), strides: &[1] }).collect();
        let output = DataMut::F32(y);
        run(isa, parallel, &program, ElementType::F32, &[count], &operands, output, None);
    });
    Case { name: name.into(), bytes, kernel }
}

/// Multiplies by a number, adds the second operand, takes the square, and cuts at 0.
fn chain() -> Program {
    let step = |operation, arguments| Instruction { operation, arguments };
    let instructions = vec![
        step(Operation::Constant(Number::Float(0.5)), [0, 0, 0]),
        step(Operation::Multiply, [0, 2, 0]),
        step(Operation::Add, [3, 1, 0]),
        step(Operation::Square, [4, 0, 0]),
        step(Operation::Relu, [5, 0, 0]),
    ];
    Program::new(2, instructions).expect("a program")
}

fn batch_norm_cases(isa: Isa, shape: [usize; 3]) -> [Case; 2] {
    let (count, channels) = (shape.iter().product(), shape[1]);
    let (x, dy) = (&*numbers(count), numbers(count));
    let (y, dx) = (numbers(count), numbers(count));
    let (gamma, beta) = (&*numbers(channels), numbers(channels));
    let [mean, variance, dgamma, dbeta] = [(); 4].map(|()| numbers(channels));
    let [scratch, gradient_scratch] = [(); 2].map(|()| numbers(scratch_elements(shape)));
    let forward = move |parallel: &dyn Parallel| {
        moments(isa, parallel, shape, x, mean, variance, scratch);
        let parameters = [&*mean, variance, gamma, beta];
        batch_norm(isa, parallel, shape, x, parameters, 1e-3, None, false, y);
    };
    let statistics: [&[f32]; 3] = [gamma; 3];
    let backward = move |parallel: &dyn Parallel| {
        let gradients = [&mut *dx, dgamma, dbeta];
        let scratch = &mut *gradient_scratch;
        batch_norm_gradient(
            isa, parallel, shape, x, dy, statistics, 1e-3, false, gradients, scratch,
        );
    };
    let name = format!("batch norm {shape:?}");
    [
        Case { name: name.clone(), bytes: 12 * count, kernel: Box::new(forward) },
        Case { name: name + " gradient", bytes: 20 * count, kernel: Box::new(backward) },
    ]
}

fn layer_norm_cases(isa: Isa, [rows, length]: [usize; 2]) -> [Case; 2] {
    let count = rows * length;
    let (x, dy) = (&*numbers(count), numbers(count));
    let (y, dx) = (numbers(count), numbers(count));
    let (gamma, beta) = (&*numbers(length), numbers(length));
    let [mean, inverse, dgamma, dbeta] = [rows, rows, length, length].map(numbers);
    let scratch = numbers(scratch_elements([rows, length, 1]));
    let forward = move |parallel: &dyn Parallel| {
        let affine = Affine { gamma, beta, repeat: 1 };
        layer_norm(isa, parallel, length, x, affine, 1e-5, y, mean, inverse);
    };
    let statistics: [&[f32]; 2] = [numbers(rows), numbers(rows)];
    let backward = move |parallel: &dyn Parallel| {
        layer_norm_gradient(isa, parallel, length, x, dy, statistics, gamma, 1, dx);
        let gradients = [&mut *dgamma, dbeta];
        let scratch = &mut *scratch;
        layer_norm_parameter_gradient(
            isa, parallel, length, 1, x, dy, statistics, gradients, scratch,
        );
    };
    let name = format!("layer norm {rows} x {length}");
    [
        Case { name: name.clone(), bytes: 8 * count, kernel: Box::new(forward) },
        Case { name: name + " gradients", bytes: 20 * count, kernel: Box::new(backward) },
    ]
}

fn softmax_case(isa: Isa, count: usize, depth: usize) -> Case {
    let rows = count / depth;
    let (x, y) = (numbers(rows * depth), numbers(rows * depth));
    let kernel = Box::new(move |parallel: &dyn Parallel| {
        softmax(isa, parallel, rows, depth, 1, x, y);
    });
    Case { name: format!("softmax of {depth}"), bytes: 8 * rows * depth, kernel }
}

/// The maxima and the averages of windows on as many images of 64 channels as fit; none if none does.
fn pool_cases(
    isa: Isa,
    count: usize,
    side: usize,
    [window, stride]: [usize; 2],
    layout: Layout,
) -> Vec<Case> {
    const CHANNELS: usize = 64;
    let batch = count / (CHANNELS * side * side);
    if batch == 0 {
        return vec![];
    }
    let output = (side - window) / stride + 1;
    let square = |side: usize| [1, side, side];
    let (windows, strides, padding) = (square(window), [1, stride, stride], [0; 3]);
    let (input, outputs) = (square(side), square(output));
    let shape =
        PoolingShape::new(batch, CHANNELS, input, windows, strides, padding, outputs, layout)
            .expect("sizes that fit together");
    let x = &*numbers(shape.input_elements());
    let [greatest, average] = [(); 2].map(|()| numbers(shape.output_elements()));
    let bytes = 4 * (x.len() + average.len());
    let maximum = move |parallel: &dyn Parallel| {
        max_pool(isa, parallel, &shape, x, greatest, None);
    };
    let mean = move |parallel: &dyn Parallel| avg_pool(isa, parallel, &shape, x, average);
    let name = format!("pool {window}/{stride} of {side}x{side}, {layout:?}");
    vec![
        Case { name: format!("max {name}"), bytes, kernel: Box::new(maximum) },
        Case { name: format!("avg {name}"), bytes, kernel: Box::new(mean) },
    ]
}

/// GB/s of a case and of a copy, the best of several rounds; the rounds take turns.
fn measure(case: &mut Case, copy: &mut Case, parallel: &dyn Parallel) -> [f64; 2] {
    let mut best = [f64::INFINITY; 2];
    for _ in 0..if case.bytes < 1 << 24 { 200 } else { 25 } {
        for (case, best) in [&mut *case, &mut *copy].into_iter().zip(&mut best) {
            let calls = (1_000_000 / case.bytes).max(1);
            let start = Instant::now();
            (0..calls).for_each(|_| (case.kernel)(parallel));
            let rate = start.elapsed().as_secs_f64() / (calls * case.bytes) as f64 * 1e9;
            *best = best.min(rate);
        }
    }
    best.map(f64::recip)
}

fn main() {
    let isa = std::env::var("FLOWRS_ISA")
        .map_or(Isa::detect(), |name| Isa::parse(&name).expect("an instruction set"));
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let two = Pool::new(2);
    let threads: [&dyn Parallel; 2] = [&Serial, &two];
    println!("{isa:?}, float32, GB/s and part of a copy's, on one thread and on two");
    for (label, count) in [("12 KiB", 3 << 10), ("1 MiB", 1 << 18), ("64 MiB", 1 << 24)] {
        let (mut plain, mut cases) = (copy(count), vec![copy(count)]);
        let single = |name, operation| elementwise(isa, name, Program::single(operation), count);
        cases.extend([
            single("relu", Operation::Relu),
            single("add", Operation::Add),
            elementwise(isa, "chain of 4", chain(), count),
        ]);
        cases.extend([10, 32, 1000].map(|depth| softmax_case(isa, count, depth)));
        for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
            cases.extend(pool_cases(isa, count, 14, [2, 2], layout));
            cases.extend(pool_cases(isa, count, 56, [2, 2], layout));
            cases.extend(pool_cases(isa, count, 56, [3, 2], layout));
            cases.extend(pool_cases(isa, count, 56, [3, 1], layout));
        }
        if label == "64 MiB" {
            cases.extend(batch_norm_cases(isa, [128, 64, 32 * 32]));
            cases.extend(batch_norm_cases(isa, [128 * 1024, 64, 1]));
            cases.extend(batch_norm_cases(isa, [128, 512, 7 * 7]));
            cases.extend(batch_norm_cases(isa, [128, 256, 14 * 14]));
            cases.extend(layer_norm_cases(isa, [4096, 1024]));
        }
        for mut case in cases {
            let name = format!("{label:>7} {}", case.name);
            if !name.contains(&wanted) {
                continue;
            }
            let rates = threads.map(|parallel| measure(&mut case, &mut plain, parallel));
            let [one, two] =
                rates.map(|[rate, copy]| format!("{rate:6.1} ({:3.0} %)", 100.0 * rate / copy));
            println!("{name:<48} {one} {two}");
        }
    }
}
