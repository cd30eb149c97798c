//! Objects: their size, where copies are and who owns them.
//!
//! Owns: what the cluster knows of an object. Does not own its bytes. Invariant: an object is immutable, so a size once
//! known never changes; no locations means that it is lost or not yet made, and lineage says how to make it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{NodeId, ObjectId, WorkerId};

/// An object as the control plane sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// The object.
    pub id: ObjectId,
    /// Its size in bytes, once known.
    pub size_bytes: Option<u64>,
    /// The nodes that hold a copy.
    pub locations: BTreeSet<NodeId>,
    /// Who counts its references, once known.
    pub owner: Option<Owner>,
}

impl ObjectInfo {
    /// An object of which only the id is known.
    #[must_use]
    pub fn new(id: ObjectId) -> Self {
        Self { id, size_bytes: None, locations: BTreeSet::new(), owner: None }
    }
}

/// Who counts an object's references and frees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// The process that made the first reference.
    Process {
        /// Its node.
        node: NodeId,
        /// The worker on it, or none for a driver.
        worker: Option<WorkerId>,
    },
    /// The control plane, because the first owner died before its job did.
    Gcs,
}
