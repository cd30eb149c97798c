//! Actinic: Ray rebuilt as a Rust library on Actix. See the README.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod actor;
pub mod arg;
mod builder;
pub mod data;
pub mod error;
mod explain;
pub mod function;
mod group;
pub mod message;
pub mod method;
pub mod object_ref;
pub mod options;
pub mod output;
mod runtime;
pub mod stream;
mod supervisor;
pub mod task_cell;
pub mod util;

use actinic_actors::context;

// What the macros write is found under the crate's own name inside it as well.
extern crate self as actinic;

pub use actinic_macros::{remote, remote_message};

pub use self::{
    actor::{ActorHandle, Handle, WeakHandle},
    builder::RuntimeBuilder,
    data::{Bytes, Data, Tensor},
    error::{Error, Result, TaskError, TaskErrorKind},
    group::{PlacementGroup, PlacementStrategy},
    message::{spawn_actor, spawn_actor_with, ActorRef, AskError, SpawnOptions},
    object_ref::ObjectRef,
    runtime::{Get, Runtime, Waited},
    stream::ObjectRefStream,
    supervisor::Supervisor,
};
pub use actinic_actors::{counters::RuntimeStats, graph::TaskGraph};
pub use actinic_gcs::{ids, resources, ResourceSet};

/// Supervision: policies, strategies, exits.
pub mod supervision {
    pub use crate::supervisor::{
        Backoff, DeadLetter, DeadLetterReason, Exit, RestartLimit, RestartPolicy, Strategy, Supervisor, SupervisorBuilder,
    };
}

/// What most programs use.
pub mod prelude {
    pub use crate::{
        remote, remote_message, Bytes, Data, Handle, ObjectRef, ObjectRefStream, PlacementStrategy, ResourceSet, Runtime,
        TaskError, Tensor,
    };
    pub use crate::options::{Lifetime, OverflowPolicy, SchedulingStrategy};
    pub use std::time::Duration;
}

/// Whether the task that runs here was asked to end.
#[must_use]
pub fn is_cancelled() -> bool {
    context::current_task().is_some_and(|task| task.head().is_cancelled())
}

/// Indices of the GPUs assigned to the task or actor that runs here.
#[must_use]
pub fn gpu_ids() -> Vec<u32> {
    context::current_gpus().to_vec()
}

/// Waits for one value, or for all of several, on the runtime of this thread. See [`Runtime::get`].
///
/// # Errors
/// As [`Runtime::get`].
pub fn get<G: Get>(refs: G) -> Result<G::Value, TaskError> {
    refs.get_until(None)
}

/// Makes an object on the runtime of this thread. See [`Runtime::put`].
///
/// # Errors
/// As [`Runtime::put`].
pub fn put<T: Data>(value: T) -> Result<ObjectRef<T>, TaskError> {
    Runtime::current()?.put(value)
}

/// Waits for some of several on the runtime of this thread. See [`Runtime::wait`].
///
/// # Errors
/// As [`Runtime::wait`].
pub fn wait<T: Data>(
    refs: &[ObjectRef<T>],
    count: usize,
    timeout: impl Into<Option<std::time::Duration>>,
) -> Result<(Vec<ObjectRef<T>>, Vec<ObjectRef<T>>), TaskError> {
    Runtime::current()?.wait(refs, count, timeout)
}

/// For the macros only.
#[doc(hidden)]
pub mod __private {
    pub use actix;
    pub use actinic_actors::{
        options::{ActorOptions, TaskOptions},
        supervisor::restart_limit,
        user::{MethodInfo, StateLock},
    };
    pub use futures::{future::BoxFuture, StreamExt};
    pub use inventory;
    pub use serde::{de::DeserializeOwned, Deserialize, Deserializer, Serialize, Serializer};

    pub use crate::{
        actor::{checkpoint_fns, create, try_create, ActorClass, ActorHandle, Creation, Handle},
        arg::{Arg, ArgSet, IntoArg},
        function::{submit, Function, RegisteredFunction},
        message::{Guarded, GuardedReply, RegisteredMessage},
        method::{call, Method},
        output::{Many, Output, Pair, Quadruple, Quintuple, Sextuple, Single, Triple},
        stream::{StreamSource, Streaming},
        task_cell::{Body, Given},
    };
}
