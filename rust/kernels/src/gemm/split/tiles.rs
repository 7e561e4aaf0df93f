//! The innermost loop: a square of the product, kept in the tile registers of AMX.
//!
//! A tile register holds 16 rows of 64 bytes. Four are the sums of a square of up to 32 x 32; two hold 32
//! steps of 32 rows of the left operand, two the same steps of 32 columns of the right one.

use std::marker::PhantomData;

use crate::Isa;

/// Rows, and columns, of a square.
pub(super) const SIDE: usize = 2 * LINES;
/// Lines of a tile: rows of the left operand, or columns of the right one.
pub(super) const LINES: usize = 16;
/// Elements of a row of a tile, each two bfloat16 numbers.
pub(super) const ROW: usize = 16;
/// Parts of each number.
pub(super) const PARTS: usize = 3;
/// Elements of a tile of each part: a row of all parts follows another.
pub(super) const TILES: usize = LINES * PARTS * ROW;
/// Elements of a packed step, and the steps of the depth in it.
pub(super) const STEP: usize = 2 * TILES;
pub(super) const STEP_DEPTH: usize = 32;

/// The sums of a square, row by row, and room for their transposition.
#[repr(align(64))]
pub(super) struct Sums(pub(super) [[f32; SIDE * SIDE]; 2]);

impl Sums {
    pub(super) fn new() -> Self {
        Sums([[0.0; SIDE * SIDE]; 2])
    }
}

/// What `ldtilecfg` reads: palette 1, eight registers of 16 rows of 64 bytes
/// (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18).
#[repr(align(64))]
struct Configuration(#[expect(dead_code, reason = "the CPU reads it")] [u8; 64]);

impl Configuration {
    fn new() -> Self {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        for register in 0..8 {
            bytes[16 + 2 * register] = 64;
            bytes[48 + register] = LINES as u8;
        }
        Configuration(bytes)
    }
}

/// Tile registers that are ready for use by this thread; given back when this is dropped.
pub(super) struct Registers(PhantomData<*const ()>);

impl Registers {
    /// Makes the tile registers ready for this thread.
    ///
    /// # Panics
    /// If the instruction set has no tiles.
    pub(super) fn new(isa: Isa) -> Self {
        assert!(isa.has_tiles(), "the instruction set has no tiles");
        let configuration = Configuration::new();
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
pub(super) type Kernel = fn(ready: &Registers, a: &[f32; STEP], b: &[f32; STEP]);

/// Loads a part of the left operand, of 1 or 2 tiles, and multiplies each with the 1 or 2 tiles of the right
/// one that are there.
macro_rules! next_a {
    ($part:literal, 1, $n:tt) => {
        concat!("tileloadd tmm4, [{a} + {row}*1 + 64*", $part, "]\n", row!(0 1, 4, $n))
    };
    ($part:literal, 2, $n:tt) => {
        concat!(
            next_a!($part, 1, $n),
            "tileloadd tmm5, [{a} + {row}*1 + {tile} + 64*", $part, "]\n", row!(2 3, 5, $n)
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
        concat!("tileloadd tmm6, [{b} + {row}*1 + 64*", $part, "]\n", column!(0 2, 6, $m))
    };
    ($part:literal, $m:tt, 2) => {
        concat!(
            next_b!($part, $m, 1),
            "tileloadd tmm7, [{b} + {row}*1 + {tile} + 64*", $part, "]\n", column!(1 3, 7, $m)
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
        "tileloadd tmm6, [{b} + {row}*1]\n"
    };
    (2) => {
        concat!(first_b!(1), "tileloadd tmm7, [{b} + {row}*1 + {tile}]\n")
    };
}
macro_rules! kernels {
    ($($name:ident $m:tt $n:tt;)*) => {$(
        /// The products of parts that are large enough to matter, smaller ones first; from one to the next
        /// only one operand changes.
        fn $name(_: &Registers, a: &[f32; STEP], b: &[f32; STEP]) {
            // SAFETY: the registers are ready, and the tiles lie inside the steps.
            unsafe {
                std::arch::asm!(
                    first_b!($n),
                    next_a!(2, $m, $n),
                    next_a!(1, $m, $n),
                    next_b!(1, $m, $n),
                    next_a!(0, $m, $n),
                    next_b!(2, $m, $n),
                    next_b!(0, $m, $n),
                    "/* {tile} */",
                    row = in(reg) PARTS * ROW * size_of::<f32>(),
                    tile = const TILES * size_of::<f32>(),
                    a = in(reg) a.as_ptr(),
                    b = in(reg) b.as_ptr(),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, readonly, preserves_flags),
                );
            }
        }
    )*};
}

kernels! {
    one_one 1 1;
    one_two 1 2;
    two_one 2 1;
    two_two 2 2;
}

/// The kernel for a square of so many rows and columns.
pub(super) fn kernel(rows: usize, columns: usize) -> Kernel {
    match (rows > LINES, columns > LINES) {
        (false, false) => one_one,
        (false, true) => one_two,
        (true, false) => two_one,
        (true, true) => two_two,
    }
}
