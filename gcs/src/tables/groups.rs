//! Placement groups.
//!
//! Owns: whether a group's bundles have nodes. Does not own the reservation on those nodes, which is made before
//! [`GroupWrite::Place`] is written. Invariants: a placement fits its strategy; a removed group keeps its row until it is
//! forgotten, so that who waits for it hears of its end.

use serde::{Deserialize, Serialize};

use super::{keys, limits, Applied, Bound, Page, PageRequest, Reply, Table, TableError, Txn};
use crate::{
    record,
    spec::{PlacementGroupInfo, PlacementGroupSpec, PlacementGroupState},
    store::Column,
    Millis, NodeId, PlacementGroupId,
};

/// A change of a placement group. All but [`GroupWrite::Delete`] give [`Reply::Done`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GroupWrite {
    /// A group is asked for; the same one again is nothing.
    Create(Box<PlacementGroupSpec>),
    /// Every bundle is reserved.
    Place {
        /// The group.
        group: PlacementGroupId,
        /// The node of each bundle.
        nodes: Vec<NodeId>,
    },
    /// A node is lost, and the bundles on it; nothing if it holds none.
    LoseNode {
        /// The group.
        group: PlacementGroupId,
        /// The node.
        node: NodeId,
    },
    /// The group is gone.
    Remove(PlacementGroupId),
    /// Forgets a removed group. Gives [`Reply::Deleted`], false if it is not there or not removed.
    Delete(PlacementGroupId),
}

/// A question about placement groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GroupRead {
    /// One group: [`Reply::PlacementGroup`].
    Get(PlacementGroupId),
    /// All groups: [`Reply::PlacementGroups`].
    List(PageRequest),
}

impl GroupWrite {
    pub(super) fn apply(&self, now: Millis, txn: &mut Txn<'_>) -> Applied {
        match self {
            Self::Create(spec) => create(now, spec, txn),
            Self::Place { group, nodes } => change(now, *group, txn, |info| {
                let fits = nodes.len() == info.spec.bundles.len() && info.spec.strategy.admits(nodes);
                if !fits {
                    return Err(TableError::PlacementRefused(*group));
                }
                info.nodes = nodes.iter().copied().map(Some).collect();
                Ok(Some(PlacementGroupState::Created))
            }),
            Self::LoseNode { group, node } => change(now, *group, txn, |info| {
                let mut lost = false;
                for place in info.nodes.iter_mut().filter(|place| **place == Some(*node)) {
                    *place = None;
                    lost = true;
                }
                Ok(lost.then_some(PlacementGroupState::Rescheduling))
            }),
            Self::Remove(group) => change(now, *group, txn, |info| {
                info.nodes.fill(None);
                Ok(Some(PlacementGroupState::Removed))
            }),
            Self::Delete(group) => {
                let key = keys::wide(group.0);
                let info: Option<PlacementGroupInfo> = txn.record(Column::PlacementGroups, &key)?;
                let removed = info.is_some_and(|info| info.state == PlacementGroupState::Removed);
                if removed {
                    txn.delete_row(Table::PlacementGroups, key);
                }
                Ok(Reply::Deleted(removed))
            }
        }
    }
}

fn create(now: Millis, spec: &PlacementGroupSpec, txn: &mut Txn<'_>) -> Applied {
    Bound::Bundles.check(spec.bundles.len(), limits::BUNDLES_MAX)?;
    let key = keys::wide(spec.id.0);
    if let Some(known) = txn.record::<PlacementGroupInfo>(Column::PlacementGroups, &key)? {
        if known.spec != *spec {
            return Err(TableError::GroupExists(spec.id).into());
        }
        return Ok(Reply::Done);
    }
    let info = PlacementGroupInfo {
        spec: spec.clone(),
        state: PlacementGroupState::Pending,
        nodes: vec![None; spec.bundles.len()],
        since: now,
    };
    txn.put_row(Table::PlacementGroups, key, &info)?;
    Ok(Reply::Done)
}

/// Changes a group with `edit`, which gives the state that the group goes to, or none if it changed nothing.
fn change(
    now: Millis,
    group: PlacementGroupId,
    txn: &mut Txn<'_>,
    edit: impl FnOnce(&mut PlacementGroupInfo) -> Result<Option<PlacementGroupState>, TableError>,
) -> Applied {
    let key = keys::wide(group.0);
    let mut info: PlacementGroupInfo =
        txn.record(Column::PlacementGroups, &key)?.ok_or(TableError::GroupUnknown(group))?;
    let from = info.state;
    let Some(to) = edit(&mut info)? else { return Ok(Reply::Done) };
    if !from.may_become(to) {
        return Err(TableError::IllegalGroupTransition { group, from, to }.into());
    }
    (info.state, info.since) = (to, now);
    txn.put_row(Table::PlacementGroups, key, &info)?;
    Ok(Reply::Done)
}

impl GroupRead {
    pub(super) fn answer(&self, txn: &Txn<'_>) -> Applied {
        match self {
            Self::Get(group) => Ok(Reply::PlacementGroup(txn.record(Column::PlacementGroups, &keys::wide(group.0))?)),
            Self::List(page) => {
                let (rows, next) = txn.page(Column::PlacementGroups, b"", page)?;
                let items = rows.iter().map(|(_, value)| record::decode(value)).collect::<Result<_, _>>()?;
                Ok(Reply::PlacementGroups(Page { items, next }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        spec::PlacementStrategy,
        testing::{group, Bench},
    };

    const GROUP: PlacementGroupId = PlacementGroupId(1);

    fn place(nodes: [u128; 2]) -> GroupWrite {
        GroupWrite::Place { group: GROUP, nodes: nodes.map(NodeId).to_vec() }
    }

    fn created(strategy: PlacementStrategy) -> Bench {
        let mut bench = Bench::new();
        bench.apply(GroupWrite::Create(Box::new(group(1, strategy)))).unwrap();
        bench
    }

    fn state(bench: &Bench) -> (PlacementGroupState, Vec<Option<NodeId>>) {
        let Ok(Reply::PlacementGroup(Some(info))) = bench.read(GroupRead::Get(GROUP)) else { panic!("no group") };
        (info.state, info.nodes)
    }

    #[test]
    fn a_group_is_placed_loses_a_node_and_is_placed_again() {
        let mut bench = created(PlacementStrategy::Pack);
        bench.apply(place([1, 2])).unwrap();
        bench.apply(GroupWrite::LoseNode { group: GROUP, node: NodeId(1) }).unwrap();
        assert_eq!(state(&bench), (PlacementGroupState::Rescheduling, vec![None, Some(NodeId(2))]));
        bench.apply(place([3, 2])).unwrap();
        assert_eq!(state(&bench), (PlacementGroupState::Created, vec![Some(NodeId(3)), Some(NodeId(2))]));
    }

    #[test]
    fn a_placement_must_fit_its_strategy() {
        let refusal = Err(TableError::PlacementRefused(GROUP));
        assert_eq!(created(PlacementStrategy::StrictPack).apply(place([1, 2])), refusal);
        assert_eq!(created(PlacementStrategy::StrictSpread).apply(place([1, 1])), refusal);
        let short = GroupWrite::Place { group: GROUP, nodes: vec![NodeId(1)] };
        assert_eq!(created(PlacementStrategy::Pack).apply(short), refusal);
    }

    #[test]
    fn a_removed_group_cannot_be_placed_and_can_be_forgotten() {
        let mut bench = created(PlacementStrategy::Pack);
        assert_eq!(bench.apply(GroupWrite::Delete(GROUP)), Ok(Reply::Deleted(false)));
        bench.apply(GroupWrite::Remove(GROUP)).unwrap();
        assert!(matches!(bench.apply(place([1, 2])), Err(TableError::IllegalGroupTransition { .. })));
        assert_eq!(bench.apply(GroupWrite::Delete(GROUP)), Ok(Reply::Deleted(true)));
        assert_eq!(bench.apply(GroupWrite::Remove(GROUP)), Err(TableError::GroupUnknown(GROUP)));
    }

    #[test]
    fn losing_a_node_that_holds_no_bundle_changes_nothing() {
        let mut bench = created(PlacementStrategy::Pack);
        bench.apply(place([1, 2])).unwrap();
        let before = bench.changes.len();
        bench.apply(GroupWrite::LoseNode { group: GROUP, node: NodeId(9) }).unwrap();
        assert_eq!(bench.changes.len(), before);
    }
}
