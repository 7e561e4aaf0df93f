//! The element types kernels compute with, and slices whose type is known only at run time.

use crate::isa::Instructions;
use crate::math::{double, single};

mod sealed {
    pub trait Sealed {}
}

/// A type of array elements.
pub trait Element:
    sealed::Sealed + Copy + Send + Sync + Default + PartialOrd + std::fmt::Debug + 'static
{
    /// The run-time name of this type.
    const TYPE: ElementType;
    /// The number 0.
    const ZERO: Self;
    /// The number 1.
    const ONE: Self;
    /// The identity of the maximum: minus infinity, or the least integer.
    const LOWEST: Self;
    /// The identity of the minimum: infinity, or the greatest integer.
    const HIGHEST: Self;

    /// Converts as `as` does: floats to integers by truncation, saturating, NaN to 0.
    fn cast<T: Element>(self) -> T;
    /// The slice inside `data`, if it is of this type.
    fn slice<'a>(data: &Data<'a>) -> Option<&'a [Self]>;
    /// The slice inside `data`, if it is of this type.
    fn slice_mut<'a>(data: DataMut<'a>) -> Option<&'a mut [Self]>;
    /// Sum; wraps around for integers.
    fn plus(self, other: Self) -> Self;
    /// Product; wraps around for integers.
    fn times(self, other: Self) -> Self;
    /// Is this a NaN? Never so for integers.
    fn is_nan(self) -> bool;
    /// A number that is ordered as the elements are, and the same for equal ones; NaN are equal and
    /// the greatest. Of elements of at most 32 bits it has no more.
    fn order(self) -> u64;

    #[doc(hidden)]
    fn from_f32(value: f32) -> Self;
    #[doc(hidden)]
    fn from_f64(value: f64) -> Self;
    #[doc(hidden)]
    fn from_i8(value: i8) -> Self;
    #[doc(hidden)]
    fn from_i32(value: i32) -> Self;
    #[doc(hidden)]
    fn from_i64(value: i64) -> Self;
    #[doc(hidden)]
    fn from_u8(value: u8) -> Self;
}

/// A floating-point element type.
pub trait Float:
    Element
    + crate::gemm::GemmElement
    + crate::gemm::Vectors
    + crate::pooling::Select
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::SubAssign
    + std::ops::MulAssign
    + std::iter::Sum
{
    /// Bits of the significand, the hidden one included.
    const DIGITS: u32;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// `self * factor + term`, rounded once.
    #[doc(hidden)]
    fn mul_add(self, factor: Self, term: Self) -> Self;
    #[doc(hidden)]
    fn exp<I: Instructions>(self) -> Self;
    /// Of numbers that are not positive, or NaN; of others it is any number.
    #[doc(hidden)]
    fn exp_nonpositive<I: Instructions>(self) -> Self;
    #[doc(hidden)]
    fn ln<I: Instructions>(self) -> Self;
}

/// The run-time name of an [`Element`] type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `i8`
    I8,
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `u8`
    U8,
}

impl ElementType {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            ElementType::I8 | ElementType::U8 => 1,
            ElementType::F32 | ElementType::I32 => 4,
            ElementType::F64 | ElementType::I64 => 8,
        }
    }

    /// Is this a floating-point type?
    pub fn is_float(self) -> bool {
        matches!(self, ElementType::F32 | ElementType::F64)
    }
}

/// Runs `$body` with the type alias `$t` bound to the element type that `$type` names.
macro_rules! with_element {
    ($type:expr, $t:ident => $body:expr) => {
        match $type {
            $crate::ElementType::F32 => {
                type $t = f32;
                $body
            }
            $crate::ElementType::F64 => {
                type $t = f64;
                $body
            }
            $crate::ElementType::I8 => {
                type $t = i8;
                $body
            }
            $crate::ElementType::I32 => {
                type $t = i32;
                $body
            }
            $crate::ElementType::I64 => {
                type $t = i64;
                $body
            }
            $crate::ElementType::U8 => {
                type $t = u8;
                $body
            }
        }
    };
}
pub(crate) use with_element;

macro_rules! elements {
    ($($type:ident $variant:ident $from:ident;)*) => {
        /// A slice whose element type is known at run time.
        #[derive(Clone, Copy, Debug)]
        #[expect(missing_docs, reason = "one variant per element type")]
        pub enum Data<'a> { $($variant(&'a [$type]),)* }

        /// A mutable slice whose element type is known at run time.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "one variant per element type")]
        pub enum DataMut<'a> { $($variant(&'a mut [$type]),)* }

        impl<'a> Data<'a> {
            /// The type of the elements.
            pub fn element_type(&self) -> ElementType {
                match self { $(Data::$variant(_) => ElementType::$variant,)* }
            }
            /// The number of elements.
            pub fn len(&self) -> usize {
                match self { $(Data::$variant(slice) => slice.len(),)* }
            }
            /// Are there no elements?
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
            /// The slice, if its elements are of type `T`.
            pub fn as_slice<T: Element>(&self) -> Option<&'a [T]> {
                T::slice(self)
            }
        }

        impl<'a> DataMut<'a> {
            /// The type of the elements.
            pub fn element_type(&self) -> ElementType {
                match self { $(DataMut::$variant(_) => ElementType::$variant,)* }
            }
            /// The number of elements.
            pub fn len(&self) -> usize {
                match self { $(DataMut::$variant(slice) => slice.len(),)* }
            }
            /// Are there no elements?
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
            /// The slice, if its elements are of type `T`.
            pub fn as_slice<T: Element>(&mut self) -> Option<&mut [T]> {
                T::slice_mut(self.reborrow())
            }
            /// The slice for as long as it was borrowed, if its elements are of type `T`.
            pub fn into_slice<T: Element>(self) -> Option<&'a mut [T]> {
                T::slice_mut(self)
            }
            /// The same slice, borrowed for a shorter time.
            pub fn reborrow(&mut self) -> DataMut<'_> {
                match self { $(DataMut::$variant(slice) => DataMut::$variant(slice),)* }
            }
            /// The same slice, to read.
            pub fn as_data(&self) -> Data<'_> {
                match self { $(DataMut::$variant(slice) => Data::$variant(slice),)* }
            }
        }

        $(
            impl sealed::Sealed for $type {}
            impl<'a> From<&'a [$type]> for Data<'a> {
                fn from(slice: &'a [$type]) -> Self { Data::$variant(slice) }
            }
            impl<'a> From<&'a mut [$type]> for DataMut<'a> {
                fn from(slice: &'a mut [$type]) -> Self { DataMut::$variant(slice) }
            }
        )*
    };
}

elements! {
    f32 F32 from_f32;
    f64 F64 from_f64;
    i8 I8 from_i8;
    i32 I32 from_i32;
    i64 I64 from_i64;
    u8 U8 from_u8;
}

macro_rules! element_items {
    ($type:ident, $variant:ident, $from:ident) => {
        const TYPE: ElementType = ElementType::$variant;
        const ZERO: Self = 0 as $type;
        const ONE: Self = 1 as $type;

        #[inline(always)]
        fn cast<T: Element>(self) -> T {
            T::$from(self)
        }
        fn slice<'a>(data: &Data<'a>) -> Option<&'a [Self]> {
            match data {
                Data::$variant(slice) => Some(slice),
                _ => None,
            }
        }
        fn slice_mut<'a>(data: DataMut<'a>) -> Option<&'a mut [Self]> {
            match data {
                DataMut::$variant(slice) => Some(slice),
                _ => None,
            }
        }
        element_items!(@from $type from_f32 f32, from_f64 f64, from_i8 i8, from_i32 i32, from_i64 i64, from_u8 u8);
    };
    (@from $type:ident $($from:ident $source:ident),*) => {
        $(#[inline(always)]
        fn $from(value: $source) -> Self {
            value as $type
        })*
    };
}

macro_rules! integer_elements {
    ($($type:ident $unsigned:ident $variant:ident $from:ident;)*) => {$(
        impl Element for $type {
            element_items!($type, $variant, $from);
            const LOWEST: Self = $type::MIN;
            const HIGHEST: Self = $type::MAX;
            #[inline(always)]
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline(always)]
            fn is_nan(self) -> bool { false }
            #[inline(always)]
            fn order(self) -> u64 {
                self.wrapping_sub($type::MIN) as $unsigned as u64
            }
        }
    )*};
}

integer_elements! {
    i8 u8 I8 from_i8;
    i32 u32 I32 from_i32;
    i64 u64 I64 from_i64;
    u8 u8 U8 from_u8;
}

macro_rules! float_elements {
    ($($type:ident $bits:ident $variant:ident $from:ident $functions:ident;)*) => {$(
        impl Element for $type {
            element_items!($type, $variant, $from);
            const LOWEST: Self = $type::NEG_INFINITY;
            const HIGHEST: Self = $type::INFINITY;
            #[inline(always)]
            fn plus(self, other: Self) -> Self { self + other }
            #[inline(always)]
            fn times(self, other: Self) -> Self { self * other }
            #[inline(always)]
            fn is_nan(self) -> bool { $type::is_nan(self) }
            #[inline(always)]
            fn order(self) -> u64 {
                const SIGN: $bits = 1 << ($bits::BITS - 1);
                // -0 becomes 0.
                let bits = (self + 0.0).to_bits();
                let ordered = if bits & SIGN == 0 { bits | SIGN } else { !bits };
                (if $type::is_nan(self) { $bits::MAX } else { ordered }).into()
            }
        }
        impl Float for $type {
            const DIGITS: u32 = $type::MANTISSA_DIGITS;
            #[inline(always)]
            fn sqrt(self) -> Self { $type::sqrt(self) }
            #[inline(always)]
            fn abs(self) -> Self { $type::abs(self) }
            #[inline(always)]
            fn mul_add(self, factor: Self, term: Self) -> Self { $type::mul_add(self, factor, term) }
            #[inline(always)]
            fn exp<I: Instructions>(self) -> Self { $functions::exp::<I>(self) }
            #[inline(always)]
            fn exp_nonpositive<I: Instructions>(self) -> Self {
                $functions::exp_nonpositive::<I>(self)
            }
            #[inline(always)]
            fn ln<I: Instructions>(self) -> Self { $functions::ln::<I>(self) }
        }
    )*};
}

float_elements! {
    f32 u32 F32 from_f32 single;
    f64 u64 F64 from_f64 double;
}
