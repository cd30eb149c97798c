//! Actors: how they are made, held and ended.
//!
//! Owns: [`ActorHandle`], which every class's own handle wraps, and creation. The classes' handles, with a method for each
//! method of the class, are made by `#[remote]`. An actor lives in this process, or in a worker of the cluster ([`remote`]);
//! its handle is the same.

pub(crate) mod remote;

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use actinic_actors::data::codec;
use actinic_actors::{
    blocking,
    cluster::calls::RemoteActor,
    context,
    counters::Count,
    error::{TaskError, TaskErrorKind},
    gcs_client::GcsError,
    node::Node,
    options::{ActorOptions, Lifetime},
    supervision::Exit,
    task::{TaskHead, TaskKind},
    user::{
        actor::StartTimer,
        cell::{ActorParts, CheckpointFns},
        directory::AnyHandle,
        ActorCell, AnyActor,
    },
};
use actinic_gcs::{
    spec::{self, ActorSpec, Limit},
    tables::{IfExists, TableError},
    ActorId, FunctionId, ObjectId, TaskId,
};
use parking_lot::Mutex;
use serde::{de, de::DeserializeOwned, ser, Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    arg::ArgSet,
    error::{Error, Result},
    object_ref::{ObjectCell, ObjectRef},
    runtime::{running, Runtime},
    task_cell::Given,
};

/// A class of actors. Implemented by `#[remote]`.
pub trait ActorClass: Sized + Send + Sync + 'static {
    /// The constructor's arguments.
    type Args: ArgSet;
    /// The class's own handle.
    type Handle: Handle<Actor = Self>;
    /// Its name: the module's path and the type's.
    const NAME: &'static str;
    /// Whether it has `async` methods.
    const HAS_ASYNC: bool;
    /// Builds the state.
    ///
    /// # Errors
    /// The constructor's own.
    fn build(params: <Self::Args as ArgSet>::Params) -> Given<Self>;
    /// Saves and loads the state, where its type can be encoded.
    fn checkpoints(every: u64) -> Option<CheckpointFns<Self>>;
}

/// A class's own handle.
pub trait Handle: Clone + Send + Sync + 'static {
    /// The class.
    type Actor: ActorClass;
    /// The handle of a class without methods of its own.
    fn raw(&self) -> &ActorHandle<Self::Actor>;
    /// The class's own handle of `raw`.
    fn from_raw(raw: ActorHandle<Self::Actor>) -> Self;

    /// Calls `tick` again and again, `every` so long, until no handle is left. Timers outlive restarts.
    fn every(&self, every: Duration, tick: impl Fn(&Self) + Send + Sync + 'static) {
        self.raw().timer(every, true, move |raw| {
            tick(&Self::from_raw(raw.clone()));
            true
        });
    }

    /// Calls `tick` once, `after` so long, if a handle is left then.
    fn after(&self, after: Duration, tick: impl Fn(&Self) + Send + Sync + 'static) {
        self.raw().timer(after, false, move |raw| {
            tick(&Self::from_raw(raw.clone()));
            false
        });
    }
}

/// Where an actor lives.
pub(crate) enum Place<A: Send + Sync + 'static> {
    /// In this process.
    Here(Arc<ActorCell<A>>),
    /// In another process of the cluster.
    There(Arc<RemoteActor>),
}

struct Shared<A: Send + Sync + 'static> {
    place: Result<Place<A>, TaskError>,
}

impl<A: Send + Sync + 'static> Drop for Shared<A> {
    fn drop(&mut self) {
        if let Ok(Place::Here(cell)) = &self.place {
            if cell.options().lifetime == Lifetime::Job {
                cell.clone().handles_gone();
            }
        }
    }
}

/// A handle to an actor. The actor ends when its last handle is dropped and its calls are answered, unless it is detached.
pub struct ActorHandle<A: Send + Sync + 'static> {
    shared: Arc<Shared<A>>,
}

impl<A: Send + Sync + 'static> Clone for ActorHandle<A> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

/// A handle that does not keep its actor alive.
pub struct WeakHandle<A: Send + Sync + 'static>(Weak<Shared<A>>);

impl<A: Send + Sync + 'static> WeakHandle<A> {
    /// The handle, if any other is left.
    #[must_use]
    pub fn upgrade(&self) -> Option<ActorHandle<A>> {
        self.0.upgrade().map(|shared| ActorHandle { shared })
    }
}

impl<A: Send + Sync + 'static> ActorHandle<A> {
    fn at(place: Result<Place<A>, TaskError>) -> Self {
        Self { shared: Arc::new(Shared { place }) }
    }

    pub(crate) fn place(&self) -> Result<&Place<A>, TaskError> {
        self.shared.place.as_ref().map_err(Clone::clone)
    }

    /// The actor behind it, where it lives in this process.
    fn here(&self) -> Result<&Arc<ActorCell<A>>, TaskError> {
        match self.place()? {
            Place::Here(cell) => Ok(cell),
            Place::There(remote) => {
                let reason = "it lives in another process, and only actors of one process can be linked; watch() it";
                let (actor, method) = (remote.wire().label.clone(), "link".to_owned());
                Err(TaskErrorKind::ActorUnavailable { actor, method, reason: reason.to_owned() }.into())
            }
        }
    }

    /// The actor's id, the same through all restarts.
    ///
    /// # Errors
    /// Why there is no actor.
    pub fn id(&self) -> Result<ActorId, TaskError> {
        Ok(match self.place()? {
            Place::Here(cell) => cell.id(),
            Place::There(remote) => remote.id(),
        })
    }

    /// Ends the actor now. Calls that wait give `ActorDied`; a synchronous one that runs is not interrupted.
    pub fn kill(&self) {
        self.end("it was killed");
    }

    /// Takes the state down and has it rebuilt, as after a crash.
    pub fn restart(&self) {
        match self.place() {
            Ok(Place::Here(cell)) => {
                cell.clone().take_down();
                cell.node().supervisor.exited(cell.id(), Exit::Failed(RESTARTED.to_owned()));
            }
            Ok(Place::There(remote)) => remote.restart(),
            Err(_) => {}
        }
    }

    fn end(&self, reason: &str) {
        match self.place() {
            Ok(Place::Here(cell)) => cell.node().supervisor.ended(cell.id(), reason),
            Ok(Place::There(remote)) => remote.end(reason, false),
            Err(_) => {}
        }
    }

    /// An object that is ready when the actor is dead for good, and says how it ended: death watch.
    #[must_use]
    pub fn watch(&self) -> ObjectRef<Exit> {
        let told = || {
            self.place()?;
            let id = context::with_thread(|thread| context::next_put(&thread.node).1)?;
            let object = ObjectCell::<Exit>::pending(id);
            let ours = object.clone();
            self.on_death(move |exit| ours.fill(Ok(actinic_actors::cell::Stored::Live(exit))));
            Ok(ObjectRef::of(object))
        };
        told().unwrap_or_else(ObjectRef::failed)
    }

    /// Calls `on_death` once the actor is dead for good.
    pub fn on_death(&self, on_death: impl FnOnce(Exit) + Send + 'static) {
        match self.place() {
            Ok(Place::Here(cell)) => cell.node().supervisor.watch(cell.id(), Box::new(on_death)),
            Ok(Place::There(remote)) => remote.on_death(Box::new(on_death)),
            Err(_) => {}
        }
    }

    /// Links two actors: if one fails, the other is taken down and restarted, or ends, by its own policy.
    ///
    /// # Errors
    /// If one of the two was never made, or lives in another process.
    pub fn link<B: Send + Sync + 'static>(&self, other: &ActorHandle<B>) -> Result<(), TaskError> {
        let (one, other) = (self.here()?, other.here()?);
        one.node().supervisor.link(one.id(), other.id(), true);
        Ok(())
    }

    /// Undoes [`ActorHandle::link`].
    ///
    /// # Errors
    /// If one of the two was never made, or lives in another process.
    pub fn unlink<B: Send + Sync + 'static>(&self, other: &ActorHandle<B>) -> Result<(), TaskError> {
        let (one, other) = (self.here()?, other.here()?);
        one.node().supervisor.link(one.id(), other.id(), false);
        Ok(())
    }

    /// Calls that wait, and calls that run. Of an actor in another process: this process's calls that are not sent, and those
    /// that are not answered.
    ///
    /// # Errors
    /// Why there is no actor.
    pub fn load(&self) -> Result<(usize, usize), TaskError> {
        Ok(match self.place()? {
            Place::Here(cell) => cell.load(),
            Place::There(remote) => remote.load(),
        })
    }

    /// A handle that does not keep the actor alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakHandle<A> {
        WeakHandle(Arc::downgrade(&self.shared))
    }

    /// Calls `tick` after `every`, again and again if `repeat`, until it gives false or the actor is gone.
    pub fn timer(&self, every: Duration, repeat: bool, tick: impl Fn(&Self) -> bool + Send + Sync + 'static) {
        let weak = self.downgrade();
        let tick = move || weak.upgrade().is_some_and(|handle| tick(&handle));
        match self.place() {
            Ok(Place::Here(cell)) => {
                if let Some(address) = cell.address() {
                    address.do_send(StartTimer { every, repeat, tick: Arc::new(tick) });
                }
            }
            Ok(Place::There(_)) => remote::timer(every, repeat, tick),
            Err(_) => {}
        }
    }
}

impl<A: Send + Sync + 'static> fmt::Debug for ActorHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            Ok(Place::Here(cell)) => write!(f, "ActorHandle({}, {:?})", cell.label(), cell.id()),
            Ok(Place::There(remote)) => write!(f, "ActorHandle({}, {:?})", remote.wire().label, remote.id()),
            Err(error) => write!(f, "ActorHandle(none: {error})"),
        }
    }
}

impl<A: Send + Sync + 'static> Serialize for ActorHandle<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inside: codec::AnyRef = match self.place() {
            Ok(Place::There(remote)) => remote.clone(),
            _ => Arc::new(self.clone()),
        };
        let index = codec::encode_ref(inside)
            .ok_or_else(|| ser::Error::custom("an actor's handle can be encoded inside an object only"))?;
        serializer.serialize_u32(index)
    }
}

impl<'de, A: Send + Sync + 'static> Deserialize<'de> for ActorHandle<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        let handle = codec::decode_ref(index)
            .ok_or_else(|| de::Error::custom("an actor's handle can be decoded inside an object only"))?;
        let other = || de::Error::custom("the handle is of another class");
        match handle.downcast::<RemoteActor>() {
            Ok(remote) if remote.wire().type_name == std::any::type_name::<A>() => {
                Ok(Self::at(Ok(Place::There(remote))))
            }
            Ok(_) => Err(other()),
            Err(handle) => handle.downcast::<Self>().map(|handle| Self::clone(&handle)).map_err(|_| other()),
        }
    }
}

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

fn factory<A: ActorClass>(args: A::Args) -> actinic_actors::user::Factory<A> {
    let args = Mutex::new(args);
    Box::new(move || {
        let args = args.lock().clone();
        let params = args.resolve()?;
        A::build(params).map_err(|error| TaskError::failed(A::NAME, "this node", error.as_ref()))
    })
}

/// Why an actor was restarted by its handle.
const RESTARTED: &str = "it was restarted on request";

/// How long a name is waited for that belongs to an actor that is just being made, or just ending.
const NAME_PATIENCE: Duration = Duration::from_secs(1);

/// What the control store is told of an actor.
fn spec_of<A: ActorClass>(
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
        checkpoint_every: checkpoint_every.map(|calls| calls as u32),
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

fn typed<A: ActorClass>(found: Arc<AnyHandle>, name: &str) -> Result<A::Handle> {
    let shared =
        found.downcast::<Shared<A>>().map_err(|_| Error::WrongClass { name: name.to_owned(), class: A::NAME })?;
    Ok(A::Handle::from_raw(ActorHandle { shared }))
}

impl Runtime {
    /// The actor of this name in the runtime's namespace.
    ///
    /// # Errors
    /// If there is none, or it is of another class.
    pub fn get_actor<H: Handle>(&self, name: &str) -> Result<H> {
        self.get_actor_in(&self.node.config.namespace.clone(), name)
    }

    /// The actor of this name in `namespace`.
    ///
    /// # Errors
    /// If there is none, or it is of another class.
    pub fn get_actor_in<H: Handle>(&self, namespace: &str, name: &str) -> Result<H> {
        let nobody = || Error::NoSuchActor { name: name.to_owned(), namespace: namespace.to_owned() };
        let handle = match (self.node.actors.find(namespace, name), &self.node.cluster) {
            (Some(found), _) => typed::<H::Actor>(found, name)?,
            (None, Some(core)) => {
                let info = blocking::blocked(&self.node, || self.node.gcs.find_actor(namespace, name))?;
                remote::found::<H::Actor>(core, info.ok_or_else(nobody)?)?
            }
            (None, None) => return Err(nobody()),
        };
        Ok(H::from_raw(handle.raw().clone()))
    }

    /// Names of living actors in `namespace`; in a cluster, as far as the control store can be reached.
    #[must_use]
    pub fn actor_names(&self, namespace: &str) -> Vec<String> {
        if self.node.cluster.is_none() {
            return self.node.actors.names(namespace);
        }
        let named = |info: spec::ActorInfo| {
            let here = info.state != spec::ActorState::Dead && &*info.spec.namespace == namespace;
            info.spec.name.filter(|_| here).map(|name| name.to_string())
        };
        self.list_actors().unwrap_or_default().into_iter().filter_map(named).collect()
    }

    /// How many actors are alive in this process.
    #[must_use]
    pub fn actor_count(&self) -> usize {
        self.node.actors.len()
    }
}

/// Marks a type that is used in types only.
pub struct Of<A>(PhantomData<fn() -> A>);
