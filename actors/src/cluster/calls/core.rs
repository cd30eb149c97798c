//! Decides when the calls of one process to one actor of another are sent, and what becomes of them when it is lost.
//!
//! Owns: the calls that wait and those that are under way, in the order in which they were made, and the last word on where
//! the actor is. A core: what a call is (`T`) only the shell knows.
//!
//! Rules. Calls are sent in the order in which they were made, each once its arguments are there: one whose arguments are not
//! holds up those behind it, as in Ray. While the actor is away, calls wait. Of those under way when it is lost, the ones that
//! may be tried again come first, in their order, once it is back; the others fail, since they may have run.
//!
//! **Invariants:** each call is waiting, under way, or over; no call overtakes one made before it; no more than the limit
//! wait; nothing is sent to an actor that is dead.

use std::collections::VecDeque;

use actinic_gcs::TaskId;

use crate::cluster::wire::{ActorWhere, ProcessId};

/// What is known of a call.
pub trait Called {
    /// Its id.
    fn id(&self) -> TaskId;
    /// Its arguments are there.
    fn ready(&self);
    /// Takes the right to send it; false where it was cancelled.
    fn claim(&self) -> bool;
    /// Whether it was cancelled before its arguments were there.
    fn is_over(&self) -> bool;
    /// Makes it ready to be sent again, if it may run again after it was lost.
    fn try_again(&self) -> bool;
}

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum CallEffect<T> {
    /// Send it; it is kept until it is answered as well.
    Send {
        /// To whom.
        process: ProcessId,
        /// The call.
        call: T,
        /// Whether none was under way.
        at_once: bool,
    },
    /// It did not run and never will: the actor is dead.
    Dead(T, String),
    /// It may have run: the actor was lost meanwhile.
    Unavailable(T, String),
    /// It did not run: too many wait.
    Full(T),
}

/// The state.
pub struct CallCore<T> {
    place: ActorWhere,
    waiting: VecDeque<(T, bool)>,
    under_way: VecDeque<T>,
    waiting_max: usize,
    /// Why this process ends it, from then on.
    ending: Option<String>,
}

impl<T: Called + Clone> CallCore<T> {
    /// No calls yet, to an actor of which nothing is known; so many may wait.
    #[must_use]
    pub fn new(waiting_max: usize) -> Self {
        Self {
            place: ActorWhere::Pending,
            waiting: VecDeque::new(),
            under_way: VecDeque::new(),
            waiting_max,
            ending: None,
        }
    }

    // --- events ----------------------------------------------------------------------------------------------------

    /// A call is made.
    pub fn on_call(&mut self, call: T, ready: bool, effects: &mut Vec<CallEffect<T>>) {
        if let (ActorWhere::Dead { reason, .. }, _) | (_, Some(reason)) = (&self.place, &self.ending) {
            return effects.push(CallEffect::Dead(call, reason.clone()));
        }
        if self.waiting.len() >= self.waiting_max {
            return effects.push(CallEffect::Full(call));
        }
        if ready {
            call.ready();
        }
        self.waiting.push_back((call, ready));
        self.pump(effects);
    }

    /// The arguments of a call are there.
    pub fn on_ready(&mut self, call: TaskId, effects: &mut Vec<CallEffect<T>>) {
        if let Some((call, ready)) = self.waiting.iter_mut().find(|(waiting, _)| waiting.id() == call) {
            call.ready();
            *ready = true;
        }
        self.pump(effects);
    }

    /// A call was cancelled: those behind it wait no more for it.
    pub fn on_cancelled(&mut self, effects: &mut Vec<CallEffect<T>>) {
        self.pump(effects);
    }

    /// This process kills the actor: what was not sent will not run. What was is as the actor's keeper says.
    pub fn on_kill(&mut self, reason: &str, effects: &mut Vec<CallEffect<T>>) {
        self.ending = Some(reason.to_owned());
        let dead = |(call, _)| CallEffect::Dead(call, reason.to_owned());
        effects.extend(std::mem::take(&mut self.waiting).into_iter().map(dead));
    }

    /// A call was answered. Gives it, if it was under way.
    pub fn on_answer(&mut self, call: TaskId) -> Option<T> {
        // Mostly the oldest.
        let at = self.under_way.iter().position(|under_way| under_way.id() == call)?;
        self.under_way.remove(at)
    }

    /// The actor is somewhere else now, or nowhere.
    pub fn on_place(&mut self, place: ActorWhere, effects: &mut Vec<CallEffect<T>>) {
        if matches!(self.place, ActorWhere::Dead { .. }) {
            return;
        }
        let stays = match (&self.place, &place) {
            (ActorWhere::Alive { process: before, .. }, ActorWhere::Alive { process, .. }) => before == process,
            _ => false,
        };
        if !stays {
            self.lose(&place, effects);
        }
        if let ActorWhere::Dead { reason, .. } = &place {
            let dead = |(call, _)| CallEffect::Dead(call, reason.clone());
            effects.extend(std::mem::take(&mut self.waiting).into_iter().map(dead));
        }
        self.place = place;
        self.pump(effects);
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    /// What was under way is lost.
    fn lose(&mut self, place: &ActorWhere, effects: &mut Vec<CallEffect<T>>) {
        let (reason, dead) = match place {
            ActorWhere::Dead { reason, .. } => (reason.as_str(), true),
            ActorWhere::Away { reason } => (reason.as_str(), false),
            ActorWhere::Pending | ActorWhere::Alive { .. } => ("it is somewhere else now", false),
        };
        let mut again = VecDeque::new();
        for call in std::mem::take(&mut self.under_way) {
            if !dead && call.try_again() {
                again.push_back((call, true));
            } else {
                effects.push(CallEffect::Unavailable(call, reason.to_owned()));
            }
        }
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    fn pump(&mut self, effects: &mut Vec<CallEffect<T>>) {
        let ActorWhere::Alive { process, .. } = &self.place else { return };
        let process = *process;
        while self.waiting.front().is_some_and(|(call, ready)| *ready || call.is_over()) {
            let Some((call, _)) = self.waiting.pop_front() else { return };
            if call.claim() {
                let at_once = self.under_way.is_empty();
                self.under_way.push_back(call.clone());
                effects.push(CallEffect::Send { process, call, at_once });
            }
        }
    }

    // --- getters ---------------------------------------------------------------------------------------------------

    /// The last word on where the actor is.
    #[must_use]
    pub fn place(&self) -> &ActorWhere {
        &self.place
    }

    /// Calls that wait here, and calls under way.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.waiting.len(), self.under_way.len())
    }

    /// Whether a call was sent and is not answered.
    #[must_use]
    pub fn is_under_way(&self, call: TaskId) -> bool {
        self.under_way.iter().any(|under_way| under_way.id() == call)
    }
}

#[cfg(test)]
mod tests;
