//! Steps that run side by side.
//!
//! A kernel shares its work among the threads. Steps that are too small for that, such as those of the
//! branches of a small net or the two gradients of a small layer, are shared out themselves: of small
//! steps that follow one another a group is made where that saves enough time. A group's steps are
//! dealt into lanes, which threads take side by side (`crate::lanes`).

use std::collections::HashSet;
use std::ops::Range;

use super::placement::Placement;
use super::schedule::Item;
use super::{Place, Slot, Slots, lowering, slots};
use crate::graph::{Graph, ValueId};
use crate::ops::Work;
use crate::passes::root_of;
use crate::settings::{Settings, SideBySide};

/// The time of a step that is better cut by its kernel, in nanoseconds like all times here.
const LARGE: usize = 8_000;
/// Steps in a group, at most: as many as a [`Set`] holds.
const MOST_STEPS: usize = 128;
/// Bytes of the arena that the steps of a group use, at most: all are kept until its last one has ended.
const MOST_BYTES: usize = 256 * 1024;
/// Lanes of a group, at most; each must save this share of the time that fewer lanes take.
const MOST_LANES: usize = 4;
const LANE_GAIN: f64 = 0.15;
/// What a step takes, and a product or convolution besides; multiplications in a nanosecond; and bytes,
/// of an operation that moves them and of others.
const STEP: usize = 100;
const PRODUCT: usize = 300;
const MULTIPLICATIONS: usize = 25;
const BYTES: usize = 20;
const OTHER_BYTES: usize = 4;
/// What a group must save by estimate: those that save less take longer when they are measured, since the
/// caches of two cores then pass small values to and fro.
const LEAST_GAIN: usize = 6_000;
/// Handing a group to the threads; beginning a step where others do the same; noticing that a step of
/// another lane has ended; bytes in a nanosecond that go from one core to another.
const HAND_OVER: usize = 1_000;
const BEGIN: usize = 100;
const WAIT: usize = 300;
const CROSSING: usize = 10;

/// Numbers of steps in a group.
type Set = u128;

/// Small steps that follow one another in a plan, numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The steps of each lane in the order in which they are begun.
    pub(crate) lanes: Vec<Vec<usize>>,
    /// For each step those that must have ended before it begins, but for those that these need.
    pub(crate) needs: Vec<Vec<usize>>,
}

/// What a step takes.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// On the thread that has run the steps before.
    time: usize,
    /// More than that on another one.
    crossing: usize,
}

/// The parts of the order in which all steps are small, use little memory, and cannot fail: a step that
/// fails must not have been overtaken by an update.
pub(super) fn small_steps(graph: &Graph, order: &[Item], settings: Settings) -> Vec<Range<usize>> {
    let mut parts = vec![];
    let mut used = Used::default();
    let (mut part, mut steps) = (0..0, 0);
    for (position, item) in order.iter().enumerate() {
        let time = time(graph, *item, settings);
        let is_large = time.is_some_and(|time| time >= LARGE);
        if !is_large && steps < MOST_STEPS && used.add(graph, *item, settings) {
            (part.end, steps) = (position + 1, steps + usize::from(time.is_some()));
            continue;
        }
        parts.push((part, steps));
        used = Used::default();
        let fits = !is_large && used.add(graph, *item, settings);
        part = if fits { position } else { position + 1 }..position + 1;
        steps = usize::from(fits && time.is_some());
    }
    parts.push((part, steps));
    parts.into_iter().filter(|(_, steps)| *steps > 1).map(|(part, _)| part).collect()
}

/// The memory of the arena that some steps use, each value once.
#[derive(Default)]
struct Used {
    values: HashSet<ValueId>,
    bytes: usize,
}

impl Used {
    /// Adds that of one more step; false if it is too much for a group.
    fn add(&mut self, graph: &Graph, item: Item, settings: Settings) -> bool {
        let Item::Node(index) = item else { return true };
        let node = &graph.nodes()[index];
        let Some(op) = node.op().filter(|op| !op.is_view()) else { return true };
        self.bytes += op.scratch_bytes(&lowering(graph, node, settings)).unwrap_or(0);
        for value in node.inputs.iter().chain(&node.outputs) {
            let root = root_of(graph, *value);
            if graph.producer(root).op().is_some() && self.values.insert(root) {
                self.bytes += graph.ty(root).bytes();
            }
        }
        self.bytes <= MOST_BYTES
    }
}

/// The group of the steps in a part of the order, if it saves enough time.
pub(super) fn group(
    graph: &Graph,
    order: &[Item],
    placement: &Placement,
    items: &Range<usize>,
    settings: Settings,
) -> Option<Group> {
    let steps = order[items.clone()].iter();
    let steps = steps.filter_map(|item| {
        let slots = slots(graph, placement, *item)?;
        let crossing = crossing_bytes(&slots, placement) / CROSSING;
        Some((slots, Cost { time: time(graph, *item, settings)?, crossing }))
    });
    let (slots, costs): (Vec<Slots>, Vec<Cost>) = steps.unzip();
    let needs = needs(&slots);
    let in_turn: usize = costs.iter().map(|cost| cost.time).sum();
    if settings.side_by_side == SideBySide::Always {
        let (lanes, _) = deal(&costs, &needs, 2);
        return (lanes.len() > 1).then_some(Group { lanes, needs });
    }
    let mut best = (vec![], in_turn);
    for count in 2..=MOST_LANES {
        let (lanes, time) = deal(&costs, &needs, count);
        let time = time + HAND_OVER;
        if (time as f64) < best.1 as f64 * (1.0 - LANE_GAIN) {
            best = (lanes, time);
        }
    }
    let (lanes, time) = best;
    let pays = !lanes.is_empty() && in_turn - time >= LEAST_GAIN;
    pays.then_some(Group { lanes, needs })
}

/// About how long one thread takes for a step; none if there is none for the item. A step that can fail
/// counts as large.
fn time(graph: &Graph, item: Item, settings: Settings) -> Option<usize> {
    match item {
        Item::Fetch(number) => {
            Some(STEP + 2 * bytes(graph, &graph.fetches()[number..=number]) / BYTES)
        }
        Item::Node(index) => {
            let node = &graph.nodes()[index];
            let op = node.op().filter(|op| !op.is_view())?;
            let moved = bytes(graph, &node.inputs) + bytes(graph, &node.outputs);
            let time = STEP
                + match op.work(&lowering(graph, node, settings)) {
                    Work::Moves => moved / BYTES,
                    Work::Multiplies(count) => {
                        PRODUCT + (count / MULTIPLICATIONS).max(moved / BYTES)
                    }
                    Work::Other => moved / OTHER_BYTES,
                };
            Some(if op.can_fail() { LARGE.max(time) } else { time })
        }
    }
}

/// The bytes that one core reads from another, or will, where the step runs on another thread: all but
/// constants and the variables that the plan does not update.
fn crossing_bytes(slots: &Slots, placement: &Placement) -> usize {
    let changes = |slot: &&Slot| match slot.place {
        Place::Variable(number) => placement.variables[number].updated,
        Place::Arena(_) | Place::Input(_) | Place::Output(_) => true,
        Place::Constant(_) => false,
    };
    slots.inputs.iter().chain(&slots.outputs).filter(changes).map(Slot::bytes).sum()
}

fn bytes(graph: &Graph, values: &[ValueId]) -> usize {
    values.iter().map(|value| graph.ty(*value).bytes()).sum()
}

/// For each step, those before it that it must wait for: one of the two writes what the other uses.
fn needs(steps: &[Slots]) -> Vec<Vec<usize>> {
    let mut before: Vec<Set> = vec![];
    let mut needs = vec![];
    for (number, step) in steps.iter().enumerate() {
        let (mut all, mut direct): (Set, _) = (0, vec![]);
        for earlier in (0..number).rev() {
            if all >> earlier & 1 == 0 && conflict(&steps[earlier], step) {
                all |= before[earlier] | 1 << earlier;
                direct.push(earlier);
            }
        }
        before.push(all);
        needs.push(direct);
    }
    needs
}

fn conflict(a: &Slots, b: &Slots) -> bool {
    let meet = |writer: &Slots, other: &Slots| {
        writer.written().any(|slot| other.used().any(|other| overlap(slot, other)))
    };
    meet(a, b) || meet(b, a)
}

fn overlap(a: &Slot, b: &Slot) -> bool {
    match (a.place, b.place) {
        (Place::Arena(first), Place::Arena(second)) => {
            first < second + b.bytes() && second < first + a.bytes()
        }
        (first, second) => first == second,
    }
}

/// Deals steps into lanes; also how long those take. The step that most depends on goes first, to where
/// it ends first; the first lane is that of the thread that has run the steps before.
fn deal(costs: &[Cost], needs: &[Vec<usize>], lanes: usize) -> (Vec<Vec<usize>>, usize) {
    let steps = costs.len();
    let mut to_end: Vec<usize> = costs.iter().map(|cost| cost.time + BEGIN).collect();
    for step in (0..steps).rev() {
        for &need in &needs[step] {
            to_end[need] = to_end[need].max(costs[need].time + BEGIN + to_end[step]);
        }
    }
    let mut dealt = vec![vec![]; lanes];
    let mut free = vec![0; lanes];
    let mut ends: Vec<Option<(usize, usize)>> = vec![None; steps];
    for _ in 0..steps {
        let ready = |step: &usize| {
            ends[*step].is_none() && needs[*step].iter().all(|&need| ends[need].is_some())
        };
        let first = (0..steps).filter(ready).max_by_key(|&step| (to_end[step], steps - step));
        let Some(step) = first else { break };
        let end = |lane: usize| {
            let there = needs[step].iter().filter_map(|&need| ends[need]);
            let there = there.map(|(end, on)| if on == lane { end } else { end + WAIT });
            let crossing = if lane == 0 { 0 } else { costs[step].crossing };
            there.fold(free[lane], usize::max) + costs[step].time + BEGIN + crossing
        };
        let lane = (0..lanes).min_by_key(|&lane| end(lane)).unwrap_or(0);
        (free[lane], ends[step]) = (end(lane), Some((end(lane), lane)));
        dealt[lane].push(step);
    }
    dealt.retain(|lane| !lane.is_empty());
    (dealt, free.into_iter().max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::DType;

    fn arena(offset: usize, elements: usize) -> Slot {
        Slot { place: Place::Arena(offset), elements, dtype: DType::U8 }
    }

    fn step(inputs: &[Slot], outputs: &[Slot]) -> Slots {
        Slots { inputs: inputs.to_vec(), outputs: outputs.to_vec(), scratch: None, updates: &[] }
    }

    fn costs(times: &[usize]) -> Vec<Cost> {
        times.iter().map(|&time| Cost { time, crossing: time / 10 }).collect()
    }

    fn variable(number: usize) -> Slot {
        Slot { place: Place::Variable(number), elements: 4, dtype: DType::F32 }
    }

    #[test]
    fn steps_wait_for_what_they_read_write_and_overwrite() {
        let (a, b, c) = (arena(0, 8), arena(8, 8), arena(4, 8));
        let read = step(&[a], &[b]);
        assert_eq!(needs(&[step(&[], &[a]), read.clone()]), [vec![], vec![0]], "what it reads");
        assert_eq!(needs(&[read.clone(), step(&[], &[a])]), [vec![], vec![0]], "what is read");
        assert_eq!(needs(&[step(&[], &[a]), step(&[], &[c])]), [vec![], vec![0]], "a part of it");
        assert_eq!(needs(&[read.clone(), step(&[a], &[arena(16, 8)])]), [vec![], vec![]]);
        let update = Slots { updates: &[0], ..step(&[variable(1), a], &[]) };
        assert_eq!(needs(&[step(&[variable(1)], &[b]), update.clone()]), [vec![], vec![0]]);
        assert_eq!(needs(&[step(&[variable(2)], &[b]), update]), [vec![], vec![]]);
        let scratch = Slots { scratch: Some(a), ..step(&[], &[arena(16, 8)]) };
        assert_eq!(needs(&[read, scratch]), [vec![], vec![0]], "working memory");
    }

    #[test]
    fn a_step_names_none_that_another_one_waits_for() {
        let chain = [arena(0, 1), arena(1, 1), arena(2, 1)];
        let last = step(&[chain[0], chain[1]], &[chain[2]]);
        let steps = [step(&[], &chain[..1]), step(&chain[..1], &chain[1..2]), last];
        assert_eq!(needs(&steps), [vec![], vec![0], vec![1]]);
    }

    #[test]
    fn branches_go_to_lanes_of_their_own() {
        // 0 -> 1 -> 2, 3 -> 4 -> 5, then 6 of both.
        let needs = [vec![], vec![0], vec![1], vec![], vec![3], vec![4], vec![5, 2]];
        let (lanes, time) = deal(&costs(&[1000; 7]), &needs, 2);
        assert_eq!(lanes, [vec![0, 1, 2], vec![3, 4, 5, 6]]);
        assert_eq!(time, 4 * (1100 + BEGIN));
    }

    #[test]
    fn a_chain_stays_in_one_lane() {
        let needs: Vec<Vec<usize>> =
            (0..9usize).map(|step| step.checked_sub(1).into_iter().collect()).collect();
        let (lanes, time) = deal(&costs(&[500; 9]), &needs, 4);
        assert_eq!((lanes.len(), time), (1, 9 * (500 + BEGIN)));
    }

    proptest! {
        #[test]
        fn lanes_hold_each_step_once_and_none_waits_for_a_later_one_of_its_own(
            steps in prop::collection::vec((1usize..3000, prop::collection::vec(0usize..40, 0..3)), 1..40),
            count in 1usize..5,
        ) {
            let times: Vec<usize> = steps.iter().map(|(time, _)| *time).collect();
            let earlier = |(step, (_, needs)): (usize, &(usize, Vec<usize>))| -> Vec<usize> {
                needs.iter().copied().filter(|need| *need < step).collect()
            };
            let needs: Vec<Vec<usize>> = steps.iter().enumerate().map(earlier).collect();
            let (lanes, time) = deal(&costs(&times), &needs, count);
            let mut all: Vec<usize> = lanes.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..times.len()).collect::<Vec<_>>());
            let total: usize = times.iter().map(|time| time + BEGIN).sum();
            prop_assert!(time <= total && time * lanes.len() >= total);
            for lane in &lanes {
                for (position, step) in lane.iter().enumerate() {
                    prop_assert!(!lane[position..].iter().any(|later| needs[*step].contains(later)));
                }
            }
        }
    }
}
