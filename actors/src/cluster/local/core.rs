//! Decides who is leased which worker of this node, and what is better done elsewhere.
//!
//! Owns: the demands of this node's processes, those that a global scheduler has placed here, the leases, and this node's
//! resources. A core: processes are numbers to it.
//!
//! Rules. Local first: a demand is met here as far as resources are free; of several that fit, the one that holds the fewest
//! leases comes first, then the oldest. What is still unmet after [`SPILL_AFTER_MS`], or can never be met here, or is to be
//! spread, or has its inputs mostly elsewhere, **spills over** to a global scheduler (`spill`), which places it on other
//! nodes by name; what is bound to another node is placed there at once. Both are told again every [`REFRESH_MS`], and what
//! was placed here and is not told again for [`PLACED_MS_MAX`] is forgotten. A demand that holds nothing for
//! [`RECALL_AFTER_MS`] has one lease recalled from the demand that holds the most.
//!
//! A lease whose worker **blocks** lends its CPU to others, and keeps the rest. When it goes on, it takes the next CPU that
//! is free; until then there is one more busy than there are (as in Ray). So tasks that wait for tasks never use all CPUs up.
//!
//! **Invariants:** what a lease takes was free, and is free again once it ends; a demand never holds more leases than it
//! wants by a grant of ours; who is gone holds and wants nothing, even where a word of his comes late.

mod bundles;
mod demands;
mod doomed;
mod grant;
mod look;
mod spill;
mod unfit;

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::{resources::GPU, JobId, Millis, NodeId, PlacementGroupId, ResourceSet};

use self::{bundles::Groups, demands::Demands};
use crate::{
    cluster::{
        gone::Gone,
        groups::GroupFrame,
        wire::{ClassId, ClassSpec, Demand, JobCode, LeaseFor, LeaseId, NodeLoad, ProcessId, Spilled},
        work::Work,
    },
    placement::{Lease, NodeResources, PlacementCore},
};

/// How long a demand waits for this node before others are asked.
pub const SPILL_AFTER_MS: u64 = 10;
/// How long one that would rather be elsewhere waits for that before this node serves it.
pub const LOCALITY_MS: u64 = 100;
/// Between two tellings of what has spilled over, while it stays the same.
pub const REFRESH_MS: u64 = 1_000;
/// Between two tellings while it changes and is not over.
pub const TELL_EVERY_MS: u64 = 20;
/// How long a placed demand holds if it is not told again.
pub const PLACED_MS_MAX: u64 = 3_500;
/// How long a node that is not connected any more is waited for by those that no other will do for.
pub const LOST_MS_MAX: u64 = 10_000;
/// How long a demand without a lease waits before one is recalled for it.
pub const RECALL_AFTER_MS: u64 = 100;
/// An owner is told what lacks for a demand that holds nothing, and again after so long, as others may have had what was free.
pub const SHORT_AGAIN_MS: u64 = 10;
/// Demands of one owner; classes beyond are refused.
pub const CLASSES_MAX: usize = 4_096;
/// Leases that lend their CPU at once: each is a worker process that waits for others.
pub const LENT_MAX: usize = 1_024;

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum LocalEffect {
    /// Find or start a worker for a lease.
    NeedWorker {
        /// The lease.
        lease: LeaseId,
        /// What it is for.
        purpose: LeaseFor,
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
    /// Tell an owner that these resources lack for a class of its, of which other leases of its hold some.
    Short(ProcessId, ClassId, ResourceSet),
    /// End a worker, and what it runs, for this reason.
    Kill(ProcessId, String),
    /// Tell a global scheduler.
    Spill(Box<Spilled>),
    /// Tell a certain node.
    Place(NodeId, Box<Spilled>),
    /// Tell a node's global scheduler about a group, which may be this one's.
    Group(NodeId, GroupFrame),
    /// Tell a node, which has placed a demand here by name, that this one starts no workers of its job.
    Unfit(NodeId, JobId),
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
    /// Leases that its owner has of other nodes.
    elsewhere: u32,
    work: Work,
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
    /// What the nodes of its placement group were told last.
    shares: BTreeMap<NodeId, u32>,
    /// When it is forgotten, if it was placed.
    until: Option<Millis>,
    recalled: bool,
    /// When its owner was told last what it lacks, since it held something last.
    short_told_at: Option<Millis>,
}

impl Wanted {
    fn unmet(&self) -> u32 {
        self.want.saturating_sub(self.held).saturating_sub(self.elsewhere)
    }
}

/// A worker that serves a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Which.
    pub worker: ProcessId,
    /// Whom.
    pub owner: ProcessId,
    /// Whether what it runs may run again.
    pub retriable: bool,
    /// The lease's number; the newer has the greater.
    pub lease: u64,
}

struct Granted {
    key: Key,
    /// All but its CPUs.
    rest: Lease,
    /// Its CPUs; none while it lends them, or has not got them back yet.
    cpus: Option<Lease>,
    /// How many CPUs it asks for.
    cpu_demand: ResourceSet,
    lends: bool,
    /// The placement group that it is for.
    group: Option<PlacementGroupId>,
    /// The bundle that it is in, as the placement core calls it.
    bundle: Option<PlacementGroupId>,
    worker: Option<ProcessId>,
    recalled: bool,
}

/// The state.
pub struct LocalCore {
    node: NodeId,
    labels: BTreeMap<String, String>,
    placement: PlacementCore,
    wanted: Demands,
    leases: BTreeMap<u64, Granted>,
    /// Leases by their owners and their workers.
    of_process: BTreeSet<(ProcessId, u64)>,
    /// Leases that are to get CPUs back.
    owed: BTreeSet<u64>,
    /// Leases that may be asked back, and how many are.
    recallable: BTreeSet<u64>,
    recalled: usize,
    /// Leases that lend their CPUs.
    lent: usize,
    /// Other nodes that are connected, and what they have in all.
    peers: BTreeMap<NodeId, ResourceSet>,
    /// Those of the same machine, whose objects are read in place.
    neighbours: BTreeSet<NodeId>,
    gone: Gone,
    groups: Groups,
    /// Jobs whose workers cannot be started here for a while, and why.
    unfit: BTreeMap<JobId, String>,
    /// Other nodes that have said that they are unfit for a job, and when.
    unfit_peers: BTreeMap<(NodeId, JobId), Millis>,
    /// Nodes that were here a while ago, and since when they are not.
    lost: BTreeMap<NodeId, Millis>,
    /// Bytes a second at which inputs have come, as a moving average; 0 where none have.
    bandwidth: u64,
    next: u64,
    revision: u64,
    /// When something is due, as of the last pass.
    due: Option<Millis>,
}

impl LocalCore {
    /// A node that has these resources, no labels, and knows no other.
    #[must_use]
    pub fn new(node: NodeId, resources: NodeResources) -> Self {
        let mut placement = PlacementCore::new();
        placement.add_node(node, resources, &mut Vec::new());
        Self {
            node,
            labels: BTreeMap::new(),
            placement,
            wanted: Demands::default(),
            leases: BTreeMap::new(),
            of_process: BTreeSet::new(),
            owed: BTreeSet::new(),
            recallable: BTreeSet::new(),
            recalled: 0,
            lent: 0,
            peers: BTreeMap::new(),
            neighbours: BTreeSet::new(),
            gone: Gone::default(),
            groups: Groups::default(),
            unfit: BTreeMap::new(),
            unfit_peers: BTreeMap::new(),
            lost: BTreeMap::new(),
            bandwidth: 0,
            next: 0,
            revision: 0,
            due: None,
        }
    }

    /// Gives the node its labels.
    #[must_use]
    pub fn with_labels(mut self, labels: BTreeMap<String, String>) -> Self {
        self.labels = labels;
        self
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
        let Demand { class, spec, want, elsewhere, work, revision } = demand;
        if self.gone.contains(owner) {
            return;
        }
        if let Some(why) = self.nowhere(now, &code.job, &spec) {
            return effects.push(LocalEffect::Infeasible(owner, class, why));
        }
        let wanted = Spilled { owner, code: code.clone(), class, spec, want, work, revision };
        self.want(now, false, wanted, elsewhere);
    }

    /// A demand was placed here, or is told again.
    pub fn on_place(&mut self, now: Millis, placed: Spilled) {
        let from_nowhere = placed.owner.node != self.node && !self.peers.contains_key(&placed.owner.node);
        // Nobody would ever return a lease of theirs.
        if !from_nowhere && !self.gone.contains(placed.owner) {
            self.want(now, true, placed, 0);
        }
    }

    fn want(&mut self, now: Millis, placed: bool, told: Spilled, elsewhere: u32) {
        let Spilled { owner, code, class, spec, want, work, revision } = told;
        let key = Key { owner, class, placed };
        // A keeper of actors has a class for each of them.
        let full = self.wanted.of_owner(owner) >= CLASSES_MAX && !owner.is_manager();
        if self.wanted.get(&key).is_none() && (want == 0 || full) {
            return;
        }
        let until = placed.then_some(Millis(now.0 + PLACED_MS_MAX));
        let ticket = self.number();
        let wanted = self.wanted.change_or(key, || Wanted {
            code,
            spec,
            want: 0,
            elsewhere: 0,
            work: Work::default(),
            revision: 0,
            held: 0,
            ticket,
            unmet_since: None,
            spilled: 0,
            told_at: now,
            owed: false,
            shares: BTreeMap::new(),
            until,
            recalled: false,
            short_told_at: None,
        });
        if revision >= wanted.revision {
            (wanted.want, wanted.elsewhere, wanted.revision, wanted.until) = (want, elsewhere, revision, until);
            self.wanted.set_work(&key, work);
        }
    }

    /// A worker has been found for a lease.
    pub fn on_worker(&mut self, lease: LeaseId, worker: ProcessId, effects: &mut Vec<LocalEffect>) {
        let Some(granted) = self.leases.get_mut(&lease.number) else { return effects.push(LocalEffect::Ended(lease)) };
        self.of_process.insert((worker, lease.number));
        // An actor keeps its lease for life.
        if !granted.recalled && !granted.key.owner.is_manager() {
            self.recallable.insert(lease.number);
        }
        granted.worker = Some(worker);
        let gpus = granted.rest.devices(GPU).iter().map(|share| share.index).collect();
        let Key { owner, class, .. } = granted.key;
        effects.push(LocalEffect::Grant { owner, class, lease, worker, gpus });
    }

    /// The owner needs a lease no more.
    pub fn on_return(&mut self, lease: LeaseId, effects: &mut Vec<LocalEffect>) {
        let Some(key) = self.leases.get(&lease.number).map(|granted| granted.key) else { return };
        self.end(lease.number);
        // That it wants no more may be told on a longer way, so others come first.
        let last_in_line = self.number();
        if let Some(wanted) = self.wanted.change(&key) {
            wanted.ticket = last_in_line;
        }
        effects.push(LocalEffect::Ended(lease));
    }

    /// The worker of a lease waits for others: its CPUs are free meanwhile.
    pub fn on_blocked(&mut self, lease: LeaseId) {
        let Some(granted) = self.leases.get_mut(&lease.number).filter(|_| self.lent < LENT_MAX) else { return };
        if let Some(cpus) = granted.cpus.take() {
            self.placement.release(cpus, &mut Vec::new());
            granted.lends = true;
            self.lent += 1;
        }
    }

    /// It goes on, and gets its CPUs back as soon as some are free.
    pub fn on_unblocked(&mut self, lease: LeaseId) {
        let Some(granted) = self.leases.get_mut(&lease.number) else { return };
        if std::mem::replace(&mut granted.lends, false) {
            self.lent -= 1;
            self.owed.insert(lease.number);
        }
    }

    /// Inputs have come to this node: so many bytes in so many microseconds.
    pub fn on_transfer(&mut self, bytes: u64, took_us: u64) {
        let measured = bytes.saturating_mul(1_000_000) / took_us.max(1);
        self.bandwidth = if self.bandwidth == 0 { measured } else { (self.bandwidth / 8 * 7) + measured / 8 }.max(1);
    }

    /// A process of any node is gone.
    pub fn on_gone(&mut self, process: ProcessId, effects: &mut Vec<LocalEffect>) {
        self.gone.insert(process);
        self.forget(process, effects);
    }

    /// Takes from a process what it holds and wants, and from all what it serves.
    fn forget(&mut self, process: ProcessId, effects: &mut Vec<LocalEffect>) {
        let ended = self.of_process.range((process, 0)..=(process, u64::MAX));
        for number in ended.map(|(_, number)| *number).collect::<Vec<u64>>() {
            self.end(number);
            effects.push(LocalEffect::Ended(LeaseId { node: self.node, number }));
        }
        self.wanted.remove_owner(process);
    }

    /// Another node is there, which has this in all.
    pub fn on_peer(&mut self, node: NodeId, has: ResourceSet) {
        self.peers.insert(node, has);
        self.lost.remove(&node);
    }

    /// Another node, which is there, has memory that is read in place here.
    pub fn on_neighbour(&mut self, node: NodeId) {
        self.neighbours.insert(node);
    }

    /// It has not, though it was thought so.
    pub fn on_stranger(&mut self, node: NodeId) {
        self.neighbours.remove(&node);
    }

    /// Another node is gone, with all its processes; it may have been cut off only.
    pub fn on_peer_gone(&mut self, now: Millis, node: NodeId, effects: &mut Vec<LocalEffect>) {
        if self.peers.remove(&node).is_some() {
            self.lost.insert(node, now);
        }
        self.neighbours.remove(&node);
        let holders = self.leases.values().map(|granted| granted.key.owner);
        let gone: BTreeSet<ProcessId> =
            self.wanted.owners().chain(holders).filter(|owner| owner.node == node).collect();
        // They may live on, and be heard of again.
        gone.into_iter().for_each(|owner| self.forget(owner, effects));
        self.groups_lose_node(node, effects);
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    /// One pass over all that waits. Call it once after a batch of events, and when [`LocalCore::deadline`] has come.
    pub fn dispatch(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        self.wanted.forget_late(now);
        self.forget_uncommitted(now);
        self.end_doomed(now, effects);
        self.unbind(now, effects);
        self.take_cpus_back();
        self.place_in_groups(now, effects);
        self.grant_in_turn(now, effects);
        self.spill(now, effects);
        self.tell_who_is_short(now, effects);
        self.recall(now, effects);
        self.wanted.settle();
        self.due = self.next_due(now);
    }
}

#[cfg(test)]
mod tests;
