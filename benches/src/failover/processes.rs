//! The replicas of a measurement: this program, started again for each.
//!
//! Owns: starting, killing and finding them. A replica ends when its parent does, since its standard input is closed then.
//! Invariant: at most one process a replica, and none is left when the owner is dropped.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use actinic_actors::gcs_client::ShardStore;
use actinic_actors::gcs_net::{
    ask_admin,
    tls::{Identity, Tls},
    AdminAnswer, AdminAsk, GcsServer, Membership, NetLimits, ReplicaSummary, ServerConfig, ShardSpec,
};
use actinic_gcs::replica::{Addresses, Bootstrap, ReplicaConfig, ReplicaId};
use actinic_gcs::store::{RocksOptions, StoreIdentity};

use super::network::Network;
use crate::row::Outcome;

const CLUSTER: u128 = 10;
const REPLICAS: u64 = 3;
/// The port in a network of their own, where any is free.
const PORT: u16 = 7_000;
/// A listener beyond loopback wants a token; whoever can read this may join a bench's cluster, which lives for a minute in
/// namespaces that nothing else is in.
const TOKEN: &str = "failover";
/// How long replicas may take to agree on a leader.
const AGREE_MAX: Duration = Duration::from_secs(20);

/// Beyond loopback all is encrypted; the certificate is in the replicas' folder, made by whoever comes first.
fn membership(folder: &Path, beyond_loopback: bool) -> Outcome<Membership> {
    let plain = Membership::new(CLUSTER, Some(TOKEN.to_owned()))?;
    if !beyond_loopback {
        return Ok(plain);
    }
    let identity = Identity::at(&folder.join("identity.pem"))?;
    Ok(plain.with_tls(Tls::of_identity(identity)?))
}

/// The replicas.
pub(super) struct Processes {
    folder: PathBuf,
    network: Option<Network>,
    addresses: Addresses,
    membership: Membership,
    children: Vec<Child>,
}

impl Processes {
    /// Starts them: on loopback, or each in its place of a network.
    ///
    /// # Errors
    /// A process that cannot be started.
    pub(super) fn start(folder: &Path, network: Option<Network>) -> Outcome<Self> {
        let mut addresses = Addresses::new();
        for id in 1..=REPLICAS {
            let address = match &network {
                Some(_) => format!("{}:{PORT}", Network::address(id)),
                None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string(),
            };
            addresses.insert(ReplicaId(id), address);
        }
        let (folder, membership) = (folder.to_owned(), membership(folder, network.is_some())?);
        let mut this = Self { folder, network, addresses, membership, children: Vec::new() };
        for id in 1..=REPLICAS {
            let child = this.spawn(id)?;
            this.children.push(child);
        }
        Ok(this)
    }

    fn spawn(&self, id: u64) -> Outcome<Child> {
        let program = std::env::current_exe()?;
        let mut command = match &self.network {
            Some(network) => network.command(id, &program),
            None => Command::new(program),
        };
        let all: Vec<&str> = self.addresses.values().map(String::as_str).collect();
        command.args(["--gcs-replica", &id.to_string(), &all.join(",")]).arg(&self.folder);
        Ok(command.stdin(Stdio::piped()).spawn()?)
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub(super) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The leader, once all know it.
    ///
    /// # Errors
    /// They do not agree for long.
    pub(super) fn leader(&self) -> Outcome<u64> {
        let start = Instant::now();
        loop {
            let leaders: Vec<_> = self.addresses.values().map(|at| Some(self.status(at)?.leader?.0)).collect();
            if let (Some(leader), true) = (leaders[0], leaders.windows(2).all(|pair| pair[0] == pair[1])) {
                return Ok(leader);
            }
            if start.elapsed() > AGREE_MAX {
                return Err("the replicas do not agree on a leader".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn status(&self, address: &str) -> Option<ReplicaSummary> {
        match ask_admin(address, &self.membership, &AdminAsk::Status) {
            Ok(AdminAnswer::Status(replicas)) => replicas.into_iter().next(),
            _ => None,
        }
    }

    fn child(&mut self, id: u64) -> Outcome<&mut Child> {
        let place = usize::try_from(id)?.checked_sub(1).and_then(|at| self.children.get_mut(at));
        Ok(place.ok_or("this replica does not run")?)
    }

    pub(super) fn pid(&mut self, id: u64) -> Outcome<u32> {
        Ok(self.child(id)?.id())
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self, id: u64) -> Outcome<()> {
        Ok(self.child(id)?.kill()?)
    }

    /// Starts one again that was killed.
    pub(super) fn revive(&mut self, id: u64) -> Outcome<()> {
        self.child(id)?.wait()?;
        *self.child(id)? = self.spawn(id)?;
        Ok(())
    }

    /// Cuts a replica off, or mends that.
    pub(super) fn set_link(&self, id: u64, up: bool) -> Outcome<()> {
        self.network.as_ref().ok_or("loopback cannot be cut")?.set_link(id, up)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs one replica until its standard input is closed: what `--gcs-replica` does.
///
/// # Errors
/// A server that does not start.
pub(crate) fn replica(id: u64, addresses: &str, folder: &Path) -> Outcome<()> {
    let addresses: Addresses = (1..).map(ReplicaId).zip(addresses.split(',').map(str::to_owned)).collect();
    let listen: std::net::SocketAddr = addresses.get(&ReplicaId(id)).ok_or("there is no such replica")?.parse()?;
    let store = ShardStore::Rocks {
        path: folder.join(id.to_string()),
        identity: StoreIdentity { cluster: CLUSTER, shard: 0, replica: id },
        options: RocksOptions::default(),
    };
    let shard = ShardSpec {
        index: 0,
        replica: ReplicaConfig::new(ReplicaId(id), u64::from(std::process::id())),
        bootstrap: Bootstrap::Found(addresses),
        store,
    };
    let membership = membership(folder, !listen.ip().is_loopback())?;
    let config = ServerConfig { listen, membership, shards: vec![shard], limits: NetLimits::default() };
    let server = GcsServer::start(config)?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.shut_down();
    Ok(())
}
