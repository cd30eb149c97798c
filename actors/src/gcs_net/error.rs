//! What can go wrong between two processes.
//!
//! Owns: the errors of this module. Invariant: each names the address, and what one can do where that is known.

use std::{io, net::SocketAddr, time::Duration};

use thiserror::Error;

use super::wire::{FrameError, Refusal};

/// Why there is no connection, or none any more.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetError {
    /// The other side refused.
    #[error("{address} refused the connection: {refusal}")]
    Refused {
        /// Who.
        address: String,
        /// Why.
        refusal: Refusal,
    },
    /// The other side says what makes no sense.
    #[error("the connection to {address} made no sense")]
    Garbled {
        /// Who.
        address: String,
        /// What it said.
        source: FrameError,
    },
    /// The connection failed, or could not be made.
    #[error("the connection to {address} failed")]
    Io {
        /// With whom.
        address: String,
        /// How.
        source: io::Error,
    },
    /// Nothing came for too long.
    #[error("{address} said nothing for {waited:?}")]
    Silent {
        /// Who.
        address: String,
        /// How long.
        waited: Duration,
    },
    /// None of a shard's replicas leads it, or none can be reached.
    #[error("no leader of shard {shard} was found for {waited:?}; last: {last}")]
    NoLeader {
        /// Which shard.
        shard: usize,
        /// How long it was looked for.
        waited: Duration,
        /// What was heard last.
        last: String,
    },
    /// A cluster without shards, or a shard without addresses.
    #[error("no address of shard {shard} is known")]
    NoAddress {
        /// Which shard.
        shard: usize,
    },
    /// The thread of the client could not be started, or has ended.
    #[error("the client's thread does not run")]
    Thread(#[source] Option<io::Error>),
}

/// Why a process cannot serve its shards.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Everybody could reach it.
    #[error(
        "{0} can be reached from other machines, so a cluster token is needed (traffic is not encrypted yet: TLS is to \
         come); give a token, or listen on a loopback address"
    )]
    OpenToAll(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {address}; is it in use, or not of this machine?")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The same shard twice.
    #[error("shard {0} was given twice; a process serves one replica of each shard")]
    Twice(usize),
    /// A replica that cannot be named.
    #[error("the replica of shard {0} has id zero; ids begin at one")]
    Nameless(usize),
    /// A folder that cannot be used.
    #[error("the store of shard {shard} cannot be opened")]
    Store {
        /// Which shard.
        shard: usize,
        /// Why.
        source: actinic_gcs::store::StoreError,
    },
    /// A replica that does not come up.
    #[error("the replica of shard {shard} did not open within {waited:?}; the log says why")]
    Unopened {
        /// Which shard.
        shard: usize,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The system has no thread to spare.
    #[error("the server's threads could not be started")]
    Thread(#[source] Option<io::Error>),
}
