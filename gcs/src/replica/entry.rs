//! What log entries hold, and how they lie on disk.
//!
//! Owns: [`Proposal`], the writes of one entry with the leader's time for all of them; and the rows of the log, each with
//! a checksum (XXH3, 64 bits) before the entry's protobuf, so that damage is found rather than applied.

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{Entry, EntryType};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{message::parse, ReplicaFailed};
use crate::{
    record,
    shard::{ClientId, RequestId},
    Millis,
};

/// The writes of one entry, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// When the leader took them; never earlier than in the entry before.
    pub(crate) now: Millis,
    /// Each with whose it is, encoded when it arrived, so that its size is known.
    pub(crate) writes: Vec<(ClientId, RequestId, Bytes)>,
}

/// The same, read in place.
#[derive(Debug, Deserialize)]
pub(crate) struct ProposalRef<'a> {
    pub(crate) now: Millis,
    #[serde(borrow)]
    pub(crate) writes: Vec<(ClientId, RequestId, &'a [u8])>,
}

record::records! { Proposal = "log entry" }

/// The leader's time as it stands in front of an entry's writes; a change of members has none.
pub(super) fn time_of(entry: &Entry) -> Option<Millis> {
    let writes = entry.get_entry_type() == EntryType::EntryNormal;
    let time = entry.data.first_chunk().filter(|_| writes)?;
    Some(Millis(u64::from_be_bytes(*time)))
}

impl Proposal {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, ReplicaFailed> {
        let mut data = self.now.0.to_be_bytes().to_vec();
        data.reserve(self.writes.iter().map(|(.., write)| write.len() + 40).sum());
        record::encode_into(self, &mut data).map_err(|error| ReplicaFailed::Log(error.to_string()))?;
        Ok(data)
    }
}

impl<'a> ProposalRef<'a> {
    /// The proposal in an entry's data.
    pub(crate) fn decode(data: &'a [u8]) -> Result<Self, ReplicaFailed> {
        let body = data.get(8..).unwrap_or_default();
        record::decode_as::<Proposal, _>(body).map_err(|error| ReplicaFailed::Log(error.to_string()))
    }
}

/// The key of an entry's row.
pub(super) fn row_key(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_be_bytes())
}

/// The row of an entry.
pub(crate) fn row(entry: &Entry) -> Result<Bytes, ReplicaFailed> {
    let mut bytes = vec![0; 8];
    entry.write_to_vec(&mut bytes).map_err(|error| ReplicaFailed::Log(error.to_string()))?;
    let sum = xxh3_64(&bytes[8..]).to_be_bytes();
    bytes[..8].copy_from_slice(&sum);
    Ok(Bytes::from(bytes))
}

/// Reads a row back.
pub(crate) fn parse_row(index: u64, row: &[u8]) -> Result<Entry, ReplicaFailed> {
    let (sum, body) = row.split_first_chunk().ok_or_else(|| damaged(index, "it is too short"))?;
    if u64::from_be_bytes(*sum) != xxh3_64(body) {
        return Err(damaged(index, "its checksum does not fit"));
    }
    let entry = parse::<Entry>(body).map_err(|error| damaged(index, &error.to_string()))?;
    if entry.index != index {
        return Err(damaged(index, "it bears another index"));
    }
    Ok(entry)
}

fn damaged(index: u64, how: &str) -> ReplicaFailed {
    ReplicaFailed::Log(format!("entry {index}: {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_one_flipped_bit_is_not_read() {
        let mut entry = Entry::default();
        (entry.index, entry.term) = (9, 2);
        entry.data = Bytes::from_static(b"data");
        let row = row(&entry).unwrap();
        assert_eq!(parse_row(9, &row).unwrap(), entry);
        assert!(parse_row(8, &row).is_err());
        for at in 0..row.len() {
            let mut flipped = row.to_vec();
            flipped[at] ^= 1;
            assert!(parse_row(9, &flipped).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_proposal_bears_its_time_in_front_and_is_read_in_place() {
        let write = (ClientId(u128::MAX), RequestId(9), Bytes::from_static(b"write"));
        let proposal = Proposal { now: Millis(77), writes: vec![write] };
        let mut entry = Entry { data: proposal.encode().unwrap().into(), ..Entry::default() };
        assert_eq!(time_of(&entry), Some(Millis(77)));
        let read = ProposalRef::decode(&entry.data).unwrap();
        assert_eq!(
            (read.now, &read.writes[..]),
            (proposal.now, &[(ClientId(u128::MAX), RequestId(9), &b"write"[..])][..])
        );
        entry.set_entry_type(EntryType::EntryConfChange);
        assert_eq!(time_of(&entry), None);
        assert!(ProposalRef::decode(b"short").is_err());
    }
}
