//! A node that is cut off ends itself, before others are told that it is dead.
//!
//! Owns: looking whether the lease was renewed, and what is known of the replicas' nodes. [`core`] decides. Invariant: nothing
//! here waits for the control store, which may be away.

pub(super) mod core;

use std::{sync::Arc, time::Duration};

use actinic_gcs::Millis;
use tokio::{net::TcpStream, time::timeout};

use self::core::{judge, Standing, AWAY_MS_MAX, FENCE_MS};
use super::{group::core::replica_of, NodeShared};

/// Between looks.
const LOOK: Duration = Duration::from_millis(200);
/// How long a call may take that finds out whether a process has ended.
const CALL_MAX: Duration = Duration::from_millis(300);

/// Looks for as long as the node lives.
pub(super) async fn keep(shared: Arc<NodeShared>) {
    let mut waits = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let renewed = Millis(shared.renewed.load(std::sync::atomic::Ordering::Acquire));
        if shared.now().since(renewed) < FENCE_MS {
            waits = false;
            continue;
        }
        let shards = unknown_of(&shared).await;
        match judge(shared.now(), renewed, &shards) {
            Standing::Good => {}
            Standing::Waits if !std::mem::replace(&mut waits, true) => {
                tracing::warn!("the control store is away; work goes on for {} s", AWAY_MS_MAX / 1_000);
            }
            Standing::Waits => {}
            Standing::CutOff => {
                let why =
                    "it could not renew its lease and may be cut off from the others, who go on without it; start a \
                           new node once the network is mended";
                return shared.fence(why);
            }
            Standing::Abandoned => {
                let why =
                    "the control store has lost most of its replicas and has not come back; start the cluster anew";
                return shared.fence(why);
            }
        }
    }
}

/// By shard: how many replicas vote, and how many of them are on nodes of which nothing is known.
async fn unknown_of(shared: &NodeShared) -> Vec<(usize, usize)> {
    let facts = shared.facts();
    let mut shards = Vec::new();
    for voters in &facts.row.voters {
        let mut unknown = 0;
        for (replica, address) in voters {
            let connected = *replica == replica_of(shared.spec.id)
                || shared.hub.nodes().into_iter().any(|node| replica_of(node) == *replica);
            unknown += usize::from(!connected && !has_ended(address).await);
        }
        shards.push((voters.len(), unknown));
    }
    shards
}

/// Whether nobody listens at an address, and its machine says so.
pub(super) async fn has_ended(address: &str) -> bool {
    let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    timeout(CALL_MAX, TcpStream::connect(address)).await.is_ok_and(|called| called.is_err_and(refused))
}

/// As [`has_ended`], for a thread that may wait.
pub(super) fn has_ended_now(address: &str) -> bool {
    let addresses = std::net::ToSocketAddrs::to_socket_addrs(address).into_iter().flatten();
    let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    addresses.take(1).any(|at| std::net::TcpStream::connect_timeout(&at, CALL_MAX).is_err_and(refused))
}
