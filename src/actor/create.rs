//! Making actors.
//!
//! Owns: creation in this process, and what it has in common with creation elsewhere ([`super::remote`]). Invariant: an actor
//! that cannot be made is told so by its handle's calls, or by `try_remote` at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actinic_actors::{
    context,
    counters::Count,
    error::{TaskError, TaskErrorKind},
    gcs_client::GcsError,
    node::Node,
    options::{ActorOptions, Lifetime},
    task::{TaskHead, TaskKind},
    user::{
        cell::{ActorParts, CheckpointFns},
        directory::AnyHandle,
        ActorCell,
    },
};
use actinic_gcs::{
    spec::{self, ActorSpec, Limit},
    tables::{IfExists, TableError},
    ActorId, FunctionId, ObjectId, TaskId,
};
use parking_lot::Mutex;
use serde::{de::DeserializeOwned, Serialize};

use super::{remote, ActorClass, ActorHandle, Handle, Place, Shared};
use crate::{
    arg::ArgSet,
    error::{Error, Result},
    runtime::running,
};

/// Options of an actor of class `A`, with what is needed to save its state.
pub struct Creation<A> {
    /// The options.
    pub options: ActorOptions,
    /// How its state is saved, where asked.
    pub checkpoints: Option<CheckpointFns<A>>,
}

impl<A> Default for Creation<A> {
    fn default() -> Self {
        Self { options: ActorOptions::default(), checkpoints: None }
    }
}

/// Saves and loads a state as MessagePack.
#[must_use]
pub fn checkpoint_fns<A: Serialize + DeserializeOwned>(every: u64) -> CheckpointFns<A> {
    CheckpointFns {
        every,
        save: |state| rmp_serde::to_vec_named(state).map_err(|error| error.to_string()),
        load: |bytes| rmp_serde::from_slice(bytes).map_err(|error| error.to_string()),
    }
}

/// Makes an actor. Where it cannot be made, the handle's calls give the reason.
pub fn create<A: ActorClass>(args: A::Args, creation: Creation<A>) -> A::Handle {
    try_create(args, creation).unwrap_or_else(|error| {
        let error = match error {
            Error::Task(error) => error,
            other => TaskErrorKind::ActorDied {
                actor: A::NAME.to_owned(),
                method: "new".to_owned(),
                reason: other.to_string(),
            }
            .into(),
        };
        A::Handle::from_raw(ActorHandle::at(Err(error)))
    })
}

/// Makes an actor.
///
/// # Errors
/// If the name is taken, the demand can never be met, or there is no runtime.
pub fn try_create<A: ActorClass>(args: A::Args, creation: Creation<A>) -> Result<A::Handle> {
    context::with_thread(|thread| {
        let node = &thread.node;
        // A supervision tree is of one process.
        if let Some(core) = node.cluster.clone().filter(|_| creation.options.supervisor.is_none()) {
            return remote::create::<A>(&core, thread, args, &creation);
        }
        let Creation { mut options, checkpoints } = creation;
        let namespace = options.namespace.clone().unwrap_or_else(|| node.config.namespace.clone());
        let name = options.name.clone();
        if let Some(error) = node.scheduler.refusal_of(A::NAME, &options.demand, &options.strategy, &options.labels) {
            return Err(error.into());
        }
        let (parent, task) = context::next_child(node);
        let id = ActorId::of_creation(task);
        let mut dependencies = Vec::new();
        args.each(&mut |object| dependencies.push(object));
        let ids: Vec<ObjectId> = dependencies.iter().map(|object| object.id()).collect();
        let edges = (!ids.is_empty()).then(|| ids.into_boxed_slice());
        let head = TaskHead::new(task, parent, A::NAME, TaskKind::Creation(id), edges, demand_options(&options));
        options.namespace = Some(namespace.clone());
        if let Some(found) = register::<A>(node, id, task, &options, checkpoints.as_ref().map(|fns| fns.every))? {
            return Ok(found);
        }
        let detached = options.lifetime == Lifetime::Detached;
        let parts = ActorParts {
            id,
            class: A::NAME,
            head,
            options,
            factory: factory::<A>(args),
            dependencies,
            checkpoints,
            has_async: A::HAS_ASYNC,
        };
        let cell = ActorCell::new(node, parts);
        let handle = ActorHandle::at(Ok(Place::Here(cell.clone())));
        if let Some(name) = &name {
            let shared: Arc<AnyHandle> = handle.shared.clone();
            node.actors.name(&namespace, name, id, &shared, detached);
        }
        thread.counters.add(Count::ActorsCreated, 1);
        let Some(running) = running(node) else {
            return Err(TaskError::from(TaskErrorKind::NoRuntime { hint: "it was shut down".to_owned() }).into());
        };
        running.start_actor(cell, thread);
        if detached && name.is_none() {
            // Without a name only its handles reach it, but it must outlive them.
            node.keep(Box::new(handle.clone()));
        }
        Ok(A::Handle::from_raw(handle))
    })?
}

fn demand_options(options: &ActorOptions) -> Option<Arc<actinic_actors::options::TaskOptions>> {
    (!options.demand.is_empty()).then(|| {
        Arc::new(actinic_actors::options::TaskOptions {
            demand: Some(options.demand.clone()),
            strategy: options.strategy.clone(),
            ..Default::default()
        })
    })
}

pub(super) fn factory<A: ActorClass>(args: A::Args) -> actinic_actors::user::Factory<A> {
    let args = Mutex::new(args);
    Box::new(move || {
        let args = args.lock().clone();
        let params = args.resolve()?;
        A::build(params).map_err(|error| TaskError::failed(A::NAME, "this node", error.as_ref()))
    })
}

/// How long a name is waited for that belongs to an actor that is just being made, or just ending.
pub(super) const NAME_PATIENCE: Duration = Duration::from_secs(1);

/// What the control store is told of an actor.
pub(super) fn spec_of<A: ActorClass>(
    node: &Node,
    id: ActorId,
    creation_task: TaskId,
    options: &ActorOptions,
    checkpoint_every: Option<u64>,
) -> ActorSpec {
    ActorSpec {
        id,
        class: FunctionId::of(A::NAME, ""),
        class_name: A::NAME.into(),
        creation_task,
        name: options.name.as_deref().map(Into::into),
        namespace: options.namespace.as_deref().unwrap_or_default().into(),
        lifetime: match options.lifetime {
            Lifetime::Job => spec::Lifetime::Job(node.config.job),
            Lifetime::Detached => spec::Lifetime::Detached,
        },
        max_restarts: match (options.max_restarts, options.restart_window) {
            (Some(times), None) => Limit::AtMost(times),
            _ => Limit::Unlimited,
        },
        max_task_retries: Limit::AtMost(options.max_task_retries),
        max_concurrency: options.max_concurrency.unwrap_or(1) as u32,
        max_pending_calls: Limit::AtMost(u32::try_from(options.max_pending_calls).unwrap_or(u32::MAX)),
        checkpoint_every: checkpoint_every.map(|calls| u32::try_from(calls).unwrap_or(u32::MAX)),
        resources: options.demand.clone(),
        owner: None,
    }
}

/// Enters the actor in the GCS, which holds that names are unique; gives the actor of the same name where it is shared.
fn register<A: ActorClass>(
    node: &Node,
    id: ActorId,
    creation_task: TaskId,
    options: &ActorOptions,
    checkpoint_every: Option<u64>,
) -> Result<Option<A::Handle>> {
    let namespace = options.namespace.clone().unwrap_or_default();
    let spec = spec_of::<A>(node, id, creation_task, options, checkpoint_every);
    let until = Instant::now() + NAME_PATIENCE;
    loop {
        match node.gcs.register_actor(spec.clone(), IfExists::Fail) {
            Ok(_) => return Ok(None),
            Err(GcsError::Refused(TableError::NameTaken { name, .. })) => {
                if let Some(found) = node.actors.find(&namespace, &name) {
                    return match options.get_if_exists {
                        true => typed::<A>(found, &name).map(Some),
                        false => Err(Error::NameTaken { name, namespace }),
                    };
                }
                if Instant::now() >= until {
                    return Err(Error::NameTaken { name, namespace });
                }
                std::thread::park_timeout(Duration::from_millis(1));
            }
            Err(error) => return Err(Error::Gcs(error)),
        }
    }
}

pub(super) fn typed<A: ActorClass>(found: Arc<AnyHandle>, name: &str) -> Result<A::Handle> {
    let shared =
        found.downcast::<Shared<A>>().map_err(|_| Error::WrongClass { name: name.to_owned(), class: A::NAME })?;
    Ok(A::Handle::from_raw(ActorHandle { shared }))
}
