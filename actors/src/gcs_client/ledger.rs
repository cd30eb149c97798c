//! What the tables are yet to hear of this process's actors.
//!
//! Owns: the state and incarnation of each living actor, how much of it was written, and the last of the dead. It turns
//! what happened into the writes that bring the tables up to date. Does not own names: a named actor is entered once the
//! tables have taken it.
//!
//! Invariants:
//! - The writes of one actor follow each other as the tables demand, with the incarnation that each is of.
//! - A named or detached actor is due at once; any other when there is time, and not at all if it is dead before.
//! - The last [`DEAD_LEN_MAX`] dead are shown to whoever asks; older ones are forgotten here and in the tables, so memory
//!   is bounded by those alive.

use std::collections::VecDeque;

use actinic_gcs::{
    spec::{ActorDeath, ActorLocation, ActorSpec, ActorState, CheckpointState, Lifetime, Limit},
    tables::{ActorStep, ActorWrite, HistoryWrite, IfExists, Write},
    ActorId, NodeId, WorkerId,
};
use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::retired::Retired;

/// Dead actors that are still listed.
pub(super) const DEAD_LEN_MAX: usize = 1_024;

/// What happens to an actor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Happening {
    /// Its arguments are there.
    Pending,
    /// Its state is there.
    Alive,
    /// It was lost and is on its way up again.
    Restarting,
    /// It is dead.
    Dead(ActorDeath),
    /// Its state after so many calls.
    Checkpoint(u64, Bytes),
}

struct Entry {
    /// What was asked for, until the tables are told.
    spec: Option<Box<ActorSpec>>,
    max_restarts: Limit,
    prompt: bool,
    state: ActorState,
    incarnation: u32,
    /// What the tables were told.
    told: (ActorState, u32),
    death: Option<ActorDeath>,
    checkpoint: Option<Bytes>,
    calls: u64,
    has_history: bool,
    due: bool,
}

/// The actors of this process.
pub(super) struct Ledger {
    node: NodeId,
    entries: FxHashMap<ActorId, Entry>,
    prompt: VecDeque<ActorId>,
    later: VecDeque<ActorId>,
    dead: Retired<ActorId>,
}

impl Ledger {
    /// No actors, on this node.
    pub(super) fn new(node: NodeId) -> Self {
        let dead = Retired::new(DEAD_LEN_MAX);
        Self { node, entries: FxHashMap::default(), prompt: VecDeque::new(), later: VecDeque::new(), dead }
    }

    /// An actor exists of which the tables know nothing yet.
    pub(super) fn add(&mut self, spec: Box<ActorSpec>) {
        let (actor, max_restarts, prompt) = (spec.id, spec.max_restarts, is_prompt(&spec));
        self.insert(actor, max_restarts, prompt, Some(spec));
        self.mark_due(actor);
    }

    /// The tables have taken an actor.
    pub(super) fn add_registered(&mut self, spec: &ActorSpec) {
        self.insert(spec.id, spec.max_restarts, is_prompt(spec), None);
    }

    fn insert(&mut self, actor: ActorId, max_restarts: Limit, prompt: bool, spec: Option<Box<ActorSpec>>) {
        let entry = Entry {
            spec,
            max_restarts,
            prompt,
            state: ActorState::DependenciesUnready,
            incarnation: 0,
            told: (ActorState::DependenciesUnready, 0),
            death: None,
            checkpoint: None,
            calls: 0,
            has_history: false,
            due: false,
        };
        // The same one again is nothing.
        self.entries.entry(actor).or_insert(entry);
    }

    fn mark_due(&mut self, actor: ActorId) {
        let Some(entry) = self.entries.get_mut(&actor) else { return };
        if !std::mem::replace(&mut entry.due, true) {
            if entry.prompt { &mut self.prompt } else { &mut self.later }.push_back(actor);
        }
    }

    /// Something happened to an actor; nothing if it is unknown or dead. Writes go to `out` only for those forgotten now.
    pub(super) fn on(&mut self, actor: ActorId, happening: Happening, out: &mut Vec<Write>) {
        let Some(entry) = self.entries.get_mut(&actor).filter(|entry| entry.state != ActorState::Dead) else {
            tracing::trace!(?actor, ?happening, "what happens to an unknown or dead actor is not recorded");
            return;
        };
        let to = match &happening {
            Happening::Checkpoint(calls, _) if *calls < entry.calls => return,
            Happening::Checkpoint(..) => entry.state,
            Happening::Pending => ActorState::PendingCreation,
            Happening::Alive => ActorState::Alive,
            Happening::Restarting => ActorState::Restarting,
            Happening::Dead(_) => ActorState::Dead,
        };
        match happening {
            Happening::Checkpoint(calls, state) => (entry.calls, entry.checkpoint) = (calls, Some(state)),
            Happening::Pending if entry.state != ActorState::DependenciesUnready => return,
            Happening::Restarting if !entry.max_restarts.allows(entry.incarnation) => {
                tracing::warn!(?actor, restarts = entry.incarnation, "a restart beyond `max_restarts` is not recorded");
                return;
            }
            Happening::Restarting => entry.incarnation += 1,
            Happening::Dead(cause) => (entry.death, entry.checkpoint) = (Some(cause), None),
            Happening::Pending | Happening::Alive => {}
        }
        entry.state = to;
        self.mark_due(actor);
        if to == ActorState::Dead {
            if let Some(oldest) = self.dead.push(actor) {
                self.forget(oldest, out);
            }
        }
    }

    /// The writes of those that are due at once.
    pub(super) fn take_prompt(&mut self, out: &mut Vec<Write>) {
        while let Some(actor) = self.prompt.pop_front() {
            self.tell(actor, out);
        }
    }

    /// The writes of up to `max` of the others, but for those dead of which nothing is known; gives whether more wait.
    pub(super) fn take_later(&mut self, max: usize, out: &mut Vec<Write>) -> bool {
        let mut told = 0;
        // Those that need no write cost little, but not nothing.
        for _ in 0..max * 16 {
            if told == max {
                break;
            }
            let Some(actor) = self.later.pop_front() else { break };
            match self.entries.get_mut(&actor) {
                None => {}
                Some(entry) if is_unseen(entry) => entry.due = false,
                Some(_) => {
                    self.tell(actor, out);
                    told += 1;
                }
            }
        }
        self.has_later()
    }

    /// Whether anything waits for time.
    pub(super) fn has_later(&self) -> bool {
        !self.later.is_empty()
    }

    /// The writes of all that somebody may ask for.
    pub(super) fn take_all(&mut self, out: &mut Vec<Write>) {
        self.take_prompt(out);
        while let Some(actor) = self.later.pop_front() {
            self.tell(actor, out);
        }
        let unseen: Vec<ActorId> =
            self.dead.iter().filter(|actor| self.entries.get(actor).is_some_and(is_unseen)).collect();
        for actor in unseen {
            self.tell(actor, out);
        }
    }

    /// The writes of one actor.
    pub(super) fn tell(&mut self, actor: ActorId, out: &mut Vec<Write>) {
        let node = self.node;
        let Some(entry) = self.entries.get_mut(&actor) else { return };
        entry.due = false;
        if let Some(spec) = entry.spec.take() {
            out.push(ActorWrite::Register { spec, if_exists: IfExists::Fail }.into());
        }
        let mut step = |incarnation, step| out.push(ActorWrite::Step { actor, incarnation, step }.into());
        let (mut told, mut incarnation) = entry.told;
        if told == ActorState::DependenciesUnready
            && !matches!(entry.state, ActorState::Dead | ActorState::DependenciesUnready)
        {
            step(0, ActorStep::PendingCreation);
            told = ActorState::PendingCreation;
        }
        while incarnation < entry.incarnation {
            // Before it was pending it cannot have been lost, so only one that died since is skipped over.
            if told == ActorState::DependenciesUnready {
                step(0, ActorStep::PendingCreation);
            }
            step(incarnation, ActorStep::Restarting);
            incarnation += 1;
            told = ActorState::Restarting;
        }
        if entry.state == ActorState::Alive && told != ActorState::Alive {
            step(incarnation, ActorStep::Alive(ActorLocation { node, worker: WorkerId(0) }));
        }
        if let (ActorState::Dead, Some(cause)) = (entry.state, entry.death.take()) {
            step(incarnation, ActorStep::Dead(cause));
        }
        entry.told = (entry.state, incarnation);
        if let Some(state) = entry.checkpoint.take() {
            // Calls are not logged within a node: the state stands before an empty log.
            let state = CheckpointState::Inline(state);
            out.push(HistoryWrite::Checkpoint { actor, incarnation, through: 0, state }.into());
            entry.has_history = true;
        }
    }

    /// Forgets a dead actor, and has the tables do so if they know of it.
    fn forget(&mut self, actor: ActorId, out: &mut Vec<Write>) {
        let Some(entry) = self.entries.get(&actor) else { return };
        if !is_unseen(entry) {
            let has_history = entry.has_history;
            self.tell(actor, out);
            out.push(ActorWrite::Delete(actor).into());
            if has_history {
                out.push(HistoryWrite::Drop(actor).into());
            }
        }
        self.entries.remove(&actor);
    }

    /// Actors that are remembered here.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Whether the tables are to hear of an actor at once.
fn is_prompt(spec: &ActorSpec) -> bool {
    spec.name.is_some() || spec.lifetime == Lifetime::Detached
}

/// Whether an actor is dead and the tables never heard of it.
fn is_unseen(entry: &Entry) -> bool {
    entry.state == ActorState::Dead && entry.spec.is_some()
}
