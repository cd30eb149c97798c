//! What one process of a cluster runs: one replica of each shard, on disk.
//!
//! Owns: what it is told on its command line, and its end. Invariant: it ends when its standard input is closed, and takes
//! its folder along: then its test is over, however that ended.

use std::{
    error::Error,
    fs,
    io::{Read, Write},
    path::PathBuf,
};

use actinic_actors::{
    gcs_client::ShardStore,
    gcs_net::{GcsServer, Membership, NetLimits, ServerConfig, ShardSpec},
};
use actinic_gcs::{
    replica::{Addresses, Bootstrap, ReplicaConfig, ReplicaId},
    store::{RocksOptions, StoreIdentity},
};
use serde::{Deserialize, Serialize};

/// What a process is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The cluster's id.
    pub cluster: u64,
    /// The cluster's token.
    pub token: Option<String>,
    /// The id of its replicas.
    pub replica: u64,
    /// How many shards there are.
    pub shards: usize,
    /// Where all processes listen, in the order of their replicas' ids.
    pub members: Vec<String>,
    /// Where the rows of all its replicas are.
    pub folder: PathBuf,
    /// Whether buffers and logs are small, as a small device demands.
    pub small: bool,
}

/// What a process says once its replicas are open.
pub const READY: &str = "ready";

impl Spec {
    /// Where a shard's rows are.
    #[must_use]
    pub fn folder_of(&self, shard: usize) -> PathBuf {
        self.folder.join(format!("shard-{shard}"))
    }

    fn options(&self) -> RocksOptions {
        let usual = RocksOptions::default();
        if self.small {
            return RocksOptions { write_buffer_bytes_max: 2 << 20, wal_bytes_max: 2 << 20, ..usual };
        }
        usual
    }

    fn server(&self) -> Result<ServerConfig, Box<dyn Error>> {
        let addresses: Addresses = (1..).map(ReplicaId).zip(self.members.iter().cloned()).collect();
        let id = ReplicaId(self.replica);
        let listen = addresses.get(&id).ok_or("there is no such replica")?.parse()?;
        let shard = |index: usize| ShardSpec {
            index,
            replica: ReplicaConfig::new(id, u64::from(std::process::id()) ^ (index as u64) << 32),
            bootstrap: Bootstrap::Found(addresses.clone()),
            store: ShardStore::Rocks {
                path: self.folder_of(index),
                identity: StoreIdentity {
                    cluster: u128::from(self.cluster),
                    shard: index as u32,
                    replica: self.replica,
                },
                options: self.options(),
            },
        };
        let membership = Membership::new(u128::from(self.cluster), self.token.clone())?;
        let shards = (0..self.shards).map(shard).collect();
        Ok(ServerConfig { listen, membership, shards, limits: NetLimits::default() })
    }
}

/// Serves what `spec` says until standard input is closed.
///
/// # Errors
/// What is wrong with the specification, or a server that does not start.
pub fn run(spec: &str) -> Result<(), Box<dyn Error>> {
    let spec: Spec = serde_json::from_str(spec)?;
    let server = GcsServer::start(spec.server()?)?;
    // Whoever started this may be gone already: its end is heard below.
    let _ = writeln!(std::io::stdout(), "{READY}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.shut_down();
    // Tests kill what they want to see again: whoever hears of the end has lost its test, and tidies up behind it.
    fs::remove_dir_all(&spec.folder)?;
    if let Some(root) = spec.folder.parent() {
        // The last one does it.
        let _ = fs::remove_dir(root);
    }
    Ok(())
}
