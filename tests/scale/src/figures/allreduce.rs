//! Figure 12b: a slow scheduler against the time of a ring allreduce.
//!
//! Owns: the graph of a ring allreduce (reduce-scatter, then allgather) whose steps are tasks, each on its rank's node, and
//! two ways to be slow: on each task's way, as in the paper's scheduler, and on each lease's, as where a scheduler of this
//! design would be slow.

use std::error::Error;

use actinic_actors::{cluster::wire::ClassSpec, options::SchedulingStrategy};
use actinic_gcs::NodeId;

use super::Options;
use crate::{
    model::{Model, MS},
    plan::{plain, Plan, Step, Tasks},
    show::{self, Line, Plot},
    world::{Settings, World},
};

/// Ranks, each on a node of its own, as in the paper.
pub(crate) const RANKS: u32 = 16;
/// Bytes a second at which a chunk is added up: a warm copy of the reference machine.
const ADD_BYTES_PER_S: u64 = 13_000_000_000;
const BEGIN_NS: u64 = 500 * MS;
const END_NS: u64 = 120_000 * MS;

/// The graph: the task of a rank in a round needs the rank's own and its left neighbour's of the round before.
fn ring(bytes: u64, model: &Model) -> Plan {
    let on = |rank: u32| ClassSpec {
        strategy: SchedulingStrategy::NodeAffinity { node: NodeId(u128::from(rank) + 1), soft: false },
        ..plain()
    };
    let chunk = bytes / u64::from(RANKS);
    let adding = (u128::from(chunk) * 1_000_000_000 / u128::from(ADD_BYTES_PER_S)) as u64;
    let mut steps = Vec::new();
    for round in 0..2 * (RANKS - 1) {
        for rank in 0..RANKS {
            let before = |rank: u32| (round - 1) * RANKS + rank;
            let after = if round == 0 { Vec::new() } else { vec![before(rank), before((rank + RANKS - 1) % RANKS)] };
            // The chunk comes over the network, and is added up in the first half.
            let ran_ns = model.wire_ns(chunk) + model.tcp_ns + if round < RANKS - 1 { adding } else { 0 };
            steps.push(Step { ran_ns, after, class: rank as usize, ..Step::default() });
        }
    }
    Plan::of((0..RANKS).map(on).collect(), Tasks::Graph(steps))
}

/// The time of one allreduce of so many bytes, in milliseconds. It is the second of two, since leases are held by then; of
/// the first where `cold`.
///
/// # Errors
/// That it does not end.
pub(crate) fn measure(bytes: u64, each_task_ms: u64, each_lease_ms: u64, cold: bool, seed: u64) -> Result<f64, String> {
    let mut settings = Settings::nodes(RANKS, seed);
    settings.model.each_lease_ns = each_lease_ms * MS;
    let model = settings.model.clone();
    let mut world = World::new(settings);
    let mut plan = ring(bytes, &model);
    plan.each_task_waits_ns = each_task_ms * MS;
    if !cold {
        // One after the other in one program: the second waits for the first.
        let Tasks::Graph(steps) = &mut plan.tasks else { return Err("a ring is a graph".to_owned()) };
        let count = steps.len() as u32;
        let mut again = steps.clone();
        for (at, step) in again.iter_mut().enumerate() {
            step.after.iter_mut().for_each(|before| *before += count);
            if at < RANKS as usize {
                step.after = (count - RANKS..count).collect();
            }
        }
        steps.extend(again);
    }
    let half = plan.len() / 2;
    let driver = world.driver(0, plan, BEGIN_NS);
    let mut began = BEGIN_NS;
    let over = world.run(END_NS, |world| {
        if !cold && world.outcome(driver).0 == half {
            began = world.now;
        }
        world.is_over(driver)
    });
    if !over {
        return Err(world.left_of(driver));
    }
    Ok((world.ended_at(driver) - began) as f64 / MS as f64)
}

/// The figure.
///
/// # Errors
/// As [`measure`]; that the plot cannot be written.
pub(crate) fn figure(options: &Options) -> Result<(), Box<dyn Error>> {
    let delays = [0, 1, 5, 10];
    let sizes = [(10_u64 << 20, "10 MiB"), (100 << 20, "100 MiB"), (1_000 << 20, "1,000 MiB")];
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for (bytes, name) in sizes {
        for on_lease in [false, true] {
            let times = delays.iter().map(|delay| {
                let (task, lease) = if on_lease { (0, *delay) } else { (*delay, 0) };
                measure(bytes, task, lease, false, options.seed)
            });
            let times = times.collect::<Result<Vec<f64>, String>>()?;
            let way = if on_lease { "each lease" } else { "each task" };
            let cells = times.iter().map(|ms| format!("{ms:.1} ms ({:.2} x)", ms / times[0]));
            rows.push([name.to_owned(), way.to_owned()].into_iter().chain(cells).collect());
            let points = delays.iter().zip(&times).map(|(delay, ms)| (*delay as f64, *ms)).collect();
            lines.push(Line { name: format!("{name}, on {way}"), points });
        }
    }
    let head = ["size", "added to", "0 ms", "1 ms", "5 ms", "10 ms"];
    show::table("Ring allreduce of 16 nodes, with a slow scheduler (Figure 12b)", &head, &rows);
    let (title, x, y) = ("Ring allreduce with a slow scheduler (Figure 12b)", "added delay, ms", "iteration, ms");
    show::write(&options.plots.join("sim-scale-12b.svg"), &Plot { title, x, y, lines, log: false })
}
