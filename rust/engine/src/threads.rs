//! The process' threads for the work of a step.
//!
//! One pool, made at first use and known by its process id: threads do not survive `fork`, so a
//! child makes a pool of its own. A region of work is opened, its tasks are claimed one by one (the
//! caller takes them from the front, workers from the back, so that each keeps to its part of the
//! data), and closed: the caller waits only for workers that came in. Workers spin for a moment
//! after a region and then sleep.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread;

use flowrs_kernels::Parallel;

use crate::error::Error;

/// Rounds that a worker looks for a new region before it sleeps: some 100 microseconds.
const SPINS: u32 = 20_000;

/// More threads than this are no help to anyone and are refused.
pub const MAX_THREADS: usize = 1024;

/// The bit of [`Shared::gate`] that says that workers may come in.
const OPEN: u64 = 1 << 31;
/// The bits of [`Shared::gate`] that count the workers inside; the region's number is above.
const INSIDE: u64 = OPEN - 1;

thread_local! {
    static IN_REGION: Cell<bool> = const { Cell::new(false) };
}

/// What the workers share with the caller of a region.
struct Shared {
    /// Region number (32 bits), open bit, number of workers inside (31 bits).
    gate: AtomicU64,
    /// The region's task; valid while the gate is open or a worker is inside.
    task: AtomicPtr<TaskPointer>,
    /// Next task from the front (low half) and end of the unclaimed ones (high half).
    claims: AtomicU64,
    sleeping: AtomicUsize,
    sleep: Mutex<bool>,
    wake: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A borrowed task behind a thin pointer.
struct TaskPointer(*const (dyn Fn(usize) + Sync));

/// Threads that share the tasks of one region at a time.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<thread::JoinHandle<()>>,
    region: Mutex<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool of `threads` threads, the caller's included.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            gate: AtomicU64::new(0),
            task: AtomicPtr::new(std::ptr::null_mut()),
            claims: AtomicU64::new(0),
            sleeping: AtomicUsize::new(0),
            sleep: Mutex::new(false),
            wake: Condvar::new(),
            panic: Mutex::new(None),
        });
        let spawn = |number: usize| {
            let shared = Arc::clone(&shared);
            let name = format!("flowrs-{number}");
            thread::Builder::new().name(name).spawn(move || shared.work()).ok()
        };
        // Where the system gives no more threads, those that there are do the work.
        let workers = (1..threads).map_while(spawn).collect();
        Self { shared, workers, region: Mutex::new(()) }
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    fn run_region(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let shared = &self.shared;
        // SAFETY: only the lifetime is erased. Workers use the task only between entering an open
        // gate and leaving it, and `close` below returns when the last of them has left.
        let task_pointer = TaskPointer(unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(
                task,
            )
        });
        shared.task.store((&raw const task_pointer).cast_mut(), Ordering::Relaxed);
        shared.claims.store((count as u64) << 32, Ordering::Relaxed);
        shared.open();
        IN_REGION.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while let Some(index) = shared.claim_front() {
                task(index);
            }
        }));
        IN_REGION.set(false);
        shared.close();
        let panic = lock(&shared.panic).take();
        if let Some(payload) = outcome.err().or(panic) {
            resume_unwind(payload);
        }
    }
}

impl Parallel for Pool {
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let alone = count <= 1 || self.workers.is_empty() || IN_REGION.get();
        let region = if alone || count > u32::MAX as usize { None } else { self.try_region() };
        match region {
            Some(_guard) => self.run_region(count, task),
            None => (0..count).for_each(task),
        }
    }
}

impl Pool {
    /// The right to open a region; `None` while another thread has one open.
    fn try_region(&self) -> Option<MutexGuard<'_, ()>> {
        match self.region.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        *lock(&self.shared.sleep) = true;
        self.shared.gate.fetch_add(1 << 32, Ordering::SeqCst);
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so already.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn open(&self) {
        let number = (self.gate.load(Ordering::Relaxed) >> 32).wrapping_add(1) & 0xffff_ffff;
        self.gate.store(number << 32 | OPEN, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            // Taken so that no worker is between its last look at the gate and its sleep.
            drop(lock(&self.sleep));
            self.wake.notify_all();
        }
    }

    /// Lets no more workers in and waits until those inside have left.
    fn close(&self) {
        self.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let mut rounds = 0u32;
        while self.gate.load(Ordering::Acquire) & INSIDE != 0 {
            rounds = rounds.wrapping_add(1);
            match rounds % 1024 {
                0 => thread::yield_now(),
                _ => std::hint::spin_loop(),
            }
        }
    }

    fn claim_front(&self) -> Option<usize> {
        self.claim(|front, end| (front, (front + 1, end)))
    }

    fn claim_back(&self) -> Option<usize> {
        self.claim(|front, end| (end - 1, (front, end - 1)))
    }

    fn claim(&self, choose: impl Fn(u64, u64) -> (u64, (u64, u64))) -> Option<usize> {
        let mut claims = self.claims.load(Ordering::Relaxed);
        loop {
            let (front, end) = (claims & 0xffff_ffff, claims >> 32);
            if front >= end {
                return None;
            }
            let (index, (front, end)) = choose(front, end);
            let next = end << 32 | front;
            match self.claims.compare_exchange_weak(
                claims,
                next,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(index as usize),
                Err(current) => claims = current,
            }
        }
    }

    /// A worker's life.
    fn work(&self) {
        IN_REGION.set(true);
        let mut seen = 0;
        while self.wait_for_region(&mut seen) {
            if !self.enter(seen) {
                continue;
            }
            // SAFETY: this worker is inside, so the region's caller has not returned and the task
            // that it borrowed is alive; `enter` acquired what `open` published.
            let task = unsafe { &*(*self.task.load(Ordering::Relaxed)).0 };
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                while let Some(index) = self.claim_back() {
                    task(index);
                }
            }));
            if let Err(payload) = outcome {
                *lock(&self.panic) = Some(payload);
            }
            self.gate.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Waits for a gate that differs from the one last seen; false when the pool ends.
    fn wait_for_region(&self, seen: &mut u64) -> bool {
        for _ in 0..SPINS {
            let number = self.gate.load(Ordering::Acquire) >> 32;
            if number != *seen {
                *seen = number;
                // A new number without an open gate is the end of a short region, or of the pool.
                return !*lock(&self.sleep);
            }
            std::hint::spin_loop();
        }
        let mut ended = lock(&self.sleep);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        loop {
            let number = self.gate.load(Ordering::SeqCst) >> 32;
            if *ended || number != *seen {
                *seen = number;
                self.sleeping.fetch_sub(1, Ordering::SeqCst);
                return !*ended;
            }
            ended = self.wake.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Comes into the region with this number, if it is still open.
    fn enter(&self, number: u64) -> bool {
        let mut gate = self.gate.load(Ordering::Acquire);
        while gate >> 32 == number && gate & OPEN != 0 {
            let next = gate + 1;
            match self.gate.compare_exchange_weak(gate, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(current) => gate = current,
            }
        }
        false
    }
}

/// The pool of a process; replaced, and the old one leaked, after `fork`.
struct Current {
    process: u32,
    pool: Arc<Pool>,
}

static CURRENT: AtomicPtr<Current> = AtomicPtr::new(std::ptr::null_mut());
static WANTED: AtomicU32 = AtomicU32::new(0);

/// The process' pool.
pub fn pool() -> Arc<Pool> {
    let current = CURRENT.load(Ordering::Acquire);
    // SAFETY: a pointer stored in CURRENT is never freed.
    if let Some(current) = unsafe { current.as_ref() }
        && current.process == std::process::id()
    {
        return Arc::clone(&current.pool);
    }
    replace(current)
}

/// The process' pool for one run, asked for when there is work to share: small runs have none.
#[derive(Debug, Default)]
pub struct Lazy {
    pool: OnceLock<Arc<Pool>>,
}

impl Parallel for Lazy {
    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        match count {
            0 | 1 => (0..count).for_each(task),
            _ => self.pool.get_or_init(pool).for_each(count, task),
        }
    }
}

/// Installs a new pool in place of `old`, unless another thread was faster.
fn replace(old: *mut Current) -> Arc<Pool> {
    let pool = Arc::new(Pool::new(wanted_threads()));
    let current = Current { process: std::process::id(), pool: Arc::clone(&pool) };
    let new = Box::into_raw(Box::new(current));
    match CURRENT.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
        // The old entry is leaked (a few bytes): another thread may be reading it, and after `fork`
        // its threads do not exist and cannot be joined.
        Ok(_) => pool,
        Err(_) => {
            // SAFETY: `new` came from `Box::into_raw` above and was not published.
            drop(unsafe { Box::from_raw(new) });
            drop(pool);
            self::pool()
        }
    }
}

fn wanted_threads() -> usize {
    match WANTED.load(Ordering::Acquire) {
        0 => default_threads(),
        threads => threads as usize,
    }
}

/// `FLOWRS_NUM_THREADS`, or the number of cores that the process may use.
fn default_threads() -> usize {
    let configured = std::env::var("FLOWRS_NUM_THREADS").ok();
    let configured = configured.and_then(|text| text.trim().parse().ok());
    match configured {
        Some(threads) if (1..=MAX_THREADS).contains(&threads) => threads,
        _ => thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Number of threads that steps run on.
pub fn threads() -> usize {
    pool().threads()
}

/// Sets the number of threads that steps run on from the next run.
pub fn set_threads(threads: usize) -> Result<(), Error> {
    if !(1..=MAX_THREADS).contains(&threads) {
        return Err(Error::Argument(format!(
            "the number of threads must be from 1 to {MAX_THREADS}, not {threads}"
        )));
    }
    WANTED.store(threads as u32, Ordering::Release);
    if pool().threads() != threads {
        let old = CURRENT.load(Ordering::Acquire);
        replace(old);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn every_task_runs_once_for_every_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for count in [0, 1, 2, 7, 100, 1000] {
                let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                pool.for_each(count, &|index| {
                    runs[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn many_short_regions_lose_nothing() {
        let pool = Pool::new(4);
        let total = AtomicUsize::new(0);
        for round in 0..20_000 {
            pool.for_each(round % 5, &|_| {
                total.fetch_add(1, Ordering::Relaxed);
            });
            if round % 4_000 == 0 {
                thread::sleep(std::time::Duration::from_millis(3));
            }
        }
        assert_eq!(total.load(Ordering::Relaxed), 40_000);
    }

    #[test]
    fn a_region_inside_a_region_runs_on_its_caller() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        pool.for_each(10, &|_| {
            pool.for_each(10, &|_| {
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn callers_at_the_same_time_do_not_disturb_each_other() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        pool.for_each(8, &|_| {
                            total.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.load(Ordering::Relaxed), 4 * 500 * 8);
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.for_each(100, &|index| assert!(index != 57, "task 57"));
        }));
        assert!(outcome.is_err());
        let total = AtomicUsize::new(0);
        pool.for_each(100, &|_| {
            total.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(total.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn the_number_of_threads_is_checked_and_set() {
        assert!(set_threads(0).is_err());
        assert!(set_threads(MAX_THREADS + 1).is_err());
        set_threads(3).expect("three threads");
        assert_eq!(threads(), 3);
    }
}
