//! Random numbers from a counter: each element depends on its key and position alone.

use crate::{Isa, Parallel, for_each_chunk};

/// Blocks of four numbers per task.
const BLOCKS: usize = 4 * 1024;

/// Philox 4x32 with ten rounds, as Random123 defines it.
#[inline(always)]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    let [mut key0, mut key1] = key;
    for _ in 0..10 {
        let first = u64::from(a) * 0xD251_1F53;
        let second = u64::from(c) * 0xCD9E_8D57;
        a = (second >> 32) as u32 ^ b ^ key0;
        b = second as u32;
        c = (first >> 32) as u32 ^ d ^ key1;
        d = first as u32;
        key0 = key0.wrapping_add(0x9E37_79B9);
        key1 = key1.wrapping_add(0xBB67_AE85);
    }
    [a, b, c, d]
}

/// Fills `output` with elements `start..` of the sequence that `key` and `stream` name: numbers of
/// 24 random bits, uniform in [0, 1).
///
/// Element `i` is word `i % 4` of the Philox block whose counter is `i / 4` (low two words) and
/// `stream` (high two words).
pub fn uniform_f32(
    isa: Isa,
    parallel: &dyn Parallel,
    key: [u32; 2],
    stream: u64,
    start: u64,
    output: &mut [f32],
) {
    // A first piece brings the rest to the beginning of a block.
    let head = ((4 - start % 4) % 4).min(output.len() as u64) as usize;
    let (first, rest) = output.split_at_mut(head);
    let block = |index: u64| {
        let counter = [index as u32, (index >> 32) as u32, stream as u32, (stream >> 32) as u32];
        philox(counter, key)
    };
    for (position, value) in first.iter_mut().enumerate() {
        *value = unit(block(start / 4)[start as usize % 4 + position]);
    }
    let first_block = (start + head as u64) / 4;
    for_each_chunk(parallel, rest, 4 * BLOCKS, &|index, chunk| {
        fill(isa, key, stream, first_block + (index * BLOCKS) as u64, chunk);
    });
}

per_isa! {
    fn fill<I>(key: [u32; 2], stream: u64, first_block: u64, output: &mut [f32]) {
        for (index, values) in output.chunks_mut(4).enumerate() {
            let index = first_block + index as u64;
            let counter =
                [index as u32, (index >> 32) as u32, stream as u32, (stream >> 32) as u32];
            for (value, word) in values.iter_mut().zip(philox(counter, key)) {
                *value = unit(word);
            }
        }
    }
}

/// The upper 24 bits of `word` as a number in [0, 1).
#[inline(always)]
fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}
