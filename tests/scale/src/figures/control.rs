//! What a cluster asks of its control store, and what its nodes hear of each other's load.
//!
//! Owns: the run, its tables and plots. Heartbeats are two kinds of messages: words on load, which schedulers send each other, and
//! signs of life, which every connection gives in both directions when it has been quiet for a second. A sign is four bytes as a
//! frame; TLS, TCP and IP put about ninety around it, which are not counted here, as they are not for any other message.
//! Lines between processes of different nodes give signs of their own; here processes speak through their nodes.
//!
//! In [`RUN_NS`] of virtual time each node renews its lease and lists all nodes now and then; a driver on the
//! head makes 2,000 actors and ends each once it is up, another makes 100 placement groups, and ten more come, run tasks and go.

use std::error::Error;

use super::{empty_tasks::sizes, Options};
use crate::{
    model::MS,
    plan::Plan,
    show::{self, Line, Plot},
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
    /// The same in messages.
    pub(crate) loads_s: [f64; 2],
    /// Signs of life a second that a node gives, on average, and that the head hears.
    pub(crate) signs_s: [f64; 2],
    /// Their bytes a second.
    pub(crate) sign_bytes_s: [f64; 2],
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
    world.count_signs();
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
    let of_nodes = |all: u64, head: u64| [all as f64 / took / f64::from(nodes), head as f64 / took];
    let (load, load_at_head) = (world.meter.of("load"), world.meter.load_at_head);
    let [signs, signs_at_head] = world.signs_of_life();
    Ok(Row {
        nodes,
        writes_s: WRITES.map(rate),
        reads_s: READS.map(rate),
        rows_s: world.asked.rows as f64 / took,
        row_bytes_s: world.asked.row_bytes as f64 / took,
        writes_per_actor: world.asked.of("actors").frames as f64 / f64::from(actors.max(1)),
        load_bytes_s: of_nodes(load.bytes, load_at_head.bytes),
        loads_s: of_nodes(load.frames, load_at_head.frames),
        signs_s: of_nodes(signs.frames, signs_at_head.frames),
        sign_bytes_s: of_nodes(signs.bytes, signs_at_head.bytes),
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
        let numbers = [
            row.loads_s[0],
            row.load_bytes_s[0],
            row.signs_s[0],
            row.sign_bytes_s[0],
            row.load_bytes_s[0] + row.sign_bytes_s[0],
            row.loads_s[1] + row.signs_s[1],
            row.load_bytes_s[1] + row.sign_bytes_s[1],
            (row.loads_s[0] + row.signs_s[0]) * f64::from(row.nodes),
        ];
        std::iter::once(row.nodes.to_string()).chain(numbers.map(show::short)).collect()
    });
    let head = [
        "nodes",
        "a node sends: loads/s",
        "bytes/s",
        "signs of life/s",
        "bytes/s",
        "all bytes/s",
        "the head hears/s",
        "bytes/s",
        "the cluster/s",
    ];
    show::table("Heartbeats: words on load, and signs of life", &head, &cells.collect::<Vec<_>>());
    plots(options, &rows)
}

/// What is asked of the control store, and the heartbeats, over the number of nodes.
fn plots(options: &Options, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    // Both axes are logarithmic, so nothing is drawn where there is nothing.
    let line = |name: &str, of: fn(&Row) -> f64| Line {
        name: name.to_owned(),
        points: rows.iter().map(|row| (f64::from(row.nodes), of(row))).filter(|(_, y)| *y > 0.0).collect(),
    };
    let lines = vec![
        line("writes, of actors", |row| row.writes_s[2]),
        line("writes, of nodes' leases", |row| row.writes_s[0]),
        line("writes, of groups and jobs", |row| row.writes_s[1] + row.writes_s[3]),
        line("rows of nodes that are read", |row| row.rows_s),
    ];
    let (title, y) = ("Asked of the control store", "a second");
    show::write(&options.plots.join("sim-scale-gcs.svg"), &Plot { title, x: "nodes", y, lines, log: true })?;
    let lines = vec![
        line("a node: words on load", |row| row.load_bytes_s[0]),
        line("a node: signs of life", |row| row.sign_bytes_s[0]),
        line("the head hears: words on load", |row| row.load_bytes_s[1]),
        line("the head hears: signs of life", |row| row.sign_bytes_s[1]),
    ];
    let (title, y) = ("Heartbeats", "bytes a second, as frames");
    show::write(&options.plots.join("sim-scale-heartbeats.svg"), &Plot { title, x: "nodes", y, lines, log: true })
}
