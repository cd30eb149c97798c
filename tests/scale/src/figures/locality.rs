//! Figure 8a: tasks with one large input each, with and without telling the schedulers where the inputs are.
//!
//! Owns: the run. 1,000 tasks read one object each, which lies on a node at random. What is decided is the cores' own: the class
//! of a task by its input's node, the global scheduler's cost, what a node leaves to others, and how objects are fetched. *Off*
//! means that the owner does not tell where inputs are; all else is the same. The smallest object is above what travels inside of
//! messages, and below what tasks are kept apart for by where it is (`HOME_BYTES_MIN`): there both ways are the same. Workers are up on all nodes before, as in the
//! paper, and a task that has its input takes no longer than an empty one, since it reads it in place.

use std::error::Error;

use actinic_actors::{cluster::wire::ClassSpec, options::SchedulingStrategy};

use super::Options;
use crate::{
    model::MS,
    plan::{plain, Plan, Step, Tasks},
    rng::Rng,
    show::{self, Line, Plot},
    world::{Settings, World},
};

/// Tasks, as in the paper.
pub(crate) const TASKS: u32 = 1_000;
/// When the driver begins.
const BEGIN_NS: u64 = 100 * MS;
/// When a run is given up.
const END_NS: u64 = 600_000 * MS;
/// Bytes a second of 10 Gbit/s, and of the paper's 25 Gbit/s.
pub(crate) const LINKS: [(u64, &str); 2] = [(1_250_000_000, "10 Gbit/s"), (3_125_000_000, "25 Gbit/s")];

/// What is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// How many nodes.
    pub(crate) nodes: u32,
    /// Bytes of an object.
    pub(crate) bytes: u64,
    /// Bytes a second of a node's link, each way.
    pub(crate) link_bytes_per_s: u64,
    /// Whether the nodes are processes of one machine, and read each other's objects in place.
    pub(crate) one_machine: bool,
    /// Whether schedulers are told where inputs are.
    pub(crate) locality: bool,
    /// How many tasks.
    pub(crate) tasks: u32,
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// From a task's submission to its result, on average, in milliseconds.
    pub(crate) mean_ms: f64,
    /// From the first submission to the last result, in milliseconds.
    pub(crate) all_ms: f64,
    /// Bytes of objects that were fetched.
    pub(crate) moved_bytes: u64,
}

/// Tasks that bring workers up everywhere, and then those that are measured.
fn program(case: &Case, cpus: u32, rng: &mut Rng) -> Plan {
    let warm = case.nodes * cpus * 4;
    let spread = ClassSpec { strategy: SchedulingStrategy::Spread, ..plain() };
    let mut steps: Vec<Step> = (0..warm).map(|_| Step { ran_ns: 30 * MS, class: 1, ..Step::default() }).collect();
    // Long enough that leases of the warm-up have gone back.
    steps.push(Step { ran_ns: 500 * MS, after: (0..warm).collect(), ..Step::default() });
    steps.extend((0..case.tasks).map(|task| Step { after: vec![warm], input: Some(task), ..Step::default() }));
    let objects = (0..case.tasks).map(|_| (rng.below(u64::from(case.nodes)) as u32, case.bytes)).collect();
    Plan { objects, locality: case.locality, ..Plan::of(vec![plain(), spread], Tasks::Graph(steps)) }
}

/// Runs a case.
///
/// # Errors
/// That it does not end.
pub(crate) fn measure(case: &Case, seed: u64) -> Result<Row, String> {
    let mut settings = Settings { one_machine: case.one_machine, ..Settings::nodes(case.nodes, seed) };
    settings.model.tcp_bytes_per_s = case.link_bytes_per_s;
    let plan = program(case, settings.cpus as u32, &mut Rng::new(seed));
    let mut world = World::new(settings);
    let driver = world.driver(0, plan, BEGIN_NS);
    if !world.run(END_NS, |world| world.is_over(driver)) {
        return Err(format!("{case:?}: {}", world.left_of(driver)));
    }
    let times: Vec<(u64, u64)> = world.times(driver).iter().copied().filter(|(begun, _)| *begun > 0).collect();
    let sum: u64 = times.iter().map(|(begun, ended)| ended - begun).sum();
    let first = times.iter().map(|(begun, _)| *begun).min().unwrap_or(0);
    let last = times.iter().map(|(_, ended)| *ended).max().unwrap_or(0);
    Ok(Row {
        mean_ms: sum as f64 / times.len().max(1) as f64 / MS as f64,
        all_ms: (last - first) as f64 / MS as f64,
        moved_bytes: world.meter.of("chunk").bytes,
    })
}

/// The figure.
///
/// # Errors
/// As [`measure`]; that the plot cannot be written.
pub(crate) fn figure(options: &Options) -> Result<(), Box<dyn Error>> {
    let sizes = [(128 << 10, "128 KiB"), (1_000_000, "1 MB"), (10_000_000, "10 MB"), (100_000_000, "100 MB")];
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let machines =
        LINKS.map(|(bytes, link)| (bytes, link, false)).into_iter().chain([(LINKS[0].0, "one machine", true)]);
    for (link_bytes_per_s, link, one_machine) in machines {
        for nodes in [2, 10] {
            let mut points = [Vec::new(), Vec::new()];
            for (bytes, name) in sizes {
                let case = |locality| Case { nodes, bytes, link_bytes_per_s, one_machine, locality, tasks: TASKS };
                let (on, off) = (measure(&case(true), options.seed)?, measure(&case(false), options.seed)?);
                points[0].push((bytes as f64, on.mean_ms));
                points[1].push((bytes as f64, off.mean_ms));
                rows.push(vec![
                    link.to_owned(),
                    nodes.to_string(),
                    name.to_owned(),
                    format!("{:.1} ms", on.mean_ms),
                    format!("{:.1} ms", off.mean_ms),
                    format!("{:.1} x", off.mean_ms / on.mean_ms),
                    format!("{:.1} ms", on.all_ms),
                    format!("{:.1} ms", off.all_ms),
                    show::short(on.moved_bytes as f64),
                    show::short(off.moved_bytes as f64),
                ]);
            }
            if link_bytes_per_s == LINKS[0].0 && !one_machine {
                for (points, way) in points.into_iter().zip(["with locality", "without"]) {
                    lines.push(Line { name: format!("{nodes} nodes, {way}"), points });
                }
            }
        }
    }
    let head = ["link", "nodes", "object", "mean", "without", "ratio", "all", "without", "bytes moved", "without"];
    show::table("1,000 tasks with one large input each, with and without locality (Figure 8a)", &head, &rows);
    let title = "Mean time of a task with one large input, links of 10 Gbit/s (Figure 8a)";
    let (x, y) = ("bytes of the input", "milliseconds");
    show::write(&options.plots.join("sim-scale-8a.svg"), &Plot { title, x, y, lines, log: true })
}
