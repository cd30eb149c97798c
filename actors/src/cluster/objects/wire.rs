//! What is said about large objects.
//!
//! Owns: the records, as plain data. Does not own how they travel ([`crate::cluster::wire`]). Invariant: what comes from
//! another process is checked before it is used: a locator whose parts do not fit its bytes is refused.

use actinic_gcs::{NodeId, ObjectId};
use serde::{Deserialize, Serialize};

use crate::{cluster::wire::ProcessId, store::Placement};

/// One sealed value: an object that is computed again is another one. Copies on other nodes have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoredId {
    /// The node where it was sealed, which has the primary copy.
    pub node: NodeId,
    /// Its number there, never used twice.
    pub serial: u64,
}

/// What travels instead of a large value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locator {
    /// Which sealed value.
    pub stored: StoredId,
    /// Of which object.
    pub object: ObjectId,
    /// Who knows where copies are.
    pub owner: ProcessId,
    /// How many bytes it has.
    pub bytes: u64,
    /// Where its parts lie within them.
    pub placement: Placement,
    /// Whether the receiver is to hold it from now on: it is the owner, and the sender will let go of it.
    pub given: bool,
}

/// From a process to its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectAsk {
    /// Room is wanted; answered by [`ObjectNews::Reserved`].
    Reserve {
        /// The asker's number for it.
        ticket: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Reserved room was filled. The process holds it from now on.
    Seal(StoredId),
    /// Reserved room is not needed.
    Abort(StoredId),
    /// The object is to be in memory here, and to stay there; answered by [`ObjectNews::Pinned`].
    Pin {
        /// The asker's number for it.
        request: u64,
        /// Which.
        stored: StoredId,
        /// Who knows where it is.
        owner: ProcessId,
        /// How many bytes it has.
        bytes: u64,
    },
    /// One pin less.
    Unpin(StoredId),
    /// Another process is about to be given it, and will claim it.
    Pass {
        /// Which.
        stored: StoredId,
        /// To whom.
        to: ProcessId,
    },
    /// Something for a node, this one or another.
    ForNode {
        /// Which.
        node: NodeId,
        /// What.
        frame: ObjectFrame,
    },
}

/// To the node that it concerns, from a process or another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectFrame {
    /// The process holds what it was passed.
    Claim {
        /// Which.
        stored: StoredId,
        /// Who.
        by: ProcessId,
    },
    /// The process holds it no more.
    Release {
        /// Which.
        stored: StoredId,
        /// Who.
        by: ProcessId,
    },
    /// The owner's answer to [`ObjectNews::Locate`].
    Source {
        /// Which.
        stored: StoredId,
        /// Where to fetch it from, or why there is nowhere.
        from: Result<NodeId, String>,
    },
    /// A copy is not needed any more.
    Free(StoredId),
    /// A node of the same machine wants to read it where it is; answered by [`ObjectFrame::Lent`].
    Borrow {
        /// Which.
        stored: StoredId,
        /// To whom.
        loan: Loan,
    },
    /// It stays where it is until it is returned; or it is not lent.
    Lent {
        /// Which.
        stored: StoredId,
        /// By whom.
        from: NodeId,
        /// The borrower's number.
        number: u64,
        /// Where it is, or why it is not to be had.
        place: Result<Place, String>,
    },
    /// A loan is not needed any more.
    Return {
        /// Of which.
        stored: StoredId,
        /// To whom.
        loan: Loan,
    },
}

impl ObjectFrame {
    /// Whether it is about what nodes lend each other.
    #[must_use]
    pub fn is_of_loans(&self) -> bool {
        matches!(self, Self::Borrow { .. } | Self::Lent { .. } | Self::Return { .. })
    }
}

/// What one node reads in the memory of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Loan {
    /// Who reads.
    pub to: NodeId,
    /// Its number there, never used twice.
    pub number: u64,
}

/// From a node to a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectNews {
    /// Room was found, or not.
    Reserved {
        /// The asker's number.
        ticket: u64,
        /// What it is, or why there is none.
        room: Result<GrantedRoom, String>,
    },
    /// An object is in memory, or cannot be.
    Pinned {
        /// The asker's number.
        request: u64,
        /// Where, or why not.
        place: Result<Place, String>,
    },
    /// To the owner: a node wants a copy.
    Locate {
        /// Of which.
        stored: StoredId,
        /// Which node.
        to: NodeId,
        /// Where it could not be had.
        failed: Option<NodeId>,
        /// Nodes whose copy it would read in place.
        near: Vec<NodeId>,
    },
    /// Other nodes' memory is to be mapped no longer than it is read: one of them is lost.
    Unmap,
    /// To the owner: a node has a copy.
    Copied {
        /// Of which.
        stored: StoredId,
        /// Which node.
        at: NodeId,
    },
    /// To the owner: a node has no copy any more, or wants none.
    Dropped {
        /// Of which.
        stored: StoredId,
        /// Which node.
        at: NodeId,
    },
}

/// Room of a process's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedRoom {
    /// As which value it is to be sealed.
    pub stored: StoredId,
    /// Where.
    pub place: Place,
}

/// A place in a node's shared memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The segment's name.
    pub segment: String,
    /// The first byte.
    pub offset: u64,
    /// The memory is another node's: what a process locks as long as it maps it ([`super::guests`]).
    #[serde(default)]
    pub guests: Option<String>,
}

/// What a node's object store holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFigures {
    /// Bytes that it may hold in memory.
    pub capacity_bytes: u64,
    /// Bytes that it holds in memory.
    pub used_bytes: u64,
    /// Of these, bytes that somebody reads.
    pub pinned_bytes: u64,
    /// Bytes on disk only.
    pub spilled_bytes: u64,
    /// Objects and reserved room that it knows of.
    pub objects: u64,
    /// Bytes of objects that were sent to other nodes.
    pub sent_bytes: u64,
    /// Bytes of objects that were fetched from other nodes.
    pub fetched_bytes: u64,
    /// Pulls that are under way.
    pub pulls: u64,
}
