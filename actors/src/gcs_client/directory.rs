//! The node, its job, its actors and its placement groups, as the port records and lists them.
//!
//! Owns: the typed form of these records. Invariants: only the registration of a named actor waits, since a name is free or
//! not; incarnations are the [ledger](super::ledger)'s, callers say only what happens.

use std::{collections::BTreeMap, sync::Arc};

use actinic_gcs::{
    spec::{
        ActorDeath, ActorInfo, ActorSpec, JobInfo, JobOutcome, JobSpec, NodeInfo, NodeSpec, PlacementGroupInfo,
        PlacementGroupSpec,
    },
    tables::{
        limits, ActorRead, GroupRead, GroupWrite, IfExists, JobRead, JobWrite, NodeRead, Page, PageRequest, Read, Reply,
    },
    ActorId, JobId, NodeId, PlacementGroupId,
};
use bytes::Bytes;

use super::{ledger::Happening, port::Event, GcsError, GcsPort};
use crate::node::Node;

/// Where other nodes reach one that has no way in.
const EMBEDDED: &str = "embedded";

/// What an embedded node says of itself.
pub(super) fn node_spec(node: &Node) -> NodeSpec {
    NodeSpec {
        id: node.id,
        address: EMBEDDED.to_owned(),
        hostname: hostname(),
        head: true,
        resources: node.config.resources.clone(),
        labels: BTreeMap::new(),
        object_store_bytes: node.config.store.capacity_bytes as u64,
        shared_memory: None,
    }
}

/// What a driver within its node says of itself.
pub(super) fn job_spec(node: &Node) -> JobSpec {
    JobSpec {
        id: node.config.job,
        driver_node: node.id,
        namespace: node.config.namespace.as_str().into(),
        entrypoint: std::env::args().collect::<Vec<_>>().join(" "),
        executable: None,
        metadata: BTreeMap::new(),
    }
}

pub(crate) fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// Takes one kind of reply.
macro_rules! expect_reply {
    ($reply:expr, $asked:literal, $pattern:pat => $value:expr) => {
        match $reply {
            $pattern => Ok($value),
            _ => Err(GcsError::UnexpectedReply { asked: $asked }),
        }
    };
}
pub(super) use expect_reply;

impl GcsPort {
    /// Registers an actor. One without a name is always new and nobody waits; for one with a name this waits, and gives the
    /// living actor of that name if it is there and `if_exists` says so.
    ///
    /// A `max_restarts` within a window of time is no bound on all restarts: give it as [`Unlimited`].
    ///
    /// # Errors
    /// [`TableError::NameTaken`](actinic_gcs::tables::TableError::NameTaken) and others of [`GcsError`], for a named one.
    ///
    /// [`Unlimited`]: actinic_gcs::spec::Limit::Unlimited
    pub fn register_actor(&self, spec: ActorSpec, if_exists: IfExists) -> Result<(ActorId, bool), GcsError> {
        if spec.name.is_none() {
            let actor = spec.id;
            self.push(Event::Actor(Box::new(spec)));
            return Ok((actor, true));
        }
        let reply = self.wait(|answer| Event::NamedActor(Box::new(spec), if_exists, answer))?;
        expect_reply!(reply, "register an actor", Reply::Registered { actor, created } => (actor, created))
    }

    /// The arguments of an actor's constructor are there.
    pub fn actor_pending(&self, actor: ActorId) {
        self.push(Event::Happened(actor, Happening::Pending));
    }

    /// An actor's state is there.
    pub fn actor_alive(&self, actor: ActorId) {
        self.push(Event::Happened(actor, Happening::Alive));
    }

    /// An actor's state is lost and will be built again: its next incarnation begins.
    pub fn actor_restarting(&self, actor: ActorId) {
        self.push(Event::Happened(actor, Happening::Restarting));
    }

    /// An actor is dead, because it failed; its name is free.
    pub fn actor_dead(&self, actor: ActorId, reason: &str) {
        self.actor_died(actor, ActorDeath::RestartsSpent { message: reason.to_owned() });
    }

    /// An actor is dead, for this cause; its name is free.
    pub fn actor_died(&self, actor: ActorId, cause: ActorDeath) {
        self.push(Event::Happened(actor, Happening::Dead(cause)));
    }

    /// A checkpoint after `calls` calls. One larger than [`limits::CHECKPOINT_BYTES_MAX`] is left out.
    pub fn checkpoint(&self, actor: ActorId, calls: u64, state: &[u8]) {
        if state.len() > limits::CHECKPOINT_BYTES_MAX {
            let (bytes, max) = (state.len(), limits::CHECKPOINT_BYTES_MAX);
            tracing::warn!(%actor, calls, bytes, max, "a checkpoint is too large for the control store and is left out");
            return;
        }
        let state = Bytes::copy_from_slice(state);
        self.push(Event::Happened(actor, Happening::Checkpoint(calls, state)));
    }

    /// An actor, dead ones included as long as they are listed.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn actor(&self, actor: ActorId) -> Result<Option<ActorInfo>, GcsError> {
        let reply = self.read(ActorRead::Get(actor))?;
        expect_reply!(reply, "get an actor", Reply::Actor(info) => info.map(|info| *info))
    }

    /// The living actor of a name.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn find_actor(&self, namespace: &str, name: &str) -> Result<Option<ActorInfo>, GcsError> {
        let (namespace, name) = (Arc::from(namespace), Arc::from(name));
        let reply = self.read(ActorRead::ByName { namespace, name })?;
        expect_reply!(reply, "find an actor", Reply::Actor(info) => info.map(|info| *info))
    }

    /// All actors: the living and the last of the dead.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn actors(&self) -> Result<Vec<ActorInfo>, GcsError> {
        self.all_pages(ActorRead::List, |reply| expect_reply!(reply, "list actors", Reply::Actors(page) => page))
    }

    /// All nodes, dead ones included.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn nodes(&self) -> Result<Vec<NodeInfo>, GcsError> {
        self.all_pages(NodeRead::List, |reply| expect_reply!(reply, "list nodes", Reply::Nodes(page) => page))
    }

    /// All jobs, finished ones included.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn jobs(&self) -> Result<Vec<JobInfo>, GcsError> {
        self.all_pages(JobRead::List, |reply| expect_reply!(reply, "list jobs", Reply::Jobs(page) => page))
    }

    /// All placement groups, the last of the removed included.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn groups(&self) -> Result<Vec<PlacementGroupInfo>, GcsError> {
        self.all_pages(
            GroupRead::List,
            |reply| expect_reply!(reply, "list placement groups", Reply::PlacementGroups(page) => page),
        )
    }

    /// A job has ended; the node's own is added when it starts.
    pub fn job_finished(&self, job: JobId, outcome: JobOutcome) {
        self.record(JobWrite::Finish { job, outcome });
    }

    /// A placement group is asked for.
    pub fn group_created(&self, spec: PlacementGroupSpec) {
        self.record(GroupWrite::Create(Box::new(spec)));
    }

    /// A placement group's bundles are reserved on these nodes, one for each.
    pub fn group_placed(&self, group: PlacementGroupId, nodes: Vec<NodeId>) {
        self.record(GroupWrite::Place { group, nodes });
    }

    /// A node is lost, and the bundles that a placement group had there.
    pub fn group_lost_node(&self, group: PlacementGroupId, node: NodeId) {
        self.record(GroupWrite::LoseNode { group, node });
    }

    /// A placement group is gone.
    pub fn group_removed(&self, group: PlacementGroupId) {
        self.push(Event::GroupRemoved(group));
    }

    /// Every item of a listing.
    pub(super) fn all_pages<T, R: Into<Read>>(
        &self,
        read: impl Fn(PageRequest) -> R,
        page_of: impl Fn(Reply) -> Result<Page<T>, GcsError>,
    ) -> Result<Vec<T>, GcsError> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = page_of(self.read(read(PageRequest { after, ..PageRequest::default() }))?)?;
            all.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }
}
