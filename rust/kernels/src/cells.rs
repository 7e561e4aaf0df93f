//! Cells: some neighbouring outputs that are made together, in registers.

use crate::isa::Instructions;

/// What is done for each cell of `N` outputs.
pub(crate) trait Cells {
    /// The most outputs of a cell, 16 at least; 64 at most.
    const LONGEST: usize = 16;

    /// Makes the outputs `first..first + N`.
    ///
    /// # Safety
    /// The CPU has the instructions of `I`, for which the caller is compiled.
    unsafe fn cell<I: Instructions, const N: usize>(&mut self, first: usize);
}

/// Makes `length` outputs, in cells as large as fit; the last may overlap the one before it, and makes
/// some outputs again.
///
/// # Safety
/// The CPU has the instructions of `I`, for which the caller is compiled.
#[inline(always)]
pub(crate) unsafe fn for_each_cell<I: Instructions, C: Cells>(length: usize, cells: &mut C) {
    #[inline(always)]
    unsafe fn of<I: Instructions, const N: usize>(length: usize, cells: &mut impl Cells) {
        let mut first = 0;
        while first + N < length {
            // SAFETY: the caller's contract.
            unsafe { cells.cell::<I, N>(first) };
            first += N;
        }
        // SAFETY: as above.
        unsafe { cells.cell::<I, N>(length - N) };
    }
    // SAFETY: the caller's contract.
    unsafe {
        match length {
            0 => {}
            1..4 => of::<I, 1>(length, cells),
            4..8 => of::<I, 4>(length, cells),
            8..16 => of::<I, 8>(length, cells),
            // There are not enough registers of 16 bytes for as many.
            64.. if C::LONGEST >= 64 && I::VECTOR_BYTES > 16 => of::<I, 64>(length, cells),
            // Without vectors of their own, cells are better longer.
            32.. if C::LONGEST >= 32 || I::VECTOR_BYTES == 0 => of::<I, 32>(length, cells),
            _ => of::<I, 16>(length, cells),
        }
    }
}
