//! Outcomes of recent writes, so that a retry is answered rather than applied twice.
//!
//! Owns: which requests are remembered, in rows that are written with the writes themselves, one row for all of a client's
//! that are written together. Invariants: of each client the
//! newest so many numbers are remembered; a number older than those of a full window is refused, since nobody can tell
//! whether it was applied; of all clients those that wrote last are remembered. All of it follows from the rows, so every
//! replica and every restart remembers the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{core::ShardFailed, ClientId, RequestId, ShardLimits};
use crate::{
    record,
    store::{Batch, Column, Store},
    tables::{Reply, TableError},
};

/// What is remembered of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// The number of the write.
    pub(super) applied: u64,
    /// How it came out.
    pub(super) outcome: Result<Reply, TableError>,
}

/// Requests of one client that were written together, by their numbers; the first of them names the row.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RememberedRow(Vec<(u64, Remembered)>);

record::records! { RememberedRow = "request outcomes" }

/// Whether a request is to be applied.
pub(super) enum Admission {
    /// It was never seen.
    New,
    /// It was applied, and this is how it came out.
    Known(Remembered),
    /// It may have been applied.
    Forgotten,
}

/// What is remembered of one client.
#[derive(Default, PartialEq, Eq, Debug)]
struct Session {
    /// The row of each number.
    numbers: BTreeMap<u64, u64>,
    /// How many numbers of each row are still remembered.
    rows: BTreeMap<u64, usize>,
    last_applied: u64,
}

impl Session {
    /// Forgets the oldest number; gives its row, if nothing in there is remembered any more.
    fn forget_oldest(&mut self) -> Option<u64> {
        let (_, row) = self.numbers.pop_first()?;
        let left = self.rows.get_mut(&row)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.rows.remove(&row);
        Some(row)
    }
}

/// The index of remembered requests.
pub(super) struct Requests {
    sessions: BTreeMap<ClientId, Session>,
    by_last_applied: BTreeMap<u64, ClientId>,
    clients_max: usize,
    per_client_max: usize,
    /// Remembered, and not in a batch yet.
    pending: BTreeMap<ClientId, RememberedRow>,
    /// In a batch that is not in the store yet.
    unwritten: Vec<(ClientId, RememberedRow)>,
}

pub(crate) fn row_key(client: ClientId, number: u64) -> Bytes {
    Bytes::from([&client.0.to_be_bytes()[..], &number.to_be_bytes()].concat())
}

pub(crate) fn parse_key(key: &[u8]) -> Option<(ClientId, u64)> {
    let (client, number) = key.split_first_chunk::<16>()?;
    Some((ClientId(u128::from_be_bytes(*client)), u64::from_be_bytes(number.try_into().ok()?)))
}

impl Requests {
    /// What the rows of `store` remember.
    pub(super) fn open(store: &impl Store, limits: &ShardLimits) -> Result<Self, ShardFailed> {
        const PAGE: usize = 1_024;
        let mut this = Self {
            sessions: BTreeMap::new(),
            by_last_applied: BTreeMap::new(),
            clients_max: limits.clients_max.max(1),
            per_client_max: limits.requests_per_client_max.max(1),
            pending: BTreeMap::new(),
            unwritten: Vec::new(),
        };
        let mut from = Bytes::new();
        loop {
            let rows = store.scan(Column::Requests, b"", &from, PAGE)?;
            for (key, value) in &rows {
                let (client, row) = parse_key(key).ok_or_else(|| ShardFailed::corrupt(Column::Requests, key))?;
                let RememberedRow(requests) = record::decode(value)?;
                for (number, Remembered { applied, .. }) in requests {
                    this.index(client, number, row, applied);
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == PAGE => from = Bytes::from([key, &[0][..]].concat()),
                _ => break,
            }
        }
        // A row stays until nothing in it is remembered.
        for session in this.sessions.values_mut() {
            while session.numbers.len() > this.per_client_max {
                session.forget_oldest();
            }
        }
        Ok(this)
    }

    /// Whether a request is to be applied.
    pub(super) fn admission(
        &self,
        store: &impl Store,
        client: ClientId,
        request: RequestId,
    ) -> Result<Admission, ShardFailed> {
        let Some(session) = self.sessions.get(&client) else { return Ok(Admission::New) };
        if let Some(row) = session.numbers.get(&request.0) {
            return Ok(Admission::Known(self.remembered(store, client, request, *row)?));
        }
        let full = session.numbers.len() >= self.per_client_max;
        let older = session.numbers.first_key_value().is_some_and(|(first, _)| request.0 < *first);
        Ok(if full && older { Admission::Forgotten } else { Admission::New })
    }

    fn remembered(
        &self,
        store: &impl Store,
        client: ClientId,
        request: RequestId,
        row: u64,
    ) -> Result<Remembered, ShardFailed> {
        let of =
            |row: &RememberedRow| row.0.iter().find(|(number, _)| *number == request.0).map(|(_, one)| one.clone());
        // A retry may come right behind its original.
        let unwritten = self.unwritten.iter().filter(|(whose, _)| *whose == client).map(|(_, row)| row);
        if let Some(remembered) = unwritten.chain(self.pending.get(&client)).find_map(of) {
            return Ok(remembered);
        }
        let key = row_key(client, row);
        let bytes = store.get(Column::Requests, &key)?.ok_or_else(|| ShardFailed::corrupt(Column::Requests, &key))?;
        of(&record::decode(&bytes)?).ok_or_else(|| ShardFailed::corrupt(Column::Requests, &key))
    }

    /// Remembers how a request came out.
    pub(super) fn remember(&mut self, client: ClientId, request: RequestId, remembered: Remembered) {
        let pending = &mut self.pending.entry(client).or_default().0;
        let applied = remembered.applied;
        pending.push((request.0, remembered));
        let row = pending[0].0;
        self.index(client, request.0, row, applied);
    }

    /// Ends the rows at hand, which are those of one log entry, so that they are the same on every replica: puts them into
    /// `batch`, and forgets what has no room any more.
    pub(super) fn write(&mut self, batch: &mut Batch) -> Result<(), ShardFailed> {
        for (client, row) in std::mem::take(&mut self.pending) {
            batch.put(Column::Requests, row_key(client, row.0[0].0), record::encode(&row)?);
            if let Some(session) = self.sessions.get_mut(&client) {
                while session.numbers.len() > self.per_client_max {
                    if let Some(empty) = session.forget_oldest() {
                        batch.delete(Column::Requests, row_key(client, empty));
                    }
                }
            }
            self.unwritten.push((client, row));
        }
        while self.sessions.len() > self.clients_max {
            let Some((_, idle)) = self.by_last_applied.pop_first() else { break };
            let session = self.sessions.remove(&idle).unwrap_or_default();
            session.rows.keys().for_each(|row| batch.delete(Column::Requests, row_key(idle, *row)));
        }
        Ok(())
    }

    /// All batches are in the store.
    pub(super) fn on_written(&mut self) {
        self.unwritten.clear();
    }

    fn index(&mut self, client: ClientId, number: u64, row: u64, applied: u64) {
        let session = self.sessions.entry(client).or_default();
        session.numbers.insert(number, row);
        *session.rows.entry(row).or_default() += 1;
        if applied > session.last_applied {
            self.by_last_applied.remove(&session.last_applied);
            session.last_applied = applied;
            self.by_last_applied.insert(applied, client);
        }
    }

    /// Asserts that the index says what the rows say.
    pub(super) fn sanity_check(&self, store: &impl Store) -> Result<(), ShardFailed> {
        let limits = ShardLimits {
            clients_max: self.clients_max,
            requests_per_client_max: self.per_client_max,
            ..ShardLimits::default()
        };
        let rows = Self::open(store, &limits)?;
        assert_eq!(rows.by_last_applied, self.by_last_applied, "clients by last write");
        assert_eq!(rows.sessions.len(), self.sessions.len(), "clients");
        assert_eq!(self.by_last_applied.len(), self.sessions.len(), "each client once");
        assert!(self.sessions.len() <= self.clients_max, "clients within their bound");
        assert!(self.pending.is_empty(), "what is remembered is written");
        for (client, session) in &self.sessions {
            assert_eq!(rows.sessions.get(client), Some(session), "requests of {client:?}");
            assert!(session.numbers.len() <= self.per_client_max, "requests of {client:?} within their bound");
        }
        Ok(())
    }
}
