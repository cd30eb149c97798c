//! Demands that this node, or no node, can meet though its resources would do: the workers of their jobs cannot be started here,
//! or they are bound to a node that is not there or is too small.
//!
//! Owns: what becomes of these. A job's workers fail for reasons of the node (a full disk, another architecture, a missing
//! library), so others are tried before the job hears of it. Invariant: what can be met nowhere is told to its owner, with why.

use actinic_gcs::{JobId, Millis, NodeId, ResourceSet};

use super::{bundles::group_of, Key, LocalCore, LocalEffect, Wanted, LOST_MS_MAX};
use crate::{
    cluster::wire::{ClassSpec, LeaseId},
    options::SchedulingStrategy,
};

/// How long another node is passed by that has said that it is unfit for a job.
const UNFIT_PEER_MS: u64 = 30_000;

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
        let waits = self.wanted.get(&key).is_some_and(|wanted| self.waits_for_lost(&wanted.spec));
        if let Some(wanted) = self.wanted.change(&key) {
            wanted.want = 0;
            if waits {
                // Nobody is left to be told that it is over.
                wanted.spilled = 0;
            }
        }
        effects.push(LocalEffect::Infeasible(key.owner, key.class, why));
    }

    /// Another node starts no workers of a job; it has said so when a demand was placed there that may do without it.
    pub fn on_peer_unfit(&mut self, now: Millis, node: NodeId, job: JobId) {
        self.unfit_peers.insert((node, job), now);
    }

    /// Whether a demand of a job may be placed on another node by name.
    pub(super) fn takes(&self, node: NodeId, job: JobId, has: &ResourceSet, spec: &ClassSpec) -> bool {
        has.covers(&spec.demand) && !self.unfit_peers.contains_key(&(node, job))
    }

    /// Whether a demand is to be met by this node and no other.
    pub(super) fn is_bound_here(&self, wanted: &Wanted) -> bool {
        match wanted.spec.strategy {
            SchedulingStrategy::NodeAffinity { node, soft } => node == self.node && (!soft || !self.never_here(wanted)),
            _ => false,
        }
    }

    /// Why a demand of this node's can be met nowhere, if it is bound to a node that is not there, or that can never meet it.
    pub(super) fn nowhere(&self, now: Millis, job: &JobId, spec: &ClassSpec) -> Option<String> {
        let SchedulingStrategy::NodeAffinity { node, soft: false } = spec.strategy else { return None };
        if node == self.node {
            let labels = || (!spec.admits(&self.labels)).then(|| "the node's labels do not fit".to_owned());
            let never = || self.placement.can_ever_fit(&spec.demand).err().map(|never| never.to_string());
            return self.unfit.get(job).cloned().or_else(never).or_else(labels);
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
        self.unfit_peers.retain(|_, since| now.0 < since.0 + UNFIT_PEER_MS);
        let (mut hopeless, mut elsewhere) = (Vec::new(), Vec::new());
        for (key, wanted) in self.wanted.active().filter(|(_, wanted)| wanted.unmet() > 0) {
            if !key.placed {
                hopeless.extend(self.nowhere(now, &wanted.code.job, &wanted.spec).map(|why| (*key, why)));
                continue;
            }
            let Some(why) = self.unfit.get(&wanted.code.job) else { continue };
            match wanted.spec.strategy {
                // No other node can be asked for what is bound to this one.
                SchedulingStrategy::NodeAffinity { soft: false, .. } => hopeless.push((*key, why.clone())),
                _ if group_of(wanted).is_some() => hopeless.push((*key, why.clone())),
                // Its owner's node is, which has placed it here by name.
                SchedulingStrategy::NodeAffinity { .. } => elsewhere.push((*key, wanted.code.job)),
                _ => {}
            }
        }
        for (key, why) in hopeless {
            self.give_up(key, why, effects);
        }
        for (key, job) in elsewhere {
            self.wanted.change(&key).into_iter().for_each(|wanted| wanted.want = 0);
            effects.push(LocalEffect::Unfit(key.owner.node, job));
        }
    }

    /// When the next node that was lost is waited for no longer, where something waits for one.
    pub(super) fn next_unbound(&self, now: Millis) -> Option<Millis> {
        let until = |wanted: &Wanted| match wanted.spec.strategy {
            SchedulingStrategy::NodeAffinity { node, soft: false } => {
                self.lost.get(&node).map(|since| Millis(since.0 + LOST_MS_MAX))
            }
            _ => None,
        };
        let waits = self.wanted.active().filter(|(key, wanted)| !key.placed && wanted.unmet() > 0);
        waits.filter_map(|(_, wanted)| until(wanted)).filter(|until| *until > now).min()
    }
}
