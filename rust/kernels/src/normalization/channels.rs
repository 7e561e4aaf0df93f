//! Two numbers for each channel of an array, from all its elements.
//!
//! The elements of a channel are cut into blocks, by the shape alone; what blocks give is combined
//! in order, in a few parts of the blocks at the same time.

use crate::parallel::Parts;
use crate::{Float, Parallel};
use std::ops::Range;

/// Channels next to one another that are worked on together.
pub(super) const TILE: usize = 64;
/// Rows of a tile in a block.
const ROWS: usize = 64;
/// Elements next to one another in a block.
const RUN: usize = 4096;
/// Tasks that are enough.
const TASKS: usize = 16;

/// An array of `batch x outer x channels x inner` elements, and how it is cut.
pub(super) struct Channels {
    outer: usize,
    channels: usize,
    inner: usize,
    lanes: usize,
    /// Lanes of a tile: neighbouring channels, or one where its elements are neighbours.
    tile: usize,
    tiles: usize,
    blocks: usize,
    parts: usize,
}

/// Some elements of the lanes of a tile.
pub(super) struct Block {
    /// The offset of the first element.
    pub(super) start: usize,
    /// The elements of each lane.
    pub(super) rows: usize,
    /// The first channel.
    pub(super) channel: usize,
    /// The lanes, which are neighbours in memory if there is more than one; if not, the elements
    /// of the one are.
    pub(super) width: usize,
    /// The distance of a lane's elements.
    pub(super) stride: usize,
}

/// Computes the two numbers of each lane of a block.
pub(super) type Compute<'a, T> = &'a (dyn Fn(&Block, &mut [T], &mut [T]) + Sync);
/// Combines the numbers of two sets of so many elements into the first.
pub(super) type Combine<'a, T> = &'a (dyn Fn([&mut [T]; 2], usize, [&[T]; 2], usize) + Sync);

impl Channels {
    pub(super) fn new([batch, outer, channels, inner]: [usize; 4]) -> Channels {
        let (tile, tiles, blocks) = if inner == 1 {
            (TILE.min(channels), batch * channels.div_ceil(TILE), outer.div_ceil(ROWS))
        } else {
            (1, batch * channels, outer * inner.div_ceil(RUN))
        };
        let parts = TASKS.div_ceil(tiles.max(1)).min(blocks).max(1);
        Channels { outer, channels, inner, lanes: batch * channels, tile, tiles, blocks, parts }
    }

    /// The length of the working memory that [`Channels::reduce`] needs.
    pub(super) fn scratch(&self) -> usize {
        2 * self.parts * self.lanes
    }

    /// The number of elements of a channel.
    pub(super) fn count(&self) -> usize {
        self.outer * self.inner
    }

    fn blocks(&self, part: usize) -> Range<usize> {
        part * self.blocks / self.parts..(part + 1) * self.blocks / self.parts
    }

    fn block(&self, tile: usize, block: usize) -> Block {
        let Channels { outer, channels, inner, .. } = *self;
        if inner == 1 {
            let tiles = channels.div_ceil(TILE);
            let (image, channel) = (tile / tiles, tile % tiles * TILE);
            let row = block * ROWS;
            Block {
                start: (image * outer + row) * channels + channel,
                rows: ROWS.min(outer - row),
                channel,
                width: TILE.min(channels - channel),
                stride: channels,
            }
        } else {
            let (image, channel) = (tile / channels, tile % channels);
            let pieces = inner.div_ceil(RUN);
            let (row, first) = (block / pieces, block % pieces * RUN);
            Block {
                start: ((image * outer + row) * channels + channel) * inner + first,
                rows: RUN.min(inner - first),
                channel,
                width: 1,
                stride: 1,
            }
        }
    }

    /// The first of a tile's lanes.
    fn lane(&self, tile: usize) -> usize {
        match self.inner {
            1 => {
                let tiles = self.channels.div_ceil(TILE);
                tile / tiles * self.channels + tile % tiles * TILE
            }
            _ => tile,
        }
    }

    /// Computes the two numbers of each channel (of each of the batch).
    pub(super) fn reduce<T: Float>(
        &self,
        parallel: &dyn Parallel,
        compute: Compute<T>,
        combine: Combine<T>,
        [first, second]: [&mut [T]; 2],
        scratch: &mut [T],
    ) {
        let (lanes, needed) = (self.lanes, self.scratch());
        assert!(scratch.len() >= needed, "a working memory of {needed} elements is needed");
        let (firsts, seconds) = scratch[..needed].split_at_mut(needed / 2);
        let [firsts, seconds] = [Parts::new(firsts), Parts::new(seconds)];
        let mut counts = [0; TASKS];
        for (part, count) in counts.iter_mut().enumerate().take(self.parts) {
            *count = self.blocks(part).map(|block| self.block(0, block).rows).sum();
        }
        parallel.for_each(self.tiles * self.parts, &|task| {
            let (tile, part) = (task / self.parts, task % self.parts);
            let lane = part * lanes + self.lane(tile);
            let mut count = 0;
            let mut other = [[T::ZERO; TILE]; 2];
            for block in self.blocks(part) {
                let block = self.block(tile, block);
                // SAFETY: tasks have different lanes or parts, and `Parallel` runs each once.
                let [a, b] = [&firsts, &seconds].map(|x| unsafe { x.range(lane, block.width) });
                if count == 0 {
                    compute(&block, a, b);
                } else {
                    let [c, d] = other.each_mut().map(|other| &mut other[..block.width]);
                    compute(&block, c, d);
                    combine([a, b], count, [c, d], block.rows);
                }
                count += block.rows;
            }
        });
        let (firsts, seconds) = scratch[..needed].split_at(needed / 2);
        first.copy_from_slice(&firsts[..lanes]);
        second.copy_from_slice(&seconds[..lanes]);
        let mut count = counts[0];
        for (part, &more) in counts.iter().enumerate().take(self.parts).skip(1) {
            let range = part * lanes..(part + 1) * lanes;
            combine([first, second], count, [&firsts[range.clone()], &seconds[range]], more);
            count += more;
        }
    }
}
