//! What nodes and processes ask of the control store.
//!
//! Owns: counting it, request by request, with its bytes. What a core decides is counted where its effect is carried out
//! (actors, removed groups); what a shell does by itself is counted by the model: a node's lease and its look at who is there
//! (`node/members.rs`), a driver's job (`node/gate.rs`, `node/peers.rs`) and its groups' rows (`core_worker/groups.rs`). The
//! store itself is not simulated: it answers at once. Nothing is counted for tasks and objects of a cluster: their owners know
//! them, and no core of theirs has an effect for the store.

use std::collections::BTreeMap;

use actinic_gcs::{
    spec::{JobOutcome, JobSpec, NodeInfo, NodeState},
    tables::{limits::PAGE_LEN_MAX, JobWrite, KeyValueRead, NodeRead, NodeWrite, PageRequest, Read, Write},
    JobId, Millis,
};
use bytes::Bytes;

use super::{ears::encoded, events::Event, World};
use crate::{meter::Count, model::MS};

/// Between renewals of a node's lease, as in `node/members.rs`.
const RENEW_NS: u64 = 1_000 * MS;
/// Between lists of all nodes, as in `node/members/core.rs`. Changes come by themselves; here nothing changes.
const LIST_NS: u64 = 30_000 * MS;
/// How long a lease is, as in `node/fence/core.rs`.
const LEASE_MS: u64 = 10_000;

/// What was asked of the control store.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    by_kind: BTreeMap<&'static str, Count>,
    /// Rows that listings gave.
    pub(crate) rows: u64,
    /// Their bytes.
    pub(crate) row_bytes: u64,
}

impl Asked {
    /// What was asked of one kind.
    pub(crate) fn of(&self, kind: &str) -> Count {
        self.by_kind.get(kind).copied().unwrap_or_default()
    }

    fn count(&mut self, kind: &'static str, bytes: u64) {
        let count = self.by_kind.entry(kind).or_default();
        count.frames += 1;
        count.bytes += bytes;
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

impl World {
    /// A write is sent to the control store.
    pub(super) fn record(&mut self, write: impl Into<Write>) {
        let write = write.into();
        let kind = match &write {
            Write::Node(_) => "leases of nodes",
            Write::Job(_) => "jobs",
            Write::Actor(_) | Write::History(_) => "actors",
            Write::Group(_) => "placement groups",
            _ => "other writes",
        };
        self.asked.count(kind, encoded(&write));
    }

    /// Nodes, which have been there for long, renew their leases and list all nodes now and then.
    pub(crate) fn keep_membership(&mut self) {
        for node in 0..self.settings.nodes {
            let (renew, list) = (self.rng.below(RENEW_NS), self.rng.below(LIST_NS));
            self.queue.at(self.now + renew, Event::Renew(node));
            self.queue.at(self.now + list, Event::Members(node));
        }
    }

    pub(super) fn renew(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        if node.alive {
            let renewal = NodeWrite::Heartbeat { node: node.id, lease_ms: LEASE_MS };
            self.record(renewal);
            self.queue.at(self.now + RENEW_NS, Event::Renew(at));
        }
    }

    /// All nodes are listed, page by page, and the row that says who votes is read.
    pub(super) fn members(&mut self, at: u32) {
        if !self.nodes[at as usize].alive {
            return;
        }
        self.queue.at(self.now + LIST_NS, Event::Members(at));
        let rows = self.nodes.iter().filter(|node| node.alive).count() as u64;
        for _ in 0..rows.div_ceil(PAGE_LEN_MAX as u64).max(1) {
            self.asked.count("lists of nodes", encoded(&Read::from(NodeRead::List(PageRequest::default()))));
        }
        self.asked.rows += rows;
        self.asked.row_bytes += rows * self.row_bytes;
        let row = KeyValueRead::Get { namespace: "_actinic".into(), key: Bytes::from_static(b"gcs") };
        self.asked.count("who votes", encoded(&Read::from(row)));
    }

    pub(super) fn bytes_of_row(&self) -> u64 {
        let info = |node: &super::node::NodeSim| NodeInfo {
            spec: node.spec.clone(),
            registered_at: Millis(0),
            state: NodeState::Alive,
        };
        self.nodes.last().map_or(0, |node| encoded(&info(node)))
    }

    /// A driver is let in.
    pub(super) fn enter_job(&mut self, job: u32, node: u32) {
        self.record(JobWrite::NextId);
        let spec = JobSpec {
            id: JobId(job),
            driver_node: self.nodes[node as usize].id,
            namespace: "default".into(),
            entrypoint: "/usr/bin/simulated --driver".to_owned(),
            executable: None,
            metadata: BTreeMap::new(),
        };
        self.record(JobWrite::Add(Box::new(spec)));
    }

    /// A driver has gone.
    pub(super) fn leave_job(&mut self, job: JobId) {
        self.record(JobWrite::Finish { job, outcome: JobOutcome::Succeeded });
    }
}
