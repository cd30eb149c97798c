//! Points in time as the control plane sees them.
//!
//! Owns: [`Millis`], a point in time that is always passed in and never read from a clock here. A shard's leader stamps
//! each request once, so that every replica applies it at the same time; a simulation passes virtual time.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since an epoch that a cluster agrees on: the Unix epoch in production, zero in a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The point `millis` later; the far end of time rather than an overflow.
    #[must_use]
    pub fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to here, zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
