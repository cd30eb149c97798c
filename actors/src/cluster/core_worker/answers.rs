//! What becomes of what another process has sent or asked for, on its way back.
//!
//! Owns: waiting for results of tasks and calls that came from others, and for objects that others ask for. Invariant: each is
//! answered once, whatever becomes of it; a task that was given back is not answered.

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc, Weak,
    },
    time::Instant,
};

use actinic_gcs::{ActorId, ObjectId, TaskId};
use rustc_hash::FxHashMap;

use super::{CoreWorker, Imported};
use crate::{
    cell::{Dependent, Waiter},
    cluster::wire::{DataFrame, LeaseId, ProcessId, WireOutcome},
    error::TaskErrorKind,
    task::{Object, Task},
};

/// What came from other processes and is not answered.
#[derive(Default)]
pub(super) struct Running {
    /// So that it can be cancelled, and under what it came: a task that was lost on its way may come again, under another lease,
    /// while it still runs.
    pub(super) tasks: FxHashMap<(TaskId, AnswerTo), Weak<dyn Task>>,
    last_done: Option<Instant>,
}

impl CoreWorker {
    /// Sends back what becomes of a task or call that came from another process.
    pub(super) fn answer_when_done(self: &Arc<Self>, owner: ProcessId, to: AnswerTo, imported: Imported) {
        let Imported { task, objects } = imported;
        let id = task.head().id;
        let first = {
            let tasks = &mut self.running.lock().tasks;
            tasks.insert((id, to), Arc::downgrade(&task));
            tasks.len() == 1
        };
        if first {
            self.tick.notify_one();
        }
        let completion = Arc::new(Completion {
            core: self.clone(),
            owner,
            to,
            task: id,
            came: Instant::now(),
            left: AtomicUsize::new(objects.len()),
            objects,
        });
        for object in &completion.objects {
            if !object.register(Waiter::Dependent(completion.clone())) {
                completion.clone().dependency_ready();
            }
        }
    }

    /// Somebody wants an object of this process.
    pub(super) fn asked(self: &Arc<Self>, from: ProcessId, object: ObjectId) {
        let Some(pinned) = self.pinned.lock().get(&object).cloned() else {
            let lost = TaskErrorKind::OwnerDied { object: object.to_string(), reason: "it has been freed".to_owned() };
            let _ = self.to_process(from, &DataFrame::Object { id: object, outcome: Err(lost.into()) });
            return;
        };
        let telling = Arc::new(Telling { core: self.clone(), to: from, object: pinned.clone() });
        if !pinned.register(Waiter::Dependent(telling.clone())) {
            telling.dependency_ready();
        }
    }
}

/// What is answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AnswerTo {
    /// A task, under a lease.
    Task(LeaseId),
    /// A call of an actor.
    Call(ActorId),
}

impl AnswerTo {
    fn frame(self, task: TaskId, ran_us: u64, outcomes: Vec<WireOutcome>) -> DataFrame {
        match self {
            Self::Task(lease) => DataFrame::Done { lease, task, ran_us, outcomes },
            Self::Call(actor) => DataFrame::Answer { actor, task, outcomes },
        }
    }
}

/// Waits for the results of a task or call that came from another process, and sends them back.
struct Completion {
    core: Arc<CoreWorker>,
    owner: ProcessId,
    to: AnswerTo,
    task: TaskId,
    came: Instant,
    left: AtomicUsize,
    /// Each of which has it among its waiters, until it is there.
    objects: Vec<Arc<dyn Object>>,
}

impl Dependent for Completion {
    fn dependency_ready(self: Arc<Self>) {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let now = Instant::now();
        let (idle, before) = {
            let mut running = self.core.running.lock();
            if running.tasks.remove(&(self.task, self.to)).is_none() {
                // It was given back.
                return;
            }
            (running.tasks.is_empty(), running.last_done.replace(now))
        };
        // Tasks of a lease run one after the other: this one began when it came, or when the one before ended.
        let ran = now.duration_since(before.map_or(self.came, |before| before.max(self.came)));
        let ran_us = u64::try_from(ran.as_micros()).unwrap_or(u64::MAX);
        let outcomes = self.objects.iter().map(|object| self.core.outcome(object, self.owner)).collect();
        let done = self.to.frame(self.task, ran_us, outcomes);
        if let Err(error) = self.core.to_process_soon(self.owner, &done, idle) {
            let outcomes = vec![Err(super::export::not_sent("a task", error))];
            let _ = self.core.to_process(self.owner, &self.to.frame(self.task, ran_us, outcomes));
        }
    }
}

/// Waits for an object that another process has asked for.
struct Telling {
    core: Arc<CoreWorker>,
    to: ProcessId,
    object: Arc<dyn Object>,
}

impl Dependent for Telling {
    fn dependency_ready(self: Arc<Self>) {
        let id = self.object.id();
        let outcome = self.core.answer(&self.object, self.to);
        if let Err(error) = self.core.to_process(self.to, &DataFrame::Object { id, outcome }) {
            let outcome = Err(super::export::not_sent("an object", error));
            let _ = self.core.to_process(self.to, &DataFrame::Object { id, outcome });
        }
    }
}
