//! Clusters of real processes on this machine, for tests and programs.
//!
//! Owns: starting node processes out of this very executable, and ending them, on the terms of a [`ClusterBuilder`].
//! Invariants: a node ends with whoever started it, however that ends, since its standard input is closed then; an error of
//! the start is the node's own words.

use std::{
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
};

use actinic_actors::cluster::{
    folder::NodeCard,
    node::{self, NodeError, NodeSettings, NodeTls},
    workers::{Role, ROLE},
};

/// Which part of the memory may be in use, unless told otherwise: Ray's default.
pub const MEMORY_THRESHOLD: f64 = 0.95;

/// Why a cluster of processes cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A process cannot be started.
    #[error("a node's process cannot be started: {0}")]
    Process(#[from] io::Error),
    /// The node says why not.
    #[error("a node cannot start: {0}")]
    Node(String),
}

/// One node's process.
#[derive(Debug)]
pub struct LocalNode {
    /// What it says of itself.
    pub card: NodeCard,
    child: Child,
}

impl LocalNode {
    /// Kills it, as `kill -9` does.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Its operating-system process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        // Its input is closed: it ends in good order, or is killed.
        drop(self.child.stdin.take());
        for _ in 0..300 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = self.kill();
    }
}

/// A cluster of processes on this machine; they end when it is dropped.
///
/// ```no_run
/// use actinic::{cluster::Cluster, prelude::*};
///
/// #[remote]
/// fn square(n: u64) -> u64 { n * n }
///
/// let cluster = Cluster::local(3)?;
/// let rt = Runtime::builder().address(cluster.address()).init()?;
/// assert_eq!(rt.get(&square.remote(7))?, 49);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<LocalNode>,
    terms: ClusterBuilder,
}

/// The terms of a [`Cluster`].
///
/// ```no_run
/// use actinic::cluster::Cluster;
///
/// // Survives the loss of any one node, its head included.
/// let cluster = Cluster::builder().gcs_replicas(3).start(&[&[], &[], &[]])?;
/// # Ok::<(), actinic::cluster::ClusterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    gcs_replicas: u32,
    memory_threshold: f64,
    tls: NodeTls,
}

impl ClusterBuilder {
    /// How many replicas the control store is to have, as soon as there are nodes enough; 1 unless set.
    #[must_use]
    pub fn gcs_replicas(mut self, replicas: u32) -> Self {
        self.gcs_replicas = replicas;
        self
    }

    /// Which part of the machine's memory may be in use before a node kills a worker for it; 0.95 unless set.
    #[must_use]
    pub fn memory_threshold(mut self, part: f64) -> Self {
        self.memory_threshold = part;
        self
    }

    /// How connections between the nodes are encrypted; not at all unless set, as nothing leaves the machine.
    #[must_use]
    pub fn tls(mut self, tls: NodeTls) -> Self {
        self.tls = tls;
        self
    }

    /// Starts a head and other nodes, each with these resources; what is not named is detected. A head there is always.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn start(self, nodes: &[&[(&str, f64)]]) -> Result<Cluster, ClusterError> {
        let mut cluster = Cluster { nodes: Vec::new(), terms: self };
        let head: &[&[(&str, f64)]] = &[&[]];
        for resources in if nodes.is_empty() { head } else { nodes } {
            cluster.add_node(resources)?;
        }
        Ok(cluster)
    }
}

impl Cluster {
    /// The terms of a cluster, to be changed and started.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder { gcs_replicas: 1, memory_threshold: MEMORY_THRESHOLD, tls: NodeTls::default() }
    }

    /// A head and `nodes - 1` others, each with the CPUs of this machine.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn local(nodes: usize) -> Result<Self, ClusterError> {
        Self::builder().start(&vec![&[][..]; nodes.max(1)])
    }

    /// A head, and other nodes, each with these resources; what is not named is detected.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn with_resources(nodes: &[&[(&str, f64)]]) -> Result<Self, ClusterError> {
        Self::builder().start(nodes)
    }

    /// Adds a node with these resources; the first is the head. It joins through any that lives.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn add_node(&mut self, resources: &[(&str, f64)]) -> Result<&mut LocalNode, ClusterError> {
        self.add(resources, false)
    }

    /// As [`Cluster::add_node`], a node that is reached over TCP only, as if it were on another machine.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn add_node_apart(&mut self, resources: &[(&str, f64)]) -> Result<&mut LocalNode, ClusterError> {
        self.add(resources, true)
    }

    fn add(&mut self, resources: &[(&str, f64)], apart: bool) -> Result<&mut LocalNode, ClusterError> {
        let head = self.nodes.first().map(|head| head.card.clone());
        let addresses: Vec<&str> = self.nodes.iter().map(|node| node.card.address.as_str()).collect();
        let settings = NodeSettings {
            join: head.as_ref().map(|_| addresses.join(",")),
            token: head.map(|head| head.token),
            tls: self.terms.tls.clone(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            resources: resources.iter().map(|(name, units)| ((*name).to_owned(), *units)).collect(),
            labels: std::collections::BTreeMap::new(),
            gcs_folder: None,
            gcs_replicas: self.terms.gcs_replicas,
            memory_threshold: self.terms.memory_threshold,
            attached: true,
            apart,
        };
        let node = spawn_node(settings, None)?;
        self.nodes.push(node);
        let last = self.nodes.len() - 1;
        Ok(&mut self.nodes[last])
    }

    /// What a driver is to be told: see [`RuntimeBuilder::address`](crate::RuntimeBuilder::address).
    #[must_use]
    pub fn address(&self) -> &str {
        &self.nodes[0].card.address
    }

    /// The nodes' operating-system processes, the head's first.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(LocalNode::pid).collect()
    }

    /// The nodes, the head first.
    pub fn nodes(&mut self) -> &mut [LocalNode] {
        &mut self.nodes
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The head last: the others say goodbye to it.
        while let Some(node) = self.nodes.pop() {
            drop(node);
        }
    }
}

/// Runs a node in this very process until it is told to end, by `actinic stop`, SIGTERM or SIGINT; `ready` is told once it can
/// be used.
///
/// # Errors
/// [`NodeError`].
pub fn run_node(settings: NodeSettings, ready: impl FnOnce(&NodeCard)) -> Result<(), NodeError> {
    node::run_in_session(settings, ready)
}

/// Starts a node out of this executable and waits until it can be used. It ends with this process if it is attached, and is in
/// a session of its own if not. Its log goes to `log`, else to standard error.
///
/// # Errors
/// [`ClusterError`].
pub fn spawn_node(settings: NodeSettings, log: Option<&Path>) -> Result<LocalNode, ClusterError> {
    let attached = settings.attached;
    let role = serde_json::to_string(&Role::Node(Box::new(settings))).map_err(io::Error::other)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, role).env_remove("ACTINIC_ADDRESS").stdout(Stdio::piped());
    command.stdin(if attached { Stdio::piped() } else { Stdio::null() });
    match log {
        Some(log) => drop(command.stderr(std::fs::OpenOptions::new().create(true).append(true).open(log)?)),
        None => drop(command.stderr(Stdio::inherit())),
    }
    let mut child = command.spawn()?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    match serde_json::from_str::<NodeCard>(&line) {
        Ok(card) => Ok(LocalNode { card, child }),
        Err(_) => {
            let said = serde_json::from_str::<serde_json::Value>(&line).unwrap_or_default();
            let why = said.get("error").and_then(|why| why.as_str()).map(str::to_owned);
            let _ = child.kill();
            let ended = child.wait()?;
            Err(ClusterError::Node(why.unwrap_or_else(|| format!("it ended without a word ({ended})"))))
        }
    }
}
