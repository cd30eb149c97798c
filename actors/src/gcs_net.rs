//! The control store over the network.
//!
//! ```text
//! process of a client                         process of a replica (GcsServer)
//!   GcsClient or RemoteGcs                      Listener: handshake, which shard
//!     └─ ShardLink, one a shard ═══ TCP ═══►      └─ Peer, one a connection ──► GcsShard ──► TcpLinks
//!                                                                                               ║ TCP
//!                                                 other replicas' Listener ◄════════════════════╝
//! ```
//!
//! Owns: connections, their handshake and frames; finding a shard's leader; the process that serves shards
//! ([`GcsServer`]), and a client for those who have no node ([`RemoteGcs`]). Does not own consensus, requests or retries:
//! messages between client and shard are the same whether a network is between them or not
//! ([`crate::gcs_client::messages`]).
//!
//! Invariants:
//! - Everything is bounded: lengths before they are believed, queues, connections, and every wait for another machine.
//! - Nothing that comes in makes this panic, and nobody who is refused is left without a reason.
//! - Beyond loopback all is encrypted, and nobody is served without a token or a certificate.
//! - The end of a process is noticed by the end of its connections, at once. A silent leader is left when another leads.

mod admin;
mod connection;
mod error;
pub(crate) mod handshake;
pub(crate) mod inbox;
mod introduction;
mod link;
mod listener;
pub(crate) mod outbox;
mod peers;
pub(crate) mod porch;
mod refused;
mod remote;
mod roster;
mod server;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod wire;

use std::time::Duration;

pub(crate) use self::handshake::is_beyond_loopback;
pub use self::{
    admin::{ask_admin, AdminAnswer, AdminAsk, ReplicaSummary},
    error::{NetError, ServerError},
    introduction::ask_identity,
    link::{Found, LinkNews, LinkSetup, ShardLink},
    listener::{Visit, Visitors},
    refused::Refused,
    remote::{Pending, RemoteGcs, UNANSWERED_MAX},
    server::{GcsServer, ServerConfig, ServerStatus, ShardSpec},
    wire::{Membership, Refusal, Token},
};

/// The bounds of a process that serves shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// Bytes that may wait for one client to read them; who is further behind is cut off.
    pub outgoing_bytes_max: usize,
    /// How long a caller may take to say who it is.
    pub handshake_max: Duration,
    /// How long one who has something to read may read nothing.
    pub stall_max: Duration,
    /// How long one may say nothing at all.
    pub idle_max: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            outgoing_bytes_max: 64 << 20,
            handshake_max: Duration::from_secs(5),
            stall_max: Duration::from_secs(10),
            idle_max: Duration::from_secs(10),
        }
    }
}
