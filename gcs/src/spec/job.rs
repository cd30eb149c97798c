//! Jobs and the functions that they bring.
//!
//! Owns: what is known of a driver's run and of its code. Does not own the code: an executable's bytes are an object, a
//! function is found inside it by name. Invariant: a finished job stays finished.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{FunctionId, JobId, Millis, NodeId, ObjectId};

/// What a driver says of itself when it connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The job's id, from [`crate::tables::JobWrite::NextId`].
    pub id: JobId,
    /// The node that the driver runs on or is connected to.
    pub driver_node: NodeId,
    /// The namespace of its named actors.
    pub namespace: Arc<str>,
    /// The driver's command line, for people.
    pub entrypoint: String,
    /// The driver's executable, from which other nodes start workers.
    pub executable: Option<Executable>,
    /// What the user wrote on it.
    pub metadata: BTreeMap<String, String>,
}

/// A driver's executable: the function table of its job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executable {
    /// A hash of its content.
    pub content_hash: [u8; 32],
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The object that holds it.
    pub object: ObjectId,
}

/// A job as the control plane sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// What the driver said.
    pub spec: JobSpec,
    /// When it started.
    pub started_at: Millis,
    /// Whether it runs.
    pub state: JobState,
}

/// Whether a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Its driver runs.
    Running,
    /// It has ended.
    Finished {
        /// When.
        at: Millis,
        /// How.
        outcome: JobOutcome,
    },
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JobOutcome {
    /// Its driver left in good order.
    Succeeded,
    /// Its driver said that it failed.
    Failed {
        /// What it said.
        message: String,
    },
    /// Its driver or the driver's node was lost.
    DriverLost,
    /// Somebody stopped it.
    Stopped,
}

/// A remote function or actor class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionInfo {
    /// Its id: name and signature, hashed.
    pub id: FunctionId,
    /// Its stable name.
    pub name: Arc<str>,
    /// Its signature, any text that changes when the arguments do.
    pub signature: Arc<str>,
    /// Whether it is a function, a class or a method.
    pub kind: FunctionKind,
}

/// What a [`FunctionInfo`] describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FunctionKind {
    /// A stateless function.
    Task,
    /// An actor class's constructor.
    ActorClass,
    /// An actor's method.
    Method,
}
