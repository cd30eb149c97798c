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

use std::collections::BTreeSet;

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
    tables::{self, limits::COUNT_MAX, ApplyError, Lease, Read, Reply, Txn, Write},
    Millis, NodeId,
};

/// How much a shard remembers. All replicas of a shard must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardLimits {
    /// Clients whose recent requests are remembered; those that wrote last. A retry of another one is applied again.
    pub clients_max: usize,
    /// Requests remembered of each client, the newest; a client sends no more than so many after one without an answer.
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
pub(crate) struct Counters {
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
        if counters.applied > COUNT_MAX || !(1..=COUNT_MAX).contains(&counters.next_change) {
            return Err(ShardFailed::corrupt(Column::Meta, COUNTERS));
        }
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

    /// The store, for what is a replica's own.
    pub(crate) fn store_mut(&mut self) -> &mut S {
        &mut self.store
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
            Request::Write(write) => {
                core.writes(vec![(now, vec![(client, request, write.clone())])], Batch::new(), effects)
            }
            Request::Read(read) => {
                let outcome = core.read(read)?.map_err(RequestError::Refused);
                effects.push(Effect::Reply { client, request, outcome, order: core.order() });
                Ok(())
            }
        })
    }

    /// Writes that come together, in groups of one time each, in order: they come out as if applied one by one, and are one
    /// batch of rows, with `own` rows of a replica.
    ///
    /// # Errors
    /// As [`ShardCore::on_request`].
    pub(crate) fn on_writes(
        &mut self,
        groups: Vec<WriteGroup>,
        own: Batch,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ShardFailed> {
        self.guarded(|core| core.writes(groups, own, effects))
    }

    /// Nobody listens any more.
    pub(crate) fn on_clients_gone(&mut self) {
        self.subscriptions = Subscriptions::default();
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

    fn writes(
        &mut self,
        groups: Vec<WriteGroup>,
        mut own: Batch,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ShardFailed> {
        let mut txn = Txn::new(&self.store);
        let mut state = Applying { applied: self.applied, changes: Vec::new(), replies: Vec::new() };
        for (now, writes) in groups {
            for (client, request, write) in writes {
                let (outcome, order) = match self.requests.admission(&self.store, client, request)? {
                    Admission::Forgotten => (Err(RequestError::Forgotten), Order::Now),
                    Admission::Known(Remembered { applied, outcome }) => {
                        (outcome.map_err(RequestError::Refused), Order::AfterDurable(applied))
                    }
                    Admission::New => {
                        txn.begin_write();
                        let outcome = settle(tables::apply(&write, now, &mut txn))?;
                        if outcome.is_err() {
                            txn.roll_back();
                        }
                        for (table, key) in txn.changed_by_write() {
                            let sequence = self.changes.append(*table, key.clone());
                            let subscribers = self.subscriptions.of(*table, key);
                            if !subscribers.is_empty() {
                                let value = txn.get(table.column(), key)?;
                                let change = Change { sequence, table: *table, key: key.clone(), value };
                                state.changes.push((change, subscribers));
                            }
                        }
                        state.applied += 1;
                        let remembered = Remembered { applied: state.applied, outcome };
                        let outcome = remembered.outcome.clone().map_err(RequestError::Refused);
                        self.requests.remember(client, request, remembered);
                        (outcome, Order::AfterDurable(state.applied))
                    }
                };
                state.replies.push(Effect::Reply { client, request, outcome, order });
            }
            self.changes.write(&mut own)?;
            self.requests.write(&mut own)?;
        }
        let (mut batch, _) = txn.finish();
        if state.applied > self.applied {
            let counters = Counters { applied: state.applied, next_change: self.changes.last() + 1 };
            batch.put(Column::Meta, COUNTERS, record::encode(&counters)?);
        }
        batch.append(own);
        if !batch.is_empty() {
            // Whoever orders the writes keeps them, and can feed them again.
            self.store.apply_rebuildable(batch)?;
        }
        self.requests.on_written();
        self.applied = state.applied;
        effects.append(&mut state.replies);
        let order = self.order();
        for (change, subscribers) in state.changes {
            let notify =
                |(client, subscription)| Effect::Notify { client, subscription, change: change.clone(), order };
            effects.extend(subscribers.into_iter().map(notify));
        }
        Ok(())
    }
}

/// Writes of one time, each with whose it is.
pub(crate) type WriteGroup = (Millis, Vec<(ClientId, RequestId, Write)>);

/// Where [`ShardCore::writes`] is.
struct Applying {
    applied: u64,
    /// Changes that somebody watches, and who.
    changes: Vec<(Change, BTreeSet<(ClientId, SubscriptionId)>)>,
    /// Told once the rows are written.
    replies: Vec<Effect>,
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
