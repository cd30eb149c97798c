//! Nodes and their leases.
//!
//! Owns: joining, renewing and dying. Does not own the decision that a node is dead: a lease that ran out is reported
//! ([`crate::shard::Effect::LeaseExpired`]) and then written here. Invariants: a node is alive exactly while it has a
//! lease row; a dead node stays dead, so one that hears [`TableError::NodeDead`] of itself fences itself; renewing a lease
//! is no change that watchers hear of.

use serde::{Deserialize, Serialize};

use super::{keys, limits, Applied, Bound, Page, PageRequest, Reply, Table, TableError, Txn};
use crate::{
    record,
    spec::{NodeDeath, NodeInfo, NodeSpec, NodeState},
    store::Column,
    Millis, NodeId,
};

/// A change of the nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NodeWrite {
    /// A node joins. Gives [`Reply::Done`].
    Register {
        /// What it says of itself.
        node: Box<NodeSpec>,
        /// How long it may be silent, in milliseconds.
        lease_ms: u64,
    },
    /// A node is still there. Gives [`Reply::Done`], or [`TableError::NodeDead`] if it must fence itself.
    Heartbeat {
        /// The node.
        node: NodeId,
        /// How long it may be silent from now, in milliseconds.
        lease_ms: u64,
    },
    /// A node is gone for good. Gives [`Reply::Done`], also if it was dead before.
    MarkDead {
        /// The node.
        node: NodeId,
        /// Why.
        cause: NodeDeath,
        /// If given, only unless the lease was renewed beyond this time.
        lease_until: Option<Millis>,
    },
}

/// A question about nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NodeRead {
    /// One node: [`Reply::Node`].
    Get(NodeId),
    /// All nodes, dead ones included: [`Reply::Nodes`].
    List(PageRequest),
}

/// Until when a node may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The end of the lease.
    pub until: Millis,
}

record::records! { Lease = "lease" }

impl NodeWrite {
    pub(super) fn apply(&self, now: Millis, txn: &mut Txn<'_>) -> Applied {
        match self {
            Self::Register { node, lease_ms } => register(now, node, *lease_ms, txn),
            Self::Heartbeat { node, lease_ms } => {
                let info = known(*node, txn)?;
                if !info.is_alive() {
                    return Err(TableError::NodeDead(*node).into());
                }
                put_lease(now, *node, *lease_ms, txn)
            }
            Self::MarkDead { node, cause, lease_until } => mark_dead(now, *node, *cause, *lease_until, txn),
        }
    }
}

fn known(node: NodeId, txn: &Txn<'_>) -> Result<NodeInfo, super::ApplyError> {
    Ok(txn.record(Column::Nodes, &keys::wide(node.0))?.ok_or(TableError::NodeUnknown(node))?)
}

fn put_lease(now: Millis, node: NodeId, lease_ms: u64, txn: &mut Txn<'_>) -> Applied {
    if lease_ms > limits::LEASE_MS_MAX {
        return Err(TableError::TooLarge { what: Bound::LeaseMs, actual: lease_ms, max: limits::LEASE_MS_MAX }.into());
    }
    txn.put_record(Column::Leases, keys::wide(node.0), &Lease { until: now.after(lease_ms) })?;
    Ok(Reply::Done)
}

fn register(now: Millis, spec: &NodeSpec, lease_ms: u64, txn: &mut Txn<'_>) -> Applied {
    let key = keys::wide(spec.id.0);
    if let Some(known) = txn.record::<NodeInfo>(Column::Nodes, &key)? {
        let refusal = if known.is_alive() { TableError::NodeExists } else { TableError::NodeDead };
        return Err(refusal(spec.id).into());
    }
    let info = NodeInfo { spec: spec.clone(), registered_at: now, state: NodeState::Alive };
    txn.put_row(Table::Nodes, key, &info)?;
    put_lease(now, spec.id, lease_ms, txn)
}

fn mark_dead(now: Millis, node: NodeId, cause: NodeDeath, lease_until: Option<Millis>, txn: &mut Txn<'_>) -> Applied {
    let mut info = known(node, txn)?;
    if !info.is_alive() {
        return Ok(Reply::Done);
    }
    let key = keys::wide(node.0);
    let lease = txn.record::<Lease>(Column::Leases, &key)?;
    if let (Some(expected), Some(Lease { until })) = (lease_until, lease) {
        if until > expected {
            return Err(TableError::LeaseRenewed { node, until }.into());
        }
    }
    info.state = NodeState::Dead { at: now, cause };
    txn.delete(Column::Leases, key.clone());
    txn.put_row(Table::Nodes, key, &info)?;
    Ok(Reply::Done)
}

impl NodeRead {
    pub(super) fn answer(&self, txn: &Txn<'_>) -> Applied {
        match self {
            Self::Get(node) => Ok(Reply::Node(txn.record(Column::Nodes, &keys::wide(node.0))?)),
            Self::List(page) => {
                let (rows, next) = txn.page(Column::Nodes, b"", page)?;
                let items = rows.iter().map(|(_, value)| record::decode(value)).collect::<Result<_, _>>()?;
                Ok(Reply::Nodes(Page { items, next }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, Bench};

    fn joined() -> Bench {
        let mut bench = Bench::at(Millis(1_000));
        bench.apply(NodeWrite::Register { node: Box::new(node(1)), lease_ms: 500 }).unwrap();
        bench
    }

    #[test]
    fn a_node_that_registers_is_alive_and_listed() {
        let bench = joined();
        let Ok(Reply::Nodes(page)) = bench.read(NodeRead::List(PageRequest::default())) else { panic!("no nodes") };
        assert_eq!(page.items, [NodeInfo { spec: node(1), registered_at: Millis(1_000), state: NodeState::Alive }]);
    }

    #[test]
    fn a_node_registers_once() {
        let again = NodeWrite::Register { node: Box::new(node(1)), lease_ms: 500 };
        assert_eq!(joined().apply(again), Err(TableError::NodeExists(NodeId(1))));
    }

    #[test]
    fn a_heartbeat_renews_the_lease_and_is_no_change() {
        let mut bench = joined();
        bench.now = Millis(1_400);
        let before = bench.changes.len();
        bench.apply(NodeWrite::Heartbeat { node: NodeId(1), lease_ms: 500 }).unwrap();
        assert_eq!(bench.changes.len(), before);
        let cause = NodeDeath::LeaseExpired;
        let late = NodeWrite::MarkDead { node: NodeId(1), cause, lease_until: Some(Millis(1_500)) };
        assert_eq!(bench.apply(late), Err(TableError::LeaseRenewed { node: NodeId(1), until: Millis(1_900) }));
    }

    #[test]
    fn a_dead_node_stays_dead() {
        let mut bench = joined();
        let dead = NodeWrite::MarkDead { node: NodeId(1), cause: NodeDeath::ConnectionLost, lease_until: None };
        assert_eq!(bench.apply(dead.clone()), Ok(Reply::Done));
        bench.now = Millis(2_000);
        assert_eq!(bench.apply(dead), Ok(Reply::Done));
        let refused = Err(TableError::NodeDead(NodeId(1)));
        assert_eq!(bench.apply(NodeWrite::Heartbeat { node: NodeId(1), lease_ms: 500 }), refused);
        assert_eq!(bench.apply(NodeWrite::Register { node: Box::new(node(1)), lease_ms: 500 }), refused);
        let Ok(Reply::Node(Some(info))) = bench.read(NodeRead::Get(NodeId(1))) else { panic!("no node") };
        assert_eq!(info.state, NodeState::Dead { at: Millis(1_000), cause: NodeDeath::ConnectionLost });
    }

    #[test]
    fn an_unknown_node_and_an_endless_lease_are_refused() {
        let mut bench = joined();
        let unknown = NodeWrite::Heartbeat { node: NodeId(2), lease_ms: 500 };
        assert_eq!(bench.apply(unknown), Err(TableError::NodeUnknown(NodeId(2))));
        let endless = NodeWrite::Heartbeat { node: NodeId(1), lease_ms: u64::MAX };
        assert!(matches!(bench.apply(endless), Err(TableError::TooLarge { what: Bound::LeaseMs, .. })));
    }
}
