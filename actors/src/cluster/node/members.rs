//! Who belongs to the cluster: this node's own place in it, and the connections to the others.
//!
//! Owns: a thread that registers the node with the control store, renews its lease, and looks who else is there; and calling
//! on those. Invariants: of two nodes the one with the smaller id calls; a node that was declared dead ends itself; the head
//! declares dead whoever has a lease and no connection for [`UNCONNECTED_MAX`].

use std::{
    collections::BTreeMap,
    sync::{mpsc, Arc},
    thread,
    time::{Duration, Instant},
};

use actinic_gcs::{
    spec::{NodeDeath, NodeInfo},
    tables::{NodeRead, NodeWrite, PageRequest, Reply, TableError},
    NodeId,
};
use actix::ArbiterHandle;

use super::{peers, NodeError, NodeShared};
use crate::{
    gcs_client::GcsError,
    gcs_net::{
        ask_admin, handshake,
        wire::{Membership, Purpose, Refusal},
        AdminAsk, NetError,
    },
};

/// How long a node may be silent towards the control store.
const LEASE_MS: u64 = 5_000;
/// Between renewals.
const RENEW: Duration = Duration::from_millis(1_000);
/// Between looks at who is there.
const LOOK: Duration = Duration::from_millis(200);
/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(2);
/// How long a node may be without a connection to the head.
const UNCONNECTED_MAX: Duration = Duration::from_secs(3);

/// The thread; it ends when this is dropped.
pub(super) struct Members {
    _end: mpsc::Sender<()>,
}

/// The id of the cluster that `head` belongs to, by a membership of no cluster. Whoever has no token learns nothing but that.
pub(super) fn discover(head: &str, nobody: &Membership) -> Result<u128, NodeError> {
    match ask_admin(head, nobody, &AdminAsk::Status) {
        Err(NetError::Refused { refusal: Refusal::Cluster { here, .. }, .. }) => Ok(here),
        Err(error) => Err(error.into()),
        Ok(_) => Err(NodeError::NoCluster { address: head.to_owned(), why: "it has no cluster id".to_owned() }),
    }
}

/// Registers the node and starts the thread.
pub(super) fn start(shared: Arc<NodeShared>, arbiter: ArbiterHandle) -> Result<Members, NodeError> {
    if let Some(lead) = shared.callers.get() {
        lead(arbiter.clone());
    }
    let register = NodeWrite::Register { node: Box::new(shared.spec.clone()), lease_ms: LEASE_MS };
    shared.gcs.write(register).map_err(|error| NodeError::Refused(error.to_string()))?;
    let (end, ended) = mpsc::channel();
    let thread = thread::Builder::new().name("actinic-members".to_owned());
    thread.spawn(move || keep(&shared, &arbiter, &ended)).map_err(NodeError::Folder)?;
    Ok(Members { _end: end })
}

/// Says goodbye.
pub(super) fn leave(shared: &NodeShared) {
    // A head takes its control store with it: nobody is left to hear.
    if !shared.spec.head {
        let left = NodeWrite::MarkDead { node: shared.spec.id, cause: NodeDeath::Left, lease_until: None };
        drop(shared.gcs.submit(actinic_gcs::shard::Request::Write(left.into())));
        thread::sleep(Duration::from_millis(20));
    }
}

fn keep(shared: &Arc<NodeShared>, arbiter: &ArbiterHandle, ended: &mpsc::Receiver<()>) {
    let mut renewed = Instant::now();
    let mut unconnected: BTreeMap<NodeId, Instant> = BTreeMap::new();
    while matches!(ended.recv_timeout(LOOK), Err(mpsc::RecvTimeoutError::Timeout)) {
        if renewed.elapsed() >= RENEW {
            renewed = Instant::now();
            let renewal = NodeWrite::Heartbeat { node: shared.spec.id, lease_ms: LEASE_MS };
            match shared.gcs.write(renewal) {
                Err(GcsError::Refused(TableError::NodeDead(_))) => {
                    tracing::error!("this node was declared dead, and ends: others do its work by now");
                    return shared.stop();
                }
                Err(error) => tracing::warn!(%error, "the node's lease was not renewed"),
                Ok(_) => {}
            }
        }
        match nodes(shared) {
            Ok(nodes) => look(shared, arbiter, &nodes, &mut unconnected),
            Err(error) => tracing::warn!(%error, "the cluster's nodes are not known"),
        }
    }
}

fn nodes(shared: &NodeShared) -> Result<Vec<NodeInfo>, GcsError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let asked = NodeRead::List(PageRequest { after, ..PageRequest::default() });
        let Reply::Nodes(page) = shared.gcs.read(asked)? else { return Ok(all) };
        all.extend(page.items.into_iter().filter(NodeInfo::is_alive));
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

fn look(
    shared: &Arc<NodeShared>,
    arbiter: &ArbiterHandle,
    nodes: &[NodeInfo],
    unconnected: &mut BTreeMap<NodeId, Instant>,
) {
    let me = shared.spec.id;
    unconnected.retain(|node, _| nodes.iter().any(|info| info.spec.id == *node));
    for info in nodes.iter().filter(|info| info.spec.id != me) {
        let node = info.spec.id;
        if shared.hub.has_node(node) {
            unconnected.remove(&node);
            continue;
        }
        let first = !unconnected.contains_key(&node);
        let since = *unconnected.entry(node).or_insert_with(Instant::now);
        if me < node && (first || since.elapsed() > LOOK) {
            call(shared, arbiter, info);
        }
        if shared.spec.head && since.elapsed() > UNCONNECTED_MAX {
            tracing::warn!(%node, "a node has no connection to the head, and is declared dead");
            let lost = NodeWrite::MarkDead { node, cause: NodeDeath::ConnectionLost, lease_until: None };
            let _ = shared.gcs.write(lost);
        }
    }
}

/// Calls on a node; whatever goes wrong, it is called again at the next look.
fn call(shared: &Arc<NodeShared>, arbiter: &ArbiterHandle, info: &NodeInfo) {
    let (shared, spec) = (shared.clone(), info.spec.clone());
    arbiter.spawn_fn(move || {
        actix_rt::spawn(async move {
            let purpose = Purpose::Node(Box::new(shared.spec.clone()));
            match handshake::call(&spec.address, &shared.membership, purpose, CALL_MAX).await {
                Ok((stream, _)) => peers::welcome(&shared, spec, stream),
                Err(error) => tracing::debug!(%error, "a node cannot be reached"),
            }
        });
    });
}
