//! What is better done elsewhere: which demands this node serves, and which spill over.
//!
//! Owns: that choice. Invariant: whatever can be done here is done here in the end: who would rather be elsewhere waits for
//! that no longer than [`LOCALITY_MS`].

use actinic_gcs::Millis;

use super::{
    bundles::group_of, Key, LocalCore, LocalEffect, Wanted, LOCALITY_MS, RECALL_AFTER_MS, REFRESH_MS, SPILL_AFTER_MS,
};
use crate::{
    cluster::{wire::Spilled, work::INPUT_BYTES_MIN},
    options::SchedulingStrategy,
};

impl LocalCore {
    /// Whether this node serves a demand.
    pub(super) fn is_for_here(&self, now: Millis, key: &Key, wanted: &Wanted) -> bool {
        if key.placed {
            return true;
        }
        if group_of(wanted).is_some() {
            return false;
        }
        let may = wanted.spec.strategy != SchedulingStrategy::Spread && wanted.spec.admits(&self.labels);
        let waited = wanted.unmet_since.is_some_and(|since| now.0 >= since.0 + LOCALITY_MS);
        may && (waited || !self.would_rather_be_elsewhere(wanted))
    }

    /// Whether a demand's inputs are mostly on another node that is there, or its labels prefer others.
    fn would_rather_be_elsewhere(&self, wanted: &Wanted) -> bool {
        if self.peers.is_empty() {
            return false;
        }
        let inputs = &wanted.work.inputs;
        let home = inputs.home().filter(|home| self.peers.contains(home));
        let nearer = home.is_some_and(|home| inputs.at(home) >= inputs.at(self.node) + INPUT_BYTES_MIN);
        nearer || (wanted.spec.has_preference() && !wanted.spec.prefers(&self.labels))
    }

    /// Whether it is not to wait for this node before others are asked.
    fn goes_at_once(&self, wanted: &Wanted) -> bool {
        wanted.spec.strategy == SchedulingStrategy::Spread
            || self.never_here(wanted)
            || self.would_rather_be_elsewhere(wanted)
    }

    pub(super) fn never_here(&self, wanted: &Wanted) -> bool {
        !wanted.spec.admits(&self.labels) || self.placement.can_ever_fit(&wanted.spec.demand).is_err()
    }

    /// Tells a global scheduler of what is unmet for long, and again from time to time.
    pub(super) fn spill(&mut self, now: Millis, effects: &mut Vec<LocalEffect>) {
        for wanted in self.wanted.values_mut() {
            if wanted.unmet() == 0 {
                wanted.unmet_since = None;
            } else if wanted.unmet_since.is_none() {
                wanted.unmet_since = Some(now);
            }
        }
        let tell: Vec<(Key, u32)> =
            self.wanted.iter().filter_map(|(key, wanted)| Some((*key, self.abroad(now, key, wanted)?))).collect();
        for (key, abroad) in tell {
            self.revision += 1;
            let Some(wanted) = self.wanted.get_mut(&key) else { continue };
            (wanted.spilled, wanted.told_at) = (abroad, now);
            effects.push(LocalEffect::Spill(Box::new(Spilled {
                owner: key.owner,
                code: wanted.code.clone(),
                class: key.class,
                spec: wanted.spec.clone(),
                want: abroad,
                work: wanted.work.share(abroad, wanted.want),
                revision: self.revision,
            })));
        }
    }

    /// How many leases of a demand are to be had elsewhere, where a global scheduler is to be told of it now.
    fn abroad(&self, now: Millis, key: &Key, wanted: &Wanted) -> Option<u32> {
        if key.placed || group_of(wanted).is_some() {
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

    /// When something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let mut due: Option<Millis> = None;
        for (key, wanted) in &self.wanted {
            let served_elsewhere = !key.placed && group_of(wanted).is_some();
            let mut at = |millis: u64| due = Some(due.map_or(Millis(millis), |due| due.min(Millis(millis))));
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
                at(wanted.told_at.0 + REFRESH_MS);
            }
            if let Some(until) = wanted.until {
                at(until.0);
            }
        }
        due
    }
}
