//! Decides whether a node may go on that could not renew its lease.
//!
//! Owns: the rule. A core: time is given.
//!
//! A node that does not renew its lease is declared dead by the control store once the lease ends, and others do its work
//! from then on. So it must have ended before. It cannot know whether it was cut off, or the control store has lost its
//! majority; but it can know that nobody leads the control store without it: that is so while fewer replicas than a majority
//! are on nodes of which it knows nothing. A node that is connected, or whose process is known to have ended, is known.
//!
//! **Invariant:** a node that could have been declared dead is told to end before that can be.

use actinic_gcs::Millis;

/// How long a lease lasts.
pub(crate) const LEASE_MS: u64 = 10_000;
/// How long after the sending of its last renewal a node ends that may be cut off.
pub(crate) const FENCE_MS: u64 = 9_000;
/// How long work goes on while the control store has lost its majority.
pub(crate) const AWAY_MS_MAX: u64 = 60_000;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: the lease is good.
    Good,
    /// Nothing yet: nobody can have declared the node dead.
    Waits,
    /// End: the node may be cut off.
    CutOff,
    /// End: the control store is gone, and will not come back.
    Abandoned,
}

/// Judges, `now`, a node whose last granted renewal was sent at `renewed`; of each shard, how many replicas vote, and on how
/// many nodes of which nothing is known.
pub(crate) fn judge(now: Millis, renewed: Millis, shards: &[(usize, usize)]) -> Standing {
    let overdue = now.since(renewed);
    if overdue < FENCE_MS {
        return Standing::Good;
    }
    // Leases are kept by one shard; which one is not known here.
    if shards.is_empty() || shards.iter().any(|(voters, unknown)| *unknown > voters / 2) {
        return Standing::CutOff;
    }
    if overdue > AWAY_MS_MAX {
        return Standing::Abandoned;
    }
    Standing::Waits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(overdue_ms: u64, shards: &[(usize, usize)]) -> Standing {
        judge(Millis(1_000_000 + overdue_ms), Millis(1_000_000), shards)
    }

    #[test]
    fn a_node_that_renews_goes_on() {
        assert_eq!(after(FENCE_MS - 1, &[(3, 3)]), Standing::Good);
    }

    #[test]
    fn a_node_that_may_be_cut_off_ends_before_its_lease_does() {
        assert_eq!(after(FENCE_MS, &[(3, 2)]), Standing::CutOff);
        assert_eq!(after(FENCE_MS, &[(1, 1)]), Standing::CutOff);
        assert_eq!(after(FENCE_MS, &[(3, 0), (3, 3)]), Standing::CutOff);
        const { assert!(FENCE_MS < LEASE_MS) };
    }

    #[test]
    fn a_node_goes_on_for_a_while_where_nobody_can_lead_without_it() {
        assert_eq!(after(FENCE_MS, &[(3, 1)]), Standing::Waits);
        assert_eq!(after(AWAY_MS_MAX, &[(1, 0)]), Standing::Waits);
        assert_eq!(after(AWAY_MS_MAX + 1, &[(1, 0)]), Standing::Abandoned);
    }
}
