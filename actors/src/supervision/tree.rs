//! The supervision tree: actors and nested supervisors, in start order.
//!
//! Owns: who is whose child, each actor's phase, and walks over the tree. Does not own: any decision.
//! Invariants: an actor is one supervisor's child; start orders only grow; the tree is at most [`DEPTH_MAX`] deep; at
//! most one restart round covers any actor; a round counts exactly the covered actors that are still stopping.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use actinic_gcs::ActorId;

use super::{
    effect::{Cause, SupervisorId},
    policy::{ActorSpec, SupervisorSpec},
    record::Record,
};

/// The most levels of supervisors, so that walks may recurse.
pub(super) const DEPTH_MAX: usize = 64;

/// Where an actor is between two lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It runs.
    Running,
    /// The shell was told to start it.
    Starting,
    /// The shell was told to stop it; what then becomes of it.
    Stopping(Fate),
    /// It is down and will be started alone at this instant.
    Waiting(Duration),
    /// It is down and will be started with its group.
    Stopped,
}

impl Phase {
    /// Whether the shell has, or is about to have, something running for it that was not told to stop.
    pub(super) fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Starting)
    }
}

/// Why an actor is being stopped, and so what becomes of it. How it takes the stop does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is restarted with its group.
    Restart,
    /// An actor linked to it failed; it counts as failed itself.
    Linked(ActorId),
    /// It was killed on purpose.
    Kill,
    /// Nobody needs it any more.
    End,
    /// Its supervisor is going.
    Close(Cause),
}

/// One actor that is not dead.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) supervisor: SupervisorId,
    pub(super) order: u64,
    pub(super) spec: Arc<ActorSpec>,
    pub(super) phase: Phase,
    pub(super) restarts: u32,
    pub(super) record: Record,
}

/// What a supervisor supervises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    Actor(ActorId),
    Supervisor(SupervisorId),
}

/// Several children that are stopped and then restarted together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Children of this start order and later are in the round, with all below them.
    pub(super) from: u64,
    /// The restart waits for this instant.
    pub(super) at: Duration,
    /// How many actors in the round are still stopping.
    pub(super) outstanding: usize,
}

/// Whether a supervisor takes children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// Its children are being stopped for good.
    Closing,
    /// They are gone (the root only; others are forgotten).
    Closed,
}

/// One supervisor.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    /// Its parent and its start order there; none for the root.
    pub(super) parent: Option<(SupervisorId, u64)>,
    pub(super) depth: usize,
    pub(super) spec: SupervisorSpec,
    pub(super) children: BTreeMap<u64, Child>,
    pub(super) record: Record,
    pub(super) round: Option<Round>,
    pub(super) life: Life,
}

/// Everything that is alive.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) members: BTreeMap<ActorId, Member>,
    pub(super) branches: BTreeMap<SupervisorId, Branch>,
    next: u64,
}

impl Tree {
    pub(super) fn new(root: SupervisorSpec) -> Self {
        let mut tree = Self { members: BTreeMap::new(), branches: BTreeMap::new(), next: 1 };
        tree.branches.insert(SupervisorId::ROOT, Branch::new(None, 1, root));
        tree
    }

    /// Adds a running actor as the last child of `supervisor`, which must exist.
    pub(super) fn add_actor(&mut self, actor: ActorId, supervisor: SupervisorId, spec: Arc<ActorSpec>) {
        let order = self.next_number();
        let phase = Phase::Running;
        let member = Member { supervisor, order, spec, phase, restarts: 0, record: Record::default() };
        self.members.insert(actor, member);
        self.branch_mut(supervisor).children.insert(order, Child::Actor(actor));
    }

    /// Adds a supervisor as the last child of `parent`, which must exist.
    pub(super) fn add_branch(&mut self, parent: SupervisorId, spec: SupervisorSpec) -> SupervisorId {
        let number = self.next_number();
        let (id, depth) = (SupervisorId(number), self.branches[&parent].depth + 1);
        self.branches.insert(id, Branch::new(Some((parent, number)), depth, spec));
        self.branch_mut(parent).children.insert(number, Child::Supervisor(id));
        id
    }

    pub(super) fn branch_mut(&mut self, supervisor: SupervisorId) -> &mut Branch {
        self.branches.get_mut(&supervisor).expect("invariant: a supervisor outlives what it supervises")
    }

    pub(super) fn member_mut(&mut self, actor: ActorId) -> &mut Member {
        self.members.get_mut(&actor).expect("invariant: a supervisor's children are members")
    }

    /// The supervisor whose restart round covers the child of `supervisor` with this start order, if any.
    pub(super) fn covering(&self, supervisor: SupervisorId, order: u64) -> Option<SupervisorId> {
        let mut place = Some((supervisor, order));
        while let Some((supervisor, order)) = place {
            let branch = &self.branches[&supervisor];
            if branch.round.is_some_and(|round| order >= round.from) {
                return Some(supervisor);
            }
            place = branch.parent;
        }
        None
    }

    /// All actors below the children of `supervisor` from start order `from` on, in start order, and all supervisors
    /// among them, each before those below it.
    pub(super) fn below(&self, supervisor: SupervisorId, from: u64) -> (Vec<ActorId>, Vec<SupervisorId>) {
        let (mut actors, mut supervisors) = (Vec::new(), Vec::new());
        self.collect(supervisor, from, &mut actors, &mut supervisors);
        (actors, supervisors)
    }

    fn collect(&self, at: SupervisorId, from: u64, actors: &mut Vec<ActorId>, supervisors: &mut Vec<SupervisorId>) {
        for child in self.branches[&at].children.range(from..).map(|(_, child)| *child) {
            match child {
                Child::Actor(actor) => actors.push(actor),
                Child::Supervisor(supervisor) => {
                    supervisors.push(supervisor);
                    self.collect(supervisor, 0, actors, supervisors);
                }
            }
        }
    }

    fn next_number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Asserts the invariants of this file.
    pub(super) fn sanity_check(&self) {
        let (actors, supervisors) = self.below(SupervisorId::ROOT, 0);
        assert_eq!(actors.iter().collect::<BTreeSet<_>>().len(), actors.len(), "an actor has one supervisor");
        assert!(actors.len() == self.members.len() && actors.iter().all(|actor| self.members.contains_key(actor)));
        assert_eq!(supervisors.len() + 1, self.branches.len(), "every supervisor but the root is a child");
        for (actor, member) in &self.members {
            let child = self.branches[&member.supervisor].children.get(&member.order);
            assert_eq!(child, Some(&Child::Actor(*actor)));
            let covered = self.covering(member.supervisor, member.order).is_some();
            assert!(covered || member.phase != Phase::Stopped, "what is down with its group is in a round");
        }
        for (id, branch) in &self.branches {
            assert!(branch.depth <= DEPTH_MAX && branch.children.keys().all(|order| *order < self.next));
            let Some(round) = branch.round else { continue };
            assert_eq!(branch.life, Life::Open, "what is closed restarts nothing");
            if let Some((parent, order)) = branch.parent {
                assert_eq!(self.covering(parent, order), None, "rounds do not nest");
            }
            let (covered, _) = self.below(*id, round.from);
            let stopping = covered.iter().filter(|actor| matches!(self.members[actor].phase, Phase::Stopping(_)));
            assert_eq!(stopping.count(), round.outstanding);
        }
    }
}

impl Branch {
    fn new(parent: Option<(SupervisorId, u64)>, depth: usize, spec: SupervisorSpec) -> Self {
        let (children, record) = (BTreeMap::new(), Record::default());
        Self { parent, depth, spec, children, record, round: None, life: Life::Open }
    }
}
