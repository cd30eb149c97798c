//! Demands that this node, or no node, can meet though its resources would do: the workers of their jobs cannot be started here,
//! or they are bound to a node that is not there or is too small.
//!
//! Owns: what becomes of these. A job's workers fail for reasons of the node (a full disk, another architecture, a missing
//! library), so others are tried before the job hears of it. Invariant: what can be met nowhere is told to its owner, with why.

use actinic_gcs::{JobId, Millis};

use super::{bundles::group_of, Key, LocalCore, LocalEffect, LOST_MS_MAX};
use crate::{
    cluster::wire::{ClassSpec, LeaseId},
    options::SchedulingStrategy,
};

impl LocalCore {
    /// This node starts no workers of a job, and why; or it does so again.
    pub fn on_unfit(&mut self, job: JobId, why: Option<String>) {
        match why {
            Some(why) => drop(self.unfit.insert(job, why)),
            None => drop(self.unfit.remove(&job)),
        }
    }

    /// No worker can be had for a lease: it ends, and what is wanted is wanted of others.
    pub fn on_no_worker(&mut self, lease: LeaseId, reason: &str, effects: &mut Vec<LocalEffect>) {
        let Some(granted) = self.leases.get(&lease.number) else { return };
        let (key, told) = (granted.key, self.wanted.get(&granted.key).is_some_and(|wanted| wanted.want == 0));
        let is_unfit = self.wanted.get(&key).is_some_and(|wanted| self.unfit.contains_key(&wanted.code.job));
        self.end(lease.number);
        if !is_unfit && !told {
            self.give_up(key, reason.to_owned(), effects);
        }
    }

    /// What it holds is still counted; it wants no more.
    fn give_up(&mut self, key: Key, why: String, effects: &mut Vec<LocalEffect>) {
        if let Some(wanted) = self.wanted.change(&key) {
            wanted.want = 0;
        }
        effects.push(LocalEffect::Infeasible(key.owner, key.class, why));
    }

    /// Whether a demand may be met by no other node, and by this one.
    pub(super) fn is_bound_here(&self, spec: &ClassSpec) -> bool {
        match spec.strategy {
            SchedulingStrategy::NodeAffinity { node, soft } => {
                node == self.node && (!soft || self.placement.can_ever_fit(&spec.demand).is_ok())
            }
            _ => false,
        }
    }

    /// Why a demand of this node's can be met nowhere, if it is bound to a node that is not there, or that can never meet it.
    pub(super) fn nowhere(&self, now: Millis, job: &JobId, spec: &ClassSpec) -> Option<String> {
        let SchedulingStrategy::NodeAffinity { node, soft: false } = spec.strategy else { return None };
        if node == self.node {
            let unfit = self.unfit.get(job).cloned();
            return unfit.or_else(|| self.placement.can_ever_fit(&spec.demand).err().map(|never| never.to_string()));
        }
        match self.peers.get(&node) {
            Some(has) if has.covers(&spec.demand) => None,
            Some(has) => Some(format!("node {node} has {has}, and no other will do")),
            // It may have been cut off only.
            None if self.lost.get(&node).is_some_and(|since| now.0 < since.0 + LOST_MS_MAX) => None,
            None => Some(format!("node {node} is not there, and no other will do")),
        }
    }

    /// Gives up demands that can be met nowhere.
    pub(super) fn unbind(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        self.lost.retain(|_, since| now.0 < since.0 + 2 * LOST_MS_MAX);
        let unmet = self.wanted.active().filter(|(_, wanted)| wanted.unmet() > 0);
        let hopeless = unmet.filter_map(|(key, wanted)| {
            if !key.placed {
                return Some((*key, self.nowhere(now, &wanted.code.job, &wanted.spec)?));
            }
            // No other node can be asked for what is bound to this one.
            let is_bound = group_of(wanted).is_some() || self.is_bound_here(&wanted.spec);
            let why = self.unfit.get(&wanted.code.job).filter(|_| is_bound)?;
            Some((*key, why.clone()))
        });
        for (key, why) in hopeless.collect::<Vec<_>>() {
            self.give_up(key, why, effects);
        }
    }

    /// When the next node that was lost is waited for no longer, where something waits for one.
    pub(super) fn next_unbound(&self) -> Option<Millis> {
        let waits = self.wanted.active().any(|(key, wanted)| {
            let bound = |node| self.lost.contains_key(&node);
            let hard = matches!(wanted.spec.strategy, SchedulingStrategy::NodeAffinity { node, .. } if bound(node));
            !key.placed && wanted.unmet() > 0 && hard
        });
        self.lost.values().filter(|_| waits).min().map(|since| Millis(since.0 + LOST_MS_MAX))
    }
}
