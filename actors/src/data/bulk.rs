//! `#[serde(with = "…::data::bulk")]` for a vector of numbers inside of a struct.
//!
//! Owns: its encoded form, a one-entry map of dtype code to payload. Serde gives a vector's elements away one by one;
//! with this attribute they are copied at once into an out-of-band buffer. Other formats see the plain sequence.
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # use actinic_actors::data::bulk;
//! #[derive(Serialize, Deserialize)]
//! struct Rollout {
//!     seed: u64,
//!     #[serde(with = "bulk")]
//!     rewards: Vec<f32>,
//! }
//! ```

use std::{fmt, marker::PhantomData};

use serde::{de, ser::SerializeMap, Deserialize, Deserializer, Serialize, Serializer};

use super::{
    codec::{context, raw},
    payload::{self, Payload},
    DType, Element,
};

struct Numbers<'a, T>(&'a [T]);

impl<T: Element> Serialize for Numbers<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = bytemuck::cast_slice(self.0);
        payload::serialize(serializer, bytes, || bytes::Bytes::copy_from_slice(bytes))
    }
}

/// Writes the numbers out of band while our codec is at work, else as a sequence.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<T: Element, S: Serializer>(numbers: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    if !context::is_encoding() || serializer.is_human_readable() {
        return numbers.serialize(serializer);
    }
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(&T::DTYPE.code(), &Numbers(numbers))?;
    map.end()
}

/// Reads back either form.
///
/// # Errors
///
/// Those of the deserializer; numbers of another type, or a part of one.
pub fn deserialize<'de, T: Element, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    if context::is_decoding() {
        deserializer.deserialize_any(EitherForm(PhantomData))
    } else {
        Vec::deserialize(deserializer)
    }
}

struct EitherForm<T>(PhantomData<T>);

impl<'de, T: Element> de::Visitor<'de> for EitherForm<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a vector of {}", T::DTYPE)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
        let (code, numbers): (u8, Payload) =
            map.next_entry()?.ok_or_else(|| de::Error::invalid_length(0, &"one entry"))?;
        if DType::from_code(code) != Some(T::DTYPE) {
            return Err(de::Error::invalid_value(de::Unexpected::Unsigned(code.into()), &self));
        }
        raw::to_numbers(&numbers.0)
            .ok_or_else(|| de::Error::invalid_length(numbers.0.len(), &"bytes that are whole elements"))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, sequence: A) -> Result<Vec<T>, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(sequence))
    }
}
