//! Actors: those of other processes that this one calls, and those that it hosts.
//!
//! Owns: the handles of this process to actors elsewhere, by id; making, calling and finding such actors; and hosting actors
//! for their keepers. Invariants: a process has one [`RemoteActor`] an actor, so that all its calls have one order; a host says
//! of each of its actors, once, that it is dead.

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use actinic_gcs::{ActorId, FunctionId, NodeId, ObjectId, TaskId};
use rustc_hash::FxHashMap;

use super::{answers::AnswerTo, Arrived, CoreWorker, Imported};
use crate::{
    cluster::{
        calls::{tell_of_death, OnDeath, RemoteActor},
        core_worker::Exporter,
        peer::NotSent,
        wire::{
            ActorWhere, ActorWord, DataFrame, HostActor, LeaseId, NewActor, ProcessId, RunTask, ToNode, WireActor,
            WireArg, WireOutcome,
        },
        workers::byline,
    },
    error::{TaskError, TaskErrorKind},
    panics,
    supervision::Exit,
    task::{Task, TaskHead, TaskKind},
    user::AnyActor,
};

/// Makes an actor of this process out of what its keeper says, and starts it.
pub type ActorImporter = fn(&Arc<CoreWorker>, HostActor) -> Result<(), TaskError>;
/// Makes a call of an actor of this process out of one that has come, and offers it to the actor.
pub type CallImporter = fn(Arrived<'_>, Arc<dyn AnyActor>, RunTask) -> Result<Imported, TaskError>;

/// What this executable can host and call.
#[derive(Default)]
pub struct Classes {
    /// Constructors.
    pub actors: std::collections::BTreeMap<FunctionId, ActorImporter>,
    /// Methods.
    pub methods: std::collections::BTreeMap<FunctionId, CallImporter>,
}

struct Hosted {
    keeper: NodeId,
    lease: LeaseId,
}

/// The actors that concern this process.
#[derive(Default)]
pub(super) struct Actors {
    known: FxHashMap<ActorId, Weak<RemoteActor>>,
    /// Actors of this process's making that others need.
    pub(super) pinned: FxHashMap<ObjectId, Arc<RemoteActor>>,
    hosted: FxHashMap<ActorId, Hosted>,
    /// Who watches actors to which this process has no handle any more, and their keepers.
    watched: FxHashMap<ActorId, (NodeId, Vec<OnDeath>)>,
}

/// The reference by which the handles to an actor are counted.
fn object_of(actor: ActorId) -> ObjectId {
    ObjectId::of_return(TaskId(actor.0), 0)
}

/// References that a keeper was sent along with a constructor: hosts turn to their owners, so it is this process, the
/// actor's owner, that knows when the keeper needs them no more.
struct KeptRefs {
    core: Weak<CoreWorker>,
    keeper: ProcessId,
    objects: Vec<ObjectId>,
    _kept: Arc<dyn Any + Send + Sync>,
}

impl Drop for KeptRefs {
    fn drop(&mut self) {
        let Some(core) = self.core.upgrade() else { return };
        let mut effects = Vec::new();
        for object in &self.objects {
            core.state.lock().refs.on_release(*object, self.keeper, 1, &mut effects);
        }
        core.carry_out_refs(effects);
    }
}

impl CoreWorker {
    pub(in crate::cluster) fn to_keeper(&self, keeper: NodeId, word: ActorWord) {
        self.to_node(&ToNode::Actor { keeper, word });
    }

    // --- actors elsewhere ----------------------------------------------------------------------------------------------

    /// Who will own an actor that this process makes.
    #[must_use]
    pub fn owner_of_new(&self, detached: bool) -> ProcessId {
        if detached {
            ProcessId::manager(*self.head.lock())
        } else {
            self.me()
        }
    }

    /// Asks for a new actor. Its arguments follow with [`CoreWorker::construct`].
    pub fn declare(self: &Arc<Self>, new: NewActor, wire: WireActor) -> Arc<RemoteActor> {
        let (object, owner) = (object_of(new.spec.id), new.owner);
        let actor = RemoteActor::new(wire, object, owner, self);
        self.actors.lock().known.insert(actor.id(), Arc::downgrade(&actor));
        self.to_keeper(actor.keeper(), ActorWord::Declare(Box::new(new)));
        actor
    }

    /// The arguments of an actor's constructor are there. `export` gives them; `kept` holds what they refer to.
    pub fn construct(
        self: &Arc<Self>,
        actor: &Arc<RemoteActor>,
        export: impl FnOnce(&Exporter<'_>) -> Result<Vec<WireArg>, TaskError>,
        kept: Arc<dyn Any + Send + Sync>,
    ) {
        let keeper = ProcessId::manager(actor.keeper());
        let exported = self.export(keeper, |exporter| {
            let args = export(exporter)?;
            let mut values = args.iter().flat_map(WireArg::values);
            let has_refs = values.any(|value| !value.refs.is_empty() || value.away.is_some());
            if actor.wire().detached && has_refs {
                let message = "a detached actor outlives its creator, who owns the objects that the constructor's \
                               arguments refer to; give it their values";
                let type_name = "an argument".to_owned();
                return Err(TaskErrorKind::Codec { type_name, message: message.to_owned() }.into());
            }
            Ok(args)
        });
        match exported {
            Ok(args) => {
                let refs = args.iter().flat_map(WireArg::values).flat_map(|value| &value.refs);
                let objects = refs.map(|wire| wire.id).collect();
                actor.keep(Arc::new(KeptRefs { core: Arc::downgrade(self), keeper, objects, _kept: kept }));
                self.to_keeper(actor.keeper(), ActorWord::Construct { actor: actor.id(), args });
            }
            Err(error) => actor.end(&format!("its constructor's arguments: {error}"), false),
        }
    }

    /// An actor that was found by its name.
    #[must_use]
    pub fn found(self: &Arc<Self>, wire: WireActor, owner: ProcessId) -> Arc<RemoteActor> {
        let object = object_of(wire.id);
        let (actor, new) = self.known_or(wire, object, owner);
        if new && !actor.wire().detached {
            // Its owner counts this one as if it had sent it.
            let mut effects = Vec::new();
            self.state.lock().refs.on_receive(object, owner, owner, &mut effects);
            self.carry_out_refs(effects);
            let _ = self.to_process(owner, &DataFrame::BorrowActor(actor.id()));
        }
        actor
    }

    /// A handle that has come from another process.
    pub(super) fn receive_actor(
        self: &Arc<Self>,
        from: ProcessId,
        (object, owner): (ObjectId, ProcessId),
        wire: WireActor,
    ) -> Arc<RemoteActor> {
        if wire.detached {
            return self.known_or(wire, object, owner).0;
        }
        let mut effects = Vec::new();
        self.state.lock().refs.on_receive(object, owner, from, &mut effects);
        let home = (owner == self.me()).then(|| self.actors.lock().pinned.get(&object).cloned()).flatten();
        let actor = home.unwrap_or_else(|| {
            let (actor, new) = self.known_or(wire, object, owner);
            if !new && owner != self.me() {
                // One reference is enough for all handles.
                self.state.lock().refs.on_dropped(object, &mut effects);
            }
            actor
        });
        // Not before there is a handle that keeps it.
        self.carry_out_refs(effects);
        actor
    }

    fn known_or(self: &Arc<Self>, wire: WireActor, object: ObjectId, owner: ProcessId) -> (Arc<RemoteActor>, bool) {
        let id = wire.id;
        let actor = {
            let mut actors = self.actors.lock();
            if let Some(known) = actors.known.get(&id).and_then(Weak::upgrade) {
                return (known, false);
            }
            let actor = RemoteActor::new(wire, object, owner, self);
            actors.known.insert(id, Arc::downgrade(&actor));
            actor
        };
        self.to_keeper(owner.node, ActorWord::Watch(id));
        (actor, true)
    }

    /// The last handle of this process is gone.
    pub(in crate::cluster) fn actor_dropped(self: &Arc<Self>, actor: &RemoteActor, watching: Vec<OnDeath>) {
        {
            let mut actors = self.actors.lock();
            if !watching.is_empty() {
                actors.watched.entry(actor.id()).or_insert((actor.keeper(), Vec::new())).1.extend(watching);
            }
            if actors.known.get(&actor.id()).is_some_and(|known| known.strong_count() == 0) {
                actors.known.remove(&actor.id());
            }
        }
        if actor.wire().detached {
            return;
        }
        if actor.owner() == self.me() {
            actor.tell_keeper_to_end("no handle to it was left", true);
        } else {
            self.dropped(actor.object());
        }
    }

    /// Sends a call.
    pub(in crate::cluster) fn send_call(
        self: &Arc<Self>,
        actor: &RemoteActor,
        to: ProcessId,
        task: &Arc<dyn Task>,
        at_once: bool,
    ) -> Result<(), TaskError> {
        let run = self.export(to, |exporter| task.export(exporter).unwrap_or_else(|| Err(super::disconnected())))?;
        let frame = DataFrame::Call(actor.id(), Box::new(run));
        self.to_process_soon(to, &frame, at_once).map_err(|error| super::export::not_sent(task.head().name, error))
    }

    pub(in crate::cluster) fn restart_at(self: &Arc<Self>, host: ProcessId, actor: ActorId) {
        let _ = self.to_process(host, &DataFrame::RestartActor(actor));
    }

    /// Why a call of an actor of another process has not ended.
    #[must_use]
    pub fn explain_call(&self, actor: ActorId) -> Option<String> {
        let actor = self.actors.lock().known.get(&actor).and_then(Weak::upgrade)?;
        Some(actor.explain())
    }

    /// Asks the host of a call's actor to end the call.
    pub(super) fn cancel_call(self: &Arc<Self>, head: &TaskHead) {
        let TaskKind::Method(actor) = head.kind else { return };
        let Some(actor) = self.actors.lock().known.get(&actor).and_then(Weak::upgrade) else { return };
        if let Some(process) = actor.on_cancelled(head.id) {
            let _ = self.to_process(process, &DataFrame::Cancel(head.id));
        }
    }

    /// Word of where an actor is.
    pub(super) fn on_actor(self: &Arc<Self>, actor: ActorId, place: ActorWhere) {
        if let ActorWhere::Dead { exit, .. } = &place {
            let watched = self.actors.lock().watched.remove(&actor);
            tell_of_death(watched.map(|(_, told)| told).unwrap_or_default(), exit);
        }
        let Some(actor) = self.actors.lock().known.get(&actor).and_then(Weak::upgrade) else { return };
        actor.on_place(place);
    }

    /// The actors that this process calls at another one.
    pub(super) fn actors_at(&self, process: ProcessId) -> Vec<Arc<RemoteActor>> {
        let known: Vec<Arc<RemoteActor>> = self.actors.lock().known.values().filter_map(Weak::upgrade).collect();
        let is_there =
            |actor: &Arc<RemoteActor>| matches!(actor.place(), ActorWhere::Alive { process: at, .. } if at == process);
        known.into_iter().filter(is_there).collect()
    }

    /// A call of this process was answered.
    pub(super) fn answered(
        self: &Arc<Self>,
        from: ProcessId,
        actor: ActorId,
        task: TaskId,
        outcomes: Vec<WireOutcome>,
    ) {
        let known = self.actors.lock().known.get(&actor).and_then(Weak::upgrade);
        let task = known.and_then(|actor| actor.on_answer(task));
        // As of a task: what has come is given back if nobody awaits it.
        let outcomes = outcomes.into_iter().map(|outcome| outcome.map(|value| self.import(from, value))).collect();
        if let (Some(task), Some(node)) = (task, self.engine()) {
            task.settle(&node, outcomes);
        }
    }

    /// A process has found a handle by its name.
    pub(super) fn borrowed(self: &Arc<Self>, from: ProcessId, actor: ActorId) {
        // One that is gone its keeper tells of.
        let Some(actor) = self.actors.lock().known.get(&actor).and_then(Weak::upgrade) else { return };
        self.pin_actor(&actor, from);
    }

    /// A handle to an actor of this process's making is about to be sent.
    pub(super) fn pin_actor(&self, actor: &Arc<RemoteActor>, to: ProcessId) {
        let object = actor.object();
        if self.state.lock().refs.on_send(object, actor.owner(), to) {
            self.actors.lock().pinned.insert(object, actor.clone());
        }
    }

    /// The keepers on a node are gone, and their actors with them.
    pub(super) fn keeper_gone(self: &Arc<Self>, node: NodeId, reason: &str) {
        // Let go of without the lock: the last of them tells that it is gone.
        let known: Vec<Arc<RemoteActor>> = self.actors.lock().known.values().filter_map(Weak::upgrade).collect();
        let (kept, hosted): (Vec<ActorId>, Vec<ActorId>) = {
            let actors = self.actors.lock();
            let known = known.iter().filter(|actor| actor.keeper() == node);
            let watched = actors.watched.iter().filter(|(_, (keeper, _))| *keeper == node).map(|(id, _)| *id);
            let hosted = actors.hosted.iter().filter(|(_, hosted)| hosted.keeper == node).map(|(id, _)| *id);
            (known.map(|actor| actor.id()).chain(watched).collect(), hosted.collect())
        };
        let reason = format!("the node that kept it was lost: {reason}");
        for actor in kept {
            self.on_actor(actor, ActorWhere::Dead { reason: reason.clone(), exit: Exit::Failed(reason.clone()) });
        }
        for actor in hosted {
            self.end_hosted(actor, &reason, false);
        }
    }

    // --- actors here ---------------------------------------------------------------------------------------------------

    /// An actor is to live here.
    pub(super) fn host(self: &Arc<Self>, host: HostActor) {
        let (actor, lease, keeper) = (host.new.spec.id, host.lease, host.keeper);
        byline::hosts(actor, &host.new.spec.class_name, host.new.spec.name.as_deref());
        self.actors.lock().hosted.insert(actor, Hosted { keeper, lease });
        let made = match self.classes.actors.get(&host.new.spec.class) {
            // Decoding runs code of the user's.
            Some(import) => panics::catch(|| import(self, host))
                .unwrap_or_else(|panic| Err(TaskErrorKind::codec("an argument", panic.message))),
            None => Err(TaskErrorKind::codec("an actor", "the worker's executable has no such class".to_owned())),
        };
        if let Err(error) = made {
            let reason = format!("its constructor failed: {error}");
            self.hosted_down(actor, &reason, Exit::Failed(reason.clone()));
        }
    }

    /// The keeper's references to what a constructor takes are the owners' to keep from now on.
    pub fn take_over(self: &Arc<Self>, keeper: NodeId) {
        let mut effects = Vec::new();
        self.state.lock().refs.on_gone(ProcessId::manager(keeper), &mut effects);
        self.carry_out_refs(effects);
    }

    /// An actor of this process is to end.
    pub(super) fn end_hosted(&self, actor: ActorId, reason: &str, drain: bool) {
        let Some(node) = self.engine() else { return };
        match node.actors.get(actor) {
            Some(cell) if drain => cell.handles_gone(),
            Some(_) => node.supervisor.ended(actor, reason),
            None => self.hosted_down(actor, reason, Exit::Killed),
        }
    }

    pub(super) fn restart_hosted(&self, actor: ActorId) {
        let Some(node) = self.engine() else { return };
        if let Some(cell) = node.actors.get(actor) {
            cell.take_down();
            node.supervisor.exited(actor, Exit::Failed("it was restarted on request".to_owned()));
        }
    }

    /// An actor of this process is called by another.
    pub(super) fn run_call(self: &Arc<Self>, from: ProcessId, actor: ActorId, mut run: RunTask) {
        let args = Arrived::new(self, from, std::mem::take(&mut run.args));
        let Some(node) = self.engine() else { return };
        let (id, function) = (run.id, run.function);
        let imported = match (node.actors.get(actor), self.classes.methods.get(&function)) {
            (Some(cell), Some(import)) => panics::catch(|| import(args, cell, run))
                .unwrap_or_else(|panic| Err(TaskErrorKind::codec("an argument", panic.message))),
            (None, _) => {
                let (actor, method) = (actor.to_string(), "a call".to_owned());
                let reason = "it is not in this worker any more".to_owned();
                Err(TaskErrorKind::ActorUnavailable { actor, method, reason }.into())
            }
            (_, None) => Err(super::ears::unknown_function(&node)),
        };
        match imported {
            Ok(imported) => self.answer_when_done(from, AnswerTo::Call(actor), imported),
            Err(error) => {
                let _: Result<(), NotSent> =
                    self.to_process(from, &DataFrame::Answer { actor, task: id, outcomes: vec![Err(error)] });
            }
        }
    }

    /// Whether an actor lives here for its keeper.
    #[must_use]
    pub fn hosts(&self, actor: ActorId) -> bool {
        self.actors.lock().hosted.contains_key(&actor)
    }

    fn tell_keeper(&self, actor: ActorId, word: impl FnOnce(LeaseId) -> ActorWord) {
        let hosted = self.actors.lock().hosted.get(&actor).map(|hosted| (hosted.keeper, hosted.lease));
        if let Some((keeper, lease)) = hosted {
            self.to_keeper(keeper, word(lease));
        }
    }

    /// The state of an actor of this process is there.
    pub fn hosted_up(&self, actor: ActorId) {
        self.tell_keeper(actor, |lease| ActorWord::Up(actor, lease));
    }

    /// The state of an actor of this process is built anew.
    pub fn hosted_restarting(&self, actor: ActorId) {
        self.tell_keeper(actor, |lease| ActorWord::Restarting(actor, lease));
    }

    /// The state of an actor of this process was saved.
    pub fn hosted_checkpoint(&self, actor: ActorId, calls: u64, state: &[u8]) {
        let state = bytes::Bytes::copy_from_slice(state);
        self.tell_keeper(actor, |lease| ActorWord::Checkpoint { actor, lease, calls, state });
    }

    /// An actor of this process is dead for good.
    pub fn hosted_down(&self, actor: ActorId, reason: &str, exit: Exit) {
        let Some(hosted) = self.actors.lock().hosted.remove(&actor) else { return };
        byline::hosts_no_more(actor);
        let word = ActorWord::Down { actor, lease: hosted.lease, reason: reason.to_owned(), exit };
        self.to_keeper(hosted.keeper, word);
    }
}
