//! Starting and ending a node inside this process.
//!
//! Owns: the threads that are not workers: the Actix system with the system actors on arbiters of their own, the arbiters
//! of users' actors, and the runtime of timers and sockets. What fails to start is told, and what had started ends.

#[cfg(feature = "rocksdb")]
mod disk;

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc, Arc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use actinic_gcs::{shard::ClientId, spec::JobOutcome, NodeId};
use actix::prelude::*;
use parking_lot::Mutex;

use crate::{
    context,
    gcs_client::{messages::Ask, GcsClient, GcsShard, ShardSetup},
    gcs_net::{LinkSetup, Membership, ShardLink},
    node::{GcsStorage, Node, NodeConfig},
    object_manager::ObjectManager,
    panics,
    pool::worker,
    scheduler::LocalScheduler,
    supervisor::NodeSupervisor,
    user::{actor::UserActor, AnyActor},
};

/// How long a shutdown waits for tasks that run.
const GRACE: Duration = Duration::from_secs(2);

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The operating system gave no thread, or no event loop.
    #[error(
        "the runtime's threads could not be started: {0}; check the limits on threads and open files (ulimit -u, -n)"
    )]
    Threads(#[from] std::io::Error),
    /// The Actix system ended before it was up.
    #[error("the Actix system ended before it was up")]
    System,
    /// The control store's folder cannot be used.
    #[cfg(feature = "rocksdb")]
    #[error(transparent)]
    Folder(#[from] crate::gcs_client::FolderError),
}

/// A node that runs in this process. Ends it when dropped.
pub struct RunningNode {
    node: Arc<Node>,
    system: Mutex<Option<(System, JoinHandle<()>)>>,
    io: Mutex<Option<tokio::runtime::Runtime>>,
    arbiters: Vec<ArbiterHandle>,
    next_arbiter: AtomicUsize,
    #[cfg(feature = "rocksdb")]
    on_disk: Mutex<Option<disk::OnDisk>>,
}

struct Started {
    system: System,
    arbiters: Vec<ArbiterHandle>,
    /// The control store's.
    #[cfg_attr(not(feature = "rocksdb"), allow(dead_code))]
    control: Arbiter,
}

impl RunningNode {
    /// Starts a node.
    ///
    /// # Errors
    /// If its threads cannot be started.
    pub fn start(config: NodeConfig) -> Result<Arc<Self>, StartError> {
        panics::install_hook();
        let id = fresh_node_id();
        #[cfg(feature = "rocksdb")]
        let (config, setup, folder) = disk::control_store(config, id)?;
        #[cfg(not(feature = "rocksdb"))]
        let setup = ShardSetup::alone(0);
        let setup = match &config.gcs {
            GcsStorage::Cluster { membership, shards } => Control::There(membership.clone(), shards.clone()),
            _ => Control::Here(Box::new(setup)),
        };
        let io = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("actinic-io")
            .enable_all()
            .build()?;
        let pool = config.pool;
        let arbiters = config.arbiters.max(1);
        let node = Node::new(config, id, io.handle().clone());
        let (ready, started) = mpsc::sync_channel(1);
        let ours = node.clone();
        let thread = thread::Builder::new()
            .name("actinic-system".into())
            .spawn(move || run_system(&ours, setup, arbiters, &ready))?;
        let Ok(Started { system, arbiters, control }) = started.recv() else { return Err(StartError::System) };
        #[cfg(not(feature = "rocksdb"))]
        drop(control);
        worker::spawn_worker(&node)?;
        worker::spawn_sentinel(&node, pool)?;
        context::attach(&node);
        context::set_latest(&node);
        Ok(Arc::new(Self {
            node,
            system: Mutex::new(Some((system, thread))),
            io: Mutex::new(Some(io)),
            arbiters,
            next_arbiter: AtomicUsize::new(0),
            #[cfg(feature = "rocksdb")]
            on_disk: Mutex::new(folder.map(|folder| disk::OnDisk::new(control, folder))),
        }))
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The next arbiter for an actor.
    #[must_use]
    pub fn arbiter(&self) -> &ArbiterHandle {
        &self.arbiters[self.next_arbiter.fetch_add(1, Ordering::Relaxed) % self.arbiters.len()]
    }

    /// An arbiter for one actor alone; it ends with the system.
    #[must_use]
    pub fn own_arbiter(&self) -> ArbiterHandle {
        let (made, handle) = mpsc::sync_channel(1);
        // An arbiter belongs to the system of the thread that makes it.
        let _ = self.arbiter().spawn_fn(move || {
            let _ = made.send(Arbiter::new().handle());
        });
        handle.recv().unwrap_or_else(|_| self.arbiter().clone())
    }

    /// Starts a user's actor: its Actix actor, its supervision, its constructor.
    pub fn start_actor(&self, cell: Arc<dyn AnyActor>, thread: &context::ThreadState) {
        self.node.actors.insert(cell.clone());
        self.node.supervisor.added(cell.id(), cell.options());
        UserActor::start(cell.clone(), &self.node, self.arbiter());
        let creation = cell.creation();
        self.node.register(&creation, thread);
        if crate::edges::arm(&self.node, &creation) {
            self.node.ready(creation, Some(thread));
        }
    }

    /// Ends the node: what waits gets an error, what runs is given a moment, threads and shared memory are given back.
    pub fn shut_down(&self) {
        if self.node.is_down() {
            return;
        }
        // A cluster's job ends with its driver's connection.
        if let Some(cluster) = &self.node.cluster {
            cluster.part();
        } else {
            self.node.gcs.job_finished(self.node.config.job, JobOutcome::Succeeded);
        }
        for actor in self.node.actors.all() {
            let name = actor.options().name.clone();
            let namespace = actor.options().namespace.clone().unwrap_or_else(|| self.node.config.namespace.clone());
            self.node.actors.remove(actor.id(), name.as_deref().map(|name| (namespace.as_str(), name)));
            actor.die("the runtime was shut down");
        }
        self.node.shut_down();
        let until = Instant::now() + GRACE;
        while self.node.threads.alive() > 0 && Instant::now() < until {
            while self.node.lane.wake_one() {}
            thread::park_timeout(Duration::from_micros(200));
        }
        #[cfg(feature = "rocksdb")]
        if let Some(on_disk) = &*self.on_disk.lock() {
            on_disk.keep_all(&self.node);
        }
        self.node.scheduler.disconnect();
        self.node.supervisor.disconnect();
        self.node.gcs.disconnect();
        if let Some((system, thread)) = self.system.lock().take() {
            system.stop();
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
                // Its folder can be used again when this returns.
                #[cfg(feature = "rocksdb")]
                if let Some(on_disk) = self.on_disk.lock().take() {
                    on_disk.end(&self.node);
                }
            }
        }
        if let Some(io) = self.io.lock().take() {
            io.shutdown_background();
        }
        if let Some(store) = self.node.store_if_open() {
            store.close();
        }
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// Where the control store of a process is.
enum Control {
    Here(Box<ShardSetup>),
    There(Membership, Vec<Vec<String>>),
}

fn run_system(node: &Arc<Node>, setup: Control, arbiters: usize, ready: &mpsc::SyncSender<Started>) {
    let system = System::new();
    system.block_on(async {
        // Each on an arbiter of its own: none waits for another's work.
        start_on(&Arbiter::new().handle(), || LocalScheduler::new(node.clone()), node);
        let supervisor = Arbiter::new().handle();
        join(&supervisor, node);
        start_on(&supervisor, || NodeSupervisor::new(node.clone()), node);
        start_on(&Arbiter::new().handle(), || ObjectManager::new(node.clone()), node);
        // A request takes turns between the two, so they share one thread rather than wake each other.
        let control = Arbiter::new();
        let shards = match setup {
            Control::Here(setup) => vec![start_on(&control.handle(), || GcsShard::new(*setup), node).recipient()],
            Control::There(membership, shards) => links(node, &control.handle(), &membership, shards),
        };
        start_on(&control.handle(), || GcsClient::new(node.clone(), shards), node);
        if let Some(cluster) = node.cluster.clone() {
            let node = node.clone();
            let _ = Arbiter::new().handle().spawn_fn(move || {
                context::attach(&node);
                cluster.attach(&node);
            });
        }
        let arbiters = (0..arbiters)
            .map(|_| {
                let arbiter = Arbiter::new().handle();
                join(&arbiter, node);
                arbiter
            })
            .collect();
        let _ = ready.send(Started { system: System::current(), arbiters, control });
    });
    if let Err(error) = system.run() {
        tracing::error!(%error, "the Actix system ended with an error");
    }
}

/// Links to the shards of a cluster.
fn links(
    node: &Arc<Node>,
    arbiter: &ArbiterHandle,
    membership: &Membership,
    shards: Vec<Vec<String>>,
) -> Vec<Recipient<Ask>> {
    let client = ClientId(node.id.0);
    let link = |(shard, addresses)| {
        let setup = LinkSetup { shard, addresses, membership: membership.clone(), client, news: None };
        ShardLink::start_in_arbiter(arbiter, move |_| ShardLink::new(setup)).recipient()
    };
    shards.into_iter().enumerate().map(link).collect()
}

/// Joins an arbiter's thread to `node`: users' timers and those told of a death run there, and may call actors.
fn join(arbiter: &ArbiterHandle, node: &Arc<Node>) {
    let node = node.clone();
    arbiter.spawn_fn(move || context::attach(&node));
}

fn start_on<A>(arbiter: &ArbiterHandle, make: impl FnOnce() -> A, _node: &Arc<Node>) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Send,
{
    let actor = make();
    A::start_in_arbiter(arbiter, move |_| actor)
}

/// An id for one life of a node: it need not be guessable, only different from any other.
fn fresh_node_id() -> NodeId {
    use std::hash::{BuildHasher, RandomState};
    let half = |salt: u64| u128::from(RandomState::new().hash_one((salt, std::process::id(), Instant::now())));
    NodeId(half(1) << 64 | half(2))
}
