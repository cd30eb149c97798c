//! Placement groups on one node: the bundles that it reserves, and demands on their way to the nodes of theirs.
//!
//! Owns: this node's bundles, each a group of its own to the placement core, and where the groups of the cluster are.
//! Invariants: what was prepared and is not committed within [`PREPARED_MS_MAX`] is given back; a bundle that is released gives
//! its resources back once nothing runs in it; a demand for a group is granted out of its bundles only.

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::{Millis, NodeId, PlacementGroupId, ResourceSet};

use super::{Key, LocalCore, LocalEffect, Wanted, REFRESH_MS};
use crate::{
    cluster::{
        groups::{GroupFrame, Site},
        wire::Spilled,
    },
    options::SchedulingStrategy,
    placement::{GroupRequest, Lease, PlacementStrategy},
};

/// How long bundles are kept that were taken and not committed.
pub(super) const PREPARED_MS_MAX: u64 = 10_000;
/// What is said of whatever was in a group that is gone.
pub(super) const REMOVED: &str = "its placement group was removed";
/// Groups that were removed and are remembered as such.
const GONE_MAX: usize = 4_096;

/// A bundle of this node.
pub(super) struct Bundle {
    /// What the placement core calls it.
    place: PlacementGroupId,
    /// Whose global scheduler has asked for it.
    home: NodeId,
    committed: bool,
    since: Millis,
}

/// What is known of groups.
#[derive(Default)]
pub(super) struct Groups {
    bundles: BTreeMap<(PlacementGroupId, u32), Bundle>,
    sites: BTreeMap<PlacementGroupId, Site>,
    gone: BTreeSet<PlacementGroupId>,
    /// Leases of groups that are gone, and when their workers are ended.
    pub(super) doomed: BTreeMap<u64, Option<Millis>>,
}

/// The group that a demand is for, and which bundle of it.
pub(super) fn group_of(wanted: &Wanted) -> Option<(PlacementGroupId, Option<u32>)> {
    match wanted.spec.strategy {
        SchedulingStrategy::PlacementGroup { group, bundle } => Some((group, bundle)),
        _ => None,
    }
}

impl LocalCore {
    /// A node says something about a group.
    pub fn on_group(&mut self, now: Millis, from: NodeId, frame: GroupFrame, effects: &mut Vec<LocalEffect>) {
        match frame {
            GroupFrame::Prepare { group, round, bundles } => {
                let taken = self.prepare(now, from, group, &bundles);
                effects.push(LocalEffect::Group(from, GroupFrame::Prepared { group, round, taken }));
            }
            GroupFrame::Commit(group) => {
                let ours =
                    self.groups.bundles.iter_mut().filter(|((of, _), bundle)| *of == group && bundle.home == from);
                ours.for_each(|(_, bundle)| bundle.committed = true);
            }
            GroupFrame::Release(group, bundles) => {
                bundles.into_iter().for_each(|index| self.release_bundle((group, index)))
            }
            GroupFrame::Where(site) => drop(self.groups.sites.insert(site.group, site)),
            GroupFrame::Gone(group) => self.group_gone(group, effects),
            GroupFrame::Prepared { .. } => {}
        }
    }

    /// Takes all of these bundles, or none.
    fn prepare(&mut self, now: Millis, home: NodeId, group: PlacementGroupId, bundles: &[(u32, ResourceSet)]) -> bool {
        let mut taken = Vec::new();
        for (index, demand) in bundles {
            let key = (group, *index);
            // Whatever was taken for an attempt before was in vain.
            self.release_bundle(key);
            let place = PlacementGroupId(u128::from(self.number()));
            let (bundles, strategy) = (vec![demand.clone()], PlacementStrategy::Pack);
            let request = GroupRequest { id: place, bundles, strategy, wait_for_nodes: false };
            let made = self.placement.create(request, &mut Vec::new());
            if !matches!(made, Ok(true)) {
                self.placement.remove_group(place, true, &mut Vec::new());
                taken.into_iter().for_each(|key| self.release_bundle(key));
                return false;
            }
            self.groups.bundles.insert(key, Bundle { place, home, committed: false, since: now });
            taken.push(key);
        }
        true
    }

    fn release_bundle(&mut self, key: (PlacementGroupId, u32)) {
        if let Some(bundle) = self.groups.bundles.remove(&key) {
            self.placement.remove_group(bundle.place, false, &mut Vec::new());
        }
    }

    /// There is no such group any more: who waits for it hears so, and what runs in it is to end.
    fn group_gone(&mut self, group: PlacementGroupId, effects: &mut Vec<LocalEffect>) {
        self.groups.sites.remove(&group);
        self.groups.gone.insert(group);
        if self.groups.gone.len() > GONE_MAX {
            self.groups.gone.pop_first();
        }
        self.doom(group, effects);
        let of_it = self.wanted.iter().filter(|(_, wanted)| group_of(wanted).is_some_and(|(of, _)| of == group));
        for key in of_it.map(|(key, _)| *key).collect::<Vec<Key>>() {
            if let Some(wanted) = self.wanted.change(&key) {
                wanted.want = wanted.held;
                if !key.placed {
                    let why = REMOVED.to_owned();
                    effects.push(LocalEffect::Infeasible(key.owner, key.class, why));
                }
            }
        }
    }

    /// A node is gone: so are the groups that it has placed.
    pub(super) fn groups_lose_node(&mut self, node: NodeId, effects: &mut Vec<LocalEffect>) {
        let ours = self.groups.bundles.iter().filter(|(_, bundle)| bundle.home == node);
        let lost: Vec<_> = ours.map(|(key, _)| *key).collect();
        lost.into_iter().for_each(|key| self.release_bundle(key));
        let of_node = self.groups.sites.values().filter(|site| site.home == node);
        let gone: Vec<_> = of_node.map(|site| site.group).collect();
        gone.into_iter().for_each(|group| self.group_gone(group, effects));
    }

    /// Gives back what was prepared in vain.
    pub(super) fn forget_uncommitted(&mut self, now: Millis) {
        let late = |bundle: &Bundle| !bundle.committed && now.0 >= bundle.since.0 + PREPARED_MS_MAX;
        let late: Vec<_> = self.groups.bundles.iter().filter(|(_, bundle)| late(bundle)).map(|(key, _)| *key).collect();
        late.into_iter().for_each(|key| self.release_bundle(key));
    }

    /// Takes a demand out of a bundle of this node; gives what the placement core calls that bundle, too.
    pub(super) fn allocate_in_bundle(
        &mut self,
        (group, bundle): (PlacementGroupId, Option<u32>),
        demand: &ResourceSet,
    ) -> Option<(PlacementGroupId, Lease)> {
        let of_group = self.groups.bundles.range((group, 0)..=(group, u32::MAX));
        let fits = of_group.filter(|((_, index), held)| held.committed && bundle.is_none_or(|bundle| bundle == *index));
        let places: Vec<PlacementGroupId> = fits.map(|(_, held)| held.place).collect();
        let mut taken = places.into_iter().map(|place| {
            let lease = self.placement.allocate_in_group(place, Some(0), demand);
            lease.map(|lease| (place, lease))
        });
        taken.find_map(Result::ok)
    }

    /// Tells the nodes of a group's bundles what is wanted in them.
    pub(super) fn place_in_groups(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        let of_groups: Vec<Key> = self
            .wanted
            .active()
            .filter(|(key, wanted)| !key.placed && group_of(wanted).is_some())
            .map(|(key, _)| *key)
            .collect();
        for key in of_groups {
            let Some(wanted) = self.wanted.get(&key) else { continue };
            let shares = match self.shares(wanted) {
                Ok(shares) => shares,
                Err(why) => {
                    effects.push(LocalEffect::Infeasible(key.owner, key.class, why));
                    self.wanted.remove(&key);
                    continue;
                }
            };
            let stale = !wanted.shares.is_empty() && now.0 >= wanted.told_at.0 + REFRESH_MS;
            if shares == wanted.shares && !stale {
                continue;
            }
            self.revision += 1;
            let revision = self.revision;
            let Some(wanted) = self.wanted.change(&key) else { continue };
            let before = std::mem::replace(&mut wanted.shares, shares.clone());
            wanted.told_at = now;
            let nodes: BTreeSet<NodeId> = before.into_keys().chain(shares.keys().copied()).collect();
            let told: Vec<(NodeId, Spilled)> = nodes
                .into_iter()
                .map(|node| (node, wanted.share_of(key, shares.get(&node).copied(), revision)))
                .collect();
            for (node, spilled) in told {
                if node == self.node {
                    self.on_place(now, spilled);
                } else {
                    effects.push(LocalEffect::Place(node, Box::new(spilled)));
                }
            }
        }
    }

    /// How many leases each node of a group is to grant.
    ///
    /// # Errors
    /// Why there can be none.
    fn shares(&self, wanted: &Wanted) -> Result<BTreeMap<NodeId, u32>, String> {
        let Some((group, bundle)) = group_of(wanted).filter(|_| wanted.want > 0) else { return Ok(BTreeMap::new()) };
        if self.groups.gone.contains(&group) {
            return Err(REMOVED.to_owned());
        }
        // One that is not placed yet is told later.
        let Some(site) = self.groups.sites.get(&group) else { return Ok(BTreeMap::new()) };
        let wide = |demand: &ResourceSet| demand.covers(&wanted.spec.demand);
        let candidates: Vec<&(ResourceSet, Option<NodeId>)> = match bundle {
            None => site.bundles.iter().filter(|(demand, _)| wide(demand)).collect(),
            Some(index) => match site.bundles.get(index as usize) {
                None => {
                    return Err(format!(
                        "its placement group has {} bundles and none of index {index}",
                        site.bundles.len()
                    ))
                }
                Some(bundle) => [bundle].into_iter().filter(|(demand, _)| wide(demand)).collect(),
            },
        };
        if candidates.is_empty() {
            return Err("no bundle that it may run in is large enough".to_owned());
        }
        let nodes: BTreeSet<NodeId> = candidates.iter().filter_map(|(_, node)| *node).collect();
        let each = wanted.want.div_ceil(nodes.len().max(1) as u32);
        Ok(nodes.into_iter().map(|node| (node, each)).collect())
    }
}

impl Wanted {
    fn share_of(&self, key: Key, share: Option<u32>, revision: u64) -> Spilled {
        let want = share.unwrap_or(0);
        let (code, spec, work) = (self.code.clone(), self.spec.clone(), self.work.share(want, self.want));
        Spilled { owner: key.owner, code, class: key.class, spec, want, work, revision }
    }
}
