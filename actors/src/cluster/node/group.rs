//! The control store's replicas: which nodes hold them, and what is known of that.
//!
//! Owns: a thread that, on the node whose replica leads a shard, carries out what [`core`] decides and writes down who votes;
//! opening this node's replica when it is told to. Invariants: a group is changed one replica at a time; the row that says who
//! votes is written by leaders only, and read by all.

pub(super) mod core;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{mpsc, Arc},
    thread,
    time::Duration,
};

use actinic_gcs::{
    replica::{Addresses, Bootstrap, ReplicaConfig, ReplicaId, ReplicaStatus},
    shard::Filter,
    tables::{KeyValueRead, KeyValueWrite, Reply},
    NodeId,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::core::{replica_of, GroupCore, Step};
use super::{NodeSettings, NodeShared};
use crate::{
    cluster::wire::NodeFrame,
    gcs_client::{GcsError, ShardStore},
    gcs_net::{GcsServer, RemoteGcs, ShardSpec},
};

/// Between looks at the groups that are led here.
const LOOK: Duration = Duration::from_millis(200);
/// Where the row is, among the users' values.
const NAMESPACE: &str = "_actinic";
const KEY: &[u8] = b"gcs";

/// What the cluster has written down of its control store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// How many replicas each shard is to have.
    pub wanted: u32,
    /// By shard: who votes, and where each is reached.
    pub voters: Vec<Addresses>,
}

impl GroupRow {
    /// As it is read; empty before anything was written.
    pub(super) fn read(gcs: &RemoteGcs) -> Result<Self, GcsError> {
        let asked = KeyValueRead::Get { namespace: NAMESPACE.into(), key: Bytes::from_static(KEY) };
        match gcs.read(asked)? {
            Reply::Value(Some(row)) => Ok(rmp_serde::from_slice(&row).unwrap_or_default()),
            _ => Ok(Self::default()),
        }
    }

    /// The changes of it.
    pub(super) fn changes() -> Filter {
        Filter::values(NAMESPACE, KEY)
    }

    /// Writes it down.
    pub(super) fn write(&self, gcs: &RemoteGcs) -> Result<(), GcsError> {
        let Ok(value) = rmp_serde::to_vec(self) else { return Ok(()) };
        let (namespace, key) = (NAMESPACE.into(), Bytes::from_static(KEY));
        gcs.write(KeyValueWrite::Put { namespace, key, value: value.into(), overwrite: true }).map(drop)
    }

    /// By shard, where the replicas are reached.
    #[must_use]
    pub fn addresses(&self) -> Vec<Vec<String>> {
        self.voters.iter().map(|voters| voters.values().cloned().collect()).collect()
    }
}

/// The first replica of the first shard, of a cluster that begins with this node.
pub(super) fn first(settings: &NodeSettings, cluster: u128, node: NodeId, address: &str, folder: PathBuf) -> ShardSpec {
    let id = replica_of(node);
    let path = settings.gcs_folder.clone().unwrap_or(folder);
    let bootstrap = Bootstrap::Found(Addresses::from([(id, address.to_owned())]));
    ShardSpec { index: 0, replica: ReplicaConfig::new(id, id.0), bootstrap, store: store(path, cluster, 0, id) }
}

#[cfg(feature = "rocksdb")]
fn store(path: PathBuf, cluster: u128, shard: usize, replica: ReplicaId) -> ShardStore {
    use actinic_gcs::store::{RocksOptions, StoreIdentity};
    let identity = StoreIdentity { cluster, shard: shard as u32, replica: replica.0 };
    ShardStore::Rocks { path, identity, options: RocksOptions::default() }
}

#[cfg(not(feature = "rocksdb"))]
fn store(_path: PathBuf, _cluster: u128, _shard: usize, _replica: ReplicaId) -> ShardStore {
    ShardStore::Memory
}

/// A node is told to hold a replica: it opens an empty one, which the group fills.
pub(super) fn hold(shared: &Arc<NodeShared>, shard: usize) {
    let Some(server) = shared.server.upgrade().filter(|server| server.shard(shard).is_none()) else { return };
    let shared = shared.clone();
    actix_rt::task::spawn_blocking(move || {
        let Some(_alone) = shared.opening.try_lock() else { return };
        if server.shard(shard).is_some() {
            return;
        }
        let replica = ReplicaConfig::new(replica_of(shared.spec.id), replica_of(shared.spec.id).0 ^ shard as u64);
        let path = shared.gcs_folder.join(format!("shard-{shard}"));
        let store = store(path, shared.membership.cluster, shard, replica.id);
        match server.open(ShardSpec { index: shard, replica, bootstrap: Bootstrap::Join, store }) {
            Ok(()) => tracing::info!(shard, "this node holds a replica of the control store"),
            Err(error) => tracing::error!(shard, %error, "a replica of the control store cannot be opened"),
        }
    });
}

/// The thread; it ends when this is dropped.
pub(super) struct Groups {
    _end: mpsc::Sender<()>,
}

/// Starts the thread.
pub(super) fn start(shared: Arc<NodeShared>) -> std::io::Result<Groups> {
    let (end, ended) = mpsc::channel();
    thread::Builder::new().name("actinic-groups".to_owned()).spawn(move || {
        let mut cores: BTreeMap<usize, GroupCore> = BTreeMap::new();
        while matches!(ended.recv_timeout(LOOK), Err(mpsc::RecvTimeoutError::Timeout)) {
            let Some(server) = shared.server.upgrade() else { return };
            for shard in 0..shared.facts().row.voters.len().max(1) {
                tend(&shared, &server, shard, cores.entry(shard).or_default());
            }
        }
    })?;
    Ok(Groups { _end: end })
}

/// One look at one group.
fn tend(shared: &NodeShared, server: &GcsServer, shard: usize, core: &mut GroupCore) {
    let Some(status) = server.replica(shard).filter(|status| status.leads) else { return core.on_lost() };
    let facts = shared.facts();
    let mut nodes = facts.nodes.clone();
    nodes.sort_by_key(|info| (info.registered_at, info.spec.id));
    let nodes: Vec<(NodeId, String)> = nodes.into_iter().map(|info| (info.spec.id, info.spec.address)).collect();
    for step in core.next(facts.row.wanted as usize, &status, &nodes) {
        match step {
            Step::Hold(node) => shared.hub.to_node(node, &NodeFrame::HoldReplica { shard }),
            Step::Change(change) => {
                tracing::info!(shard, ?change, "the control store's group is changed");
                if let Err(error) = server.change_members(shard, change) {
                    tracing::warn!(shard, error, "the control store's group was not changed");
                }
            }
        }
    }
    write_down(shared, server, shard);
}

/// Writes down who votes, where that has changed.
fn write_down(shared: &NodeShared, server: &GcsServer, shard: usize) {
    let Some(status) = server.replica(shard).filter(|status| status.leads) else { return };
    let voters = voters_of(&status, server.members(shard));
    let written = |row: &GroupRow| row.voters.get(shard) == Some(&voters);
    if written(&shared.facts().row) {
        return;
    }
    let done = GroupRow::read(&shared.gcs).and_then(|mut row| {
        if row.wanted == 0 || written(&row) {
            return Ok(());
        }
        let shards = row.voters.len().max(shard + 1);
        row.voters.resize_with(shards, Addresses::new);
        row.voters[shard] = voters.clone();
        row.write(&shared.gcs)
    });
    if let Err(error) = done {
        tracing::warn!(%error, "who holds the control store could not be written down");
    }
}

fn voters_of(status: &ReplicaStatus, mut members: Addresses) -> Addresses {
    members.retain(|id, _| status.voters.contains(id));
    members
}
