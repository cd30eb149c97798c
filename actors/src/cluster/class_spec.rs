//! Which nodes the tasks of a class may run on, by their labels.
//!
//! Owns: nothing; the record itself is the wire's.

use std::{collections::BTreeMap, fmt};

use super::wire::ClassSpec;
use crate::options::SchedulingStrategy;

impl ClassSpec {
    /// Whether its tasks may run on a node with these labels.
    #[must_use]
    pub fn admits(&self, labels: &BTreeMap<String, String>) -> bool {
        let hard = match &self.strategy {
            SchedulingStrategy::NodeLabel { hard, .. } => hard.fits(labels),
            _ => true,
        };
        hard && self.labels.fits(labels)
    }

    /// Whether some nodes are preferred by their labels.
    #[must_use]
    pub fn has_preference(&self) -> bool {
        matches!(&self.strategy, SchedulingStrategy::NodeLabel { soft, .. } if !soft.is_empty())
    }

    /// Whether a node with these labels is one of those.
    #[must_use]
    pub fn prefers(&self, labels: &BTreeMap<String, String>) -> bool {
        matches!(&self.strategy, SchedulingStrategy::NodeLabel { soft, .. } if soft.fits(labels))
    }
}

impl fmt::Display for ClassSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.demand)?;
        if let SchedulingStrategy::NodeLabel { hard, .. } = &self.strategy {
            write!(f, " where {hard}")?;
        }
        if !self.labels.is_empty() {
            write!(f, " where {}", self.labels)?;
        }
        Ok(())
    }
}
