//! What becomes of actors whose worker, node or owner is lost.
//!
//! Owns: restarts and deaths. Invariant: a dead actor has given its lease and its demand back, and all who watch it are told.

use actinic_gcs::{
    spec::{ActorDeath, Lifetime},
    tables::ActorStep,
    ActorId, Millis, NodeId,
};

use super::{unwanted, ActorCore, ActorEffect, Phase, DEAD_MAX};
use crate::{
    cluster::wire::{ActorWhere, LeaseId, ProcessId},
    supervision::{Exit, RestartPolicy},
};

impl ActorCore {
    // --- events: losses ------------------------------------------------------------------------------------------------

    /// A process of any node is gone.
    pub fn on_gone(&mut self, now: Millis, process: ProcessId, reason: &str, effects: &mut Vec<ActorEffect>) {
        self.lost(now, &|other| other == process, reason, effects);
    }

    /// Another node is there.
    pub fn on_node(&mut self, node: NodeId) {
        self.phases.add_node(node);
    }

    /// Another node is gone, with all its processes.
    pub fn on_node_gone(&mut self, now: Millis, node: NodeId, reason: &str, effects: &mut Vec<ActorEffect>) {
        self.phases.remove_node(node);
        self.lost(now, &|process| process.node == node, &format!("its node was lost: {reason}"), effects);
        for actor in self.placing.values() {
            let Some(record) = self.actors.get_mut(actor) else { continue };
            if let Phase::Placing { class, on: Some(there), .. } = record.phase {
                if there == node {
                    // Told again, of another node, at the next look.
                    let again = Phase::Placing { class, told_at: Millis(0), on: None };
                    self.phases.turn(*actor, record, again);
                }
            }
        }
    }

    /// An actor's lease is wanted back, since its placement group is gone: so is the actor.
    pub fn on_recalled(&mut self, lease: LeaseId, effects: &mut Vec<ActorEffect>) {
        let of_lease = |phase: &Phase| matches!(phase, Phase::Held(held) if held.lease == lease);
        let actor = self.actors.iter().find(|(_, record)| of_lease(&record.phase)).map(|(actor, _)| *actor);
        if let Some(actor) = actor {
            self.on_end(actor, "its placement group was removed", false, effects);
        }
    }

    fn lost(&mut self, now: Millis, is_lost: &dyn Fn(ProcessId) -> bool, reason: &str, effects: &mut Vec<ActorEffect>) {
        let (mut ended, mut hostless) = (Vec::new(), Vec::new());
        for (actor, record) in &mut self.actors {
            record.watchers.retain(|watcher| !is_lost(*watcher));
            if is_lost(record.new.owner) && record.new.spec.lifetime != Lifetime::Detached {
                ended.push(*actor);
            } else if matches!(&record.phase, Phase::Held(held) if is_lost(held.host)) {
                hostless.push(*actor);
            }
        }
        for (_, waiting) in self.unknown.values_mut() {
            waiting.retain(|watcher| !is_lost(*watcher));
        }
        for actor in ended {
            self.on_end(actor, &format!("its owner is gone: {reason}"), false, effects);
        }
        for actor in hostless {
            self.host_lost(now, actor, reason, effects);
        }
    }

    fn host_lost(&mut self, now: Millis, actor: ActorId, reason: &str, effects: &mut Vec<ActorEffect>) {
        let Some(record) = self.actors.get_mut(&actor) else { return };
        if record.drain {
            return self.bury(actor, "no handle to it was left", Exit::Normal, ActorDeath::OutOfScope, effects);
        }
        let options = &record.new.options;
        if let Some(window) = options.restart_window {
            let since = now.0.saturating_sub(u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
            record.restarts.retain(|at| at.0 >= since);
        }
        let spent = options.max_restarts.is_some_and(|max| record.restarts.len() as u64 >= u64::from(max));
        if spent || options.restart_policy == RestartPolicy::Never {
            let message = format!("its worker was lost: {reason}");
            let exit = Exit::Failed(message.clone());
            return self.bury(actor, &message.clone(), exit, ActorDeath::RestartsSpent { message }, effects);
        }
        let wait = options.backoff.delay(record.restarts.len() as u32, 0, actor.0);
        effects.push(ActorEffect::Step(actor, record.incarnation, ActorStep::Restarting));
        record.incarnation += 1;
        record.restarts.push_back(now);
        let until = Millis(now.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)));
        self.phases.turn(actor, record, Phase::BackOff(until));
        for watcher in &record.watchers {
            let place = ActorWhere::Away { reason: reason.to_owned() };
            effects.push(ActorEffect::Tell(*watcher, actor, place));
        }
    }

    /// The actor is dead for good.
    pub(super) fn bury(
        &mut self,
        actor: ActorId,
        reason: &str,
        exit: Exit,
        death: ActorDeath,
        effects: &mut Vec<ActorEffect>,
    ) {
        let Some(record) = self.actors.remove(&actor) else { return };
        self.phases.leave(actor, &record.phase);
        match &record.phase {
            Phase::Held(held) => effects.push(ActorEffect::Return(held.lease)),
            Phase::Placing { class, .. } => {
                self.placing.remove(class);
                self.revision += 1;
                effects.push(unwanted(&record, *class, self.revision));
            }
            Phase::Queued(_) | Phase::Declared | Phase::BackOff(_) => {}
        }
        effects.push(ActorEffect::Step(actor, record.incarnation, ActorStep::Dead(death)));
        for watcher in &record.watchers {
            let place = ActorWhere::Dead { reason: reason.to_owned(), exit: exit.clone() };
            effects.push(ActorEffect::Tell(*watcher, actor, place));
        }
        self.remember(actor, reason.to_owned(), exit);
    }

    fn remember(&mut self, actor: ActorId, reason: String, exit: Exit) {
        self.dead.insert(actor, (reason, exit));
        self.dead_order.push_back(actor);
        if self.dead_order.len() > DEAD_MAX {
            if let Some(oldest) = self.dead_order.pop_front() {
                self.dead.remove(&oldest);
            }
        }
    }
}
