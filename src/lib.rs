//! Tasks, actors and objects in one dynamic task graph: Ray (Moritz et al., OSDI 2018) as a Rust library on Actix.
//!
//! ```
//! use actinic::prelude::*;
//!
//! #[remote]
//! fn square(n: u64) -> u64 {
//!     n * n
//! }
//!
//! #[remote]
//! struct Counter {
//!     value: u64,
//! }
//!
//! #[remote]
//! impl Counter {
//!     fn new(start: u64) -> Self {
//!         Self { value: start }
//!     }
//!
//!     fn add(&mut self, by: u64) -> u64 {
//!         self.value += by;
//!         self.value
//!     }
//! }
//!
//! let rt = Runtime::init()?; // embedded in this process
//! let nine = square.remote(3); // ObjectRef<u64>, at once
//! let counter = Counter::remote(1);
//! let ten = counter.add(&nine); // an object where a value is asked: a data edge
//! assert_eq!(rt.get(&ten)?, 10);
//! # Ok::<(), actinic::Error>(())
//! ```
//!
//! # What `#[remote]` makes
//!
//! | on | makes |
//! |---|---|
//! | `fn f(a: A) -> T` | a value `f` with `f.remote(a)`, which gives an [`ObjectRef<T>`](ObjectRef) at once; `f.options()`; `f.call(a)`, the plain call |
//! | `fn f() -> Result<T, E>` | the same; an `Err` becomes a [`TaskError`] for whoever gets the result |
//! | `fn f() -> (A, B)` | a tuple of references; `#[remote(num_returns = 1)]` keeps it one object |
//! | `fn f() -> Vec<T>` | one object; `f.options().num_returns(n).remote()` gives `n` references |
//! | `fn f() -> impl Iterator<Item = T>` or `impl Stream<..>` | an [`ObjectRefStream<T>`](ObjectRefStream) |
//! | `struct S`, with `#[remote] impl S` | `S::remote(..)`, `S::options()` and `SHandle`, which has a method for each of the class's methods |
//!
//! In an `impl`, `fn new` is the constructor. `#[local]` keeps a method out of the handle, and
//! `#[concurrency_group("io")]` puts it into a named group. The functions' names are values: a local variable cannot bear
//! the name of a remote function in scope.
//!
//! What the runtime promises is written down in `docs/SEMANTICS.md`, how it works in `docs/ARCHITECTURE.md`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod actor;
pub mod arg;
mod builder;
pub mod cluster;
pub mod data;
pub mod error;
mod explain;
mod foreign;
pub mod function;
mod group;
pub mod message;
pub mod method;
pub mod object_ref;
pub mod options;
pub mod output;
mod runtime;
mod state;
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
        Backoff, DeadLetter, DeadLetterReason, Exit, RestartLimit, RestartPolicy, Strategy, Supervisor,
        SupervisorBuilder,
    };
}

/// What most programs use.
pub mod prelude {
    pub use crate::options::{Lifetime, OverflowPolicy, SchedulingStrategy};
    pub use crate::{
        remote, remote_message, Bytes, Data, Handle, ObjectRef, ObjectRefStream, PlacementStrategy, ResourceSet,
        Runtime, TaskError, Tensor,
    };
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
) -> Result<Waited<T>, TaskError> {
    Runtime::current()?.wait(refs, count, timeout)
}

/// For the macros only.
#[doc(hidden)]
pub mod __private {
    pub use actinic_actors::{
        options::{ActorOptions, TaskOptions},
        supervisor::restart_limit,
        user::{CheckpointFns, MethodInfo, StateLock},
    };
    pub use actinic_gcs::FunctionId;
    pub use actix;
    pub use futures::{future::BoxFuture, StreamExt};
    pub use inventory;
    pub use serde::{de::DeserializeOwned, Deserialize, Deserializer, Serialize, Serializer};

    pub use crate::{
        actor::{
            checkpoint_fns, create,
            remote::{import_actor, NotSaved, Probe, RegisteredClass, RegisteredMethod, Saved},
            try_create, ActorClass, ActorHandle, Creation, Handle,
        },
        arg::{Arg, ArgSet, IntoArg},
        function::{function_id, import, submit, Function, RegisteredFunction},
        message::{Guarded, GuardedReply, RegisteredMessage},
        method::{call, import_call, method_id, Method},
        output::{Many, Output, Pair, Quadruple, Quintuple, Sextuple, Single, Triple},
        stream::{StreamSource, Streaming},
        task_cell::{Body, Given},
    };
}
