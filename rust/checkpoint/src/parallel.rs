//! Independent pieces of work on a few threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

/// What is gathered from all items: parts in the order of the items, from threads that take the next
/// few when they are done; or the first failure in that order. Each thread begins with its number and
/// works with what it made of that.
pub(crate) fn gather<T: Sync, S, R: Default + Send>(
    items: &[T],
    threads: usize,
    begin: impl Fn(usize) -> S + Sync,
    work: impl Fn(&mut S, &T, &mut R) -> Result<()> + Sync,
) -> Result<Vec<R>> {
    let threads = threads.clamp(1, (items.len() / WORTH_A_THREAD).max(1));
    let shares: Vec<&[T]> = match threads {
        1 => vec![items],
        _ => items.chunks(WORTH_A_THREAD).collect(),
    };
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let gather_share = |own: &mut S, share: &[T]| {
        let mut gathered = R::default();
        share.iter().try_for_each(|item| work(own, item, &mut gathered)).map(|()| gathered)
    };
    let run = |thread| {
        let (mut own, mut parts) = (begin(thread), Vec::new());
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(share) = shares.get(number) else { break };
            let part = gather_share(&mut own, share);
            if part.is_err() {
                // All shares before this one have been taken, and are done to their end.
                failed.store(true, Ordering::Relaxed);
            }
            parts.push((number, part));
        }
        parts
    };
    let mut parts: Vec<_> = on_threads(threads, run).into_iter().flatten().collect();
    parts.sort_unstable_by_key(|(number, _)| *number);
    parts.into_iter().map(|(_, part)| part).collect()
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
