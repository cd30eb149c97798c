//! Subscribers, and what they have seen.
//!
//! Owns: one subscription, resumed wherever the leader is, and the subscriber's own view of the keys that it watches.
//! Invariants: numbers of changes only grow; after being told that changes are forgotten, it reads every key again.

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::{
    linear::{Outcome, Value},
    shard::{Filter, Request, SubscriptionId},
    tables::{keys, Table},
};

use super::{
    client::{key_name, read_of, value_of, NAMESPACE},
    event::{ToHost, ToWatcher},
    rng::Rng,
    world::World,
};

/// A subscription, and what came of it.
pub(crate) struct Watch {
    filter: Filter,
    /// The keys that it watches.
    pub(crate) keys: Vec<u8>,
    /// The last change seen.
    pub(crate) seen: Option<u64>,
    /// Since when it waits to be told that it is subscribed.
    asked_at: Option<u64>,
    /// Each time it subscribes it draws a new number, so that what an earlier connection still says is known for that.
    pub(crate) number: u64,
    unread: BTreeSet<u8>,
    pub(crate) view: BTreeMap<u8, Option<Value>>,
}

impl Watch {
    /// Of one key, or of those with a prefix, or of all.
    pub(crate) fn draw(rng: &mut Rng, keys: u8) -> Self {
        let key = rng.below(u64::from(keys)) as u8;
        let all = 0..keys;
        let (filter, keys) = match rng.below(3) {
            0 => (Filter::key(Table::KeyValue, keys::scoped(NAMESPACE, &key_name(key))), vec![key]),
            1 => (Filter::values(NAMESPACE, &key_name(key)[..2]), all.filter(|other| other % 2 == key % 2).collect()),
            _ => (Filter::table(Table::KeyValue), all.collect()),
        };
        Self { filter, keys, seen: None, asked_at: None, number: 0, unread: BTreeSet::new(), view: BTreeMap::new() }
    }

    pub(crate) fn subscribe(&mut self, now: u64) -> ToHost {
        self.asked_at = Some(now);
        self.number += 1;
        ToHost::Subscribe(SubscriptionId(self.number), self.filter.clone(), self.seen)
    }

    pub(crate) fn waits_since(&self, now: u64, patience: u64) -> bool {
        self.asked_at.is_some_and(|at| at + patience < now)
    }

    /// Whether it knows all keys that it watches.
    pub(crate) fn is_whole(&self) -> bool {
        self.seen.is_some() && self.asked_at.is_none() && self.unread.is_empty()
    }
}

impl World {
    /// A subscriber is told something.
    pub(crate) fn watched(&mut self, client: usize, message: ToWatcher) {
        let Some(watch) = self.clients[client].watch.as_mut() else { return };
        match message {
            ToWatcher::Subscribed(sequence) => {
                watch.asked_at = None;
                match watch.seen {
                    None => {
                        watch.seen = Some(sequence);
                        watch.unread = watch.keys.iter().copied().collect();
                    }
                    Some(seen) if seen != sequence => {
                        let detail = format!("client {client} had seen {seen} and is told {sequence}");
                        self.checks.fail("a subscription goes on where it was", detail);
                    }
                    Some(_) => {}
                }
            }
            ToWatcher::Resync(sequence) => {
                watch.asked_at = None;
                self.checks.counts.resyncs += 1;
                if watch.seen.is_some_and(|seen| seen > sequence) {
                    let detail = format!("client {client} had seen {:?} and is told {sequence}", watch.seen);
                    self.checks.fail("no change is taken back", detail);
                }
                watch.seen = Some(sequence);
                watch.unread = watch.keys.iter().copied().collect();
            }
            ToWatcher::Notify(change) => {
                let watched = watch.keys.iter().find(|key| keys::scoped(NAMESPACE, &key_name(**key)) == change.key);
                let (seen, now) = (watch.seen, change.sequence);
                match watched {
                    Some(key) => drop(watch.view.insert(*key, value_of(change.value.as_ref()))),
                    None => self.checks.fail("one hears of what one watches", format!("{:?}", change.key)),
                }
                if seen.is_none_or(|seen| seen >= now) {
                    self.checks.fail("changes come once, in order", format!("client {client}: {seen:?}, then {now}"));
                }
                if watch.asked_at.is_some() {
                    self.checks.fail("changes follow the subscription", format!("client {client}: change {now}"));
                }
                watch.seen = Some(now);
                return self.checks.on_change(now, &change.key);
            }
            ToWatcher::Refused { .. } => {}
        }
        self.read_unread(client);
    }

    /// A subscriber ends its subscription, and begins another one where it was.
    pub(crate) fn subscribe_anew(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let (Some(connection), Some(watch)) = (state.connection, state.watch.as_mut()) else { return };
        if watch.asked_at.is_none() && !self.healed {
            let ends = ToHost::Unsubscribe(SubscriptionId(watch.number));
            let begins = watch.subscribe(self.now);
            self.send_to_host(connection, ends);
            self.send_to_host(connection, begins);
        }
    }

    /// Reads the keys that a subscriber does not know.
    pub(crate) fn read_unread(&mut self, client: usize) {
        let state = &self.clients[client];
        let Some(watch) = state.watch.as_ref().filter(|watch| watch.asked_at.is_none()) else { return };
        let asked: BTreeSet<u8> = state.asked.values().map(|asked| asked.key).collect();
        let unread: Vec<u8> = watch.unread.difference(&asked).copied().collect();
        for key in unread {
            self.send_request(client, key, Request::Read(read_of(key)), None);
        }
    }

    /// A subscriber has read a key: the answer came after all changes before it.
    pub(crate) fn read_again(&mut self, client: usize, key: u8, outcome: Outcome) {
        let Some(watch) = self.clients[client].watch.as_mut() else { return };
        let Outcome::Value(value) = outcome else { return };
        if watch.unread.remove(&key) {
            watch.view.insert(key, value);
        }
    }
}
