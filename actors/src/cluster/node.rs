//! One node process.
//!
//! Owns: starting a node's parts and ending them: its folder and socket, its listener (with the control store's replica on
//! the head), its schedulers and its worker pool, each an Actix actor; and [`NodeShared`], what all of them know. Does not own
//! decisions.
//!
//! Invariants: a node that cannot start says why and leaves nothing; one that ends takes its workers with it; one that was
//! declared dead ends itself.

mod gate;
mod members;
mod peers;

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        atomic::{AtomicU32, Ordering},
        Arc, OnceLock,
    },
    time::Instant,
};

use actinic_gcs::{
    replica::{Addresses, Bootstrap, ReplicaConfig, ReplicaId},
    resources::{CPU, GPU, MEMORY},
    spec::NodeSpec,
    JobId, Millis, NodeId, ResourceSet, WorkerId,
};
use actix::prelude::*;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{
    executable::ExeStore,
    folder::{NodeCard, NodeFolder},
    global::{GlobalEvent, GlobalScheduler},
    hub::Hub,
    local::{LocalEvent, LocalScheduler},
    wire::{JobCode, NodeFrame, ProcessId},
    workers::{PoolEvent, WorkerPool},
};
use crate::{
    gcs_client::ShardStore,
    gcs_net::{GcsServer, Membership, NetError, NetLimits, RemoteGcs, ServerConfig, ServerError, ShardSpec},
};

/// Numbers of drivers begin here; those of workers are below.
const FIRST_DRIVER: u32 = 1 << 31;

/// How a node is set up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeSettings {
    /// Where the head is reached; none where this is the head.
    pub join: Option<String>,
    /// The cluster's token; a head that is given none makes one.
    pub token: Option<String>,
    /// Where it listens; port 0 for any that is free.
    pub listen: SocketAddr,
    /// Under which address others reach it, if not the one where it listens.
    pub advertise: Option<String>,
    /// What it has; what is not named is detected.
    pub resources: BTreeMap<String, f64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where the head's control store is kept; none for a folder that ends with the node.
    pub gcs_folder: Option<PathBuf>,
    /// Whether it ends when its standard input does.
    pub attached: bool,
    /// Whether it treats nodes of the same machine as if they were on others: for tests and benches of the network.
    pub apart: bool,
}

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
    /// The node's folder.
    #[error("the node's folder cannot be used: {0}")]
    Folder(#[from] io::Error),
    /// The control store refuses the node.
    #[error("the cluster does not take this node: {0}")]
    Refused(String),
    /// A head whose cluster cannot be found out.
    #[error("{address} is no node of a cluster: {why}")]
    NoCluster {
        /// Which address.
        address: String,
        /// What it said.
        why: String,
    },
}

/// What all parts of a node know.
pub struct NodeShared {
    /// What the node says of itself.
    pub spec: NodeSpec,
    /// What it says to those on its machine.
    pub card: NodeCard,
    /// Its folder.
    pub folder: NodeFolder,
    /// Who is connected.
    pub hub: Arc<Hub>,
    /// Executables.
    pub exes: ExeStore,
    /// The cluster.
    pub membership: Membership,
    /// Where each shard of the control store is reached.
    pub gcs_addresses: Vec<Vec<String>>,
    /// The control store.
    pub gcs: RemoteGcs,
    began: Instant,
    apart: bool,
    codes: RwLock<BTreeMap<WorkerId, Arc<JobCode>>>,
    others: RwLock<BTreeMap<NodeId, NodeSpec>>,
    next_driver: AtomicU32,
    workers: AtomicU32,
    local: OnceLock<Addr<LocalScheduler>>,
    global: OnceLock<Addr<GlobalScheduler>>,
    pool: OnceLock<Addr<WorkerPool>>,
    stop: Notify,
    /// Lets nodes that call in, on the arbiter that it is given.
    callers: OnceLock<Box<dyn Fn(ArbiterHandle) + Send + Sync>>,
}

impl NodeShared {
    /// Time since the node began.
    #[must_use]
    pub fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Tells the local scheduler.
    pub fn local(&self, event: LocalEvent) {
        if let Some(local) = self.local.get() {
            local.do_send(event);
        }
    }

    /// Tells this node's global scheduler.
    pub fn global(&self, event: GlobalEvent) {
        if let Some(global) = self.global.get() {
            global.do_send(event);
        }
    }

    /// Tells the worker pool.
    pub fn pool(&self, event: PoolEvent) {
        if let Some(pool) = self.pool.get() {
            pool.do_send(event);
        }
    }

    /// The socket of a process of this node, for another process that may be on the same machine.
    #[must_use]
    pub fn socket_of(&self, process: ProcessId, owner: ProcessId) -> Option<String> {
        let here = process.node == self.spec.id && (owner.node == self.spec.id || !self.apart);
        here.then(|| self.folder.process_socket(process.worker).to_string_lossy().into_owned())
    }

    /// The head, as far as it is known.
    #[must_use]
    pub fn head_node(&self) -> Option<NodeId> {
        if self.spec.head {
            return Some(self.spec.id);
        }
        self.others.read().values().find(|spec| spec.head).map(|spec| spec.id)
    }

    /// Whose code a process of this node runs.
    #[must_use]
    pub fn code_of(&self, worker: WorkerId) -> Option<Arc<JobCode>> {
        self.codes.read().get(&worker).cloned()
    }

    /// A process of this node runs this code.
    pub fn set_code(&self, worker: WorkerId, code: &JobCode) {
        self.codes.write().insert(worker, Arc::new(code.clone()));
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.workers.load(Ordering::Relaxed)
    }

    /// So many workers there are.
    pub fn set_workers(&self, count: u32) {
        self.workers.store(count, Ordering::Relaxed);
    }

    /// Jobs whose drivers are here.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobId> {
        let codes = self.codes.read();
        codes.iter().filter(|(worker, _)| worker.0 >= FIRST_DRIVER).map(|(_, code)| code.job).collect()
    }

    /// A process of this node is gone: all who may care are told, once, by the local scheduler.
    pub fn process_gone(&self, process: ProcessId, reason: &str) {
        self.hub.remove_process(process.worker);
        let Some(code) = self.codes.write().remove(&process.worker) else { return };
        let _ = std::fs::remove_file(self.folder.process_socket(process.worker));
        self.local(LocalEvent::Ended(process, reason.to_owned()));
        if process == code.driver {
            self.pool(PoolEvent::JobGone(code.job));
            self.hub.to_all_nodes(&NodeFrame::JobGone(code.job));
        } else {
            self.pool(PoolEvent::Lost(process.worker));
        }
    }

    /// The node is to end.
    pub fn stop(&self) {
        self.stop.notify_one();
    }
}

/// Runs a node until it is told to end; `ready` is told once it can be used.
///
/// # Errors
/// [`NodeError`]: nothing is left of it.
pub fn run(settings: NodeSettings, ready: impl FnOnce(&NodeCard)) -> Result<(), NodeError> {
    let (shared, server) = assemble(settings.clone())?;
    let system = System::new();
    let ended = system.block_on(serve(shared.clone(), settings.attached, ready));
    members::leave(&shared);
    drop(server);
    ended
}

/// What is there before any actor is: errors here are errors of the start.
fn assemble(settings: NodeSettings) -> Result<(Arc<NodeShared>, GcsServer), NodeError> {
    let id = fresh_id();
    let listen = settings.listen;
    let listener = TcpListener::bind(listen).map_err(|source| NodeError::Listen { address: listen, source })?;
    let bound = listener.local_addr()?;
    let address = settings.advertise.clone().unwrap_or_else(|| bound.to_string());
    let is_head = settings.join.is_none();
    let token = settings.token.clone().unwrap_or_else(|| if is_head { fresh_token() } else { String::new() });
    let token = (!token.is_empty()).then_some(token);
    let head = settings.join.clone().unwrap_or_else(|| address.clone());
    let cluster = match &settings.join {
        None => id,
        Some(head) => members::discover(head, token.as_deref())?,
    };
    let membership = Membership::new(cluster, token.clone()).map_err(|error| NodeError::Refused(error.to_string()))?;
    let folder = NodeFolder::make(NodeId(id))?;
    let shards = if is_head { vec![head_shard(&settings, cluster, &address, &folder)] } else { Vec::new() };
    let limits = NetLimits::default();
    let config = ServerConfig { listen: bound, membership: membership.clone(), shards, limits };
    let callers = peers::Callers::default();
    let server = GcsServer::start_with(listener, config, callers.visitors())?;
    let gcs_addresses = vec![vec![head.clone()]];
    let gcs = RemoteGcs::connect(&membership, gcs_addresses.clone())?;
    let spec = spec(&settings, NodeId(id), &address);
    let card = NodeCard {
        node: spec.id.to_string(),
        pid: std::process::id(),
        address,
        head,
        cluster: format!("{cluster:032x}"),
        token: token.unwrap_or_default(),
        is_head,
    };
    let exes = ExeStore::open(&folder.path().join("exe"))?;
    let shared = Arc::new(NodeShared {
        hub: Hub::new(spec.id),
        spec,
        card,
        folder,
        exes,
        membership,
        gcs_addresses,
        gcs,
        began: Instant::now(),
        apart: settings.apart,
        codes: RwLock::default(),
        others: RwLock::default(),
        next_driver: AtomicU32::new(FIRST_DRIVER),
        workers: AtomicU32::new(0),
        local: OnceLock::new(),
        global: OnceLock::new(),
        pool: OnceLock::new(),
        stop: Notify::new(),
        callers: OnceLock::new(),
    });
    callers.lead_to(&shared);
    Ok((shared, server))
}

/// The head's replica of the only shard.
fn head_shard(settings: &NodeSettings, cluster: u128, address: &str, folder: &NodeFolder) -> ShardSpec {
    let replica = ReplicaConfig::new(ReplicaId(1), cluster as u64);
    let addresses = Addresses::from([(ReplicaId(1), address.to_owned())]);
    let path = settings.gcs_folder.clone().unwrap_or_else(|| folder.path().join("gcs"));
    ShardSpec { index: 0, replica, bootstrap: Bootstrap::Found(addresses), store: store(path, cluster) }
}

#[cfg(feature = "rocksdb")]
fn store(path: PathBuf, cluster: u128) -> ShardStore {
    use actinic_gcs::store::{RocksOptions, StoreIdentity};
    let identity = StoreIdentity { cluster, shard: 0, replica: 1 };
    ShardStore::Rocks { path, identity, options: RocksOptions::default() }
}

#[cfg(not(feature = "rocksdb"))]
fn store(_path: PathBuf, _cluster: u128) -> ShardStore {
    ShardStore::Memory
}

fn spec(settings: &NodeSettings, id: NodeId, address: &str) -> NodeSpec {
    let detected = [
        (CPU, std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64)),
        (GPU, 0.0),
        (MEMORY, machine_memory() as f64),
    ];
    let mut resources = ResourceSet::new();
    for (name, units) in detected {
        resources = resources.with(name, settings.resources.get(name).copied().unwrap_or(units));
    }
    for (name, units) in settings.resources.iter().filter(|(name, _)| ![CPU, GPU, MEMORY].contains(&name.as_str())) {
        resources = resources.with(name, *units);
    }
    NodeSpec {
        id,
        address: address.to_owned(),
        hostname: crate::gcs_client::hostname(),
        head: settings.join.is_none(),
        resources,
        labels: settings.labels.clone(),
        object_store_bytes: 0,
    }
}

/// Bytes of memory of this machine; 1 GiB where that cannot be told.
#[must_use]
pub fn machine_memory() -> u64 {
    let read = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = read.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(1 << 30, |kib| kib * 1024)
}

/// Starts the actors and waits for the end.
async fn serve(shared: Arc<NodeShared>, attached: bool, ready: impl FnOnce(&NodeCard)) -> Result<(), NodeError> {
    let (scheduling, processes) = (Arbiter::new(), Arbiter::new());
    let (local, global, pool) = (shared.clone(), shared.clone(), shared.clone());
    let local = LocalScheduler::start_in_arbiter(&scheduling.handle(), move |_| LocalScheduler::new(local));
    let global = GlobalScheduler::start_in_arbiter(&scheduling.handle(), move |_| GlobalScheduler::new(global));
    let pool = WorkerPool::start_in_arbiter(&processes.handle(), move |_| WorkerPool::new(pool));
    let _ = (shared.local.set(local), shared.global.set(global), shared.pool.set(pool));
    let members = members::start(shared.clone(), Arbiter::current())?;
    gate::open(shared.clone())?;
    shared.folder.publish(&shared.card)?;
    ready(&shared.card);
    let mut asked =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(NodeError::Folder)?;
    tokio::select! {
        () = shared.stop.notified() => tracing::info!("the node was told to end"),
        _ = asked.recv() => tracing::info!("the node was asked to end (SIGTERM)"),
        () = input_closed(attached) => tracing::info!("the node ends with whoever started it"),
    }
    drop(members);
    // Dropping the pool drops its workers' inputs.
    processes.stop();
    scheduling.stop();
    let _ = processes.join();
    let _ = scheduling.join();
    Ok(())
}

async fn input_closed(attached: bool) {
    if !attached {
        return std::future::pending().await;
    }
    let (closed, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = closed.send(());
    });
    let _ = wait.await;
}

fn fresh_id() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let half = |salt: u64| u128::from(RandomState::new().hash_one((salt, std::process::id(), Instant::now())));
    half(1) << 64 | half(2)
}

/// A secret of 256 bits from the system.
fn fresh_token() -> String {
    let mut bytes = [0; 32];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes));
    match read {
        Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) => format!("{:032x}{:032x}", fresh_id(), fresh_id()),
    }
}
