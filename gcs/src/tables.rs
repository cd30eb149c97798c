//! The tables of the control plane: typed operations on top of any [`Store`](crate::store::Store).
//!
//! Owns: what can be written and read ([`Write`], [`Read`]), what comes back ([`Reply`], [`TableError`]), which shard each
//! belongs to, and how it changes rows. Does not own: durability, order, retries and subscriptions ([`crate::shard`]).
//!
//! Invariants:
//! - Applying a write is deterministic: same rows, same write, same `now` give the same rows and reply on every replica.
//! - A refused write ([`TableError`]) changes nothing.
//! - One write touches rows of one shard only. What must be consistent across keys (nodes, jobs, the actor directory with
//!   its names, placement groups) has one key hash, [`DIRECTORY`]; what is plentiful (tasks, objects, call logs, functions,
//!   user values, events) is spread. An object lives with the task that makes it.
//! - Everything has a bound ([`limits`]), and work per operation is bounded with it.

mod actors;
mod error;
mod events;
mod functions;
mod groups;
mod history;
mod jobs;
mod key_value;
pub mod keys;
pub mod limits;
mod nodes;
mod objects;
mod operation;
mod parts;
mod reply;
mod tasks;
mod txn;
mod update;

pub use actors::{ActorRead, ActorStep, ActorWrite, IfExists};
pub use error::{ApplyError, Bound, TableError};
pub use events::{EventRead, EventWrite};
pub use functions::{FunctionRead, FunctionWrite};
pub use groups::{GroupRead, GroupWrite};
pub use history::{HistoryRead, HistoryWrite};
pub use jobs::{JobRead, JobWrite};
pub use key_value::{KeyValueRead, KeyValueWrite};
pub use keys::DIRECTORY;
pub use nodes::{Lease, NodeRead, NodeWrite};
pub use objects::{ObjectRead, ObjectWrite};
pub use operation::{Read, Route, Write};
pub use parts::ReadPart;
pub use reply::{Page, PageRequest, Reply};
pub use tasks::{TaskRead, TaskWrite};
pub use txn::Txn;
pub use update::{Table, Update};
pub(crate) use {actors::Holder, events::EventBounds, jobs::LastJob};

/// What applying a write or reading gives.
pub type Applied = Result<Reply, ApplyError>;

/// Applies `write` inside `txn` at time `now`. On any error the transaction must be dropped.
///
/// # Errors
/// [`ApplyError::Rejected`] if the write is refused, which is an outcome like any other; else the store failed.
pub fn apply(write: &Write, now: crate::Millis, txn: &mut Txn<'_>) -> Applied {
    match write {
        Write::Node(write) => write.apply(now, txn),
        Write::Job(write) => write.apply(now, txn),
        Write::Function(write) => write.apply(txn),
        Write::Actor(write) => write.apply(now, txn),
        Write::History(write) => write.apply(now, txn),
        Write::Task(write) => write.apply(txn),
        Write::Object(write) => write.apply(txn),
        Write::Group(write) => write.apply(now, txn),
        Write::KeyValue(write) => write.apply(txn),
        Write::Event(write) => write.apply(txn),
    }
}

/// Answers `read` from `txn`.
///
/// # Errors
/// As [`apply`].
pub fn read(read: &Read, txn: &Txn<'_>) -> Applied {
    match read {
        Read::Node(read) => read.answer(txn),
        Read::Job(read) => read.answer(txn),
        Read::Function(read) => read.answer(txn),
        Read::Actor(read) => read.answer(txn),
        Read::History(read) => read.answer(txn),
        Read::Task(read) => read.answer(txn),
        Read::Object(read) => read.answer(txn),
        Read::Group(read) => read.answer(txn),
        Read::KeyValue(read) => read.answer(txn),
        Read::Event(read) => read.answer(txn),
    }
}
