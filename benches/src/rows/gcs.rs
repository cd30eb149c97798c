//! The control store: writes and reads of one client with 256 requests in flight, and one at a time, at one replica and at
//! three, each durability.
//!
//! The replicas are servers of this process, as a cluster starts them: each with its threads, its RocksDB and its TCP
//! connections, over loopback. Values have 128 bytes.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use actinic_actors::gcs_client::ShardStore;
use actinic_actors::gcs_net::{GcsServer, Membership, NetLimits, Pending, RemoteGcs, ServerConfig, ShardSpec};
use actinic_gcs::replica::{Addresses, Bootstrap, ReplicaConfig, ReplicaId};
use actinic_gcs::shard::Request;
use actinic_gcs::store::{Durability, RocksOptions, StoreIdentity};
use actinic_gcs::tables::{KeyValueRead, KeyValueWrite, Reply};

use crate::floors::{each, rate, redis, rocks};
use crate::row::{Ctx, Goal, Measure, Outcome, Reference, Row, Unit};

const IN_FLIGHT: usize = 256;
const WRITES: usize = 50_000;
const READS: usize = 200_000;
const ONE_BY_ONE: usize = 1_000;
const CLUSTER: u128 = 7;
/// How long a group may take to find its leader.
const PATIENCE: Duration = Duration::from_secs(10);

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let writes_goal = Goal { text: "50 k/s", figure: Some(5e4), ratio: None };
    let reads_goal = Goal { text: "200 k/s", figure: Some(2e5), ratio: None };
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

fn one_at_a_time(name: &'static str, measure: Measure) -> Row {
    let references = [vec![&rocks::ONE_AT_A_TIME], redis::if_installed(&[&redis::ONE_AT_A_TIME])].concat();
    Row { name, unit: Unit::Seconds, goal: Goal::NONE, measure, references }
}

fn alone(name: &'static str, measure: Measure) -> Row {
    Row { name, unit: Unit::Seconds, goal: Goal::NONE, measure, references: Vec::new() }
}

/// A group and its client; ends with it.
struct Group {
    client: RemoteGcs,
    _servers: Vec<GcsServer>,
    _folder: tempfile::TempDir,
}

/// One kept for each size and durability.
struct Kept<const REPLICAS: usize>(Durability, Group);

impl Group {
    fn start(replicas: usize, durability: Durability) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let membership = Membership::new(CLUSTER, None)?;
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listeners = (0..replicas).map(|_| bind()).collect::<Result<Vec<_>, _>>()?;
        let mut addresses = Addresses::new();
        for (id, listener) in (1..).zip(&listeners) {
            addresses.insert(ReplicaId(id), listener.local_addr()?.to_string());
        }
        let mut servers = Vec::new();
        for (id, listener) in (1..).zip(listeners) {
            let store = ShardStore::Rocks {
                path: folder.path().join(id.to_string()),
                identity: StoreIdentity { cluster: CLUSTER, shard: 0, replica: id },
                options: RocksOptions { durability, ..RocksOptions::default() },
            };
            let replica = ReplicaConfig::new(ReplicaId(id), 1);
            let shard = ShardSpec { index: 0, replica, bootstrap: Bootstrap::Found(addresses.clone()), store };
            let listen = listener.local_addr()?;
            let (membership, limits) = (membership.clone(), NetLimits::default());
            servers
                .push(GcsServer::start_on(listener, ServerConfig { listen, membership, shards: vec![shard], limits })?);
        }
        let client = RemoteGcs::connect(&membership, vec![addresses.into_values().collect()])?;
        let start = Instant::now();
        while client.write(put(0)).is_err() {
            if start.elapsed() > PATIENCE {
                return Err("the group has found no leader".into());
            }
        }
        Ok(Self { client, _servers: servers, _folder: folder })
    }

    /// Asks `count` times with so many in flight.
    fn pipeline(&self, count: usize, ask: impl Fn(usize) -> Request) -> Outcome<()> {
        let mut under_way: VecDeque<Pending> = VecDeque::new();
        for number in 0..count {
            if under_way.len() >= IN_FLIGHT {
                if let Some(oldest) = under_way.pop_front() {
                    checked(oldest.wait()?)?;
                }
            }
            under_way.push_back(self.client.submit(ask(number)));
        }
        under_way.into_iter().try_for_each(|pending| checked(pending.wait()?))
    }
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
    let Kept(kept, group) = ctx.kept(|_| Ok(Kept::<REPLICAS>(durability, Group::start(REPLICAS, durability)?)))?;
    assert_eq!(*kept, durability, "invariant: a row has one durability");
    Ok(group)
}

fn write<const REPLICAS: usize>(ctx: &mut Ctx, durability: Durability) -> Outcome<f64> {
    let count = ctx.size(WRITES);
    let group = group::<REPLICAS>(ctx, durability)?;
    rate(count, || group.pipeline(count, |number| put(number).into()))
}

fn read(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(READS);
    let group = group::<3>(ctx, Durability::Fsync)?;
    group.pipeline(1_000, |number| put(number).into())?;
    let get = |number: usize| KeyValueRead::Get { namespace: "bench".into(), key: key(number % 1_000) };
    rate(count, || group.pipeline(count, |number| Request::Read(get(number).into())))
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
