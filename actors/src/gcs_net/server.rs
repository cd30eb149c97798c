//! `GcsServer`: a process's replicas, served to others.
//!
//! Owns: the threads of the shards (each an arbiter of its own) and of the listener; checking what can be checked before
//! anything starts; and the orderly end, which hands leadership over first. Does not own what replicas decide.
//!
//! Invariants: an error at the start leaves no thread behind; once dropped or shut down all threads have ended and all
//! folders are free; only [`GcsServer::shut_down`] is orderly, a drop is as abrupt as a crash.

mod open;
mod start;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    net::{SocketAddr, TcpListener},
    sync::{mpsc, Arc},
    thread::{self, JoinHandle},
    time::Duration,
};

use actinic_gcs::replica::{Bootstrap, ReplicaConfig, ReplicaId, ReplicaStatus};
use actix::prelude::*;
use tokio::{
    sync::Semaphore,
    time::{sleep, Instant},
};

use self::start::{check_store, serve, Common};
use super::{
    handshake::is_beyond_loopback,
    listener::Visitors,
    refused::{Refused, RefusedCallers},
    wire::Membership,
    NetLimits, ServerError,
};
use crate::gcs_client::{
    messages::{GetStatus, GetTrouble, TransferLeadership},
    GcsShard, ShardStore,
};

/// How long it may take to hand leadership over.
const TRANSFER_MAX: Duration = Duration::from_secs(2);
/// Between looks at either.
const LOOK: Duration = Duration::from_millis(2);
/// How long the server's own thread may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// One replica.
#[derive(Clone, Debug)]
pub struct ShardSpec {
    /// Of which shard, by its place among all.
    pub index: usize,
    /// The replica.
    pub replica: ReplicaConfig,
    /// How it begins where its store is empty.
    pub bootstrap: Bootstrap,
    /// Where it keeps its rows.
    pub store: ShardStore,
}

/// What a server is made of.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where it listens; port 0 for any that is free.
    pub listen: SocketAddr,
    /// The cluster. Beyond loopback it has a token, or demands certificates, and is encrypted.
    pub membership: Membership,
    /// The replicas, of different shards.
    pub shards: Vec<ShardSpec>,
    /// The bounds.
    pub limits: NetLimits,
}

/// What is to be seen of a server.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// By shard; none while a replica is not open.
    pub replicas: BTreeMap<usize, Option<ReplicaStatus>>,
    /// By shard: why a replica has stepped aside, and what to do about it.
    pub troubles: BTreeMap<usize, String>,
    /// Connections that are open.
    pub connections: usize,
    /// The last callers that were not let in.
    pub refused: Vec<Refused>,
}

/// A running server.
pub struct GcsServer {
    address: SocketAddr,
    system: System,
    thread: Option<JoinHandle<()>>,
    common: Common,
    places: Arc<Semaphore>,
    limits: NetLimits,
    refused: Arc<RefusedCallers>,
}

impl GcsServer {
    /// Starts a server; its replicas are open when this returns.
    ///
    /// # Errors
    /// [`ServerError`]: nothing was started, or all that was has ended.
    pub fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let address = config.listen;
        check(&config)?;
        let listener = TcpListener::bind(address).map_err(|source| ServerError::Listen { address, source })?;
        Self::start_on(listener, config)
    }

    /// Starts a server on a socket that is bound already, whatever the configuration says: for those who must know their
    /// own address beforehand.
    ///
    /// # Errors
    /// As [`GcsServer::start`].
    pub fn start_on(listener: TcpListener, config: ServerConfig) -> Result<Self, ServerError> {
        Self::start_for(listener, config, None)
    }

    /// As [`GcsServer::start_on`], for a node of a cluster: whoever calls as another node is handed over.
    ///
    /// # Errors
    /// As [`GcsServer::start`].
    pub fn start_with(listener: TcpListener, config: ServerConfig, visitors: Visitors) -> Result<Self, ServerError> {
        Self::start_for(listener, config, Some(visitors))
    }

    fn start_for(
        listener: TcpListener,
        mut config: ServerConfig,
        visitors: Option<Visitors>,
    ) -> Result<Self, ServerError> {
        let unusable = |source| ServerError::Listen { address: config.listen, source };
        let address = listener.local_addr().map_err(unusable)?;
        listener.set_nonblocking(true).map_err(unusable)?;
        config.listen = address;
        check(&config)?;
        for ShardSpec { index, store, .. } in &config.shards {
            check_store(store).map_err(|source| ServerError::Store { shard: *index, source })?;
        }
        let limits = config.limits;
        let places = Arc::new(Semaphore::new(limits.connections_max));
        let refused = Arc::new(RefusedCallers::default());
        let (started, starting) = mpsc::sync_channel(1);
        let common = Common::new(config.membership.clone());
        let (thread_places, thread_refused, of_thread) = (places.clone(), refused.clone(), common.clone());
        let thread = thread::Builder::new().name("actinic-gcs-net".to_owned());
        let thread = thread
            .spawn(move || serve(listener, config, visitors, (thread_places, thread_refused), of_thread, &started))
            .map_err(|error| ServerError::Thread(Some(error)))?;
        match starting.recv() {
            Ok(Ok(system)) => Ok(Self { address, system, thread: Some(thread), common, places, limits, refused }),
            Ok(Err(error)) => {
                let _ = thread.join();
                Err(error)
            }
            Err(_) => Err(ServerError::Thread(None)),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What is to be seen of it.
    #[must_use]
    pub fn status(&self) -> ServerStatus {
        let shards = self.common.shards();
        let looked = self.run(move || async move {
            let (mut replicas, mut troubles) = (BTreeMap::new(), BTreeMap::new());
            for (index, shard) in shards {
                replicas.insert(index, shard.send(GetStatus).await.ok().flatten());
                troubles.extend(shard.send(GetTrouble).await.ok().flatten().map(|trouble| (index, trouble)));
            }
            (replicas, troubles)
        });
        let unknown = || (self.common.shards().into_keys().map(|index| (index, None)).collect(), BTreeMap::new());
        let (replicas, troubles) = looked.unwrap_or_else(unknown);
        ServerStatus {
            replicas,
            troubles,
            connections: self.limits.connections_max - self.places.available_permits(),
            refused: self.refused.last(),
        }
    }

    /// The replica of a shard, if it is here.
    #[must_use]
    pub fn shard(&self, index: usize) -> Option<Addr<GcsShard>> {
        self.common.shards().remove(&index)
    }

    /// Hands leadership over where there is somebody to take it, and ends. Nobody waits for a timeout then.
    pub fn shut_down(self) {
        self.hand_over();
    }

    /// Hands leadership over where there is somebody to take it.
    pub fn hand_over(&self) {
        let shards: Vec<Addr<GcsShard>> = self.common.shards().into_values().collect();
        let handed_over = self.run(move || async move {
            let leaders = futures::future::join_all(shards.iter().map(hand_over)).await;
            leaders.into_iter().all(|handed_over| handed_over)
        });
        if handed_over != Some(true) {
            tracing::warn!("the control store ends while it leads: nobody took the leadership over in time");
        }
    }

    /// Runs something on the server's own thread, and waits for its end.
    fn run<T, F>(&self, make: impl FnOnce() -> F + Send + 'static) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (result, answer) = mpsc::sync_channel(1);
        self.system.arbiter().spawn_fn(move || {
            actix_rt::spawn(async move { drop(result.send(make().await)) });
        });
        answer.recv_timeout(ANSWER_MAX).ok()
    }
}

impl Drop for GcsServer {
    fn drop(&mut self) {
        self.system.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a control store's server panicked");
        }
    }
}

impl fmt::Debug for GcsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcsServer").field("address", &self.address).finish_non_exhaustive()
    }
}

fn check(config: &ServerConfig) -> Result<(), ServerError> {
    let ServerConfig { listen, membership, shards, .. } = config;
    let (tls, beyond) = (&membership.tls, is_beyond_loopback(*listen));
    if beyond && membership.token.is_none() && !tls.demands_certificates() {
        return Err(ServerError::OpenToAll(*listen));
    }
    if beyond && !tls.is_on() {
        return Err(ServerError::Unencrypted(*listen));
    }
    if tls.is_on() && !tls.can_answer() {
        return Err(ServerError::NoCertificate(*listen));
    }
    let mut seen = BTreeSet::new();
    for ShardSpec { index, replica, .. } in shards {
        if !seen.insert(*index) {
            return Err(ServerError::Twice(*index));
        }
        if replica.id == ReplicaId(0) {
            return Err(ServerError::Nameless(*index));
        }
    }
    Ok(())
}

/// Gives whether a replica leads no more, or has nobody to hand over to.
async fn hand_over(shard: &Addr<GcsShard>) -> bool {
    let since = Instant::now();
    let mut asked = false;
    while since.elapsed() < TRANSFER_MAX {
        match shard.send(GetStatus).await.ok().flatten() {
            Some(status) if status.leads && status.voters.len() > 1 => {
                if !std::mem::replace(&mut asked, true) {
                    shard.do_send(TransferLeadership(None));
                }
                sleep(LOOK).await;
            }
            _ => return true,
        }
    }
    false
}
