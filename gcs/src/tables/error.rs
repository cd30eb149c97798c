//! Why a write or read is refused.
//!
//! Owns: [`TableError`], a deterministic outcome that goes to the client, and [`ApplyError`], which tells it apart from a
//! store that failed. Invariant: a refusal has the same value on every replica, so it can be remembered and repeated.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    record::RecordError,
    spec::{ActorState, PlacementGroupState},
    store::StoreError,
    ActorId, FunctionId, JobId, Millis, NodeId, ObjectId, PlacementGroupId,
};

/// Why a write or read is refused. Nothing has changed, and repeating it unchanged is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TableError {
    /// Something is larger than it may be.
    #[error("{what} of {actual} is over the limit of {max}{}", .what.hint())]
    TooLarge {
        /// What is too large, with its unit.
        what: Bound,
        /// How large it is.
        actual: u64,
        /// How large it may be.
        max: u64,
    },
    /// A name or key is empty.
    #[error("a name is empty")]
    EmptyName,
    /// The node never registered.
    #[error("node {0} is unknown")]
    NodeUnknown(NodeId),
    /// The node registered before.
    #[error("node {0} is registered already")]
    NodeExists(NodeId),
    /// The node was declared dead; whoever hears this of itself must stop.
    #[error("node {0} was declared dead")]
    NodeDead(NodeId),
    /// The node renewed its lease before it could be declared dead.
    #[error("node {node} has renewed its lease until {until}")]
    LeaseRenewed {
        /// The node.
        node: NodeId,
        /// When the lease ends now.
        until: Millis,
    },
    /// No such job was added.
    #[error("job {0} is unknown")]
    JobUnknown(JobId),
    /// Another job has the id.
    #[error("job {0} exists already")]
    JobExists(JobId),
    /// The job has ended before.
    #[error("job {0} has finished already")]
    JobFinished(JobId),
    /// Another function has the same id.
    #[error("function {function} is registered as `{name}` with another signature")]
    FunctionConflict {
        /// The id.
        function: FunctionId,
        /// The name that is registered.
        name: String,
    },
    /// The actor never registered, or was deleted.
    #[error("actor {0} is unknown")]
    ActorUnknown(ActorId),
    /// The actor is registered with another spec.
    #[error("actor {0} is registered already, with another spec")]
    ActorExists(ActorId),
    /// A living actor has the name.
    #[error("the name `{name}` is taken in namespace `{namespace}` by actor {holder}")]
    NameTaken {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// Who has it.
        holder: ActorId,
    },
    /// The actor cannot go from its state to the one asked for.
    #[error("actor {actor} cannot go from {from} to {to}")]
    IllegalTransition {
        /// The actor.
        actor: ActorId,
        /// Its state.
        from: ActorState,
        /// The state asked for.
        to: ActorState,
    },
    /// The sender acts for an incarnation of the actor that is over; it must stop.
    #[error("actor {actor} is at incarnation {current}, not {given}")]
    StaleIncarnation {
        /// The actor.
        actor: ActorId,
        /// The incarnation that the sender acts for.
        given: u32,
        /// The incarnation that there is.
        current: u32,
    },
    /// The actor was restarted as often as it may be.
    #[error("actor {actor} has been restarted {restarts} times and may not be again")]
    RestartsSpent {
        /// The actor.
        actor: ActorId,
        /// How often it was restarted.
        restarts: u32,
    },
    /// Only a dead actor can be deleted.
    #[error("actor {0} is not dead")]
    ActorNotDead(ActorId),
    /// The entries do not follow on those in the log.
    #[error("the call log of actor {actor} goes on at {expected}, not at {given}")]
    CallLogGap {
        /// The actor.
        actor: ActorId,
        /// The next position.
        expected: u64,
        /// The position given.
        given: u64,
    },
    /// The position is outside of what the log and its checkpoint allow.
    #[error("position {given} of the call log of actor {actor} is not within {first}..={last}")]
    CallLogRange {
        /// The actor.
        actor: ActorId,
        /// The position given.
        given: u64,
        /// The least allowed.
        first: u64,
        /// The greatest allowed.
        last: u64,
    },
    /// An object's size is known to be another.
    #[error("object {object} has {known} bytes, not {given}")]
    SizeMismatch {
        /// The object.
        object: ObjectId,
        /// The size known.
        known: u64,
        /// The size given.
        given: u64,
    },
    /// No such placement group was created, or it was forgotten.
    #[error("placement group {0} is unknown")]
    GroupUnknown(PlacementGroupId),
    /// The placement group exists with another spec.
    #[error("placement group {0} exists already, with another spec")]
    GroupExists(PlacementGroupId),
    /// The placement group cannot go from its state to the one asked for.
    #[error("placement group {group} cannot go from {from:?} to {to:?}")]
    IllegalGroupTransition {
        /// The group.
        group: PlacementGroupId,
        /// Its state.
        from: PlacementGroupState,
        /// The state asked for.
        to: PlacementGroupState,
    },
    /// The nodes given are not one for each bundle as the strategy demands.
    #[error("the placement does not fit the strategy of placement group {0}")]
    PlacementRefused(PlacementGroupId),
}

/// What a bound is of, with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Bound {
    /// Bytes of a name or namespace.
    NameBytes,
    /// Bytes of a user's key.
    KeyBytes,
    /// Bytes of a user's value.
    ValueBytes,
    /// Bytes of an encoded record.
    RecordBytes,
    /// Bytes of an inline checkpoint.
    CheckpointBytes,
    /// Items in one write or read.
    BatchLen,
    /// Copies of an object.
    Locations,
    /// Bundles of a placement group.
    Bundles,
    /// Entries of a call log.
    CallLogLen,
    /// Bytes of an encoded event.
    EventBytes,
    /// Milliseconds of a lease.
    LeaseMs,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameBytes => "a name's size in bytes",
            Self::KeyBytes => "a key's size in bytes",
            Self::ValueBytes => "a value's size in bytes",
            Self::RecordBytes => "a record's size in bytes",
            Self::CheckpointBytes => "an inline checkpoint's size in bytes",
            Self::BatchLen => "a batch's length",
            Self::Locations => "an object's count of locations",
            Self::Bundles => "a placement group's count of bundles",
            Self::CallLogLen => "a call log's length",
            Self::EventBytes => "an event's size in bytes",
            Self::LeaseMs => "a lease in milliseconds",
        })
    }
}

impl Bound {
    /// What to do about something that is too large, where that is known.
    fn hint(self) -> &'static str {
        match self {
            Self::ValueBytes | Self::RecordBytes | Self::CheckpointBytes => {
                "; put what is large into an object, and keep its reference here"
            }
            Self::BatchLen => "; send it in parts",
            _ => "",
        }
    }

    /// Whether `actual` keeps to `max`.
    ///
    /// # Errors
    /// [`TableError::TooLarge`] if it does not.
    pub fn check(self, actual: usize, max: usize) -> Result<(), TableError> {
        if actual > max {
            return Err(TableError::TooLarge { what: self, actual: actual as u64, max: max as u64 });
        }
        Ok(())
    }
}

/// Why an operation could not be applied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It is refused: an outcome like any other, the same on every replica.
    #[error(transparent)]
    Rejected(#[from] TableError),
    /// The store failed: this replica must stop.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row cannot be read, perhaps because a newer build wrote it: this replica must stop.
    #[error(transparent)]
    Record(#[from] RecordError),
}
