//! One node process.
//!
//! Owns: starting a node's parts and ending them: its folder and socket, its listener (with the control store's replica on
//! the head), its schedulers and its worker pool, each an Actix actor; and [`NodeShared`], what all of them know. Does not own
//! decisions.
//!
//! Invariants: a node that cannot start says why and leaves nothing; one that ends takes its workers with it; one that was
//! declared dead ends itself.

mod address;
mod detect;
mod error;
mod facts;
mod fence;
mod gate;
pub(crate) mod group;
mod members;
mod memory;
mod peers;
mod settings;
mod trust;

use std::{
    collections::BTreeMap,
    io,
    net::TcpListener,
    path::PathBuf,
    sync::{
        atomic::{AtomicU32, AtomicU64, Ordering},
        Arc, OnceLock, Weak,
    },
    time::Instant,
};

use actinic_gcs::{spec::NodeSpec, JobId, Millis, NodeId, WorkerId};
use actix::prelude::*;
use parking_lot::{Mutex, RwLock};
use tokio::{
    signal::unix::{signal, SignalKind},
    sync::Notify,
};

use self::detect::fresh_id;
pub use self::{
    address::{own_address, Misadvertised},
    detect::machine_memory,
    error::NodeError,
    facts::Facts,
    group::GroupRow,
    settings::NodeSettings,
    trust::NodeTls,
};
use super::{
    actors::{ActorEvent, ActorManager},
    executable::ExeStore,
    folder::{NodeCard, NodeFolder},
    global::{GlobalEvent, GlobalScheduler},
    groups::GroupFrame,
    hub::Hub,
    local::{LocalEvent, LocalScheduler},
    objects::{manager::store_config, ObjectEvent, ObjectManager},
    wire::{Doors, JobCode, NodeFrame, ProcessId},
    workers::{PoolEvent, WorkerPool},
};
use crate::gcs_net::{tls::TlsFiles, GcsServer, Membership, NetLimits, RemoteGcs, ServerConfig};

/// Numbers of drivers begin here; those of workers are below.
const FIRST_DRIVER: u32 = 1 << 31;

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
    /// The control store.
    pub gcs: RemoteGcs,
    /// Where each shard of the control store was reached at first.
    given: Vec<Vec<String>>,
    facts: RwLock<Arc<Facts>>,
    /// The listener, with this node's replicas.
    server: Weak<GcsServer>,
    gcs_folder: PathBuf,
    /// Held while a replica is being opened.
    opening: Mutex<()>,
    /// When the last renewal of the lease that was granted was sent.
    renewed: AtomicU64,
    fenced: OnceLock<String>,
    began: Instant,
    /// Certificates of the operator's own.
    pub tls_files: Option<TlsFiles>,
    apart: bool,
    codes: RwLock<BTreeMap<WorkerId, Arc<JobCode>>>,
    others: RwLock<BTreeMap<NodeId, NodeSpec>>,
    /// Whether others reach it at an address that is not its own: then only the node's port leads here.
    forwarded: bool,
    /// Where workers are reached from other machines.
    addresses: RwLock<BTreeMap<WorkerId, String>>,
    next_driver: AtomicU32,
    workers: AtomicU32,
    local: OnceLock<Addr<LocalScheduler>>,
    global: OnceLock<Addr<GlobalScheduler>>,
    pool: OnceLock<Addr<WorkerPool>>,
    objects: OnceLock<Addr<ObjectManager>>,
    actors: OnceLock<Addr<ActorManager>>,
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

    /// Hands what a node says about a placement group to whom it concerns.
    pub fn group_frame(&self, from: NodeId, frame: GroupFrame) {
        match frame {
            GroupFrame::Prepared { group, round, taken } => {
                self.global(GlobalEvent::GroupPrepared { from, group, round, taken });
            }
            frame => self.local(LocalEvent::Group(from, Box::new(frame))),
        }
    }

    /// Tells a node about a placement group, this one or another.
    pub fn to_group_node(&self, node: NodeId, frame: GroupFrame) {
        if node == self.spec.id {
            self.group_frame(node, frame);
        } else {
            self.hub.to_node(node, &NodeFrame::Group(frame));
        }
    }

    /// Tells the worker pool.
    pub fn pool(&self, event: PoolEvent) {
        if let Some(pool) = self.pool.get() {
            pool.do_send(event);
        }
    }

    /// Tells the object manager.
    pub fn objects(&self, event: ObjectEvent) {
        if let Some(objects) = self.objects.get() {
            objects.do_send(event);
        }
    }

    /// Where another node is reached.
    #[must_use]
    pub fn address_of(&self, node: NodeId) -> Option<String> {
        self.others.read().get(&node).map(|spec| spec.address.clone())
    }

    /// Tells the keeper of actors.
    pub fn actors(&self, event: ActorEvent) {
        if let Some(actors) = self.actors.get() {
            actors.do_send(event);
        }
    }

    /// Where a process of this node is reached by another, which may be on the same machine.
    #[must_use]
    pub fn doors_of(&self, process: ProcessId, owner: ProcessId) -> Doors {
        let here = process.node == self.spec.id && (owner.node == self.spec.id || !self.apart);
        let socket = here.then(|| self.folder.process_socket(process.worker).to_string_lossy().into_owned());
        Doors { socket, address: self.addresses.read().get(&process.worker).cloned() }
    }

    /// The host at which workers have doors for processes of other nodes.
    #[must_use]
    pub fn host_of_doors(&self) -> Option<String> {
        let (host, _) = self.card.address.rsplit_once(':').filter(|_| !self.forwarded)?;
        Some(address::bare(host).to_owned())
    }

    /// A worker says where others reach it.
    pub fn reached_at(&self, process: ProcessId, address: Option<String>) {
        if let Some(address) = address {
            self.addresses.write().insert(process.worker, address);
        }
    }

    /// The head, connected or not, as long as it lives.
    #[must_use]
    pub fn head_node(&self) -> Option<NodeId> {
        if self.spec.head {
            return Some(self.spec.id);
        }
        let connected = self.others.read().values().find(|spec| spec.head).map(|spec| spec.id);
        connected.or_else(|| self.facts().nodes.iter().find(|info| info.spec.head).map(|info| info.spec.id))
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
        self.addresses.write().remove(&process.worker);
        self.local(LocalEvent::Ended(process, reason.to_owned()));
        if process == code.driver {
            self.pool(PoolEvent::JobGone(code.job));
            self.global(GlobalEvent::JobGone(code.job));
            self.hub.to_all_nodes(&NodeFrame::JobGone(code.job));
        } else {
            self.pool(PoolEvent::Lost(process.worker));
        }
    }

    /// The node is to end.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// The node is to end at once: others do its work.
    fn fence(&self, why: &str) {
        tracing::error!(why, "the node ends itself");
        let _ = self.fenced.set(why.to_owned());
        self.stop();
    }
}

/// Runs a node until it is told to end; `ready` is told once it can be used. One that is not attached to whoever started it
/// leaves their session, so that what is typed at their terminal does not concern it.
///
/// # Errors
/// [`NodeError`]: nothing is left of it.
pub fn run(settings: NodeSettings, ready: impl FnOnce(&NodeCard)) -> Result<(), NodeError> {
    if !settings.attached {
        // It fails for the leader of a group only, whom nothing typed elsewhere concerns.
        let _ = rustix::process::setsid();
    }
    run_in_session(settings, ready)
}

/// As [`run`], in the session in which it was called.
///
/// # Errors
/// [`NodeError`]: nothing is left of it.
pub fn run_in_session(settings: NodeSettings, ready: impl FnOnce(&NodeCard)) -> Result<(), NodeError> {
    let (shared, server) = assemble(settings.clone())?;
    let system = System::new();
    let mut ended = system.block_on(serve(shared.clone(), &settings, ready));
    if let Some(why) = shared.fenced.get() {
        // Nobody listens, and nobody is to wait for it.
        ended = Err(NodeError::Fenced(why.clone()));
    } else {
        members::leave(&shared);
        server.hand_over();
        drop(server);
    }
    // A thread that is about to end may still hold what is shared, and the process does not wait for it.
    shared.folder.remove();
    ended
}

/// What is there before any actor is: errors here are errors of the start.
fn assemble(settings: NodeSettings) -> Result<(Arc<NodeShared>, Arc<GcsServer>), NodeError> {
    address::check(&settings)?;
    let id = fresh_id();
    let listen = settings.listen;
    let listener = TcpListener::bind(listen).map_err(|source| NodeError::Listen { address: listen, source })?;
    let bound = listener.local_addr()?;
    let address = address::advertised(&settings, bound)?;
    let is_head = settings.join.is_none();
    let head = settings.join.clone().unwrap_or_else(|| address.clone());
    let folder = NodeFolder::make(NodeId(id))?;
    let (membership, token, given) = match &settings.join {
        None => trust::found(&settings, id, (bound, &address), folder.path())?,
        Some(nodes) => trust::join(&settings, nodes)?,
    };
    address::check_reach(&settings, given.iter().flatten().map(String::as_str))?;
    let cluster = membership.cluster;
    let gcs_folder = settings.gcs_folder.clone().unwrap_or_else(|| folder.path().join("gcs"));
    let first = is_head.then(|| group::first(&settings, cluster, NodeId(id), &address, folder.path().join("gcs")));
    let shards = first.into_iter().collect();
    let limits = NetLimits::default();
    let config = ServerConfig { listen: bound, membership: membership.clone(), shards, limits };
    let callers = peers::Callers::default();
    let server = Arc::new(GcsServer::start_with(listener, config, callers.visitors())?);
    let gcs = RemoteGcs::connect(&membership, given.clone())?;
    if is_head {
        members::found(&gcs, settings.gcs_replicas)?;
    }
    let spec = detect::spec(&settings, NodeId(id), &address);
    let card = NodeCard {
        node: spec.id.to_string(),
        pid: std::process::id(),
        address,
        head,
        cluster: format!("{cluster:032x}"),
        token,
        is_head,
        nodes: Vec::new(),
    };
    let exes = ExeStore::open(&folder.path().join("exe"))?;
    let shared = Arc::new(NodeShared {
        hub: Hub::new(spec.id),
        spec,
        card,
        folder,
        exes,
        membership,
        gcs,
        given,
        facts: RwLock::default(),
        server: Arc::downgrade(&server),
        gcs_folder,
        opening: Mutex::new(()),
        renewed: AtomicU64::new(0),
        fenced: OnceLock::new(),
        began: Instant::now(),
        tls_files: settings.tls.files.clone(),
        apart: settings.apart,
        forwarded: settings.advertise.is_some(),
        codes: RwLock::default(),
        others: RwLock::default(),
        addresses: RwLock::default(),
        next_driver: AtomicU32::new(FIRST_DRIVER),
        workers: AtomicU32::new(0),
        local: OnceLock::new(),
        global: OnceLock::new(),
        pool: OnceLock::new(),
        objects: OnceLock::new(),
        actors: OnceLock::new(),
        stop: Notify::new(),
        callers: OnceLock::new(),
    });
    callers.lead_to(&shared);
    Ok((shared, server))
}

/// Starts the actors and waits for the end.
async fn serve(
    shared: Arc<NodeShared>,
    settings: &NodeSettings,
    ready: impl FnOnce(&NodeCard),
) -> Result<(), NodeError> {
    // First: who is asked to end while it starts ends in good order.
    let mut asked = signal(SignalKind::terminate()).map_err(NodeError::Folder)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(NodeError::Folder)?;
    let (scheduling, processes, bulk) = (Arbiter::new(), Arbiter::new(), Arbiter::new());
    let config = store_config(Some(shared.spec.object_store_bytes as f64));
    let objects = ObjectManager::new(shared.clone(), config)?;
    let store = objects.store();
    let _ = shared.objects.set(ObjectManager::start_in_arbiter(&bulk.handle(), |_| objects));
    let (local, global, pool, actors) = (shared.clone(), shared.clone(), shared.clone(), shared.clone());
    let local = LocalScheduler::start_in_arbiter(&scheduling.handle(), move |_| LocalScheduler::new(local));
    let global = GlobalScheduler::start_in_arbiter(&scheduling.handle(), move |_| GlobalScheduler::new(global));
    let pool = WorkerPool::start_in_arbiter(&processes.handle(), move |_| WorkerPool::new(pool));
    let actors = ActorManager::start_in_arbiter(&scheduling.handle(), move |_| ActorManager::new(actors));
    let manager = actors.clone();
    shared.hub.set_manager(move |frame| manager.do_send(ActorEvent::Heard(Box::new(frame))));
    let _ = (shared.local.set(local), shared.global.set(global), shared.pool.set(pool), shared.actors.set(actors));
    // Before others hear of it: what they place here starts workers, who come in by the gate.
    gate::open(shared.clone())?;
    let members = members::start(shared.clone(), Arbiter::current())?;
    let groups = group::start(shared.clone())?;
    let fence = actix_rt::spawn(fence::keep(shared.clone()));
    let memory = actix_rt::spawn(memory::keep(shared.clone(), settings.memory_threshold));
    members::acquainted(&shared).await;
    shared.folder.publish(&shared.card)?;
    ready(&shared.card);
    tokio::select! {
        () = shared.stop.notified() => tracing::info!("the node was told to end"),
        _ = asked.recv() => tracing::info!("the node was asked to end (SIGTERM)"),
        _ = interrupted.recv() => tracing::info!("the node was asked to end (SIGINT)"),
        () = input_closed(settings.attached) => tracing::info!("the node ends with whoever started it"),
    }
    fence.abort();
    memory.abort();
    drop((members, groups));
    // Dropping the pool drops its workers' inputs.
    processes.stop();
    scheduling.stop();
    bulk.stop();
    store.close();
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
