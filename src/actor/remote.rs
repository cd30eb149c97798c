//! Actors in other processes of a cluster: how they are made, found and hosted.
//!
//! Owns: the typed halves of what [`actinic_actors::cluster`] does for actors of any class. Invariants: an actor's arguments go
//! out once all of them are there; a class is found by its name and a method by its class and name, which are the same in all
//! processes of a job, since all run one executable.

use std::{
    marker::PhantomData,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
    time::{Duration, Instant},
};

use actinic_actors::{
    cell::{Dependent, Waiter},
    cluster::{
        calls::RemoteActor,
        core_worker::{ActorImporter, Arrived, CallImporter, Classes, CoreWorker},
        wire::{HostActor, NewActor, ProcessId, WireActor},
    },
    context::{self, ThreadState},
    counters::Count,
    error::{TaskError, TaskErrorKind},
    gcs_client::GcsError,
    options::{ActorOptions, Lifetime, OverflowPolicy, SchedulingStrategy},
    task::{Grant, TaskHead, TaskKind},
    user::{
        cell::{ActorParts, CheckpointFns},
        ActorCell,
    },
};
use actinic_gcs::{
    spec::{self, ActorInfo, ActorLocation},
    tables::{ActorWrite, IfExists, Reply, TableError},
    ActorId, FunctionId, ResourceSet,
};
use parking_lot::Mutex;
use serde::{de::DeserializeOwned, Serialize};

use super::{
    create::{checkpoint_fns, factory, spec_of, Creation, NAME_PATIENCE},
    ActorClass, ActorHandle, Handle, Place,
};
use crate::{
    arg::ArgSet,
    error::{Error, Result},
    function::GRANTED_ELSEWHERE,
    runtime::running,
};

/// A class of actors of this program, found at link time.
pub struct RegisteredClass {
    /// [`ActorClass::NAME`].
    pub name: &'static str,
    /// Makes an actor of this process for its keeper.
    pub import: ActorImporter,
    /// Its methods.
    pub methods: &'static [RegisteredMethod],
}

/// A method of a [`RegisteredClass`].
pub struct RegisteredMethod {
    /// Its id.
    pub id: fn() -> FunctionId,
    /// Makes a call of this process out of one that came from another.
    pub import: CallImporter,
}

inventory::collect!(RegisteredClass);

/// The id of a class.
fn class_id(name: &str) -> FunctionId {
    FunctionId::of(name, "")
}

/// All classes of this executable.
pub(crate) fn classes() -> Classes {
    let mut classes = Classes::default();
    for class in inventory::iter::<RegisteredClass> {
        classes.actors.insert(class_id(class.name), class.import);
        classes.methods.extend(class.methods.iter().map(|method| ((method.id)(), method.import)));
    }
    classes
}

/// Finds out at compile time whether a state can be encoded: the macro asks for [`Saved`] and, failing that, for [`NotSaved`].
pub struct Probe<A>(PhantomData<fn() -> A>);

impl<A> Probe<A> {
    /// The only one.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// A state that can be encoded.
pub trait Saved<A> {
    /// How it is saved.
    fn fns(&self, every: u64) -> Option<CheckpointFns<A>>;
}

impl<A: Serialize + DeserializeOwned> Saved<A> for Probe<A> {
    fn fns(&self, every: u64) -> Option<CheckpointFns<A>> {
        Some(checkpoint_fns::<A>(every))
    }
}

/// A state that cannot.
pub trait NotSaved<A> {
    /// How it is not.
    fn fns(&self, every: u64) -> Option<CheckpointFns<A>>;
}

impl<A> NotSaved<A> for &Probe<A> {
    fn fns(&self, _every: u64) -> Option<CheckpointFns<A>> {
        None
    }
}

// --- making ----------------------------------------------------------------------------------------------------------

/// Makes an actor somewhere in the cluster.
pub(super) fn create<A: ActorClass>(
    core: &Arc<CoreWorker>,
    thread: &ThreadState,
    args: A::Args,
    creation: &Creation<A>,
) -> Result<A::Handle> {
    let node = &thread.node;
    let mut options = creation.options.clone();
    options.namespace.get_or_insert_with(|| node.config.namespace.clone());
    let every = creation.checkpoints.as_ref().map(|fns| fns.every);
    let (parent, task) = context::next_child(node);
    let id = ActorId::of_creation(task);
    let owner = core.owner_of_new(options.lifetime == Lifetime::Detached);
    let mut spec = spec_of::<A>(node, id, task, &options, every);
    spec.owner = Some(ActorLocation { node: owner.node, worker: owner.worker });
    if let Some(name) = &options.name {
        let register = || register(node, &spec, options.get_if_exists);
        if let Some(there) = actinic_actors::blocking::blocked(node, register)? {
            let nobody = || Error::NoSuchActor { name: name.clone(), namespace: spec.namespace.to_string() };
            return found::<A>(core, there.ok_or_else(nobody)?);
        }
    }
    let wire = wire_of::<A>(&spec, options.overflow);
    let actor = core.declare(NewActor { spec, owner, parent, options }, wire);
    thread.counters.add(Count::ActorsCreated, 1);
    // What a detached actor takes goes along with it.
    let args = if actor.wire().detached { args } else { args.promoted(thread) };
    construct_when_ready::<A>(core, &actor, args);
    Ok(A::Handle::from_raw(ActorHandle::at(Ok(Place::There(actor)))))
}

/// Enters a named actor; gives the one of the same name where it is to be shared.
#[allow(clippy::option_option, reason = "whether there is another, and whether that still lives")]
fn register(
    node: &actinic_actors::node::Node,
    spec: &spec::ActorSpec,
    share: bool,
) -> Result<Option<Option<ActorInfo>>> {
    let if_exists = if share { IfExists::Get } else { IfExists::Fail };
    let until = Instant::now() + NAME_PATIENCE;
    loop {
        match node.gcs.write(ActorWrite::Register { spec: Box::new(spec.clone()), if_exists }) {
            Ok(Reply::Registered { actor, created: false }) if actor != spec.id => {
                return Ok(Some(node.gcs.actor(actor)?));
            }
            Ok(_) => return Ok(None),
            // Its bearer may be ending.
            Err(GcsError::Refused(TableError::NameTaken { .. })) if Instant::now() < until => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Err(GcsError::Refused(TableError::NameTaken { name, .. })) => {
                return Err(Error::NameTaken { name, namespace: spec.namespace.to_string() });
            }
            Err(error) => return Err(Error::Gcs(error)),
        }
    }
}

fn wire_of<A>(spec: &spec::ActorSpec, overflow: OverflowPolicy) -> WireActor {
    let limit = |limit: spec::Limit, none: u32| match limit {
        spec::Limit::AtMost(max) => max,
        spec::Limit::Unlimited => none,
    };
    WireActor {
        id: spec.id,
        type_name: std::any::type_name::<A>().to_owned(),
        label: spec
            .name
            .as_ref()
            .map_or_else(|| spec.class_name.to_string(), |name| format!("{} '{name}'", spec.class_name)),
        detached: spec.lifetime == spec::Lifetime::Detached,
        max_pending_calls: limit(spec.max_pending_calls, u32::MAX) as usize,
        overflow,
        max_task_retries: limit(spec.max_task_retries, u32::MAX),
    }
}

/// The handle of an actor that the control store knows.
pub(super) fn found<A: ActorClass>(core: &Arc<CoreWorker>, info: ActorInfo) -> Result<A::Handle> {
    let name = || info.spec.name.as_deref().unwrap_or_default().to_owned();
    if &*info.spec.class_name != A::NAME {
        return Err(Error::WrongClass { name: name(), class: A::NAME });
    }
    let Some(owner) = info.spec.owner else {
        let why = format!("the actor '{}' lives in its driver's process, where others cannot call it", name());
        return Err(Error::Unsupported(why));
    };
    let owner = ProcessId { node: owner.node, worker: owner.worker };
    let wire = wire_of::<A>(&info.spec, OverflowPolicy::Fail);
    Ok(A::Handle::from_raw(ActorHandle::at(Ok(Place::There(core.found(wire, owner))))))
}

/// Waits for the objects that a constructor takes.
struct Constructor<A: ActorClass> {
    core: Arc<CoreWorker>,
    actor: Arc<RemoteActor>,
    args: Mutex<Option<A::Args>>,
    missing: AtomicUsize,
}

impl<A: ActorClass> Dependent for Constructor<A> {
    fn dependency_ready(self: Arc<Self>) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let Some(args) = self.args.lock().take() else { return };
        let kept = Arc::new(args.clone());
        self.core.construct(&self.actor, |exporter| args.export(exporter), kept);
    }
}

fn construct_when_ready<A: ActorClass>(core: &Arc<CoreWorker>, actor: &Arc<RemoteActor>, args: A::Args) {
    let mut dependencies = Vec::new();
    args.each(&mut |object| dependencies.push(object));
    // One is held by this call itself.
    let missing = AtomicUsize::new(dependencies.len() + 1);
    let (core, actor, args) = (core.clone(), actor.clone(), Mutex::new(Some(args)));
    let constructor = Arc::new(Constructor::<A> { core, actor, args, missing });
    for object in dependencies {
        if !object.register(Waiter::Dependent(constructor.clone())) {
            constructor.clone().dependency_ready();
        }
    }
    constructor.dependency_ready();
}

/// Calls `tick` in this process after `every`, again and again if `repeat`, until it gives false.
pub(super) fn timer(every: Duration, repeat: bool, tick: impl Fn() -> bool + Send + Sync + 'static) {
    let running = context::with_thread(|thread| running(&thread.node)).ok().flatten();
    let Some(running) = running else { return };
    running.arbiter().spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            if !tick() || !repeat {
                return;
            }
        }
    });
}

// --- hosting ---------------------------------------------------------------------------------------------------------

/// Makes an actor of this process out of what its keeper says, and starts it.
///
/// # Errors
/// That an argument cannot be decoded.
pub fn import_actor<A: ActorClass>(core: &Arc<CoreWorker>, host: HostActor) -> Result<(), TaskError> {
    let HostActor { new, keeper, args, restarts_left, gpus, checkpoint, .. } = host;
    let NewActor { spec, parent, options, .. } = new;
    let args = A::Args::import(Arrived::new(core, ProcessId::manager(keeper), args))?;
    core.take_over(keeper);
    // Large arguments may still be on their way to this node.
    let mut dependencies = Vec::new();
    args.each(&mut |object| dependencies.push(object));
    let kind = TaskKind::Creation(spec.id);
    let head = TaskHead::new(spec.creation_task, parent, A::NAME, kind, args.dependencies(), None);
    if !gpus.is_empty() {
        head.set_grant(Arc::new(Grant { id: GRANTED_ELSEWHERE, gpus: gpus.into() }));
    }
    let checkpoints = spec.checkpoint_every.map(u64::from).and_then(A::checkpoints);
    let parts = ActorParts {
        id: spec.id,
        class: A::NAME,
        head,
        options: hosted(&spec, options, restarts_left),
        factory: factory::<A>(args),
        dependencies,
        checkpoints,
        has_async: A::HAS_ASYNC,
    };
    context::with_thread(|thread| {
        let cell = ActorCell::new(&thread.node, parts);
        if let Some(state) = checkpoint {
            cell.begin_with(state.to_vec());
        }
        let Some(running) = running(&thread.node) else {
            return Err(TaskErrorKind::NoRuntime { hint: "the worker is ending".to_owned() }.into());
        };
        running.start_actor(cell, thread);
        thread.node.lane.flush(&thread.outbox);
        Ok(())
    })?
}

/// The options by which a host runs an actor: its lease holds what it asked for, and its keeper knows its handles.
fn hosted(spec: &spec::ActorSpec, options: ActorOptions, restarts_left: Option<u32>) -> ActorOptions {
    ActorOptions {
        demand: ResourceSet::new(),
        strategy: SchedulingStrategy::Default,
        labels: Default::default(),
        namespace: Some(spec.namespace.to_string()),
        get_if_exists: false,
        lifetime: Lifetime::Detached,
        max_restarts: restarts_left,
        // A caller that is to wait for room does so in its own process.
        overflow: match options.overflow {
            OverflowPolicy::Block(_) => OverflowPolicy::Fail,
            other => other,
        },
        supervisor: None,
        ..options
    }
}
