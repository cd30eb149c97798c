//! What one simulation is like, drawn from its seed.
//!
//! Owns: sizes, bounds, and how often which fault happens. Invariant: everything has a value before the world begins, so
//! that two plans of one seed are equal.

use actinic_gcs::{
    replica::{Fault, ReplicaConfig, ReplicaId},
    shard::ShardLimits,
};

use super::rng::Rng;

pub(crate) const MILLISECOND: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;

/// What goes wrong, each with its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Crash,
    CrashLeader,
    PowerCut,
    Partition,
    IsolateLeader,
    Pause,
    DiskSlow,
    DiskFull,
    Clock,
    Weather,
    Transfer,
    Stand,
    FalseReset,
    ClientCrash,
    CutClient,
    Members,
    Figure8,
    Rivals,
}

/// How a network is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weather {
    pub(crate) delay_us: (u64, u64),
    /// In a thousand messages.
    pub(crate) late: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// In a thousand messages between a client and a replica: the connection breaks.
    pub(crate) broken: u64,
}

/// A plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) replicas: usize,
    pub(crate) clients: usize,
    pub(crate) watchers: usize,
    pub(crate) window: usize,
    pub(crate) keys: u8,
    pub(crate) think_us: u64,
    pub(crate) reads: u64,
    /// So many of the clients only read: no write of theirs is ever stuck.
    pub(crate) readers: usize,
    pub(crate) stale_reads: u64,
    /// How long a client waits for an answer before it turns to somebody else.
    pub(crate) patience_us: u64,
    pub(crate) faults_until_us: u64,
    pub(crate) trouble_every_us: u64,
    pub(crate) troubles: Vec<(Trouble, u64)>,
    pub(crate) weather: Weather,
    pub(crate) tick_us: u64,
    pub(crate) drift: u64,
    pub(crate) fsync_us: (u64, u64),
    pub(crate) fsync_slow: u64,
    /// In a thousand events: others come before what they give is asked for.
    pub(crate) late_poll: u64,
    /// Added to the ids of replicas.
    pub(crate) ids_from: u64,
    pub(crate) election_ticks: usize,
    pub(crate) heartbeat_ticks: usize,
    pub(crate) log_entries_max: usize,
    pub(crate) entry_bytes_max: usize,
    pub(crate) waiting_max: usize,
    pub(crate) chunk_bytes_max: usize,
    pub(crate) limits: (usize, u64),
    pub(crate) fault: Option<Fault>,
}

impl Plan {
    /// The plan of a seed, with all kinds of trouble.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let window = rng.range(1, 5) as usize;
        let calm = rng.chance(100);
        Self {
            seed,
            replicas: if rng.chance(600) { 3 } else { 5 },
            clients: rng.range(2, 4) as usize,
            watchers: rng.range(1, 2) as usize,
            window,
            keys: rng.range(2, 6) as u8,
            think_us: rng.range(2, 40) * MILLISECOND,
            reads: rng.range(200, 600),
            readers: rng.range(0, 1) as usize,
            stale_reads: rng.range(0, 60),
            patience_us: rng.pick(&[80, 300, 800]).unwrap_or(80) * MILLISECOND,
            faults_until_us: rng.range(3, 6) * SECOND,
            trouble_every_us: if calm { 2 * SECOND } else { rng.range(80, 500) * MILLISECOND },
            troubles: troubles(&mut rng),
            weather: weather(&mut rng),
            tick_us: 10 * MILLISECOND,
            drift: rng.pick(&[0, 10, 100, 300]).unwrap_or(0),
            fsync_us: (100, rng.pick(&[300, 2_000, 12_000]).unwrap_or(300)),
            fsync_slow: rng.pick(&[0, 2, 10]).unwrap_or(0),
            late_poll: rng.pick(&[0, 100, 500]).unwrap_or(0),
            ids_from: rng.pick(&[0, 1_000, 1 << 62]).unwrap_or(0),
            election_ticks: rng.range(8, 20) as usize,
            heartbeat_ticks: rng.range(2, 3) as usize,
            log_entries_max: rng.pick(&[6, 12, 40, 200]).unwrap_or(6),
            entry_bytes_max: rng.pick(&[200, 1_000, 10_000]).unwrap_or(200),
            waiting_max: rng.pick(&[4, 1_000]).unwrap_or(4),
            chunk_bytes_max: rng.pick(&[300, 800, 1_500, 1 << 20]).unwrap_or(300),
            limits: (window + rng.range(2, 20) as usize, rng.pick(&[3, 30, 5_000]).unwrap_or(3)),
            fault: None,
        }
    }

    /// The plan of a seed in search of a mistake.
    pub(crate) fn hunt(seed: u64, fault: Fault) -> Self {
        let plan = Self { fault: Some(fault), ..Self::draw(seed) };
        match fault {
            // A vote under way to a slow disk, and two who ask for it.
            Fault::VoteBeforePersist => Self {
                replicas: 3,
                troubles: vec![(Trouble::Rivals, 1)],
                trouble_every_us: 500 * MILLISECOND,
                fsync_us: (3 * MILLISECOND, 12 * MILLISECOND),
                ..plan
            },
            // Entries go one by one, so that an old one arrives without a new one.
            Fault::CommitOlderTerm => Self {
                troubles: vec![(Trouble::Figure8, 1)],
                trouble_every_us: 1_000 * MILLISECOND,
                entry_bytes_max: 50,
                reads: 100,
                late_poll: 0,
                fsync_us: (100, 2_000),
                fsync_slow: 0,
                weather: Weather { delay_us: (100, 1_000), late: 0, lost: 0, doubled: 0, broken: 0 },
                ..plan
            },
            // Whoever waits for a leader that was cut off soon finds the next one, and the others go on reading.
            Fault::ReadWithoutConfirmation => Self {
                troubles: vec![(Trouble::IsolateLeader, 3), (Trouble::Clock, 1)],
                trouble_every_us: 700 * MILLISECOND,
                clients: 4,
                readers: 2,
                patience_us: 60 * MILLISECOND,
                election_ticks: 20,
                drift: 300,
                ..plan
            },
            _ => plan,
        }
    }

    /// What a replica is told.
    pub(crate) fn config(&self, id: ReplicaId, life: u64) -> ReplicaConfig {
        let mut config = ReplicaConfig::new(id, self.seed.wrapping_add(life << 32));
        config.election_ticks = self.election_ticks;
        config.heartbeat_ticks = self.heartbeat_ticks;
        config.log_entries_max = self.log_entries_max;
        config.entry_bytes_max = self.entry_bytes_max;
        config.waiting_max = self.waiting_max;
        config.chunk_bytes_max = self.chunk_bytes_max;
        config.fault = self.fault;
        config
    }

    pub(crate) fn shard_limits(&self) -> ShardLimits {
        let (requests_per_client_max, changes_max) = self.limits;
        ShardLimits { requests_per_client_max, changes_max, ..ShardLimits::default() }
    }
}

fn weather(rng: &mut Rng) -> Weather {
    Weather {
        delay_us: (rng.range(50, 500), rng.pick(&[600, 3_000, 20_000]).unwrap_or(600)),
        late: rng.pick(&[0, 5, 50]).unwrap_or(0),
        lost: rng.pick(&[0, 5, 50, 200]).unwrap_or(0),
        doubled: rng.pick(&[0, 10, 100]).unwrap_or(0),
        broken: rng.pick(&[0, 1, 5]).unwrap_or(0),
    }
}

/// Some kinds of trouble more often than others, some not at all.
fn troubles(rng: &mut Rng) -> Vec<(Trouble, u64)> {
    use Trouble::{
        ClientCrash, Clock, Crash, CrashLeader, CutClient, DiskFull, DiskSlow, FalseReset, Figure8, IsolateLeader,
        Members, Partition, Pause, PowerCut, Rivals, Stand, Transfer, Weather,
    };
    let usual = [
        (Crash, 10),
        (CrashLeader, 8),
        (PowerCut, 3),
        (Partition, 10),
        (IsolateLeader, 8),
        (Pause, 8),
        (DiskSlow, 5),
        (DiskFull, 4),
        (Clock, 5),
        (Weather, 5),
        (Transfer, 6),
        (Stand, 2),
        (FalseReset, 4),
        (ClientCrash, 2),
        (CutClient, 4),
        (Members, 16),
        (Figure8, 3),
        (Rivals, 2),
    ];
    match rng.below(10) {
        0 => return vec![(Members, 8), (Transfer, 2), (CrashLeader, 2), (Partition, 1), (DiskSlow, 1)],
        1 => return vec![(Pause, 3), (Partition, 3), (DiskSlow, 4), (Crash, 2), (FalseReset, 2)],
        _ => {}
    }
    let factor = |rng: &mut Rng| rng.pick(&[0, 1, 1, 3]).unwrap_or(1);
    let drawn: Vec<_> = usual.into_iter().map(|(trouble, weight)| (trouble, weight * factor(rng))).collect();
    if drawn.iter().all(|(_, weight)| *weight == 0) {
        usual.to_vec()
    } else {
        drawn
    }
}
