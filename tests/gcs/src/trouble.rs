//! What goes wrong with the processes of a cluster, and when.
//!
//! Owns: the choice of victims, from a seed. Invariants: whoever was stopped goes on and whoever was killed is started again
//! from its disk before the next trouble; a test that runs longer sees more of the same.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::{Cluster, REPLICAS},
    rng::Rng,
};

/// How often each kind of trouble came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Troubles {
    /// Any one process was killed.
    pub one: u32,
    /// The process that led some shard was killed.
    pub leader: u32,
    /// Most processes were killed.
    pub most: u32,
    /// All processes were killed at once.
    pub all: u32,
    /// The process that led some shard was paused.
    pub paused: u32,
}

impl fmt::Display for Troubles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { one, leader, most, all, paused } = self;
        write!(f, "killed: any one {one}, a leader {leader}, two {most}, all three {all}; a leader paused {paused}")
    }
}

/// Time passes, for the processes rather than for this one.
fn pass(rng: &mut Rng, ms_max: u64) {
    let until = Instant::now() + Duration::from_millis(rng.below(ms_max));
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// Makes trouble for so long. All processes run in the end.
pub fn make(cluster: &mut Cluster, rng: &mut Rng, duration: Duration) -> Troubles {
    let (until, mut troubles) = (Instant::now() + duration, Troubles::default());
    let shards = cluster.contacts().shards.len();
    let mut next = 0;
    while Instant::now() < until {
        pass(rng, 700);
        let any = rng.index(REPLICAS);
        let leader = cluster.leader(rng.index(shards)).unwrap_or(any);
        // Each kind in turn at first, so that a short test sees all.
        let kind = if next < 5 { next } else { rng.below(5) };
        next += 1;
        let (count, victims) = match kind {
            0 => (&mut troubles.leader, vec![leader]),
            1 => (&mut troubles.all, (0..REPLICAS).collect()),
            2 => (&mut troubles.one, vec![any]),
            3 => (&mut troubles.most, (0..REPLICAS).filter(|place| *place != any).collect()),
            _ => (&mut troubles.paused, Vec::new()),
        };
        *count += 1;
        if victims.is_empty() {
            cluster.pause(leader, Duration::from_millis(rng.below(1_000)));
            continue;
        }
        cluster.kill(&victims);
        pass(rng, 500);
        cluster.spawn_all();
    }
    troubles
}
