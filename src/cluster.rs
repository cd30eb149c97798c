//! Clusters: node processes, and what a process is that one of them has started.
//!
//! Owns: what this executable is besides itself. Any executable that links this crate can be a worker of a cluster, and a
//! node: it is told by its environment, before its own `main`, and never comes to it then. Also [`Cluster`], real processes
//! for tests and programs, and the texts of the `actinic` command's answers.

mod local;
mod role;

pub use actinic_actors::cluster::{
    core_worker::{ask, node_of, ConnectError},
    folder::{find, Found, NodeCard},
    node::{own_address, Misadvertised, NodeError, NodeSettings, NodeTls},
    objects::wire::ObjectFigures,
    wire::{Caller, ClusterStatus, GcsStatus, NodeStatus},
};

pub use actinic_actors::gcs_net::tls::TlsFiles;

pub(crate) use self::role::functions;
pub use self::{
    local::{run_node, spawn_node, Cluster, ClusterBuilder, ClusterError, LocalNode, MEMORY_THRESHOLD},
    role::play_role,
};
