//! Decides where actors live, and what becomes of those whose worker, node or owner is lost.
//!
//! Owns: every actor that this node keeps: what was asked for, where it is, how often it was restarted, and who wants to know.
//! A node keeps the actors that its own processes make; the head keeps detached ones.
//!
//! Rules. An actor is placed once its constructor's arguments are there: one that asks for nothing on the node that has the
//! fewest of them, any other where a lease for its demand is granted. Each actor has a lease of its own, for life. One whose
//! worker is lost is made again, after its back-off, as often as it may be; the restarts that its host has made count as well.
//! One whose owner is lost ends, unless it is detached. What is told of an actor goes to all who watch it.
//!
//! **Invariants:** an actor has at most one lease, and runs under it or not at all; a lease that is not an actor's is given
//! back; what an actor's former host says is not heard; a dead actor stays dead, and is remembered for a while.

mod loss;
mod phases;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use actinic_gcs::{
    spec::{ActorDeath, ActorLocation},
    tables::ActorStep,
    ActorId, Millis, NodeId,
};
use bytes::Bytes;

use self::phases::Phases;
use crate::{
    cluster::{
        wire::{
            ActorWhere, ClassId, ClassSpec, Demand, Doors, HostActor, JobCode, LeaseId, NewActor, ProcessId, WireArg,
        },
        work::Work,
    },
    options::SchedulingStrategy,
    supervision::Exit,
};

/// Actors that are being placed at once; others wait for their turn.
pub const PLACING_MAX: usize = 1_024;
/// A demand that is not met is told again after so long.
pub const RETELL_MS: u64 = 1_000;
/// Dead actors that are remembered.
pub const DEAD_MAX: usize = 4_096;
/// How long somebody who asks for an actor that nobody has declared is left waiting.
pub const UNKNOWN_MS_MAX: u64 = 5_000;

/// What the shell is to do.
#[derive(Debug, PartialEq)]
pub enum ActorEffect {
    /// Tell this node's scheduler.
    Demand(Box<JobCode>, Demand),
    /// Give a lease back.
    Return(LeaseId),
    /// Have a worker host an actor.
    Host(ProcessId, Box<HostActor>),
    /// Have its host end an actor.
    End {
        /// The host.
        host: ProcessId,
        /// Which.
        actor: ActorId,
        /// Why.
        reason: String,
        /// Whether its calls are to be answered first.
        drain: bool,
    },
    /// Tell a process where an actor is.
    Tell(ProcessId, ActorId, ActorWhere),
    /// Tell the control store of a new actor.
    Register(Box<NewActor>),
    /// Tell the control store what happened to an actor.
    Step(ActorId, u32, ActorStep),
    /// Tell the control store of an actor's state.
    Save(ActorId, u32, Bytes),
}

struct Held {
    lease: LeaseId,
    host: ProcessId,
    doors: Doors,
    up: bool,
}

enum Phase {
    /// Its arguments are not there.
    Declared,
    /// It waits for its turn to be placed.
    Queued(u64),
    /// A lease is wanted under this class, since then told.
    Placing { class: ClassId, told_at: Millis, on: Option<NodeId> },
    /// It has a host.
    Held(Held),
    /// It will be placed again then.
    BackOff(Millis),
}

struct Record {
    new: NewActor,
    code: JobCode,
    args: Vec<WireArg>,
    phase: Phase,
    incarnation: u32,
    /// When it was restarted, within its window.
    restarts: VecDeque<Millis>,
    checkpoint: Option<Bytes>,
    watchers: BTreeSet<ProcessId>,
    drain: bool,
}

/// The state.
pub struct ActorCore {
    me: NodeId,
    actors: BTreeMap<ActorId, Record>,
    phases: Phases,
    placing: BTreeMap<ClassId, ActorId>,
    dead: BTreeMap<ActorId, (String, Exit)>,
    dead_order: VecDeque<ActorId>,
    /// Who asks for actors of which nothing is known yet.
    unknown: BTreeMap<ActorId, (Millis, BTreeSet<ProcessId>)>,
    next_class: u32,
    revision: u64,
}

impl ActorCore {
    /// A node that keeps no actors.
    #[must_use]
    pub fn new(me: NodeId) -> Self {
        Self {
            me,
            actors: BTreeMap::new(),
            phases: Phases::new(me),
            placing: BTreeMap::new(),
            dead: BTreeMap::new(),
            dead_order: VecDeque::new(),
            unknown: BTreeMap::new(),
            next_class: 0,
            revision: 0,
        }
    }

    // --- events: creators and callers ----------------------------------------------------------------------------------

    /// An actor is to be made once its arguments are there.
    pub fn on_declare(&mut self, from: ProcessId, new: NewActor, code: JobCode, effects: &mut Vec<ActorEffect>) {
        let actor = new.spec.id;
        if self.actors.contains_key(&actor) || self.dead.contains_key(&actor) {
            return;
        }
        let mut watchers = self.unknown.remove(&actor).map(|(_, waiting)| waiting).unwrap_or_default();
        watchers.insert(from);
        effects.push(ActorEffect::Register(Box::new(new.clone())));
        self.actors.insert(
            actor,
            Record {
                new,
                code,
                args: Vec::new(),
                phase: Phase::Declared,
                incarnation: 0,
                restarts: VecDeque::new(),
                checkpoint: None,
                watchers,
                drain: false,
            },
        );
    }

    /// The arguments of its constructor are there. Call [`ActorCore::place`] after a batch.
    pub fn on_construct(&mut self, actor: ActorId, args: Vec<WireArg>, effects: &mut Vec<ActorEffect>) {
        let Some(record) = self.actors.get_mut(&actor).filter(|record| matches!(record.phase, Phase::Declared)) else {
            return;
        };
        record.args = args;
        let phase = self.phases.last_turn();
        self.phases.turn(actor, record, phase);
        effects.push(ActorEffect::Step(actor, 0, ActorStep::PendingCreation));
    }

    /// A process wants to know where an actor is from now on.
    pub fn on_watch(&mut self, now: Millis, actor: ActorId, from: ProcessId, effects: &mut Vec<ActorEffect>) {
        if let Some((reason, exit)) = self.dead.get(&actor) {
            let place = ActorWhere::Dead { reason: reason.clone(), exit: exit.clone() };
            return effects.push(ActorEffect::Tell(from, actor, place));
        }
        match self.actors.get_mut(&actor) {
            Some(record) => {
                record.watchers.insert(from);
                effects.push(ActorEffect::Tell(from, actor, place_of(&record.phase)));
            }
            // Its creator's word may be on its way still.
            None => drop(self.unknown.entry(actor).or_insert_with(|| (now, BTreeSet::new())).1.insert(from)),
        }
    }

    /// An actor is to end.
    pub fn on_end(&mut self, actor: ActorId, reason: &str, drain: bool, effects: &mut Vec<ActorEffect>) {
        let Some(record) = self.actors.get_mut(&actor) else { return };
        let Phase::Held(held) = &record.phase else {
            // Nobody can have called it yet whose call is not told as lost.
            let exit = if drain { Exit::Normal } else { Exit::Killed };
            return self.bury(actor, reason, exit, death_of(drain), effects);
        };
        let host = held.host;
        record.drain |= drain;
        effects.push(ActorEffect::End { host, actor, reason: reason.to_owned(), drain });
        if !drain {
            self.bury(actor, reason, Exit::Killed, ActorDeath::Killed, effects);
        }
    }

    // --- events: hosts -------------------------------------------------------------------------------------------------

    /// A lease was granted. Call [`ActorCore::place`] after a batch.
    pub fn on_granted(
        &mut self,
        class: ClassId,
        lease: LeaseId,
        host: ProcessId,
        doors: Doors,
        gpus: Vec<u32>,
        effects: &mut Vec<ActorEffect>,
    ) {
        let Some(actor) = self.placing.remove(&class) else { return effects.push(ActorEffect::Return(lease)) };
        let keeper = self.me;
        let Some(record) = self.actors.get_mut(&actor) else { return effects.push(ActorEffect::Return(lease)) };
        self.revision += 1;
        effects.push(unwanted(record, class, self.revision));
        let restarts_left = record.new.options.max_restarts.map(|max| max.saturating_sub(record.restarts.len() as u32));
        self.phases.turn(actor, record, Phase::Held(Held { lease, host, doors, up: false }));
        let hosted = HostActor {
            new: record.new.clone(),
            keeper,
            args: record.args.clone(),
            lease,
            restarts_left,
            gpus,
            checkpoint: record.checkpoint.clone(),
        };
        effects.push(ActorEffect::Host(host, Box::new(hosted)));
    }

    /// No lease can be had.
    pub fn on_infeasible(&mut self, class: ClassId, reason: &str, effects: &mut Vec<ActorEffect>) {
        let Some(actor) = self.placing.get(&class).copied() else { return };
        let death = ActorDeath::CreationFailed { message: reason.to_owned() };
        self.bury(actor, reason, Exit::Failed(reason.to_owned()), death, effects);
    }

    fn held(&mut self, actor: ActorId, lease: LeaseId) -> Option<&mut Record> {
        let record = self.actors.get_mut(&actor)?;
        matches!(&record.phase, Phase::Held(held) if held.lease == lease).then_some(record)
    }

    /// Its host has built its state.
    pub fn on_up(&mut self, actor: ActorId, lease: LeaseId, effects: &mut Vec<ActorEffect>) {
        let Some(record) = self.held(actor, lease) else { return };
        let incarnation = record.incarnation;
        let Phase::Held(held) = &mut record.phase else { return };
        let first = !std::mem::replace(&mut held.up, true);
        let location = ActorLocation { node: held.host.node, worker: held.host.worker };
        effects.push(ActorEffect::Step(actor, incarnation, ActorStep::Alive(location)));
        if first {
            let record = &*record;
            tell_all(actor, record, effects);
        }
    }

    /// Its host builds its state anew, which its callers need not know.
    pub fn on_restarting(&mut self, now: Millis, actor: ActorId, lease: LeaseId, effects: &mut Vec<ActorEffect>) {
        let Some(record) = self.held(actor, lease) else { return };
        effects.push(ActorEffect::Step(actor, record.incarnation, ActorStep::Restarting));
        record.incarnation += 1;
        record.restarts.push_back(now);
    }

    /// Its host says that it is dead for good.
    pub fn on_down(
        &mut self,
        actor: ActorId,
        lease: LeaseId,
        reason: &str,
        exit: Exit,
        effects: &mut Vec<ActorEffect>,
    ) {
        let Some(record) = self.held(actor, lease) else { return };
        let death = match &exit {
            Exit::Normal => death_of(record.drain),
            Exit::Killed => ActorDeath::Killed,
            Exit::Failed(message) => ActorDeath::RestartsSpent { message: message.clone() },
        };
        self.bury(actor, reason, exit, death, effects);
    }

    /// Its host has saved its state.
    pub fn on_checkpoint(&mut self, actor: ActorId, lease: LeaseId, state: Bytes, effects: &mut Vec<ActorEffect>) {
        let Some(record) = self.held(actor, lease) else { return };
        record.checkpoint = Some(state.clone());
        effects.push(ActorEffect::Save(actor, record.incarnation, state));
    }

    // --- decisions -----------------------------------------------------------------------------------------------------

    /// Places what can be placed. Call it once after a batch of events.
    pub fn place(&mut self, now: Millis, effects: &mut Vec<ActorEffect>) {
        while self.placing.len() < PLACING_MAX {
            let Some(actor) = self.phases.first() else { return };
            self.next_class = self.next_class.wrapping_add(1);
            let class = ClassId(self.next_class);
            self.placing.insert(class, actor);
            self.demand(now, actor, class, effects);
        }
    }

    fn demand(&mut self, now: Millis, actor: ActorId, class: ClassId, effects: &mut Vec<ActorEffect>) {
        let Some(record) = self.actors.get_mut(&actor) else { return };
        let on = self.phases.emptiest().filter(|_| is_light(record));
        self.phases.turn(actor, record, Phase::Placing { class, told_at: now, on });
        self.revision += 1;
        let demand = demand_of(record, class, on, 1, self.revision);
        effects.push(ActorEffect::Demand(Box::new(record.code.clone()), demand));
    }

    /// Time has passed: those whose back-off is over are placed, demands are told again, who asks in vain is answered.
    pub fn on_time(&mut self, now: Millis, effects: &mut Vec<ActorEffect>) {
        for actor in self.phases.over(now) {
            let Some(record) = self.actors.get_mut(&actor) else { continue };
            let phase = self.phases.last_turn();
            self.phases.turn(actor, record, phase);
        }
        let overdue: Vec<(ClassId, ActorId)> = self
            .placing
            .iter()
            .filter(|(_, actor)| {
                let phase = self.actors.get(actor).map(|record| &record.phase);
                matches!(phase, Some(Phase::Placing { told_at, .. }) if now.0 >= told_at.0 + RETELL_MS)
            })
            .map(|(class, actor)| (*class, *actor))
            .collect();
        for (class, actor) in overdue {
            self.demand(now, actor, class, effects);
        }
        let in_vain: Vec<ActorId> = self
            .unknown
            .iter()
            .filter(|(_, (since, _))| now.0 >= since.0 + UNKNOWN_MS_MAX)
            .map(|(actor, _)| *actor)
            .collect();
        for actor in in_vain {
            let Some((_, waiting)) = self.unknown.remove(&actor) else { continue };
            let place = ActorWhere::Dead { reason: "it has ended long ago".to_owned(), exit: Exit::Normal };
            effects.extend(waiting.into_iter().map(|watcher| ActorEffect::Tell(watcher, actor, place.clone())));
        }
        self.place(now, effects);
    }

    // --- getters -------------------------------------------------------------------------------------------------------

    /// Actors that are kept here and are not dead.
    #[must_use]
    pub fn len(&self) -> usize {
        self.actors.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actors.is_empty()
    }

    /// Whether time changes anything.
    #[must_use]
    pub fn waits_for_time(&self) -> bool {
        !self.placing.is_empty() || !self.unknown.is_empty() || self.phases.has_back_offs()
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        for (class, actor) in &self.placing {
            let phase = &self.actors[actor].phase;
            assert!(matches!(phase, Phase::Placing { class: own, .. } if own == class), "a demand has its actor");
        }
        let placing = self.actors.values().filter(|record| matches!(record.phase, Phase::Placing { .. })).count();
        self.phases.sanity_check(self.actors.iter().map(|(actor, record)| (*actor, &record.phase)));
        assert_eq!(placing, self.placing.len(), "an actor that is being placed has its demand");
        assert!(placing <= PLACING_MAX, "what is being placed is bounded");
        let leases = self.actors.values().filter_map(|record| match &record.phase {
            Phase::Held(held) => Some(held.lease),
            _ => None,
        });
        let (mut all, mut count) = (BTreeSet::new(), 0);
        leases.for_each(|lease| {
            all.insert(lease);
            count += 1;
        });
        assert_eq!(all.len(), count, "each actor has a lease of its own");
        assert!(self.actors.keys().all(|actor| !self.dead.contains_key(actor)), "the dead stay dead");
        assert_eq!(self.dead.len(), self.dead_order.len(), "the dead are remembered once");
    }
}

/// Whether it may share a worker: it asks for nothing.
fn is_light(record: &Record) -> bool {
    let new = &record.new;
    new.spec.resources.is_empty()
        && new.options.strategy == SchedulingStrategy::Default
        && new.options.labels.is_empty()
}

fn class_of(record: &Record, on: Option<NodeId>) -> ClassSpec {
    let strategy = match on {
        Some(node) => SchedulingStrategy::NodeAffinity { node, soft: true },
        None => record.new.options.strategy.clone(),
    };
    let (demand, labels) = (record.new.spec.resources.clone(), record.new.options.labels.clone());
    let retriable = record.new.options.max_restarts.is_none_or(|max| max > 0);
    ClassSpec { demand, strategy, labels, near: None, retriable }
}

fn demand_of(record: &Record, class: ClassId, on: Option<NodeId>, want: u32, revision: u64) -> Demand {
    Demand { class, spec: class_of(record, on), want, elsewhere: 0, work: Work::default(), revision }
}

/// The demand of an actor that wants no lease any more.
fn unwanted(record: &Record, class: ClassId, revision: u64) -> ActorEffect {
    let on = match &record.phase {
        Phase::Placing { on, .. } => *on,
        _ => None,
    };
    let demand = demand_of(record, class, on, 0, revision);
    ActorEffect::Demand(Box::new(record.code.clone()), demand)
}

fn tell_all(actor: ActorId, record: &Record, effects: &mut Vec<ActorEffect>) {
    let place = place_of(&record.phase);
    effects.extend(record.watchers.iter().map(|watcher| ActorEffect::Tell(*watcher, actor, place.clone())));
}

fn place_of(phase: &Phase) -> ActorWhere {
    match phase {
        Phase::Held(held) if held.up => ActorWhere::Alive { process: held.host, doors: held.doors.clone() },
        Phase::BackOff(_) => ActorWhere::Away { reason: "it is being restarted".to_owned() },
        _ => ActorWhere::Pending,
    }
}

fn death_of(drain: bool) -> ActorDeath {
    if drain {
        ActorDeath::OutOfScope
    } else {
        ActorDeath::Killed
    }
}

#[cfg(test)]
mod tests;
