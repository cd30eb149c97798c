//! Who belongs to the groups of this process's replicas, and where each is reached, as far as is known here.
//!
//! Owns: what the parts of a process tell each other of addresses. A replica's links write down its group; the listener
//! writes down who has called, and tells clients of the group; a process without a replica is told of the group by its node.
//! Invariants: bounded; what a replica knows of its own group comes before what was heard.

use std::collections::BTreeMap;

use actinic_gcs::replica::{Addresses, ReplicaId};
use parking_lot::Mutex;

/// Replicas remembered because they called.
const CALLERS_MAX: usize = 1_024;
/// Addresses told to a client.
const TOLD_MAX: usize = 32;

/// The roster of a process.
#[derive(Default)]
pub(super) struct Roster(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    members: BTreeMap<usize, Addresses>,
    heard: BTreeMap<usize, Vec<String>>,
    callers: BTreeMap<(usize, ReplicaId), String>,
}

impl Roster {
    /// A shard's group has these members.
    pub(super) fn set_members(&self, shard: usize, members: &Addresses) {
        self.0.lock().members.insert(shard, members.clone());
    }

    /// A shard's members, as their replica here has them.
    pub(super) fn members(&self, shard: usize) -> Addresses {
        self.0.lock().members.get(&shard).cloned().unwrap_or_default()
    }

    /// Where a shard's members are reached.
    pub(super) fn addresses(&self, shard: usize) -> Vec<String> {
        let lists = self.0.lock();
        let members = lists.members.get(&shard).into_iter().flatten();
        let known: Vec<String> =
            members.map(|(_, address)| address.clone()).filter(|address| !address.is_empty()).take(TOLD_MAX).collect();
        let heard = || lists.heard.get(&shard).into_iter().flatten().take(TOLD_MAX).cloned().collect();
        if known.is_empty() {
            heard()
        } else {
            known
        }
    }

    /// Others say that a shard's members are reached here.
    pub(super) fn set_heard(&self, shard: usize, addresses: Vec<String>) {
        self.0.lock().heard.insert(shard, addresses);
    }

    /// Where each shard's members are reached.
    pub(super) fn contacts(&self) -> Vec<Vec<String>> {
        let shards = {
            let lists = self.0.lock();
            lists.members.keys().chain(lists.heard.keys()).max().map_or(0, |last| last + 1)
        };
        (0..shards).map(|shard| self.addresses(shard)).collect()
    }

    /// A replica has called, and said where it is reached.
    pub(super) fn note_caller(&self, shard: usize, from: ReplicaId, address: String) {
        let callers = &mut self.0.lock().callers;
        if callers.len() < CALLERS_MAX || callers.contains_key(&(shard, from)) {
            callers.insert((shard, from), address);
        }
    }

    /// Where one who has called is reached.
    pub(super) fn caller(&self, shard: usize, of: ReplicaId) -> Option<String> {
        self.0.lock().callers.get(&(shard, of)).cloned()
    }
}
