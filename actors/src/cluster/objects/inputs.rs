//! Where the large arguments of a task are: what makes a scheduler bring the task to them.
//!
//! Owns: [`inputs_of`]. Invariant: small arguments count for nothing, and cost nothing here.

use std::collections::BTreeSet;

use crate::{cluster::work::InputBytes, task::Task};

/// Bytes of the large objects that a task takes, and on which nodes they are, as far as this process knows.
#[must_use]
pub fn inputs_of(task: &dyn Task) -> InputBytes {
    if task.head().dependencies.is_none() {
        return InputBytes::default();
    }
    let (mut seen, mut total, mut on) = (BTreeSet::new(), 0_u64, Vec::new());
    task.each_dependency(&mut |object| {
        let Some(away) = object.away() else { return };
        if seen.insert(away.locator().stored) {
            total = total.saturating_add(away.size_bytes());
            on.extend(away.places().into_iter().map(|node| (node, away.size_bytes())));
        }
    });
    if total == 0 {
        return InputBytes::default();
    }
    InputBytes::new(total, on)
}
