//! Tasks through worker processes: on the driver's own node, over Unix sockets, and on another node, over TCP.
//!
//! The nodes and their workers are processes of this very program. A node *apart* treats the others of its machine as if
//! they were on others, so that what goes there goes over TCP.

use actinic::cluster::Cluster;
use actinic::prelude::*;

use super::node::get_all;
use super::remote::empty;
use crate::floors::{each, rate, repeat, socket};
use crate::row::{Ctx, Goal, Outcome, Row, Unit, WORKERS};

const TASKS: usize = 200_000;
const TASKS_ONE_BY_ONE: usize = 5_000;
/// What the other node has, and the driver's has not.
const FAR: &str = "far";

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let many = Goal { text: "500 k/s", figure: Some(5e5), ratio: None };
    let one = Goal { text: "under 2 x the round trip", figure: None, ratio: Some(0.5) };
    let far = Goal { text: "200 k/s", figure: Some(2e5), ratio: None };
    let far_one = Goal { text: "under 2.5 x the round trip", figure: None, ratio: Some(0.4) };
    let row = |name, unit, goal, measure, references| Row { name, unit, goal, measure, references };
    vec![
        row("tasks through worker processes", Unit::PerSecond, many, |ctx| many_of(ctx, near), Vec::new()),
        row("one task through a worker process", Unit::Seconds, one, |ctx| one_of(ctx, near), vec![&socket::UNIX]),
        row("tasks on another node", Unit::PerSecond, far, |ctx| many_of(ctx, beyond), Vec::new()),
        row("one task on another node", Unit::Seconds, far_one, |ctx| one_of(ctx, beyond), vec![&socket::TCP]),
    ]
}

/// A cluster and its driver; the driver ends first.
struct Kept {
    runtime: Runtime,
    _cluster: Cluster,
}

fn kept(ctx: &mut Ctx) -> Outcome<&Runtime> {
    let kept = ctx.kept(|_| {
        let mut cluster = Cluster::with_resources(&[&[("CPU", WORKERS as f64)]])?;
        cluster.add_node_apart(&[("CPU", WORKERS as f64), (FAR, WORKERS as f64)])?;
        let runtime = Runtime::builder().address(cluster.address()).init()?;
        // Until every worker has come up.
        for _ in 0..100 {
            get_all(&runtime, &[near(), near(), near(), beyond(), beyond(), beyond()])?;
        }
        Ok(Kept { runtime, _cluster: cluster })
    })?;
    Ok(&kept.runtime)
}

fn near() -> ObjectRef<()> {
    empty.remote()
}

fn beyond() -> ObjectRef<()> {
    empty.options().num_cpus(0.0).resource(FAR, 1.0).remote()
}

fn many_of(ctx: &mut Ctx, task: fn() -> ObjectRef<()>) -> Outcome<f64> {
    let tasks = ctx.size(TASKS);
    let runtime = kept(ctx)?;
    rate(tasks, || {
        let refs: Vec<ObjectRef<()>> = (0..tasks).map(|_| task()).collect();
        get_all(runtime, &refs)?;
        Ok(())
    })
}

fn one_of(ctx: &mut Ctx, task: fn() -> ObjectRef<()>) -> Outcome<f64> {
    let tasks = ctx.size(TASKS_ONE_BY_ONE);
    let runtime = kept(ctx)?;
    each(tasks, || repeat(tasks, || runtime.get(&task())))
}
