//! Update rules of optimizers, in place on a variable and its state.

use crate::{Element, Float, Isa, Parallel, parallel::Parts};

/// Elements per task: enough to outweigh handing it to a thread, few enough to share.
const CHUNK: usize = 16 * 1024;

/// `w -= learning_rate * (scale * g + weight_decay * w)`.
///
/// # Panics
/// If the slices differ in length.
pub fn sgd<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    learning_rate: T,
    scale: T,
    weight_decay: T,
    w: &mut [T],
    g: &[T],
) {
    per_isa! {
        fn update<I, T: Float>(rate: T, scale: T, decay: T, w: &mut [T], g: &[T]) {
            for (w, &g) in w.iter_mut().zip(g) {
                *w -= rate * (scale * g + decay * *w);
            }
        }
    }
    for_each_part(parallel, [w], g, |[w], g| {
        update(isa, learning_rate, scale, weight_decay, w, g);
    });
}

/// `v = beta * v - learning_rate * scale * g`, then `w += v - learning_rate * weight_decay * w`.
///
/// # Panics
/// If the slices differ in length.
pub fn momentum<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    learning_rate: T,
    scale: T,
    weight_decay: T,
    beta: T,
    w: &mut [T],
    v: &mut [T],
    g: &[T],
) {
    per_isa! {
        fn update<I, T: Float>(
            rate: T, scale: T, decay: T, beta: T, w: &mut [T], v: &mut [T], g: &[T],
        ) {
            for ((w, v), &g) in w.iter_mut().zip(v).zip(g) {
                *v = beta * *v - rate * (scale * g);
                *w += *v - rate * decay * *w;
            }
        }
    }
    for_each_part(parallel, [w, v], g, |[w, v], g| {
        update(isa, learning_rate, scale, weight_decay, beta, w, v, g);
    });
}

/// Adam: with `g' = scale * g`, `m = beta1 * m + (1 - beta1) * g'`,
/// `v = beta2 * v + (1 - beta2) * g' * g'`, then
/// `w -= learning_rate * (m / (sqrt(v) + epsilon) + weight_decay * w)`.
///
/// A bias correction, if wanted, is already in `learning_rate`.
///
/// # Panics
/// If the slices differ in length.
pub fn adam<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    learning_rate: T,
    scale: T,
    weight_decay: T,
    beta1: f64,
    beta2: f64,
    epsilon: T,
    w: &mut [T],
    m: &mut [T],
    v: &mut [T],
    g: &[T],
) {
    per_isa! {
        fn update<I, T: Float>(
            rate: T, scale: T, decay: T, beta1: [T; 2], beta2: [T; 2], epsilon: T,
            w: &mut [T], m: &mut [T], v: &mut [T], g: &[T],
        ) {
            let ([beta1, share1], [beta2, share2]) = (beta1, beta2);
            for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
                let g = scale * g;
                *m = beta1 * *m + share1 * g;
                *v = beta2 * *v + share2 * (g * g);
                *w -= rate * (*m / (v.sqrt() + epsilon) + decay * *w);
            }
        }
    }
    // `1 - beta` is taken in f64: in f32 it would be off by 5e-5 for a beta of 0.999.
    let [first, second] = [beta1, beta2].map(|beta| [beta.cast(), (1.0 - beta).cast()]);
    for_each_part(parallel, [w, m, v], g, |[w, m, v], g| {
        update(isa, learning_rate, scale, weight_decay, first, second, epsilon, w, m, v, g);
    });
}

/// Cuts the variable, its states and the gradient into the same chunks and runs `task` on each.
fn for_each_part<T: Float, const N: usize>(
    parallel: &dyn Parallel,
    slices: [&mut [T]; N],
    g: &[T],
    task: impl Fn([&mut [T]; N], &[T]) + Sync,
) {
    for slice in &slices {
        assert_eq!(
            slice.len(),
            g.len(),
            "a variable, its states and its gradient differ in length"
        );
    }
    let slices = slices.map(Parts::new);
    parallel.for_each(g.len().div_ceil(CHUNK), &|index| {
        let start = index * CHUNK;
        let length = CHUNK.min(g.len() - start);
        // SAFETY: chunks of different indices do not overlap, and `Parallel` runs each index once.
        let parts = std::array::from_fn(|i| unsafe { slices[i].range(start, length) });
        task(parts, &g[start..start + length]);
    });
}
