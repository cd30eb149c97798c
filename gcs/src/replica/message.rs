//! What replicas say to each other.
//!
//! Owns: the messages and their encoding: one byte of kind, then the body. Raft's own messages are protobuf, as the `raft`
//! crate defines them; the chunks of a snapshot are MessagePack. Invariant: decoding never panics, whatever the bytes.

use bytes::Bytes;
use protobuf::{CodedInputStream, Message as _, ProtobufError};
use raft::eraftpb::Message;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::store::Column;

/// One message.
#[derive(Clone, Debug)]
pub enum PeerMessage {
    /// Raft's.
    Raft(Box<Message>),
    /// A chunk of the sender's snapshot.
    Chunk {
        /// Names the transfer, for sender and receiver.
        transfer: u64,
        /// Which chunk, from 0.
        number: u64,
        /// Its rows.
        rows: Vec<(Column, Bytes, Bytes)>,
        /// With the last chunk, Raft's message that the snapshot is for.
        end: Option<Box<Message>>,
    },
    /// A chunk is staged; the next may come.
    ChunkStaged {
        /// Of which transfer.
        transfer: u64,
        /// Which.
        number: u64,
    },
}

/// Why bytes are no message.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireError {
    /// They are of a kind that this build does not know.
    #[error("a message between replicas is of unknown kind {0:?}")]
    Kind(Option<u8>),
    /// Raft's message cannot be read.
    #[error("a message between replicas cannot be decoded")]
    Raft(#[from] ProtobufError),
    /// A chunk cannot be read.
    #[error("a chunk of a snapshot cannot be decoded")]
    Chunk(#[from] rmp_serde::decode::Error),
    /// A chunk names a column that this build does not know.
    #[error("a snapshot has rows of {0:?}, which this build does not know: update this replica first")]
    Column(String),
}

#[derive(Serialize, Deserialize)]
struct ChunkBody {
    transfer: u64,
    number: u64,
    rows: Vec<(String, Bytes, Bytes)>,
    end: Option<Bytes>,
}

const RAFT: u8 = 1;
const CHUNK: u8 = 2;
const STAGED: u8 = 3;

impl PeerMessage {
    /// The message as bytes.
    ///
    /// # Panics
    /// If a message of our own making has no encoding, which none is.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Raft(message) => {
                let mut bytes = vec![RAFT];
                message.write_to_vec(&mut bytes).expect("invariant: raft's messages have an encoding");
                bytes
            }
            Self::Chunk { transfer, number, rows, end } => {
                let rows =
                    rows.iter().map(|(column, key, value)| (column.name().to_owned(), key.clone(), value.clone()));
                let end = end.as_ref().map(|message| {
                    Bytes::from(message.write_to_bytes().expect("invariant: raft's messages have an encoding"))
                });
                let body = ChunkBody { transfer: *transfer, number: *number, rows: rows.collect(), end };
                packed(CHUNK, &body)
            }
            Self::ChunkStaged { transfer, number } => packed(STAGED, &(transfer, number)),
        }
    }

    /// Reads what [`PeerMessage::encode`] wrote.
    ///
    /// # Errors
    /// [`WireError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        match bytes.split_first() {
            Some((&RAFT, body)) => Ok(Self::Raft(Box::new(parse(body)?))),
            Some((&CHUNK, body)) => {
                let ChunkBody { transfer, number, rows, end } = rmp_serde::from_slice(body)?;
                let rows: Result<Vec<_>, WireError> = rows
                    .into_iter()
                    .map(|(name, key, value)| match Column::named(&name) {
                        Some(column) if column.is_shared() => Ok((column, key, value)),
                        _ => Err(WireError::Column(name)),
                    })
                    .collect();
                let end = end.map(|bytes| parse(&bytes)).transpose()?.map(Box::new);
                Ok(Self::Chunk { transfer, number, rows: rows?, end })
            }
            Some((&STAGED, body)) => {
                let (transfer, number) = rmp_serde::from_slice(body)?;
                Ok(Self::ChunkStaged { transfer, number })
            }
            kind => Err(WireError::Kind(kind.map(|(kind, _)| *kind))),
        }
    }
}

/// Reads a message of the `raft` crate's. The `protobuf` crate believes lengths of up to 10 MB and makes room for them, but
/// not beyond a limit that it was given, nor where fields are views of what it reads. So it is given a limit, and bytes that
/// are the message's own.
pub(crate) fn parse<M: protobuf::Message>(bytes: &[u8]) -> Result<M, ProtobufError> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut input = CodedInputStream::from_carllerche_bytes(&bytes);
    input.push_limit(bytes.len() as u64)?;
    let mut message = M::new();
    message.merge_from(&mut input)?;
    input.check_eof()?;
    message.check_initialized()?;
    Ok(message)
}

fn packed(kind: u8, body: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![kind];
    rmp_serde::encode::write(&mut bytes, body).expect("invariant: plain data has an encoding");
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_read_back_what_they_wrote() {
        let mut message = Message::default();
        (message.term, message.from, message.to) = (7, 1, 2);
        let rows = vec![(Column::Nodes, Bytes::from_static(b"key"), Bytes::from_static(b"value"))];
        let chunk = PeerMessage::Chunk { transfer: 3, number: 4, rows, end: Some(Box::new(message.clone())) };
        for sent in [PeerMessage::Raft(Box::new(message)), chunk, PeerMessage::ChunkStaged { transfer: 1, number: 2 }] {
            let got = PeerMessage::decode(&sent.encode()).unwrap();
            assert_eq!(format!("{got:?}"), format!("{sent:?}"));
        }
    }

    #[test]
    fn a_chunk_with_a_replicas_own_rows_is_refused() {
        let rows = vec![(Column::Raft, Bytes::from_static(b"vote"), Bytes::new())];
        let chunk = PeerMessage::Chunk { transfer: 0, number: 0, rows, end: None };
        assert!(matches!(PeerMessage::decode(&chunk.encode()), Err(WireError::Column(_))));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            let _ = PeerMessage::decode(&bytes);
        }
    }
}
