//! What is better done elsewhere: which demands this node serves, and which spill over.
//!
//! Owns: that choice. Invariant: whatever can be done here is done here in the end: who would rather be elsewhere waits for
//! that no longer than [`LOCALITY_MS`].

use actinic_gcs::{Millis, NodeId};

use super::{
    bundles::group_of, Key, LocalCore, LocalEffect, Wanted, LOCALITY_MS, RECALL_AFTER_MS, REFRESH_MS, SPILL_AFTER_MS,
    TELL_EVERY_MS,
};
use crate::{
    cluster::{
        global::core::cost::fetch_us,
        wire::{ClassSpec, Spilled},
    },
    options::SchedulingStrategy,
};

/// Who would have to fetch for so long what another node has is better off there: it takes longer than to ask that node.
const FETCH_US_MIN: u64 = 900;

impl LocalCore {
    /// Whether this node serves a demand.
    pub(super) fn is_for_here(&self, now: Millis, key: &Key, wanted: &Wanted) -> bool {
        if self.unfit.contains_key(&wanted.code.job) {
            return false;
        }
        if key.placed {
            return true;
        }
        let spec = &wanted.spec;
        if group_of(wanted).is_some() || self.bound_to(wanted).is_some() || self.waits_for_lost(spec) {
            return false;
        }
        let may = wanted.spec.strategy != SchedulingStrategy::Spread && wanted.spec.admits(&self.labels);
        let waited =
            wanted.unmet_since.is_some_and(|since| now.0 >= since.0 + LOCALITY_MS) || self.is_bound_here(wanted);
        may && (waited || !self.would_rather_be_elsewhere(wanted))
    }

    /// Whether a demand's inputs are mostly on another node that is there, or its labels prefer others.
    fn would_rather_be_elsewhere(&self, wanted: &Wanted) -> bool {
        if self.peers.is_empty() {
            return false;
        }
        let inputs = &wanted.work.inputs;
        let in_place = |node: NodeId| node == self.node || self.neighbours.contains(&node);
        let home = inputs.home().filter(|home| self.peers.contains_key(home) && !in_place(*home));
        let saved = home.map_or(0, |home| inputs.at(home).saturating_sub(inputs.at_any(in_place)));
        let nearer = fetch_us(saved, self.bandwidth) >= FETCH_US_MIN;
        nearer || (wanted.spec.has_preference() && !wanted.spec.prefers(&self.labels))
    }

    /// Whether it is not to wait for this node before others are asked.
    fn goes_at_once(&self, wanted: &Wanted) -> bool {
        wanted.spec.strategy == SchedulingStrategy::Spread
            || self.bound_to(wanted).is_some()
            || self.never_here(wanted)
            || self.would_rather_be_elsewhere(wanted)
    }

    pub(super) fn never_here(&self, wanted: &Wanted) -> bool {
        !wanted.spec.admits(&self.labels)
            || self.placement.can_ever_fit(&wanted.spec.demand).is_err()
            || self.unfit.contains_key(&wanted.code.job)
    }

    /// The other node to which a demand is bound, while that is there; not if it can do without and that can never meet it.
    pub(super) fn bound_to(&self, wanted: &Wanted) -> Option<NodeId> {
        let spec = &wanted.spec;
        let SchedulingStrategy::NodeAffinity { node, soft } = spec.strategy else { return None };
        let has = self.peers.get(&node)?;
        (!soft || self.takes(node, wanted.code.job, has, spec)).then_some(node)
    }

    /// Whether a demand waits for a node that was cut off, and for no other.
    pub(super) fn waits_for_lost(&self, spec: &ClassSpec) -> bool {
        let SchedulingStrategy::NodeAffinity { node, soft: false } = spec.strategy else { return false };
        node != self.node && !self.peers.contains_key(&node)
    }

    /// Tells a global scheduler of what is unmet for long, and again from time to time.
    pub(super) fn spill(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        let active: Vec<Key> = self.wanted.active().map(|(key, _)| *key).collect();
        for key in &active {
            let Some(wanted) = self.wanted.change(key) else { continue };
            if wanted.unmet() == 0 {
                wanted.unmet_since = None;
            } else if wanted.unmet_since.is_none() {
                wanted.unmet_since = Some(now);
            }
        }
        let tell: Vec<(Key, u32)> =
            self.wanted.active().filter_map(|(key, wanted)| Some((*key, self.abroad(now, key, wanted)?))).collect();
        for (key, abroad) in tell {
            let bound = self.wanted.get(&key).and_then(|wanted| self.bound_to(wanted));
            let Some(wanted) = self.wanted.change(&key) else { continue };
            // While an owner works off a long queue it changes all the time.
            let since_told = now.0.saturating_sub(wanted.told_at.0);
            wanted.owed = abroad > 0 && wanted.spilled > 0 && since_told < TELL_EVERY_MS;
            if wanted.owed {
                continue;
            }
            self.revision += 1;
            (wanted.spilled, wanted.told_at) = (abroad, now);
            let told = Box::new(Spilled {
                owner: key.owner,
                code: wanted.code.clone(),
                class: key.class,
                spec: wanted.spec.clone(),
                want: abroad,
                work: wanted.work.share(abroad, wanted.want),
                revision: self.revision,
            });
            effects.push(match bound {
                Some(node) => LocalEffect::Place(node, told),
                None => LocalEffect::Spill(told),
            });
        }
    }

    /// How many leases of a demand are to be had elsewhere, where a global scheduler is to be told of it now.
    fn abroad(&self, now: Millis, key: &Key, wanted: &Wanted) -> Option<u32> {
        let stays = self.is_bound_here(wanted) || self.waits_for_lost(&wanted.spec);
        if key.placed || group_of(wanted).is_some() || stays {
            return None;
        }
        let at_once = self.goes_at_once(wanted);
        let waited = wanted.unmet_since.is_some_and(|since| now.0 >= since.0 + SPILL_AFTER_MS);
        let asks = wanted.unmet() > 0 && (at_once || waited);
        // What was granted elsewhere stays wanted there.
        let keeps = wanted.spilled > 0 && wanted.elsewhere > 0;
        let abroad = if asks || keeps { wanted.want.saturating_sub(wanted.held) } else { 0 };
        let stale = wanted.spilled > 0 && now.0 >= wanted.told_at.0 + REFRESH_MS;
        let pointless = self.peers.is_empty() && !at_once && wanted.spilled == 0;
        ((abroad != wanted.spilled || stale) && !pointless).then_some(abroad)
    }

    /// When something is due, as of the last pass.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.due
    }

    /// When something is due after this pass. What is overdue waits for a word of others: this pass could do nothing about it.
    pub(super) fn next_due(&self, now: Millis) -> Option<Millis> {
        let mut due = self.next_doomed().into_iter().chain(self.next_unbound(now)).min();
        for (key, wanted) in self.wanted.active() {
            let served_elsewhere = !key.placed && group_of(wanted).is_some();
            let mut at = |millis: u64| {
                if millis > now.0 {
                    due = Some(due.map_or(Millis(millis), |due| due.min(Millis(millis))));
                }
            };
            if let Some(since) = wanted.unmet_since {
                if !served_elsewhere && wanted.spilled == 0 && !key.placed && !self.peers.is_empty() {
                    at(since.0 + SPILL_AFTER_MS);
                }
                if !served_elsewhere && wanted.held == 0 {
                    // Also when it is served here though it would rather be elsewhere.
                    at(since.0 + RECALL_AFTER_MS.min(LOCALITY_MS));
                }
            }
            if wanted.spilled > 0 || !wanted.shares.is_empty() {
                at(wanted.told_at.0 + if wanted.owed { TELL_EVERY_MS } else { REFRESH_MS });
            }
            if let Some(until) = wanted.until.filter(|_| wanted.want > 0) {
                at(until.0);
            }
        }
        due
    }
}
