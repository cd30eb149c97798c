//! What a cluster asks of its control store, and what its nodes hear of each other's load.
//!
//! Owns: the run and its table. In [`RUN_NS`] of virtual time each node renews its lease and lists all nodes now and then; a driver on the
//! head makes 2,000 actors and ends each once it is up, another makes 100 placement groups, and ten more come, run tasks and go.

use std::error::Error;

use super::{empty_tasks::sizes, Options};
use crate::{
    model::MS,
    plan::Plan,
    show,
    world::{Settings, World},
};

/// When drivers begin.
const BEGIN_NS: u64 = 300 * MS;
/// How long what is counted takes.
pub(crate) const RUN_NS: u64 = 10_000 * MS;

/// What one run gave: requests a second of each kind, and bytes a second.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// How many nodes.
    pub(crate) nodes: u32,
    /// Leases, jobs, actors, groups: writes a second.
    pub(crate) writes_s: [f64; 4],
    /// Lists of nodes and rows of who votes: reads a second.
    pub(crate) reads_s: [f64; 2],
    /// Rows of nodes a second that lists give.
    pub(crate) rows_s: f64,
    /// Their bytes a second.
    pub(crate) row_bytes_s: f64,
    /// Writes for one actor, from its making to its end.
    pub(crate) writes_per_actor: f64,
    /// Bytes a second of words on load that a node sends, on average, and that the head hears.
    pub(crate) load_bytes_s: [f64; 2],
    /// The milliseconds in which all actors were made and ended.
    pub(crate) actors_ms: u64,
}

/// Kinds of writes.
const WRITES: [&str; 4] = ["leases of nodes", "jobs", "actors", "placement groups"];
/// Kinds of reads.
const READS: [&str; 2] = ["lists of nodes", "who votes"];

/// Runs all of it on so many nodes.
///
/// # Errors
/// What did not end.
pub(crate) fn measure(nodes: u32, actors: u32, groups: u32, seed: u64) -> Result<Row, String> {
    let mut world = World::new(Settings { keepers: 1, ..Settings::nodes(nodes, seed) });
    world.keep_membership();
    world.run(BEGIN_NS - 1, |_| false);
    world.meter.reset();
    world.asked.reset();
    let maker = world.driver(0, Plan::equal(0, 0), BEGIN_NS);
    world.script_actors(maker, actors, BEGIN_NS);
    let grouper = world.driver(0, Plan::equal(0, 0), BEGIN_NS);
    world.script_groups(grouper, groups, BEGIN_NS);
    let spread = nodes.min(10);
    let drivers: Vec<u32> = (0..10).map(|at| world.driver(at % spread, Plan::equal(100, 10 * MS), BEGIN_NS)).collect();
    let mut actors_ms = 0;
    world.run(BEGIN_NS + RUN_NS * 9 / 10, |world| {
        if actors_ms == 0 && world.script(maker).ended == actors {
            actors_ms = (world.now - BEGIN_NS) / MS;
        }
        false
    });
    let script = world.script(maker);
    if script.ended < actors || world.groups_left(grouper) > 0 {
        let left = world.groups_left(grouper);
        return Err(format!("{nodes} nodes: of {actors} actors {script:?}; {left} placement groups are left"));
    }
    if let Some(late) = drivers.iter().find(|driver| !world.is_over(**driver)) {
        return Err(format!("{nodes} nodes: {}", world.left_of(*late)));
    }
    [maker, grouper].into_iter().chain(drivers).for_each(|driver| world.end_driver(driver));
    world.run(BEGIN_NS + RUN_NS, |_| false);
    let leaks = world.leaks();
    if !leaks.is_empty() {
        return Err(leaks.join("; "));
    }
    let took = RUN_NS as f64 / 1e9;
    let rate = |kind: &str| world.asked.of(kind).frames as f64 / took;
    let load = world.meter.of("load").bytes as f64 / took;
    Ok(Row {
        nodes,
        writes_s: WRITES.map(rate),
        reads_s: READS.map(rate),
        rows_s: world.asked.rows as f64 / took,
        row_bytes_s: world.asked.row_bytes as f64 / took,
        writes_per_actor: world.asked.of("actors").frames as f64 / f64::from(actors.max(1)),
        load_bytes_s: [load / f64::from(nodes), world.meter.load_at_head.bytes as f64 / took],
        actors_ms,
    })
}

/// The figure.
///
/// # Errors
/// As [`measure`].
pub(crate) fn figure(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut rows = Vec::new();
    for nodes in sizes(options.nodes) {
        rows.push(measure(nodes, 2_000, 100, options.seed)?);
    }
    let cells = rows.iter().map(|row| {
        let [leases, jobs, actors, groups] = row.writes_s;
        let all: f64 = row.writes_s.iter().sum();
        let numbers = [leases, jobs, actors, groups, all, row.reads_s[0], row.reads_s[1], row.rows_s, row.row_bytes_s];
        let numbers = numbers.into_iter().map(show::short);
        let actors = [format!("{:.1}", row.writes_per_actor), format!("{} ms", row.actors_ms)];
        std::iter::once(row.nodes.to_string()).chain(numbers).chain(actors).collect()
    });
    let head = [
        "nodes",
        "leases/s",
        "jobs/s",
        "actors/s",
        "groups/s",
        "writes/s",
        "node lists/s",
        "who votes/s",
        "rows/s",
        "bytes/s",
        "writes/actor",
        "2,000 actors in",
    ];
    show::table("Asked of the control store, over 10 s", &head, &cells.collect::<Vec<_>>());
    let cells = rows.iter().map(|row| {
        let bytes = row.load_bytes_s.map(show::short);
        std::iter::once(row.nodes.to_string()).chain(bytes).collect()
    });
    let head = ["nodes", "a node sends, bytes/s", "the head hears, bytes/s"];
    show::table("Words on load", &head, &cells.collect::<Vec<_>>());
    Ok(())
}
