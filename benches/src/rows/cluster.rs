//! Tasks through worker processes: on the driver's own node, over Unix sockets, and on another node, over TCP.
//!
//! The nodes and their workers are processes of this very program. A node *apart* treats the others of its machine as if
//! they were on others, so that what goes there goes over TCP. And large objects, read in place on one node and fetched by
//! others.

use actinic::cluster::Cluster;
use actinic::prelude::*;

use super::node::get_all;
use super::remote::empty;
use crate::floors::{each, memory, rate, repeat, socket};
use crate::row::{Ctx, Goal, Outcome, Row, Unit, WORKERS};

const TASKS: usize = 200_000;
const TASKS_ONE_BY_ONE: usize = 5_000;
/// What the other node has, and the driver's has not.
const FAR: &str = "far";
/// A large object on one node.
const OBJECT_BYTES: usize = 100_000_000;
/// One that goes to other nodes.
const MOVED_BYTES: usize = 256 << 20;
/// What each of the nodes has to which an object is broadcast.
const EACH: [&str; 3] = ["first", "second", "third"];
/// Gets of a large object.
const GETS: usize = 200;

#[remote]
fn filled(numbers: usize) -> Tensor<i64> {
    Tensor::full([numbers], 7)
}

#[remote]
fn first(x: Tensor<i64>) -> i64 {
    x.as_slice()[0]
}

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let many = Goal { text: "500 k/s", figure: Some(5e5), ratio: None };
    let one = Goal { text: "under 2 x the round trip", figure: None, ratio: Some(0.5) };
    let far = Goal { text: "200 k/s", figure: Some(2e5), ratio: None };
    let far_one = Goal { text: "under 2.5 x the round trip", figure: None, ratio: Some(0.4) };
    let put = Goal { text: "80 % of the warm copy", figure: None, ratio: Some(0.8) };
    let get = Goal { text: "under 1 ms: no copy", figure: Some(1e-3), ratio: None };
    let moved = Goal { text: "80 % of one stream", figure: None, ratio: Some(0.8) };
    let spread = Goal { text: "as much to each as one stream carries", figure: None, ratio: Some(1.0) };
    let streams = || vec![&socket::TCP_STREAM, &socket::TCP_STREAMS];
    let row = |name, unit, goal, measure, references| Row { name, unit, goal, measure, references };
    vec![
        row("tasks through worker processes", Unit::PerSecond, many, |ctx| many_of(ctx, near), Vec::new()),
        row("one task through a worker process", Unit::Seconds, one, |ctx| one_of(ctx, near), vec![&socket::UNIX]),
        row("tasks on another node", Unit::PerSecond, far, |ctx| many_of(ctx, beyond), Vec::new()),
        row("one task on another node", Unit::Seconds, far_one, |ctx| one_of(ctx, beyond), vec![&socket::TCP]),
        row("put 100 MB for workers", Unit::BytesPerSecond, put, put_shared, vec![&memory::COPY_WARM]),
        row("get a worker's 100 MB", Unit::Seconds, get, get_shared, Vec::new()),
        row("256 MiB to another node", Unit::BytesPerSecond, moved, to_another, streams()),
        row("256 MiB to three nodes", Unit::BytesPerSecond, spread, to_three, streams()),
    ]
}

/// Bytes a second of an object that the driver puts into its node's memory.
fn put_shared(ctx: &mut Ctx) -> Outcome<f64> {
    let numbers = ctx.size(OBJECT_BYTES / 8);
    let tensor = Tensor::<i64>::full([numbers], 7);
    let runtime = kept(ctx)?;
    // What is put now is warm when it is put again.
    drop(runtime.put(tensor.clone())?);
    rate(numbers * 8, || repeat(1, || runtime.put(tensor.clone())))
}

/// Seconds until the driver can read what a worker has made.
fn get_shared(ctx: &mut Ctx) -> Outcome<f64> {
    let (gets, numbers) = (ctx.size(GETS), ctx.size(OBJECT_BYTES / 8));
    let runtime = kept(ctx)?;
    let made = filled.remote(numbers);
    runtime.get(&made)?;
    each(gets, || repeat(gets, || runtime.get(&made)))
}

/// Bytes a second of an object that a task on another node needs.
fn to_another(ctx: &mut Ctx) -> Outcome<f64> {
    let numbers = ctx.size(MOVED_BYTES / 8);
    let runtime = kept(ctx)?;
    let there = |x: &ObjectRef<Tensor<i64>>| first.options().num_cpus(0.0).resource(FAR, 1.0).remote(x);
    // Once before, so that the connections and the memory are there.
    runtime.get(&there(&runtime.put(Tensor::full([numbers], 7))?))?;
    let object = runtime.put(Tensor::full([numbers], 7))?;
    rate(numbers * 8, || Ok(drop(runtime.get(&there(&object))?)))
}

/// A cluster of four nodes.
struct Four {
    runtime: Runtime,
    _cluster: Cluster,
}

/// Bytes a second to each of three nodes that need an object at once.
fn to_three(ctx: &mut Ctx) -> Outcome<f64> {
    let numbers = ctx.size(MOVED_BYTES / 8);
    let Four { runtime, .. } = ctx.kept(|_| {
        let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)]])?;
        for name in EACH {
            cluster.add_node_apart(&[("CPU", 1.0), (name, 1.0)])?;
        }
        let runtime = Runtime::builder().address(cluster.address()).init()?;
        Ok(Four { runtime, _cluster: cluster })
    })?;
    let everywhere = |x: &ObjectRef<Tensor<i64>>| -> Vec<ObjectRef<i64>> {
        EACH.iter().map(|name| first.options().num_cpus(0.0).resource(name, 1.0).remote(x)).collect()
    };
    runtime.get(&everywhere(&runtime.put(Tensor::full([numbers], 7))?))?;
    let object = runtime.put(Tensor::full([numbers], 7))?;
    rate(EACH.len() * numbers * 8, || Ok(drop(runtime.get(&everywhere(&object))?)))
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
