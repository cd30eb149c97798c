//! Versioned records: how everything that is kept or sent is encoded.
//!
//! Owns: the envelope of a record, one leading byte of schema version before a MessagePack body. Does not own what is in
//! a body. Invariants: a version is never zero; within a version fields are only ever appended, with a serde default, so
//! that a record of any older version still decodes; a newer version is refused by name rather than misread; decoding
//! never panics, whatever the bytes.

use std::io::ErrorKind;

use bytes::Bytes;
use rmp_serde::decode::Error;
use serde::{
    de::{DeserializeOwned, IgnoredAny},
    Deserialize, Serialize,
};
use thiserror::Error;

/// A type that is kept or sent as a versioned record.
pub trait Record: Serialize + DeserializeOwned {
    /// What errors call it.
    const NAME: &'static str;
    /// The newest schema that this build reads and the one that it writes; at least 1.
    const VERSION: u8 = 1;
}

/// Why a record could not be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record was written by a newer build.
    #[error("a {record} record has schema version {found}, newer than the {supported} that this build reads")]
    Newer {
        /// The kind of record.
        record: &'static str,
        /// The version found.
        found: u8,
        /// The newest version that this build reads.
        supported: u8,
    },
    /// The bytes are too few to hold a version, or the version is zero.
    #[error("a {record} record carries no schema version")]
    Unversioned {
        /// The kind of record.
        record: &'static str,
    },
    /// The body is not the MessagePack of such a record.
    #[error("a {record} record cannot be decoded")]
    Malformed {
        /// The kind of record.
        record: &'static str,
        /// What the decoder says.
        source: rmp_serde::decode::Error,
    },
    /// Bytes follow the end of the body.
    #[error("{bytes} bytes follow the end of a {record} record")]
    Trailing {
        /// The kind of record.
        record: &'static str,
        /// How many bytes follow.
        bytes: usize,
    },
    /// The value has no MessagePack form.
    #[error("a {record} record cannot be encoded")]
    Unencodable {
        /// The kind of record.
        record: &'static str,
        /// What the encoder says.
        source: rmp_serde::encode::Error,
    },
}

/// Room that most records find enough, so that they do not grow byte by byte.
const ENCODED_BYTES: usize = 256;

/// Encodes `value` as its schema version and its MessagePack body.
///
/// # Errors
/// [`RecordError::Unencodable`] if the value has no MessagePack form.
pub fn encode<R: Record>(value: &R) -> Result<Bytes, RecordError> {
    let mut bytes = Vec::with_capacity(ENCODED_BYTES);
    encode_into(value, &mut bytes)?;
    // It may be kept for long, and in great number: without room that nobody needs.
    Ok(Bytes::copy_from_slice(&bytes))
}

/// As [`encode`], behind what is there.
pub(crate) fn encode_into<R: Record>(value: &R, bytes: &mut Vec<u8>) -> Result<(), RecordError> {
    bytes.push(R::VERSION);
    rmp_serde::encode::write(bytes, value).map_err(|source| RecordError::Unencodable { record: R::NAME, source })
}

/// Decodes what [`encode`] wrote, in this schema version or an older one.
///
/// # Errors
/// Every [`RecordError`] but [`RecordError::Unencodable`].
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, RecordError> {
    decode_as::<R, R>(bytes)
}

/// As [`decode`], into something of the same shape that may borrow from `bytes`.
pub(crate) fn decode_as<'a, R: Record, B: Deserialize<'a>>(bytes: &'a [u8]) -> Result<B, RecordError> {
    let record = R::NAME;
    let (version, body) = match bytes.split_first() {
        None | Some((0, _)) => return Err(RecordError::Unversioned { record }),
        Some((version, body)) => (*version, body),
    };
    if version > R::VERSION {
        return Err(RecordError::Newer { record, found: version, supported: R::VERSION });
    }
    // In place: a reader would copy whatever is long once more.
    let mut reader = rmp_serde::Deserializer::from_read_ref(body);
    let value = B::deserialize(&mut reader).map_err(|source| RecordError::Malformed { record, source })?;
    match IgnoredAny::deserialize(&mut reader) {
        Err(Error::InvalidMarkerRead(end)) if end.kind() == ErrorKind::UnexpectedEof => Ok(value),
        _ => Err(RecordError::Trailing { record, bytes: trailing::<R>(body) }),
    }
}

/// How many bytes follow a body that is whole.
fn trailing<R: Record>(mut body: &[u8]) -> usize {
    let _ = rmp_serde::decode::from_read::<_, R>(&mut body);
    body.len()
}

/// Names the record kinds of this crate; all are of schema version 1 as yet.
macro_rules! records {
    ($($kind:ty = $name:literal),+ $(,)?) => {
        $(impl $crate::record::Record for $kind { const NAME: &'static str = $name; })+
    };
}
pub(crate) use records;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct First {
        id: u128,
        name: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Second {
        id: u128,
        name: String,
        #[serde(default)]
        added: Option<u32>,
    }

    records! { First = "thing" }

    impl Record for Second {
        const NAME: &'static str = "thing";
        const VERSION: u8 = 2;
    }

    fn first() -> First {
        First { id: u128::MAX - 1, name: "a".to_owned() }
    }

    #[test]
    fn a_record_reads_back_what_it_wrote() {
        let bytes = encode(&first()).unwrap();
        assert_eq!(bytes[0], 1);
        assert_eq!(decode::<First>(&bytes).unwrap(), first());
    }

    #[test]
    fn an_older_version_decodes_with_defaults_for_what_was_added() {
        let read = decode::<Second>(&encode(&first()).unwrap()).unwrap();
        assert_eq!(read, Second { id: u128::MAX - 1, name: "a".to_owned(), added: None });
    }

    #[test]
    fn a_newer_version_is_refused_and_named() {
        let newer = encode(&Second { id: 1, name: String::new(), added: Some(1) }).unwrap();
        let error = decode::<First>(&newer).unwrap_err();
        assert!(matches!(error, RecordError::Newer { record: "thing", found: 2, supported: 1 }));
        assert_eq!(error.to_string(), "a thing record has schema version 2, newer than the 1 that this build reads");
    }

    #[test]
    fn empty_torn_and_overlong_records_are_errors() {
        let bytes = encode(&first()).unwrap();
        assert!(matches!(decode::<First>(&[]), Err(RecordError::Unversioned { .. })));
        assert!(matches!(decode::<First>(&[0, 1]), Err(RecordError::Unversioned { .. })));
        assert!(matches!(decode::<First>(&bytes[..bytes.len() - 1]), Err(RecordError::Malformed { .. })));
        let mut long = bytes.to_vec();
        long.push(0xc1);
        assert!(matches!(decode::<First>(&long), Err(RecordError::Trailing { bytes: 1, .. })));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode::<First>(&bytes);
            let _ = decode::<crate::tables::Write>(&bytes);
            let _ = decode::<crate::spec::TaskSpec>(&bytes);
        }
    }
}
