//! The control store: writes and reads of one client with 256 requests in flight, and one at a time, at one replica and at
//! three, each durability.
//!
//! The replicas are servers of this process, as a cluster starts them: each with its threads, its RocksDB and its TCP
//! connections, over loopback. Values have 128 bytes.

use std::time::Instant;

use actinic_gcs::replica::ReplicaWork;
use actinic_gcs::shard::Request;
use actinic_gcs::store::Durability;
use actinic_gcs::tables::{KeyValueRead, KeyValueWrite, Reply};

use crate::floors::{each, rate, redis, rocks};
use crate::gcs_group::{on_disk, Group};
use crate::row::{Ctx, Goal, Measure, Outcome, Reference, Row, Unit};

const IN_FLIGHT: usize = 256;
const WRITES: usize = 50_000;
const READS: usize = 200_000;
const ONE_BY_ONE: usize = 1_000;

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let writes_goal = Goal { text: "50 k/s", figure: Some(5e4), ..Goal::NONE };
    let reads_goal = Goal { text: "200 k/s", figure: Some(2e5), ..Goal::NONE };
    let with_redis = |own: &'static Reference, other| [vec![own], redis::if_installed(&[other])].concat();
    vec![
        writes("GCS writes, 3 replicas, fsync", writes_goal, |ctx| write::<3>(ctx, Durability::Fsync), {
            with_redis(&rocks::FSYNC, &redis::ALWAYS)
        }),
        writes("GCS writes, 3 replicas, buffered", Goal::NONE, |ctx| write::<3>(ctx, Durability::Buffered), {
            with_redis(&rocks::BUFFERED, &redis::EVERY_SECOND)
        }),
        writes("GCS writes, 3 replicas, memory", Goal::NONE, |ctx| write::<3>(ctx, Durability::Memory), Vec::new()),
        writes("GCS writes, 1 replica, fsync", Goal::NONE, |ctx| write::<1>(ctx, Durability::Fsync), {
            with_redis(&rocks::FSYNC, &redis::ALWAYS)
        }),
        writes("GCS writes, 1 replica, buffered", Goal::NONE, |ctx| write::<1>(ctx, Durability::Buffered), {
            with_redis(&rocks::BUFFERED, &redis::EVERY_SECOND)
        }),
        writes("GCS writes, 1 replica, memory", Goal::NONE, |ctx| write::<1>(ctx, Durability::Memory), Vec::new()),
        counted("GCS writes per fsync, 3 replicas, 256 in flight", |ctx| each_fsync::<3>(ctx, |work| work.writes)),
        counted("GCS entries per fsync, 3 replicas, 256 in flight", |ctx| each_fsync::<3>(ctx, |work| work.entries)),
        counted("GCS writes per fsync, 1 replica, 256 in flight", |ctx| each_fsync::<1>(ctx, |work| work.writes)),
        one_at_a_time("GCS write, 3 replicas, fsync, one at a time", |ctx| one_by_one::<3>(ctx, Figure::Mean)),
        one_at_a_time("GCS write, 1 replica, fsync, one at a time", |ctx| one_by_one::<1>(ctx, Figure::Mean)),
        alone("GCS write, 3 replicas, fsync, one at a time, p50", |ctx| one_by_one::<3>(ctx, Figure::P50)),
        alone("GCS write, 3 replicas, fsync, one at a time, p99", |ctx| one_by_one::<3>(ctx, Figure::P99)),
        alone("GCS write, 3 replicas, fsync, one at a time, max", |ctx| one_by_one::<3>(ctx, Figure::Max)),
        writes("GCS reads, 3 replicas, linearizable", reads_goal, read, redis::if_installed(&[&redis::READ])),
    ]
}

fn writes(name: &'static str, goal: Goal, measure: Measure, references: Vec<&'static Reference>) -> Row {
    Row { name, unit: Unit::PerSecond, goal, measure, references }
}

fn counted(name: &'static str, measure: Measure) -> Row {
    Row { name, unit: Unit::Count, goal: Goal::NONE, measure, references: Vec::new() }
}

fn one_at_a_time(name: &'static str, measure: Measure) -> Row {
    let references = [vec![&rocks::ONE_AT_A_TIME], redis::if_installed(&[&redis::ONE_AT_A_TIME])].concat();
    Row { name, unit: Unit::Seconds, goal: Goal::NONE, measure, references }
}

fn alone(name: &'static str, measure: Measure) -> Row {
    Row { name, unit: Unit::Seconds, goal: Goal::NONE, measure, references: Vec::new() }
}

/// One kept for each size and durability; the folder goes after the servers.
struct Kept<const REPLICAS: usize> {
    durability: Durability,
    group: Group,
    _folder: tempfile::TempDir,
}

/// An answer is what was asked for, and no figure is of work that was not done.
fn checked(reply: Reply) -> Outcome<()> {
    match reply {
        Reply::Stored(true) | Reply::Value(Some(_)) => Ok(()),
        other => Err(format!("the control store answered {other:?}").into()),
    }
}

fn key(number: usize) -> bytes::Bytes {
    format!("key{:06}", number % 100_000).into()
}

fn put(number: usize) -> KeyValueWrite {
    let value = bytes::Bytes::from_static(&[b'v'; 128]);
    KeyValueWrite::Put { namespace: "bench".into(), key: key(number), value, overwrite: true }
}

fn group<const REPLICAS: usize>(ctx: &mut Ctx, durability: Durability) -> Outcome<&mut Group> {
    let kept = ctx.kept(|_| {
        let folder = tempfile::tempdir()?;
        let group = Group::start(REPLICAS, |id| on_disk(folder.path(), id, durability))?;
        Ok(Kept::<REPLICAS> { durability, group, _folder: folder })
    })?;
    assert_eq!(kept.durability, durability, "invariant: a row has one durability");
    Ok(&mut kept.group)
}

fn write<const REPLICAS: usize>(ctx: &mut Ctx, durability: Durability) -> Outcome<f64> {
    let count = ctx.size(WRITES);
    let group = group::<REPLICAS>(ctx, durability)?;
    rate(count, || group.pipeline(count, IN_FLIGHT, |number| put(number).into(), checked))
}

/// What one fsync of the leader's carries, as the leader counts it: client's writes, or log entries.
fn each_fsync<const REPLICAS: usize>(ctx: &mut Ctx, of: fn(&ReplicaWork) -> u64) -> Outcome<f64> {
    let count = ctx.size(WRITES);
    let group = group::<REPLICAS>(ctx, Durability::Fsync)?;
    let before = group.leader()?;
    group.pipeline(count, IN_FLIGHT, |number| put(number).into(), checked)?;
    let after = group.leader()?;
    if (after.id, after.term) != (before.id, before.term) {
        return Err("the leader has changed meanwhile".into());
    }
    let fsyncs = after.work.fsyncs - before.work.fsyncs;
    Ok((of(&after.work) - of(&before.work)) as f64 / fsyncs as f64)
}

fn read(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(READS);
    let group = group::<3>(ctx, Durability::Fsync)?;
    group.pipeline(1_000, IN_FLIGHT, |number| put(number).into(), checked)?;
    let get = |number: usize| KeyValueRead::Get { namespace: "bench".into(), key: key(number % 1_000) };
    rate(count, || group.pipeline(count, IN_FLIGHT, |number| Request::Read(get(number).into()), checked))
}

/// Which figure of single writes.
#[derive(Clone, Copy)]
enum Figure {
    Mean,
    P50,
    P99,
    Max,
}

fn one_by_one<const REPLICAS: usize>(ctx: &mut Ctx, figure: Figure) -> Outcome<f64> {
    let count = ctx.size(ONE_BY_ONE);
    let group = group::<REPLICAS>(ctx, Durability::Fsync)?;
    let mut waits = Vec::with_capacity(count);
    let mean = each(count, || {
        for number in 0..count {
            let start = Instant::now();
            checked(group.client.write(put(number))?)?;
            waits.push(start.elapsed().as_secs_f64());
        }
        Ok(())
    })?;
    waits.sort_by(f64::total_cmp);
    Ok(match figure {
        Figure::Mean => mean,
        Figure::P50 => waits[count / 2],
        Figure::P99 => waits[count * 99 / 100],
        Figure::Max => waits[count - 1],
    })
}
