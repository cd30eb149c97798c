//! What a caller may ask of a task or an actor, under Ray's names.
//!
//! Owns: the plain data of the options. How they are carried out is the schedulers' and the actors' business.

use std::{sync::Arc, time::Duration};

use actinic_gcs::{resources::CPU, spec::LabelSelector, NodeId, PlacementGroupId, ResourceSet};
use serde::{Deserialize, Serialize};

use crate::{
    error::TaskError,
    supervision::{Backoff, RestartPolicy},
};

/// Decides whether a task that failed with this error runs again.
pub type RetryPredicate = Arc<dyn Fn(&TaskError) -> bool + Send + Sync>;

/// Where a task or actor may be placed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SchedulingStrategy {
    /// The scheduler's choice.
    #[default]
    Default,
    /// Over as many nodes as possible.
    Spread,
    /// On this node; if `soft`, elsewhere rather than not at all.
    NodeAffinity {
        /// The node.
        node: NodeId,
        /// Whether another node will do.
        soft: bool,
    },
    /// On a node whose labels fit `hard`; on one that fits `soft` as well, if there is room.
    NodeLabel {
        /// What must hold.
        hard: LabelSelector,
        /// What should hold.
        soft: LabelSelector,
    },
    /// Within a placement group, in one bundle of it or in any.
    PlacementGroup {
        /// The group.
        group: PlacementGroupId,
        /// The bundle's index.
        bundle: Option<u32>,
    },
}

/// Options of a task that differ from the default.
#[derive(Clone, Default)]
pub struct TaskOptions {
    /// What it takes while it runs; none means one CPU.
    pub demand: Option<ResourceSet>,
    /// Where it may run.
    pub strategy: SchedulingStrategy,
    /// What must hold of its node's labels.
    pub labels: LabelSelector,
    /// Its name in graphs and messages, in place of the function's.
    pub name: Option<&'static str>,
    /// How often it may run again after a failure; none for the default.
    pub max_retries: Option<u32>,
    /// Which failures of its own make it run again.
    pub retry_exceptions: Option<RetryPredicate>,
    /// How many objects a streaming task may be ahead of its consumer.
    pub backpressure: Option<usize>,
    /// How many objects its `Vec` result is split into.
    pub num_returns: Option<usize>,
}

impl TaskOptions {
    /// The demand: what was asked, else one CPU.
    #[must_use]
    pub fn resources(&self) -> ResourceSet {
        self.demand.clone().unwrap_or_else(default_demand)
    }

    /// Sets one resource, starting from the default demand.
    pub fn set_resource(&mut self, name: &str, units: f64) {
        let demand = self.demand.take().unwrap_or_else(default_demand);
        self.demand = Some(demand.with(name, units));
    }

    /// Whether the task is an ordinary one: one CPU, anywhere.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.strategy == SchedulingStrategy::Default
            && self.labels.is_empty()
            && self.demand.as_ref().is_none_or(|demand| *demand == default_demand())
    }
}

fn default_demand() -> ResourceSet {
    ResourceSet::new().with(CPU, 1.0)
}

/// What happens to a call that finds the actor's mailbox full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverflowPolicy {
    /// The call fails at once with `PendingCallsLimitExceeded`; a retry is safe.
    #[default]
    Fail,
    /// The oldest waiting call fails and becomes a dead letter; the new one is accepted.
    DropOldest,
    /// The caller's thread waits for room, at most this long, then the call fails.
    Block(Duration),
}

/// How long an actor lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// Until its last handle goes, or its job ends.
    #[default]
    Job,
    /// Until it is killed.
    Detached,
}

/// Options of an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActorOptions {
    /// What it holds as long as it lives; nothing by default.
    pub demand: ResourceSet,
    /// Where it may live.
    pub strategy: SchedulingStrategy,
    /// What must hold of its node's labels.
    pub labels: LabelSelector,
    /// The name under which it can be found.
    pub name: Option<String>,
    /// The namespace of the name.
    pub namespace: Option<String>,
    /// Gives the actor of that name where there is one already, instead of an error.
    pub get_if_exists: bool,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// How often it is restarted; none means without end.
    pub max_restarts: Option<u32>,
    /// Restarts are counted within this time only.
    pub restart_window: Option<Duration>,
    /// When it is restarted.
    pub restart_policy: RestartPolicy,
    /// How long it waits before a restart.
    pub backoff: Backoff,
    /// How often a call that crashed it is tried again.
    pub max_task_retries: u32,
    /// How many calls may run at once; none means one, or 1,000 for an actor with async methods.
    pub max_concurrency: Option<usize>,
    /// Calls at once in named groups of methods.
    pub concurrency_groups: Vec<(String, usize)>,
    /// The bound of its mailbox.
    pub max_pending_calls: usize,
    /// What happens to a call over that bound.
    pub overflow: OverflowPolicy,
    /// Its supervisor; none means the root.
    pub supervisor: Option<u64>,
}

/// The bound of a mailbox that was given none.
pub const MAX_PENDING_CALLS_DEFAULT: usize = 10_000_000;

impl Default for ActorOptions {
    fn default() -> Self {
        Self {
            demand: ResourceSet::new(),
            strategy: SchedulingStrategy::Default,
            labels: LabelSelector::default(),
            name: None,
            namespace: None,
            get_if_exists: false,
            lifetime: Lifetime::Job,
            max_restarts: Some(0),
            restart_window: None,
            restart_policy: RestartPolicy::OnFailure,
            backoff: Backoff::default(),
            max_task_retries: 0,
            max_concurrency: None,
            concurrency_groups: Vec::new(),
            max_pending_calls: MAX_PENDING_CALLS_DEFAULT,
            overflow: OverflowPolicy::Fail,
            supervisor: None,
        }
    }
}

impl ActorOptions {
    /// Sets the number of CPUs it holds.
    pub fn set_resource(&mut self, name: &str, units: f64) {
        let demand = std::mem::take(&mut self.demand);
        self.demand = demand.with(name, units);
    }
}

/// `max_restarts` for an actor that is restarted without end (as in Ray).
pub const RESTARTS_UNLIMITED: i64 = -1;
