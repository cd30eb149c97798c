//! The way to the GCS.
//!
//! Owns: the [`GcsClient`] of a process, the [`GcsShard`]s, each one replica of one shard, and the
//! [`GcsPort`] by which everybody else reaches them. Does not own the tables or what a shard decides ([`actinic_gcs`]).
//!
//! ```text
//! threads ──events──► GcsPort ──one ring a burst──► GcsClient ──Ask: (number, request)s──► GcsShard ─► ReplicaCore
//!                                                       ◄──────── Answers: replies, changes ────┘
//! ```
//!
//! Invariants:
//! - Client and shards know of each other only the messages in [`messages`], so that a shard elsewhere, or one of several
//!   replicas, fits behind them.
//! - A caller waits only where it asks for an answer; records cost it one push onto a queue.
//! - What one thread gives to the port takes effect in that order within a shard, but for the rows of unnamed actors: they
//!   may be written later, though always before anything that asks for them.
//! - A row that nobody could have seen is never written: an unnamed actor that lives and dies between two looks costs
//!   the shard nothing, and the last dead ones are still shown to whoever asks.

mod client;
pub(crate) mod core;
mod directory;
#[cfg(feature = "rocksdb")]
mod former;
mod ledger;
mod merge;
pub mod messages;
mod port;
mod retired;
mod shard;
#[cfg(test)]
mod tests;
mod values;

use actinic_gcs::tables::TableError;

pub(crate) use self::directory::hostname;
#[cfg(feature = "rocksdb")]
pub(crate) use self::former::close_books;
#[cfg(feature = "rocksdb")]
pub use self::former::FolderError;
pub use self::{
    client::GcsClient,
    port::{GcsPort, OnChange},
    shard::{GcsShard, PeerLinks, ShardSetup, ShardStore, TICK as REPLICA_TICK},
};

/// Why the control store gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GcsError {
    /// It refuses; nothing has changed, and to ask again unchanged is of no use.
    #[error(transparent)]
    Refused(#[from] TableError),
    /// The request may have been carried out, or not: a shard has forgotten how it came out.
    #[error("the control store has forgotten whether the request was carried out")]
    Forgotten,
    /// The request may have been carried out, or not: no answer came, however often it was sent.
    #[error("the control store did not answer, though asked {attempts} times; the request may have been carried out")]
    Unavailable {
        /// How often it was sent.
        attempts: u32,
    },
    /// The request is larger than a shard takes; nothing has changed.
    #[error(
        "the request has {bytes} bytes, more than the {max} that the control store takes at once; send it in parts, or put \
         what is large into objects"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The node is shut down; the request may have been carried out, or not.
    #[error("the runtime was shut down before the control store answered")]
    Closed,
    /// Nothing was sent: the caller is a subscription's callback, and to wait there would be to wait for itself.
    #[error("a callback of a subscription cannot wait for the control store; hand the work to another thread")]
    Callback,
    /// The answer is of another kind than the question, as from a shard of another build.
    #[error("the control store's answer to `{asked}` is of another kind")]
    UnexpectedReply {
        /// What was asked.
        asked: &'static str,
    },
}
