//! How one buffer stands in a MessagePack part: by index when it travels out of band, by value when it is small.
//!
//! Owns: that choice and its reading back. Used by every bulk type; which type and shape the bytes have is theirs.

use std::fmt;

use serde::{de, Deserialize, Deserializer, Serializer};

use super::codec::context;

/// Smaller buffers stay in the MessagePack part: a buffer of its own costs an allocation and alignment.
pub(super) const INLINE_BYTES_MAX: usize = 256;

/// Writes `bytes`, or the index of the out-of-band buffer that `shared` makes of the same bytes.
pub(super) fn serialize<S: Serializer>(
    serializer: S,
    bytes: &[u8],
    shared: impl FnOnce() -> bytes::Bytes,
) -> Result<S::Ok, S::Error> {
    if bytes.len() > INLINE_BYTES_MAX {
        if let Some(index) = context::push_buffer(shared) {
            return serializer.serialize_u32(index);
        }
    }
    serializer.serialize_bytes(bytes)
}

/// A buffer that was read back: a view of the out-of-band buffer, or a copy of inline bytes.
pub(super) struct Payload(pub(super) bytes::Bytes);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PayloadVisitor)
    }
}

/// Accepts all forms that a payload takes, also in formats that know no bytes and write them as numbers.
pub(super) struct PayloadVisitor;

impl<'de> de::Visitor<'de> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes or the index of an out-of-band buffer")
    }

    fn visit_u64<E: de::Error>(self, index: u64) -> Result<Payload, E> {
        u32::try_from(index)
            .ok()
            .and_then(context::buffer)
            .map(Payload)
            .ok_or_else(|| E::custom(format_args!("there is no out-of-band buffer {index}")))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Payload, E> {
        Ok(Payload(bytes::Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Payload, E> {
        Ok(Payload(bytes.into()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut numbers: A) -> Result<Payload, A::Error> {
        // The length that the input claims is not trusted: the buffer grows with what is really there.
        let mut bytes = Vec::with_capacity(numbers.size_hint().unwrap_or(0).min(4096));
        while let Some(byte) = numbers.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(Payload(bytes.into()))
    }
}
