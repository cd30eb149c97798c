//! Groups of replicas of the control store in this process, as a cluster starts them.
//!
//! Owns: starting so many servers on loopback, each with its threads and its TCP connections, and one client. Does not own
//! what is asked of them, nor the folder. Invariant: the servers end with the group.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use actinic_actors::gcs_client::ShardStore;
use actinic_actors::gcs_net::{
    ask_admin, AdminAnswer, AdminAsk, GcsServer, Membership, NetLimits, Pending, RemoteGcs, ReplicaSummary,
    ServerConfig, ShardSpec,
};
use actinic_gcs::replica::{Addresses, Bootstrap, ReplicaConfig, ReplicaId};
use actinic_gcs::shard::Request;
use actinic_gcs::store::{Durability, RocksOptions, StoreIdentity};
use actinic_gcs::tables::{KeyValueWrite, Reply};

use crate::row::Outcome;

const CLUSTER: u128 = 7;
/// How long a group may take to find its leader.
const PATIENCE: Duration = Duration::from_secs(10);

/// A group and its client.
pub(crate) struct Group {
    pub(crate) client: RemoteGcs,
    membership: Membership,
    addresses: Vec<String>,
    _servers: Vec<GcsServer>,
}

/// A store of replica `id` in a folder of its own inside `folder`.
pub(crate) fn on_disk(folder: &Path, id: u64, durability: Durability) -> ShardStore {
    ShardStore::Rocks {
        path: folder.join(id.to_string()),
        identity: StoreIdentity { cluster: CLUSTER, shard: 0, replica: id },
        options: RocksOptions { durability, ..RocksOptions::default() },
    }
}

impl Group {
    /// One shard of so many replicas, each with the store that `store` gives for its number.
    ///
    /// # Errors
    /// A server that does not start, or no leader for ten seconds.
    pub(crate) fn start(replicas: usize, store: impl Fn(u64) -> ShardStore) -> Outcome<Self> {
        let membership = Membership::new(CLUSTER, None)?;
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listeners = (0..replicas).map(|_| bind()).collect::<Result<Vec<_>, _>>()?;
        let mut addresses = Addresses::new();
        for (id, listener) in (1..).zip(&listeners) {
            addresses.insert(ReplicaId(id), listener.local_addr()?.to_string());
        }
        let mut servers = Vec::new();
        for (id, listener) in (1..).zip(listeners) {
            let replica = ReplicaConfig::new(ReplicaId(id), 1);
            let shard =
                ShardSpec { index: 0, replica, bootstrap: Bootstrap::Found(addresses.clone()), store: store(id) };
            let listen = listener.local_addr()?;
            let (membership, limits) = (membership.clone(), NetLimits::default());
            servers
                .push(GcsServer::start_on(listener, ServerConfig { listen, membership, shards: vec![shard], limits })?);
        }
        let addresses: Vec<String> = addresses.into_values().collect();
        let client = RemoteGcs::connect(&membership, vec![addresses.clone()])?;
        let this = Self { client, membership, addresses, _servers: servers };
        this.wait_for_writes()?;
        Ok(this)
    }

    fn wait_for_writes(&self) -> Outcome<()> {
        let (namespace, key, value) = ("bench".into(), "first".into(), bytes::Bytes::new());
        let first = KeyValueWrite::Put { namespace, key, value, overwrite: true };
        let start = Instant::now();
        while self.client.write(first.clone()).is_err() {
            if start.elapsed() > PATIENCE {
                return Err("the group has found no leader".into());
            }
        }
        Ok(())
    }

    /// Asks `count` times with so many in flight; `check` looks at each answer.
    pub(crate) fn pipeline(
        &self,
        count: usize,
        in_flight: usize,
        ask: impl Fn(usize) -> Request,
        check: impl Fn(Reply) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut under_way: VecDeque<Pending> = VecDeque::new();
        for number in 0..count {
            if under_way.len() >= in_flight {
                if let Some(oldest) = under_way.pop_front() {
                    check(oldest.wait()?)?;
                }
            }
            under_way.push_back(self.client.submit(ask(number)));
        }
        under_way.into_iter().try_for_each(|pending| check(pending.wait()?))
    }

    /// What is to be seen of the replica that leads.
    ///
    /// # Errors
    /// Where none says that it does.
    pub(crate) fn leader(&self) -> Outcome<ReplicaSummary> {
        for address in &self.addresses {
            if let AdminAnswer::Status(replicas) = ask_admin(address, &self.membership, &AdminAsk::Status)? {
                if let Some(leader) = replicas.into_iter().find(|replica| replica.leader == Some(replica.id)) {
                    return Ok(leader);
                }
            }
        }
        Err("no replica leads".into())
    }
}
