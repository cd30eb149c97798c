//! The server's own thread: starting its parts, and ending them.
//!
//! Owns: the arbiters, and the order: listener first, so that replicas that start together find each other, then waiting
//! until all are open. Invariant: when the thread has ended, so have those of its shards.

use std::{
    collections::BTreeMap,
    io,
    net::TcpListener,
    sync::{mpsc, Arc},
    time::Duration,
};

use actinic_gcs::store::StoreError;
use actix::prelude::*;
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{sleep, Instant},
};

use super::{ServerConfig, ShardSpec, LOOK};
use crate::{
    gcs_client::{messages::GetStatus, GcsShard, ShardSetup, ShardStore},
    gcs_net::{
        connection::Newest,
        listener::{Door, Listener, Route, Routes, Visitors},
        peers::TcpLinks,
        refused::RefusedCallers,
        roster::Roster,
        wire::Membership,
        ServerError,
    },
};

/// How long a replica may take to open.
const OPEN_MAX: Duration = Duration::from_secs(30);

/// What the server's thread and its owner share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) membership: Membership,
    pub(super) routes: Routes,
    pub(super) roster: Arc<Roster>,
    /// One a replica; the server's thread ends them.
    arbiters: Arc<Mutex<Vec<Arbiter>>>,
}

impl Common {
    pub(super) fn new(membership: Membership) -> Self {
        Self { membership, routes: Routes::default(), roster: Arc::default(), arbiters: Arc::default() }
    }

    pub(super) fn shards(&self) -> BTreeMap<usize, Addr<GcsShard>> {
        self.routes.read().iter().map(|(index, route)| (*index, route.shard.clone())).collect()
    }

    /// Starts a replica; to be called on the server's thread. It is not open yet.
    pub(super) fn start(&self, spec: ShardSpec) -> Result<Addr<GcsShard>, ServerError> {
        let index = spec.index;
        let arbiter = Arbiter::try_new().map_err(|error: io::Error| ServerError::Thread(Some(error)))?;
        let route = start_shard(spec, self.membership.clone(), self.roster.clone(), arbiter.handle());
        let shard = route.shard.clone();
        self.routes.write().insert(index, route);
        self.arbiters.lock().push(arbiter);
        Ok(shard)
    }
}

/// Opens the store and closes it again: an error here is clearer than one in a log.
pub(super) fn check_store(store: &ShardStore) -> Result<(), StoreError> {
    match store {
        ShardStore::Memory => Ok(()),
        #[cfg(feature = "rocksdb")]
        ShardStore::Rocks { path, identity, options } => {
            actinic_gcs::store::RocksStore::open(path, *identity, options.clone()).map(drop)
        }
    }
}

/// The server's thread.
pub(super) fn serve(
    listener: TcpListener,
    config: ServerConfig,
    visitors: Option<Visitors>,
    (places, refused): (Arc<Semaphore>, Arc<RefusedCallers>),
    common: Common,
    started: &mpsc::SyncSender<Result<System, ServerError>>,
) {
    let runner = System::new();
    let system = System::current();
    let beginning = runner.block_on(async {
        let address = config.listen;
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(|source| ServerError::Listen { address, source })?;
        config.shards.into_iter().try_for_each(|spec| common.start(spec).map(drop))?;
        let (routes, roster) = (common.routes.clone(), common.roster.clone());
        let newest = Arc::new(Newest::default());
        let (membership, limits) = (config.membership, config.limits);
        Listener::new(listener, Door { membership, routes, limits, places, refused, newest, roster, visitors }).start();
        for (shard, addr) in &common.shards() {
            opened(*shard, addr).await?;
        }
        Ok(system.clone())
    });
    let runs = beginning.is_ok();
    if started.send(beginning).is_ok() && runs {
        if let Err(error) = runner.run() {
            tracing::error!(%error, "the control store's server ended badly");
        }
    }
    for arbiter in std::mem::take(&mut *common.arbiters.lock()) {
        arbiter.stop();
        if arbiter.join().is_err() {
            tracing::error!("a thread of a control store's shard panicked");
        }
    }
}

fn start_shard(spec: ShardSpec, membership: Membership, roster: Arc<Roster>, arbiter: ArbiterHandle) -> Route {
    let ShardSpec { index, replica, bootstrap, store } = spec;
    let id = replica.id;
    let shard = GcsShard::start_in_arbiter(&arbiter, move |ctx| {
        let links = TcpLinks::new(index, id, membership, ctx.address().recipient(), roster);
        GcsShard::new(ShardSetup { index, replica, bootstrap, store, links: Some(Box::new(links)) })
    });
    Route { replica: id, shard, arbiter }
}

pub(super) async fn opened(shard: usize, addr: &Addr<GcsShard>) -> Result<(), ServerError> {
    let since = Instant::now();
    while since.elapsed() < OPEN_MAX {
        match addr.send(GetStatus).await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => sleep(LOOK).await,
            Err(_) => break,
        }
    }
    Err(ServerError::Unopened { shard, waited: since.elapsed() })
}
