//! Groups that wait: who is tried next, and why one waits.
//!
//! Owns: the order of tries, and feasibility on empty nodes. Does not own: how bundles are laid out (`plan`).
//!
//! **The rule.** Groups are tried oldest first. A later group that fits may pass an earlier one that does not, so that
//! small groups use what a large one cannot. But each passing is counted, and a group that was passed
//! [`PASSES_MAX`](PlacementCore::PASSES_MAX) times stops all later ones until it is placed: it can be delayed, never
//! starved by other groups. A group that the present nodes can never hold stops nobody and counts no passings. A group
//! that lost bundles keeps its age, and so comes before those that were made later. Plain leases are not held back: they
//! end by themselves, and a plain task may be what a group's owner waits for.
//!
//! **Bound.** One retry makes at most [`TRIES_MAX`](PlacementCore::TRIES_MAX) plans that fail; groups behind those are
//! tried once enough of those before them have been placed or removed.

use actinic_gcs::{NodeId, PlacementGroupId, ResourceSet};

use super::{
    core::{Node, PlacementCore},
    explain::{GroupInfeasible, GroupStatus, Refusal},
    groups::{Group, Place, PlacementEffect, PlacementStrategy},
    node::NodeResources,
    plan::{reserve, Nodes, Wanted},
};

impl PlacementCore {
    /// How many later groups may be placed before an earlier one that waits.
    pub const PASSES_MAX: u32 = 16;
    /// How many plans may fail in one retry.
    pub const TRIES_MAX: usize = 256;

    /// Tries the groups that wait, if anything was freed since the last time. Call it once after a batch of events.
    pub fn retry(&mut self, effects: &mut Vec<PlacementEffect>) {
        if !std::mem::take(&mut self.retry_due) {
            return;
        }
        let mut failed: Vec<PlacementGroupId> = Vec::new();
        let waiting: Vec<_> = self.waiting.values().copied().collect();
        for id in waiting {
            if self.groups[&id].infeasible.is_some() {
                continue;
            }
            if failed.len() >= Self::TRIES_MAX || failed.iter().any(|earlier| self.groups[earlier].is_overdue()) {
                return;
            }
            if !self.place(id, effects) {
                failed.push(id);
            }
        }
    }

    /// Places the group made last, if it may pass those before it and fits.
    pub(super) fn try_newest(&mut self, id: PlacementGroupId, effects: &mut Vec<PlacementEffect>) -> bool {
        let group = &self.groups[&id];
        group.infeasible.is_none() && self.overdue_before(group.age).is_none() && self.place(id, effects)
    }

    /// The group that lets none later than itself be placed, if it is older than `age`.
    fn overdue_before(&self, age: u64) -> Option<PlacementGroupId> {
        let stops = |group: &Group| group.infeasible.is_none() && group.passes >= Self::PASSES_MAX;
        self.waiting.range(..age).map(|(_, id)| *id).find(|id| stops(&self.groups[id]))
    }

    /// Reserves every bundle that a group lacks, or none.
    fn place(&mut self, id: PlacementGroupId, effects: &mut Vec<PlacementEffect>) -> bool {
        let Some(reserved) = reserve(&mut self.nodes, &wanted(&self.groups[&id])) else {
            return false;
        };
        let epoch = self.next_epoch();
        let group = self.groups.get_mut(&id).expect("invariant: the group was just read");
        for reserved in reserved {
            let pool = NodeResources::of_allocation(&reserved.allocation);
            let place = Place { node: reserved.node, epoch, reserved: reserved.allocation, pool, leases: 0 };
            group.bundles[reserved.bundle].place = Some(place);
        }
        group.passes = 0;
        let age = group.age;
        let nodes = group.bundles.iter().filter_map(|bundle| Some(bundle.place.as_ref()?.node)).collect();
        effects.push(PlacementEffect::Placed { group: id, nodes });
        self.waiting.remove(&age);
        for passed in self.waiting.range(..age).map(|(_, id)| *id) {
            if let Some(passed) = self.groups.get_mut(&passed).filter(|group| group.infeasible.is_none()) {
                passed.passes = passed.passes.saturating_add(1);
            }
        }
        true
    }

    /// Whether the present nodes could hold such a group if they were empty.
    pub(super) fn judge(&self, strategy: PlacementStrategy, bundles: &[&ResourceSet]) -> Result<(), GroupInfeasible> {
        for (index, demand) in bundles.iter().enumerate() {
            let reason = self.can_ever_fit(demand);
            reason.map_err(|reason| GroupInfeasible::Bundle { bundle: index as u32, reason })?;
        }
        if strategy == PlacementStrategy::StrictSpread && self.nodes.len() < bundles.len() {
            let (bundles, nodes) = (bundles.len() as u32, self.nodes.len() as u32);
            return Err(GroupInfeasible::TooFewNodes { bundles, nodes });
        }
        let emptied = |node: &Node| Node { epoch: node.epoch, resources: node.resources.emptied() };
        let mut empty: Nodes = self.nodes.iter().map(|(id, node)| (*id, emptied(node))).collect();
        let bundles = bundles.iter().copied().enumerate().collect();
        let wanted = Wanted { strategy, bundles, placed: Vec::new() };
        reserve(&mut empty, &wanted).map(|_| ()).ok_or(GroupInfeasible::Together { strategy })
    }

    /// Judges the groups that wait anew, after nodes have joined or left.
    pub(super) fn judge_waiting(&mut self) {
        let waiting: Vec<_> = self.waiting.values().copied().collect();
        for id in waiting {
            let group = &self.groups[&id];
            let bundles: Vec<_> = group.bundles.iter().map(|bundle| &bundle.demand).collect();
            let infeasible = self.judge(group.strategy, &bundles).err();
            if let Some(group) = self.groups.get_mut(&id) {
                group.infeasible = infeasible;
            }
        }
        self.retry_due = true;
    }

    /// What a group is doing, or waits for; `None` if there is no such group.
    #[must_use]
    pub fn explain(&self, id: PlacementGroupId) -> Option<GroupStatus> {
        let group = self.groups.get(&id)?;
        if group.removing {
            return Some(GroupStatus::Removing { leases: group.leases() });
        }
        if group.is_placed() {
            return Some(GroupStatus::Placed);
        }
        if let Some(reason) = &group.infeasible {
            return Some(GroupStatus::WaitsForNodes(reason.clone()));
        }
        if let Some(before) = self.overdue_before(group.age) {
            return Some(GroupStatus::WaitsBehind { group: before });
        }
        let wanted = wanted(group);
        for (index, demand) in &wanted.bundles {
            if !self.nodes.values().any(|node| node.resources.fits(demand)) {
                let (bundle, reason): (u32, Refusal) = (*index as u32, self.refusal(demand));
                return Some(GroupStatus::WaitsForResources { bundle, reason });
            }
        }
        // A plan takes what it tries, so it is tried on a copy.
        let fits = reserve(&mut self.nodes.clone(), &wanted).is_some();
        let strategy = group.strategy;
        Some(if fits { GroupStatus::WaitsForRetry } else { GroupStatus::WaitsToFitTogether { strategy } })
    }

    /// Groups that wait, oldest first.
    pub fn waiting_groups(&self) -> impl Iterator<Item = PlacementGroupId> + '_ {
        self.waiting.values().copied()
    }
}

impl Group {
    /// Whether it was passed too often to be passed again.
    fn is_overdue(&self) -> bool {
        self.infeasible.is_none() && self.passes >= PlacementCore::PASSES_MAX
    }
}

/// What a group lacks.
fn wanted(group: &Group) -> Wanted<'_> {
    let lacking = group.bundles.iter().enumerate().filter(|(_, bundle)| bundle.place.is_none());
    let bundles = lacking.map(|(index, bundle)| (index, &bundle.demand)).collect();
    let placed: Vec<NodeId> = group.bundles.iter().filter_map(|bundle| Some(bundle.place.as_ref()?.node)).collect();
    Wanted { strategy: group.strategy, bundles, placed }
}
