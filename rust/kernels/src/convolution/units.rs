//! How the passes hand units of work to threads.

use crate::parallel::Parts;
use crate::{Float, Parallel};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Tasks of a pass at most: each has working memory of its own.
pub(super) const TASKS: usize = 16;

/// Runs `work(unit, working memory)` for each unit, in at most [`TASKS`] tasks.
///
/// A task takes the first working memory that is free: a thread gets the same one again and again, and
/// finds it in its cache.
pub(super) fn for_each_unit<T: Float>(
    parallel: &dyn Parallel,
    units: usize,
    scratch: &mut [T],
    scratch_per_task: usize,
    work: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    let tasks = units.min(TASKS);
    let scratch = Parts::new(scratch);
    let taken = AtomicU32::new(0);
    parallel.for_each(tasks, &|task| {
        let take = |taken: u32| Some(taken | (taken + 1));
        let (Ok(before) | Err(before)) = taken.fetch_update(Acquire, Relaxed, take);
        let place = before.trailing_ones();
        // SAFETY: no more than `tasks` run at once, so one of as many places is free; the place is
        // this task's until it gives it back.
        let memory = unsafe { scratch.range(place as usize * scratch_per_task, scratch_per_task) };
        for unit in task * units / tasks..(task + 1) * units / tasks {
            work(unit, memory);
        }
        taken.fetch_and(!(1 << place), Release);
    });
}
