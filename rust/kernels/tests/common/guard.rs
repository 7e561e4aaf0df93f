//! An allocator that lets what a test allocates end, or begin, exactly at a page that may not be
//! touched, so that a kernel that reads or writes one element too far ends the test at once.
//!
//! It serves the whole test program: inputs, outputs and working memory are ordinary vectors (of
//! which those made by `vec!`, `clone` or from an iterator of known length have no room to spare).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

#[cfg_attr(not(miri), global_allocator)]
static ALLOCATOR: Guarded = Guarded;

/// Bytes of address space that runs of pages are cut from, each with a forbidden page behind it.
const AREA: usize = 1 << 40;

/// Where the area begins; 0 before it is reserved. The page before it is forbidden, too.
static BEGIN: AtomicUsize = AtomicUsize::new(0);
/// Bytes of the area that were cut off.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Runs of at most so many pages are kept for the next allocation of their size.
const KEPT: usize = 64;

/// Runs of one length at most; more would be too many mappings for the system.
const RUNS: usize = 4096;

/// The runs of one length.
struct Runs {
    /// How many there are.
    count: usize,
    /// The first of those that are free; each holds the address of the next in its first bytes.
    free: usize,
}

/// The runs by their number of pages; those that are not kept share the first place.
static ALL_RUNS: [Mutex<Runs>; KEPT + 1] =
    [const { Mutex::new(Runs { count: 0, free: 0 }) }; KEPT + 1];

/// What lies at a page that may not be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    End,
    Begin,
}

thread_local! {
    static SIDE: Cell<Side> = const { Cell::new(Side::End) };
}

/// Until this is dropped, what its thread allocates lies on the side it was made for.
#[must_use]
pub struct Placed {
    before: Side,
}

/// Allocates on one side from now on.
pub fn place(side: Side) -> Placed {
    Placed { before: SIDE.replace(side) }
}

/// Allocates on the side that a random number says.
pub fn place_by(seed: u64) -> Placed {
    // Of the low bits tests make other choices.
    place(if seed >> 63 == 0 { Side::End } else { Side::Begin })
}

impl Drop for Placed {
    fn drop(&mut self) {
        SIDE.set(self.before);
    }
}

/// Runs `check` with all that it allocates on either side.
pub fn on_both_sides(check: impl Fn()) {
    for side in [Side::End, Side::Begin] {
        let _placed = place(side);
        check();
    }
}

struct Guarded;

// SAFETY: an allocation is `layout.size()` bytes, aligned, either of `System` or in pages that belong
// to it alone, and where it lies says which of the two gets it back.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match allocate(layout) {
            Some(pointer) => pointer,
            // SAFETY: the caller's promise about `layout` is the one that is needed.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let (begin, address) = (BEGIN.load(Relaxed), pointer.addr());
        if (begin..begin + AREA).contains(&address) {
            give_back(address / page() * page(), layout.size().div_ceil(page()));
        } else {
            // SAFETY: it is not of the area, so `System` made it with this layout.
            unsafe { System.dealloc(pointer, layout) }
        }
    }
}

/// Memory between forbidden pages, of which one is exactly at its end or its beginning; `None` where
/// that is not to be had.
fn allocate(layout: Layout) -> Option<*mut u8> {
    let (size, align) = (layout.size(), layout.align());
    if align > page() || size > AREA / 1024 {
        return None;
    }
    let pages = size.div_ceil(page());
    let begin = take(pages)?;
    let start = match SIDE.get() {
        Side::Begin => begin,
        Side::End => (begin + pages * page() - size) / align * align,
    };
    Some(start as *mut u8)
}

/// A run of pages that nobody else has.
fn take(pages: usize) -> Option<usize> {
    let mut runs = runs_of(pages).lock().ok()?;
    if runs.free != 0 {
        let begin = runs.free;
        // SAFETY: a free run can be read, is nobody's, and holds the address of the next.
        runs.free = unsafe { *(begin as *const usize) };
        return Some(begin);
    }
    if runs.count == RUNS {
        return None;
    }
    let area = match BEGIN.load(Relaxed) {
        0 => reserve()?,
        area => area,
    };
    let used = USED.fetch_add((pages + 1) * page(), Relaxed);
    let fits = used + (pages + 1) * page() <= AREA;
    let taken = fits && permit(area + used, pages * page());
    runs.count += usize::from(taken);
    taken.then_some(area + used)
}

/// Takes a run of pages back: keeps it, or gives its memory to the system.
fn give_back(begin: usize, pages: usize) {
    let Ok(mut runs) = runs_of(pages).lock() else { return };
    if pages <= KEPT {
        // SAFETY: the run was allocated, so it can be written, and its user has given it back.
        unsafe { *(begin as *mut usize) = runs.free };
        runs.free = begin;
    } else {
        forbid(begin, pages * page());
        runs.count -= 1;
    }
}

fn runs_of(pages: usize) -> &'static Mutex<Runs> {
    &ALL_RUNS[if pages <= KEPT { pages } else { 0 }]
}

/// Bytes of a page.
fn page() -> usize {
    // SAFETY: it asks for a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Reserves the area.
fn reserve() -> Option<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, at an address that the system chooses, changes no other memory.
    let area = unsafe { libc::mmap(null_mut(), AREA + page(), libc::PROT_NONE, flags, -1, 0) };
    if area == libc::MAP_FAILED {
        return None;
    }
    let begin = area.addr() + page();
    // Where another thread was faster, its area is used, and this one stays forbidden.
    match BEGIN.compare_exchange(0, begin, Relaxed, Relaxed) {
        Ok(_) => Some(begin),
        Err(other) => Some(other),
    }
}

/// Lets pages of the area be read and written.
fn permit(begin: usize, length: usize) -> bool {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the pages are of the area and nobody's yet.
    unsafe { libc::mprotect(begin as *mut _, length, access) == 0 }
}

/// Gives the memory of pages of the area to the system and forbids to touch them.
fn forbid(begin: usize, length: usize) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    // SAFETY: the pages are those of one run of the area, whose user has given it back.
    unsafe { libc::mmap(begin as *mut _, length, libc::PROT_NONE, flags, -1, 0) };
}
