//! The deterministic core of a shard.
//!
//! Owns: applying writes in the order in which they come, answering retries without applying them again, answering reads,
//! and telling subscribers. Does not own that order: with one replica it is the order of arrival, with several that of
//! their log, and each replica feeds its core the same writes with the same `now`; only the leader's effects are carried
//! out. Reads, subscriptions and ticks go to the leader alone.
//!
//! Invariants:
//! - Same writes, same rows, same effects: no clock, no thread, no randomness.
//! - A write is applied at most once, however often its request is retried within the window.
//! - A write, its changes and its outcome become visible together or not at all.
//! - After a failure the core refuses everything; it must be opened anew on its store.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    changes::{Change, ChangeLog},
    requests::{Admission, Remembered, Requests},
    subscriptions::Subscriptions,
    ClientId, Effect, Filter, Order, Request, RequestError, RequestId, SubscriptionId,
};
use crate::{
    record::{self, RecordError},
    store::{Batch, Column, Store, StoreError},
    tables::{self, ApplyError, Lease, Read, Reply, Table, Txn, Write},
    Millis, NodeId,
};

/// How much a shard remembers. All replicas of a shard must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardLimits {
    /// Clients whose recent requests are remembered; those that wrote last.
    pub clients_max: usize,
    /// Requests remembered of each client; also how many it may have under way.
    pub requests_per_client_max: usize,
    /// Changes remembered for subscribers that resume.
    pub changes_max: u64,
    /// Subscriptions of each client.
    pub subscriptions_per_client_max: usize,
}

impl Default for ShardLimits {
    fn default() -> Self {
        Self {
            clients_max: 4_096,
            requests_per_client_max: 1_024,
            changes_max: 65_536,
            subscriptions_per_client_max: 65_536,
        }
    }
}

/// Why a core must stop.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShardFailed {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The core failed before and was used again.
    #[error("the shard has failed and must be opened anew")]
    Stopped,
}

impl ShardFailed {
    /// A row key that no write of this crate makes.
    pub(super) fn corrupt(column: Column, key: &[u8]) -> Self {
        Self::Store(StoreError::Corrupt { column, detail: format!("a row with key {key:02x?} makes no sense") })
    }
}

/// The shard's own counters.
#[derive(Serialize, Deserialize)]
struct Counters {
    applied: u64,
    next_change: u64,
}

record::records! { Counters = "shard counters" }

const COUNTERS: &[u8] = b"shard";

/// One shard's state machine over its store.
pub struct ShardCore<S> {
    store: S,
    limits: ShardLimits,
    applied: u64,
    changes: ChangeLog,
    requests: Requests,
    subscriptions: Subscriptions,
    failed: bool,
}

impl<S: Store> ShardCore<S> {
    /// Opens the shard that `store` holds, or a new one if it holds nothing.
    ///
    /// # Errors
    /// [`ShardFailed`] if the store fails or holds what this build cannot read.
    pub fn open(store: S, limits: ShardLimits) -> Result<Self, ShardFailed> {
        let counters = match store.get(Column::Meta, COUNTERS)? {
            Some(bytes) => record::decode(&bytes)?,
            None => Counters { applied: 0, next_change: 1 },
        };
        let changes = ChangeLog::open(&store, counters.next_change, limits.changes_max)?;
        let requests = Requests::open(&store, &limits)?;
        let subscriptions = Subscriptions::default();
        Ok(Self { store, limits, applied: counters.applied, changes, requests, subscriptions, failed: false })
    }

    /// How many writes were applied, refused ones included, retries not.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The number of the last change, 0 before the first.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.changes.last()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, given away; subscriptions are forgotten.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }

    /// A client asks something. A write is applied unless its request was before.
    ///
    /// # Errors
    /// [`ShardFailed`] if the core must stop; no effect was emitted then, and the write may or may not be in the store.
    pub fn on_request(
        &mut self,
        now: Millis,
        request: RequestId,
        client: ClientId,
        what: &Request,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ShardFailed> {
        self.guarded(|core| match what {
            Request::Write(write) => core.write(now, request, client, write, effects),
            Request::Read(read) => {
                let outcome = core.read(read)?.map_err(RequestError::Refused);
                effects.push(Effect::Reply { client, request, outcome, order: core.order() });
                Ok(())
            }
        })
    }

    /// A client subscribes, or renews a subscription that it had, here or at another replica: `from` is the number of the
    /// last change that it has seen. Without it only changes from now on are told.
    ///
    /// Emits [`Effect::Subscribed`] and the changes missed, or [`Effect::ResyncNeeded`] if those are forgotten, or
    /// [`Effect::SubscriptionRefused`].
    ///
    /// # Errors
    /// As [`ShardCore::on_request`].
    pub fn on_subscribe(
        &mut self,
        client: ClientId,
        subscription: SubscriptionId,
        filter: Filter,
        from: Option<u64>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ShardFailed> {
        self.guarded(|core| {
            core.subscriptions.remove((client, subscription));
            let max = core.limits.subscriptions_per_client_max;
            if core.subscriptions.count(client) >= max {
                effects.push(Effect::SubscriptionRefused { client, subscription, max });
                return Ok(());
            }
            let (order, last) = (core.order(), core.changes.last());
            let from = from.unwrap_or(last);
            if core.changes.covers(from) {
                let missed = core.changes.since(&core.store, from, &filter)?;
                effects.push(Effect::Subscribed { client, subscription, sequence: from, order });
                let notify = |change| Effect::Notify { client, subscription, change, order };
                effects.extend(missed.into_iter().map(notify));
            } else {
                effects.push(Effect::ResyncNeeded { client, subscription, sequence: last, order });
            }
            core.subscriptions.insert((client, subscription), filter);
            Ok(())
        })
    }

    /// A client wants to hear no more.
    pub fn on_unsubscribe(&mut self, client: ClientId, subscription: SubscriptionId) {
        self.subscriptions.remove((client, subscription));
    }

    /// A client's connection is gone. Its subscriptions go with it; its requests stay remembered, for it may come back.
    pub fn on_client_gone(&mut self, client: ClientId) {
        self.subscriptions.remove_client(client);
    }

    /// Time has passed. Emits [`Effect::LeaseExpired`] for each node whose lease has run out.
    ///
    /// # Errors
    /// As [`ShardCore::on_request`].
    pub fn on_tick(&mut self, now: Millis, effects: &mut Vec<Effect>) -> Result<(), ShardFailed> {
        self.guarded(|core| {
            for (key, value) in core.store.scan(Column::Leases, b"", b"", usize::MAX)? {
                let Lease { until } = record::decode(&value)?;
                let id = key.as_ref().try_into().map_err(|_| ShardFailed::corrupt(Column::Leases, &key))?;
                if until < now {
                    let node = NodeId(u128::from_be_bytes(id));
                    effects.push(Effect::LeaseExpired { node, lease_until: until });
                }
            }
            Ok(())
        })
    }

    /// Asserts every invariant of the core against its store, for tests and simulations: it reads all of the core's rows.
    ///
    /// # Errors
    /// [`ShardFailed`] if the store fails.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn sanity_check(&self) -> Result<(), ShardFailed> {
        self.changes.sanity_check(&self.store)?;
        self.requests.sanity_check(&self.store)?;
        self.subscriptions.sanity_check();
        Ok(())
    }

    /// What an effect that shows the present rows must wait for.
    fn order(&self) -> Order {
        Order::AfterDurable(self.applied)
    }

    fn guarded(&mut self, event: impl FnOnce(&mut Self) -> Result<(), ShardFailed>) -> Result<(), ShardFailed> {
        if self.failed {
            return Err(ShardFailed::Stopped);
        }
        let done = event(self);
        self.failed = done.is_err();
        done
    }

    fn read(&self, read: &Read) -> Result<Result<Reply, tables::TableError>, ShardFailed> {
        settle(tables::read(read, &Txn::new(&self.store)))
    }

    fn write(
        &mut self,
        now: Millis,
        request: RequestId,
        client: ClientId,
        write: &Write,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ShardFailed> {
        let (outcome, order) = match self.requests.admission(&self.store, client, request)? {
            Admission::Forgotten => (Err(RequestError::Forgotten), Order::Now),
            Admission::Known(Remembered { applied, outcome }) => {
                (outcome.map_err(RequestError::Refused), Order::AfterDurable(applied))
            }
            Admission::New => {
                let mut txn = Txn::new(&self.store);
                let outcome = settle(tables::apply(write, now, &mut txn))?;
                let (batch, changed) = if outcome.is_ok() { txn.finish() } else { Default::default() };
                let remembered = Remembered { applied: self.applied + 1, outcome };
                let changes = self.commit(request, client, &remembered, batch, changed)?;
                let outcome = remembered.outcome.map_err(RequestError::Refused);
                effects.push(Effect::Reply { client, request, outcome, order: self.order() });
                return self.notify(changes, effects);
            }
        };
        effects.push(Effect::Reply { client, request, outcome, order });
        Ok(())
    }

    /// Applies a write's rows, its changes and its outcome as one batch; gives the changes with their numbers.
    fn commit(
        &mut self,
        request: RequestId,
        client: ClientId,
        remembered: &Remembered,
        mut batch: Batch,
        changed: Vec<(Table, Bytes)>,
    ) -> Result<Vec<(u64, Table, Bytes)>, ShardFailed> {
        let mut changes = Vec::with_capacity(changed.len());
        for (table, key) in changed {
            changes.push((self.changes.append(table, key.clone(), &mut batch)?, table, key));
        }
        self.requests.remember(client, request, remembered, &mut batch)?;
        let counters = Counters { applied: remembered.applied, next_change: self.changes.last() + 1 };
        batch.put(Column::Meta, COUNTERS, record::encode(&counters)?);
        self.store.apply(batch)?;
        self.applied = remembered.applied;
        Ok(changes)
    }

    fn notify(&self, changes: Vec<(u64, Table, Bytes)>, effects: &mut Vec<Effect>) -> Result<(), ShardFailed> {
        let order = self.order();
        for (sequence, table, key) in changes {
            let subscribers = self.subscriptions.of(table, &key);
            if subscribers.is_empty() {
                continue;
            }
            let value = self.store.get(table.column(), &key)?;
            let change = Change { sequence, table, key, value };
            let notify =
                |(client, subscription)| Effect::Notify { client, subscription, change: change.clone(), order };
            effects.extend(subscribers.into_iter().map(notify));
        }
        Ok(())
    }
}

/// Tells a refusal, which is an outcome, apart from a failure.
fn settle(applied: tables::Applied) -> Result<Result<Reply, tables::TableError>, ShardFailed> {
    match applied {
        Ok(reply) => Ok(Ok(reply)),
        Err(ApplyError::Rejected(refusal)) => Ok(Err(refusal)),
        Err(ApplyError::Store(error)) => Err(error.into()),
        Err(ApplyError::Record(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
