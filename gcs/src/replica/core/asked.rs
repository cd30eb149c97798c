//! Reads and subscriptions between question and rows.
//!
//! Owns: the three stations of a question: it waits to be asked about, a majority is asked whether the leader still leads,
//! and it waits until the rows are new enough: as new as whatever was committed when it came, and as its own client's
//! writes before it, answered or not. Invariants: questions of one station go on together; none is lost, and a replica
//! that leads no more gives all of them back.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    replica::DiskJob,
    shard::{ClientId, Filter, RequestId, SubscriptionId},
    tables::Read,
};

/// Rounds of confirmation under way at once.
const ROUNDS_MAX: usize = 4;

/// What only a leader may answer.
#[derive(Debug)]
pub(super) enum Asked {
    Read { client: ClientId, request: RequestId, read: Read },
    Subscribe { client: ClientId, subscription: SubscriptionId, filter: Filter, from: Option<u64> },
}

impl Asked {
    pub(super) fn into_job(self) -> DiskJob {
        match self {
            Self::Read { client, request, read } => DiskJob::Read { client, request, read },
            Self::Subscribe { client, subscription, filter, from } => {
                DiskJob::Subscribe { client, subscription, filter, from }
            }
        }
    }

    fn client(&self) -> ClientId {
        match self {
            Self::Read { client, .. } | Self::Subscribe { client, .. } => *client,
        }
    }
}

/// Writes by number, from 1 in the order of their coming, and the entries that they went into.
#[derive(Default)]
struct Written {
    taken: u64,
    proposed: u64,
    /// Entries that are not handed to the disk yet: the number of the last write in each, and its index.
    entries: VecDeque<(u64, u64)>,
    /// The last write of each client that may not be handed over yet.
    last_of: BTreeMap<ClientId, u64>,
}

/// All questions of a replica.
#[derive(Default)]
pub(super) struct Reads {
    written: Written,
    /// Each with the number of its client's last write before it.
    waiting: Vec<(u64, Asked)>,
    /// By round, the index of the last entry that any of them needs.
    confirming: BTreeMap<u64, (u64, Vec<Asked>)>,
    confirmed: VecDeque<(u64, Vec<Asked>)>,
    rounds: u64,
    len: usize,
}

impl Reads {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn ask(&mut self, asked: Asked) {
        self.len += 1;
        let after = self.written.last_of.get(&asked.client()).copied().unwrap_or(0);
        self.waiting.push((after, asked));
    }

    /// A write was taken.
    pub(super) fn on_write(&mut self, client: ClientId) {
        self.written.taken += 1;
        self.written.last_of.insert(client, self.written.taken);
    }

    /// The oldest writes, so many, went into the entry at `index`.
    pub(super) fn on_proposed(&mut self, writes: u64, index: u64) {
        self.written.proposed += writes;
        self.written.entries.push_back((self.written.proposed, index));
    }

    /// The disk was told to apply up to `index`.
    pub(super) fn on_handed(&mut self, index: u64) {
        while self.written.entries.front().is_some_and(|(_, at)| *at <= index) {
            self.written.entries.pop_front();
        }
        if self.written.entries.is_empty() && self.written.proposed == self.written.taken {
            self.written.last_of.clear();
        }
    }

    /// Begins a round for all whose writes have an entry; gives its number.
    pub(super) fn begin_round(&mut self) -> Option<u64> {
        let proposed = self.written.proposed;
        if self.confirming.len() >= ROUNDS_MAX || !self.waiting.iter().any(|(after, _)| *after <= proposed) {
            return None;
        }
        let (now, later) = std::mem::take(&mut self.waiting).into_iter().partition(|(after, _)| *after <= proposed);
        self.waiting = later;
        let now: Vec<(u64, Asked)> = now;
        let after = now.iter().map(|(after, _)| *after).max().unwrap_or(0);
        let entry = self.written.entries.iter().find(|(last, _)| *last >= after).filter(|_| after > 0);
        let needed = entry.map_or(0, |(_, index)| *index);
        self.rounds += 1;
        self.confirming.insert(self.rounds, (needed, now.into_iter().map(|(_, asked)| asked).collect()));
        Some(self.rounds)
    }

    /// A majority has confirmed a round: its questions need rows of at least `index`.
    pub(super) fn on_confirmed(&mut self, round: u64, index: u64) {
        if let Some((needed, asked)) = self.confirming.remove(&round) {
            self.confirmed.push_back((index.max(needed), asked));
        }
    }

    /// Questions for which the rows are new enough, once the disk has been told to apply up to `index`.
    pub(super) fn take_ready(&mut self, index: u64) -> Vec<Asked> {
        let mut ready = Vec::new();
        while self.confirmed.front().is_some_and(|(needed, _)| *needed <= index) {
            ready.extend(self.confirmed.pop_front().map(|(_, asked)| asked).unwrap_or_default());
        }
        self.len -= ready.len();
        ready
    }

    /// Gives all back.
    pub(super) fn take_all(&mut self) -> Vec<Asked> {
        let mut all: Vec<Asked> = self.confirmed.drain(..).flat_map(|(_, asked)| asked).collect();
        all.extend(std::mem::take(&mut self.confirming).into_values().flat_map(|(_, asked)| asked));
        all.extend(self.waiting.drain(..).map(|(_, asked)| asked));
        self.len = 0;
        self.written = Written::default();
        all
    }

    fn retain(&mut self, keep: impl Fn(&Asked) -> bool) {
        self.waiting.retain(|(_, asked)| keep(asked));
        self.confirming.values_mut().for_each(|(_, asked)| asked.retain(&keep));
        self.confirmed.iter_mut().for_each(|(_, asked)| asked.retain(&keep));
        self.len = self.waiting.len()
            + self.confirming.values().map(|(_, asked)| asked.len()).sum::<usize>()
            + self.confirmed.iter().map(|(_, asked)| asked.len()).sum::<usize>();
    }

    pub(super) fn forget(&mut self, client: ClientId) {
        self.retain(|asked| asked.client() != client);
    }

    pub(super) fn forget_subscription(&mut self, client: ClientId, subscription: SubscriptionId) {
        let ended = (client, subscription);
        self.retain(|asked| !matches!(asked, Asked::Subscribe { client, subscription, .. } if (*client, *subscription) == ended));
    }
}
