//! What the simulation takes as given: the costs of everything that is not a scheduling decision.
//!
//! Owns: the constants, each with where it was measured. All on machines of two virtual cores: what is marked *table* comes
//! from the table of figures in README.md, the rest from the floors of the reference machine. What the cores themselves cost is
//! not here: it is measured while they run.

/// One nanosecond is the unit of virtual time.
pub(crate) const MS: u64 = 1_000_000;

/// The costs, in nanoseconds and bytes.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// One way between two processes of a machine: half a round trip over a Unix socket between threads that sleep on different
    /// processors (table: 20 to 47 µs, the middle).
    pub(crate) unix_ns: u64,
    /// One way between two nodes: half a round trip over TCP between threads that sleep (table: one task on another node
    /// takes 10.7–11.7 µs, a third to a quarter of it, so 43 µs; loopback: a switch adds its own).
    pub(crate) tcp_ns: u64,
    /// Bytes a second that leave a node: one TCP stream, 2.5 GB/s.
    pub(crate) tcp_bytes_per_s: u64,
    /// To an actor on another arbiter: half of Actix's round trip, 89 µs.
    pub(crate) mail_ns: u64,
    /// To an actor on the same arbiter: Actix, 1.0 µs.
    pub(crate) same_arbiter_ns: u64,
    /// Decoding a frame and encoding it again: rmp-serde, 260 ns each way with what is around it.
    pub(crate) frame_ns: u64,
    /// A task's submission at its owner. Bench row "tasks through worker processes" (table: 700–773 k/s): 1.36 µs a task at
    /// the driver, half of them before it is sent.
    pub(crate) submit_ns: u64,
    /// A result's way into its owner: the other half.
    pub(crate) done_ns: u64,
    /// An empty task at its worker: as much again, since both processes are busy in that row.
    pub(crate) run_ns: u64,
    /// From the start of a worker process until it is ready.
    pub(crate) start_ns: u64,
    /// The driver's executable, which nodes fetch once: a release build of an example, stripped of nothing.
    pub(crate) exe_bytes: u64,
    /// From the end of a process until its node has noticed.
    pub(crate) exit_ns: u64,
    /// Added to each word of a local scheduler to its worker pool: what a slow scheduler adds to a lease.
    pub(crate) each_lease_ns: u64,
    /// Up to so many times a way's time is added to it at random; 0 for none.
    pub(crate) jitter: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            unix_ns: 17_000,
            tcp_ns: 21_500,
            tcp_bytes_per_s: 2_500_000_000,
            mail_ns: 44_500,
            same_arbiter_ns: 1_000,
            frame_ns: 520,
            submit_ns: 680,
            done_ns: 680,
            run_ns: 1_360,
            start_ns: 30 * MS,
            exe_bytes: 12 << 20,
            exit_ns: 2 * MS,
            each_lease_ns: 0,
            jitter: 0,
        }
    }
}

impl Model {
    /// How long so many bytes take to leave a node.
    pub(crate) fn wire_ns(&self, bytes: u64) -> u64 {
        (u128::from(bytes) * 1_000_000_000 / u128::from(self.tcp_bytes_per_s.max(1))) as u64
    }
}
