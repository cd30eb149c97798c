//! What processes, nodes and keepers say of actors.
//!
//! Owns: the records. Invariant: what is said under a lease is heard as long as the actor has that lease, and no longer.

use actinic_gcs::{spec::ActorSpec, ActorId, NodeId, TaskId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Doors, LeaseId, ProcessId, WireArg};
use crate::{options::ActorOptions, supervision::Exit};

/// An actor, as its creator asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewActor {
    /// What the control store is told.
    pub spec: ActorSpec,
    /// Who made it; it ends with its owner unless it is detached.
    pub owner: ProcessId,
    /// The task that made it.
    pub parent: TaskId,
    /// Where it may live, and how it is to be run. What it holds and how it is found is in its spec.
    pub options: ActorOptions,
}

/// What a worker needs to run an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostActor {
    /// What was asked for.
    pub new: NewActor,
    /// Who keeps it.
    pub keeper: NodeId,
    /// The arguments of its constructor.
    pub args: Vec<WireArg>,
    /// Under which lease.
    pub lease: LeaseId,
    /// Restarts that are left; none for no end.
    pub restarts_left: Option<u32>,
    /// Accelerators assigned to it.
    pub gpus: Vec<u32>,
    /// Its last saved state, which takes the constructor's place.
    pub checkpoint: Option<Bytes>,
}

/// Where an actor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActorWhere {
    /// Nowhere yet.
    Pending,
    /// In this process.
    Alive {
        /// Which.
        process: ProcessId,
        /// Where that is reached directly.
        doors: Doors,
    },
    /// It was lost and is on its way up again.
    Away {
        /// How it was lost.
        reason: String,
    },
    /// It takes no calls and never will.
    Dead {
        /// Why, for people.
        reason: String,
        /// How it ended.
        exit: Exit,
    },
}

/// To whoever keeps an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ActorWord {
    /// It is to be made once its constructor's arguments are there.
    Declare(Box<NewActor>),
    /// They are.
    Construct {
        /// Which actor.
        actor: ActorId,
        /// The arguments.
        args: Vec<WireArg>,
    },
    /// The sender has a handle, and wants to know where the actor is from now on.
    Watch(ActorId),
    /// It is to end.
    End {
        /// Which.
        actor: ActorId,
        /// Why.
        reason: String,
        /// Whether its calls are to be answered first.
        drain: bool,
    },
    /// Its host has built its state.
    Up(ActorId, LeaseId),
    /// Its host builds its state anew.
    Restarting(ActorId, LeaseId),
    /// Its host says that it is dead for good.
    Down {
        /// Which.
        actor: ActorId,
        /// Under which lease it ran.
        lease: LeaseId,
        /// Why, for people.
        reason: String,
        /// How it ended.
        exit: Exit,
    },
    /// Its state after so many calls.
    Checkpoint {
        /// Which.
        actor: ActorId,
        /// Under which lease it runs.
        lease: LeaseId,
        /// How many.
        calls: u64,
        /// The state.
        state: Bytes,
    },
}
