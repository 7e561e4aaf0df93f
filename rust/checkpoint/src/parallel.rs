//! Independent pieces of work on a few threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::Result;

/// Fewer items than this are not worth a thread.
const WORTH_A_THREAD: usize = 256;

/// Does something with every item, largest expected first; stops at the first failure.
pub(crate) fn for_each<T: Send>(
    items: Vec<T>,
    threads: usize,
    work: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    let threads = threads.clamp(1, items.len().max(1));
    if threads == 1 {
        return items.into_iter().try_for_each(work);
    }
    let (items, failed) = (Mutex::new(items.into_iter()), AtomicBool::new(false));
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while !failed.load(Ordering::Relaxed)
            && let Some(item) = next()
        {
            work(item).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    on_threads(threads, |_| run()).into_iter().collect()
}

/// What is gathered from all items: a part from each thread, in the order of the items; or the first
/// failure in that order.
pub(crate) fn gather<T: Sync, R: Default + Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T, &mut R) -> Result<()> + Sync,
) -> Result<Vec<R>> {
    let threads = threads.clamp(1, (items.len() / WORTH_A_THREAD).max(1));
    let share = items.len().div_ceil(threads).max(1);
    let run = |thread: usize| -> Result<R> {
        let mut gathered = R::default();
        let mut own = items.iter().skip(thread * share).take(share);
        own.try_for_each(|item| work(item, &mut gathered))?;
        Ok(gathered)
    };
    on_threads(threads, run).into_iter().collect()
}

/// Runs the same with each number below `threads`; the caller's thread takes part.
pub(crate) fn on_threads<R: Send>(threads: usize, run: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let run = &run;
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|number| scope.spawn(move || run(number))).collect();
        let own = run(0);
        let joined = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(own).chain(joined).collect()
    })
}
