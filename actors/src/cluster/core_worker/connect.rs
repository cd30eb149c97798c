//! Coming into a cluster.
//!
//! Owns: finding a node of this machine, and the first words with it. Invariant: an error says what to do.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    cluster::{
        folder::{self, Found},
        lines::Lines,
        peer::{call_unix, read_frame},
        wire::{Caller, ClusterStatus, FromNode, Greeting, Welcome},
    },
    gcs_net::wire::PROTOCOL_VERSION,
};

/// How long a node may take to let a process in: it may have to read a large executable first.
const WELCOME_MAX: Duration = Duration::from_secs(60);

/// Why a process cannot come into a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No node runs here.
    #[error(
        "no node of the cluster {address} runs on this machine; start one with `actinic start --join {address}` (with the \
         cluster's token in ACTINIC_TOKEN, which `actinic token` prints where a node runs), or a cluster of one with \
         `actinic start --head`{here}"
    )]
    NoNode {
        /// Which cluster was asked for.
        address: String,
        /// Which there are.
        here: String,
    },
    /// The run folder cannot be read.
    #[error("the folder of this machine's nodes cannot be used: {0}")]
    Folder(#[source] io::Error),
    /// The node does not answer.
    #[error("the node at {socket} does not answer: {source}; is it ending? `actinic status` tells")]
    Io {
        /// Its socket.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The node says no.
    #[error("the node refuses this process: {0}")]
    Refused(String),
}

/// What a driver says of itself.
#[derive(Clone, Debug, Default)]
pub struct DriverInfo {
    /// The namespace of its actors' names.
    pub namespace: String,
    /// Environment variables of its workers.
    pub env: Vec<(String, String)>,
    /// How many remote functions it knows.
    pub functions: u32,
}

/// Characters of the command line that the job's row shows.
const ENTRYPOINT_MAX: usize = 4_096;

/// A connection to a node that has let this process in.
pub struct Connection {
    pub(super) stream: UnixStream,
    pub(super) lines: Arc<Lines>,
    /// The node's socket.
    pub(super) socket: PathBuf,
    /// Who this process is.
    pub welcome: Welcome,
    pub(super) is_driver: bool,
}

impl Connection {
    /// As a driver, to the cluster at `address`: `host:port` of any of its nodes, or `auto` for whatever runs here.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn driver(address: &str, info: DriverInfo) -> Result<Self, ConnectError> {
        let node = node_of(address)?;
        let exe = std::env::current_exe().unwrap_or_default().to_string_lossy().into_owned();
        let cwd = std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned();
        let args: Vec<_> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let entrypoint: String = args.join(" ").chars().take(ENTRYPOINT_MAX).collect();
        let DriverInfo { namespace, env, functions } = info;
        let caller = Caller::Driver { pid: std::process::id(), exe, namespace, entrypoint, cwd, env, functions };
        Self::open(&node.socket(), caller, true)
    }

    /// As a worker that the node has started.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn worker(socket: &Path, worker: actinic_gcs::WorkerId) -> Result<Self, ConnectError> {
        Self::open(socket, Caller::Worker { worker }, false)
    }

    fn open(socket: &Path, caller: Caller, is_driver: bool) -> Result<Self, ConnectError> {
        let failed = |source| ConnectError::Io { socket: socket.to_owned(), source };
        let greeting = Greeting { version: PROTOCOL_VERSION, caller };
        let lines = Lines::new().map_err(failed)?;
        let mut stream = call_unix(socket, &greeting).map_err(failed)?;
        stream.set_read_timeout(Some(WELCOME_MAX)).map_err(failed)?;
        match read_frame::<FromNode>(&mut stream).map_err(failed)? {
            FromNode::Welcome(welcome) => {
                stream.set_read_timeout(None).map_err(failed)?;
                stream.set_nonblocking(true).map_err(failed)?;
                Ok(Self { stream, lines, socket: socket.to_owned(), welcome: *welcome, is_driver })
            }
            FromNode::Refused(why) => Err(ConnectError::Refused(why)),
            _ => Err(ConnectError::Refused("it says what makes no sense here".to_owned())),
        }
    }
}

/// The node of this machine that belongs to the cluster at `address`.
///
/// # Errors
/// [`ConnectError`].
pub fn node_of(address: &str) -> Result<Found, ConnectError> {
    let all = folder::find().map_err(ConnectError::Folder)?;
    // That very node, if it runs here; else any of its cluster.
    let named = |found: &&Found| address.split(',').any(|one| one.trim() == found.card.address);
    let of_cluster = |found: &&Found| found.card.is_of(address);
    if let Some(found) = all.iter().find(named).or_else(|| all.iter().find(of_cluster)) {
        return Ok(found.clone());
    }
    let heads: Vec<&str> = all.iter().map(|found| found.card.head.as_str()).collect();
    let here = match heads.is_empty() {
        true => String::new(),
        false => format!("; nodes of these clusters run here: {}", heads.join(", ")),
    };
    Err(ConnectError::NoNode { address: address.to_owned(), here })
}

/// Asks a node of this machine something that has one answer.
///
/// # Errors
/// [`ConnectError`].
pub fn ask(node: &Found, caller: Caller) -> Result<ClusterStatus, ConnectError> {
    ask_at(&node.socket(), caller)
}

/// As [`ask`], of the node with this socket.
pub(super) fn ask_at(socket: &Path, caller: Caller) -> Result<ClusterStatus, ConnectError> {
    let failed = |source| ConnectError::Io { socket: socket.to_owned(), source };
    let mut stream = call_unix(socket, &Greeting { version: PROTOCOL_VERSION, caller }).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    match read_frame::<FromNode>(&mut stream).map_err(failed)? {
        FromNode::Status(status) => Ok(*status),
        FromNode::Refused(why) => Err(ConnectError::Refused(why)),
        _ => Err(ConnectError::Refused("it says what makes no sense here".to_owned())),
    }
}
