//! The transforms: products of small constant matrices from both sides with the squares of many
//! channels at once.
//!
//! A convolution of a tile's side of elements with a kernel, along one axis, is an interpolation
//! through as many points: transformed elements and kernel are the values of polynomials there,
//! products of which the inverse takes apart again (S. Winograd, *Arithmetic Complexity of
//! Computations*, 1980; A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks*,
//! 2015). The points are 0, infinity, and opposite pairs: see [`points`].

use crate::gemm::{Lanes, Plain};
use crate::isa::Level;
use crate::parallel::Parts;
use crate::{Float, Isa};
use std::mem::MaybeUninit;

/// Elements of the longest tile along one axis.
const LONGEST: usize = 8;

/// A multiple of every vector's length.
pub(super) const CHANNELS: usize = 16;

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

/// Squares next to one another, of elements of many channels that lie together.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    /// Where the first square is read, and where it is written.
    pub(super) start: [usize; 2],
    /// The distance of the next ones.
    pub(super) step: [usize; 2],
    /// The number of squares.
    pub(super) count: usize,
    /// How many rows and columns there are of a strip of kernels or outputs; what is missing from the
    /// last squares reads as zeros and is not written. A strip of tiles or frequencies is whole.
    pub(super) size: [usize; 2],
}

/// What is done to the elements of an inverse on their way to memory.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a, T> {
    /// A number to add for each channel.
    pub(super) bias: Option<&'a [T]>,
    /// Whether negative elements become 0.
    pub(super) relu: bool,
}

impl<T> Finish<'_, T> {
    /// Nothing.
    pub(super) const NONE: Self = Finish { bias: None, relu: false };
}

/// Distances of a square's elements along both axes.
pub(super) type Strides = [usize; 2];

/// A transform of some channels of a strip.
#[doc(hidden)]
pub struct Call<T> {
    from: *const T,
    to: *mut T,
    strides: [Strides; 2],
    step: [usize; 2],
    count: usize,
    size: [usize; 2],
    /// Columns that are read, and rows that are written. Not constants: unrolled, the compiler would
    /// load all columns first, and have no registers for them.
    loops: [usize; 2],
    channels: usize,
    /// Null if there is none.
    bias: *const T,
    relu: bool,
}

/// Runs a transform.
///
/// # Safety
/// The CPU has the instructions of the [`Isa`] that it was chosen for; the number of channels is a
/// multiple of its vectors' length, and the loops are the kind's. All elements of the squares at `from` can be read and all of those
/// at `to` written, by this call alone, as far as they exist; `bias` has a number for each channel.
pub(crate) type Run<T> = unsafe fn(&Call<T>);

/// Transforms strips of squares of `from` to squares of `to`, all channels of each; `SIDE` is that of
/// the tiles.
///
/// # Panics
/// If a square reaches beyond its slice, or the channels are no whole vectors.
///
/// # Safety
/// Nobody else reads or writes the channels of the squares in `to` meanwhile.
pub(super) unsafe fn transform<T: Float, const SIDE: usize>(
    isa: Isa,
    kind: Kind,
    channels: usize,
    from: (&[T], Strides),
    to: (&Parts<T>, Strides),
    finish: Finish<T>,
    strips: impl Iterator<Item = Strip>,
) {
    assert!(channels.is_multiple_of(T::lanes(isa)), "{channels} channels are no whole vectors");
    assert!(finish.bias.is_none_or(|bias| bias.len() >= channels), "the bias is too short");
    let run = T::transform(isa, SIDE, kind);
    let whole = [SIDE; 2];
    for strip in strips {
        let [read, written] = match kind {
            Kind::Input => [Extent::Whole(whole), Extent::Whole(whole)],
            Kind::Kernel(taps) => [Extent::Cut(taps, strip.size), Extent::Whole(whole)],
            Kind::Inverse(outputs) => [Extent::Whole(whole), Extent::Cut(outputs, strip.size)],
        };
        let reach = |side: usize, extent: Extent, strides: Strides| {
            strip.start[side] + extent.reach(strip.count, strip.step[side], strides) + channels
        };
        assert!(reach(0, read, from.1) <= from.0.len(), "a square to read reaches too far");
        assert!(reach(1, written, to.1) <= to.0.len(), "a square to write reaches too far");
        let call = Call {
            from: from.0[strip.start[0]..].as_ptr(),
            to: to.0.pointer().wrapping_add(strip.start[1]),
            strides: [from.1, to.1],
            step: strip.step,
            count: strip.count,
            size: strip.size,
            loops: match kind {
                Kind::Input => [SIDE; 2],
                Kind::Kernel(taps) => [taps, SIDE],
                Kind::Inverse(outputs) => [SIDE, strip.size[0].min(outputs)],
            },
            channels,
            bias: finish.bias.map_or(std::ptr::null(), <[T]>::as_ptr),
            relu: finish.relu,
        };
        // SAFETY: `run` is one for `isa`; what exists of the squares lies in their slices, as was
        // checked, and the caller promises that the second ones are this call's alone.
        unsafe { run(&call) };
    }
}

/// How much there is of the squares of a strip.
#[derive(Clone, Copy)]
enum Extent {
    /// All of this size.
    Whole([usize; 2]),
    /// Squares of this side, of which all together have so many rows and columns.
    Cut(usize, [usize; 2]),
}

impl Extent {
    /// The offset of the furthest element from the strip's start.
    fn reach(self, count: usize, step: usize, strides: Strides) -> usize {
        let furthest = |square: usize| {
            let [rows, columns] = match self {
                Extent::Whole(size) => size,
                Extent::Cut(side, [rows, columns]) => {
                    let left = columns.checked_sub(square * side).filter(|&left| left > 0);
                    assert!(rows > 0 && left.is_some(), "a square has at least one element");
                    [rows.min(side), left.unwrap_or(0).min(side)]
                }
            };
            square * step + (rows - 1) * strides[0] + (columns - 1) * strides[1]
        };
        // Of squares that are cut only the last one is narrower.
        (count.saturating_sub(2)..count).map(furthest).max().unwrap_or(0)
    }
}

macro_rules! runs {
    ($($name:ident $type:ident, $portable:literal $avx2:ident $avx512:ident;)*) => {$(
        /// The transform of this kind of tiles of this side, for an element type and an instruction set.
        pub(crate) fn $name(isa: Isa, side: usize, kind: Kind) -> Run<$type> {
            match isa.level() {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => of_kind!(side kind, avx512, $type, std::arch::x86_64::$avx512),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => of_kind!(side kind, avx2, $type, std::arch::x86_64::$avx2),
                _ => of_kind!(side kind, portable, $type, Plain<$type, $portable>),
            }
        }
    )*};
}

macro_rules! of_kind {
    ($side:ident $kind:ident, $run:ident, $type:ty, $vector:ty) => {
        of_kind!(@ $side $kind, $run, $type, $vector;
                 6: 2 3 4 5;
                 8: 4 5;)
    };
    (@ $side:ident $kind:ident, $run:ident, $type:ty, $vector:ty;
     $($sides:literal: $($sizes:literal)*;)*) => {
        match ($side, $kind) {
            $(($sides, Kind::Input) => $run::<$type, $vector, Input<$sides>>,
            $(($sides, Kind::Kernel($sizes)) => $run::<$type, $vector, Kernel<$sides, $sizes>>,
              ($sides, Kind::Inverse($sizes)) => $run::<$type, $vector, Inverse<$sides, $sizes>>,)*)*
            _ => unreachable!("there is no {:?} of tiles of {}", $kind, $side),
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
    for square in 0..call.count {
        for channel in (0..call.channels).step_by(V::LANES) {
            // SAFETY: the same contract; the channels are whole vectors.
            unsafe { transform_square::<T, V, K>(call, square, channel) };
        }
    }
}

/// Repeats the body for each place of a tile's side; the compiler unrolls no loop of this size, and only
/// unrolled do the vectors stay in registers.
macro_rules! each {
    ($place:ident < $count:expr => $body:block) => {
        each!(@ $place $count, $body 0 1 2 3 4 5 6 7)
    };
    ($place:ident of pairs < $count:expr => $body:block) => {
        each!(@ $place $count, $body 0 1 2)
    };
    (@ $place:ident $count:expr, $body:block $($index:literal)*) => {
        $(if $index < $count {
            let $place = $index;
            $body
        })*
    };
}

/// A vector of channels of a square: first along the columns, then along the rows.
///
/// # Safety
/// See [`Run`]; the square and the vector's channels are some of the call's.
#[inline(always)]
unsafe fn transform_square<T: Float, V: Lanes<T>, K: Transform>(
    call: &Call<T>,
    square: usize,
    channel: usize,
) {
    let [from, to] = call.strides;
    let rows = call.size[0];
    let side = if K::CUT_FROM { K::FROM } else { K::TO };
    let columns = call.size[1].wrapping_sub(square * side);
    // SAFETY: elements inside the squares are read and written, as far as they exist.
    unsafe {
        let source = call.from.add(square * call.step[0] + channel);
        let target = call.to.add(square * call.step[1] + channel);
        let zero = V::splat(T::ZERO);
        let mut half = [[MaybeUninit::<V>::uninit(); LONGEST]; LONGEST];
        let half: *mut V = half.as_mut_ptr().cast();
        for column in 0..call.loops[0] {
            let mut elements = [zero; LONGEST];
            if !K::CUT_FROM || column < columns {
                let source = source.add(column * from[1]);
                each!(row < K::FROM => {
                    if !K::CUT_FROM || row < rows {
                        elements[row] = V::load(source.add(row * from[0]));
                    }
                });
            }
            let elements = K::apply::<T, V>(elements);
            each!(row < K::TO => { half.add(row * LONGEST + column).write(elements[row]); });
        }
        let bias = match call.bias.is_null() {
            true => zero,
            false => V::load(call.bias.add(channel)),
        };
        for row in 0..call.loops[1] {
            let mut elements = [zero; LONGEST];
            each!(column < K::FROM => {
                elements[column] = half.add(row * LONGEST + column).read();
            });
            let elements = K::apply::<T, V>(elements);
            let target = target.add(row * to[0]);
            each!(column < K::TO => {
                if !K::CUT_TO || column < columns {
                    let mut element = elements[column];
                    if K::CUT_TO {
                        element = element.plus(bias);
                        if call.relu {
                            element = element.at_least(V::splat(T::ZERO));
                        }
                    }
                    element.store(target.add(column * to[1]));
                }
            });
        }
    }
}

/// A transform of vectors; unused places hold anything.
trait Transform {
    /// Elements read.
    const FROM: usize;
    /// Elements made.
    const TO: usize;
    /// Whether squares that are read may lack elements.
    const CUT_FROM: bool = false;
    /// Whether squares that are written may lack elements.
    const CUT_TO: bool = false;

    /// # Safety
    /// The vectors' instructions may be used.
    unsafe fn apply<T: Float, V: Lanes<T>>(from: [V; LONGEST]) -> [V; LONGEST];
}

/// See [`Kind::Input`].
struct Input<const SIDE: usize>;
/// See [`Kind::Kernel`].
struct Kernel<const SIDE: usize, const N: usize>;
/// See [`Kind::Inverse`].
struct Inverse<const SIDE: usize, const N: usize>;

/// The points of tiles of a side, and what follows from them.
struct Points<const SIDE: usize>;

impl<const SIDE: usize> Points<SIDE> {
    /// The number of opposite pairs.
    const PAIRS: usize = SIDE / 2 - 1;
    /// The positive ones of the pairs; their product is 1.
    ///
    /// For 6, their rounding errors are a quarter of those of the usual 1 and 2. For 8 no points were
    /// found that are clearly better than these, whose powers are exact.
    const POINTS: [f64; 3] = match SIDE {
        6 => [2.0 / 3.0, 1.5, f64::NAN],
        8 => [0.5, 1.0, 2.0],
        _ => panic!("there are no points for this side"),
    };
    /// See [`coefficients`].
    const ALL: Coefficients = coefficients(Self::POINTS, Self::PAIRS, Self::PAIRS);
    /// The same without one of the pairs.
    const WITHOUT: [Coefficients; 3] = [
        coefficients(Self::POINTS, Self::PAIRS, 0),
        coefficients(Self::POINTS, Self::PAIRS, 1),
        coefficients(Self::POINTS, Self::PAIRS, 2),
    ];
    /// What the kernel's values at a point are divided by, once for both of its pair.
    const SCALES: [f64; 3] = [Self::scale(0), Self::scale(1), Self::scale(2)];

    const fn scale(index: usize) -> f64 {
        let (point, mut other, mut scale) = (Self::POINTS[index], 0, 1.0);
        while other < Self::PAIRS {
            let square = Self::POINTS[other] * Self::POINTS[other];
            scale *= if other == index { 2.0 * square } else { point * point - square };
            other += 1;
        }
        scale
    }
}

/// Those of powers of a square.
type Coefficients = [f64; LONGEST / 2];

/// The coefficients of the product of `x - point * point` over all pairs but one, from the constant
/// on; that of the highest power is 1.
const fn coefficients(points: [f64; 3], pairs: usize, without: usize) -> Coefficients {
    let mut product = [1.0, 0.0, 0.0, 0.0];
    let mut index = 0;
    while index < pairs {
        if index != without {
            let mut power = product.len() - 1;
            while power > 0 {
                product[power] =
                    product[power - 1] - product[power] * points[index] * points[index];
                power -= 1;
            }
            product[0] *= -points[index] * points[index];
        }
        index += 1;
    }
    product
}

/// `base` to the power of `exponent`.
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

/// `number * a`
///
/// # Safety
/// The vectors' instructions may be used.
#[inline(always)]
unsafe fn times<T: Float, V: Lanes<T>>(number: f64, a: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { a.times(V::splat(T::from_f64(number))) }
}

/// The sum of every second of so many elements from `first` on, times the coefficients of a polynomial
/// of which they are the powers.
///
/// # Safety
/// The vectors' instructions may be used.
#[inline(always)]
unsafe fn polynomial<T: Float, V: Lanes<T>>(
    elements: &[V; LONGEST],
    first: usize,
    count: usize,
    coefficients: Coefficients,
) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = elements[first + 2 * (count - 1)];
        each!(back < count => {
            if back > 0 {
                let power = count - 1 - back;
                sum = plus(sum, coefficients[power], elements[first + 2 * power]);
            }
        });
        sum
    }
}

impl<const SIDE: usize> Transform for Input<SIDE> {
    const FROM: usize = SIDE;
    const TO: usize = SIDE;

    /// The coefficients of each row are those of the polynomial with all points but the row's as roots;
    /// those of a point and its opposite differ in the sign of the odd ones.
    #[inline(always)]
    unsafe fn apply<T: Float, V: Lanes<T>>(d: [V; LONGEST]) -> [V; LONGEST] {
        let pairs = Points::<SIDE>::PAIRS;
        // SAFETY: the caller's promise.
        unsafe {
            let mut result = d;
            result[0] = polynomial(&d, 0, pairs + 1, Points::<SIDE>::ALL);
            result[SIDE - 1] = polynomial(&d, 1, pairs + 1, Points::<SIDE>::ALL);
            each!(pair of pairs < pairs => {
                let point = Points::<SIDE>::POINTS[pair];
                let even = polynomial(&d, 2, pairs, Points::<SIDE>::WITHOUT[pair]);
                let odd = polynomial(&d, 1, pairs, Points::<SIDE>::WITHOUT[pair]);
                result[1 + 2 * pair] = plus(even, point, odd);
                result[2 + 2 * pair] = plus(even, -point, odd);
            });
            result
        }
    }
}

impl<const SIDE: usize, const N: usize> Transform for Kernel<SIDE, N> {
    const FROM: usize = N;
    const TO: usize = SIDE;
    const CUT_FROM: bool = true;

    /// The values of the kernel's polynomial, over what the input's row has there.
    #[inline(always)]
    unsafe fn apply<T: Float, V: Lanes<T>>(g: [V; LONGEST]) -> [V; LONGEST] {
        let pairs = Points::<SIDE>::PAIRS;
        // SAFETY: the caller's promise.
        unsafe {
            let mut result = g;
            // At 0 the input's polynomial is the product of as many negative squares.
            result[0] = if pairs.is_multiple_of(2) { g[0] } else { times(-1.0, g[0]) };
            result[SIDE - 1] = g[N - 1];
            each!(pair of pairs < pairs => {
                let (point, scale) = (Points::<SIDE>::POINTS[pair], Points::<SIDE>::SCALES[pair]);
                let mut even = times(1.0 / scale, g[0]);
                let mut odd = times(point / scale, g[1]);
                each!(power < N => {
                    let factor = power_of(point, power) / scale;
                    if power > 1 && power % 2 == 0 {
                        even = plus(even, factor, g[power]);
                    } else if power > 1 {
                        odd = plus(odd, factor, g[power]);
                    }
                });
                result[1 + 2 * pair] = even.plus(odd);
                result[2 + 2 * pair] = even.minus(odd);
            });
            result
        }
    }
}

impl<const SIDE: usize, const N: usize> Transform for Inverse<SIDE, N> {
    const FROM: usize = SIDE;
    const TO: usize = N;
    const CUT_TO: bool = true;

    #[inline(always)]
    unsafe fn apply<T: Float, V: Lanes<T>>(m: [V; LONGEST]) -> [V; LONGEST] {
        let pairs = Points::<SIDE>::PAIRS;
        // SAFETY: the caller's promise.
        unsafe {
            let (mut sums, mut differences) = (m, m);
            let mut result = [m[0]; LONGEST];
            each!(pair of pairs < pairs => {
                let [at_point, opposite] = [m[1 + 2 * pair], m[2 + 2 * pair]];
                (sums[pair], differences[pair]) =
                    (at_point.plus(opposite), at_point.minus(opposite));
                result[0] = result[0].plus(sums[pair]);
            });
            each!(power < N => {
                if power > 0 {
                    let terms = if power % 2 == 0 { sums } else { differences };
                    let factor = |pair: usize| power_of(Points::<SIDE>::POINTS[pair], power);
                    let first = times(factor(0), terms[0]);
                    result[power] = if power + 1 == N { first.plus(m[SIDE - 1]) } else { first };
                    each!(pair of pairs < pairs => {
                        if pair > 0 {
                            result[power] = plus(result[power], factor(pair), terms[pair]);
                        }
                    });
                }
            });
            result
        }
    }
}
