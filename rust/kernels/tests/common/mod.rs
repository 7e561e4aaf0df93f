//! What the kernels' tests share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod guard;
pub mod programs;

use flowrs_kernels::{Isa, Parallel, Serial};

/// Runs the tasks from the last to the first.
pub struct Reverse;

impl Parallel for Reverse {
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..count).rev().for_each(task);
    }
}

/// Runs the tasks on so many threads, each taking every n-th.
pub struct Threads(pub usize);

impl Parallel for Threads {
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for first in 0..self.0.min(count) {
                scope.spawn(move || (first..count).step_by(self.0).for_each(task));
            }
        });
    }
}

/// Runs `kernel` for every instruction set and under several ways to run tasks; checks that the
/// latter give the same bits, and hands one result per instruction set to `check`.
pub fn on_every_isa<R: Bits>(
    kernel: impl Fn(Isa, &dyn Parallel) -> R,
    mut check: impl FnMut(Isa, R),
) {
    for isa in Isa::available() {
        let result = kernel(isa, &Serial);
        let bits = result.bits();
        for (name, parallel) in [
            ("reverse", &Reverse as &dyn Parallel),
            ("2 threads", &Threads(2)),
            ("3 threads", &Threads(3)),
            ("8 threads", &Threads(8)),
        ] {
            assert_eq!(kernel(isa, parallel).bits(), bits, "{isa:?}: {name} gives other bits");
        }
        check(isa, result);
    }
}

/// A result as bits, so that NaN equals itself and -0 differs from 0.
pub trait Bits {
    fn bits(&self) -> Vec<u64>;
}

macro_rules! bits {
    ($($type:ident: |$x:ident| $bits:expr;)*) => {$(
        impl Bits for Vec<$type> {
            fn bits(&self) -> Vec<u64> {
                self.iter().map(|&$x| $bits).collect()
            }
        }
    )*};
}

bits! {
    f32: |x| u64::from(x.to_bits());
    f64: |x| x.to_bits();
    i8: |x| x as u64;
    i32: |x| x as u64;
    i64: |x| x as u64;
    u8: |x| u64::from(x);
}

impl<A: Bits, B: Bits> Bits for (A, B) {
    fn bits(&self) -> Vec<u64> {
        let mut bits = self.0.bits();
        bits.extend(self.1.bits());
        bits
    }
}

/// Reproducible numbers in [-1, 1).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub fn f32s(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next() as f32).collect()
    }

    pub fn f64s(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// Distance of `got` from `want` in units in the last place of `want` as f32.
pub fn ulps(got: f32, want: f64) -> f64 {
    let rounded = want as f32;
    if got.to_bits() == rounded.to_bits() || (got.is_nan() && want.is_nan()) || got == rounded {
        return 0.0;
    }
    if !got.is_finite() || !rounded.is_finite() {
        return f64::INFINITY;
    }
    let exponent = rounded.abs().max(f32::MIN_POSITIVE).log2().floor() as i32;
    (f64::from(got) - want).abs() / 2f64.powi(exponent - 23)
}
