//! The actors of a node, by id and by name.
//!
//! Owns: links to those alive. The names are the GCS's ([`crate::gcs_client`]); this only finds the live actor and, for a
//! named one, what its handles share.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use actinic_gcs::ActorId;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::cell::AnyActor;

/// What all handles to an actor share, of any class.
pub type AnyHandle = dyn Any + Send + Sync;

#[derive(Clone)]
enum Shared {
    /// A detached actor lives without handles.
    Kept(Arc<AnyHandle>),
    /// Any other is gone with its last one.
    Weak(Weak<AnyHandle>),
}

#[derive(Default)]
struct Tables {
    by_id: FxHashMap<ActorId, Arc<dyn AnyActor>>,
    by_name: BTreeMap<(String, String), (ActorId, Shared)>,
}

/// The directory.
#[derive(Default)]
pub struct Directory(Mutex<Tables>);

impl Directory {
    /// Enters an actor.
    pub fn insert(&self, actor: Arc<dyn AnyActor>) {
        self.0.lock().by_id.insert(actor.id(), actor);
    }

    /// Enters the name of an actor; what its handles share is kept for a detached one.
    pub fn name(&self, namespace: &str, name: &str, id: ActorId, handle: &Arc<AnyHandle>, detached: bool) {
        let shared = if detached { Shared::Kept(handle.clone()) } else { Shared::Weak(Arc::downgrade(handle)) };
        self.0.lock().by_name.insert((namespace.to_owned(), name.to_owned()), (id, shared));
    }

    /// What the handles to the actor of this name share.
    #[must_use]
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<AnyHandle>> {
        let shared =
            self.0.lock().by_name.get(&(namespace.to_owned(), name.to_owned())).map(|(_, shared)| shared.clone());
        match shared? {
            Shared::Kept(handle) => Some(handle),
            Shared::Weak(handle) => handle.upgrade(),
        }
    }

    /// The names in `namespace`.
    #[must_use]
    pub fn names(&self, namespace: &str) -> Vec<String> {
        self.0.lock().by_name.keys().filter(|(of, _)| of == namespace).map(|(_, name)| name.clone()).collect()
    }

    /// The actor of this id, if it is alive.
    #[must_use]
    pub fn get(&self, id: ActorId) -> Option<Arc<dyn AnyActor>> {
        self.0.lock().by_id.get(&id).cloned()
    }

    /// All that are alive.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<dyn AnyActor>> {
        self.0.lock().by_id.values().cloned().collect()
    }

    /// How many are alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().by_id.len()
    }

    /// Whether none is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The actor is dead.
    pub fn remove(&self, id: ActorId, name: Option<(&str, &str)>) {
        let dropped = {
            let mut tables = self.0.lock();
            let named = name.and_then(|(namespace, name)| {
                let key = (namespace.to_owned(), name.to_owned());
                // A new actor may bear the name already.
                let ours = tables.by_name.get(&key).is_some_and(|(bearer, _)| *bearer == id);
                ours.then(|| tables.by_name.remove(&key)).flatten()
            });
            (tables.by_id.remove(&id), named)
        };
        // Handles that the entry kept run code when they are dropped, so not under the lock.
        drop(dropped);
    }
}
