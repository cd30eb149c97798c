//! Placement groups on two nodes, and actors in worker processes: many in a few, and each in one of its own.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use actinic::prelude::*;

use super::cluster::kept;
use super::node::get_all;
use crate::floors::{process, rate, repeat, socket};
use crate::row::{Ctx, Goal, Outcome, Row, Unit, WORKERS};

const GROUPS: usize = 1_000;
const ACTORS: usize = 10_000;
/// So many processes of this program fit into the memory of a small machine.
const ACTORS_APART: usize = process::PROCESSES;
/// Nodes of the cluster of these rows.
const NODES: usize = 2;

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let ray = Goal { text: "20 x Ray's 287/s", figure: Some(20.0 * 287.0), ..Goal::NONE };
    let actors = Goal { text: "50 k/s", figure: Some(5e4), ..Goal::NONE };
    let processes = Goal { text: "half of bare processes", ratio: Some(0.5), ..Goal::NONE };
    let row = |name, goal, measure, floor| Row { name, unit: Unit::PerSecond, goal, measure, references: vec![floor] };
    vec![
        row("placement groups made and removed on two nodes", ray, groups, &socket::TCP_CALLS),
        row(
            "actors made and alive at once, in at most four worker processes",
            actors,
            made_together,
            &socket::UNIX_CALLS,
        ),
        row("actors made, each in a worker process of its own", processes, made_apart, &process::STARTED),
    ]
}

/// Groups a second: all are asked for, each is waited for, all are removed, and then both nodes are reserved whole, which
/// cannot be before the last of them is gone. The floor is one call to another node; a group takes two of them (it is prepared
/// on both nodes, and then held), its driver's request and answer, three rows in the control store, and as much again to go.
fn groups(ctx: &mut Ctx) -> Outcome<f64> {
    let groups = ctx.size(GROUPS);
    let runtime = kept(ctx)?;
    let bundles = |units: f64| vec![ResourceSet::new().with("CPU", units); NODES];
    rate(groups, || {
        let made = || runtime.placement_group(bundles(0.001), PlacementStrategy::StrictSpread);
        let all = (0..groups).map(|_| made()).collect::<Result<Vec<_>, _>>()?;
        for group in &all {
            runtime.get(&group.ready())?;
        }
        all.iter().for_each(|group| runtime.remove_placement_group(group));
        let whole = runtime.placement_group(bundles(WORKERS as f64), PlacementStrategy::StrictSpread)?;
        runtime.get(&whole.ready())?;
        runtime.remove_placement_group(&whole);
        Ok(())
    })
}

/// Knows where it is.
#[remote]
struct Placed;

#[remote]
impl Placed {
    fn new() -> Self {
        Self
    }

    fn host(&self) -> u32 {
        std::process::id()
    }
}

/// Actors a second that are made, each called once; all are alive until the last has answered. They ask for nothing, so that no
/// more processes host them than the nodes have CPUs. The floor is one call into another process; an actor takes several, for
/// beside the call that is made to it, its keeper places it, writes down that it was made, where, and that it is up, and
/// has it made in its process.
fn made_together(ctx: &mut Ctx) -> Outcome<f64> {
    let actors = ctx.size(ACTORS);
    let runtime = kept(ctx)?;
    made(runtime, actors, 1..=NODES * WORKERS, || Placed::options().try_remote())
}

/// As above; these ask for a part of a CPU, and so have a process each.
fn made_apart(ctx: &mut Ctx) -> Outcome<f64> {
    let actors = ctx.size(ACTORS_APART);
    let runtime = kept(ctx)?;
    let actors_a_second = made(runtime, actors, actors..=actors, || Placed::options().num_cpus(0.01).try_remote())?;
    // Their processes end meanwhile, not in the next run.
    repeat(10, || get_all(runtime, &[runtime.put(())?]))?;
    Ok(actors_a_second)
}

fn made(
    runtime: &Runtime,
    actors: usize,
    hosts: RangeInclusive<usize>,
    make: impl Fn() -> Result<PlacedHandle, actinic::Error>,
) -> Outcome<f64> {
    let (mut alive, mut hosted_by) = (Vec::new(), BTreeSet::new());
    let made = rate(actors, || {
        alive = (0..actors).map(|_| make()).collect::<Result<Vec<_>, _>>()?;
        let refs: Vec<ObjectRef<u32>> = alive.iter().map(PlacedHandle::host).collect();
        hosted_by = runtime.get(&refs)?.into_iter().collect();
        Ok(())
    });
    alive.iter().for_each(|actor| actor.kill());
    match hosted_by.len() {
        processes if hosts.contains(&processes) => made,
        processes => Err(format!("{processes} processes hosted the actors, not {hosts:?} as the row says").into()),
    }
}
