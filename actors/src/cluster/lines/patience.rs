//! How long one who waits for other processes looks for what comes before he sleeps.
//!
//! Owns: that judgement. A core: it is told how long waits took. To sleep and be woken takes a processor out of its idle state
//! twice for a message there and back, which costs many times what an empty task does, and most on virtual machines; but to
//! look takes a processor. So one looks while what he waits for mostly comes soon, and no longer: the rule is that of halt
//! polling in Linux's KVM (`virt/kvm/kvm_main.c`, Documentation/virt/kvm/halt-polling.rst). The time grows from `GROW_START`
//! by doubling, up to [`LOOKS_MAX`], while waits are shorter than that; the first longer one ends it.
//!
//! Invariant: one whose waits are longer than [`LOOKS_MAX`] does not look.

use std::time::Duration;

/// To look longer is never worth it.
pub const LOOKS_MAX: Duration = Duration::from_micros(200);
/// The first time is so long.
const GROW_START: Duration = Duration::from_micros(10);

/// The state of one process.
#[derive(Debug, Default)]
pub struct Patience {
    looks: Duration,
}

impl Patience {
    /// For how long to look before sleeping.
    #[must_use]
    pub fn looks(&self) -> Duration {
        self.looks
    }

    /// A wait has ended. `came` is false where nothing came, or what did was no message.
    pub fn on_waited(&mut self, waited: Duration, came: bool) {
        if !came || waited > LOOKS_MAX {
            self.looks = Duration::ZERO;
        } else if waited > self.looks {
            self.looks = (self.looks * 2).clamp(GROW_START, LOOKS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(90);

    #[test]
    fn while_answers_come_soon_one_looks_as_long_as_they_take() {
        let mut patience = Patience::default();
        for _ in 0..20 {
            patience.on_waited(SOON, true);
        }
        assert!((SOON..2 * SOON).contains(&patience.looks()), "{:?}", patience.looks());
    }

    #[test]
    fn one_long_wait_ends_it_and_long_waits_never_begin_it() {
        let mut patience = Patience::default();
        patience.on_waited(SOON, true);
        assert!(!patience.looks().is_zero());
        for _ in 0..20 {
            patience.on_waited(LOOKS_MAX + SOON, true);
            assert!(patience.looks().is_zero());
        }
    }

    #[test]
    fn where_nothing_came_nobody_looks() {
        let mut patience = Patience::default();
        patience.on_waited(SOON, true);
        patience.on_waited(SOON, false);
        assert!(patience.looks().is_zero());
    }

    #[test]
    fn nobody_looks_longer_than_the_bound() {
        let mut patience = Patience::default();
        for _ in 0..20 {
            patience.on_waited(LOOKS_MAX, true);
        }
        assert_eq!(patience.looks(), LOOKS_MAX);
    }
}
