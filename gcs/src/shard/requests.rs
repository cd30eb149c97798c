//! Outcomes of recent writes, so that a retry is answered rather than applied twice.
//!
//! Owns: which requests are remembered, in rows that are written with the write itself. Invariants: of each client the
//! newest so many numbers are remembered; a number older than those of a full window is refused, since nobody can tell
//! whether it was applied; of all clients those that wrote last are remembered. All of it follows from the rows, so every
//! replica and every restart remembers the same.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{core::ShardFailed, ClientId, RequestId, ShardLimits};
use crate::{
    record,
    store::{Batch, Column, Store},
    tables::{Reply, TableError},
};

/// The row of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// The number of the write.
    pub(super) applied: u64,
    /// How it came out.
    pub(super) outcome: Result<Reply, TableError>,
}

record::records! { Remembered = "request outcome" }

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
#[derive(Default)]
struct Session {
    numbers: BTreeSet<u64>,
    last_applied: u64,
}

/// The index of remembered requests.
pub(super) struct Requests {
    sessions: BTreeMap<ClientId, Session>,
    by_last_applied: BTreeMap<u64, ClientId>,
    clients_max: usize,
    per_client_max: usize,
}

fn row_key(client: ClientId, number: u64) -> Bytes {
    Bytes::from([&client.0.to_be_bytes()[..], &number.to_be_bytes()].concat())
}

fn parse_key(key: &[u8]) -> Option<(ClientId, u64)> {
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
        };
        let mut from = Bytes::new();
        loop {
            let rows = store.scan(Column::Requests, b"", &from, PAGE)?;
            for (key, value) in &rows {
                let (client, number) = parse_key(key).ok_or_else(|| ShardFailed::corrupt(Column::Requests, key))?;
                let applied = record::decode::<Remembered>(value)?.applied;
                this.index(client, number, applied);
            }
            match rows.last() {
                Some((key, _)) if rows.len() == PAGE => from = Bytes::from([key, &[0][..]].concat()),
                _ => return Ok(this),
            }
        }
    }

    /// Whether a request is to be applied.
    pub(super) fn admission(
        &self,
        store: &impl Store,
        client: ClientId,
        request: RequestId,
    ) -> Result<Admission, ShardFailed> {
        let Some(session) = self.sessions.get(&client) else { return Ok(Admission::New) };
        if session.numbers.contains(&request.0) {
            let key = row_key(client, request.0);
            let row = store.get(Column::Requests, &key)?;
            let row = row.ok_or_else(|| ShardFailed::corrupt(Column::Requests, &key))?;
            return Ok(Admission::Known(record::decode(&row)?));
        }
        let full = session.numbers.len() >= self.per_client_max;
        let older = session.numbers.first().is_some_and(|first| request.0 < *first);
        Ok(if full && older { Admission::Forgotten } else { Admission::New })
    }

    /// Remembers how a request came out, and forgets what has no room any more.
    pub(super) fn remember(
        &mut self,
        client: ClientId,
        request: RequestId,
        remembered: &Remembered,
        batch: &mut Batch,
    ) -> Result<(), ShardFailed> {
        batch.put(Column::Requests, row_key(client, request.0), record::encode(remembered)?);
        self.index(client, request.0, remembered.applied);
        if let Some(session) = self.sessions.get_mut(&client) {
            while session.numbers.len() > self.per_client_max {
                let Some(oldest) = session.numbers.pop_first() else { break };
                batch.delete(Column::Requests, row_key(client, oldest));
            }
        }
        while self.sessions.len() > self.clients_max {
            let Some((_, idle)) = self.by_last_applied.pop_first() else { break };
            let session = self.sessions.remove(&idle).unwrap_or_default();
            session.numbers.iter().for_each(|number| batch.delete(Column::Requests, row_key(idle, *number)));
        }
        Ok(())
    }

    fn index(&mut self, client: ClientId, number: u64, applied: u64) {
        let session = self.sessions.entry(client).or_default();
        session.numbers.insert(number);
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
        for (client, session) in &self.sessions {
            let kept = rows.sessions.get(client).map(|kept| &kept.numbers);
            assert_eq!(kept, Some(&session.numbers), "requests of {client:?}");
            assert!(session.numbers.len() <= self.per_client_max, "requests of {client:?} within their bound");
        }
        Ok(())
    }
}
