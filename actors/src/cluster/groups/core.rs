//! Decides where the bundles of placement groups go, in two phases.
//!
//! Owns: the groups that were asked for on this node, and where their bundles are. Plans with the embedded scheduler's planner
//! ([`plan_bundles`]) from what nodes last said is free, which may be wrong by now; so each node is asked, and one no undoes
//! the attempt. Invariants: a bundle is on at most one node; bundles of an attempt that failed are released everywhere; at most
//! [`GROUPS_MAX`] groups.

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::{JobId, Millis, NodeId, PlacementGroupId, ResourceSet};

use super::{Asker, GroupFrame, GroupNews, Site};
use crate::{
    cluster::wire::ProcessId,
    placement::{plan_bundles, GroupRequest, NodeResources, PlacementStrategy},
};

/// Groups that one node places.
pub const GROUPS_MAX: usize = 4_096;
/// How long nodes may take to answer.
pub const ANSWER_MS_MAX: u64 = 2_000;
/// Between an attempt that failed and the next.
pub const RETRY_MS: u64 = 50;

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum GroupEffect {
    /// Tell a node, which may be this one.
    Send(NodeId, GroupFrame),
    /// Tell all nodes, this one too.
    Broadcast(GroupFrame),
    /// Enter into the control store that the group is gone, since whoever asked for it cannot.
    Record(PlacementGroupId),
    /// Tell the process that asked.
    Tell(ProcessId, PlacementGroupId, GroupNews),
}

/// An attempt under way.
struct Attempt {
    round: u64,
    at: BTreeMap<usize, NodeId>,
    unanswered: BTreeSet<NodeId>,
    until: Millis,
}

struct Group {
    asker: Asker,
    strategy: PlacementStrategy,
    bundles: Vec<ResourceSet>,
    at: Vec<Option<NodeId>>,
    attempt: Option<Attempt>,
    /// Not before.
    next: Millis,
    age: u64,
}

impl Group {
    fn is_placed(&self) -> bool {
        self.at.iter().all(Option::is_some)
    }
}

/// The state.
pub struct GroupCore {
    node: NodeId,
    groups: BTreeMap<PlacementGroupId, Group>,
    round: u64,
}

impl GroupCore {
    /// Of this node.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self { node, groups: BTreeMap::new(), round: 0 }
    }

    // --- events ----------------------------------------------------------------------------------------------------

    /// A group is wanted. Call [`GroupCore::pass`] after a batch of events.
    pub fn on_create(&mut self, asker: Asker, request: GroupRequest, effects: &mut Vec<GroupEffect>) {
        let refusal = match request.check() {
            Err(error) => Some(error.to_string()),
            Ok(()) if self.groups.len() >= GROUPS_MAX => {
                Some(format!("this node places {GROUPS_MAX} groups already; remove some"))
            }
            Ok(()) if self.groups.contains_key(&request.id) => Some("there is such a group already".to_owned()),
            Ok(()) => None,
        };
        if let Some(why) = refusal {
            return effects.push(GroupEffect::Tell(asker.process, request.id, GroupNews::Refused(why)));
        }
        self.round += 1;
        let GroupRequest { id, bundles, strategy, .. } = request;
        let at = vec![None; bundles.len()];
        let group = Group { asker, strategy, bundles, at, attempt: None, next: Millis(0), age: self.round };
        self.groups.insert(id, group);
    }

    /// A group is wanted no more.
    pub fn on_remove(&mut self, id: PlacementGroupId, effects: &mut Vec<GroupEffect>) {
        let Some(mut group) = self.groups.remove(&id) else { return };
        abort(id, &mut group, effects);
        let placed = group.at.iter().enumerate().filter_map(|(index, node)| Some((index, (*node)?)));
        release(id, placed, effects);
        effects.push(GroupEffect::Broadcast(GroupFrame::Gone(id)));
    }

    /// A job has ended, and its groups with it.
    pub fn on_job_gone(&mut self, job: JobId, effects: &mut Vec<GroupEffect>) {
        let gone: Vec<_> = self.groups.iter().filter(|(_, group)| group.asker.job == job).map(|(id, _)| *id).collect();
        for id in gone {
            self.on_remove(id, effects);
            effects.push(GroupEffect::Record(id));
        }
    }

    /// Another node is there: it learns where groups are.
    pub fn on_node(&mut self, node: NodeId, effects: &mut Vec<GroupEffect>) {
        let sites = self.groups.iter().map(|(id, group)| GroupFrame::Where(self.site(*id, group)));
        effects.extend(sites.map(|site| GroupEffect::Send(node, site)));
    }

    /// A node is gone, with the bundles that were there.
    pub fn on_node_gone(&mut self, now: Millis, node: NodeId, effects: &mut Vec<GroupEffect>) {
        let mut changed = Vec::new();
        for (id, group) in &mut self.groups {
            if group.attempt.as_ref().is_some_and(|attempt| attempt.at.values().any(|at| *at == node)) {
                abort(*id, group, effects);
                group.next = Millis(now.0 + RETRY_MS);
            }
            let lost = group.at.iter_mut().filter(|at| **at == Some(node)).map(|at| *at = None).count();
            if lost > 0 {
                effects.push(GroupEffect::Tell(group.asker.process, *id, GroupNews::Lost(node)));
                changed.push(*id);
            }
        }
        changed.into_iter().for_each(|id| self.tell_where(id, effects));
    }

    /// A node has answered.
    pub fn on_prepared(
        &mut self,
        now: Millis,
        node: NodeId,
        (id, round): (PlacementGroupId, u64),
        taken: bool,
        effects: &mut Vec<GroupEffect>,
    ) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let Some(attempt) = group.attempt.as_mut().filter(|attempt| attempt.round == round) else { return };
        if !taken {
            abort(id, group, effects);
            group.next = Millis(now.0 + RETRY_MS);
            return;
        }
        attempt.unanswered.remove(&node);
        if !attempt.unanswered.is_empty() {
            return;
        }
        let Some(attempt) = group.attempt.take() else { return };
        let nodes: BTreeSet<NodeId> = attempt.at.values().copied().collect();
        effects.extend(nodes.into_iter().map(|node| GroupEffect::Send(node, GroupFrame::Commit(id))));
        attempt.at.into_iter().for_each(|(index, node)| group.at[index] = Some(node));
        let nodes = group.at.iter().copied().flatten().collect();
        effects.push(GroupEffect::Tell(group.asker.process, id, GroupNews::Placed(nodes)));
        self.tell_where(id, effects);
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    /// Tries the groups that lack bundles, the oldest first, with what nodes say is free.
    pub fn pass(
        &mut self,
        now: Millis,
        free: impl FnOnce() -> BTreeMap<NodeId, ResourceSet>,
        effects: &mut Vec<GroupEffect>,
    ) {
        for (id, group) in &mut self.groups {
            if group.attempt.as_ref().is_some_and(|attempt| now >= attempt.until) {
                abort(*id, group, effects);
                group.next = Millis(now.0 + RETRY_MS);
            }
        }
        let due = |group: &Group| !group.is_placed() && group.attempt.is_none() && now >= group.next;
        let mut waiting: Vec<_> =
            self.groups.iter().filter(|(_, group)| due(group)).map(|(id, g)| (g.age, *id)).collect();
        if waiting.is_empty() {
            return;
        }
        waiting.sort_unstable();
        let mut nodes: BTreeMap<NodeId, NodeResources> =
            free().into_iter().map(|(node, free)| (node, NodeResources::new(free))).collect();
        for (_, id) in waiting {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            self.round += 1;
            group.next = Millis(now.0 + RETRY_MS);
            try_group(now, id, group, self.round, &mut nodes, effects);
        }
    }

    /// Whether something is to be tried, or to time out.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.groups.values().any(|group| !group.is_placed())
    }

    /// Groups that wait, for people.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        let unplaced = self.groups.iter().filter(|(_, group)| !group.is_placed());
        let text = |(id, group): (&PlacementGroupId, &Group)| {
            let missing = group.at.iter().filter(|at| at.is_none()).count();
            format!(
                "placement group {id} ({}): {missing} of {} bundles wait for room",
                group.strategy,
                group.bundles.len()
            )
        };
        unplaced.map(text).collect()
    }

    fn site(&self, id: PlacementGroupId, group: &Group) -> Site {
        Site {
            group: id,
            home: self.node,
            bundles: group.bundles.iter().cloned().zip(group.at.iter().copied()).collect(),
        }
    }

    fn tell_where(&self, id: PlacementGroupId, effects: &mut Vec<GroupEffect>) {
        if let Some(group) = self.groups.get(&id) {
            effects.push(GroupEffect::Broadcast(GroupFrame::Where(self.site(id, group))));
        }
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        for group in self.groups.values() {
            assert_eq!(group.at.len(), group.bundles.len());
            if let Some(attempt) = &group.attempt {
                assert!(attempt.at.keys().all(|index| group.at[*index].is_none()), "a bundle is on one node at most");
            }
        }
    }
}

/// The first phase: each node of the plan is asked for its bundles.
fn try_group(
    now: Millis,
    id: PlacementGroupId,
    group: &mut Group,
    round: u64,
    nodes: &mut BTreeMap<NodeId, NodeResources>,
    effects: &mut Vec<GroupEffect>,
) {
    let missing: Vec<(usize, &ResourceSet)> =
        group.bundles.iter().enumerate().filter(|(index, _)| group.at[*index].is_none()).collect();
    let placed: Vec<NodeId> = group.at.iter().copied().flatten().collect();
    let Some(plan) = plan_bundles(nodes, group.strategy, &missing, &placed) else { return };
    let at: BTreeMap<usize, NodeId> = plan.into_iter().collect();
    let unanswered: BTreeSet<NodeId> = at.values().copied().collect();
    for node in &unanswered {
        let here = at.iter().filter(|(_, at)| *at == node);
        let bundles = here.map(|(index, _)| (*index as u32, group.bundles[*index].clone())).collect();
        effects.push(GroupEffect::Send(*node, GroupFrame::Prepare { group: id, round, bundles }));
    }
    group.attempt = Some(Attempt { round, at, unanswered, until: Millis(now.0 + ANSWER_MS_MAX) });
}

/// The second phase, if one said no, was lost or did not answer.
fn abort(id: PlacementGroupId, group: &mut Group, effects: &mut Vec<GroupEffect>) {
    if let Some(attempt) = group.attempt.take() {
        release(id, attempt.at.into_iter(), effects);
    }
}

fn release(id: PlacementGroupId, bundles: impl Iterator<Item = (usize, NodeId)>, effects: &mut Vec<GroupEffect>) {
    let mut by_node: BTreeMap<NodeId, Vec<u32>> = BTreeMap::new();
    bundles.for_each(|(index, node)| by_node.entry(node).or_default().push(index as u32));
    effects
        .extend(by_node.into_iter().map(|(node, bundles)| GroupEffect::Send(node, GroupFrame::Release(id, bundles))));
}

#[cfg(test)]
mod tests;
