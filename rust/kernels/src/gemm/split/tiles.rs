//! The innermost loop: a square of the product, kept in the tile registers of AMX.
//!
//! A tile register holds 16 rows of 64 bytes. Four are the sums of a square of up to 32 x 32; two hold 32
//! steps of 32 rows of the left operand, two the same steps of 32 columns of the right one.

use std::marker::PhantomData;

use crate::Isa;
use crate::gemm::windows::PANEL;

/// Rows, and columns, of a square.
pub(super) const SIDE: usize = PANEL;
/// The sums of a square, row by row, and room for their transposition.
#[repr(align(64))]
pub(super) struct Sums(pub(super) [[f32; SIDE * SIDE]; 2]);

impl Sums {
    pub(super) fn new() -> Self {
        Sums([[0.0; SIDE * SIDE]; 2])
    }
}

/// What `ldtilecfg` reads: palette 1, eight registers of rows of 64 bytes
/// (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18).
#[repr(align(64))]
struct Configuration(#[expect(dead_code, reason = "the CPU reads it")] [u8; 64]);

impl Configuration {
    /// Registers of so many rows, but for those of the right operand, which always have 16.
    fn new(rows: usize) -> Self {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        for register in 0..8 {
            bytes[16 + 2 * register] = 64;
            bytes[48 + register] = if register < 6 { rows as u8 } else { 16 };
        }
        Configuration(bytes)
    }
}

/// Tile registers that are ready for use by this thread; given back when this is dropped.
pub(super) struct Registers(PhantomData<*const ()>);

impl Registers {
    /// For tiles of so many rows of the left operand and of the sums.
    ///
    /// # Panics
    /// If the instruction set has no tiles, or they have fewer rows.
    pub(super) fn new(isa: Isa, rows: usize) -> Self {
        assert!(isa.has_tiles(), "the instruction set has no tiles");
        assert!((1..=SIDE / 2).contains(&rows), "tiles have up to 16 rows");
        let configuration = Configuration::new(rows);
        // SAFETY: the CPU has tiles, and the system allows them: else there is no such `Isa`. The
        // configuration is one that every such CPU takes.
        unsafe {
            std::arch::asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const configuration,
                options(nostack, preserves_flags),
            );
        }
        Registers(PhantomData)
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: there are tiles, since `new` was allowed; the compiler keeps nothing in them.
        unsafe { std::arch::asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

impl Registers {
    /// Begins a square: its sums are 0. The compiler itself uses no tile registers, so that they keep
    /// what they hold from here to [`Registers::store`].
    #[inline(always)]
    pub(super) fn clear(&self) {
        // SAFETY: the registers are ready.
        unsafe {
            std::arch::asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nomem, nostack, preserves_flags),
            );
        }
    }

    /// Writes the sums of a square.
    #[inline(always)]
    pub(super) fn store(&self, sums: &mut [f32; SIDE * SIDE]) {
        // SAFETY: the registers are ready, and each of the four tiles lies inside the array.
        unsafe {
            std::arch::asm!(
                "tilestored [{sums} + {row}*1], tmm0",
                "tilestored [{sums} + {row}*1 + 64], tmm1",
                "tilestored [{sums} + {row}*1 + 2048], tmm2",
                "tilestored [{sums} + {row}*1 + 2112], tmm3",
                sums = in(reg) sums.as_mut_ptr(),
                row = in(reg) SIDE * size_of::<f32>(),
                options(nostack, preserves_flags),
            );
        }
    }
}

/// Multiplies the parts of a step and adds them to the sums. The work goes on when this returns, and other
/// code overlaps with it.
///
/// # Safety
/// Both operands can be read: of the left one as many rows as the registers have, of the right one 16.
pub(super) type Kernel = unsafe fn(ready: &Registers, a: Operand, b: Operand);

/// A step of an operand: two tiles, whose rows hold the parts one after another.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    /// Where the tiles begin.
    pub(super) tiles: [*const f32; 2],
    /// Elements from a row to the next.
    pub(super) row: usize,
}

impl Operand {
    /// A packed step.
    #[inline(always)]
    pub(super) fn packed(step: &[f32]) -> Self {
        let first = step.as_ptr();
        Operand { tiles: [first, first.wrapping_add(step.len() / 2)], row: step.len() / SIDE }
    }
}

/// Loads a part of the left operand, of 1 or 2 tiles, and multiplies each with the 1 or 2 tiles of the right
/// one that are there.
macro_rules! next_a {
    ($part:literal, 1, $n:tt) => {
        concat!("tileloadd tmm4, [{a0} + {a_row}*1 + 64*", $part, "]\n", row!(0 1, 4, $n))
    };
    ($part:literal, 2, $n:tt) => {
        concat!(
            next_a!($part, 1, $n),
            "tileloadd tmm5, [{a1} + {a_row}*1 + 64*", $part, "]\n", row!(2 3, 5, $n)
        )
    };
}
macro_rules! row {
    ($x:literal $y:literal, $a:literal, 1) => {
        concat!("tdpbf16ps tmm", $x, ", tmm", $a, ", tmm6\n")
    };
    ($x:literal $y:literal, $a:literal, 2) => {
        concat!(row!($x $y, $a, 1), "tdpbf16ps tmm", $y, ", tmm", $a, ", tmm7\n")
    };
}
/// The same for a part of the right operand.
macro_rules! next_b {
    ($part:literal, $m:tt, 1) => {
        concat!("tileloadd tmm6, [{b0} + {b_row}*1 + 64*", $part, "]\n", column!(0 2, 6, $m))
    };
    ($part:literal, $m:tt, 2) => {
        concat!(
            next_b!($part, $m, 1),
            "tileloadd tmm7, [{b1} + {b_row}*1 + 64*", $part, "]\n", column!(1 3, 7, $m)
        )
    };
}
macro_rules! column {
    ($x:literal $y:literal, $b:literal, 1) => {
        concat!("tdpbf16ps tmm", $x, ", tmm4, tmm", $b, "\n")
    };
    ($x:literal $y:literal, $b:literal, 2) => {
        concat!(column!($x $y, $b, 1), "tdpbf16ps tmm", $y, ", tmm5, tmm", $b, "\n")
    };
}
/// Loads the first part of the right operand.
macro_rules! first_b {
    (1) => {
        "tileloadd tmm6, [{b0} + {b_row}*1]\n"
    };
    (2) => {
        concat!(first_b!(1), "tileloadd tmm7, [{b1} + {b_row}*1]\n")
    };
}
/// The products of parts that are large enough to matter, smaller ones first; from one to the next only
/// one operand changes.
macro_rules! step {
    (2, $m:tt, $n:tt) => {
        concat!(first_b!($n), next_a!(1, $m, $n), next_a!(0, $m, $n), next_b!(1, $m, $n))
    };
    (3, $m:tt, $n:tt) => {
        concat!(
            first_b!($n),
            next_a!(2, $m, $n),
            next_a!(1, $m, $n),
            next_b!(1, $m, $n),
            next_a!(0, $m, $n),
            next_b!(2, $m, $n),
            next_b!(0, $m, $n),
        )
    };
}
macro_rules! kernels {
    ($($name:ident $parts:tt $m:tt $n:tt;)*) => {$(
        /// # Safety
        /// See [`Kernel`].
        unsafe fn $name(_: &Registers, a: Operand, b: Operand) {
            // SAFETY: the caller's promises, and registers that are ready.
            unsafe {
                std::arch::asm!(
                    step!($parts, $m, $n),
                    "/* {a1} {b1} */",
                    a_row = in(reg) a.row * size_of::<f32>(),
                    b_row = in(reg) b.row * size_of::<f32>(),
                    a0 = in(reg) a.tiles[0],
                    a1 = in(reg) a.tiles[1],
                    b0 = in(reg) b.tiles[0],
                    b1 = in(reg) b.tiles[1],
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, readonly, preserves_flags),
                );
            }
        }
    )*};
}

kernels! {
    two_1_1 2 1 1;
    two_1_2 2 1 2;
    two_2_1 2 2 1;
    two_2_2 2 2 2;
    three_1_1 3 1 1;
    three_1_2 3 1 2;
    three_2_1 3 2 1;
    three_2_2 3 2 2;
}

/// The kernel for so many parts and a square of so many rows and columns.
pub(super) fn kernel(parts: usize, rows: usize, columns: usize) -> Kernel {
    match (parts, rows > SIDE / 2, columns > SIDE / 2) {
        (2, false, false) => two_1_1,
        (2, false, true) => two_1_2,
        (2, true, false) => two_2_1,
        (2, true, true) => two_2_2,
        (_, false, false) => three_1_1,
        (_, false, true) => three_1_2,
        (_, true, false) => three_2_1,
        (_, true, true) => three_2_2,
    }
}
