//! Figure 8b: empty tasks a second for more and more nodes, with a driver on each.
//!
//! Owns: the run, its two bounds (throughput within 5 % of linear, cost a task flat), and what it costs: processor time inside the cores, messages and bytes a task, what the head hears. Drivers
//! begin once their nodes' workers are up, as in the paper.

use std::{error::Error, time::Duration};

use super::Options;
use crate::{
    meter::{Began, Core, Meter},
    model::MS,
    plan::Plan,
    show::{self, Line, Plot},
    world::{LoadTo, Settings, World},
};

/// When drivers begin: the workers that are started ahead are up by then.
const BEGIN_NS: u64 = 300 * MS;
/// Tasks of each driver.
const TASKS: u32 = 10_000;
/// Tasks of all drivers together, where the cost of a task is compared.
const EQUAL_TASKS: u32 = 1_000_000;
/// Of so many runs the mean is taken: processor time is real.
const EQUAL_RUNS: u32 = 3;
/// How long a cluster of one node goes on before it is the next one's turn: about as long as one event takes.
const TURN_NS: u64 = 500;
/// What a task may cost inside the cores, beside as many clusters of one node: others may run beside this.
const COST_TIMES_MAX: f64 = 1.5;
/// The cores whose time is counted.
const CORES: [Core; 4] = [Core::Submit, Core::Local, Core::Global, Core::Pool];
/// When a run is given up.
const END_NS: u64 = 60_000 * MS;

/// What one run gave.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// How many nodes.
    pub(crate) nodes: u32,
    /// Tasks a second, in virtual time.
    pub(crate) tasks_per_s: f64,
    /// Processor time inside each kind of core, in nanoseconds a task.
    pub(crate) core_ns: [f64; 4],
    /// The same of all cores together, where all nodes together have the same number of tasks, however many nodes there are; and
    /// in as many clusters of one node each.
    pub(crate) equal_ns: [f64; 2],
    /// Messages about tasks, each task.
    pub(crate) data_frames: f64,
    /// Bytes about tasks, each task.
    pub(crate) data_bytes: f64,
    /// All other messages, a thousand tasks.
    pub(crate) control_frames: f64,
    /// Messages that a node hears of other nodes' load, a second.
    pub(crate) loads_per_node_s: f64,
    /// Messages that the head hears from other nodes, a second.
    pub(crate) head_frames_s: f64,
    /// Of one processor, what the head's global scheduler takes.
    pub(crate) head_share: f64,
}

/// Runs `tasks` empty tasks on each of `nodes` nodes.
///
/// # Errors
/// That they do not end.
pub(crate) fn measure(nodes: u32, tasks: u32, load_to: LoadTo, seed: u64) -> Result<Row, String> {
    let mut world = World::new(Settings { load_to, ..Settings::nodes(nodes, seed) });
    let drivers: Vec<u32> = (0..nodes).map(|node| world.driver(node, Plan::equal(tasks, 0), BEGIN_NS)).collect();
    world.run(BEGIN_NS - 1, |_| false);
    world.meter.reset();
    let began = Began::now();
    if !world.run(END_NS, |world| world.open() == 0) {
        return Err(format!("after {} s of virtual time: {}", END_NS / MS / 1_000, world.left_of(drivers[0])));
    }
    let took = (world.now - BEGIN_NS) as f64 / 1e9;
    let all = f64::from(nodes) * f64::from(tasks);
    // What is measured inside the cores is the time that passes; only a part of it was ours.
    let share = Meter::share(&began);
    let each = |spent: Duration| spent.as_nanos() as f64 * share / all;
    let (mut data_frames, mut data_bytes, mut control) = (0.0, 0.0, 0.0);
    for (kind, count) in world.meter.kinds() {
        if kind.starts_with("run") || kind.starts_with("done") {
            data_frames += count.frames as f64;
            data_bytes += count.bytes as f64;
        } else {
            control += count.frames as f64;
        }
    }
    Ok(Row {
        nodes,
        tasks_per_s: all / took,
        core_ns: CORES.map(|core| each(world.meter.spent(core))),
        equal_ns: [0.0; 2],
        data_frames: data_frames / all,
        data_bytes: data_bytes / all,
        control_frames: control / all * 1_000.0,
        loads_per_node_s: world.meter.of("load").frames as f64 / f64::from(nodes) / took,
        head_frames_s: world.meter.at_head.frames as f64 / took,
        head_share: world.meter.spent(Core::Global).as_secs_f64() * share / took,
    })
}

/// What a task costs inside all cores: in one cluster of so many nodes, and in as many clusters of one node each that take turns
/// in this process. There are as many tasks in all, however many nodes there are.
fn cost_of_equal_work(nodes: u32, seed: u64) -> Result<[f64; 2], String> {
    let mut costs = [0.0, 0.0];
    for _ in 0..EQUAL_RUNS {
        let row = measure(nodes, EQUAL_TASKS / nodes, LoadTo::Scheduler, seed)?;
        costs[0] += row.core_ns.iter().sum::<f64>() / f64::from(EQUAL_RUNS);
        costs[1] += cost_apart(nodes, EQUAL_TASKS / nodes, seed)? / f64::from(EQUAL_RUNS);
    }
    Ok(costs)
}

/// What a task costs in so many clusters of one node each, of which every one goes on for [`TURN_NS`] at a time.
fn cost_apart(clusters: u32, tasks: u32, seed: u64) -> Result<f64, String> {
    let of_one = |at: u32| {
        let mut world = World::new(Settings::nodes(1, seed + u64::from(at)));
        world.driver(0, Plan::equal(tasks, 0), BEGIN_NS);
        world.run(BEGIN_NS - 1, |_| false);
        world.meter.reset();
        world
    };
    let mut worlds: Vec<World> = (0..clusters).map(of_one).collect();
    let (began, mut at) = (Began::now(), BEGIN_NS);
    while worlds.iter().any(|world| world.open() > 0) {
        at += TURN_NS;
        if at > END_NS {
            return Err(format!("{clusters} clusters of one node are not done after {} s", END_NS / MS / 1_000));
        }
        for world in &mut worlds {
            world.run(at, |_| false);
        }
    }
    let share = Meter::share(&began);
    let spent = |world: &World| CORES.iter().map(|core| world.meter.spent(*core)).sum::<Duration>();
    let all: Duration = worlds.iter().map(spent).sum();
    Ok(all.as_nanos() as f64 * share / f64::from(clusters) / f64::from(tasks))
}

/// The numbers of nodes up to `most`: 1, 10, 100, 1,000.
pub(crate) fn sizes(most: u32) -> Vec<u32> {
    let usual = [1, 10, 100, 1_000, 10_000].into_iter().filter(|nodes| *nodes < most);
    usual.chain([most]).collect()
}

/// The figure.
///
/// # Errors
/// As [`measure`]; that it is not linear; that the plot cannot be written.
pub(crate) fn figure(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut rows = Vec::new();
    for nodes in sizes(options.nodes) {
        let mut row = measure(nodes, TASKS, LoadTo::Scheduler, options.seed)?;
        row.equal_ns = cost_of_equal_work(nodes, options.seed)?;
        rows.push(row);
    }
    show_rows(&rows);
    let line = |name: &str, of: fn(&Row) -> f64| Line {
        name: name.to_owned(),
        points: rows.iter().map(|row| (f64::from(row.nodes), of(row))).collect(),
    };
    let one = rows[0].tasks_per_s;
    let linear = rows.iter().map(|row| (f64::from(row.nodes), one * f64::from(row.nodes))).collect();
    let lines = vec![line("simulated", |row| row.tasks_per_s), Line { name: "linear".to_owned(), points: linear }];
    let (title, y) = ("Empty tasks, a driver on each node (Figure 8b)", "tasks a second");
    show::write(&options.plots.join("sim-scale-8b.svg"), &Plot { title, x: "nodes", y, lines, log: true })?;
    let lines = vec![
        line("submit core", |row| row.core_ns[0]),
        line("local core", |row| row.core_ns[1]),
        line("global core", |row| row.core_ns[2].max(0.1)),
        line("pool core", |row| row.core_ns[3].max(0.1)),
        line("all cores, equal work", |row| row.equal_ns[0]),
        line("as many clusters of one", |row| row.equal_ns[1]),
    ];
    let (title, y) = ("Processor time inside the cores", "nanoseconds a task");
    show::write(&options.plots.join("sim-scale-cost.svg"), &Plot { title, x: "nodes", y, lines, log: true })?;
    linear_within(&rows, 0.05)?;
    Ok(flat_within(&rows, COST_TIMES_MAX)?)
}

/// That what a task costs inside the cores does not grow with the number of nodes: it is at most so many times of what it costs in
/// as many clusters of one node. Both grow, for the state of a thousand nodes is in one process here and not in the caches of
/// its processor: each event finds its node's state there the less, the more nodes there are.
///
/// # Errors
/// The row that costs more.
pub(crate) fn flat_within(rows: &[Row], times: f64) -> Result<(), String> {
    match rows.iter().find(|row| row.nodes >= 10 && row.equal_ns[0] > times * row.equal_ns[1]) {
        Some(Row { nodes, equal_ns: [one, apart], .. }) => {
            Err(format!("{nodes} nodes: {one:.0} ns a task inside the cores, {apart:.0} in as many clusters of one"))
        }
        None => Ok(()),
    }
}

/// That throughput grows as the number of nodes, within `part` of it.
///
/// # Errors
/// The row that does not.
pub(crate) fn linear_within(rows: &[Row], part: f64) -> Result<(), String> {
    let one = rows[0].tasks_per_s / f64::from(rows[0].nodes);
    for row in rows {
        let ratio = row.tasks_per_s / f64::from(row.nodes) / one;
        if (ratio - 1.0).abs() > part {
            return Err(format!("{} nodes: {ratio:.3} of linear, more than {part} away", row.nodes));
        }
    }
    Ok(())
}

fn show_rows(rows: &[Row]) {
    let one = rows[0].tasks_per_s / f64::from(rows[0].nodes);
    let cells = rows.iter().map(|row| {
        let [submit, local, global, pool] = row.core_ns;
        let ns = |value: f64| format!("{value:.1}");
        vec![
            row.nodes.to_string(),
            show::short(row.tasks_per_s),
            format!("{:.3}", row.tasks_per_s / f64::from(row.nodes) / one),
            ns(submit),
            ns(local),
            ns(global),
            ns(pool),
            ns(row.equal_ns[0]),
            ns(row.equal_ns[1]),
            format!("{:.2}", row.data_frames),
            format!("{:.0}", row.data_bytes),
            format!("{:.2}", row.control_frames),
            show::short(row.loads_per_node_s),
            show::short(row.head_frames_s),
            format!("{:.1} %", row.head_share * 100.0),
        ]
    });
    let head = [
        "nodes",
        "tasks/s",
        "of linear",
        "submit ns",
        "local ns",
        "global ns",
        "pool ns",
        "equal work",
        "clusters of one",
        "frames/task",
        "bytes/task",
        "control/1000",
        "load/node/s",
        "head hears/s",
        "head's core",
    ];
    show::table("Empty tasks, a driver on each node (Figure 8b)", &head, &cells.collect::<Vec<_>>());
}
