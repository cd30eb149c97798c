//! The `LocalScheduler`: who gets this node's resources.
//!
//! Owns: the Actix actor and the way to it. All decisions are in [`core`]. Ordinary tasks never come here: the scheduler
//! lends CPUs to the [fast lane](crate::lane) and takes them back when a task that asks for something else needs them.

pub mod core;

use std::{
    collections::BTreeMap,
    sync::{mpsc, Arc, OnceLock},
};

use actinic_gcs::{spec::LabelSelector, PlacementGroupId, ResourceSet, TaskId};
use actix::prelude::*;
use parking_lot::Mutex;

use self::core::{SchedulerCore, SchedulerEffect};
use crate::{
    context::{self, Cpu},
    error::{TaskError, TaskErrorKind},
    ingress::{Ingress, Ring},
    lane::Turn,
    node::Node,
    options::{SchedulingStrategy, TaskOptions},
    placement::{GroupError, GroupRequest, NodeResources},
    task::{Grant, Task},
};

type OnPlaced = Box<dyn FnOnce() + Send>;

enum Event {
    Submit(Arc<dyn Task>),
    Finished(u64),
    Blocked(u64),
    Unblocked(u64),
    TokensReturned(u32),
    CreateGroup(GroupRequest, OnPlaced, mpsc::SyncSender<Result<(), GroupError>>),
    RemoveGroup(PlacementGroupId),
    Explain(TaskId, mpsc::SyncSender<Option<String>>),
    Free(mpsc::SyncSender<ResourceSet>),
}

/// The way to the node's scheduler.
#[derive(Default)]
pub struct SchedulerPort {
    ingress: Ingress<Event>,
    total: OnceLock<NodeResources>,
    groups: Mutex<BTreeMap<PlacementGroupId, Vec<ResourceSet>>>,
}

impl SchedulerPort {
    /// Submits a task that asks for more than one CPU.
    pub fn submit(&self, task: Arc<dyn Task>) {
        self.ingress.push(Event::Submit(task));
    }

    /// What was granted is free again.
    pub fn finished(&self, grant: u64) {
        self.ingress.push(Event::Finished(grant));
    }

    /// The task of a grant blocks: its CPU is free for others.
    pub fn blocked(&self, grant: u64) {
        self.ingress.push(Event::Blocked(grant));
    }

    /// It goes on.
    pub fn unblocked(&self, grant: u64) {
        self.ingress.push(Event::Unblocked(grant));
    }

    /// The lane has given tokens back.
    pub fn tokens_returned(&self, count: u32) {
        self.ingress.push(Event::TokensReturned(count));
    }

    /// The error of a task whose demand can never be met, told before anything is queued.
    #[must_use]
    pub fn refusal(&self, task: &str, options: &TaskOptions) -> Option<TaskError> {
        self.refusal_of(task, &options.resources(), &options.strategy, &options.labels)
    }

    /// As [`SchedulerPort::refusal`], from the demand itself.
    #[must_use]
    pub fn refusal_of(
        &self,
        task: &str,
        demand: &ResourceSet,
        strategy: &SchedulingStrategy,
        labels: &LabelSelector,
    ) -> Option<TaskError> {
        // The node of an embedded runtime has no labels.
        let unlabelled = |wanted: &LabelSelector| {
            let text =
                || format!("it asks for a node where {wanted}, and the node of an embedded runtime has no labels");
            (!wanted.fits(&BTreeMap::new())).then(text)
        };
        let reason = match strategy {
            _ if !labels.fits(&BTreeMap::new()) => unlabelled(labels)?,
            SchedulingStrategy::NodeLabel { hard, .. } if !hard.fits(&BTreeMap::new()) => unlabelled(hard)?,
            SchedulingStrategy::PlacementGroup { group, bundle } => self.group_refusal(*group, *bundle, demand)?,
            _ => self.total.get()?.can_ever_fit(demand).err()?.to_string(),
        };
        Some(TaskErrorKind::Infeasible { task: task.to_owned(), demand: demand.to_string(), reason }.into())
    }

    fn group_refusal(&self, group: PlacementGroupId, bundle: Option<u32>, demand: &ResourceSet) -> Option<String> {
        let groups = self.groups.lock();
        let Some(bundles) = groups.get(&group) else { return Some(format!("there is no placement group {group}")) };
        match bundle {
            None if bundles.iter().any(|bundle| bundle.covers(demand)) => None,
            None => Some("no bundle of its placement group is large enough".to_owned()),
            Some(index) => match bundles.get(index as usize) {
                None => Some(format!("its placement group has {} bundles and none of index {index}", bundles.len())),
                Some(bundle) if !bundle.covers(demand) => Some(format!("bundle {index} has {bundle} only")),
                Some(_) => None,
            },
        }
    }

    /// Makes a placement group; `on_placed` is called once its bundles are reserved.
    ///
    /// # Errors
    /// Why it can never be placed.
    pub fn create_group(&self, request: GroupRequest, on_placed: OnPlaced) -> Result<(), GroupError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let (id, bundles) = (request.id, request.bundles.clone());
        self.groups.lock().insert(id, bundles);
        self.ingress.push(Event::CreateGroup(request, on_placed, reply));
        let result = answer.recv().unwrap_or(Err(GroupError::NoBundles));
        if result.is_err() {
            self.groups.lock().remove(&id);
        }
        result
    }

    /// Removes a placement group: its resources are free when its tasks are done.
    pub fn remove_group(&self, group: PlacementGroupId) {
        self.groups.lock().remove(&group);
        self.ingress.push(Event::RemoveGroup(group));
    }

    /// Why a task that was submitted here has not started; none if it is not here.
    #[must_use]
    pub fn explain(&self, task: TaskId) -> Option<String> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.ingress.push(Event::Explain(task, reply));
        answer.recv().ok().flatten()
    }

    /// What is free right now; CPUs lent to the lane count as free.
    #[must_use]
    pub fn free(&self) -> Option<ResourceSet> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.ingress.push(Event::Free(reply));
        answer.recv().ok()
    }

    pub(crate) fn disconnect(&self) {
        self.ingress.disconnect();
        self.ingress.drain(drop);
    }
}

/// A task with what it was granted, as a turn.
pub struct GrantedTurn {
    task: Arc<dyn Task>,
    grant: u64,
}

impl GrantedTurn {
    /// The turn in which `task` runs, or is polled again, with its grant.
    #[must_use]
    pub fn of(task: Arc<dyn Task>, grant: &Grant) -> Arc<Self> {
        Arc::new(Self { task, grant: grant.id })
    }
}

impl Turn for GrantedTurn {
    fn run(self: Arc<Self>, node: &Arc<Node>) {
        if self.task.head().claim() {
            context::with_cpu(Cpu::Granted(self.grant), || self.task.clone().execute(node));
        } else if self.task.head().is_cancelled() {
            // It was cancelled between grant and start.
            node.scheduler.finished(self.grant);
        }
    }
}

/// The scheduler's Actix actor.
pub struct LocalScheduler {
    node: Arc<Node>,
    core: SchedulerCore<Arc<dyn Task>>,
    placed: BTreeMap<PlacementGroupId, OnPlaced>,
    effects: Vec<SchedulerEffect<Arc<dyn Task>>>,
}

impl LocalScheduler {
    /// The scheduler of `node`, whose whole CPUs the lane has already.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        let resources = NodeResources::new(node.config.resources.clone());
        let _ = node.scheduler.total.set(resources.clone());
        let core = SchedulerCore::new(node.id, resources);
        Self { node, core, placed: BTreeMap::new(), effects: Vec::new() }
    }

    fn on_event(&mut self, event: Event) {
        let effects = &mut self.effects;
        match event {
            Event::Submit(task) => {
                let (demand, strategy) = match &task.head().options {
                    Some(options) => (options.resources(), options.strategy.clone()),
                    None => (ResourceSet::new(), SchedulingStrategy::Default),
                };
                self.core.on_submit(task, demand, strategy, effects);
            }
            Event::Finished(grant) => self.core.on_finished(grant, self.node.lane.has_tasks(), effects),
            Event::Blocked(grant) => self.core.on_blocked(grant, effects),
            Event::Unblocked(grant) => self.core.on_unblocked(grant, effects),
            Event::TokensReturned(count) => self.core.on_tokens_returned(count, effects),
            Event::CreateGroup(request, on_placed, reply) => {
                let group = request.id;
                self.placed.insert(group, on_placed);
                let result = self.core.on_create_group(request, effects);
                if result.is_err() {
                    self.placed.remove(&group);
                }
                let _ = reply.send(result);
            }
            Event::RemoveGroup(group) => {
                self.placed.remove(&group);
                self.core.on_remove_group(group, effects);
            }
            Event::Explain(task, reply) => {
                let _ = reply.send(self.core.explain(|other| other.head().id == task));
            }
            Event::Free(reply) => {
                let _ = reply.send(self.core.free());
            }
        }
    }

    fn carry_out(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                SchedulerEffect::Start { task, grant, gpus } => {
                    let grant = Arc::new(Grant { id: grant, gpus: gpus.into() });
                    task.head().set_grant(grant.clone());
                    self.node.lane.push_turn(GrantedTurn::of(task, &grant));
                }
                SchedulerEffect::Fail { task, reason } => {
                    let (name, demand) = (task.head().name.to_owned(), String::new());
                    task.fail(TaskErrorKind::Infeasible { task: name, demand, reason }.into());
                }
                SchedulerEffect::Lend(count) => self.node.lane.lend(count),
                SchedulerEffect::Reclaim(count) => {
                    self.node.lane.reclaim(count);
                    self.node.settle_tokens();
                }
                SchedulerEffect::Placed(group) => {
                    if let Some(on_placed) = self.placed.remove(&group) {
                        on_placed();
                    }
                }
            }
        }
    }
}

impl Actor for LocalScheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.node.scheduler.ingress.connect(ctx.address().recipient());
    }
}

impl Handler<Ring> for LocalScheduler {
    type Result = ();

    fn handle(&mut self, _: Ring, _ctx: &mut Context<Self>) {
        let node = self.node.clone();
        node.scheduler.ingress.drain(|event| self.on_event(event));
        // One pass for the whole batch.
        self.core.dispatch(&mut self.effects);
        self.carry_out();
    }
}
