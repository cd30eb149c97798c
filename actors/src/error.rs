//! What can go wrong with a task, as seen by whoever gets its result.
//!
//! Owns: [`TaskError`], the value that a failed task leaves in each of its objects. It is cheap to clone (one pointer),
//! because every `get` of the object, and every task that depended on it, receives it. Invariant: an error says what
//! happened, to which task, on which node, and whether the work may have had an effect.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// Why a `get` has no value to give. One pointer wide; clones share it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskError(Arc<TaskErrorKind>);

/// The kinds of [`TaskError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// The function returned `Err`.
    #[error("task `{task}` failed on node {node}: {message}{}", chain(.causes))]
    Failed {
        /// The function's name.
        task: String,
        /// The node it ran on.
        node: String,
        /// The error's own text.
        message: String,
        /// The texts of its sources, outermost first.
        causes: Vec<String>,
    },
    /// The function panicked.
    #[error("task `{task}` panicked on node {node} at {location}: {message}")]
    Panicked {
        /// The function's name.
        task: String,
        /// The node it ran on.
        node: String,
        /// The panic's message.
        message: String,
        /// File, line and column of the panic.
        location: String,
    },
    /// The worker that ran the task was lost. The task may have had effects.
    #[error("the worker of task `{task}` on node {node} was lost: {reason}; it may have run in part")]
    WorkerLost {
        /// The function's name.
        task: String,
        /// The node it ran on.
        node: String,
        /// What is known of the loss.
        reason: String,
    },
    /// The process that knew what became of the object is gone.
    #[error("object {object} is lost with the process that owned it: {reason}")]
    OwnerDied {
        /// The object.
        object: String,
        /// What is known of the end of its owner.
        reason: String,
    },
    /// The task was cancelled before it gave a result.
    #[error("task `{task}` was cancelled")]
    Cancelled {
        /// The function's name.
        task: String,
    },
    /// The actor is dead and will not come back. The call did not run.
    #[error("actor `{actor}` is dead ({reason}); the call `{method}` did not run")]
    ActorDied {
        /// The actor's class, with its name if it has one.
        actor: String,
        /// The method called.
        method: String,
        /// Why the actor died.
        reason: String,
    },
    /// The actor was lost while the call ran. The call may have had effects.
    #[error("actor `{actor}` became unavailable ({reason}); the call `{method}` may have run")]
    ActorUnavailable {
        /// The actor's class, with its name if it has one.
        actor: String,
        /// The method called.
        method: String,
        /// Why the actor is unavailable.
        reason: String,
    },
    /// The actor's mailbox was full. The call did not run; a retry is safe.
    #[error("actor `{actor}` has {limit} pending calls, its limit; `{method}` was not accepted and is safe to retry")]
    PendingCallsLimitExceeded {
        /// The actor's class, with its name if it has one.
        actor: String,
        /// The method called.
        method: String,
        /// The bound, `max_pending_calls`.
        limit: usize,
    },
    /// No node can ever satisfy the demand.
    #[error("task `{task}` asks for {demand}, which can never be met: {reason}")]
    Infeasible {
        /// The function's name.
        task: String,
        /// What it asked for.
        demand: String,
        /// Which resource does not suffice.
        reason: String,
    },
    /// The value did not come within the time given. The task goes on.
    #[error("no value within {waited:?}; the task goes on, so a later get may succeed")]
    TimedOut {
        /// The time that was given.
        waited: Duration,
    },
    /// Blocking gets wait for each other in a circle.
    #[error("a cycle of blocking gets: {}", .cycle.join(" -> "))]
    Deadlock {
        /// Each waiter waits for the next; the last waits for the first.
        cycle: Vec<String>,
    },
    /// The object store could not take or give the value.
    #[error("the object store: {message}")]
    ObjectStore {
        /// The store's own error, which says what to do.
        message: String,
    },
    /// A value could not be encoded or decoded.
    #[error("a value of type {type_name} could not be encoded or decoded: {message}")]
    Codec {
        /// The Rust type.
        type_name: String,
        /// The codec's own error.
        message: String,
    },
    /// There is no runtime on this thread, or it has been shut down.
    #[error("no running actinic runtime: {hint}")]
    NoRuntime {
        /// What to do.
        hint: String,
    },
    /// A bound of the runtime was reached.
    #[error("limit reached: {what} (bound {limit})")]
    LimitExceeded {
        /// Which bound.
        what: String,
        /// Its value.
        limit: usize,
    },
}

fn chain(causes: &[String]) -> String {
    causes.iter().map(|cause| format!("\n  caused by: {cause}")).collect()
}

impl TaskError {
    /// The kind, with its details.
    #[must_use]
    pub fn kind(&self) -> &TaskErrorKind {
        &self.0
    }

    /// The function returned `error`.
    #[must_use]
    pub fn failed(task: &str, node: &str, error: &dyn std::error::Error) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source.filter(|_| causes.len() < 32) {
            causes.push(cause.to_string());
            source = cause.source();
        }
        TaskErrorKind::Failed { task: task.to_owned(), node: node.to_owned(), message: error.to_string(), causes }
            .into()
    }

    /// Whether the task ran and failed by itself (an `Err` or a panic): what `retry_exceptions` is about.
    #[must_use]
    pub fn is_exception(&self) -> bool {
        matches!(self.kind(), TaskErrorKind::Failed { .. } | TaskErrorKind::Panicked { .. })
    }

    /// Whether the task was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind(), TaskErrorKind::Cancelled { .. })
    }

    /// Whether a `get` gave up waiting.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind(), TaskErrorKind::TimedOut { .. })
    }

    /// Whether the call certainly had no effect, so that sending it again is safe.
    #[must_use]
    pub fn is_safe_to_retry(&self) -> bool {
        use TaskErrorKind as K;
        matches!(
            self.kind(),
            K::ActorDied { .. } | K::PendingCallsLimitExceeded { .. } | K::Infeasible { .. } | K::NoRuntime { .. }
        )
    }
}

impl TaskErrorKind {
    /// That something has no encoding, or cannot be decoded.
    #[must_use]
    pub fn codec(type_name: &str, message: String) -> TaskError {
        Self::Codec { type_name: type_name.to_owned(), message }.into()
    }
}

impl From<TaskErrorKind> for TaskError {
    fn from(kind: TaskErrorKind) -> Self {
        Self(Arc::new(kind))
    }
}

impl std::fmt::Debug for TaskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for TaskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for TaskError {}
