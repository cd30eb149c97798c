//! Large objects of a cluster: read in place on one machine, and fetched by others.

use actinic::cluster::Cluster;
use actinic::prelude::*;

use super::cluster::{kept, kept_encrypted, FAR};
use super::node::PATIENCE;
use crate::floors::{each, memory, rate, repeat, socket, tls};
use crate::row::{Ctx, Goal, Outcome, Row, Unit};

/// A large object on one node.
const OBJECT_BYTES: usize = memory::READ_BYTES;
/// One that goes to other nodes.
const MOVED_BYTES: usize = 256 << 20;
/// What each of the nodes has to which an object is broadcast.
const EACH: [&str; 3] = ["first", "second", "third"];
/// Large objects that are had one after the other, each once; they fit together in the smallest store.
const OBJECTS: usize = 4;

#[remote]
fn filled(numbers: usize) -> Tensor<i64> {
    Tensor::full([numbers], 7)
}

/// Touches one number.
#[remote]
fn first(x: Tensor<i64>) -> i64 {
    x.as_slice()[0]
}

/// Reads every number.
#[remote]
fn all(x: Tensor<i64>) -> i64 {
    memory::sum(x.as_slice())
}

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let put = Goal {
        text: "80 % of a warm copy by as many threads",
        ratio: Some(0.8),
        of: Some(memory::COPY_WARM_THREADS.name),
        ..Goal::NONE
    };
    let get = Goal { text: "under 1 ms: no copy; one number is touched", figure: Some(1e-3), ..Goal::NONE };
    let one = Some(socket::TCP_STREAM.name);
    let moved = Goal { text: "80 % of one stream", ratio: Some(0.8), of: one, ..Goal::NONE };
    let encrypted =
        Goal { text: "80 % of one encrypted stream", ratio: Some(0.8), of: Some(tls::STREAM.name), ..Goal::NONE };
    let spread = Goal {
        text: "the three together: 80 % of three streams at once",
        ratio: Some(0.8),
        of: Some(socket::TCP_THREE_STREAMS.name),
        ..Goal::NONE
    };
    let read = Goal { text: "80 % of a bare read", ratio: Some(0.8), ..Goal::NONE };
    let bare = || vec![&memory::READ_100_MB];
    let row = |name, unit, goal, measure, references| Row { name, unit, goal, measure, references };
    vec![
        row(
            "put 100 MB for workers",
            Unit::BytesPerSecond,
            put,
            put_shared,
            vec![&memory::COPY_WARM_THREADS, &memory::COPY_WARM],
        ),
        row("get a worker's 100 MB", Unit::Seconds, get, |ctx| get_shared(ctx, touch), vec![&socket::UNIX]),
        row("get a worker's 100 MB and read it all", Unit::Seconds, read, |ctx| get_shared(ctx, memory::sum), bare()),
        row(
            "a task on another node of the machine touches 100 MB",
            Unit::Seconds,
            get,
            |ctx| beside(ctx, |x| first.options().num_cpus(0.0).resource(FAR, 1.0).remote(x)),
            vec![&socket::UNIX],
        ),
        row(
            "a task on another node of the machine reads all of 100 MB",
            Unit::Seconds,
            read,
            |ctx| beside(ctx, |x| all.options().num_cpus(0.0).resource(FAR, 1.0).remote(x)),
            bare(),
        ),
        row(
            "256 MiB to another node",
            Unit::BytesPerSecond,
            moved,
            |ctx| to_another(ctx, kept),
            vec![&socket::TCP_STREAM, &socket::TCP_STREAMS],
        ),
        row(
            "256 MiB to another node, encrypted",
            Unit::BytesPerSecond,
            encrypted,
            |ctx| to_another(ctx, kept_encrypted),
            vec![&tls::STREAM, &socket::TCP_STREAM],
        ),
        row("256 MiB to three nodes", Unit::BytesPerSecond, spread, to_three, vec![&socket::TCP_THREE_STREAMS]),
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

fn touch(numbers: &[i64]) -> i64 {
    numbers[0]
}

/// Seconds until the driver has done this with what a worker has made, each time another object.
fn get_shared(ctx: &mut Ctx, with: fn(&[i64]) -> i64) -> Outcome<f64> {
    let numbers = ctx.size(OBJECT_BYTES / 8);
    let runtime = kept(ctx)?;
    let mut made: Vec<ObjectRef<Tensor<i64>>> = Vec::new();
    for n in 0..OBJECTS {
        // One after the other, so that each is made at home, and none on the other node as if on another machine.
        made.push(filled.remote(numbers));
        let (ready, _) = runtime.wait(&made[n..], 1, PATIENCE)?;
        if ready.is_empty() {
            return Err("the objects were not made in time".into());
        }
    }
    let mut next = made.iter();
    each(OBJECTS, || {
        repeat(OBJECTS, || next.next().map(|object| runtime.get(object).map(|view| with(view.as_slice()))).transpose())
    })
}

/// Bytes a second of an object that a task on another node needs.
fn to_another(ctx: &mut Ctx, on: fn(&mut Ctx) -> Outcome<&Runtime>) -> Outcome<f64> {
    let numbers = ctx.size(MOVED_BYTES / 8);
    let runtime = on(ctx)?;
    let there = |x: &ObjectRef<Tensor<i64>>| first.options().num_cpus(0.0).resource(FAR, 1.0).remote(x);
    // Once before, so that the connections and the memory are there.
    runtime.get(&there(&runtime.put(Tensor::full([numbers], 7))?))?;
    let object = runtime.put(Tensor::full([numbers], 7))?;
    rate(numbers * 8, || runtime.get(&there(&object)).map(|_| ()).map_err(Into::into))
}

/// A cluster of two nodes of one machine.
struct Two {
    runtime: Runtime,
    _cluster: Cluster,
}

/// Seconds of a task that is given what its driver has put on another node of the machine, each time another object.
fn beside(ctx: &mut Ctx, there: fn(&ObjectRef<Tensor<i64>>) -> ObjectRef<i64>) -> Outcome<f64> {
    let numbers = ctx.size(OBJECT_BYTES / 8);
    let Two { runtime, .. } = ctx.kept(|_| {
        let cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &[("CPU", 1.0), (FAR, 1.0)]])?;
        let runtime = Runtime::builder().address(cluster.address()).init()?;
        Ok(Two { runtime, _cluster: cluster })
    })?;
    let objects = (0..OBJECTS).map(|_| runtime.put(Tensor::full([numbers], 7))).collect::<Result<Vec<_>, _>>()?;
    // The worker is up, and knows the memory.
    runtime.get(&there(&runtime.put(Tensor::full([numbers], 7))?))?;
    each(OBJECTS, || objects.iter().try_for_each(|object| Ok(runtime.get(&there(object)).map(|_| ())?)))
}

/// A cluster of four nodes.
struct Four {
    runtime: Runtime,
    _cluster: Cluster,
}

/// Bytes a second that arrive on three nodes which need an object at once, *all three together*. The nodes are processes of one
/// machine, so there are no three network cards to fill: what bounds them is what three bare streams at once carry here.
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
    rate(EACH.len() * numbers * 8, || {
        runtime.get(&everywhere(&object))?;
        Ok(())
    })
}
