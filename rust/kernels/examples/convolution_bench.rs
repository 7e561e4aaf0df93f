//! Times the convolutions of the LeNet on one thread and on two.
//!
//! `cargo run --release -p flowrs-kernels --example convolution_bench` prints GFLOP/s, medians
//! and in brackets the best of interleaved rounds. `FLOWRS_ISA` chooses the instruction set, an argument the
//! cases whose names contain it.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use flowrs_kernels::convolution::{
    ConvolutionShape, Pass, Source, Target, choose, convolution, convolution_input_gradient,
    convolution_weight_gradient, scratch_elements,
};
use flowrs_kernels::{Isa, Layout, Parallel, Serial};

/// Two threads, started for every call.
struct Two;

impl Parallel for Two {
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        if count < 2 {
            return (0..count).for_each(task);
        }
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                match next.fetch_add(1, Ordering::Relaxed) {
                    index if index < count => task(index),
                    _ => return,
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
    }
}

/// A convolution of square images.
struct Case {
    name: &'static str,
    batch: usize,
    channels: [usize; 3],
    size: usize,
    kernel: usize,
    stride: usize,
}

const CASES: &[Case] = &[
    Case { name: "lenet conv1", batch: 100, channels: [1, 32, 1], size: 28, kernel: 5, stride: 1 },
    Case { name: "lenet conv2", batch: 100, channels: [32, 64, 1], size: 14, kernel: 5, stride: 1 },
    Case { name: "3x3", batch: 32, channels: [64, 64, 1], size: 32, kernel: 3, stride: 1 },
    Case {
        name: "3x3 stride 2",
        batch: 32,
        channels: [64, 128, 1],
        size: 32,
        kernel: 3,
        stride: 2,
    },
    Case { name: "3x3 middle", batch: 32, channels: [128, 128, 1], size: 16, kernel: 3, stride: 1 },
    Case { name: "3x3 small", batch: 32, channels: [256, 256, 1], size: 8, kernel: 3, stride: 1 },
    Case { name: "3x3 late", batch: 32, channels: [512, 512, 1], size: 4, kernel: 3, stride: 1 },
    Case { name: "pointwise", batch: 32, channels: [64, 256, 1], size: 16, kernel: 1, stride: 1 },
    Case { name: "depthwise", batch: 32, channels: [64, 64, 64], size: 32, kernel: 3, stride: 1 },
];

impl Case {
    fn shape(&self, layout: Layout) -> ConvolutionShape {
        let plane = |size: usize| [1, size, size];
        let before = self.kernel / 2;
        let output = self.size.div_ceil(self.stride);
        ConvolutionShape::new(
            self.batch,
            self.channels,
            plane(self.size),
            plane(self.kernel),
            plane(self.stride),
            plane(1),
            [0, before, before],
            plane(output),
            layout,
        )
        .expect("the sizes fit together")
    }
}

fn main() {
    let isa = std::env::var("FLOWRS_ISA")
        .map_or(Isa::detect(), |name| Isa::parse(&name).expect("an instruction set"));
    let only = std::env::args().nth(1).unwrap_or_default();
    println!("{isa:?}, GFLOP/s, median (best) of 30 rounds, on one / two threads");
    println!("{:<14} {:<14} {:>21} {:>21} {:>21}", "", "", "forward", "input", "weight");
    for case in CASES.iter().filter(|case| case.name.contains(&only)) {
        for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
            let shape = case.shape(layout);
            let rates = [Pass::Forward, Pass::InputGradient, Pass::WeightGradient]
                .map(|pass| rate(isa, pass, &shape));
            let [forward, input, weight] = rates.map(|[(one, best_one), (two, best_two)]| {
                format!("{one:>4.0} ({best_one:>3.0}) / {two:>3.0} ({best_two:>3.0})")
            });
            let layout = format!("{layout:?}");
            println!("{:<14} {layout:<14} {forward:>21} {input:>21} {weight:>21}", case.name);
        }
    }
}

/// GFLOP/s on one thread and on two, the median and the best.
fn rate(isa: Isa, pass: Pass, shape: &ConvolutionShape) -> [(f64, f64); 2] {
    let numbers = |count: usize| -> Vec<f32> {
        (0..count).map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5).collect()
    };
    let mut x = numbers(shape.input_elements());
    let mut w = numbers(shape.weight_elements());
    let mut y = numbers(shape.output_elements());
    let bias = numbers(shape.output_channels);
    let algorithm = choose::<f32>(isa, pass, shape, &[], 12.0);
    let mut scratch = vec![0f32; scratch_elements::<f32>(isa, algorithm, pass, shape, false)];
    let scratch = &mut scratch[..];
    let mut times: [Vec<f64>; 2] = Default::default();
    for _ in 0..30 {
        for (parallel, times) in [&Serial as &dyn Parallel, &Two].into_iter().zip(&mut times) {
            let start = Instant::now();
            match pass {
                Pass::Forward => convolution(
                    isa,
                    parallel,
                    algorithm,
                    shape,
                    &x,
                    &w,
                    Some(&bias),
                    true,
                    Target::Array(&mut y),
                    scratch,
                ),
                Pass::InputGradient => {
                    let y = Source::Array(&y);
                    let x = &mut x;
                    convolution_input_gradient(isa, parallel, algorithm, shape, y, &w, x, scratch);
                }
                Pass::WeightGradient => {
                    let y = Source::Array(&y);
                    let w = &mut w;
                    convolution_weight_gradient(isa, parallel, algorithm, shape, &x, y, w, scratch);
                }
            }
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        let rate = |time: f64| shape.flops() as f64 / time / 1e9;
        (rate(times[times.len() / 2]), rate(times[0]))
    })
}
