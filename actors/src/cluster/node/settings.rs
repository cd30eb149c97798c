//! How a node is set up.
//!
//! Owns: the plain data of it, which goes to the node's process as text. Does not own what is made of it.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::NodeTls;

/// How a node is set up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeSettings {
    /// Where any node of the cluster is reached, or several, separated by commas; none where this is the head.
    pub join: Option<String>,
    /// The cluster's token; a head that is given none makes one.
    pub token: Option<String>,
    /// How its connections are encrypted.
    #[serde(default)]
    pub tls: NodeTls,
    /// Where it listens; port 0 for any that is free. [`NodeSettings::listen_by_default`] is right where nothing is said.
    pub listen: SocketAddr,
    /// Under which address others reach it, if not the one where it listens. One that listens on `0.0.0.0` or `[::]` is reached
    /// at this machine's address on the way to those that it joins, or of its default route, unless told otherwise.
    pub advertise: Option<String>,
    /// What it has; what is not named is detected.
    pub resources: BTreeMap<String, f64>,
    /// Its labels, beside those that are detected.
    pub labels: BTreeMap<String, String>,
    /// Where the node's replicas of the control store are kept; none for a folder that ends with the node.
    pub gcs_folder: Option<PathBuf>,
    /// How many replicas the control store of a new cluster is to have, as soon as there are nodes enough; an odd number.
    pub gcs_replicas: u32,
    /// Which part of the memory that this machine, or the node's cgroup, has may be in use before a worker is killed for it;
    /// from 0 to 1.
    pub memory_threshold: f64,
    /// Whether it ends when its standard input does.
    pub attached: bool,
    /// Whether it treats nodes of the same machine as if they were on others: for tests and benches of the network.
    pub apart: bool,
}
