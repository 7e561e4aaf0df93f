//! Offsets in an arena for blocks that live for a part of a run.

use crate::aligned::ALIGNMENT;

/// A block of memory that is needed from the step `first` to the step `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) bytes: usize,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Block {
    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// An offset for each block, such that blocks which live at the same time do not overlap, and the
/// size of the whole. The largest block is placed first, each in the smallest gap that takes it.
pub(crate) fn assign(blocks: &[Block]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(blocks[i].bytes), blocks[i].first, i));
    let mut offsets = vec![0; blocks.len()];
    let mut placed: Vec<usize> = vec![];
    let mut total = 0;
    for &i in &order {
        let mut busy: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&j| blocks[i].overlaps(&blocks[j]))
            .map(|&j| (offsets[j], offsets[j] + aligned(blocks[j].bytes)))
            .collect();
        busy.sort_unstable();
        offsets[i] = smallest_gap(&busy, aligned(blocks[i].bytes));
        total = total.max(offsets[i] + aligned(blocks[i].bytes));
        placed.push(i);
    }
    (offsets, total)
}

/// The most bytes that are alive at one time: no arena can be smaller.
pub(crate) fn live(blocks: &[Block]) -> usize {
    let at = |time: usize| -> usize {
        let alive = blocks.iter().filter(|block| block.first <= time && time <= block.last);
        alive.map(|block| block.bytes).sum()
    };
    blocks.iter().map(|block| at(block.first)).max().unwrap_or(0)
}

fn smallest_gap(busy: &[(usize, usize)], bytes: usize) -> usize {
    let mut best: Option<(usize, usize)> = None;
    let mut end = 0;
    for &(from, to) in busy {
        if from >= end + bytes && best.is_none_or(|(size, _)| from - end < size) {
            best = Some((from - end, end));
        }
        end = end.max(to);
    }
    best.map_or(end, |(_, offset)| offset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_that_do_not_meet_share_memory() {
        let block = |bytes, first, last| Block { bytes, first, last };
        let blocks = [block(128, 0, 1), block(64, 1, 2), block(128, 2, 3)];
        let (offsets, total) = assign(&blocks);
        assert_eq!(offsets[0], offsets[2]);
        assert_eq!((total, live(&blocks)), (192, 192));
    }

    fn blocks() -> impl Strategy<Value = Vec<Block>> {
        let block = (0usize..5000, 0usize..30, 0usize..10)
            .prop_map(|(bytes, first, length)| Block { bytes, first, last: first + length });
        prop::collection::vec(block, 0..40)
    }

    proptest! {
        #[test]
        fn no_two_live_blocks_overlap(blocks in blocks()) {
            let (offsets, total) = assign(&blocks);
            for (i, a) in blocks.iter().enumerate() {
                prop_assert_eq!(offsets[i] % ALIGNMENT, 0);
                prop_assert!(offsets[i] + a.bytes <= total);
                for (j, b) in blocks.iter().enumerate().skip(i + 1) {
                    let apart = offsets[i] + a.bytes <= offsets[j]
                        || offsets[j] + b.bytes <= offsets[i];
                    prop_assert!(!a.overlaps(b) || apart);
                }
            }
            prop_assert!(live(&blocks) <= total);
        }

        #[test]
        fn the_arena_is_never_larger_than_all_blocks_side_by_side(blocks in blocks()) {
            let (_, total) = assign(&blocks);
            prop_assert!(total <= blocks.iter().map(|block| aligned(block.bytes)).sum::<usize>());
        }
    }
}
