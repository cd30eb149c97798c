//! Actors of other processes, as their callers hold them.
//!
//! Owns: [`RemoteActor`], which all handles of a process to one actor share, and carrying out what [`core`] decides. Does not
//! own the actor's life: its keeper does, and the references between processes say how long it is needed.
//!
//! Invariants: calls leave in the order in which they were made, though several threads make them: one thread at a time
//! carries out, and no lock is held while it does; as long as a [`RemoteActor`] is alive, so is its actor, unless it is killed.

pub mod core;

use std::{
    any::Any,
    collections::VecDeque,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use actinic_gcs::{ActorId, NodeId, ObjectId, TaskId};
use parking_lot::Mutex;

use self::core::{CallCore, CallEffect, Called};
use super::{
    core_worker::CoreWorker,
    wire::{ActorWhere, ActorWord, ProcessId, WireActor},
};
use crate::{
    error::{TaskError, TaskErrorKind},
    options::OverflowPolicy,
    panics,
    supervision::Exit,
    task::{Task, TaskState},
};

/// Who hears of an actor's death.
pub(super) type OnDeath = Box<dyn FnOnce(Exit) + Send>;

/// A call as the core holds it.
#[derive(Clone)]
pub struct MadeCall {
    task: Arc<dyn Task>,
    /// As long as a call is not answered its actor is needed.
    actor: Arc<RemoteActor>,
}

impl Called for MadeCall {
    fn id(&self) -> TaskId {
        self.task.head().id
    }

    fn ready(&self) {
        self.task.head().mark_queued();
    }

    fn claim(&self) -> bool {
        self.task.head().claim()
    }

    fn is_over(&self) -> bool {
        self.task.head().state() == TaskState::Done
    }

    fn try_again(&self) -> bool {
        let head = self.task.head();
        let again = head.attempts() < self.actor.wire.max_task_retries && !head.is_cancelled();
        if again {
            head.mark_requeued();
        }
        again
    }
}

struct Inner {
    core: CallCore<MadeCall>,
    effects: VecDeque<CallEffect<MadeCall>>,
    /// Whether a thread carries effects out.
    busy: bool,
    on_death: Vec<OnDeath>,
}

/// An actor of another process.
pub struct RemoteActor {
    wire: WireActor,
    /// The reference by which its life is counted.
    object: ObjectId,
    owner: ProcessId,
    core: Weak<CoreWorker>,
    inner: Mutex<Inner>,
    /// What its constructor takes, until it is dead: its owner's, since it may be made again.
    kept: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
}

impl RemoteActor {
    pub(super) fn new(wire: WireActor, object: ObjectId, owner: ProcessId, core: &Arc<CoreWorker>) -> Arc<Self> {
        let inner = Inner {
            core: CallCore::new(wire.max_pending_calls),
            effects: VecDeque::new(),
            busy: false,
            on_death: Vec::new(),
        };
        let core = Arc::downgrade(core);
        Arc::new(Self { wire, object, owner, core, inner: Mutex::new(inner), kept: Mutex::default() })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.wire.id
    }

    /// What another process is told of it.
    #[must_use]
    pub fn wire(&self) -> &WireActor {
        &self.wire
    }

    pub(super) fn object(&self) -> ObjectId {
        self.object
    }

    pub(super) fn owner(&self) -> ProcessId {
        self.owner
    }

    /// The node that keeps it.
    #[must_use]
    pub fn keeper(&self) -> NodeId {
        self.owner.node
    }

    /// Keeps `what` until the actor is dead.
    pub(super) fn keep(&self, what: Arc<dyn Any + Send + Sync>) {
        *self.kept.lock() = Some(what);
    }

    /// A call of it is made; `ready` if its arguments are there.
    pub fn call(self: &Arc<Self>, task: Arc<dyn Task>, ready: bool) {
        if let OverflowPolicy::Block(longest) = self.wire.overflow {
            self.wait_for_room(longest);
        }
        let call = MadeCall { task, actor: self.clone() };
        self.decide(|core, effects| core.on_call(call, ready, effects));
    }

    /// The arguments of a call are there.
    pub fn call_ready(self: &Arc<Self>, call: TaskId) {
        self.decide(|core, effects| core.on_ready(call, effects));
    }

    fn wait_for_room(&self, longest: Duration) {
        let until = Instant::now() + longest;
        let full = || {
            let (waiting, under_way) = self.inner.lock().core.load();
            waiting + under_way > self.wire.max_pending_calls
        };
        let Some(node) = self.core.upgrade().and_then(|core| core.engine()) else { return };
        if full() {
            crate::blocking::blocked(&node, || {
                while full() && Instant::now() < until {
                    std::thread::park_timeout(Duration::from_micros(200));
                }
            });
        }
    }

    /// Ends it: at once, or once its calls are answered.
    pub fn end(self: &Arc<Self>, reason: &str, drain: bool) {
        if !drain {
            self.decide(|core, effects| core.on_kill(reason, effects));
        }
        self.tell_keeper_to_end(reason, drain);
    }

    pub(super) fn tell_keeper_to_end(&self, reason: &str, drain: bool) {
        if let Some(core) = self.core.upgrade() {
            core.to_keeper(self.keeper(), ActorWord::End { actor: self.id(), reason: reason.to_owned(), drain });
        }
    }

    /// Takes its state down and has it rebuilt.
    pub fn restart(&self) {
        let place = self.place();
        if let (Some(core), ActorWhere::Alive { process, .. }) = (self.core.upgrade(), place) {
            core.restart_at(process, self.id());
        }
    }

    /// Calls `on_death` once the actor is dead for good.
    pub fn on_death(&self, on_death: OnDeath) {
        let mut inner = self.inner.lock();
        match inner.core.place() {
            ActorWhere::Dead { exit, .. } => {
                let exit = exit.clone();
                drop(inner);
                on_death(exit);
            }
            _ => inner.on_death.push(on_death),
        }
    }

    /// Where it is, as far as is known.
    pub(super) fn place(&self) -> ActorWhere {
        self.inner.lock().core.place().clone()
    }

    /// Calls of this process that wait, and calls of it that are under way.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        self.inner.lock().core.load()
    }

    /// Why a call of it has not ended.
    #[must_use]
    pub fn explain(&self) -> String {
        let inner = self.inner.lock();
        let (waiting, under_way) = inner.core.load();
        let place = match inner.core.place() {
            ActorWhere::Pending => "it is not there yet".to_owned(),
            ActorWhere::Alive { process, .. } => format!("it is in worker {process}"),
            ActorWhere::Away { reason } => format!("it was lost ({reason}) and is being restarted"),
            ActorWhere::Dead { reason, .. } => format!("it is dead ({reason})"),
        };
        format!("actor `{}`: {place}; {waiting} calls of this process wait, {under_way} are under way", self.wire.label)
    }

    // --- what is heard -------------------------------------------------------------------------------------------------

    /// It is somewhere else now, or nowhere.
    pub(super) fn on_place(self: &Arc<Self>, place: ActorWhere) {
        let exit = match &place {
            ActorWhere::Dead { exit, .. } => Some(exit.clone()),
            _ => None,
        };
        self.decide(|core, effects| core.on_place(place, effects));
        let Some(exit) = exit else { return };
        let told = std::mem::take(&mut self.inner.lock().on_death);
        tell_of_death(told, &exit);
        let kept = self.kept.lock().take();
        drop(kept);
    }

    /// A call was answered. Gives it, if it was under way.
    pub(super) fn on_answer(&self, call: TaskId) -> Option<Arc<dyn Task>> {
        self.inner.lock().core.on_answer(call).map(|call| call.task)
    }

    /// A call was cancelled: where it is, if it was sent.
    pub(super) fn on_cancelled(self: &Arc<Self>, call: TaskId) -> Option<ProcessId> {
        self.decide(|core, effects| core.on_cancelled(effects));
        let inner = self.inner.lock();
        match inner.core.place() {
            ActorWhere::Alive { process, .. } if inner.core.is_under_way(call) => Some(*process),
            _ => None,
        }
    }

    // --- carrying out --------------------------------------------------------------------------------------------------

    fn decide(self: &Arc<Self>, event: impl FnOnce(&mut CallCore<MadeCall>, &mut Vec<CallEffect<MadeCall>>)) {
        let mut effects = Vec::new();
        let mut inner = self.inner.lock();
        event(&mut inner.core, &mut effects);
        inner.effects.extend(effects);
        if inner.busy {
            return;
        }
        inner.busy = true;
        while let Some(effect) = inner.effects.pop_front() {
            drop(inner);
            self.carry_out(effect);
            inner = self.inner.lock();
        }
        inner.busy = false;
    }

    fn carry_out(self: &Arc<Self>, effect: CallEffect<MadeCall>) {
        let actor = || self.wire.label.clone();
        match effect {
            CallEffect::Send { process, call, at_once } => match self.core.upgrade() {
                Some(core) => {
                    if let Err(error) = core.send_call(self, process, &call.task, at_once) {
                        let _ = self.on_answer(call.id());
                        call.task.fail(error);
                    }
                }
                None => call.task.fail(super::core_worker::disconnected()),
            },
            CallEffect::Dead(call, reason) => {
                let method = call.task.head().name.to_owned();
                let error = match call.task.head().attempts() {
                    0 => TaskErrorKind::ActorDied { actor: actor(), method, reason },
                    _ => TaskErrorKind::ActorUnavailable { actor: actor(), method, reason },
                };
                call.task.fail(error.into());
            }
            CallEffect::Unavailable(call, reason) => {
                let method = call.task.head().name.to_owned();
                call.task.fail(TaskErrorKind::ActorUnavailable { actor: actor(), method, reason }.into());
            }
            CallEffect::Full(call) => {
                let (method, limit) = (call.task.head().name.to_owned(), self.wire.max_pending_calls);
                let full = TaskErrorKind::PendingCallsLimitExceeded { actor: actor(), method, limit };
                call.task.fail(TaskError::from(full));
            }
        }
    }
}

/// Tells those who watch.
pub(super) fn tell_of_death(told: Vec<OnDeath>, exit: &Exit) {
    for on_death in told {
        // User code, on the thread that hears.
        let exit = exit.clone();
        if let Err(panic) = panics::catch(move || on_death(exit)) {
            tracing::error!(at = %panic.location, message = %panic.message, "a callback on an actor's death panicked");
        }
    }
}

impl Drop for RemoteActor {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            let on_death = std::mem::take(&mut self.inner.get_mut().on_death);
            core.actor_dropped(self, on_death);
        }
    }
}
