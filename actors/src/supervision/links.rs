//! Links and death watch.
//!
//! Owns: pairs of actors, found from either side, and how far a failure travels along links. Does not own: what becomes
//! of an actor that is taken down. Invariant: a failure takes down or tells each actor at most once, however the links
//! run, because the whole chain is found at the moment of the failure and what is taken down by it does not fire again.

use std::collections::{BTreeSet, VecDeque};

use actinic_gcs::ActorId;

use super::{
    core::SupervisionCore,
    effect::Effect,
    policy::Exit,
    tree::{Fate, Tree},
};

/// Ordered pairs, found from either side.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    forward: BTreeSet<(ActorId, ActorId)>,
    backward: BTreeSet<(ActorId, ActorId)>,
}

fn after(pairs: &BTreeSet<(ActorId, ActorId)>, first: ActorId) -> impl Iterator<Item = ActorId> + '_ {
    pairs.range((first, ActorId(0))..=(first, ActorId(u128::MAX))).map(|(_, second)| *second)
}

impl Pairs {
    /// Adds a pair; says whether it is new.
    pub(super) fn insert(&mut self, first: ActorId, second: ActorId) -> bool {
        self.backward.insert((second, first));
        self.forward.insert((first, second))
    }

    /// Takes a pair away; says whether it was there.
    pub(super) fn remove(&mut self, first: ActorId, second: ActorId) -> bool {
        self.backward.remove(&(second, first));
        self.forward.remove(&(first, second))
    }

    /// Who comes second after `first`.
    pub(super) fn seconds(&self, first: ActorId) -> Vec<ActorId> {
        after(&self.forward, first).collect()
    }

    /// Who comes first before `second`.
    pub(super) fn firsts(&self, second: ActorId) -> Vec<ActorId> {
        after(&self.backward, second).collect()
    }

    /// Takes every pair of `actor` away.
    pub(super) fn forget(&mut self, actor: ActorId) {
        for second in self.seconds(actor) {
            self.remove(actor, second);
        }
        for first in self.firsts(actor) {
            self.remove(first, actor);
        }
    }

    /// Asserts that both sides agree, and that `holds` of every pair.
    pub(super) fn sanity_check(&self, holds: impl Fn(ActorId, ActorId) -> bool) {
        assert_eq!(self.forward.len(), self.backward.len());
        assert!(self.forward.iter().all(|(a, b)| self.backward.contains(&(*b, *a)) && holds(*a, *b)));
    }
}

/// What a failure does to one actor linked, directly or not, to the one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// It goes down.
    Down(ActorId),
    /// It traps exits: it is told which of its links failed.
    Tell { actor: ActorId, failed: ActorId },
}

impl SupervisionCore {
    /// Whom a failure of `origin` strikes, nearest first. Actors that are down already pass nothing on.
    pub(super) fn struck(&self, origin: ActorId) -> Vec<Strike> {
        struck(&self.tree, &self.links, origin)
    }

    /// Carries out what [`struck`](Self::struck) found, as far as it still applies.
    pub(super) fn strike(&mut self, origin: ActorId, strikes: Vec<Strike>, exit: &Exit, effects: &mut Vec<Effect>) {
        for strike in strikes {
            let (Strike::Down(actor) | Strike::Tell { actor, .. }) = strike;
            if !self.tree.members.get(&actor).is_some_and(|member| member.phase.is_up()) {
                continue;
            }
            match strike {
                Strike::Down(actor) => self.request_stop(actor, Fate::Linked(origin), effects),
                Strike::Tell { actor, failed } => {
                    effects.push(Effect::LinkFailed { actor, failed, exit: exit.clone() });
                }
            }
        }
    }
}

fn struck(tree: &Tree, links: &Pairs, origin: ActorId) -> Vec<Strike> {
    let (mut strikes, mut seen) = (Vec::new(), BTreeSet::from([origin]));
    let mut failing = VecDeque::from([origin]);
    while let Some(failed) = failing.pop_front() {
        let partners = after(&links.forward, failed).chain(after(&links.backward, failed));
        for actor in partners {
            let Some(member) = tree.members.get(&actor).filter(|member| member.phase.is_up()) else {
                continue;
            };
            if !seen.insert(actor) {
                continue;
            }
            if member.spec.trap_exits {
                strikes.push(Strike::Tell { actor, failed });
            } else {
                strikes.push(Strike::Down(actor));
                failing.push_back(actor);
            }
        }
    }
    strikes
}
