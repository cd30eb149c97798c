//! Decides which call of an actor may start, and when its state may be built.
//!
//! Owns: the order of calls (first in, first out within a concurrency group, and for each caller also across data edges
//! that are ready out of order), the limits on concurrency, the bound of the mailbox, and the phases of an actor's life.
//! A core: it names no thread and no clock; the shell locks it, asks, and carries out.
//!
//! **Invariants:** an exclusive call (`&mut self`) runs alone. A call of one caller never overtakes an earlier one of the
//! same caller in the same group. A dead actor starts nothing.

use std::collections::{BTreeMap, VecDeque};

use actinic_gcs::TaskId;

use crate::options::OverflowPolicy;

/// Where an actor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its constructor's arguments or resources are missing.
    Pending,
    /// Its state is to be built, or is being built.
    Creating,
    /// It takes calls.
    Alive,
    /// It crashed, and waits for its supervisor's decision.
    Crashed,
    /// It takes no calls any more.
    Dead,
}

/// How a call uses the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Alone.
    Exclusive,
    /// Beside other shared calls.
    Shared,
}

/// What may start now.
#[derive(Debug, PartialEq, Eq)]
pub enum Start<C> {
    /// The constructor.
    Create,
    /// A call of this group.
    Call(C, Access, usize),
}

/// What became of a call that was offered.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<C> {
    /// It has this place in the order of the actor's calls; `wake` asks for a turn.
    Accepted {
        /// The place, from 1.
        sequence: u64,
        /// Whether a turn is to be queued.
        wake: bool,
    },
    /// It was accepted and the oldest call dropped.
    Displaced {
        /// The place, from 1.
        sequence: u64,
        /// The call that was dropped.
        oldest: C,
    },
    /// The mailbox is full.
    Full(C),
    /// The actor is dead.
    Dead(C),
}

struct Queued<C> {
    call: C,
    access: Access,
}

struct Group<C> {
    limit: usize,
    running: usize,
    queue: VecDeque<Queued<C>>,
}

struct Stalled<C> {
    call: C,
    id: TaskId,
    group: usize,
    access: Access,
    ready: bool,
}

/// The calls of one actor.
pub struct MailboxCore<C> {
    phase: Phase,
    creating: bool,
    groups: Vec<Group<C>>,
    shared: usize,
    exclusive: bool,
    stalled: BTreeMap<TaskId, VecDeque<Stalled<C>>>,
    pending: usize,
    limit: usize,
    overflow: OverflowPolicy,
    sequence: u64,
    queued_turn: bool,
    active_turn: bool,
    draining: bool,
}

impl<C> MailboxCore<C> {
    /// A mailbox for at most `limit` waiting calls, with these limits on concurrency, the default group's first.
    #[must_use]
    pub fn new(group_limits: &[usize], limit: usize, overflow: OverflowPolicy) -> Self {
        let groups = group_limits
            .iter()
            .map(|limit| Group { limit: (*limit).max(1), running: 0, queue: VecDeque::new() })
            .collect();
        Self {
            phase: Phase::Pending,
            creating: false,
            groups,
            shared: 0,
            exclusive: false,
            stalled: BTreeMap::new(),
            pending: 0,
            limit: limit.max(1),
            overflow,
            sequence: 0,
            queued_turn: false,
            active_turn: false,
            draining: false,
        }
    }

    /// The phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The place in the order of calls that the next one taken will have.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.sequence + 1
    }

    /// Calls that wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Calls that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared + usize::from(self.exclusive)
    }

    /// Offers a call of `caller`. One whose data edges are not `ready` holds its place among its caller's.
    pub fn offer(
        &mut self,
        call: C,
        id: TaskId,
        caller: TaskId,
        group: usize,
        access: Access,
        ready: bool,
    ) -> Offer<C> {
        if self.phase == Phase::Dead {
            return Offer::Dead(call);
        }
        let mut displaced = None;
        if self.pending >= self.limit {
            displaced = match self.overflow {
                OverflowPolicy::DropOldest => self.take_oldest(),
                OverflowPolicy::Fail | OverflowPolicy::Block(_) => None,
            };
            if displaced.is_none() {
                return Offer::Full(call);
            }
        }
        let group = group.min(self.groups.len() - 1);
        self.sequence += 1;
        self.pending += 1;
        if !ready || self.stalled.contains_key(&caller) {
            self.stalled.entry(caller).or_default().push_back(Stalled { call, id, group, access, ready });
        } else {
            self.groups[group].queue.push_back(Queued { call, access });
        }
        match displaced {
            Some(oldest) => Offer::Displaced { sequence: self.sequence, oldest },
            None => Offer::Accepted { sequence: self.sequence, wake: self.wants_turn() },
        }
    }

    fn take_oldest(&mut self) -> Option<C> {
        let queued = self.groups.iter_mut().find_map(|group| group.queue.pop_front())?;
        self.pending -= 1;
        Some(queued.call)
    }

    /// The data edges of a stalled call are there; true where a turn is to be queued.
    pub fn on_ready(&mut self, id: TaskId, caller: TaskId) -> bool {
        let Some(calls) = self.stalled.get_mut(&caller) else { return false };
        if let Some(call) = calls.iter_mut().find(|call| call.id == id) {
            call.ready = true;
        }
        while calls.front().is_some_and(|call| call.ready) {
            if let Some(next) = calls.pop_front() {
                self.groups[next.group].queue.push_back(Queued { call: next.call, access: next.access });
            }
        }
        if calls.is_empty() {
            self.stalled.remove(&caller);
        }
        self.wants_turn()
    }

    /// The constructor's arguments and resources are there; true where a turn is to be queued.
    pub fn allow_creation(&mut self) -> bool {
        if matches!(self.phase, Phase::Pending | Phase::Crashed) {
            self.phase = Phase::Creating;
            self.creating = false;
        }
        self.wants_turn()
    }

    /// Puts a call that is to be tried again before all others.
    pub fn put_back(&mut self, call: C, group: usize, access: Access) {
        self.pending += 1;
        self.groups[group].queue.push_front(Queued { call, access });
    }

    /// What may start now, if anything; it counts as running from here on.
    pub fn start_next(&mut self) -> Option<Start<C>> {
        match self.phase {
            Phase::Creating if !self.creating && self.running() == 0 => {
                self.creating = true;
                self.exclusive = true;
                Some(Start::Create)
            }
            Phase::Alive => self.next_call(),
            _ => None,
        }
    }

    fn startable(&self) -> Option<usize> {
        if self.exclusive {
            return None;
        }
        // A waiting exclusive call lets no new shared one start before it: it would wait for ever otherwise.
        let first_exclusive = self.groups.iter().position(|group| {
            group.running < group.limit && group.queue.front().is_some_and(|call| call.access == Access::Exclusive)
        });
        match first_exclusive {
            Some(group) if self.shared == 0 => Some(group),
            Some(_) => None,
            None => self.groups.iter().position(|group| group.running < group.limit && !group.queue.is_empty()),
        }
    }

    fn next_call(&mut self) -> Option<Start<C>> {
        let index = self.startable()?;
        let group = &mut self.groups[index];
        let Queued { call, access } = group.queue.pop_front()?;
        group.running += 1;
        self.pending -= 1;
        match access {
            Access::Exclusive => self.exclusive = true,
            Access::Shared => self.shared += 1,
        }
        Some(Start::Call(call, access, index))
    }

    /// While an exclusive call of `group` has just started: takes up to `most` exclusive calls that would start right after
    /// it, one by one, so that a turn need not ask for each. They count as started; give those that do not run back.
    pub fn start_more(&mut self, group: usize, most: usize, into: &mut VecDeque<C>) {
        let others_wait = self.groups.iter().enumerate().any(|(at, other)| at != group && !other.queue.is_empty());
        if others_wait || !self.exclusive || self.phase != Phase::Alive {
            return;
        }
        let queue = &mut self.groups[group].queue;
        while into.len() < most && queue.front().is_some_and(|call| call.access == Access::Exclusive) {
            into.extend(queue.pop_front().map(|queued| queued.call));
        }
        self.pending -= into.len();
    }

    /// Gives calls of [`MailboxCore::start_more`] back that have not run; after death they are the caller's to answer.
    pub fn give_back(&mut self, group: usize, calls: &mut VecDeque<C>) {
        if self.phase == Phase::Dead {
            return;
        }
        while let Some(call) = calls.pop_back() {
            self.put_back(call, group, Access::Exclusive);
        }
    }

    /// A call has ended.
    pub fn done(&mut self, access: Access, group: usize) {
        self.groups[group].running -= 1;
        match access {
            Access::Exclusive => self.exclusive = false,
            Access::Shared => self.shared -= 1,
        }
    }

    /// The constructor has ended, and given a state or not.
    pub fn created(&mut self, alive: bool) {
        self.exclusive = false;
        self.creating = false;
        if self.phase == Phase::Creating {
            self.phase = if alive { Phase::Alive } else { Phase::Crashed };
        }
    }

    /// A call crashed the actor. False where it is dead anyway.
    pub fn crashed(&mut self) -> bool {
        if self.phase == Phase::Dead {
            return false;
        }
        self.phase = Phase::Crashed;
        true
    }

    /// It is dead: all calls that wait, in their order.
    pub fn die(&mut self) -> Vec<C> {
        self.phase = Phase::Dead;
        self.pending = 0;
        let mut calls: Vec<C> = Vec::new();
        for group in &mut self.groups {
            calls.extend(group.queue.drain(..).map(|queued| queued.call));
        }
        for (_, stalled) in std::mem::take(&mut self.stalled) {
            calls.extend(stalled.into_iter().map(|stalled| stalled.call));
        }
        calls
    }

    /// Nobody can call it any more: it ends once it has answered what waits.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether it has answered everything and nobody can call it any more.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.draining && self.pending == 0 && self.running() == 0 && self.phase == Phase::Alive
    }

    // --- turns -----------------------------------------------------------------------------------------------------

    /// Whether something could start and nobody is on it; if so a turn counts as queued.
    pub fn wants_turn(&mut self) -> bool {
        let wants = !self.queued_turn && !self.active_turn && self.can_start();
        self.queued_turn |= wants;
        wants
    }

    fn can_start(&self) -> bool {
        match self.phase {
            Phase::Creating => !self.creating && self.running() == 0,
            Phase::Alive => self.startable().is_some(),
            _ => false,
        }
    }

    /// A queued turn begins; false where another is active.
    pub fn begin_turn(&mut self) -> bool {
        self.queued_turn = false;
        self.begin_help()
    }

    /// A caller begins a turn of its own; false where another is active.
    pub fn begin_help(&mut self) -> bool {
        let begun = !self.active_turn;
        self.active_turn = true;
        begun
    }

    /// The entry of a queued turn has been taken out of its queue by a caller that runs the turn itself.
    pub fn forget_queued_turn(&mut self) {
        self.queued_turn = false;
    }

    /// The constructor was allowed to start and did not.
    pub fn undo_create(&mut self) {
        self.creating = false;
        self.exclusive = false;
    }

    /// The turn ends; true where another is to be queued.
    pub fn end_turn(&mut self) -> bool {
        self.active_turn = false;
        self.wants_turn()
    }
}

#[cfg(test)]
mod tests;
