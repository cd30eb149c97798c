//! Every decoder of this crate, for those who try them with any bytes: `actors/tests/decoders.rs` and `fuzz/`.
//!
//! Owns: the list of what is decoded, also of what is no part of the API. Does not own the trying. Invariants: no API, whatever
//! is public here may change; each kind of [`Record`] is in the list.

use bytes::Bytes;
use protobuf::{Message as _, ProtobufEnum as _};
use raft::eraftpb::{ConfChange, ConfState, Entry, EntryType, HardState, Message, MessageType};

use crate::{
    record::Record,
    replica::{self, Addresses, PeerMessage, Proposal, ProposalRef, ReplicaId},
    shard::{self, ClientId, Request, RequestId},
    spec,
    store::Column,
    tables, Millis,
};

/// Of a message of the `raft` crate's; one that says nothing is no bytes at all.
macro_rules! protobuf {
    ($name:expr, $kind:ty, $sample:expr) => {
        Decoder {
            name: $name,
            decode: |bytes| replica::parse::<$kind>(bytes).is_ok(),
            round: |bytes| {
                let Ok(message) = replica::parse::<$kind>(bytes) else { return };
                let written = message.write_to_bytes().expect("what was understood can be written");
                assert_eq!(replica::parse::<$kind>(&written).expect("what was written can be read"), message);
            },
            samples: || vec![$sample.write_to_bytes().expect("samples can be written"), Vec::new()],
        }
    };
}

/// A decoder that is no record's.
#[derive(Clone, Copy)]
pub struct Decoder {
    /// Its name.
    pub name: &'static str,
    /// Decodes; gives whether it understood.
    pub decode: fn(&[u8]) -> bool,
    /// Panics where what is understood does not read back as it is written.
    pub round: fn(&[u8]),
    /// What it understands.
    pub samples: fn() -> Vec<Vec<u8>>,
}

/// Who is shown all records.
pub trait Records {
    /// One of them.
    fn record<R: Record>(&mut self);
}

/// Shows all records of this crate.
pub fn records(to: &mut impl Records) {
    to.record::<spec::TaskSpec>();
    to.record::<spec::ActorSpec>();
    to.record::<spec::ActorInfo>();
    to.record::<spec::Checkpoint>();
    to.record::<spec::CallEntry>();
    to.record::<spec::CallLogHead>();
    to.record::<spec::NodeInfo>();
    to.record::<spec::JobInfo>();
    to.record::<spec::FunctionInfo>();
    to.record::<spec::ObjectInfo>();
    to.record::<spec::PlacementGroupInfo>();
    to.record::<spec::Event>();
    to.record::<tables::Lease>();
    to.record::<tables::LastJob>();
    to.record::<tables::EventBounds>();
    to.record::<tables::Holder>();
    to.record::<tables::Write>();
    to.record::<tables::Read>();
    to.record::<Request>();
    to.record::<shard::ChangedRow>();
    to.record::<shard::RememberedRow>();
    to.record::<shard::Counters>();
    to.record::<Proposal>();
    to.record::<replica::PositionRow>();
    to.record::<replica::Truncated>();
}

/// All decoders that are no records'.
#[must_use]
pub fn decoders() -> Vec<Decoder> {
    #[cfg_attr(not(feature = "rocksdb"), allow(unused_mut))]
    let mut all = vec![
        Decoder {
            name: "peer_message",
            decode: |bytes| PeerMessage::decode(bytes).is_ok(),
            round: round_peer_message,
            samples: peer_messages,
        },
        Decoder {
            name: "proposal",
            decode: |bytes| ProposalRef::decode(bytes).is_ok(),
            round: round_proposal,
            samples: || vec![proposal(0), proposal(3)],
        },
        Decoder {
            name: "log_row",
            decode: |bytes| replica::parse_row(9, bytes).is_ok(),
            round: round_log_row,
            samples: || entries().iter().map(row).collect(),
        },
        Decoder {
            name: "addresses",
            decode: |bytes| replica::unpack_addresses(bytes).is_ok(),
            round: round_addresses,
            samples: || vec![replica::pack_addresses(&addresses()), replica::pack_addresses(&Addresses::new())],
        },
        Decoder {
            name: "request_key",
            decode: |bytes| shard::parse_key(bytes).is_some(),
            round: |bytes| {
                let Some((client, number)) = shard::parse_key(bytes) else { return };
                assert_eq!(shard::row_key(client, number), bytes);
            },
            samples: || vec![shard::row_key(ClientId(u128::MAX), 7).to_vec()],
        },
        protobuf!("hard_state", HardState, HardState { term: 5, vote: 2, commit: 9, ..HardState::default() }),
        protobuf!("conf_state", ConfState, members()),
        protobuf!("conf_change", ConfChange, ConfChange { id: 1, node_id: 2, ..ConfChange::default() }),
    ];
    #[cfg(feature = "rocksdb")]
    all.extend(on_disk::decoders());
    all
}

fn round_peer_message(bytes: &[u8]) {
    let Ok(message) = PeerMessage::decode(bytes) else { return };
    let again = PeerMessage::decode(&message.encode()).expect("what was written can be read");
    assert_eq!(format!("{again:?}"), format!("{message:?}"));
}

fn round_proposal(bytes: &[u8]) {
    let Ok(ProposalRef { now, writes }) = ProposalRef::decode(bytes) else { return };
    let owned = writes.into_iter().map(|(client, request, write)| (client, request, Bytes::copy_from_slice(write)));
    let written = Proposal { now, writes: owned.collect() };
    let bytes = written.encode().expect("what was understood can be written");
    let again = ProposalRef::decode(&bytes).expect("what was written can be read");
    assert_eq!(again.now, written.now);
    assert!(again.writes.iter().eq(&written.writes.iter().map(|(c, r, w)| (*c, *r, &w[..])).collect::<Vec<_>>()));
}

fn round_log_row(bytes: &[u8]) {
    let Ok(entry) = replica::parse_row(9, bytes) else { return };
    assert_eq!(replica::parse_row(9, &row(&entry)).expect("what was written can be read"), entry);
}

fn round_addresses(bytes: &[u8]) {
    let Ok(addresses) = replica::unpack_addresses(bytes) else { return };
    let again = replica::unpack_addresses(&replica::pack_addresses(&addresses));
    assert_eq!(again.expect("what was written can be read"), addresses);
}

// --- samples -----------------------------------------------------------------------------------------------------------

fn addresses() -> Addresses {
    Addresses::from([(ReplicaId(1), "a:1".to_owned()), (ReplicaId(2), "b:2".to_owned())])
}

fn members() -> ConfState {
    ConfState { voters: vec![1, 2], learners: vec![3], ..ConfState::default() }
}

fn proposal(writes: u64) -> Vec<u8> {
    let write = |number| (ClientId(7), RequestId(number), Bytes::from_static(b"a write"));
    let proposal = Proposal { now: Millis(77), writes: (0..writes).map(write).collect() };
    proposal.encode().expect("samples can be written")
}

fn row(entry: &Entry) -> Vec<u8> {
    replica::row(entry).expect("samples can be written").to_vec()
}

/// One of each kind.
fn entries() -> Vec<Entry> {
    let entry = |kind: &EntryType| {
        let mut entry = Entry { index: 9, term: 2, data: proposal(1).into(), ..Entry::default() };
        entry.set_entry_type(*kind);
        entry.context = replica::pack_addresses(&addresses()).into();
        entry
    };
    EntryType::values().iter().map(entry).collect()
}

/// One of each kind of Raft's, and one of each of the others.
fn peer_messages() -> Vec<Vec<u8>> {
    let raft = |kind: &MessageType| {
        let mut message = Message { to: 2, from: 1, term: 5, commit: 9, ..Message::default() };
        message.set_msg_type(*kind);
        message.set_entries(entries().into());
        message.context = Bytes::from_static(b"context");
        message.mut_snapshot().data = replica::pack_addresses(&addresses()).into();
        message.mut_snapshot().mut_metadata().set_conf_state(members());
        message
    };
    let rows = vec![(Column::Nodes, Bytes::from_static(b"key"), Bytes::from_static(b"value"))];
    let end = Some(Box::new(raft(&MessageType::MsgSnapshot)));
    // As dense as it gets.
    let mut dense = Message::default();
    dense.set_entries(vec![Entry::default(); 50_000].into());
    let mut all: Vec<PeerMessage> =
        MessageType::values().iter().map(|kind| PeerMessage::Raft(Box::new(raft(kind)))).collect();
    all.push(PeerMessage::Raft(Box::new(dense)));
    all.push(PeerMessage::Chunk { transfer: 1, number: 2, rows: rows.clone(), end });
    all.push(PeerMessage::Chunk { transfer: 1, number: 0, rows, end: None });
    all.push(PeerMessage::ChunkStaged { transfer: 1, number: 2 });
    for message in &all {
        // A new kind of message needs a sample above.
        match message {
            PeerMessage::Raft(_) | PeerMessage::Chunk { .. } | PeerMessage::ChunkStaged { .. } => {}
        }
    }
    all.iter().map(PeerMessage::encode).collect()
}

#[cfg(feature = "rocksdb")]
mod on_disk {
    use super::Decoder;
    use crate::store::{damage, Generation, StoreIdentity};

    pub(super) fn decoders() -> [Decoder; 3] {
        [
            Decoder {
                name: "write_ahead_log",
                decode: |bytes| damage(bytes).is_none(),
                round: |bytes| {
                    if let Some(at) = damage(bytes) {
                        assert!(at < bytes.len());
                        assert_eq!(damage(&bytes[..at]), None, "what is before the damage is whole");
                    }
                },
                samples: || vec![Vec::new(), RECORD.to_vec(), RECORD.repeat(3)],
            },
            Decoder {
                name: "store_identity",
                decode: |bytes| StoreIdentity::decoded(bytes).is_some(),
                round: |bytes| {
                    let Some(identity) = StoreIdentity::decoded(bytes) else { return };
                    assert_eq!(identity.encoded(), bytes);
                },
                samples: || vec![StoreIdentity { cluster: 1 << 100, shard: 2, replica: 3 }.encoded()],
            },
            Decoder {
                name: "store_generation",
                decode: |bytes| Generation::decoded(bytes).is_some(),
                round: |bytes| {
                    let Some(generation) = Generation::decoded(bytes) else { return };
                    assert_eq!(generation.encoded(), bytes);
                },
                samples: || vec![vec![0], vec![1]],
            },
        ]
    }

    /// A record of the log with `123456789` in it.
    const RECORD: [u8; 16] = *b"\xa8\xcb\x5f\x86\x09\0\x01123456789";
}
