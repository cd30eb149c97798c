//! When leases are to be looked at.
//!
//! Owns: alarms to the millisecond, in a ring of [`BUCKETS`] of them (Varghese and Lauck, SOSP 1987). Invariants: an alarm goes
//! off at its time, or before where that is further ahead than the ring is long, never after; setting one takes the same time
//! however many there are. Whoever is called looks whether it is time indeed.

use actinic_gcs::Millis;

use super::held::Slot;

/// Milliseconds that the ring is long: more than any lease waits for.
const BUCKETS: u64 = 256;

/// What a lease is to be looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Whether it has stalled.
    Busy,
    /// Whether it was idle for long.
    Idle,
}

/// One alarm: of which lease, by its slot and the number of its grant.
pub(super) type Call = (Alarm, Slot, u64);

/// All that are set.
pub(super) struct Alarms {
    buckets: Vec<Vec<Call>>,
    /// The first time of which nobody was called.
    next: u64,
}

impl Default for Alarms {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Vec::new()).collect(), next: 0 }
    }
}

impl Alarms {
    /// Sets one.
    pub(super) fn set(&mut self, at: Millis, call: Call) {
        let at = at.0.clamp(self.next, self.next + BUCKETS - 1);
        self.buckets[(at % BUCKETS) as usize].push(call);
    }

    /// Takes those that have gone off by now.
    pub(super) fn take(&mut self, now: Millis) -> Vec<Call> {
        let mut due = Vec::new();
        for at in self.next..(now.0 + 1).min(self.next + BUCKETS) {
            due.append(&mut self.buckets[(at % BUCKETS) as usize]);
        }
        self.next = self.next.max(now.0 + 1);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_go_off_at_their_times_and_far_ones_before() {
        let mut alarms = Alarms::default();
        for at in [5, 0, 7, 1_000] {
            alarms.set(Millis(at), (Alarm::Busy, Slot(at as u32), 1));
        }
        let mut off = |now: u64| alarms.take(Millis(now)).into_iter().map(|(_, slot, _)| slot.0).collect::<Vec<u32>>();
        assert_eq!((off(4), off(5), off(5)), (vec![0], vec![5], vec![]));
        assert_eq!(off(2_000), [7, 1_000]);
        assert!(alarms.buckets.iter().all(Vec::is_empty));
    }
}
