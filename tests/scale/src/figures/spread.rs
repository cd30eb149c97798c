//! One driver against many nodes: how its work spreads, and how many CPUs it can keep busy.
//!
//! Owns: the run and its figures. Nodes other than the driver's begin with nothing: they fetch the driver's executable and
//! start workers from it, which is part of what is shown.

use std::error::Error;

use super::{empty_tasks::sizes, Options};
use crate::{
    meter::{Began, Core, Meter},
    model::MS,
    plan::Plan,
    show::{self, Line, Plot},
    world::{Settings, World},
};

/// When the driver begins.
const BEGIN_NS: u64 = 300 * MS;
/// When a run is given up.
const END_NS: u64 = 300_000 * MS;
/// Between two looks at who is busy.
const LOOK_NS: u64 = 10 * MS;

/// What one run gave.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// How many nodes.
    pub(crate) nodes: u32,
    /// How long a task runs.
    pub(crate) task_ms: u64,
    /// From the beginning until tasks have run on half of the nodes, and on nine of ten, in milliseconds.
    pub(crate) reached_ms: [Option<u64>; 2],
    /// CPUs that were busy on average while the middle half of the tasks ended.
    pub(crate) busy: f64,
    /// CPUs that there are.
    pub(crate) cpus: f64,
    /// Processor time inside the submit core and the global core, in nanoseconds a task.
    pub(crate) core_ns: [f64; 2],
}

/// Runs tasks of `task_ms`, `rounds` for each CPU, from one driver.
///
/// # Errors
/// That they do not end.
pub(crate) fn measure(nodes: u32, task_ms: u64, rounds: u32, seed: u64) -> Result<Row, String> {
    let mut world = World::new(Settings::nodes(nodes, seed));
    let count = nodes * 4 * rounds;
    let driver = world.driver(0, Plan::equal(count, task_ms * MS), BEGIN_NS);
    world.run(BEGIN_NS - 1, |_| false);
    world.meter.reset();
    let began = Began::now();
    let (mut reached, mut middle) = ([None, None], [None, None]);
    let mut at = BEGIN_NS;
    while world.open() > 0 {
        at += LOOK_NS;
        if at > END_NS {
            return Err(format!("{nodes} nodes: {}", world.left_of(driver)));
        }
        world.run(at, |_| false);
        let with_work = world.nodes_that_ran();
        for (share, reached) in [0.5, 0.9].into_iter().zip(&mut reached) {
            if f64::from(with_work) >= share * f64::from(nodes) {
                reached.get_or_insert((at - BEGIN_NS) / MS);
            }
        }
        let done = world.outcome(driver).0;
        for (part, middle) in [count / 4, count / 4 * 3].into_iter().zip(&mut middle) {
            if done >= part {
                middle.get_or_insert((at, done));
            }
        }
    }
    let busy = match middle {
        [Some((from, before)), Some((to, after))] if to > from => {
            f64::from(after - before) * (task_ms * MS) as f64 / (to - from) as f64
        }
        _ => 0.0,
    };
    let share = Meter::share(&began);
    let each = |core| world.meter.spent(core).as_nanos() as f64 * share / f64::from(count);
    let core_ns = [each(Core::Submit), each(Core::Global)];
    Ok(Row { nodes, task_ms, reached_ms: reached, busy, cpus: f64::from(nodes) * 4.0, core_ns })
}

/// The figure.
///
/// # Errors
/// As [`measure`]; that the plot cannot be written.
pub(crate) fn figure(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut rows = Vec::new();
    for task_ms in [10, 100] {
        for nodes in sizes(options.nodes) {
            rows.push(measure(nodes, task_ms, if task_ms == 10 { 100 } else { 20 }, options.seed)?);
        }
    }
    let ms = |reached: Option<u64>| reached.map_or("never".to_owned(), |ms| format!("{ms} ms"));
    let cells = rows.iter().map(|row| {
        vec![
            format!("{} ms", row.task_ms),
            row.nodes.to_string(),
            ms(row.reached_ms[0]),
            ms(row.reached_ms[1]),
            format!("{:.0} of {:.0}", row.busy, row.cpus),
            format!("{:.0} %", row.busy / row.cpus * 100.0),
            format!("{:.0}", row.core_ns[0]),
            format!("{:.0}", row.core_ns[1]),
        ]
    });
    let head = [
        "tasks of",
        "nodes",
        "half the nodes",
        "nine of ten",
        "CPUs busy",
        "of all",
        "submit ns/task",
        "global ns/task",
    ];
    show::table("One driver: how its work spreads", &head, &cells.collect::<Vec<_>>());
    let line = |task_ms: u64| Line {
        name: format!("tasks of {task_ms} ms"),
        points: rows.iter().filter(|row| row.task_ms == task_ms).map(|row| (row.cpus, row.busy)).collect(),
    };
    let lines = vec![line(10), line(100)];
    let (title, x, y) = ("CPUs that one driver keeps busy", "CPUs there are", "CPUs busy");
    show::write(&options.plots.join("sim-scale-spread.svg"), &Plot { title, x, y, lines, log: true })
}
