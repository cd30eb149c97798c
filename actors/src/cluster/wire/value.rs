//! Values and references on their way between processes.
//!
//! Owns: their records. Invariant: a value has its bytes with it or a locator, never both.

use actinic_gcs::{ActorId, ObjectId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ProcessId;
use crate::{cluster::objects::wire::Locator, options::OverflowPolicy};

/// A handle to an actor, on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WireActor {
    /// The actor.
    pub id: ActorId,
    /// The Rust type of its state.
    pub type_name: String,
    /// Its class, with its name if it has one, for people.
    pub label: String,
    /// Whether it lives without handles.
    pub detached: bool,
    /// Calls that may wait.
    pub max_pending_calls: usize,
    /// What happens to one over that bound.
    pub overflow: OverflowPolicy,
    /// How often a call is tried again that was lost with its actor.
    pub max_task_retries: u32,
}

/// An object of another process, and who owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WireRef {
    /// The object.
    pub id: ObjectId,
    /// The process that knows what became of it.
    pub owner: ProcessId,
}

/// A value on its way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WireValue {
    /// The structure.
    pub meta: Bytes,
    /// The bulk.
    pub buffers: Vec<Bytes>,
    /// The references inside.
    pub refs: Vec<WireRef>,
    /// Which of the references are handles to actors.
    #[serde(default)]
    pub actors: Vec<(u32, WireActor)>,
    /// Where the bytes are, if they are not here.
    pub away: Option<Box<Locator>>,
}

impl WireValue {
    /// How many bytes it brings.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.meta.len() + self.buffers.iter().map(Bytes::len).sum::<usize>()
    }
}

/// One argument on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WireArg {
    /// Its value.
    Value(WireValue),
    /// Values that together make one argument, in order.
    Gather(Vec<WireValue>),
}

impl WireArg {
    /// Its values.
    #[must_use]
    pub fn values(&self) -> &[WireValue] {
        match self {
            Self::Value(value) => std::slice::from_ref(value),
            Self::Gather(values) => values,
        }
    }
}
