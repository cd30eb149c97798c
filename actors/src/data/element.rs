//! The element types of tensors, and their names on the wire.
//!
//! Owns: [`Element`], implemented for the ten plain number types and closed to others, and [`DType`], its value-level
//! counterpart.
//!
//! **Invariant:** a `DType`'s code never changes its meaning: it is stored in spilled and transferred objects.

use std::fmt;

use serde::{de::DeserializeOwned, Deserialize, Serialize};

/// The type of a tensor's elements, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DType {
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
    /// 8-bit signed integer.
    I8,
    /// 16-bit signed integer.
    I16,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
    /// 8-bit unsigned integer.
    U8,
    /// 16-bit unsigned integer.
    U16,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit unsigned integer.
    U64,
}

impl DType {
    const ALL: [Self; 10] =
        [Self::F32, Self::F64, Self::I8, Self::I16, Self::I32, Self::I64, Self::U8, Self::U16, Self::U32, Self::U64];

    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The type of a code read from the wire, `None` if no type has it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
        })
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A plain number that a [`Tensor`](super::Tensor) can hold: any bit pattern is a value, and values have no padding.
pub trait Element:
    sealed::Sealed
    + bytemuck::Pod
    + ndarray::LinalgScalar
    + PartialOrd
    + fmt::Debug
    + fmt::Display
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + Unpin
{
    /// This type, as a value.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($number:ty => $dtype:ident),* $(,)?) => {$(
        impl sealed::Sealed for $number {}

        impl Element for $number {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}

elements! {
    f32 => F32, f64 => F64,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_as_its_type() {
        for dtype in DType::ALL {
            assert_eq!(DType::from_code(dtype.code()), Some(dtype));
        }
        assert_eq!(DType::from_code(10), None);
    }
}
