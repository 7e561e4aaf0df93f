//! Which vector instructions a kernel may use, and the macro that compiles a kernel for each.

use std::fmt;

/// An instruction set that this CPU has: the proof that lets a kernel run its instructions.
///
/// Ordered from the plainest to the widest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(Level);

/// The instruction sets kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    /// What every CPU of the target architecture has.
    Portable,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors (F, BW, DQ, VL).
    Avx512,
}

impl Isa {
    /// The plainest first.
    const ALL: [Isa; 3] = [Isa(Level::Portable), Isa(Level::Avx2), Isa(Level::Avx512)];

    /// The best one of this CPU.
    pub fn detect() -> Isa {
        Isa::ALL.into_iter().rev().find(|isa| isa.exists()).unwrap_or(Isa(Level::Portable))
    }

    /// Every instruction set of this CPU, the plainest first.
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.exists()).collect()
    }

    /// The instruction set called `name`: "portable", "avx2" or "avx512".
    ///
    /// # Errors
    /// A message that lists the names this CPU allows.
    pub fn parse(name: &str) -> Result<Isa, String> {
        let available = Isa::available();
        available.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
            let known = Isa::ALL.iter().any(|isa| isa.name() == name);
            let reason = if known { "this CPU lacks it" } else { "there is no such name" };
            format!("instruction set {name:?}: {reason}, use one of {}", names.join(", "))
        })
    }

    /// The name that [`Isa::parse`] understands.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    #[inline(always)]
    pub(crate) fn level(self) -> Level {
        self.0
    }

    /// Whether this CPU has it.
    fn exists(self) -> bool {
        match self.0 {
            Level::Portable => true,
            Level::Avx2 => has_avx2(),
            Level::Avx512 => has_avx512(),
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

/// What a kernel's body may want to know about the instructions it is compiled for.
pub trait Instructions {
    /// A fused multiply-add is one instruction (elsewhere it is a slow library call).
    const FUSED: bool;
    /// The size of the vectors that kernels may name themselves; 0 if they may not.
    const VECTOR_BYTES: usize;
}

/// See [`Level::Portable`].
pub(crate) struct Portable;
/// See [`Level::Avx2`].
pub(crate) struct Avx2;
/// See [`Level::Avx512`].
pub(crate) struct Avx512;

impl Instructions for Portable {
    const FUSED: bool = false;
    const VECTOR_BYTES: usize = if cfg!(target_arch = "x86_64") { 16 } else { 0 };
}
impl Instructions for Avx2 {
    const FUSED: bool = true;
    const VECTOR_BYTES: usize = 32;
}
impl Instructions for Avx512 {
    const FUSED: bool = true;
    const VECTOR_BYTES: usize = 64;
}

/// Compiles one function body for every instruction set.
///
/// `per_isa! { fn name<I, T: Bound>(argument: Type) -> Result { body } }` defines
/// `name<T: Bound>(isa: Isa, argument: Type) -> Result`; inside the body `I` is the set's
/// [`Instructions`]. The body is plain code that the compiler vectorises; functions it calls in a
/// loop must be `#[inline(always)]`, or they are compiled for the portable set only.
macro_rules! per_isa {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident
     <$i:ident $(, $generic:ident : $bound:path)* $(; const $c:ident : $ct:ty)* $(,)?>
     ($($argument:ident : $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$attribute])*
        $visibility fn $name<$($generic: $bound,)* $(const $c: $ct,)*>
            (isa: $crate::Isa, $($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body<$i: $crate::isa::Instructions, $($generic: $bound,)* $(const $c: $ct,)*>
                ($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2<$($generic: $bound,)* $(const $c: $ct,)*>($($argument: $type),*) $(-> $result)? {
                body::<$crate::isa::Avx2, $($generic,)* $($c,)*>($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512<$($generic: $bound,)* $(const $c: $ct,)*>($($argument: $type),*) $(-> $result)? {
                body::<$crate::isa::Avx512, $($generic,)* $($c,)*>($($argument),*)
            }

            match isa.level() {
                // SAFETY: an `Isa` of this level exists only where the CPU has the features.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx512 => unsafe { avx512::<$($generic,)* $($c,)*>($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx2 => unsafe { avx2::<$($generic,)* $($c,)*>($($argument),*) },
                _ => body::<$crate::isa::Portable, $($generic,)* $($c,)*>($($argument),*),
            }
        }
    };
}
