//! Decides which task gets which resources of this node, and how many CPUs the fast lane has.
//!
//! Owns: the tasks that ask for more than one CPU, in classes of equal demand; the grants; what is lent to the lane. A
//! core: time, threads and tasks' contents are unknown to it (`T` is whatever the shell runs).
//!
//! Rules. A dispatch pass takes the oldest task of each class that fits, oldest class first; a class whose first task
//! does not fit is skipped, so a task may be passed by one that asks for less, of another class. CPUs that no waiting
//! task could use are lent to the lane. A task that lacks CPUs makes the lane owe them; a worker of the lane gives its
//! token back after the task at hand. When a grant ends while the lane has work and no CPU, one CPU goes to the lane
//! first: so neither kind starves the other.
//!
//! **Invariant:** CPUs lent to the lane are leases like any other, so nothing is given out twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use actinic_gcs::{
    resources::{CPU, GPU},
    NodeId, PlacementGroupId, Quantity, ResourceSet,
};

use crate::{
    options::SchedulingStrategy,
    placement::{GroupError, GroupRequest, Lease, NodeResources, PlacementCore, PlacementEffect, Refusal},
};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum SchedulerEffect<T> {
    /// Start the task with this grant.
    Start {
        /// The task.
        task: T,
        /// The grant's number.
        grant: u64,
        /// Accelerators assigned.
        gpus: Vec<u32>,
    },
    /// The task can never start.
    Fail {
        /// The task.
        task: T,
        /// Why.
        reason: String,
    },
    /// Lend this many more CPUs to the lane.
    Lend(u32),
    /// Have the lane give this many back.
    Reclaim(u32),
    /// The bundles of a group are reserved.
    Placed(PlacementGroupId),
}

type Class = (ResourceSet, SchedulingStrategy);

struct Granted {
    cpu: Option<Lease>,
    cpu_demand: ResourceSet,
    strategy: SchedulingStrategy,
    rest: Lease,
}

/// The state.
pub struct SchedulerCore<T> {
    node: NodeId,
    placement: PlacementCore,
    classes: BTreeMap<Class, VecDeque<(u64, T)>>,
    grants: BTreeMap<u64, Granted>,
    lent: Vec<Lease>,
    reclaiming: u32,
    next: u64,
    groups: BTreeMap<PlacementGroupId, ResourceSet>,
}

impl<T> SchedulerCore<T> {
    /// A scheduler for one node, whose whole CPUs are lent to the lane from the start.
    #[must_use]
    pub fn new(node: NodeId, resources: NodeResources) -> Self {
        let mut placement = PlacementCore::new();
        let whole = resources.total().of(CPU).0 / Quantity::UNIT;
        placement.add_node(node, resources, &mut Vec::new());
        let mut core = Self {
            node,
            placement,
            classes: BTreeMap::new(),
            grants: BTreeMap::new(),
            lent: Vec::new(),
            reclaiming: 0,
            next: 0,
            groups: BTreeMap::new(),
        };
        for _ in 0..whole {
            let lease = core.placement.allocate_on(node, &one_cpu());
            core.lent.extend(lease);
        }
        core
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    // --- events ----------------------------------------------------------------------------------------------------

    /// A task waits for its resources.
    pub fn on_submit(
        &mut self,
        task: T,
        demand: ResourceSet,
        strategy: SchedulingStrategy,
        effects: &mut Vec<SchedulerEffect<T>>,
    ) {
        if let SchedulingStrategy::NodeAffinity { node, soft: false } = &strategy {
            if *node != self.node {
                return effects.push(SchedulerEffect::Fail { task, reason: format!("there is no node {node}") });
            }
        }
        let ticket = self.number();
        self.classes.entry((demand, strategy)).or_default().push_back((ticket, task));
    }

    /// A grant has ended. `lane_waits` tells whether the lane has work.
    pub fn on_finished(&mut self, grant: u64, lane_waits: bool, effects: &mut Vec<SchedulerEffect<T>>) {
        let Some(granted) = self.grants.remove(&grant) else { return };
        for lease in granted.cpu.into_iter().chain([granted.rest]) {
            self.release(lease, effects);
        }
        if lane_waits && self.lent.is_empty() {
            self.lend(1, effects);
        }
    }

    /// The task of a grant blocks: its CPU is free meanwhile, its accelerators are not.
    pub fn on_blocked(&mut self, grant: u64, effects: &mut Vec<SchedulerEffect<T>>) {
        if let Some(lease) = self.grants.get_mut(&grant).and_then(|granted| granted.cpu.take()) {
            self.release(lease, effects);
        }
    }

    /// It goes on, whether or not a CPU is free: for a while there may be one more than there are (as in Ray).
    pub fn on_unblocked(&mut self, grant: u64, _effects: &mut Vec<SchedulerEffect<T>>) {
        let Some(granted) = self.grants.get(&grant) else { return };
        if granted.cpu.is_some() || granted.cpu_demand.is_empty() {
            return;
        }
        let (demand, strategy) = (granted.cpu_demand.clone(), granted.strategy.clone());
        let lease = self.allocate(&demand, &strategy).ok();
        if let Some(granted) = self.grants.get_mut(&grant) {
            granted.cpu = lease;
        }
    }

    /// The lane has given CPUs back.
    pub fn on_tokens_returned(&mut self, count: u32, effects: &mut Vec<SchedulerEffect<T>>) {
        self.reclaiming = self.reclaiming.saturating_sub(count);
        for _ in 0..count {
            if let Some(lease) = self.lent.pop() {
                self.release(lease, effects);
            }
        }
    }

    /// A placement group is wanted.
    ///
    /// # Errors
    /// Why it can never be placed.
    pub fn on_create_group(
        &mut self,
        request: GroupRequest,
        effects: &mut Vec<SchedulerEffect<T>>,
    ) -> Result<(), GroupError> {
        let id = request.id;
        let mut sum = ResourceSet::new();
        request.bundles.iter().for_each(|bundle| sum.add(bundle));
        let mut placed = Vec::new();
        self.placement.create(request, &mut placed)?;
        self.groups.insert(id, sum);
        self.pass_on(placed, effects);
        Ok(())
    }

    /// A placement group is not wanted any more.
    pub fn on_remove_group(&mut self, group: PlacementGroupId, effects: &mut Vec<SchedulerEffect<T>>) {
        self.groups.remove(&group);
        let mut placed = Vec::new();
        self.placement.remove_group(group, false, &mut placed);
        self.pass_on(placed, effects);
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    /// One pass over all that waits. Call it once after a batch of events.
    pub fn dispatch(&mut self, effects: &mut Vec<SchedulerEffect<T>>) {
        let mut placed = Vec::new();
        self.placement.retry(&mut placed);
        self.pass_on(placed, effects);
        let mut stuck: BTreeSet<Class> = BTreeSet::new();
        let mut cpus_lacking = self.cpus_that_groups_lack();
        while let Some(class) = self.oldest_class(&stuck) {
            match self.grant(&class) {
                Ok((grant, gpus)) => {
                    if let Some(task) = self.pop(&class) {
                        effects.push(SchedulerEffect::Start { task, grant, gpus });
                    }
                }
                Err(Refusal::Busy { .. } | Refusal::NotPlaced(_)) => {
                    cpus_lacking += self.cpus_that_lack(&class);
                    stuck.insert(class);
                }
                Err(never) => {
                    while let Some(task) = self.pop(&class) {
                        effects.push(SchedulerEffect::Fail { task, reason: never.to_string() });
                    }
                }
            }
        }
        self.balance(cpus_lacking, effects);
    }

    fn oldest_class(&self, stuck: &BTreeSet<Class>) -> Option<Class> {
        self.classes
            .iter()
            .filter(|(class, _)| !stuck.contains(class))
            .min_by_key(|(_, queue)| queue.front().map_or(u64::MAX, |(ticket, _)| *ticket))
            .map(|(class, _)| class.clone())
    }

    fn pop(&mut self, class: &Class) -> Option<T> {
        let queue = self.classes.get_mut(class)?;
        let task = queue.pop_front().map(|(_, task)| task);
        if queue.is_empty() {
            self.classes.remove(class);
        }
        task
    }

    /// Takes the CPUs apart from the rest, since a blocked task gives back those only.
    fn grant(&mut self, class: &Class) -> Result<(u64, Vec<u32>), Refusal> {
        let (demand, strategy) = class;
        let mut cpu_demand = ResourceSet::new();
        cpu_demand.set(CPU, demand.of(CPU));
        let mut rest_demand = demand.clone();
        rest_demand.set(CPU, Quantity::default());
        // Both from one place: the whole finds it, then it is taken in two parts.
        let whole = self.allocate(demand, strategy)?;
        let strategy = match whole.bundle() {
            Some((group, bundle)) => SchedulingStrategy::PlacementGroup { group, bundle: Some(bundle) },
            None => SchedulingStrategy::Default,
        };
        self.placement.release(whole, &mut Vec::new());
        let rest = self.allocate(&rest_demand, &strategy)?;
        let cpu = match cpu_demand.is_empty() {
            true => None,
            false => match self.allocate(&cpu_demand, &strategy) {
                Ok(lease) => Some(lease),
                Err(refusal) => {
                    self.placement.release(rest, &mut Vec::new());
                    return Err(refusal);
                }
            },
        };
        let gpus = rest.devices(GPU).iter().map(|share| share.index).collect();
        let grant = self.number();
        self.grants.insert(grant, Granted { cpu, cpu_demand, strategy, rest });
        Ok((grant, gpus))
    }

    fn allocate(&mut self, demand: &ResourceSet, strategy: &SchedulingStrategy) -> Result<Lease, Refusal> {
        match strategy {
            SchedulingStrategy::PlacementGroup { group, bundle } => {
                self.placement.allocate_in_group(*group, *bundle, demand)
            }
            _ => self.placement.allocate_on(self.node, demand),
        }
    }

    fn release(&mut self, lease: Lease, effects: &mut Vec<SchedulerEffect<T>>) {
        let mut placed = Vec::new();
        self.placement.release(lease, &mut placed);
        self.pass_on(placed, effects);
    }

    fn pass_on(&mut self, placed: Vec<PlacementEffect>, effects: &mut Vec<SchedulerEffect<T>>) {
        for effect in placed {
            if let PlacementEffect::Placed { group, .. } = effect {
                self.groups.remove(&group);
                effects.push(SchedulerEffect::Placed(group));
            }
        }
    }

    fn free_cpus(&self) -> Quantity {
        self.placement.node(self.node).map_or(Quantity::default(), |node| node.free().of(CPU))
    }

    /// Whole CPUs that the first task of a class lacks and the lane could give.
    fn cpus_that_lack(&self, class: &Class) -> u32 {
        if matches!(class.1, SchedulingStrategy::PlacementGroup { .. }) {
            return 0;
        }
        lacking(class.0.of(CPU), self.free_cpus())
    }

    fn cpus_that_groups_lack(&self) -> u32 {
        let free = self.free_cpus();
        self.groups.values().map(|sum| lacking(sum.of(CPU), free)).max().unwrap_or(0)
    }

    /// Lends what nobody waits for, and reclaims what somebody lacks.
    fn balance(&mut self, cpus_lacking: u32, effects: &mut Vec<SchedulerEffect<T>>) {
        if cpus_lacking == 0 {
            let free = (self.free_cpus().0 / Quantity::UNIT) as u32;
            self.lend(free, effects);
        } else {
            let could = (self.lent.len() as u32).saturating_sub(self.reclaiming);
            let more = cpus_lacking.saturating_sub(self.reclaiming).min(could);
            if more > 0 {
                self.reclaiming += more;
                effects.push(SchedulerEffect::Reclaim(more));
            }
        }
    }

    fn lend(&mut self, count: u32, effects: &mut Vec<SchedulerEffect<T>>) {
        let mut lent = 0;
        for _ in 0..count {
            match self.placement.allocate_on(self.node, &one_cpu()) {
                Ok(lease) => {
                    self.lent.push(lease);
                    lent += 1;
                }
                Err(_) => break,
            }
        }
        if lent > 0 {
            effects.push(SchedulerEffect::Lend(lent));
        }
    }

    // --- getters ---------------------------------------------------------------------------------------------------

    /// Why the task that `is_it` picks out has not started; none if it does not wait here.
    #[must_use]
    pub fn explain(&self, is_it: impl Fn(&T) -> bool) -> Option<String> {
        let ((demand, strategy), queue) =
            self.classes.iter().find(|(_, queue)| queue.iter().any(|(_, task)| is_it(task)))?;
        let before = queue.iter().take_while(|(_, task)| !is_it(task)).count();
        let mut text = format!("it waits for {demand}");
        if let SchedulingStrategy::PlacementGroup { group, bundle } = strategy {
            match bundle {
                Some(bundle) => text += &format!(" in bundle {bundle} of placement group {group}"),
                None => text += &format!(" in placement group {group}"),
            }
            if let Some(status) = self.placement.explain(*group) {
                text += &format!(" ({status})");
            }
        } else {
            text += &format!("; free are {}", self.free());
            if !self.lent.is_empty() {
                text += &format!(", of which {} CPU run ordinary tasks and come back one by one", self.lent.len());
            }
        }
        if before > 0 {
            text += &format!("; {before} tasks of the same demand are before it");
        }
        Some(text)
    }

    /// What is free; CPUs lent to the lane count as free.
    #[must_use]
    pub fn free(&self) -> ResourceSet {
        let mut free = self.placement.node(self.node).map(|node| node.free().clone()).unwrap_or_default();
        for lease in &self.lent {
            free.add(lease.demand());
        }
        free
    }

    /// Checks all invariants.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        self.placement.sanity_check();
        assert!(self.reclaiming as usize <= self.lent.len(), "more is reclaimed than lent");
        assert!(self.classes.values().all(|queue| !queue.is_empty()), "an empty class is kept");
    }
}

fn one_cpu() -> ResourceSet {
    ResourceSet::new().with(CPU, 1.0)
}

fn lacking(asked: Quantity, free: Quantity) -> u32 {
    asked.0.saturating_sub(free.0).div_ceil(Quantity::UNIT) as u32
}

#[cfg(test)]
mod tests;
