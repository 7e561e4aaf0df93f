//! Measures the fused multiply-adds that this machine can do: the limit of any matrix product.
//!
//! `cargo run --release -p flowrs-kernels --example fma_peak -- 1 2` prints a line
//! `THREADS ISA GFLOP/s` for each number of threads. Each thread keeps independent sums in
//! registers and touches no memory; the best of some short trials counts, since another process on
//! the core can only slow a trial down.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Sums per thread: enough for two pipelines of latency four or five, and for twelve registers.
const SUMS: usize = 12;
/// Rounds of a trial: some 2 milliseconds.
const ROUNDS: usize = 400_000;
const TRIALS: usize = 15;

/// One trial on this thread; the result keeps the compiler from dropping the work.
type Trial = fn() -> f32;

fn main() {
    let (isa, lanes, trial) = widest();
    let threads: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let threads = if threads.is_empty() { vec![1] } else { threads };
    for threads in threads {
        let fastest = (0..TRIALS).map(|_| time(threads, trial)).min().unwrap_or(Duration::MAX);
        let operations = 2 * lanes * SUMS * ROUNDS * threads;
        println!("{threads} {isa} {:.1}", operations as f64 / fastest.as_secs_f64() / 1e9);
    }
}

/// The time from the moment when all threads are there until the last has finished.
fn time(threads: usize, trial: Trial) -> Duration {
    let barrier = Barrier::new(threads);
    let run = || {
        barrier.wait();
        let start = Instant::now();
        black_box(trial());
        (start, Instant::now())
    };
    let times: Vec<_> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let own = run();
        others.into_iter().filter_map(|thread| thread.join().ok()).chain([own]).collect()
    });
    let begin = times.iter().map(|(start, _)| *start).min();
    let end = times.iter().map(|(_, end)| *end).max();
    begin.zip(end).map_or(Duration::MAX, |(begin, end)| end - begin)
}

/// The widest instructions of this CPU: their name, lanes per vector, and the trial with them.
fn widest() -> (&'static str, usize, Trial) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has the instructions.
            return ("avx512", 16, || unsafe { x86::avx512() });
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return ("avx2", 8, || unsafe { x86::avx2() });
        }
    }
    ("portable", 4, portable)
}

/// The trial in plain Rust, for the compiler to vectorise: multiply-adds where the target has them,
/// else a multiplication and an addition.
fn portable() -> f32 {
    let (factor, mut sums) = (black_box(0.5_f32), [[1.0_f32; 4]; SUMS]);
    for _ in 0..ROUNDS {
        for sum in sums.as_flattened_mut() {
            *sum = if cfg!(target_feature = "fma") || cfg!(target_arch = "aarch64") {
                sum.mul_add(factor, factor)
            } else {
                *sum * factor + factor
            };
        }
    }
    sums.as_flattened().iter().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{ROUNDS, SUMS, black_box};
    use std::arch::x86_64::*;

    macro_rules! trial {
        ($name:ident, $features:literal, $splat:ident, $multiply_add:ident, $first:ident) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name() -> f32 {
                let (factor, mut sums) = ($splat(black_box(0.5)), [$splat(1.0); SUMS]);
                for _ in 0..ROUNDS {
                    for sum in &mut sums {
                        *sum = $multiply_add(*sum, factor, factor);
                    }
                }
                sums.into_iter().map(|sum| $first(sum)).sum()
            }
        };
    }

    trial!(avx512, "avx512f", _mm512_set1_ps, _mm512_fmadd_ps, _mm512_cvtss_f32);
    trial!(avx2, "avx2,fma", _mm256_set1_ps, _mm256_fmadd_ps, _mm256_cvtss_f32);
}
