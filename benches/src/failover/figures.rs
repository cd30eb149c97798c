//! What came of a trouble, in figures.
//!
//! Owns: which waits are put down to what, and how they are told and judged. Invariant: every wait is counted somewhere.

use std::time::Duration;

use actinic_actors::gcs_client::REPLICA_TICK;
use actinic_gcs::replica::{ReplicaConfig, ReplicaId};
use serde::{Deserialize, Serialize};

use super::Trouble;

/// The paper's bound on what a client waits.
pub(super) const GOAL: Duration = Duration::from_millis(30);
/// A wait is put down to what happened if it began or went on within this time after it: longer than any election.
const AFTERMATH: Duration = Duration::from_millis(500);

/// One trouble: when it began and ended, in seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Episode {
    pub(super) began: f64,
    pub(super) ended: f64,
}

/// What came of one kind of trouble.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    /// Each request: when it began, and how long its answer took, in seconds.
    pub(super) waits: Vec<(f64, f64)>,
    pub(super) episodes: Vec<Episode>,
}

impl Measured {
    /// The longest wait soon after that moment.
    pub(super) fn after(&self, moment: f64) -> f64 {
        let met = self.waits.iter().filter(|wait| is_soon(**wait, moment));
        met.map(|(_, wait)| *wait).fold(0.0, f64::max)
    }

    /// The longest wait that nothing of what was done explains.
    fn otherwise(&self) -> f64 {
        let moments: Vec<f64> = self.episodes.iter().flat_map(|episode| [episode.began, episode.ended]).collect();
        let met = self.waits.iter().filter(|wait| !moments.iter().any(|moment| is_soon(**wait, *moment)));
        met.map(|(_, wait)| *wait).fold(0.0, f64::max)
    }
}

fn is_soon((at, wait): (f64, f64), moment: f64) -> bool {
    at + wait >= moment && at <= moment + AFTERMATH.as_secs_f64()
}

/// Prints what came of a trouble.
pub(super) fn report(trouble: Trouble, measured: &Measured) {
    let mut sorted: Vec<f64> = measured.waits.iter().map(|(_, wait)| *wait).collect();
    sorted.sort_by(f64::total_cmp);
    let at =
        |part: usize| sorted.get((sorted.len() * part / 100).min(sorted.len().saturating_sub(1))).unwrap_or(&0.0) * 1e3;
    println!("{}: {} writes, p50 {:.2} ms, p99 {:.2} ms", trouble.name(), sorted.len(), at(50), at(99));
    let each = |moment: fn(&Episode) -> f64| -> Vec<f64> {
        measured.episodes.iter().map(|episode| measured.after(moment(episode)) * 1e3).collect()
    };
    let (lost, back) = (each(|episode| episode.began), each(|episode| episode.ended));
    println!("  longest wait each time: {}{}", listed(&lost), judged(trouble, &lost));
    println!(
        "  longest wait each time it came back: {}; any other: {:.1} ms",
        listed(&back),
        measured.otherwise() * 1e3
    );
}

fn listed(waits: &[f64]) -> String {
    let each: Vec<String> = waits.iter().map(|wait| format!("{wait:.1}")).collect();
    let worst = waits.iter().copied().fold(0.0, f64::max);
    format!("{} ms; worst {worst:.1} ms", each.join(", "))
}

fn judged(trouble: Trouble, each: &[f64]) -> String {
    if trouble == Trouble::Killed {
        let goal = GOAL.as_secs_f64() * 1e3;
        let met = each.iter().filter(|wait| **wait <= goal).count();
        return format!(" (goal: {goal} ms, met {met} times of {})", each.len());
    }
    let (least, most) = election_timeout();
    format!(" (the election timeout decides: {} to {} ms)", least.as_millis(), most.as_millis())
}

/// How long a follower waits for a silent leader, at least and at most.
pub(super) fn election_timeout() -> (Duration, Duration) {
    let ticks = ReplicaConfig::new(ReplicaId(1), 0).election_ticks;
    let least = REPLICA_TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
    (least, 2 * least)
}
