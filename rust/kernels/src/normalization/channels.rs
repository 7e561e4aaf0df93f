//! Two numbers for each channel of an array, from all its elements.
//!
//! The array is seen as rows of lanes, and a lane of a row as a run of neighbouring elements. Where
//! runs are short, each of their elements is a lane of its own, and where rows are short, several
//! are taken for one; the lanes of a channel are combined at the end. Blocks of rows are cut by the
//! shape alone, and what they give is combined in order.

use std::ops::Range;

use crate::parallel::Parts;
use crate::{Element, Float, Isa, Parallel};

/// The shortest run.
const SHORTEST_RUN: usize = 64;
/// Elements of a run in a block.
const PIECE: usize = 4096;
/// Lanes of a block at most.
pub(super) const TILE: usize = 256;
/// Elements of a block of lanes without runs.
const BLOCK: usize = 8192;
/// Tasks that are enough.
const TASKS: usize = 16;
/// Channels that one task finishes.
const CHANNELS: usize = 64;

/// Two numbers that sets of elements have, and that those of a union can be computed from.
pub(super) trait Statistic: Sync {
    /// Computes the numbers of each lane of a block.
    fn compute(&self, isa: Isa, block: &Block, first: &mut [f64], second: &mut [f64]);

    /// Combines the numbers of two sets of so many elements; those of the empty set are 0.
    fn merge(numbers: [f64; 2], count: f64, others: [f64; 2], other_count: f64) -> [f64; 2];
}

/// Some elements of some lanes: a run of each, or rows of one element of each.
pub(super) struct Block<'a> {
    /// The channel of each lane.
    pub(super) channels: &'a [usize],
    /// The elements of each lane.
    pub(super) length: usize,
    /// The elements of a lane are neighbours, not the lanes.
    pub(super) is_run: bool,
    start: usize,
    stride: usize,
}

impl Block<'_> {
    /// The elements of a lane that is a run.
    #[inline(always)]
    pub(super) fn run(&self, lane: usize) -> Range<usize> {
        let start = self.start + lane * self.stride;
        start..start + self.length
    }

    /// One element of each lane.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> Range<usize> {
        let start = self.start + row * self.stride;
        start..start + self.channels.len()
    }
}

/// How an array of `outer x channels x inner` elements is cut.
pub(super) struct Channels {
    channels: usize,
    rows: usize,
    lanes: usize,
    /// Neighbouring elements of a lane.
    run: usize,
    /// Neighbouring lanes of a channel.
    repeat: usize,
    /// Lanes and rows of a block.
    tile: usize,
    block_rows: usize,
    /// Blocks of a tile, and how many parts of them are combined apart.
    blocks: usize,
    parts: usize,
}

impl Channels {
    pub(super) fn new([mut outer, channels, mut inner]: [usize; 3]) -> Channels {
        if channels == 1 {
            (outer, inner) = (1, outer * inner);
        }
        let is_run = inner >= SHORTEST_RUN;
        let (rows, lanes, run, repeat) = if is_run {
            (outer, channels, inner, 1)
        } else {
            let lanes = channels * inner;
            let most = TILE.checked_div(lanes).unwrap_or(1).clamp(1, outer.max(1));
            let fold = (1..=most).rev().find(|fold| outer % fold == 0).unwrap_or(1);
            (outer / fold, fold * lanes, 1, inner)
        };
        let (tile, block_rows, blocks) = if is_run {
            let blocks = rows * run.div_ceil(PIECE);
            ((lanes * blocks / TASKS).clamp(1, 64).min(lanes.max(1)), 1, blocks)
        } else {
            let tile = lanes.clamp(1, TILE);
            (tile, BLOCK / tile, rows.div_ceil(BLOCK / tile))
        };
        let parts = TASKS.div_ceil(lanes.div_ceil(tile).max(1)).clamp(1, blocks.max(1));
        Channels { channels, rows, lanes, run, repeat, tile, block_rows, blocks, parts }
    }

    /// The length of the working memory that [`Channels::reduce`] needs.
    pub(super) fn scratch(&self) -> usize {
        2 * self.parts * self.lanes
    }

    fn blocks(&self, part: usize) -> Range<usize> {
        part * self.blocks / self.parts..(part + 1) * self.blocks / self.parts
    }

    fn block<'a>(&self, lane: usize, channels: &'a [usize], block: usize) -> Block<'a> {
        let is_run = self.run > 1;
        let pieces = self.run.div_ceil(PIECE);
        let (row, first) = (block / pieces * self.block_rows, block % pieces * PIECE);
        Block {
            channels,
            length: if is_run {
                PIECE.min(self.run - first)
            } else {
                self.block_rows.min(self.rows - row)
            },
            is_run,
            start: (row * self.lanes + lane) * self.run + first,
            stride: if is_run { self.run } else { self.lanes },
        }
    }

    /// Computes the two numbers of each channel, in a working memory.
    pub(super) fn reduce<T: Float, S: Statistic>(
        &self,
        isa: Isa,
        parallel: &dyn Parallel,
        statistic: &S,
        [first, second]: [&mut [T]; 2],
        scratch: &mut [T],
    ) {
        let (lanes, needed) = (self.lanes, self.scratch());
        assert!(scratch.len() >= needed, "a working memory of {needed} elements is needed");
        assert!(first.len() == self.channels && second.len() == self.channels, "one per channel");
        let (firsts, seconds) = scratch[..needed].split_at_mut(needed / 2);
        let partial = [Parts::new(firsts), Parts::new(seconds)];
        parallel.for_each(lanes.div_ceil(self.tile) * self.parts, &|task| {
            let (tile, part) = (task / self.parts, task % self.parts);
            let lane = tile * self.tile;
            let width = self.tile.min(lanes - lane);
            let channel = |index: usize| (lane + index) / self.repeat % self.channels;
            let channels: [usize; TILE] = std::array::from_fn(channel);
            let (mut sums, mut others) = ([[0.0; TILE]; 2], [[0.0; TILE]; 2]);
            let mut count = 0;
            for block in self.blocks(part) {
                let block = self.block(lane, &channels[..width], block);
                let [a, b] = others.each_mut().map(|numbers| &mut numbers[..width]);
                statistic.compute(isa, &block, a, b);
                merge_all::<S>(isa, &mut sums, count as f64, [a, b], block.length as f64);
                count += block.length;
            }
            for (partial, sums) in partial.iter().zip(&sums) {
                // SAFETY: tasks have different lanes or parts, and `Parallel` runs each once.
                let partial = unsafe { partial.range(part * lanes + lane, width) };
                partial.iter_mut().zip(sums).for_each(|(partial, sum)| *partial = sum.cast());
            }
        });

        let counts: [usize; TASKS] = std::array::from_fn(|part| match part < self.parts {
            true => self.blocks(part).map(|block| self.block(0, &[], block).length).sum(),
            false => 0,
        });
        let (firsts, seconds) = scratch[..needed].split_at(needed / 2);
        let outputs = [Parts::new(first), Parts::new(second)];
        parallel.for_each(self.channels.div_ceil(CHANNELS), &|task| {
            let channel = task * CHANNELS;
            let width = CHANNELS.min(self.channels - channel);
            // SAFETY: tasks have different channels, and `Parallel` runs each once.
            let [a, b] = outputs.each_ref().map(|x| unsafe { x.range(channel, width) });
            for (index, (a, b)) in a.iter_mut().zip(b).enumerate() {
                let (mut total, mut before) = ([0.0; 2], 0.0);
                for (part, &count) in counts.iter().enumerate().take(self.parts) {
                    let first = part * lanes + (channel + index) * self.repeat;
                    for group in (first..(part + 1) * lanes).step_by(self.channels * self.repeat) {
                        for lane in group..group + self.repeat {
                            let others = [firsts[lane].cast(), seconds[lane].cast()];
                            total = S::merge(total, before, others, count as f64);
                            before += count as f64;
                        }
                    }
                }
                [*a, *b] = total.map(|number| number.cast());
            }
        });
    }
}

per_isa! {
    /// Combines the numbers of each lane.
    fn merge_all<I, S: Statistic>(
        sums: &mut [[f64; TILE]; 2], count: f64, others: [&[f64]; 2], other_count: f64,
    ) {
        let [first, second] = sums;
        let [other_first, other_second] = others;
        let sums = first.iter_mut().zip(second);
        for ((a, b), (&c, &d)) in sums.zip(other_first.iter().zip(other_second)) {
            [*a, *b] = S::merge([*a, *b], count, [c, d], other_count);
        }
    }
}
