//! What can go wrong between two processes.
//!
//! Owns: the errors of this module. Invariant: each names the address, and what one can do where that is known.

use std::{io, net::SocketAddr, time::Duration};

use thiserror::Error;

use super::{
    tls::TlsTrouble,
    wire::{FrameError, Refusal},
};

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
    /// Nobody is spoken to in a way that others can read, beyond loopback.
    #[error(
        "{address} is beyond loopback, where nothing is sent unencrypted, and the token names no certificate; give the whole \
         join token, as `actinic token` prints it on a node of the cluster, or certificates: --tls-ca, --tls-cert, --tls-key"
    )]
    Unencrypted {
        /// Who was to be called.
        address: String,
    },
    /// Encryption failed, or shows that this is not who was meant.
    #[error("no secure connection to {address}: {source}")]
    Tls {
        /// With whom.
        address: String,
        /// Why, and what to do.
        source: TlsTrouble,
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

impl NetError {
    /// An error of the connection to `address`.
    pub(crate) fn of(address: &str, source: io::Error) -> Self {
        let address = address.to_owned();
        match TlsTrouble::of(&source) {
            Some(source) => Self::Tls { address, source },
            None => Self::Io { address, source },
        }
    }

    /// The same while TLS began.
    pub(crate) fn at_begin(address: &str, source: io::Error) -> Self {
        match TlsTrouble::at_begin(&source) {
            Some(source) => Self::Tls { address: address.to_owned(), source },
            None => Self::of(address, source),
        }
    }

    /// Whether to call again is of no use.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Refused { refusal, .. } => matches!(
                refusal,
                Refusal::Version { .. }
                    | Refusal::Token
                    | Refusal::Cluster { .. }
                    | Refusal::Shard(_)
                    | Refusal::Plaintext
                    | Refusal::NoIdentity
            ),
            Self::Tls { source, .. } => source.is_final(),
            Self::Unencrypted { .. } => true,
            _ => false,
        }
    }
}

/// Why a process cannot serve its shards.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Everybody could reach it.
    #[error(
        "{0} can be reached from other machines, so a cluster token is needed; give a token, or certificates of your own \
         (--tls-ca, --tls-cert, --tls-key), or listen on a loopback address"
    )]
    OpenToAll(SocketAddr),
    /// Others could read what is said.
    #[error(
        "{0} can be reached from other machines, and the cluster is not encrypted; start its head with --tls, or let that \
         listen beyond loopback, too, and join with the token that it prints then"
    )]
    Unencrypted(SocketAddr),
    /// Callers are to be answered in TLS, with nothing to present.
    #[error(
        "there is no certificate to present to callers at {0}; a process that serves needs the cluster's, or its own"
    )]
    NoCertificate(SocketAddr),
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
