//! The life of an actor: built, crashed, rebuilt, dead.
//!
//! Owns: carrying out what the supervisor decides on the state and on the calls that wait. Every call is answered.

use std::sync::{atomic::Ordering, Arc};

use actinic_gcs::ActorId;
use actix::Addr;

use super::{ActorCell, AnyActor, Call};
use crate::{
    error::{TaskError, TaskErrorKind},
    node::Node,
    options::ActorOptions,
    panics::{self, Panic},
    task::{Object, Task, TaskHead},
    user::{
        actor::{Crashed, UserActor},
        mailbox::{Access, Phase},
    },
};

impl<A: Send + Sync + 'static> ActorCell<A> {
    pub(super) fn create(self: &Arc<Self>) {
        // Not before: a turn that runs on the former state must still see that it is taken down.
        self.taken_down.store(false, Ordering::Release);
        self.head.mark_queued();
        let _ = self.head.claim();
        let saved = self.checkpoint.lock().clone();
        let task: Arc<dyn Task> = self.clone();
        let built = self.framed(task, || {
            panics::catch(|| match (&self.checkpoints, saved) {
                (Some(checkpoints), Some(bytes)) => (checkpoints.load)(&bytes).map_err(|message| {
                    TaskErrorKind::Codec { type_name: std::any::type_name::<A>().to_owned(), message }.into()
                }),
                _ => (self.factory)(),
            })
        });
        let reason = match built {
            Ok(Ok(state)) => {
                *self.state.write() = Some(state);
                None
            }
            Ok(Err(error)) => Some(format!("its constructor failed: {error}")),
            Err(panic) => Some(format!("its constructor panicked at {}: {}", panic.location, panic.message)),
        };
        self.head.finish();
        self.inner.lock().core.created(reason.is_none());
        match reason {
            None => {
                match self.node.keeper_of(self.id) {
                    Some(cluster) => cluster.hosted_up(self.id),
                    None => self.node.gcs.actor_alive(self.id),
                }
                self.node.supervisor.alive(self.id);
            }
            Some(reason) => self.report_crash(reason),
        }
    }

    pub(super) fn on_crash(self: &Arc<Self>, call: &Arc<dyn Call<A>>, panic: &Panic, access: Access, group: usize) {
        let method = call.method().name;
        let reason = format!("`{method}` panicked at {}: {}", panic.location, panic.message);
        let again = call.head().attempts() < self.options.max_task_retries && !call.head().is_cancelled();
        let alive = {
            let mut inner = self.inner.lock();
            let alive = inner.core.crashed();
            if alive && again {
                call.head().mark_requeued();
                inner.core.put_back(call.clone(), group, access);
            }
            alive
        };
        if !(alive && again) {
            call.fail(
                TaskErrorKind::Panicked {
                    task: method.to_owned(),
                    node: self.node.name.clone(),
                    message: panic.message.clone(),
                    location: panic.location.clone(),
                }
                .into(),
            );
        }
        if alive {
            self.report_crash(reason);
        }
    }

    pub(super) fn report_crash(&self, reason: String) {
        if let Some(address) = self.address() {
            address.do_send(Crashed { reason });
        }
    }

    pub(super) fn drop_state(&self) {
        // The state's own drop is user code as well.
        let taken = self.state.try_write().and_then(|mut state| state.take());
        if let Err(panic) = panics::catch(|| drop(taken)) {
            tracing::warn!(actor = %self.label, at = %panic.location, message = %panic.message, "the state's drop panicked");
        }
    }

    pub(super) fn end_if_drained(self: &Arc<Self>) {
        if self.gone.load(Ordering::Relaxed) && self.inner.lock().core.is_drained() {
            self.node.supervisor.left(self.id, "no handle to it was left");
        }
    }
}

impl<A: Send + Sync + 'static> Task for ActorCell<A> {
    fn head(&self) -> &TaskHead {
        &self.head
    }

    fn execute(self: Arc<Self>, _node: &Arc<Node>) {
        // Its arguments and resources are there. The constructor runs in a turn, since it may block.
        self.dependencies.lock().clear();
        if self.inner.lock().core.allow_creation() {
            self.queue_turn(None);
        }
    }

    fn fail(&self, error: TaskError) {
        if let Some(cell) = self.myself.get().and_then(std::sync::Weak::upgrade) {
            // Its supervisor tells who watches it, and frees its name.
            self.node.supervisor.ended(self.id, &error.to_string());
            cell.die(&error.to_string());
        }
    }

    fn each_dependency(&self, visit: &mut dyn FnMut(Arc<dyn Object>)) {
        let all = self.dependencies.lock().clone();
        all.into_iter().for_each(visit);
    }

    fn help(self: Arc<Self>, _node: &Arc<Node>) -> bool {
        false
    }
}

impl<A: Send + Sync + 'static> AnyActor for ActorCell<A> {
    fn id(&self) -> ActorId {
        self.id
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn options(&self) -> &ActorOptions {
        &self.options
    }

    fn phase(&self) -> Phase {
        self.inner.lock().core.phase()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync> {
        self
    }

    fn load(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.core.pending(), inner.core.running())
    }

    fn creation(self: Arc<Self>) -> Arc<dyn Task> {
        self
    }

    fn set_address(&self, address: Addr<UserActor>) {
        *self.address.lock() = Some(address);
    }

    fn address(&self) -> Option<Addr<UserActor>> {
        self.address.lock().clone()
    }

    fn rebuild(self: Arc<Self>) {
        self.drop_state();
        if self.inner.lock().core.allow_creation() {
            self.queue_turn(None);
        }
    }

    fn take_down(self: Arc<Self>) {
        self.taken_down.store(true, Ordering::Release);
        if self.inner.lock().core.crashed() {
            self.abandon("it is being restarted");
        }
    }

    fn die(self: Arc<Self>, reason: &str) {
        self.taken_down.store(true, Ordering::Release);
        let calls = {
            let mut inner = self.inner.lock();
            if inner.died_of.is_none() {
                inner.died_of = Some(reason.to_owned());
            }
            inner.core.die()
        };
        for call in calls {
            self.fail_dead(call.as_ref(), reason);
        }
        self.abandon(reason);
        self.drop_state();
        // Resources that are granted only now go back at once.
        self.head.request_cancel();
        self.head.finish();
        self.node.task_done(&self.head);
        *self.address.lock() = None;
    }

    fn handles_gone(self: Arc<Self>) {
        self.inner.lock().core.drain();
        self.gone.store(true, Ordering::Relaxed);
        self.end_if_drained();
    }
}

impl<A: Send + Sync + 'static> ActorCell<A> {
    /// Ends the async calls under way: their callers learn that they may have run in part.
    pub(super) fn abandon(&self, reason: &str) {
        let all = std::mem::take(&mut *self.inflight.lock());
        for inflight in all.iter().filter_map(std::sync::Weak::upgrade) {
            inflight.abandon(reason);
        }
    }
}
