//! Who belongs to the cluster: this node's own place in it, and the connections to the others.
//!
//! Owns: finding the cluster through any of its nodes; a thread that registers the node with the control store, renews its
//! lease, and looks who else is there ([`core`]); and calling on those. Invariants: of two nodes the one with the smaller id calls; a
//! node that was declared dead ends itself. A node is declared dead when its lease has ended ([`LEASE_MS`]), or, by the node
//! that leads the control store, when it has had no connection to that for [`UNCONNECTED_MAX`] and its process has ended.

pub(super) mod core;

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc, Arc,
    },
    thread,
    time::{Duration, Instant},
};

use actinic_gcs::{
    shard::Filter,
    spec::{NodeDeath, NodeInfo},
    tables::{NodeRead, NodeWrite, PageRequest, Reply, Table, TableError, Update},
    NodeId,
};
use actix::ArbiterHandle;
use parking_lot::Mutex;

use self::core::Roster;

use super::{
    fence::{self, core::LEASE_MS},
    group::GroupRow,
    peers, Facts, NodeError, NodeShared,
};
use crate::{
    cluster::workers::PoolEvent,
    gcs_client::GcsError,
    gcs_net::{
        ask_admin, handshake,
        wire::{Membership, Purpose, Refusal},
        AdminAnswer, AdminAsk, NetError, RemoteGcs,
    },
};

/// Between renewals.
const RENEW: Duration = Duration::from_millis(1_000);
/// Between looks at what was heard, and at who is not connected.
const LOOK: Duration = Duration::from_millis(200);
/// What is known of the nodes is as the control store has it, if a renewal of so long ago was granted.
const FRESH: Duration = Duration::from_millis(2_000);
/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(2);
/// How long a node may be without a connection to the leader's node, before that looks whether it has ended.
const UNCONNECTED_MAX: Duration = Duration::from_secs(3);
/// A node that has just started waits for so long until it is connected to the others: some may be dead and not known to be.
const ACQUAINTED_MAX: Duration = Duration::from_secs(1);

/// The thread; it ends when this is dropped.
pub(super) struct Members {
    wake: mpsc::Sender<Wake>,
}

impl Drop for Members {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.wake.send(Wake::End);
    }
}

/// Why the thread looks before it is time.
enum Wake {
    News,
    End,
}

/// The cluster to which these nodes belong, separated by commas, and where each shard of its control store is reached: as
/// the first says that answers, asked by a membership of no cluster. Whoever has no token learns nothing but the cluster's id.
pub(super) fn discover(nodes: &str, nobody: &Membership) -> Result<(u128, Vec<Vec<String>>), NodeError> {
    let mut failed = None;
    for node in nodes.split(',').map(str::trim).filter(|node| !node.is_empty()) {
        match discover_at(node, nobody) {
            Ok((cluster, mut shards)) => {
                shards.retain(|addresses| !addresses.is_empty());
                let found = if shards.is_empty() { vec![vec![node.to_owned()]] } else { shards };
                return Ok((cluster, found));
            }
            Err(error) => failed = Some(error),
        }
    }
    let nobody = || NodeError::NoCluster { address: nodes.to_owned(), why: "no address was given".to_owned() };
    Err(failed.unwrap_or_else(nobody))
}

fn discover_at(node: &str, nobody: &Membership) -> Result<(u128, Vec<Vec<String>>), NodeError> {
    let cluster = match ask_admin(node, nobody, &AdminAsk::Status) {
        Err(NetError::Refused { refusal: Refusal::Cluster { here, .. }, .. }) => here,
        Err(error) => return Err(error.into()),
        Ok(_) => {
            return Err(NodeError::NoCluster { address: node.to_owned(), why: "it has no cluster id".to_owned() });
        }
    };
    let member = Membership { cluster, ..nobody.clone() };
    match ask_admin(node, &member, &AdminAsk::Contacts)? {
        AdminAnswer::Contacts(shards) => Ok((cluster, shards)),
        _ => Ok((cluster, Vec::new())),
    }
}

/// A cluster begins: how many replicas its control store is to have is written down.
pub(super) fn found(gcs: &RemoteGcs, replicas: u32) -> Result<(), NodeError> {
    let begin = || match GroupRow::read(gcs)? {
        row if row.wanted == 0 => GroupRow { wanted: replicas.max(1), ..row }.write(gcs),
        _ => Ok(()),
    };
    begin().map_err(|error| NodeError::Refused(error.to_string()))
}

/// Registers the node and starts the thread.
pub(super) fn start(shared: Arc<NodeShared>, arbiter: ArbiterHandle) -> Result<Members, NodeError> {
    if let Some(lead) = shared.callers.get() {
        lead(arbiter.clone());
    }
    let sent = shared.now();
    let register = NodeWrite::Register { node: Box::new(shared.spec.clone()), lease_ms: LEASE_MS };
    shared.gcs.write(register).map_err(|error| NodeError::Refused(error.to_string()))?;
    shared.set_renewed(sent);
    let (wake, woken) = mpsc::channel();
    let (mut roster, news) = (Roster::default(), News::of(&shared, &wake));
    if let Err(error) = learn(&shared, &mut roster, &news) {
        tracing::warn!(%error, "the cluster's nodes are not known");
    }
    let mut unconnected = BTreeMap::new();
    look(&shared, &arbiter, &shared.facts().nodes, &mut unconnected);
    let thread = thread::Builder::new().name("actinic-members".to_owned());
    let keep = move || keep(&shared, &arbiter, &woken, roster, &news, unconnected);
    thread.spawn(keep).map_err(NodeError::Folder)?;
    Ok(Members { wake })
}

/// Waits until the node is connected to the others that it knows of, but not for long.
pub(super) async fn acquainted(shared: &NodeShared) {
    let began = Instant::now();
    let is_missing = |node: &NodeId| *node != shared.spec.id && !shared.hub.has_node(*node);
    while began.elapsed() < ACQUAINTED_MAX && shared.facts().nodes.iter().any(|info| is_missing(&info.spec.id)) {
        actix_rt::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Says goodbye, unless this node takes all of the control store with it: then nobody is left to hear.
pub(super) fn leave(shared: &NodeShared) {
    let others =
        shared.facts().row.voters.iter().flat_map(|voters| voters.values()).any(|at| *at != shared.card.address);
    if others || !shared.spec.head {
        let left = NodeWrite::MarkDead { node: shared.spec.id, cause: NodeDeath::Left, lease_until: None };
        drop(shared.gcs.submit(actinic_gcs::shard::Request::Write(left.into())));
        thread::sleep(Duration::from_millis(20));
    }
}

/// What the control store has told by itself since the last look.
#[derive(Default)]
struct News {
    nodes: Mutex<Vec<NodeInfo>>,
    /// Whether who votes may have changed.
    row: AtomicBool,
}

impl News {
    fn of(shared: &NodeShared, wake: &mpsc::Sender<Wake>) -> Arc<Self> {
        let news = Arc::new(Self { nodes: Mutex::default(), row: AtomicBool::new(true) });
        let (heard, wake) = (news.clone(), wake.clone());
        shared.gcs.subscribe(Filter::table(Table::Nodes), move |change| match change.update() {
            Ok(Some(Update::Node(info))) => {
                let mut nodes = heard.nodes.lock();
                nodes.push(*info);
                if nodes.len() == 1 {
                    // One who has ended hears nothing.
                    let _ = wake.send(Wake::News);
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a change of the nodes is not understood"),
        });
        let heard = news.clone();
        shared.gcs.subscribe(GroupRow::changes(), move |_| heard.row.store(true, Ordering::Release));
        news
    }
}

/// Learns what has changed, and asks for all where that is due.
fn learn(shared: &NodeShared, roster: &mut Roster, news: &News) -> Result<(), GcsError> {
    let (now, missed) = (shared.now(), shared.gcs.missed());
    let is_due = roster.is_list_due(now, missed);
    let mut changed = is_due && roster.on_list(now, missed, nodes(shared)?);
    for info in std::mem::take(&mut *news.nodes.lock()) {
        changed |= roster.on_node(info);
    }
    let (mut row, mut failed) = (None, None);
    if news.row.swap(false, Ordering::AcqRel) || is_due {
        match GroupRow::read(&shared.gcs) {
            Ok(read) => row = Some(read),
            Err(error) => {
                news.row.store(true, Ordering::Release);
                failed = Some(error);
            }
        }
    }
    if changed || row.is_some() {
        let row = row.unwrap_or_else(|| shared.facts().row.clone());
        shared.set_facts(Facts { nodes: roster.alive(), row });
    }
    failed.map_or(Ok(()), Err)
}

fn keep(
    shared: &Arc<NodeShared>,
    arbiter: &ArbiterHandle,
    woken: &mpsc::Receiver<Wake>,
    mut roster: Roster,
    news: &News,
    mut unconnected: BTreeMap<NodeId, Instant>,
) {
    let (mut renewed, mut renewed_at, mut told_at) = (Instant::now(), Instant::now(), Instant::now());
    while matches!(woken.recv_timeout(LOOK), Ok(Wake::News) | Err(mpsc::RecvTimeoutError::Timeout)) {
        if renewed.elapsed() >= RENEW {
            renewed = Instant::now();
            let sent = shared.now();
            let renewal = NodeWrite::Heartbeat { node: shared.spec.id, lease_ms: LEASE_MS };
            match shared.gcs.write(renewal) {
                Err(GcsError::Refused(TableError::NodeDead(_))) => {
                    return shared.fence("it was declared dead, and others do its work by now; start a new node");
                }
                Err(error) => tracing::warn!(%error, "the node's lease was not renewed"),
                Ok(_) => {
                    renewed_at = renewed;
                    shared.set_renewed(sent);
                }
            }
        }
        match learn(shared, &mut roster, news) {
            Ok(()) => {
                let facts = shared.facts();
                look(shared, arbiter, &facts.nodes, &mut unconnected);
                // Whoever cannot renew its lease may not have heard of all; and two looks are to be apart in time.
                if renewed_at.elapsed() < FRESH && told_at.elapsed() >= LOOK {
                    told_at = Instant::now();
                    shared.pool(PoolEvent::Alive(facts.nodes.iter().map(|info| info.spec.id).collect()));
                }
            }
            Err(error) => tracing::warn!(%error, "the cluster's nodes are not known"),
        }
    }
}

/// All nodes, dead ones included.
fn nodes(shared: &NodeShared) -> Result<Vec<NodeInfo>, GcsError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let asked = NodeRead::List(PageRequest { after, ..PageRequest::default() });
        let Reply::Nodes(page) = shared.gcs.read(asked)? else { return Ok(all) };
        all.extend(page.items);
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
        if since.elapsed() > UNCONNECTED_MAX && leads(shared) && fence::has_ended_now(&info.spec.address) {
            tracing::warn!(%node, "a node's process has ended, and the node is declared dead");
            let lost = NodeWrite::MarkDead { node, cause: NodeDeath::ConnectionLost, lease_until: None };
            let _ = shared.gcs.write(lost);
        }
    }
}

/// Whether the control store is led from here.
fn leads(shared: &NodeShared) -> bool {
    let status = shared.server.upgrade().and_then(|server| server.replica(0));
    status.is_some_and(|status| status.leads)
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
