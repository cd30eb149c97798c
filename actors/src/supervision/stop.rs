//! Deaths: stopping an actor, burying it, closing a supervisor.
//!
//! Owns: everything that ends for good. Invariants: a dead actor is no member, is linked to nobody and watches nobody, so
//! no effect names it again; each watcher is told exactly once; a closing supervisor takes no children and is forgotten
//! with its last one.

use std::collections::BTreeMap;

use actinic_gcs::ActorId;

use super::{
    core::{SupervisionCore, Timer},
    effect::{Cause, Effect, SupervisorId},
    policy::Exit,
    tree::{Child, Fate, Life, Phase},
};

/// How an actor ended that is dead.
#[derive(Clone, Debug)]
pub(super) struct Grave {
    pub(super) exit: Exit,
    pub(super) restarts: u32,
    number: u64,
}

/// The latest dead actors, so that who asks late is still told. Bounded; the oldest is forgotten first.
#[derive(Clone, Debug, Default)]
pub(super) struct Graveyard {
    graves: BTreeMap<ActorId, Grave>,
    by_age: BTreeMap<u64, ActorId>,
    next: u64,
}

impl Graveyard {
    pub(super) fn find(&self, actor: ActorId) -> Option<&Grave> {
        self.graves.get(&actor)
    }

    pub(super) fn insert(&mut self, actor: ActorId, exit: Exit, restarts: u32) {
        self.graves.insert(actor, Grave { exit, restarts, number: self.next });
        self.by_age.insert(self.next, actor);
        self.next += 1;
        if self.by_age.len() > SupervisionCore::GRAVES_MAX {
            if let Some((_, oldest)) = self.by_age.pop_first() {
                self.graves.remove(&oldest);
            }
        }
    }

    pub(super) fn remove(&mut self, actor: ActorId) -> bool {
        let Some(grave) = self.graves.remove(&actor) else {
            return false;
        };
        self.by_age.remove(&grave.number);
        true
    }

    pub(super) fn sanity_check(&self) {
        assert!(self.graves.len() == self.by_age.len() && self.graves.len() <= SupervisionCore::GRAVES_MAX);
        assert!(self.graves.iter().all(|(actor, grave)| self.by_age.get(&grave.number) == Some(actor)));
    }
}

impl SupervisionCore {
    /// Tells an actor that is up to stop, or changes what becomes of one that is stopping.
    pub(super) fn request_stop(&mut self, actor: ActorId, fate: Fate, effects: &mut Vec<Effect>) {
        let member = self.tree.member_mut(actor);
        let (supervisor, order, was) = (member.supervisor, member.order, member.phase);
        member.phase = Phase::Stopping(fate);
        if was.is_up() {
            effects.push(Effect::Stop { actor });
            if let Some(of) = self.tree.covering(supervisor, order) {
                let round = self.tree.branch_mut(of).round.as_mut();
                round.expect("invariant: a round was just found here").outstanding += 1;
            }
        }
    }

    /// Ends an actor that is down for good. `fire`: whether its links are to hear of an abnormal end.
    pub(super) fn bury(&mut self, actor: ActorId, cause: Cause, exit: Exit, fire: bool, effects: &mut Vec<Effect>) {
        let strikes = if fire && exit.is_abnormal() { self.struck(actor) } else { Vec::new() };
        let Some(member) = self.tree.members.remove(&actor) else {
            return;
        };
        if let Phase::Waiting(due) = member.phase {
            self.timers.remove(&(due, Timer::Actor(actor)));
        }
        self.tree.branch_mut(member.supervisor).children.remove(&member.order);
        let watchers = self.watches.seconds(actor);
        self.watches.forget(actor);
        self.links.forget(actor);
        self.graves.insert(actor, exit.clone(), member.restarts);
        effects.push(Effect::Dead { actor, cause, exit: exit.clone() });
        for watcher in watchers {
            effects.push(Effect::Notify { watcher, watched: actor, exit: exit.clone() });
        }
        self.strike(actor, strikes, &exit, effects);
        self.reap(member.supervisor, effects);
    }

    /// Stops all below `supervisor` for good, last started first.
    pub(super) fn close(&mut self, supervisor: SupervisorId, cause: Cause, effects: &mut Vec<Effect>) {
        let (actors, mut supervisors) = self.tree.below(supervisor, 0);
        supervisors.insert(0, supervisor);
        for branch in &supervisors {
            self.take_round(*branch);
            self.tree.branch_mut(*branch).life = Life::Closing;
        }
        let mut down = Vec::new();
        for actor in actors.into_iter().rev() {
            match self.tree.members[&actor].phase {
                Phase::Waiting(_) | Phase::Stopped => down.push(actor),
                Phase::Stopping(Fate::Kill | Fate::End | Fate::Close(_)) => {}
                _ => self.request_stop(actor, Fate::Close(cause), effects),
            }
        }
        let exit = if cause == Cause::SupervisorStopped { Exit::Normal } else { Exit::Killed };
        for actor in down {
            self.bury(actor, cause, exit.clone(), false, effects);
        }
        for branch in supervisors.into_iter().rev() {
            self.reap(branch, effects);
        }
    }

    /// Forgets a closing supervisor without children, and its parents in turn.
    fn reap(&mut self, supervisor: SupervisorId, effects: &mut Vec<Effect>) {
        let mut next = Some(supervisor);
        while let Some(supervisor) = next.take() {
            let Some(branch) = self.tree.branches.get_mut(&supervisor) else {
                return;
            };
            if branch.life != Life::Closing || !branch.children.is_empty() {
                return;
            }
            branch.life = Life::Closed;
            effects.push(Effect::SupervisorGone { supervisor });
            if let Some((parent, order)) = branch.parent {
                self.tree.branches.remove(&supervisor);
                let child = self.tree.branch_mut(parent).children.remove(&order);
                debug_assert_eq!(child, Some(Child::Supervisor(supervisor)));
                next = Some(parent);
            }
        }
    }
}
