//! Who belongs to the groups of this process's replicas, and where each is reached, as far as is known here.
//!
//! Owns: what the parts of a process tell each other of addresses. A replica's links write down its group; the listener
//! writes down who has called, and tells clients of the group. Invariant: bounded.

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
    callers: BTreeMap<(usize, ReplicaId), String>,
}

impl Roster {
    /// A shard's group has these members.
    pub(super) fn set_members(&self, shard: usize, members: &Addresses) {
        self.0.lock().members.insert(shard, members.clone());
    }

    /// Where a shard's members are reached.
    pub(super) fn addresses(&self, shard: usize) -> Vec<String> {
        let lists = self.0.lock();
        let members = lists.members.get(&shard).into_iter().flatten();
        members.map(|(_, address)| address.clone()).filter(|address| !address.is_empty()).take(TOLD_MAX).collect()
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
