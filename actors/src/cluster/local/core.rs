//! Decides who is leased which worker of this node, and what is better done elsewhere.
//!
//! Owns: the demands of this node's processes, those that a global scheduler has placed here, the leases, and this node's
//! resources. A core: processes are numbers to it.
//!
//! Rules. Local first: a demand is met here as far as resources are free; of several that fit, the one that holds the fewest
//! leases comes first, then the oldest. What is still unmet after [`SPILL_AFTER_MS`], or can never be met here, or is to be
//! spread, **spills over** to a global scheduler, which places it on other nodes by name; what is bound to another node is
//! placed there at once. Both are told again every [`REFRESH_MS`], and what was placed here and is not told again for
//! [`PLACED_MS_MAX`] is forgotten. A demand that holds
//! nothing for [`RECALL_AFTER_MS`] has one lease recalled from the demand that holds the most.
//!
//! **Invariants:** what a lease takes was free, and is free again once it ends; a demand never holds more leases than it
//! wants by a grant of ours; who is gone holds and wants nothing, even where a word of his comes late.

mod gone;

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::{resources::GPU, Millis, NodeId, ResourceSet};

use self::gone::Gone;
use crate::{
    cluster::wire::{ClassId, ClassSpec, Demand, JobCode, LeaseId, NodeLoad, ProcessId, Spilled},
    options::SchedulingStrategy,
    placement::{Lease, NodeResources, PlacementCore, Refusal},
};

/// How long a demand waits for this node before others are asked.
pub const SPILL_AFTER_MS: u64 = 10;
/// Between two tellings of what has spilled over, while it stays the same.
pub const REFRESH_MS: u64 = 1_000;
/// Between two tellings while it changes and is not over.
pub const TELL_EVERY_MS: u64 = 20;
/// How long a placed demand holds if it is not told again.
pub const PLACED_MS_MAX: u64 = 3_500;
/// How long a demand without a lease waits before one is recalled for it.
pub const RECALL_AFTER_MS: u64 = 100;
/// Demands of one owner; classes beyond are refused.
pub const CLASSES_MAX: usize = 4_096;

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum LocalEffect {
    /// Find or start a worker for a lease.
    NeedWorker {
        /// The lease.
        lease: LeaseId,
        /// Whose code it runs.
        code: Box<JobCode>,
    },
    /// The lease has its worker: tell the owner.
    Grant {
        /// Whom.
        owner: ProcessId,
        /// For which class.
        class: ClassId,
        /// The lease.
        lease: LeaseId,
        /// The worker.
        worker: ProcessId,
        /// Accelerators assigned.
        gpus: Vec<u32>,
    },
    /// The lease has ended: its worker is free for others, or no longer needed.
    Ended(LeaseId),
    /// Ask the owner for a lease.
    Recall(ProcessId, LeaseId),
    /// Tell a global scheduler.
    Spill(Box<Spilled>),
    /// Tell a certain node.
    Place(NodeId, Box<Spilled>),
    /// Tell the owner that this can never be.
    Infeasible(ProcessId, ClassId, String),
}

/// Whose demand, and how it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    owner: ProcessId,
    class: ClassId,
    /// Whether a global scheduler, or the owner's node, has placed it here.
    placed: bool,
}

struct Wanted {
    code: JobCode,
    spec: ClassSpec,
    want: u32,
    revision: u64,
    held: u32,
    ticket: u64,
    /// Since when something of it is unmet; none while all is met.
    unmet_since: Option<Millis>,
    /// What a global scheduler was told last, and when.
    spilled: u32,
    told_at: Millis,
    /// Whether it has changed since, and is to be told soon.
    owed: bool,
    /// When it is forgotten, if it was placed.
    until: Option<Millis>,
    recalled: bool,
}

struct Granted {
    key: Key,
    held: Lease,
    worker: Option<ProcessId>,
    recalled: bool,
}

/// The state.
pub struct LocalCore {
    node: NodeId,
    placement: PlacementCore,
    wanted: BTreeMap<Key, Wanted>,
    leases: BTreeMap<u64, Granted>,
    peers: BTreeSet<NodeId>,
    gone: Gone,
    next: u64,
    revision: u64,
}

impl LocalCore {
    /// A node that has these resources, and knows no other.
    #[must_use]
    pub fn new(node: NodeId, resources: NodeResources) -> Self {
        let mut placement = PlacementCore::new();
        placement.add_node(node, resources, &mut Vec::new());
        let (wanted, leases) = (BTreeMap::new(), BTreeMap::new());
        let (peers, gone) = (BTreeSet::new(), Gone::default());
        Self { node, placement, wanted, leases, peers, gone, next: 0, revision: 0 }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    // --- events ----------------------------------------------------------------------------------------------------

    /// A process of this node says what it wants. Call [`LocalCore::dispatch`] after a batch.
    pub fn on_demand(
        &mut self,
        now: Millis,
        owner: ProcessId,
        code: &JobCode,
        demand: Demand,
        effects: &mut Vec<LocalEffect>,
    ) {
        let Demand { class, spec, want, revision } = demand;
        if self.gone.contains(owner) {
            return;
        }
        if let Some(why) = self.nowhere(&spec) {
            return effects.push(LocalEffect::Infeasible(owner, class, why));
        }
        self.want(now, Key { owner, class, placed: false }, code, &spec, want, revision, None);
    }

    /// A demand was placed here, or is told again.
    pub fn on_place(&mut self, now: Millis, placed: Spilled) {
        let Spilled { owner, code, class, spec, want, revision } = placed;
        let from_nowhere = owner.node != self.node && !self.peers.contains(&owner.node);
        // Nobody would ever return a lease of theirs.
        if from_nowhere || self.gone.contains(owner) {
            return;
        }
        let until = Some(Millis(now.0 + PLACED_MS_MAX));
        self.want(now, Key { owner, class, placed: true }, &code, &spec, want, revision, until);
    }

    #[allow(clippy::too_many_arguments, reason = "one demand, field by field")]
    fn want(
        &mut self,
        now: Millis,
        key: Key,
        code: &JobCode,
        spec: &ClassSpec,
        want: u32,
        revision: u64,
        until: Option<Millis>,
    ) {
        let classes = self.wanted.range(Key { class: ClassId(0), placed: false, ..key }..);
        let known = classes.take_while(|(other, _)| other.owner == key.owner).take(CLASSES_MAX).count();
        if !self.wanted.contains_key(&key) && (want == 0 || known >= CLASSES_MAX) {
            return;
        }
        let ticket = self.number();
        let wanted = self.wanted.entry(key).or_insert_with(|| Wanted {
            code: code.clone(),
            spec: spec.clone(),
            want: 0,
            revision: 0,
            held: 0,
            ticket,
            unmet_since: None,
            spilled: 0,
            told_at: now,
            owed: false,
            until,
            recalled: false,
        });
        if revision >= wanted.revision {
            (wanted.want, wanted.revision, wanted.until) = (want, revision, until);
        }
    }

    /// A worker has been found for a lease.
    pub fn on_worker(&mut self, lease: LeaseId, worker: ProcessId, effects: &mut Vec<LocalEffect>) {
        let Some(granted) = self.leases.get_mut(&lease.number) else { return effects.push(LocalEffect::Ended(lease)) };
        granted.worker = Some(worker);
        let gpus = granted.held.devices(GPU).iter().map(|share| share.index).collect();
        let Key { owner, class, .. } = granted.key;
        effects.push(LocalEffect::Grant { owner, class, lease, worker, gpus });
    }

    /// No worker can be had for a lease.
    pub fn on_no_worker(&mut self, lease: LeaseId, reason: &str, effects: &mut Vec<LocalEffect>) {
        let Some(granted) = self.leases.get(&lease.number) else { return };
        let Key { owner, class, .. } = granted.key;
        effects.push(LocalEffect::Infeasible(owner, class, reason.to_owned()));
        self.end(lease.number);
        // What it holds is still counted; it wants no more.
        let of_class = |key: &Key| (key.owner, key.class) == (owner, class);
        self.wanted.iter_mut().filter(|(key, _)| of_class(key)).for_each(|(_, wanted)| wanted.want = 0);
    }

    /// The owner needs a lease no more.
    pub fn on_return(&mut self, lease: LeaseId, effects: &mut Vec<LocalEffect>) {
        if self.end(lease.number) {
            effects.push(LocalEffect::Ended(lease));
        }
    }

    /// A process of any node is gone.
    pub fn on_gone(&mut self, process: ProcessId, effects: &mut Vec<LocalEffect>) {
        self.gone.insert(process);
        self.forget(process, effects);
    }

    /// Takes from a process what it holds and wants, and from all what it serves.
    fn forget(&mut self, process: ProcessId, effects: &mut Vec<LocalEffect>) {
        let owned = |granted: &Granted| granted.key.owner == process || granted.worker == Some(process);
        let ended: Vec<u64> =
            self.leases.iter().filter(|(_, granted)| owned(granted)).map(|(number, _)| *number).collect();
        for number in ended {
            self.end(number);
            effects.push(LocalEffect::Ended(LeaseId { node: self.node, number }));
        }
        self.wanted.retain(|key, _| key.owner != process);
    }

    /// Another node is there.
    pub fn on_peer(&mut self, node: NodeId) {
        self.peers.insert(node);
    }

    /// Another node is gone, with all its processes.
    pub fn on_peer_gone(&mut self, node: NodeId, effects: &mut Vec<LocalEffect>) {
        self.peers.remove(&node);
        let owners: BTreeSet<ProcessId> = self.wanted.keys().map(|key| key.owner).collect();
        let holders = self.leases.values().map(|granted| granted.key.owner);
        let gone: BTreeSet<ProcessId> = owners.into_iter().chain(holders).filter(|owner| owner.node == node).collect();
        // They may live on, and be heard of again.
        gone.into_iter().for_each(|owner| self.forget(owner, effects));
        self.unbind(effects);
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    /// One pass over all that is wanted. Call it once after a batch of events, and when [`LocalCore::deadline`] has come.
    pub fn dispatch(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        self.wanted.retain(|_, wanted| wanted.until.is_none_or(|until| now < until) || wanted.held > 0);
        let mut stuck: BTreeSet<Key> = BTreeSet::new();
        while let Some(key) = self.neediest(&stuck) {
            if !self.grant(key, effects) {
                stuck.insert(key);
            }
        }
        self.spill(now, effects);
        self.recall(now, effects);
        self.wanted.retain(|_, wanted| wanted.want > 0 || wanted.held > 0 || wanted.spilled > 0);
    }

    /// The unmet demand that holds the fewest leases, the oldest of them.
    fn neediest(&self, stuck: &BTreeSet<Key>) -> Option<Key> {
        let here = |key: &Key, wanted: &Wanted| {
            key.placed || wanted.spec.strategy != SchedulingStrategy::Spread && self.bound_to(&wanted.spec).is_none()
        };
        self.wanted
            .iter()
            .filter(|(key, wanted)| wanted.held < wanted.want && here(key, wanted) && !stuck.contains(key))
            .min_by_key(|(_, wanted)| (wanted.held, wanted.ticket))
            .map(|(key, _)| *key)
    }

    fn grant(&mut self, key: Key, effects: &mut Vec<LocalEffect>) -> bool {
        let Some(wanted) = self.wanted.get_mut(&key) else { return false };
        let Ok(held) = self.placement.allocate_on(self.node, &wanted.spec.demand) else { return false };
        wanted.held += 1;
        let code = Box::new(wanted.code.clone());
        let number = self.number();
        self.leases.insert(number, Granted { key, held, worker: None, recalled: false });
        effects.push(LocalEffect::NeedWorker { lease: LeaseId { node: self.node, number }, code });
        true
    }

    /// The other node to which a demand is bound, while that is there.
    fn bound_to(&self, spec: &ClassSpec) -> Option<NodeId> {
        match spec.strategy {
            SchedulingStrategy::NodeAffinity { node, .. } if self.peers.contains(&node) => Some(node),
            _ => None,
        }
    }

    /// Why a demand can be met nowhere, if it is bound to a node that is not there.
    fn nowhere(&self, spec: &ClassSpec) -> Option<String> {
        match spec.strategy {
            SchedulingStrategy::NodeAffinity { node, soft: false }
                if node != self.node && !self.peers.contains(&node) =>
            {
                Some(format!("node {node} is not there, and no other will do"))
            }
            _ => None,
        }
    }

    /// Gives up demands that were bound to a node that has gone.
    fn unbind(&mut self, effects: &mut Vec<LocalEffect>) {
        let hopeless = self.wanted.iter().filter(|(key, wanted)| !key.placed && wanted.want > 0);
        let hopeless = hopeless.filter_map(|(key, wanted)| Some((*key, self.nowhere(&wanted.spec)?)));
        for (key, why) in hopeless.collect::<Vec<_>>() {
            if let Some(wanted) = self.wanted.get_mut(&key) {
                wanted.want = 0;
            }
            effects.push(LocalEffect::Infeasible(key.owner, key.class, why));
        }
    }

    /// Ends a lease; whether there was one.
    fn end(&mut self, number: u64) -> bool {
        let Some(granted) = self.leases.remove(&number) else { return false };
        self.placement.release(granted.held, &mut Vec::new());
        if let Some(wanted) = self.wanted.get_mut(&granted.key) {
            wanted.held -= 1;
            if granted.recalled {
                wanted.recalled = false;
            }
        }
        true
    }

    /// Tells a global scheduler of what is unmet for long, and again from time to time.
    fn spill(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        let mut wanted = std::mem::take(&mut self.wanted);
        for (key, wanted) in &mut wanted {
            let unmet = wanted.want.saturating_sub(wanted.held);
            if unmet == 0 {
                wanted.unmet_since = None;
            } else if wanted.unmet_since.is_none() {
                wanted.unmet_since = Some(now);
            }
            if !key.placed {
                self.spill_one(now, *key, wanted, effects);
            }
        }
        self.wanted = wanted;
    }

    fn spill_one(&mut self, now: Millis, key: Key, wanted: &mut Wanted, effects: &mut Vec<LocalEffect>) {
        let unmet = wanted.want.saturating_sub(wanted.held);
        let bound = self.bound_to(&wanted.spec);
        let elsewhere = wanted.spec.strategy == SchedulingStrategy::Spread || bound.is_some();
        let waited = wanted.unmet_since.is_some_and(|since| now.0 >= since.0 + SPILL_AFTER_MS);
        let never = || self.placement.can_ever_fit(&wanted.spec.demand).is_err();
        let abroad = if unmet > 0 && (elsewhere || waited || never()) { unmet } else { 0 };
        if self.peers.is_empty() && !elsewhere && wanted.spilled == 0 {
            return;
        }
        let since_told = now.0.saturating_sub(wanted.told_at.0);
        let changed = abroad != wanted.spilled;
        // While an owner works off a long queue it changes all the time.
        let soon = abroad > 0 && wanted.spilled > 0 && since_told < TELL_EVERY_MS;
        wanted.owed = changed && soon;
        if wanted.owed || !changed && (wanted.spilled == 0 || since_told < REFRESH_MS) {
            return;
        }
        (wanted.spilled, wanted.told_at) = (abroad, now);
        self.revision += 1;
        let (code, spec, revision) = (wanted.code.clone(), wanted.spec.clone(), self.revision);
        let told = Box::new(Spilled { owner: key.owner, code, class: key.class, spec, want: abroad, revision });
        effects.push(match bound {
            Some(node) => LocalEffect::Place(node, told),
            None => LocalEffect::Spill(told),
        });
    }

    /// For each demand that holds nothing for long, one lease of the one that holds the most is asked back.
    fn recall(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        let starving: Vec<(Key, ResourceSet)> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.held == 0 && wanted.want > 0)
            .filter(|(_, wanted)| wanted.unmet_since.is_some_and(|since| now.0 >= since.0 + RECALL_AFTER_MS))
            .filter(|(_, wanted)| self.placement.can_ever_fit(&wanted.spec.demand).is_ok())
            .map(|(key, wanted)| (*key, wanted.spec.demand.clone()))
            .collect();
        let under_way = self.leases.values().filter(|granted| granted.recalled).count();
        for (key, _) in starving.into_iter().skip(under_way) {
            let richest = self
                .leases
                .iter()
                .filter(|(_, granted)| granted.key != key && !granted.recalled && granted.worker.is_some())
                .max_by_key(|(number, granted)| {
                    (self.wanted.get(&granted.key).map_or(0, |wanted| wanted.held), u64::MAX - **number)
                })
                .map(|(number, _)| *number);
            let Some(number) = richest else { return };
            let Some(granted) = self.leases.get_mut(&number) else { return };
            granted.recalled = true;
            effects.push(LocalEffect::Recall(granted.key.owner, LeaseId { node: self.node, number }));
        }
    }

    // --- getters ---------------------------------------------------------------------------------------------------

    /// How loaded the node is.
    #[must_use]
    pub fn load(&self, workers: u32, revision: u64) -> NodeLoad {
        let free = self.placement.node(self.node).map(|node| node.free().clone()).unwrap_or_default();
        let waiting = self.wanted.values().map(|wanted| wanted.want.saturating_sub(wanted.held)).sum();
        NodeLoad { free, waiting, workers, revision }
    }

    /// When something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let mut due: Option<Millis> = None;
        for (key, wanted) in &self.wanted {
            let mut at = |millis: u64| due = Some(due.map_or(Millis(millis), |due| due.min(Millis(millis))));
            if let Some(since) = wanted.unmet_since {
                if wanted.spilled == 0 && !key.placed && !self.peers.is_empty() {
                    at(since.0 + SPILL_AFTER_MS);
                }
                if wanted.held == 0 {
                    at(since.0 + RECALL_AFTER_MS);
                }
            }
            if wanted.spilled > 0 {
                at(wanted.told_at.0 + if wanted.owed { TELL_EVERY_MS } else { REFRESH_MS });
            }
            if let Some(until) = wanted.until {
                at(until.0);
            }
        }
        due
    }

    /// What waits here, for people.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        let unmet = self.wanted.iter().filter(|(_, wanted)| wanted.held < wanted.want);
        unmet
            .map(|(key, wanted)| {
                let demand = &wanted.spec.demand;
                let missing = wanted.want - wanted.held;
                let why = match self.placement.can_ever_fit(demand) {
                    Err(never) if self.peers.is_empty() => format!("; {never}; a node that has it would start it"),
                    Err(never) => format!("; not on this node: {never}"),
                    Ok(()) => String::new(),
                };
                format!("{}: {missing} workers with {demand}{why}", key.owner)
            })
            .collect()
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        self.placement.sanity_check();
        for (key, wanted) in &self.wanted {
            let held = self.leases.values().filter(|granted| granted.key == *key).count();
            assert_eq!(held, wanted.held as usize, "the leases of a demand are counted");
        }
    }
}

/// Why a refusal may pass.
#[must_use]
pub fn is_final(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Infeasible(_))
}

#[cfg(test)]
mod tests;
