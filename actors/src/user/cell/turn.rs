//! Turns: how calls that may start are run.
//!
//! Owns: running exclusive, shared and `async` calls of one actor, on a worker or on the thread of a caller that waits for
//! its own call. Which call may start is the [mailbox](crate::user::mailbox)'s decision.

use std::{
    collections::VecDeque,
    sync::{atomic::Ordering, Arc},
};

use actinic_gcs::TaskId;

use super::{ActorCell, Call, Ran, TURN_BATCH, TURN_BUDGET};
use crate::{
    blocking,
    context::{self, Cpu, Frame},
    error::TaskErrorKind,
    lane::Turn,
    node::Node,
    task::{Task, TaskHead, TaskState},
    user::{
        inflight::{End, Inflight},
        mailbox::{Access, Start},
    },
};

impl<A: Send + Sync + 'static> ActorCell<A> {
    /// Runs this actor's turn on the calling thread until `call` has ended; false where that cannot be.
    pub fn help_call(self: &Arc<Self>, call: &TaskHead) -> bool {
        if context::depth() >= 64 || !self.inner.lock().core.begin_help() {
            return false;
        }
        let _ = context::with_thread(|thread| thread.outbox.take_back_turn(Arc::as_ptr(self).cast()));
        let mut inner = self.inner.lock();
        // Its entry may have been taken out of the outbox just now.
        inner.core.forget_queued_turn();
        drop(inner);
        // What it waits for may take long, and may need this CPU.
        blocking::without_cpu(&self.node, || self.drive(Some(call)));
        call.state() == TaskState::Done
    }

    /// What runs now: a queued call waits for it.
    #[must_use]
    pub fn running_calls(&self) -> Vec<TaskId> {
        self.running.lock().to_vec()
    }

    pub(super) fn drive(self: &Arc<Self>, until: Option<&TaskHead>) {
        let mut start = self.inner.lock().core.start_next();
        for handled in 0.. {
            start = match start {
                None => break,
                Some(Start::Create) => {
                    self.create();
                    self.inner.lock().core.start_next()
                }
                Some(Start::Call(call, access, group)) if call.method().is_async => {
                    self.start_async(call, access, group);
                    self.inner.lock().core.start_next()
                }
                Some(Start::Call(call, Access::Exclusive, group)) => self.run_exclusive(call, group, until),
                Some(Start::Call(call, Access::Shared, group)) => {
                    self.end_turn();
                    self.run_shared(&call, group);
                    let mut inner = self.inner.lock();
                    if !inner.core.begin_help() {
                        return;
                    }
                    inner.core.start_next()
                }
            };
            let enough = until.map_or(handled >= TURN_BUDGET, |call| call.state() == TaskState::Done);
            if enough {
                if let Some(start) = start {
                    self.give_back(start);
                }
                break;
            }
        }
        self.end_turn();
        self.end_if_drained();
    }

    pub(super) fn give_back(&self, start: Start<Arc<dyn Call<A>>>) {
        let mut inner = self.inner.lock();
        match start {
            Start::Create => inner.core.undo_create(),
            Start::Call(call, access, group) => {
                inner.core.done(access, group);
                inner.core.put_back(call, group, access);
            }
        }
    }

    pub(super) fn end_turn(self: &Arc<Self>) {
        if self.inner.lock().core.end_turn() {
            self.node.lane.push_turn(self.clone());
        }
    }

    /// Runs an exclusive call and those right behind it, without asking the mailbox for each.
    pub(super) fn run_exclusive(
        self: &Arc<Self>,
        first: Arc<dyn Call<A>>,
        group: usize,
        until: Option<&TaskHead>,
    ) -> Option<Start<Arc<dyn Call<A>>>> {
        let mut calls = VecDeque::new();
        self.inner.lock().core.start_more(group, TURN_BATCH, &mut calls);
        let mut next = Some(first);
        let mut crash = None;
        while let Some(call) = next.take() {
            if let Ran::Crashed(panic) = self.run_one(&call) {
                crash = Some((call, panic));
                break;
            }
            if until.is_some_and(|call| call.state() == TaskState::Done) || self.taken_down.load(Ordering::Acquire) {
                break;
            }
            next = calls.pop_front();
        }
        self.running.lock().clear();
        let mut inner = self.inner.lock();
        inner.core.give_back(group, &mut calls);
        inner.core.done(Access::Exclusive, group);
        if let Some((call, panic)) = crash {
            drop(inner);
            self.on_crash(&call, &panic, Access::Exclusive, group);
            inner = self.inner.lock();
        }
        let reason = if calls.is_empty() { None } else { Some(inner.died_of.clone().unwrap_or_default()) };
        let start = inner.core.start_next();
        drop(inner);
        for call in calls {
            self.fail_dead(call.as_ref(), reason.as_deref().unwrap_or_default());
        }
        start
    }

    pub(super) fn run_one(self: &Arc<Self>, call: &Arc<dyn Call<A>>) -> Ran {
        if !call.head().claim() {
            return Ran::Done;
        }
        {
            let mut running = self.running.lock();
            running.clear();
            running.push(call.head().id);
        }
        let mut state = self.state.write();
        let Some(state) = state.as_mut() else {
            self.fail_dead(call.as_ref(), "it ended as the call began");
            return Ran::Done;
        };
        let ran = self.framed(call.clone(), || call.clone().run(state));
        if matches!(ran, Ran::Done) && self.checkpoints.is_some() {
            self.count_and_checkpoint(state);
        }
        ran
    }

    pub(super) fn run_shared(self: &Arc<Self>, call: &Arc<dyn Call<A>>, group: usize) {
        let mut ran = Ran::Done;
        if call.head().claim() {
            self.running.lock().push(call.head().id);
            let state = self.state.read();
            if let Some(state) = state.as_ref() {
                ran = self.framed(call.clone(), || call.clone().run_shared(state));
                if matches!(ran, Ran::Done) {
                    self.count_and_checkpoint(state);
                }
            } else {
                self.fail_dead(call.as_ref(), "it ended as the call began");
            }
        }
        {
            self.running.lock().retain(|id| *id != call.head().id);
            self.inner.lock().core.done(Access::Shared, group);
        }
        if let Ran::Crashed(panic) = ran {
            self.on_crash(call, &panic, Access::Shared, group);
        }
    }

    pub(super) fn framed<R>(&self, task: Arc<dyn Task>, f: impl FnOnce() -> R) -> R {
        context::push_frame(Frame::of(task, self.gpus()));
        let result = context::with_cpu(Cpu::None, f);
        context::pop_frame();
        result
    }

    pub(super) fn gpus(&self) -> Option<Arc<[u32]>> {
        self.head.grant().map(|grant| grant.gpus.clone())
    }

    pub(super) fn start_async(self: &Arc<Self>, call: Arc<dyn Call<A>>, access: Access, group: usize) {
        if !call.head().claim() {
            let mut inner = self.inner.lock();
            inner.core.done(access, group);
            return;
        }
        self.running.lock().push(call.head().id);
        let future = call.clone().start(self.state.clone());
        let actor = self.clone();
        let ended = call.clone();
        let on_end = Box::new(move |end: End| actor.async_ended(&ended, end, access, group));
        let frame = Frame::of(call.clone(), self.gpus());
        let inflight = Inflight::new(self.node.clone(), frame, future, on_end, true);
        call.keep(inflight.clone());
        let mut all = self.inflight.lock();
        if all.len() >= 64 && all.len().is_power_of_two() {
            all.retain(|one| one.strong_count() > 0);
        }
        all.push(Arc::downgrade(&inflight));
        drop(all);
        inflight.poll_claimed();
    }

    pub(super) fn async_ended(self: &Arc<Self>, call: &Arc<dyn Call<A>>, end: End, access: Access, group: usize) {
        // Before the next call may start: it would hold the state's lock, or run on a broken state.
        if matches!(end, End::Completed) {
            if let Some(state) = self.state.try_read() {
                if let Some(state) = state.as_ref() {
                    self.count_and_checkpoint(state);
                }
            }
        }
        let wake = {
            self.running.lock().retain(|id| *id != call.head().id);
            let mut inner = self.inner.lock();
            if matches!(end, End::Panicked(_)) {
                inner.core.crashed();
            }
            inner.core.done(access, group);
            inner.core.wants_turn()
        };
        match end {
            End::Completed => {}
            End::Panicked(panic) => self.on_crash(call, &panic, access, group),
            End::Cancelled => call.fail(call.head().cancelled_error()),
            End::Abandoned(reason) => call.fail(
                TaskErrorKind::ActorUnavailable {
                    actor: self.label.clone(),
                    method: call.method().name.to_owned(),
                    reason,
                }
                .into(),
            ),
        }
        if wake {
            self.queue_turn(None);
        }
        self.end_if_drained();
    }

    fn no_checkpoint(&self, error: &str) {
        tracing::error!(actor = %self.label, error, "a checkpoint could not be saved");
        // In a worker nobody listens to events; what it writes comes out at the driver.
        static SAID: std::sync::Once = std::sync::Once::new();
        if self.node.cluster.is_some() {
            SAID.call_once(|| eprintln!("actinic: the state of {} is not checkpointed: {error}", self.label));
        }
    }

    pub(super) fn count_and_checkpoint(&self, state: &A) {
        let done = self.calls_done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(checkpoints) = &self.checkpoints {
            if checkpoints.every > 0 && done.is_multiple_of(checkpoints.every) {
                match (checkpoints.save)(state) {
                    Ok(bytes) => {
                        match self.node.keeper_of(self.id) {
                            Some(cluster) => cluster.hosted_checkpoint(self.id, done, &bytes),
                            None => self.node.gcs.checkpoint(self.id, done, &bytes),
                        }
                        *self.checkpoint.lock() = Some(bytes);
                    }
                    Err(error) => self.no_checkpoint(&error),
                }
            }
        }
    }
}

impl<A: Send + Sync + 'static> Turn for ActorCell<A> {
    fn run(self: Arc<Self>, _node: &Arc<Node>) {
        if self.inner.lock().core.begin_turn() {
            self.drive(None);
        }
    }
}
