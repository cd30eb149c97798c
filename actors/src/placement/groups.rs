//! Placement groups: bundles of resources, reserved together.
//!
//! Owns: a group's life (made, placed, leased from, removed), and bundles lost with a node. Does not own: where bundles go
//! (`plan`) or in which order groups are tried (`queue`).
//!
//! ```text
//!  create ──► waiting ──► placed ──► removing ──► gone
//!                ▲           │ a node leaves        ▲
//!                └───────────┘    (forced, or nothing leased: at once)
//! ```
//!
//! Invariants: a group that was never placed holds nothing; a placed group holds all its bundles; only a node that left
//! makes it hold some. Bundles that survive a lost node stay where they are and may be leased from meanwhile.

use std::fmt;

use actinic_gcs::{NodeId, PlacementGroupId, ResourceSet};
use serde::{Deserialize, Serialize};

use super::{
    core::{Lease, Origin, PlacementCore},
    explain::{GroupError, GroupInfeasible, Refusal},
    node::{Allocation, NodeResources},
};

/// How the bundles of a group lie to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PlacementStrategy {
    /// On as few nodes as may be.
    #[default]
    Pack,
    /// On as many nodes as may be.
    Spread,
    /// All on one node, or not at all.
    StrictPack,
    /// Each on a node of its own, or not at all.
    StrictSpread,
}

impl fmt::Display for PlacementStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pack => "PACK",
            Self::Spread => "SPREAD",
            Self::StrictPack => "STRICT_PACK",
            Self::StrictSpread => "STRICT_SPREAD",
        })
    }
}

/// A placement group to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRequest {
    /// Its id.
    pub id: PlacementGroupId,
    /// What each bundle holds.
    pub bundles: Vec<ResourceSet>,
    /// How the bundles lie to each other.
    pub strategy: PlacementStrategy,
    /// Whether to wait for nodes to join, if the present ones can never hold it, rather than to fail.
    pub wait_for_nodes: bool,
}

impl GroupRequest {
    /// Whether the request makes sense.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), GroupError> {
        let (asked, max) = (self.bundles.len(), PlacementCore::BUNDLES_MAX);
        if asked == 0 {
            return Err(GroupError::NoBundles);
        }
        if asked > max {
            return Err(GroupError::TooManyBundles { asked, max });
        }
        match self.bundles.iter().position(ResourceSet::is_empty) {
            Some(index) => Err(GroupError::EmptyBundle(index as u32)),
            None => Ok(()),
        }
    }
}

/// What became of groups. The shell tells whoever waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlacementEffect {
    /// Every bundle is reserved, for the first time or again.
    Placed {
        /// The group.
        group: PlacementGroupId,
        /// The node of each bundle.
        nodes: Vec<NodeId>,
    },
    /// A node left with these bundles, which wait to be placed again. What ran in them is gone.
    BundlesLost {
        /// The group.
        group: PlacementGroupId,
        /// Their indices.
        bundles: Vec<u32>,
    },
    /// The group is gone, and all its resources are given back.
    Removed {
        /// The group.
        group: PlacementGroupId,
    },
}

/// A bundle's place.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) epoch: u64,
    pub(super) reserved: Allocation,
    pub(super) pool: NodeResources,
    pub(super) leases: u32,
}

#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) demand: ResourceSet,
    pub(super) place: Option<Place>,
}

#[derive(Debug)]
pub(super) struct Group {
    /// Its place in the queue; older is smaller.
    pub(super) age: u64,
    pub(super) strategy: PlacementStrategy,
    pub(super) bundles: Vec<Bundle>,
    /// How many later groups were placed while it waited.
    pub(super) passes: u32,
    /// Why the present nodes can never hold it, while it waits.
    pub(super) infeasible: Option<GroupInfeasible>,
    pub(super) removing: bool,
}

impl Group {
    pub(super) fn is_placed(&self) -> bool {
        self.bundles.iter().all(|bundle| bundle.place.is_some())
    }

    pub(super) fn leases(&self) -> u32 {
        self.bundles.iter().filter_map(|bundle| bundle.place.as_ref()).map(|place| place.leases).sum()
    }
}

impl PlacementCore {
    /// The most bundles a group may have.
    pub const BUNDLES_MAX: usize = 1_024;

    /// Makes a group, and places it at once if it can be without passing a group that has waited too long. Otherwise it
    /// waits; [`explain`](Self::explain) says what for. Says whether it was placed.
    ///
    /// # Errors
    /// If the request makes no sense, or the present nodes can never hold it and `wait_for_nodes` is not set. The second
    /// is judged by the planner on empty nodes.
    pub fn create(&mut self, request: GroupRequest, effects: &mut Vec<PlacementEffect>) -> Result<bool, GroupError> {
        request.check()?;
        let GroupRequest { id, bundles, strategy, wait_for_nodes } = request;
        if self.groups.contains_key(&id) {
            return Err(GroupError::AlreadyExists(id));
        }
        let infeasible = self.judge(strategy, &bundles.iter().collect::<Vec<_>>()).err();
        if let Some(reason) = infeasible.as_ref().filter(|_| !wait_for_nodes) {
            return Err(GroupError::Infeasible(reason.clone()));
        }
        self.retry(effects);
        let age = self.next_epoch();
        let bundles = bundles.into_iter().map(|demand| Bundle { demand, place: None }).collect();
        let group = Group { age, strategy, bundles, passes: 0, infeasible, removing: false };
        self.groups.insert(id, group);
        self.waiting.insert(age, id);
        Ok(self.try_newest(id, effects))
    }

    /// Takes `demand` out of a bundle of a group, or, with `None`, out of the first that has room.
    ///
    /// # Errors
    /// If there is no such group or bundle, it is not placed or being removed, or it has not so much free.
    pub fn allocate_in_group(
        &mut self,
        id: PlacementGroupId,
        bundle: Option<u32>,
        demand: &ResourceSet,
    ) -> Result<Lease, Refusal> {
        let group = self.groups.get_mut(&id).ok_or(Refusal::UnknownGroup(id))?;
        if group.removing {
            return Err(Refusal::Removing(id));
        }
        let bundles = group.bundles.len() as u32;
        let range = match bundle {
            Some(bundle) if bundle >= bundles => return Err(Refusal::UnknownBundle { group: id, bundle, bundles }),
            Some(bundle) => bundle as usize..bundle as usize + 1,
            None => 0..bundles as usize,
        };
        let mut refusal = None;
        for (index, bundle) in group.bundles.iter_mut().enumerate().take(range.end).skip(range.start) {
            let Some(place) = &mut bundle.place else {
                refusal = Some(Refusal::NotPlaced(id));
                continue;
            };
            match place.pool.try_allocate(demand) {
                Ok(allocation) => {
                    place.leases += 1;
                    let origin = Origin::Bundle { group: id, bundle: index as u32, epoch: place.epoch };
                    return Ok(Lease { node: place.node, origin, allocation });
                }
                // What may come to fit says more than what never will.
                Err(Refusal::Infeasible(_)) if refusal.is_some() => {}
                Err(reason) => refusal = Some(reason),
            }
        }
        Err(refusal.unwrap_or(Refusal::NotPlaced(id)))
    }

    /// Removes a group. Tasks that still hold a part of it are waited for, bundle by bundle; with `force` they are not:
    /// their leases give nothing back then, and the shell has to end them. Says whether there was such a group.
    pub fn remove_group(&mut self, id: PlacementGroupId, force: bool, effects: &mut Vec<PlacementEffect>) -> bool {
        let Some(group) = self.groups.get_mut(&id) else {
            return false;
        };
        group.removing = true;
        self.waiting.remove(&group.age);
        for bundle in &mut group.bundles {
            if let Some(place) = bundle.place.take_if(|place| force || place.leases == 0) {
                let node = self.nodes.get_mut(&place.node).expect("invariant: a bundle's node is present");
                node.resources.release(place.reserved);
                self.retry_due = true;
            }
        }
        self.bury_if_idle(id, effects);
        true
    }

    /// The node of each bundle, `None` for those that wait.
    #[must_use]
    pub fn group_nodes(&self, id: PlacementGroupId) -> Option<Vec<Option<NodeId>>> {
        let group = self.groups.get(&id)?;
        Some(group.bundles.iter().map(|bundle| bundle.place.as_ref().map(|place| place.node)).collect())
    }

    pub(super) fn release_in_group(
        &mut self,
        id: PlacementGroupId,
        index: u32,
        epoch: u64,
        allocation: Allocation,
        effects: &mut Vec<PlacementEffect>,
    ) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let Some(bundle) = group.bundles.get_mut(index as usize) else {
            return;
        };
        let Some(place) = bundle.place.as_mut().filter(|place| place.epoch == epoch) else {
            return;
        };
        place.pool.release(allocation);
        place.leases -= 1;
        if let Some(place) = bundle.place.take_if(|place| group.removing && place.leases == 0) {
            let node = self.nodes.get_mut(&place.node).expect("invariant: a bundle's node is present");
            node.resources.release(place.reserved);
            self.retry_due = true;
            self.bury_if_idle(id, effects);
        }
    }

    /// The bundles on a node that has left are to be placed again.
    pub(super) fn lose_bundles(&mut self, node: NodeId, effects: &mut Vec<PlacementEffect>) {
        let mut idle = Vec::new();
        for (id, group) in &mut self.groups {
            let mut lost = Vec::new();
            for (index, bundle) in group.bundles.iter_mut().enumerate() {
                if bundle.place.take_if(|place| place.node == node).is_some() {
                    lost.push(index as u32);
                }
            }
            if group.removing {
                idle.push(*id);
            } else if !lost.is_empty() {
                self.waiting.insert(group.age, *id);
                effects.push(PlacementEffect::BundlesLost { group: *id, bundles: lost });
            }
        }
        idle.into_iter().for_each(|id| self.bury_if_idle(id, effects));
    }

    fn bury_if_idle(&mut self, id: PlacementGroupId, effects: &mut Vec<PlacementEffect>) {
        let idle = |group: &Group| group.removing && group.bundles.iter().all(|bundle| bundle.place.is_none());
        if self.groups.get(&id).is_some_and(idle) {
            self.groups.remove(&id);
            effects.push(PlacementEffect::Removed { group: id });
        }
    }

    pub(super) fn sanity_check_groups(&self) {
        for (id, group) in &self.groups {
            let waits = self.waiting.get(&group.age) == Some(id);
            assert_eq!(waits, !group.removing && !group.is_placed(), "who is not placed waits, and nobody else");
            for (bundle, place) in group.bundles.iter().filter_map(|bundle| Some((bundle, bundle.place.as_ref()?))) {
                assert!(self.nodes.contains_key(&place.node), "a bundle lies on a present node");
                assert_eq!(&bundle.demand, place.pool.total());
                let idle = place.pool.free() == place.pool.total();
                assert!(idle || place.leases > 0, "what is taken of a bundle is leased");
                place.pool.sanity_check();
            }
            let nodes: Vec<_> = group.bundles.iter().filter_map(|bundle| Some(bundle.place.as_ref()?.node)).collect();
            let mut distinct = nodes.clone();
            distinct.sort_unstable();
            distinct.dedup();
            match group.strategy {
                PlacementStrategy::StrictPack => assert!(distinct.len() <= 1),
                PlacementStrategy::StrictSpread => assert_eq!(distinct.len(), nodes.len()),
                PlacementStrategy::Pack | PlacementStrategy::Spread => {}
            }
        }
        assert!(self.waiting.values().all(|id| self.groups.contains_key(id)));
        for (id, node) in &self.nodes {
            let mut held = node.resources.free().clone();
            let places =
                self.groups.values().flat_map(|group| &group.bundles).filter_map(|bundle| bundle.place.as_ref());
            places.filter(|place| place.node == *id).for_each(|place| held.add(place.reserved.demand()));
            assert!(node.resources.total().covers(&held), "free and reserved are within the total");
        }
    }
}
