//! Running a group of steps in lanes, side by side.
//!
//! A thread goes through its lane, step by step. Where what the next step needs is not there yet, it takes
//! a later one, or one of another lane, that can begin; so it does when its lane has ended. A lane that no
//! thread has come for holds up nobody, and one thread alone runs all steps in an order that is right.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use flowrs_kernels::Parallel;

use crate::error::Error;
use crate::plan::Group;

/// Pauses between two looks, which take what other threads of the same core could use.
const PAUSES: u32 = 4;
/// Looks after which a thread lets others have the core, which one of the group may need.
const ROUNDS: u32 = 64;

const OPEN: u8 = 0;
const BEGUN: u8 = 1;
const DONE: u8 = 2;

/// [`OPEN`], [`BEGUN`] or [`DONE`], in a cache line of its own: threads that wait for one step do not
/// hold up those that end another.
#[derive(Debug, Default)]
#[repr(align(64))]
struct State(AtomicU8);

/// How far the steps of a group are.
#[derive(Debug)]
pub(crate) struct Progress {
    states: Vec<State>,
    /// A step has failed: no other begins.
    stopped: AtomicBool,
    error: Mutex<Option<Error>>,
}

/// What a thread may do next.
enum Next {
    /// Run this step, which it has begun.
    Step(usize),
    /// Look again: no step can begin yet.
    Later,
    /// Nothing: all steps have begun.
    None,
}

/// Stops the other lanes when it is dropped: they would wait forever for a step that fails or panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Progress {
    pub(crate) fn new(group: &Group) -> Self {
        let states = group.needs.iter().map(|_| State::default()).collect();
        Self { states, stopped: AtomicBool::new(false), error: Mutex::new(None) }
    }

    /// Runs each step of the group once, by its number, after those that it needs.
    pub(crate) fn run(
        &mut self,
        group: &Group,
        parallel: &dyn Parallel,
        step: &(dyn Fn(usize) -> Result<(), Error> + Sync),
    ) -> Result<(), Error> {
        self.states.iter_mut().for_each(|state| *state.0.get_mut() = OPEN);
        *self.stopped.get_mut() = false;
        *self.error.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        let this = &*self;
        parallel.for_each(group.lanes.len(), &|lane| this.work(group, lane, step));
        let error = self.error.get_mut().unwrap_or_else(PoisonError::into_inner);
        error.take().map_or(Ok(()), Err)
    }

    /// Runs steps, those of a lane first, until all have begun or one has failed.
    fn work(&self, group: &Group, lane: usize, step: &(dyn Fn(usize) -> Result<(), Error> + Sync)) {
        let stop = Stop(&self.stopped);
        let (mut begun, mut rounds) = (0, 0u32);
        while !self.stopped.load(Ordering::Acquire) {
            match self.next(group, lane, &mut begun) {
                Next::Step(number) => match step(number) {
                    Ok(()) => self.states[number].0.store(DONE, Ordering::Release),
                    Err(error) => {
                        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
                        first.get_or_insert(error);
                        return;
                    }
                },
                Next::Later => {
                    rounds = rounds.wrapping_add(1);
                    match rounds % ROUNDS {
                        0 => thread::yield_now(),
                        _ => (0..PAUSES).for_each(|_| std::hint::spin_loop()),
                    }
                }
                Next::None => break,
            }
        }
        std::mem::forget(stop);
    }

    /// Begins a step of the lane, or of those that follow it in a circle; the first `begun` of these have
    /// begun.
    fn next(&self, group: &Group, lane: usize, begun: &mut usize) -> Next {
        let state = |number: &usize| self.states[*number].0.load(Ordering::Acquire);
        let mut found = Next::None;
        let (before, after) = group.lanes.split_at(lane);
        let steps = after.iter().chain(before).flatten().enumerate();
        for (position, &number) in steps.skip(*begun) {
            if state(&number) != OPEN {
                *begun += usize::from(position == *begun);
                continue;
            }
            let ready = group.needs[number].iter().all(|need| state(need) == DONE);
            let begin = || {
                let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
                self.states[number].0.compare_exchange(OPEN, BEGUN, success, failure).is_ok()
            };
            if ready && begin() {
                return Next::Step(number);
            }
            found = Next::Later;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;

    use flowrs_kernels::Serial;

    use super::*;
    use crate::threads::Pool;

    /// Two chains that meet: 0 -> 2 -> 4, 1 -> 3 -> 4, with steps 2 and 3 in each other's lane.
    fn group() -> Group {
        Group {
            lanes: vec![vec![0, 3], vec![1, 2, 4]],
            needs: vec![vec![], vec![], vec![0], vec![1], vec![2, 3]],
        }
    }

    #[test]
    fn every_step_runs_once_and_after_what_it_needs() {
        let group = group();
        let pool = Pool::new(3);
        let mut progress = Progress::new(&group);
        let runners: [&dyn Parallel; 2] = [&pool, &Serial];
        for round in 0..20_000 {
            let clock = AtomicUsize::new(1);
            let ends: [AtomicUsize; 5] = Default::default();
            let step = |number: usize| {
                for need in &group.needs[number] {
                    assert_ne!(ends[*need].load(Ordering::Relaxed), 0, "{number} before {need}");
                }
                let end = clock.fetch_add(1, Ordering::Relaxed);
                assert_eq!(ends[number].swap(end, Ordering::Relaxed), 0, "{number} ran before");
                Ok(())
            };
            progress.run(&group, runners[round % 2], &step).expect("no step fails");
            assert!(ends.iter().all(|end| end.load(Ordering::Relaxed) > 0));
        }
    }

    #[test]
    fn a_step_that_fails_or_panics_stops_the_others_and_the_next_run_is_whole() {
        let group = group();
        let pool = Pool::new(2);
        let mut progress = Progress::new(&group);
        for bad in 0..5 {
            let ran = AtomicUsize::new(0);
            let fail = |number: usize| {
                ran.fetch_add(1, Ordering::Relaxed);
                match number == bad {
                    true => Err(Error::Range(format!("step {number}"))),
                    false => Ok(()),
                }
            };
            let error = progress.run(&group, &pool, &fail).expect_err("a step fails");
            assert_eq!(error.to_string(), Error::Range(format!("step {bad}")).to_string());
            assert!(bad == 4 || ran.load(Ordering::Relaxed) < 5, "4 needs all others");
            let panics = |number: usize| {
                assert!(number != bad, "step {number}");
                Ok(())
            };
            let run = AssertUnwindSafe(|| progress.run(&group, &pool, &panics));
            assert!(catch_unwind(run).is_err());
            // As where one step failed while another one panicked.
            *progress.error.get_mut().expect("no lock is held") = Some(Error::Range("old".into()));
            progress.run(&group, &pool, &|_| Ok(())).expect("no step fails");
        }
    }
}
