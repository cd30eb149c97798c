//! Failures: restart, restart of a group, escalation.
//!
//! Owns: what happens between an actor's end and its next start. Does not own: deaths (`stop`) and links (`links`).
//!
//! A *round* restarts several children of one supervisor:
//! 1. those that run are told to stop, last started first;
//! 2. each that has stopped waits; a `Never` actor is buried instead;
//! 3. when the last has stopped and back-off is over, all are told to start, first started first.
//!
//! A failure in a round's reach widens that round or delays it; a failure further up swallows it. So rounds never nest.
//!
//! **Escalation.** A supervisor over its limit fails its parent. The parent counts that against its own limit, and
//! treats the supervisor like a failed child: its strategy says who else restarts. The restarted supervisor bears
//! failures anew. The root over its limit fails for good. Plain failures of the root's own actors are not counted
//! against the root, so one bad actor never takes down those that share nothing with it but the root.

use std::{sync::Arc, time::Duration};

use actinic_gcs::ActorId;

use super::{
    core::{SupervisionCore, Timer},
    effect::{Cause, Effect, SupervisorId},
    policy::{Exit, RestartPolicy, Strategy},
    tree::{Fate, Phase, Round},
};

impl SupervisionCore {
    /// The actor, which is down, ended with `exit` on its own account. `fire`: whether its links are to hear of it.
    pub(super) fn fail(&mut self, now: Duration, actor: ActorId, exit: Exit, fire: bool, effects: &mut Vec<Effect>) {
        let member = self.tree.member_mut(actor);
        let (spec, supervisor) = (Arc::clone(&member.spec), member.supervisor);
        if !spec.policy.restarts(&exit) {
            return self.bury(actor, Cause::Ended, exit, fire, effects);
        }
        let within_limit = member.record.allow(now, &spec.limit);
        // Where both limits are reached at once the supervisor's speaks: the failure is to be seen further up.
        if !within_limit && (supervisor == SupervisorId::ROOT || self.has_room(now, supervisor)) {
            return self.bury(actor, Cause::OverLimit, exit, fire, effects);
        }
        let strikes = if fire && exit.is_abnormal() { self.struck(actor) } else { Vec::new() };
        self.restart(now, actor, effects);
        self.strike(actor, strikes, &exit, effects);
    }

    fn has_room(&mut self, now: Duration, supervisor: SupervisorId) -> bool {
        let branch = self.tree.branch_mut(supervisor);
        branch.record.has_room(now, &branch.spec.limit)
    }

    /// Restarts an actor that is down as its supervisor's strategy says.
    fn restart(&mut self, now: Duration, actor: ActorId, effects: &mut Vec<Effect>) {
        let seed = self.seed;
        let member = self.tree.member_mut(actor);
        let (supervisor, order) = (member.supervisor, member.order);
        let at = member.record.due(now, &member.spec.backoff, seed, actor.0);
        member.phase = Phase::Waiting(at);
        let branch = self.tree.branch_mut(supervisor);
        if supervisor != SupervisorId::ROOT && !branch.record.allow(now, &branch.spec.limit) {
            return self.escalate(now, supervisor, effects);
        }
        match branch.spec.strategy {
            Strategy::OneForAll if supervisor != SupervisorId::ROOT => {
                self.begin_round(now, supervisor, 0, at, effects);
            }
            Strategy::RestForOne if supervisor != SupervisorId::ROOT => {
                self.begin_round(now, supervisor, order, at, effects);
            }
            _ if at <= now => self.start(actor, now, effects),
            _ => {
                self.timers.insert((at, Timer::Actor(actor)));
            }
        }
    }

    /// `supervisor`, which is not the root, is over its limit.
    fn escalate(&mut self, now: Duration, supervisor: SupervisorId, effects: &mut Vec<Effect>) {
        let seed = self.seed;
        let mut failed = supervisor;
        loop {
            let branch = self.tree.branch_mut(failed);
            let (parent, order) = branch.parent.expect("invariant: the root's own actors do not escalate");
            branch.record.pardon();
            let at = branch.record.due(now, &branch.spec.backoff, seed, u128::from(failed.0));
            effects.push(Effect::Escalated { supervisor: failed, parent });
            let above = self.tree.branch_mut(parent);
            if above.record.allow(now, &above.spec.limit) {
                let strategy = if parent == SupervisorId::ROOT { Strategy::OneForOne } else { above.spec.strategy };
                let (of, from) = match strategy {
                    Strategy::OneForOne => (failed, 0),
                    Strategy::OneForAll => (parent, 0),
                    Strategy::RestForOne => (parent, order),
                };
                for actor in self.tree.below(failed, 0).0 {
                    self.tree.member_mut(actor).record.pardon_window();
                }
                return self.begin_round(now, of, from, at, effects);
            }
            if parent == SupervisorId::ROOT {
                effects.push(Effect::RootFailed);
                return self.close(SupervisorId::ROOT, Cause::RootFailed, effects);
            }
            failed = parent;
        }
    }

    /// Stops the children of `of` from start order `from` on, to restart them at `at` or later.
    fn begin_round(&mut self, now: Duration, of: SupervisorId, from: u64, at: Duration, effects: &mut Vec<Effect>) {
        let outer = self.tree.branches[&of].parent.and_then(|(parent, order)| self.tree.covering(parent, order));
        let of = outer.unwrap_or(of);
        let (mut from, mut at) = (from, at);
        if outer.is_some() {
            from = u64::MAX;
        }
        if let Some(old) = self.take_round(of) {
            (from, at) = (from.min(old.from), at.max(old.at));
        }
        let (actors, supervisors) = self.tree.below(of, from);
        for inner in supervisors {
            if let Some(old) = self.take_round(inner) {
                at = at.max(old.at);
            }
        }
        let mut outstanding = 0;
        for actor in actors.into_iter().rev() {
            let member = self.tree.member_mut(actor);
            match member.phase {
                Phase::Running | Phase::Starting => {
                    effects.push(Effect::Stop { actor });
                    member.phase = Phase::Stopping(Fate::Restart);
                }
                Phase::Stopping(Fate::Linked(_)) => member.phase = Phase::Stopping(Fate::Restart),
                Phase::Waiting(due) => {
                    member.phase = Phase::Stopped;
                    at = at.max(due);
                    self.timers.remove(&(due, Timer::Actor(actor)));
                }
                Phase::Stopping(_) | Phase::Stopped => {}
            }
            outstanding += usize::from(matches!(self.tree.members[&actor].phase, Phase::Stopping(_)));
        }
        self.tree.branch_mut(of).round = Some(Round { from, at, outstanding });
        self.settle(now, of, effects);
    }

    /// Ends a supervisor's round, and its timer if it has one.
    pub(super) fn take_round(&mut self, of: SupervisorId) -> Option<Round> {
        let round = self.tree.branch_mut(of).round.take()?;
        self.timers.remove(&(round.at, Timer::Round(of)));
        Some(round)
    }

    /// Starts the actors of a round, if all have stopped and back-off is over.
    pub(super) fn settle(&mut self, now: Duration, of: SupervisorId, effects: &mut Vec<Effect>) {
        let Some(round) = self.tree.branches.get(&of).and_then(|branch| branch.round) else {
            return;
        };
        if round.outstanding > 0 {
            return;
        }
        if round.at > now {
            self.timers.insert((round.at, Timer::Round(of)));
            return;
        }
        self.take_round(of);
        let (actors, supervisors) = self.tree.below(of, round.from);
        for supervisor in supervisors {
            self.tree.branch_mut(supervisor).record.started(now);
        }
        self.tree.branch_mut(of).record.started(now);
        for actor in actors {
            if self.tree.members[&actor].phase == Phase::Stopped {
                self.start(actor, now, effects);
            }
        }
    }

    /// Asks for the start of an actor that is down.
    pub(super) fn start(&mut self, actor: ActorId, at: Duration, effects: &mut Vec<Effect>) {
        let member = self.tree.member_mut(actor);
        member.phase = Phase::Starting;
        member.restarts = member.restarts.saturating_add(1);
        member.record.started(at);
        effects.push(Effect::Restart { actor, at });
    }

    /// An actor that was told to stop has stopped.
    pub(super) fn stopped(&mut self, now: Duration, actor: ActorId, fate: Fate, effects: &mut Vec<Effect>) {
        let member = self.tree.member_mut(actor);
        let (supervisor, order, policy) = (member.supervisor, member.order, member.spec.policy);
        member.phase = Phase::Stopped;
        let round = self.tree.covering(supervisor, order);
        if let Some(round) = round.and_then(|of| self.tree.branch_mut(of).round.as_mut()) {
            round.outstanding -= 1;
        }
        match fate {
            Fate::Restart if policy == RestartPolicy::Never => {
                self.bury(actor, Cause::GroupRestart, Exit::Killed, true, effects);
            }
            Fate::Restart => {}
            Fate::Linked(origin) => {
                let exit = Exit::Failed(format!("linked actor {origin} failed"));
                self.fail(now, actor, exit, false, effects);
            }
            Fate::Kill => self.bury(actor, Cause::Killed, Exit::Killed, true, effects),
            Fate::End => self.bury(actor, Cause::Ended, Exit::Normal, false, effects),
            Fate::Close(cause) => {
                let exit = if cause == Cause::SupervisorStopped { Exit::Normal } else { Exit::Killed };
                self.bury(actor, cause, exit, false, effects);
            }
        }
        if let Some(of) = round {
            self.settle(now, of, effects);
        }
    }
}
