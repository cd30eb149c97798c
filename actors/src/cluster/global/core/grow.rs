//! Places what is not placed yet, lease by lease, each where it would begin soonest.
//!
//! Owns: the choice. Invariant: a pass costs the nodes once for each demand, and the logarithm of their number for each lease.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use actinic_gcs::{Millis, NodeId};

use super::{
    cost::{Inputs, Known},
    Asked, PLACED_MAX,
};
use crate::options::SchedulingStrategy;

/// A node where a demand would wait is chosen over its own only if it gains so much: estimates are rough.
const MARGIN_US: u64 = 10_000;

/// How good a node is for the next lease: the least is the best.
type Rank = (bool, u64, u64, u64, NodeId);

pub(super) fn grow(now: Millis, asked: &mut Asked, nodes: &mut BTreeMap<NodeId, Known>) {
    let missing = asked.last.want.min(PLACED_MAX).saturating_sub(asked.placed.values().sum());
    if missing == 0 {
        return;
    }
    let spec = asked.last.spec.clone();
    let home = asked.last.owner.node;
    let everywhere = spec.strategy == SchedulingStrategy::Spread;
    let inputs = Inputs::new(&asked.last.work, nodes);
    let at_home = home_us(now, asked, &inputs, nodes);
    let per_lease = asked.last.work.tasks.div_ceil(u64::from(asked.last.want.max(1))).max(1);
    let work_us = asked.last.work.task_us.saturating_mul(per_lease);
    let job = asked.last.code.job;
    let may = |id: NodeId, known: &Known| (everywhere || id != home) && known.can_hold(&spec) && known.is_fit(job);
    let candidates = nodes.iter().filter(|(id, known)| may(**id, known));
    let mut best: BinaryHeap<Reverse<Rank>> =
        candidates.map(|(_, known)| Reverse(rank(asked, &inputs, known))).collect();
    for _ in 0..missing {
        let Some(Reverse((.., node))) = best.pop() else { return };
        let Some(known) = nodes.get_mut(&node) else { return };
        if !everywhere && !is_worth_it(asked, &inputs, known, at_home) {
            return;
        }
        *asked.placed.entry(node).or_insert(0) += 1;
        known.promise(&spec.demand, work_us);
        best.push(Reverse(rank(asked, &inputs, known)));
    }
}

fn rank(asked: &Asked, inputs: &Inputs, known: &Known) -> Rank {
    let spec = &asked.last.spec;
    let free = known.free_slots(&spec.demand);
    let unloved = !(free > 0 && spec.prefers(&known.spec.labels));
    let queue = known.queue(&spec.demand);
    if spec.strategy == SchedulingStrategy::Spread {
        let placed = asked.placed.get(&known.id()).copied().unwrap_or(0);
        return (unloved && spec.has_preference(), u64::from(placed), queue, u64::MAX - free, known.id());
    }
    // Where nobody knows how long things take, the length of the queue says something; a microsecond for each is no wait.
    let wait = known.wait_us(&spec.demand).unwrap_or(queue);
    let cost = wait.saturating_add(known.transfer_us(inputs));
    let queue = if free > 0 { 0 } else { queue };
    (unloved && spec.has_preference(), cost, queue, u64::MAX - free, known.id())
}

/// How soon it would begin at home; none where it never would.
fn home_us(now: Millis, asked: &Asked, inputs: &Inputs, nodes: &BTreeMap<NodeId, Known>) -> Option<u64> {
    let can = |known: &&Known| known.can_hold(&asked.last.spec) && known.is_fit(asked.last.code.job);
    let known = nodes.get(&asked.last.owner.node).filter(can)?;
    // What has waited is expected to wait as long again.
    let waited = now.0.saturating_sub(asked.since.0).saturating_mul(1_000);
    let wait = known.wait_us(&asked.last.spec.demand).unwrap_or(0).max(waited);
    Some(wait.saturating_add(known.transfer_us(inputs)))
}

/// Whether it would begin sooner there than at home.
fn is_worth_it(asked: &Asked, inputs: &Inputs, known: &Known, at_home: Option<u64>) -> bool {
    let Some(at_home) = at_home else { return true };
    let demand = &asked.last.spec.demand;
    let transfer = known.transfer_us(inputs);
    if known.free_slots(demand) > 0 {
        return transfer <= at_home;
    }
    let there = known.wait_us(demand).map(|wait| wait.saturating_add(transfer).saturating_add(MARGIN_US));
    there.is_some_and(|there| there < at_home)
}
