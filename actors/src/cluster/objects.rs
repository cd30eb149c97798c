//! Large objects between processes and nodes: laid out once in shared memory, and named by where they are.
//!
//! ```text
//!  worker A            node 1                         node 2            worker B
//!    │ reserve ──────────►│                               │                 │
//!    │◄──────── granted   │                               │                 │
//!    │ writes in place, seal ─►│                          │                 │
//!    │ ───── the result: a locator, no bytes ───► owner ── an argument: the same locator ──► │
//!    │                    │                               │◄──────────── pin│
//!    │                    │   ◄── where from? owner: node 1 ──►│            │
//!    │                    │ ═══════ chunks, several streams ══►│            │
//!    │                    │                               │ pinned ────────►│ reads in place
//! ```
//!
//! Owns: which values travel as a [`Locator`] and which as bytes; a node's [`ObjectManager`], which keeps the segment and
//! decides by its [`table`] how long each object stays and by its [`pull`] what is fetched from where; an owner's
//! [`directory`] of where its objects are; and a process's [`ObjectClient`], through which it writes and reads. Does not own
//! the memory itself ([`crate::store`]), nor how long an object is needed ([`super::refs`]).
//!
//! Nodes of one machine fetch nothing from each other: the one borrows what the other has, and its processes read it there.
//!
//! Invariants: the bytes of a large object are on no control connection, and are copied once a node, or not at all within a
//! machine; whoever reads holds a pin, and what is pinned stays where it is; what a process has reserved, held or pinned goes
//! with it; one pull a node fetches an object for all who want it there.

pub mod away;
pub mod client;
pub mod directory;
pub mod guests;
pub mod inputs;
pub mod manager;
pub mod portable;
pub mod pull;
pub mod streams;
pub mod table;
pub mod wire;

pub use self::{
    away::AwayObject,
    client::ObjectClient,
    manager::{ObjectEvent, ObjectManager},
    portable::Portable,
    wire::{Locator, StoredId},
};
