//! What happens in a simulated world, and when.
//!
//! Owns: the events and their queue. Invariant: events of one moment happen in the order in which they were planned.

use std::{cmp::Reverse, collections::BinaryHeap};

use actinic_gcs::{
    replica::{DiskDone, PeerMessage, ReplicaId},
    shard::{Change, Filter, Request, RequestError, RequestId, SubscriptionId},
    tables::{Read, Reply},
};

/// What a client says to a replica.
#[derive(Clone, Debug)]
pub(crate) enum ToHost {
    Ask(RequestId, Request),
    Subscribe(SubscriptionId, Filter, Option<u64>),
    Unsubscribe(SubscriptionId),
}

/// What a replica says to a client.
#[derive(Clone, Debug)]
pub(crate) enum ToClient {
    Answer(RequestId, Result<Reply, RequestError>),
    Watch(SubscriptionId, ToWatcher),
    Leader { leader: Option<ReplicaId>, led: bool },
}

/// What a replica says of a subscription.
#[derive(Clone, Debug)]
pub(crate) enum ToWatcher {
    Subscribed(u64),
    Resync(u64),
    Notify(Change),
    Refused { leader: Option<ReplicaId> },
}

/// An event.
#[derive(Debug)]
pub(crate) enum Event {
    Tick { host: usize, life: u64 },
    Poll { host: usize, life: u64 },
    Peer { host: usize, from: usize, bytes: Vec<u8> },
    PeerGone { host: usize, life: u64, peer: ReplicaId },
    DiskRun { host: usize, life: u64 },
    DiskFlush { host: usize, life: u64 },
    DiskTold { host: usize, life: u64, done: Vec<DiskDone> },
    Start { host: usize },
    ToHost { connection: usize, message: ToHost },
    ToClient { connection: usize, message: ToClient },
    HostLost { connection: usize },
    ClientLost { connection: usize },
    StaleRead { host: usize, client: usize, request: RequestId, read: Read },
    StaleAnswer { client: usize, request: RequestId, answer: Result<Reply, RequestError> },
    ClientWakes { client: usize },
    Trouble,
    Mend,
    DiskEmptied { host: usize },
    Crash { host: usize },
    Stand { host: usize },
}

impl Event {
    /// The machine on which it happens.
    pub(crate) fn host(&self) -> Option<usize> {
        match self {
            Self::Tick { host, .. }
            | Self::Poll { host, .. }
            | Self::Peer { host, .. }
            | Self::PeerGone { host, .. }
            | Self::DiskRun { host, .. }
            | Self::DiskFlush { host, .. }
            | Self::DiskTold { host, .. }
            | Self::StaleRead { host, .. } => Some(*host),
            _ => None,
        }
    }

    /// For the eyes of whoever reads a trace.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Peer { host, from, bytes } => match PeerMessage::decode(bytes) {
                Ok(PeerMessage::Raft(message)) => {
                    let entries = message.entries.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>();
                    format!(
                        "{from} → {host} {:?} term {} at ({}, {}) commit {} reject {} entries {entries:?}",
                        message.get_msg_type(),
                        message.term,
                        message.index,
                        message.log_term,
                        message.commit,
                        message.reject,
                    )
                }
                Ok(PeerMessage::Chunk { transfer, number, rows, end }) => {
                    format!("{from} → {host} chunk {transfer:x}/{number}, {} rows, last {}", rows.len(), end.is_some())
                }
                other => format!("{from} → {host} {other:?}"),
            },
            other => format!("{other:?}"),
        }
    }
}

/// An event with its time and its place among those of that time.
pub(crate) struct Planned {
    pub(crate) at: u64,
    number: u64,
    /// Elsewhere, for the queue moves what it holds.
    pub(crate) event: Box<Event>,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// All events to come.
#[derive(Default)]
pub(crate) struct Queue {
    planned: BinaryHeap<Reverse<Planned>>,
    number: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.planned.push(Reverse(Planned { at, number: self.number, event: Box::new(event) }));
    }

    /// The next event, if it is not after `end`.
    pub(crate) fn pop(&mut self, end: u64) -> Option<Planned> {
        if self.planned.peek()?.0.at > end {
            return None;
        }
        self.planned.pop().map(|Reverse(planned)| planned)
    }

    /// Puts an event off, before all that were planned after it.
    pub(crate) fn put_off(&mut self, until: u64, planned: Planned) {
        self.planned.push(Reverse(Planned { at: until, ..planned }));
    }
}
