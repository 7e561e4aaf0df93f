//! The transforms: products of small constant matrices from both sides with the squares of many
//! channels at once.
//!
//! A convolution of 6 elements with a kernel, along one axis, is an interpolation through 6 points:
//! transformed elements and kernel are the values of polynomials there, products of which the inverse
//! takes apart again (S. Winograd, *Arithmetic Complexity of Computations*, 1980; A. Lavin and S. Gray,
//! *Fast Algorithms for Convolutional Neural Networks*, 2015). The points are 0, 2/3, -2/3, 3/2, -3/2
//! and infinity, whose rounding errors are a quarter of those of the usual whole numbers.

use crate::gemm::{Lanes, Plain};
use crate::isa::Level;
use crate::parallel::Parts;
use crate::{Float, Isa};

/// Elements of a tile along one axis.
pub(super) const SIDE: usize = 6;
/// Elements of a transformed tile.
pub(super) const FREQUENCIES: usize = SIDE * SIDE;

/// A multiple of every vector's length.
pub(super) const CHANNELS: usize = 16;

const P: f64 = 2.0 / 3.0;
const Q: f64 = 1.5;

/// A transform along one axis.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub enum Kind {
    /// Of a tile of the input.
    Input,
    /// Of so many elements of a kernel, to the tile's frequencies.
    Kernel(usize),
    /// From the frequencies, to so many elements of the output.
    Inverse(usize),
}

impl Kind {
    /// Sizes of the squares that are read and written.
    fn sizes(self) -> [[usize; 2]; 2] {
        match self {
            Kind::Input => [[SIDE; 2]; 2],
            Kind::Kernel(size) => [[size; 2], [SIDE; 2]],
            Kind::Inverse(size) => [[SIDE; 2], [size; 2]],
        }
    }
}

/// A square of elements of many channels, which lie next to one another.
#[derive(Clone, Copy)]
pub(super) struct Square {
    /// Where it begins.
    pub(super) start: usize,
    /// How much of it exists along both axes; the rest reads as zeros and is not written.
    pub(super) size: [usize; 2],
}

/// Distances of a square's elements along both axes.
pub(super) type Strides = [usize; 2];

/// A transform of some channels of a square.
#[doc(hidden)]
pub struct Call<T> {
    from: *const T,
    to: *mut T,
    strides: [Strides; 2],
    channels: usize,
}

/// Runs a transform.
///
/// # Safety
/// The CPU has the instructions of the [`Isa`] that it was chosen for; the number of channels is a
/// multiple of its vectors' length. All elements of the square at `from` can be read and all of the one at
/// `to` written, by this call alone.
pub(crate) type Run<T> = unsafe fn(&Call<T>);

/// Transforms squares of `from` to squares of `to`, all channels of each.
///
/// # Panics
/// If a square reaches beyond its slice, or the channels are no whole vectors.
///
/// # Safety
/// Nobody else reads or writes the channels of the squares in `to` meanwhile.
pub(super) unsafe fn transform<T: Float>(
    isa: Isa,
    kind: Kind,
    channels: usize,
    from: (&[T], Strides),
    to: (&Parts<T>, Strides),
    squares: impl Iterator<Item = [Square; 2]>,
) {
    assert!(channels.is_multiple_of(T::lanes(isa)), "{channels} channels are no whole vectors");
    let run = T::transform(isa, kind);
    let reach = |square: Square, strides: Strides| {
        let [rows, columns] = square.size;
        assert!(rows > 0 && columns > 0, "a square has at least one element");
        square.start + (rows - 1) * strides[0] + (columns - 1) * strides[1] + channels
    };
    for [source, target] in squares {
        assert!(reach(source, from.1) <= from.0.len(), "a square to read reaches too far");
        assert!(reach(target, to.1) <= to.0.len(), "a square to write reaches too far");
        let call = Call {
            from: from.0[source.start..].as_ptr(),
            to: to.0.pointer().wrapping_add(target.start),
            strides: [from.1, to.1],
            channels,
        };
        // SAFETY: `run` is one for `isa`; what exists of both squares lies in their slices, as was
        // checked, and the caller promises that the second is this call's alone.
        unsafe {
            if [source.size, target.size] == kind.sizes() {
                run(&call);
            } else {
                partly(run, kind, &call, source.size, target.size);
            }
        }
    }
}

/// Transforms a square of which a part does not exist, by way of whole ones.
///
/// # Safety
/// See [`Run`], but only as much as the sizes say can be read and written.
unsafe fn partly<T: Float>(
    run: Run<T>,
    kind: Kind,
    call: &Call<T>,
    source: [usize; 2],
    target: [usize; 2],
) {
    let places = |[rows, columns]: [usize; 2]| {
        (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
    };
    let offset =
        |[row, column]: [usize; 2], strides: Strides| row * strides[0] + column * strides[1];
    let whole = [SIDE * CHANNELS, CHANNELS];
    debug_assert!(kind.sizes()[0] >= source && kind.sizes()[1] >= target);
    for channel in (0..call.channels).step_by(CHANNELS) {
        let channels = CHANNELS.min(call.channels - channel);
        let (mut from, mut to) =
            ([T::ZERO; FREQUENCIES * CHANNELS], [T::ZERO; FREQUENCIES * CHANNELS]);
        // SAFETY: places inside the sizes can be read and written, as the caller promises; the arrays
        // hold whole squares.
        unsafe {
            for place in places(source) {
                let element = call.from.add(offset(place, call.strides[0]) + channel);
                let copy = from[offset(place, whole)..].as_mut_ptr();
                element.copy_to_nonoverlapping(copy, channels);
            }
            let (from, to) = (from.as_ptr(), to.as_mut_ptr());
            run(&Call { from, to, strides: [whole; 2], channels });
            for place in places(target) {
                let element = call.to.add(offset(place, call.strides[1]) + channel);
                to.add(offset(place, whole)).copy_to_nonoverlapping(element, channels);
            }
        }
    }
}

macro_rules! runs {
    ($($name:ident $type:ident, $portable:literal $avx2:ident $avx512:ident;)*) => {$(
        /// The transform of this kind, for an element type and an instruction set.
        pub(crate) fn $name(isa: Isa, kind: Kind) -> Run<$type> {
            match isa.level() {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => of_kind!(kind, avx512, $type, std::arch::x86_64::$avx512),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => of_kind!(kind, avx2, $type, std::arch::x86_64::$avx2),
                _ => of_kind!(kind, portable, $type, Plain<$type, $portable>),
            }
        }
    )*};
}

macro_rules! of_kind {
    ($kind:ident, $run:ident, $type:ty, $vector:ty) => {
        match $kind {
            Kind::Input => $run::<$type, $vector, Input>,
            Kind::Kernel(2) => $run::<$type, $vector, Kernel<2>>,
            Kind::Kernel(3) => $run::<$type, $vector, Kernel<3>>,
            Kind::Kernel(4) => $run::<$type, $vector, Kernel<4>>,
            Kind::Kernel(5) => $run::<$type, $vector, Kernel<5>>,
            Kind::Inverse(2) => $run::<$type, $vector, Inverse<2>>,
            Kind::Inverse(3) => $run::<$type, $vector, Inverse<3>>,
            Kind::Inverse(4) => $run::<$type, $vector, Inverse<4>>,
            Kind::Inverse(5) => $run::<$type, $vector, Inverse<5>>,
            Kind::Kernel(_) | Kind::Inverse(_) => unreachable!("there is no {:?}", $kind),
        }
    };
}

runs! {
    stransform f32, 4 __m256 __m512;
    dtransform f64, 2 __m256d __m512d;
}

macro_rules! levels {
    ($($(#[$attribute:meta])* $name:ident;)*) => {$(
        /// # Safety
        /// See [`Run`].
        $(#[$attribute])*
        unsafe fn $name<T: Float, V: Lanes<T>, K: Transform>(call: &Call<T>) {
            // SAFETY: the same contract.
            unsafe { run::<T, V, K>(call) }
        }
    )*};
}

levels! {
    portable;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    avx2;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    avx512;
}

/// The body of all.
///
/// # Safety
/// See [`Run`].
#[inline(always)]
unsafe fn run<T: Float, V: Lanes<T>, K: Transform>(call: &Call<T>) {
    for channel in (0..call.channels).step_by(V::LANES) {
        // SAFETY: the same contract; the channels are whole vectors.
        unsafe { square::<T, V, K>(call, channel) };
    }
}

/// Repeats the body for each place of a tile's side; the compiler unrolls no loop of this size, and only
/// unrolled do the vectors stay in registers.
macro_rules! each {
    ($place:ident < $count:expr => $body:block) => {
        each!(@ $place $count, $body 0 1 2 3 4 5)
    };
    (@ $place:ident $count:expr, $body:block $($index:literal)*) => {
        $(if $index < $count {
            let $place = $index;
            $body
        })*
    };
}

/// A vector of channels: first along the columns, then along the rows.
///
/// # Safety
/// See [`Run`]; the vector's channels are some of the call's.
#[inline(always)]
unsafe fn square<T: Float, V: Lanes<T>, K: Transform>(call: &Call<T>, channel: usize) {
    let [from, to] = call.strides;
    // SAFETY: elements inside the squares are read and written.
    unsafe {
        let zero = V::splat(T::ZERO);
        let mut half = [[zero; SIDE]; SIDE];
        each!(column < K::FROM => {
            let mut elements = [zero; SIDE];
            each!(row < K::FROM => {
                let offset = row * from[0] + column * from[1] + channel;
                elements[row] = V::load(call.from.add(offset));
            });
            let elements = K::apply::<T, V>(elements);
            each!(row < K::TO => { half[row][column] = elements[row]; });
        });
        each!(row < K::TO => {
            let elements = K::apply::<T, V>(half[row]);
            each!(column < K::TO => {
                let offset = row * to[0] + column * to[1] + channel;
                elements[column].store(call.to.add(offset));
            });
        });
    }
}

/// A transform of vectors; unused places hold anything.
trait Transform {
    /// Elements read.
    const FROM: usize;
    /// Elements made.
    const TO: usize;

    /// # Safety
    /// The vectors' instructions may be used.
    unsafe fn apply<T: Float, V: Lanes<T>>(from: [V; SIDE]) -> [V; SIDE];
}

/// See [`Kind::Input`].
struct Input;
/// See [`Kind::Kernel`].
struct Kernel<const N: usize>;
/// See [`Kind::Inverse`].
struct Inverse<const N: usize>;

/// `base` to the power of `exponent`, known to the compiler.
#[inline(always)]
fn power_of(base: f64, exponent: usize) -> f64 {
    (0..exponent).fold(1.0, |power, _| power * base)
}

/// `a + number * b`
///
/// # Safety
/// The vectors' instructions may be used.
#[inline(always)]
unsafe fn plus<T: Float, V: Lanes<T>>(a: V, number: f64, b: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { a.plus_product(V::splat(T::from_f64(number)), b) }
}

impl Transform for Input {
    const FROM: usize = SIDE;
    const TO: usize = SIDE;

    /// The coefficients of each row are those of the polynomial with all points but the row's as roots;
    /// those of a point and its opposite differ in the sign of the odd ones.
    #[inline(always)]
    unsafe fn apply<T: Float, V: Lanes<T>>(d: [V; SIDE]) -> [V; SIDE] {
        const BOTH: f64 = P * P + Q * Q;
        // SAFETY: the caller's promise.
        unsafe {
            let [even_p, odd_p] = [plus(d[4], -Q * Q, d[2]), plus(d[3], -Q * Q, d[1])];
            let [even_q, odd_q] = [plus(d[4], -P * P, d[2]), plus(d[3], -P * P, d[1])];
            [
                plus(plus(d[0], -BOTH, d[2]), 1.0, d[4]),
                plus(even_p, P, odd_p),
                plus(even_p, -P, odd_p),
                plus(even_q, Q, odd_q),
                plus(even_q, -Q, odd_q),
                plus(plus(d[1], -BOTH, d[3]), 1.0, d[5]),
            ]
        }
    }
}

impl<const N: usize> Transform for Kernel<N> {
    const FROM: usize = N;
    const TO: usize = SIDE;

    /// The values of the kernel's polynomial, over what the input's row has there.
    #[inline(always)]
    unsafe fn apply<T: Float, V: Lanes<T>>(g: [V; SIDE]) -> [V; SIDE] {
        // SAFETY: the caller's promise.
        unsafe {
            let zero = V::splat(T::ZERO);
            let values = |point: f64, other: f64| {
                let scale = 1.0 / (2.0 * point * point * (point * point - other * other));
                let (mut even, mut odd) = (zero, zero);
                for (power, &g) in g.iter().enumerate().take(N) {
                    let factor = scale * power_of(point, power);
                    match power % 2 {
                        0 => even = plus(even, factor, g),
                        _ => odd = plus(odd, factor, g),
                    }
                }
                [plus(even, 1.0, odd), plus(even, -1.0, odd)]
            };
            let ([at_p, at_minus_p], [at_q, at_minus_q]) = (values(P, Q), values(Q, P));
            [g[0], at_p, at_minus_p, at_q, at_minus_q, g[N - 1]]
        }
    }
}

impl<const N: usize> Transform for Inverse<N> {
    const FROM: usize = SIDE;
    const TO: usize = N;

    #[inline(always)]
    unsafe fn apply<T: Float, V: Lanes<T>>(m: [V; SIDE]) -> [V; SIDE] {
        // SAFETY: the caller's promise.
        unsafe {
            let sums = [plus(m[1], 1.0, m[2]), plus(m[3], 1.0, m[4])];
            let differences = [plus(m[1], -1.0, m[2]), plus(m[3], -1.0, m[4])];
            let mut result = [m[5]; SIDE];
            result[0] = plus(plus(m[0], 1.0, sums[0]), 1.0, sums[1]);
            for (power, result) in result.iter_mut().enumerate().take(N).skip(1) {
                let start = if power + 1 == N { m[5] } else { V::splat(T::ZERO) };
                let [p, q] = if power % 2 == 0 { sums } else { differences };
                *result = plus(plus(start, power_of(P, power), p), power_of(Q, power), q);
            }
            result
        }
    }
}
