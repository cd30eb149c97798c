//! Values to bytes and back: MessagePack for structure, out-of-band buffers for bulk.
//!
//! Owns: [`encode`] and [`decode`] with their variants, and the form of an encoded value. An encoded value is a `meta`
//! part (MessagePack with named fields, so that skipped and defaulted fields work; or, for a `String` or a vector of
//! numbers by itself, a three-byte header), a list of buffers that the meta part refers to by index, and a list of
//! references to other objects, kept alive beside it.
//!
//! What MessagePack cannot tell apart stays so: `Some(None)` and `Some(())` read back as `None`.
//!
//! **Invariant:** decoding never trusts a length: bad input is an error, not a panic, and allocates no more than a
//! small multiple of the input.

use std::{any::Any, cell::Cell, sync::Arc};

use bytes::Bytes;
use serde::{
    de::{DeserializeOwned, IgnoredAny},
    Deserialize, Serialize,
};

pub(super) mod context;
mod gather;
pub(super) mod raw;
#[cfg(test)]
mod tests;

pub use gather::decode_all;

/// An object ref inside of a value, of a type that only the public API knows.
pub type AnyRef = Arc<dyn Any + Send + Sync>;

/// A value ready to be stored or sent.
#[derive(Clone, Default)]
pub struct Encoded {
    /// The structure.
    pub meta: Vec<u8>,
    /// The bulk, which `meta` refers to by index.
    pub buffers: Vec<Bytes>,
    /// The object refs inside of the value, which `meta` refers to by index.
    pub refs: Vec<AnyRef>,
}

impl Encoded {
    /// How many bytes a store or a connection has to hold.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.meta.len() + self.buffers.iter().map(Bytes::len).sum::<usize>()
    }
}

impl std::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoded")
            .field("meta_bytes", &self.meta.len())
            .field("buffer_bytes", &self.buffers.iter().map(Bytes::len).collect::<Vec<_>>())
            .field("refs", &self.refs.len())
            .finish()
    }
}

impl From<Encoded> for Parts {
    fn from(encoded: Encoded) -> Self {
        Self { meta: encoded.meta.into(), buffers: encoded.buffers, refs: encoded.refs.into() }
    }
}

/// What [`encode_if_larger`] found.
#[derive(Debug)]
#[non_exhaustive]
pub enum Measured {
    /// Not above the limit; this many bytes. The encoding was dropped.
    Small(usize),
    /// Above the limit.
    Large(Encoded),
}

/// What [`encode_owned_if_larger`] found.
#[derive(Debug)]
pub enum OwnedMeasured<T> {
    /// Not above the limit: the value back, and how many bytes it would take.
    Small(T, usize),
    /// Above the limit. The value was used up.
    Large(Encoded),
}

/// An encoded value to be decoded: often views of the object store's memory.
#[derive(Clone)]
pub struct Parts {
    /// The structure.
    pub meta: Bytes,
    /// The bulk, which `meta` refers to by index.
    pub buffers: Vec<Bytes>,
    /// The object refs inside of the value, which `meta` refers to by index.
    pub refs: Arc<[AnyRef]>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("meta_bytes", &self.meta.len())
            .field("buffer_bytes", &self.buffers.iter().map(Bytes::len).collect::<Vec<_>>())
            .field("refs", &self.refs.len())
            .finish()
    }
}

/// Why a value could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A `Serialize` impl failed, or asked for what MessagePack cannot express.
    #[error("the value cannot be encoded")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The bytes are damaged or of another type.
    #[error("the value cannot be decoded")]
    Decode(#[from] rmp_serde::decode::Error),
    /// The value ends before its bytes do.
    #[error("the encoded value is followed by bytes that do not belong to it")]
    TrailingBytes,
    /// A text, a vector of numbers and a structured value were taken for one another.
    #[error("the encoded value is of kind {found:?}, but kind {expected} was asked for")]
    Kind {
        /// The code of what was asked for.
        expected: u8,
        /// The code of what is there; `None` for a structured value.
        found: Option<u8>,
    },
    /// A text is no UTF-8.
    #[error("the encoded text is not UTF-8")]
    Text(#[source] std::str::Utf8Error),
    /// A truth value is neither 0 nor 1.
    #[error("an encoded truth value is neither 0 nor 1")]
    NotATruthValue,
    /// A vector's bytes are no whole number of elements.
    #[error("{len_bytes} bytes are no whole number of elements")]
    PartialElement {
        /// How many bytes there are.
        len_bytes: usize,
    },
    /// The value's buffer is missing.
    #[error("the encoded value refers to a buffer that is not there")]
    NoBuffer,
}

/// Encodes a value. Bulk types inside of it are shared, not copied; a `Vec` of numbers is copied once.
///
/// # Errors
///
/// [`CodecError::Encode`].
pub fn encode<T: Serialize + 'static>(value: &T) -> Result<Encoded, CodecError> {
    match raw::view(value) {
        Some(raw) => Ok(raw.encode()),
        None => structured(value),
    }
}

/// Encodes a value that is no longer needed, so that a `String` or a `Vec` of numbers by itself is not even copied.
///
/// # Errors
///
/// [`CodecError::Encode`].
pub fn encode_owned<T: Serialize + 'static>(value: T) -> Result<Encoded, CodecError> {
    match raw::take(value) {
        Ok(raw) => Ok(raw.encode()),
        Err(value) => structured(&value),
    }
}

/// Encodes a value if it is larger than `limit` bytes, and measures it otherwise. A small value costs no allocation:
/// it is encoded into memory that is used again.
///
/// # Errors
///
/// [`CodecError::Encode`].
#[inline]
pub fn encode_if_larger<T: Serialize + 'static>(value: &T, limit: usize) -> Result<Measured, CodecError> {
    if let Some(size_bytes) = raw::scalar_bytes_max::<T>().filter(|size_bytes| *size_bytes <= limit) {
        return Ok(Measured::Small(size_bytes));
    }
    match raw::view(value) {
        Some(raw) if raw.size_bytes() <= limit => Ok(Measured::Small(raw.size_bytes())),
        Some(raw) => Ok(Measured::Large(raw.encode())),
        None => measure_structured(value, limit),
    }
}

/// As [`encode_if_larger`], for a value that is no longer needed if it is larger.
///
/// # Errors
///
/// [`CodecError::Encode`].
#[inline]
pub fn encode_owned_if_larger<T: Serialize + 'static>(value: T, limit: usize) -> Result<OwnedMeasured<T>, CodecError> {
    if let Some(raw) = raw::view(&value) {
        let size_bytes = raw.size_bytes();
        return if size_bytes <= limit {
            Ok(OwnedMeasured::Small(value, size_bytes))
        } else {
            encode_owned(value).map(OwnedMeasured::Large)
        };
    }
    Ok(match measure_structured(&value, limit)? {
        Measured::Small(size_bytes) => OwnedMeasured::Small(value, size_bytes),
        Measured::Large(encoded) => OwnedMeasured::Large(encoded),
    })
}

/// Decodes a value. Bulk types inside of it are views of `parts`' buffers and keep them alive.
///
/// # Errors
///
/// Any [`CodecError`] but `Encode`.
pub fn decode<T: DeserializeOwned + 'static>(parts: &Parts) -> Result<T, CodecError> {
    if let Some(result) = raw::decode(parts) {
        return result;
    }
    if let [raw::RAW_MARKER, kind, ..] = *parts.meta {
        return Err(CodecError::Kind { expected: 0, found: Some(kind) });
    }
    let _decoding = context::Decoding::begin(parts);
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(&*parts.meta);
    let value = T::deserialize(&mut deserializer)?;
    match IgnoredAny::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        Ok(_) | Err(_) => Err(CodecError::TrailingBytes),
    }
}

/// For the `Serialize` impls of object refs: the ref's index while an encode is under way on this thread, else `None`.
#[must_use]
pub fn encode_ref(object: AnyRef) -> Option<u32> {
    context::push_ref(object)
}

/// For the `Deserialize` impls of object refs: the ref at `index` while a decode is under way on this thread, if there
/// is one.
#[must_use]
pub fn decode_ref(index: u32) -> Option<AnyRef> {
    context::find_ref(index)
}

/// Scratch memory above this is given back rather than kept for the next value.
const SCRATCH_BYTES_MAX: usize = 256 << 10;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn structured<T: Serialize>(value: &T) -> Result<Encoded, CodecError> {
    let mut meta = Vec::new();
    let encoding = context::Encoding::begin();
    value.serialize(&mut rmp_serde::Serializer::new(&mut meta).with_struct_map())?;
    let context::Collected { buffers, refs } = encoding.finish();
    Ok(Encoded { meta, buffers, refs })
}

fn measure_structured<T: Serialize>(value: &T, limit: usize) -> Result<Measured, CodecError> {
    // A nested encode on this thread finds no scratch memory and allocates.
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let encoding = context::Encoding::begin();
    let result = value.serialize(&mut rmp_serde::Serializer::new(&mut scratch).with_struct_map());
    let measured = result.map(|()| {
        let size_bytes = scratch.len() + encoding.buffer_bytes();
        if size_bytes <= limit {
            return Measured::Small(size_bytes);
        }
        let context::Collected { buffers, refs } = encoding.finish();
        let meta = if scratch.len() <= SCRATCH_BYTES_MAX { scratch.clone() } else { std::mem::take(&mut scratch) };
        Measured::Large(Encoded { meta, buffers, refs })
    });
    if scratch.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(scratch);
    }
    Ok(measured?)
}
