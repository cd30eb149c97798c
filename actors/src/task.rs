//! What every task is to the runtime, whatever function it runs.
//!
//! Owns: [`TaskHead`] (identity, state, edges), the states and their legal transitions, and the traits [`Task`] and
//! [`Object`] by which queues, waiters and the graph handle tasks and objects of any type. Does not own: arguments and
//! results, which are typed and live in the public crate.
//!
//! The states, and who moves a task from one to the next:
//!
//! ```text
//! Waiting ──last data edge ready──▶ Queued ──claim──▶ Running ──▶ Done
//!    │                                │  ▲               │ ▲
//!    └────────── cancel ──────────────┘  └── wake ── Suspended      (an async task between polls)
//!                  ▼                         Running ──wake──▶ Notified (woken while it was being polled)
//!                Done
//! ```
//!
//! **Invariant:** only the one that wins the `Queued → Running` exchange may execute a task, so a task that stands in a
//! queue and is also run by the caller that waits for it runs once.

use std::{
    any::Any,
    sync::{
        atomic::{fence, AtomicBool, AtomicU32, AtomicU64, AtomicU8, Ordering},
        Arc, OnceLock,
    },
};

use actinic_gcs::{ActorId, ObjectId, TaskId};

use crate::{
    cell::{Signal, Waiter},
    cluster::{core_worker::Exporter, refs::ForeignRef, wire::RunTask},
    data::codec::Parts,
    error::{TaskError, TaskErrorKind},
    live::LiveKey,
    node::Node,
    options::TaskOptions,
};

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TaskState {
    /// It waits for its data edges.
    Waiting = 0,
    /// It may run.
    Queued = 1,
    /// Somebody executes it.
    Running = 2,
    /// It was woken while somebody polls it, and wants another poll.
    Notified = 3,
    /// An async task between polls.
    Suspended = 4,
    /// It has given its results, or will never run.
    Done = 5,
}

impl TaskState {
    fn of(raw: u8) -> Self {
        match raw {
            0 => Self::Waiting,
            1 => Self::Queued,
            2 => Self::Running,
            3 => Self::Notified,
            4 => Self::Suspended,
            _ => Self::Done,
        }
    }
}

/// What a task is, for the graph and for messages to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// A remote function.
    Function,
    /// An actor's constructor.
    Creation(ActorId),
    /// An actor's method.
    Method(ActorId),
}

/// Identity, state and edges of one task.
pub struct TaskHead {
    /// Its id.
    pub id: TaskId,
    /// The task that submitted it: the control edge.
    pub parent: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// Function, constructor or method.
    pub kind: TaskKind,
    /// The objects it takes: its data edges.
    pub dependencies: Option<Box<[ObjectId]>>,
    /// Options that differ from the default.
    pub options: Option<Arc<TaskOptions>>,
    /// For a method: its place in the order of the actor's calls, from 1. The stateful edge goes from the one before.
    pub sequence: AtomicU64,
    state: AtomicU8,
    cancelled: AtomicBool,
    inflight: AtomicBool,
    here: AtomicBool,
    attempts: AtomicU32,
    missing: AtomicU32,
    live: LiveKey,
    grant: OnceLock<Arc<Grant>>,
}

/// What the scheduler granted to a task that asked for more than one CPU.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    /// The grant's number.
    pub id: u64,
    /// Indices of the accelerators assigned.
    pub gpus: Arc<[u32]>,
}

impl TaskHead {
    /// The head of a new task that waits for `dependencies`.
    #[must_use]
    #[inline(always)] // Built where it stays: it is large, and one is made for each call.
    pub fn new(
        id: TaskId,
        parent: TaskId,
        name: &'static str,
        kind: TaskKind,
        dependencies: Option<Box<[ObjectId]>>,
        options: Option<Arc<TaskOptions>>,
    ) -> Self {
        Self {
            id,
            parent,
            name,
            kind,
            dependencies,
            options,
            sequence: AtomicU64::new(0),
            state: AtomicU8::new(TaskState::Waiting as u8),
            cancelled: AtomicBool::new(false),
            inflight: AtomicBool::new(false),
            here: AtomicBool::new(false),
            attempts: AtomicU32::new(0),
            // One is held by the submission itself, so that a dependency that is ready early does not start the task.
            missing: AtomicU32::new(1),
            live: LiveKey::default(),
            grant: OnceLock::new(),
        }
    }

    /// What the scheduler granted to it, once it has.
    #[must_use]
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.get()
    }

    /// The scheduler grants it its resources.
    pub fn set_grant(&self, grant: Arc<Grant>) {
        let _ = self.grant.set(grant);
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> TaskState {
        TaskState::of(self.state.load(Ordering::Acquire))
    }

    fn exchange(&self, from: TaskState, to: TaskState) -> bool {
        self.state.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes the right to execute it; false where another has it, or it is not ready.
    #[must_use]
    pub fn claim(&self) -> bool {
        self.exchange(TaskState::Queued, TaskState::Running)
    }

    /// All data edges are there.
    pub fn mark_queued(&self) -> bool {
        self.exchange(TaskState::Waiting, TaskState::Queued)
    }

    /// Gives the claim back to whoever comes next: it has not begun.
    pub fn unclaim(&self) {
        self.state.store(TaskState::Queued as u8, Ordering::Release);
    }

    /// As [`TaskHead::unclaim`]; false where somebody has asked to cancel it meanwhile: then it is over, by this very call.
    #[must_use]
    pub fn put_back(&self) -> bool {
        if !self.exchange(TaskState::Running, TaskState::Queued) {
            return false;
        }
        // Pairs with the one in `request_cancel`: either this sees the request, or its maker sees the task queued.
        fence(Ordering::SeqCst);
        !(self.is_cancelled() && self.exchange(TaskState::Queued, TaskState::Done))
    }

    /// It failed and may run again.
    pub fn mark_requeued(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.inflight.store(false, Ordering::Release);
        self.state.store(TaskState::Queued as u8, Ordering::Release);
    }

    /// An async task's poll gave `Pending`. False where it was woken meanwhile: then it is queued again.
    #[must_use]
    pub fn suspend(&self) -> bool {
        if self.exchange(TaskState::Running, TaskState::Suspended) {
            return true;
        }
        self.exchange(TaskState::Notified, TaskState::Queued);
        false
    }

    /// Wakes an async task; true where the caller must put it into a queue.
    #[must_use]
    pub fn wake(&self) -> bool {
        if self.exchange(TaskState::Suspended, TaskState::Queued) {
            return true;
        }
        if !self.exchange(TaskState::Running, TaskState::Notified) {
            // It may have been suspended between the two attempts.
            return self.exchange(TaskState::Suspended, TaskState::Queued);
        }
        false
    }

    /// It is over. True for the one that ends it.
    pub fn finish(&self) -> bool {
        self.state.swap(TaskState::Done as u8, Ordering::AcqRel) != TaskState::Done as u8
    }

    /// Ends it if it has not started; true where it will never run.
    #[must_use]
    pub fn cancel_before_start(&self) -> bool {
        self.request_cancel();
        if self.is_inflight() {
            return false;
        }
        self.exchange(TaskState::Waiting, TaskState::Done) || self.exchange(TaskState::Queued, TaskState::Done)
    }

    /// Asks it to end; an async task does so at its next `await`.
    pub fn request_cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// It came from another process, and runs in this one.
    pub fn keep_here(&self) {
        self.here.store(true, Ordering::Release);
    }

    /// Whether it must run in this process.
    #[must_use]
    pub fn is_kept_here(&self) -> bool {
        self.here.load(Ordering::Acquire)
    }

    /// Whether its future has been made, in this attempt.
    #[must_use]
    pub fn is_inflight(&self) -> bool {
        self.inflight.load(Ordering::Acquire)
    }

    /// Its future has been made: from now on it ends by its future only.
    pub fn mark_inflight(&self) {
        self.inflight.store(true, Ordering::Release);
    }

    /// Whether somebody asked to cancel it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// How often it was begun before.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// One more data edge is missing.
    pub fn add_missing(&self) {
        self.missing.fetch_add(1, Ordering::Relaxed);
    }

    /// One data edge is there; true where it was the last.
    #[must_use]
    pub fn one_ready(&self) -> bool {
        self.missing.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Where it stands in the registry of what is alive.
    #[must_use]
    pub fn live(&self) -> &LiveKey {
        &self.live
    }

    /// That it was cancelled.
    #[must_use]
    pub fn cancelled_error(&self) -> TaskError {
        TaskErrorKind::Cancelled { task: self.name.to_owned() }.into()
    }
}

/// A task of any function.
pub trait Task: Send + Sync {
    /// Its identity and state.
    fn head(&self) -> &TaskHead;

    /// Executes it. The caller has claimed it.
    fn execute(self: Arc<Self>, node: &Arc<Node>);

    /// Ends it with `error` in each of its objects.
    fn fail(&self, error: TaskError);

    /// Shows each object that it takes, as long as it has not begun.
    fn each_dependency(&self, visit: &mut dyn FnMut(Arc<dyn Object>));

    /// Runs it on this thread if it has not started and may run here; false where the caller must wait for it.
    fn help(self: Arc<Self>, node: &Arc<Node>) -> bool;

    /// The calls that must end before this one can start, as far as they are known: what its actor runs now.
    fn waits_for_calls(&self) -> Vec<TaskId> {
        Vec::new()
    }

    /// Why it has not started, where its own kind knows more than its edges do.
    fn explain(&self) -> Option<String> {
        None
    }

    /// Wakes it where it is an async task between polls, so that it sees that it was cancelled.
    fn nudge(self: Arc<Self>) {}

    /// Whether it can run in another process.
    fn can_leave(&self) -> bool {
        false
    }

    /// What another process needs to run it; none where it cannot leave.
    fn export(&self, _exporter: &Exporter<'_>) -> Option<Result<RunTask, TaskError>> {
        None
    }

    /// It has run in another process: its objects, in order, or one error for all.
    fn settle(self: Arc<Self>, _node: &Arc<Node>, _outcomes: Vec<Result<Parts, TaskError>>) {}
}

/// An object of any type.
pub trait Object: Send + Sync {
    /// Its id.
    fn id(&self) -> ObjectId;
    /// Whether a value or an error is there.
    fn is_ready(&self) -> bool;
    /// The error, if that is what is there.
    fn error(&self) -> Option<TaskError>;
    /// Registers a waiter; false where the object is ready already.
    fn register(&self, waiter: Waiter) -> bool;
    /// Takes a waiter off.
    fn unregister(&self, signal: &Arc<Signal>);
    /// The task that computes it; none for a `put`.
    fn producer(self: Arc<Self>) -> Option<Arc<dyn Task>>;
    /// The value as bytes, or the error; none while neither is there, or where it cannot be encoded.
    fn encoded(&self) -> Option<Result<Parts, TaskError>> {
        None
    }
    /// A reference to it, of the type that the public API has for it.
    fn typed_ref(self: Arc<Self>) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
    /// Where it is another process's.
    fn foreign(&self) -> Option<Arc<ForeignRef>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actinic_gcs::JobId;

    fn head() -> TaskHead {
        let driver = TaskId::driver(JobId(1));
        TaskHead::new(driver.child(0), driver, "f", TaskKind::Function, None, None)
    }

    #[test]
    fn only_one_claim_wins() {
        let head = head();
        assert!(!head.claim());
        assert!(head.mark_queued());
        assert!(head.claim());
        assert!(!head.claim());
    }

    #[test]
    fn a_task_that_was_cancelled_while_it_was_away_does_not_come_back() {
        let head = head();
        head.mark_queued();
        assert!(head.claim());
        assert!(head.put_back());
        assert!(head.claim());
        assert!(!head.cancel_before_start());
        assert!(!head.put_back());
        assert_eq!(head.state(), TaskState::Done);
    }

    #[test]
    fn a_wake_during_a_poll_asks_for_another_poll() {
        let head = head();
        head.mark_queued();
        assert!(head.claim());
        assert!(!head.wake());
        assert!(!head.suspend());
        assert_eq!(head.state(), TaskState::Queued);
        assert!(head.claim());
        assert!(head.suspend());
        assert!(head.wake());
        assert!(!head.wake());
    }

    #[test]
    fn a_running_task_is_not_cancelled_before_its_start() {
        let head = head();
        head.mark_queued();
        assert!(head.claim());
        assert!(!head.cancel_before_start());
        assert!(head.is_cancelled());
    }
}
