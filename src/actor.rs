//! Actors: how they are made, held and ended.
//!
//! Owns: [`ActorHandle`], which every class's own handle wraps, and creation. The classes' handles, with a method for each
//! method of the class, are made by `#[remote]`. An actor lives in this process, or in a worker of the cluster (`remote`);
//! its handle is the same.

mod create;
pub(crate) mod remote;

pub use self::create::{checkpoint_fns, create, try_create, Creation};

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Weak},
    time::Duration,
};

use actinic_actors::{
    blocking,
    cluster::calls::RemoteActor,
    context,
    data::codec,
    error::{TaskError, TaskErrorKind},
    options::Lifetime,
    supervision::Exit,
    user::{actor::StartTimer, cell::CheckpointFns, ActorCell, AnyActor},
};
use actinic_gcs::{spec, ActorId};
use serde::{de, ser, Deserialize, Deserializer, Serialize, Serializer};

use self::create::typed;
use crate::{
    arg::ArgSet,
    error::{Error, Result},
    object_ref::{ObjectCell, ObjectRef},
    runtime::Runtime,
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

/// Why an actor was restarted by its handle.
const RESTARTED: &str = "it was restarted on request";

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
