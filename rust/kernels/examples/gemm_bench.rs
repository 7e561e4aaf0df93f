//! Compares the matrix product algorithms at the shapes that training meets.
//!
//! `cargo run --release -p flowrs-kernels --example gemm_bench` prints GFLOP/s, medians of
//! interleaved rounds, on one thread and on two.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use flowrs_kernels::gemm::{Epilogue, GemmAlgorithm, Matrix, MatrixMut, gemm};
use flowrs_kernels::{Isa, Parallel, Serial};

/// Two threads that spin: the caller and one more.
struct Two {
    round: AtomicUsize,
    next: AtomicUsize,
    done: AtomicUsize,
    count: AtomicUsize,
    task: std::sync::atomic::AtomicPtr<&'static (dyn Fn(usize) + Sync)>,
}

impl Two {
    fn start() -> &'static Two {
        let two: &'static Two = Box::leak(Box::new(Two {
            round: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            task: Default::default(),
        }));
        std::thread::spawn(move || {
            let mut seen = 0;
            loop {
                while two.round.load(Ordering::Acquire) == seen {
                    std::hint::spin_loop();
                }
                seen = two.round.load(Ordering::Acquire);
                // SAFETY: `for_each` stored a pointer to a task that lives until `done` is 1.
                let task = unsafe { *two.task.load(Ordering::Acquire) };
                two.work(task);
                two.done.store(1, Ordering::Release);
            }
        });
        two
    }

    fn work(&self, task: &(dyn Fn(usize) + Sync)) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count.load(Ordering::Relaxed) {
                return;
            }
            task(index);
        }
    }
}

impl Parallel for Two {
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        if count < 2 {
            return (0..count).for_each(task);
        }
        // SAFETY: the worker uses the task only until it sets `done`, which is awaited below.
        let mut task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
        self.task.store(&mut task, Ordering::Release);
        self.next.store(0, Ordering::Relaxed);
        self.count.store(count, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        self.round.fetch_add(1, Ordering::AcqRel);
        self.work(task);
        while self.done.load(Ordering::Acquire) == 0 {
            std::hint::spin_loop();
        }
    }
}

/// A product as training meets it.
struct Case {
    name: &'static str,
    m: usize,
    n: usize,
    k: usize,
    a_transposed: bool,
    b_transposed: bool,
    beta: f32,
}

const fn case(
    name: &'static str,
    (m, k, n): (usize, usize, usize),
    a_transposed: bool,
    b_transposed: bool,
    beta: f32,
) -> Case {
    Case { name, m, n, k, a_transposed, b_transposed, beta }
}

const CASES: &[Case] = &[
    case("mlp1 forward", (100, 784, 512), false, true, 0.0),
    case("mlp1 weight", (512, 100, 784), true, false, 1.0),
    case("mlp2 forward", (100, 512, 10), false, true, 0.0),
    case("mlp2 weight", (10, 100, 512), true, false, 1.0),
    case("mlp2 input", (100, 10, 512), false, false, 0.0),
    case("square", (1024, 1024, 1024), false, false, 0.0),
    case("im2col", (64, 800, 19600), false, false, 0.0),
    case("lenet forward", (100, 3136, 512), false, true, 0.0),
    case("lenet weight", (512, 100, 3136), true, false, 1.0),
    case("lenet input", (100, 512, 3136), false, false, 0.0),
    case("large forward", (128, 4096, 4096), false, true, 0.0),
    case("large weight", (4096, 128, 4096), true, false, 1.0),
    case("one image", (1, 784, 512), false, true, 0.0),
];

const ALGORITHMS: [GemmAlgorithm; 2] = [GemmAlgorithm::MatrixMultiply, GemmAlgorithm::Blocked];

fn main() {
    let isa = std::env::var("FLOWRS_ISA")
        .map_or(Isa::detect(), |name| Isa::parse(&name).expect("an instruction set"));
    let two = Two::start();
    let threads: [&dyn Parallel; 2] = [&Serial, two];
    println!("{isa:?}, GFLOP/s, median (best) of 30 rounds, on one and on two threads");
    let names = ALGORITHMS.map(|algorithm| format!("{:>23}", format!("{algorithm:?}"))).join(" | ");
    println!("{:<14} {:>16} | {names}", "", "m x k x n");
    for case in CASES {
        let Case { name, m, n, k, a_transposed, b_transposed, beta } = *case;
        let numbers = |count: usize| -> Vec<f32> {
            (0..count).map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5).collect()
        };
        let (a, b, mut c) = (numbers(m * k + 16), numbers(k * n + 16), numbers(m * n + 16));
        // Arrays begin at a cache line, as they do in training.
        let (a, b) = (&a[a.as_ptr().align_offset(64)..], &b[b.as_ptr().align_offset(64)..]);
        let start = c.as_ptr().align_offset(64);
        let c = &mut c[start..];
        let mut times: [[Vec<f64>; 2]; ALGORITHMS.len()] = Default::default();
        let repeat = (100_000_000 / (2 * m * n * k)).clamp(1, 100);
        for _ in 0..30 {
            for (t, parallel) in threads.into_iter().enumerate() {
                for (i, algorithm) in ALGORITHMS.into_iter().enumerate() {
                    let start = Instant::now();
                    for _ in 0..repeat {
                        let a = if a_transposed {
                            Matrix::row_major(a, k, m).transposed()
                        } else {
                            Matrix::row_major(a, m, k)
                        };
                        let b = if b_transposed {
                            Matrix::row_major(b, n, k).transposed()
                        } else {
                            Matrix::row_major(b, k, n)
                        };
                        let c = MatrixMut::row_major(&mut *c, m, n);
                        gemm(isa, parallel, algorithm, 1e-3, a, b, beta, c, Epilogue::None);
                    }
                    times[i][t].push(start.elapsed().as_secs_f64() / repeat as f64);
                }
            }
        }
        let rate = |times: &mut Vec<f64>| {
            times.sort_by(f64::total_cmp);
            let rate = |time: f64| (2 * m * n * k) as f64 / time / 1e9;
            format!("{:.0} ({:.0})", rate(times[times.len() / 2]), rate(times[0]))
        };
        let rates = times.each_mut().map(|times| times.each_mut().map(rate));
        let rates = rates.map(|[one, two]| format!("{one:>11} {two:>11}")).join(" | ");
        println!("{name:<14} {:>16} | {rates}", format!("{m}x{k}x{n}"));
    }
}
