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
/// Runs are repeated for their processor time as long as they have fewer tasks together; each twice at least.
const RUNS_TASKS: u64 = 2_000_000;
/// What a task may cost inside the cores, beside ten nodes. All nodes' state is in the memory of one process here, whose
/// processor caches hold that of ten nodes and not that of a thousand; and others may run beside this.
const COST_TIMES_MAX: f64 = 3.0;
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
    let cores = [Core::Submit, Core::Local, Core::Global, Core::Pool];
    Ok(Row {
        nodes,
        tasks_per_s: all / took,
        core_ns: cores.map(|core| each(world.meter.spent(core))),
        data_frames: data_frames / all,
        data_bytes: data_bytes / all,
        control_frames: control / all * 1_000.0,
        loads_per_node_s: world.meter.of("load").frames as f64 / f64::from(nodes) / took,
        head_frames_s: world.meter.at_head.frames as f64 / took,
        head_share: world.meter.spent(Core::Global).as_secs_f64() * share / took,
    })
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
        // Processor time is real, and differs from run to run: the mean of some.
        let runs = (RUNS_TASKS / (u64::from(nodes) * u64::from(TASKS))).clamp(2, 20);
        let mut row = measure(nodes, TASKS, LoadTo::Scheduler, options.seed)?;
        for _ in 1..runs {
            let again = measure(nodes, TASKS, LoadTo::Scheduler, options.seed)?;
            row.core_ns.iter_mut().zip(again.core_ns).for_each(|(sum, ns)| *sum += ns);
        }
        row.core_ns.iter_mut().for_each(|sum| *sum /= runs as f64);
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
    ];
    let (title, y) = ("Processor time inside the cores", "nanoseconds a task");
    show::write(&options.plots.join("sim-scale-cost.svg"), &Plot { title, x: "nodes", y, lines, log: true })?;
    linear_within(&rows, 0.05)?;
    Ok(flat_within(&rows, COST_TIMES_MAX)?)
}

/// That what a task costs inside the cores stays the same from ten nodes on, at most so many times of it.
///
/// # Errors
/// The row that costs more.
pub(crate) fn flat_within(rows: &[Row], times: f64) -> Result<(), String> {
    let cost = |row: &Row| row.core_ns.iter().sum::<f64>();
    let Some(ten) = rows.iter().find(|row| row.nodes >= 10) else { return Ok(()) };
    match rows.iter().find(|row| row.nodes > ten.nodes && cost(row) > times * cost(ten)) {
        Some(row) => {
            let (dear, cheap) = (cost(row), cost(ten));
            Err(format!("{} nodes: {dear:.0} ns a task inside the cores, {cheap:.0} on {}", row.nodes, ten.nodes))
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
        "frames/task",
        "bytes/task",
        "control/1000",
        "load/node/s",
        "head hears/s",
        "head's core",
    ];
    show::table("Empty tasks, a driver on each node (Figure 8b)", &head, &cells.collect::<Vec<_>>());
}
