//! Why a node cannot start, or has ended itself.
//!
//! Owns: the texts. Invariant: each says what to do, or whose word it is.

use std::{io, net::SocketAddr};

use super::Misadvertised;
use crate::gcs_net::{NetError, ServerError};

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The listener or the control store.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The head.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}; is another node or program using it?")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// It listens everywhere, and it is not known under which address others would reach it.
    #[error(
        "the node would listen on {listen}, which is each address of this machine, and no route tells which of them others \
         reach; pass `--advertise HOST:PORT`"
    )]
    Unspecified {
        /// Where it would listen.
        listen: SocketAddr,
    },
    /// Only its own machine would reach it, and the cluster has others.
    #[error(
        "the node would listen on {listen}, where only this machine reaches it, and the cluster has a node at {other}; leave \
         `--listen` out and join by that address, or pass `--listen IP:PORT` with an address that the others reach"
    )]
    Loopback {
        /// Where it would listen.
        listen: SocketAddr,
        /// A node of the cluster.
        other: String,
    },
    /// The address that others are to be told leads nowhere.
    #[error("others cannot reach a node at {address}: {why}; pass `--advertise HOST:PORT`")]
    Misadvertised {
        /// Which.
        address: String,
        /// What is wrong with it.
        why: Misadvertised,
    },
    /// The node's folder.
    #[error("the node's folder cannot be used: {0}")]
    Folder(#[from] io::Error),
    /// The object store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The control store refuses the node.
    #[error("the cluster does not take this node: {0}")]
    Refused(String),
    /// The node has ended itself.
    #[error("the node has ended itself: {0}")]
    Fenced(String),
    /// A head whose cluster cannot be found out.
    #[error("{address} is no node of a cluster: {why}")]
    NoCluster {
        /// Which address.
        address: String,
        /// What it said.
        why: String,
    },
}
