//! Values that are nothing but one buffer: a `String`, or a vector of numbers or truth values.
//!
//! Owns: their recognition by type and their own form, `[0xC1, kind, placement]`, where 0xC1 is the one byte that
//! MessagePack never uses. Serde would take such a vector element by element, and a task that returns a `Vec<f64>`
//! would spend its time there.

use std::any::{Any, TypeId};

use bytes::Bytes;
use serde::de::{self, value::SeqDeserializer};

use super::{CodecError, Encoded, Parts};
use crate::data::payload::INLINE_BYTES_MAX;

/// Opens a value that is one buffer. MessagePack reserves this byte and never begins a value with it.
pub(super) const RAW_MARKER: u8 = 0xC1;
const INLINE: u8 = 0;
const OUT_OF_BAND: u8 = 1;
/// Marker, kind, placement.
pub(super) const HEADER_BYTES: usize = 3;

/// A value seen as one buffer.
pub(super) struct Raw<'a> {
    kind: u8,
    pub(super) bytes: &'a [u8],
}

/// A value that *is* one buffer and was given up, so that the buffer need not be copied.
pub(super) struct OwnedRaw {
    kind: u8,
    bytes: Bytes,
}

/// Vectors, the code of each (never to be changed), and how their bytes are read back.
macro_rules! vectors {
    ($apply:ident) => {
        $apply! {
            f32 => 0, f64 => 1, i8 => 2, i16 => 3, i32 => 4, i64 => 5, u8 => 6, u16 => 7, u32 => 8, u64 => 9,
            usize => 18, isize => 19,
        }
    };
}
const BOOL: u8 = 16;
const TEXT: u8 = 17;

/// Lets a vector be the owner of a `Bytes`.
pub(in crate::data) struct AsBytes<V>(pub(in crate::data) V);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for AsBytes<Vec<T>> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// The value as one buffer, if its type is one of those. Folds to a constant answer for each type.
#[inline]
pub(super) fn view<T: 'static>(value: &T) -> Option<Raw<'_>> {
    let value: &dyn Any = value;
    if let Some(text) = value.downcast_ref::<String>() {
        return Some(Raw { kind: TEXT, bytes: text.as_bytes() });
    }
    if let Some(truths) = value.downcast_ref::<Vec<bool>>() {
        return Some(Raw { kind: BOOL, bytes: bytemuck::cast_slice(truths) });
    }
    macro_rules! view_as {
        ($($number:ty => $kind:literal),* $(,)?) => {$(
            if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                return Some(Raw { kind: $kind, bytes: bytemuck::cast_slice(numbers) });
            }
        )*};
    }
    vectors!(view_as);
    None
}

/// How many bytes a value of this type takes at most, if it is one number or truth value, or nothing.
#[inline]
pub(super) fn scalar_bytes_max<T: 'static>() -> Option<usize> {
    macro_rules! is_any_of {
        ($($scalar:ty),*) => { $(TypeId::of::<T>() == TypeId::of::<$scalar>())||* };
    }
    // MessagePack puts one byte before a number.
    is_any_of!((), bool, i8, i16, i32, i64, isize, u8, u16, u32, u64, usize, f32, f64).then_some(1 + size_of::<T>())
}

/// The value's own buffer, if its type is one of those; the value back otherwise.
#[inline]
pub(super) fn take<T: 'static>(value: T) -> Result<OwnedRaw, T> {
    let mut slot = Some(value);
    let any: &mut dyn Any = &mut slot;
    if let Some(text) = any.downcast_mut::<Option<String>>().and_then(Option::take) {
        return Ok(OwnedRaw { kind: TEXT, bytes: text.into() });
    }
    if let Some(truths) = any.downcast_mut::<Option<Vec<bool>>>().and_then(Option::take) {
        return Ok(OwnedRaw { kind: BOOL, bytes: Bytes::from_owner(AsBytes(truths)) });
    }
    macro_rules! take_as {
        ($($number:ty => $kind:literal),* $(,)?) => {$(
            if let Some(numbers) = any.downcast_mut::<Option<Vec<$number>>>().and_then(Option::take) {
                return Ok(OwnedRaw { kind: $kind, bytes: Bytes::from_owner(AsBytes(numbers)) });
            }
        )*};
    }
    vectors!(take_as);
    Err(slot.expect("invariant: what is none of the types above was not taken"))
}

impl Raw<'_> {
    pub(super) fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.bytes.len()
    }

    /// The one copy that a borrowed vector costs.
    pub(super) fn encode(self) -> Encoded {
        if self.bytes.len() > INLINE_BYTES_MAX {
            let bytes = Bytes::copy_from_slice(self.bytes);
            return OwnedRaw { kind: self.kind, bytes }.encode();
        }
        encode_inline(self.kind, self.bytes)
    }
}

impl OwnedRaw {
    pub(super) fn encode(self) -> Encoded {
        if self.bytes.len() <= INLINE_BYTES_MAX {
            return encode_inline(self.kind, &self.bytes);
        }
        let meta = vec![RAW_MARKER, self.kind, OUT_OF_BAND];
        Encoded { meta, buffers: vec![self.bytes], refs: Vec::new() }
    }
}

fn encode_inline(kind: u8, bytes: &[u8]) -> Encoded {
    let mut meta = Vec::with_capacity(HEADER_BYTES + bytes.len());
    meta.extend_from_slice(&[RAW_MARKER, kind, INLINE]);
    meta.extend_from_slice(bytes);
    Encoded { meta, buffers: Vec::new(), refs: Vec::new() }
}

/// Reads back what [`view`] or [`take`] wrote; `None` if `T` is none of those types.
pub(super) fn decode<T: 'static>(parts: &Parts) -> Option<Result<T, CodecError>> {
    let mut slot: Option<T> = None;
    let any: &mut dyn Any = &mut slot;
    let done = if let Some(slot) = any.downcast_mut::<Option<String>>() {
        contents(parts, TEXT).and_then(|bytes| {
            *slot = Some(std::str::from_utf8(bytes).map_err(CodecError::Text)?.to_owned());
            Ok(())
        })
    } else if let Some(slot) = any.downcast_mut::<Option<Vec<bool>>>() {
        contents(parts, BOOL).and_then(|bytes| {
            let truths = bytemuck::checked::try_cast_slice(bytes).map_err(|_| CodecError::NotATruthValue)?;
            *slot = Some(truths.to_vec());
            Ok(())
        })
    } else {
        decode_numbers(parts, any)?
    };
    Some(done.map(|()| slot.expect("invariant: decoding without an error fills the slot")))
}

fn decode_numbers(parts: &Parts, any: &mut dyn Any) -> Option<Result<(), CodecError>> {
    macro_rules! decode_as {
        ($($number:ty => $kind:literal),* $(,)?) => {$(
            if let Some(slot) = any.downcast_mut::<Option<Vec<$number>>>() {
                return Some(contents(parts, $kind).and_then(|bytes| {
                    *slot = Some(to_numbers(bytes).ok_or(CodecError::PartialElement { len_bytes: bytes.len() })?);
                    Ok(())
                }));
            }
        )*};
    }
    vectors!(decode_as);
    None
}

/// Copies bytes into a vector of numbers; `None` if they are no whole number of them.
pub(in crate::data) fn to_numbers<T: bytemuck::Pod>(bytes: &[u8]) -> Option<Vec<T>> {
    if let Ok(numbers) = bytemuck::try_cast_slice(bytes) {
        return Some(numbers.to_vec());
    }
    if !bytes.len().is_multiple_of(size_of::<T>()) {
        return None;
    }
    // Not aligned for T, as inline bytes may be.
    let mut numbers = vec![T::zeroed(); bytes.len() / size_of::<T>()];
    bytemuck::cast_slice_mut::<T, u8>(&mut numbers).copy_from_slice(bytes);
    Some(numbers)
}

/// Whether the value is one of those by itself.
pub(super) fn is_raw(parts: &Parts) -> bool {
    parts.meta.first() == Some(&RAW_MARKER)
}

/// Shows what [`view`] or [`take`] wrote to a visitor that knows its type, number by number.
pub(super) fn visit<'de, V: de::Visitor<'de>, E: de::Error>(parts: &Parts, visitor: V) -> Result<V::Value, E> {
    let kind = parts.meta.get(1).copied().unwrap_or(u8::MAX);
    let bytes = contents(parts, kind).map_err(E::custom)?;
    if kind == TEXT {
        return visitor.visit_str(std::str::from_utf8(bytes).map_err(E::custom)?);
    }
    if kind == BOOL {
        return visitor.visit_seq(SeqDeserializer::new(bytes.iter().map(|byte| *byte != 0)));
    }
    macro_rules! visit_as {
        ($($number:ty => $kind:literal),* $(,)?) => {$(
            if kind == $kind {
                let partial = CodecError::PartialElement { len_bytes: bytes.len() };
                let numbers = to_numbers::<$number>(bytes).ok_or_else(|| E::custom(partial))?;
                return visitor.visit_seq(SeqDeserializer::new(numbers.into_iter()));
            }
        )*};
    }
    vectors!(visit_as);
    Err(E::custom(CodecError::Kind { expected: 0, found: Some(kind) }))
}

fn contents(parts: &Parts, expected: u8) -> Result<&[u8], CodecError> {
    let [RAW_MARKER, kind, placement, inline @ ..] = &*parts.meta else {
        return Err(CodecError::Kind { expected, found: None });
    };
    if *kind != expected {
        return Err(CodecError::Kind { expected, found: Some(*kind) });
    }
    match *placement {
        INLINE => Ok(inline),
        OUT_OF_BAND if !inline.is_empty() => Err(CodecError::TrailingBytes),
        OUT_OF_BAND => Ok(parts.buffers.first().ok_or(CodecError::NoBuffer)?),
        _ => Err(CodecError::NoBuffer),
    }
}
