//! Figure 8a of the paper: tasks that need an object which is on one of two nodes, placed where it is or blindly.
//!
//! Two nodes of real processes, apart, behind a link of 1 Gbit/s each way: a forwarder in this process through which all goes
//! that the nodes say to each other, control and objects alike (see `throttle`). Each object is on either node at random, out of
//! a fixed seed, and no object is used twice, so that none is there already. *By locality* is what the scheduler does by itself.
//! *Blindly* each task is bound to either node at random by a resource that only that node has: a scheduler that does not look
//! places them so, and this one is not asked. So the floor of the blind rows is what the bytes of those objects take through the
//! same link that are not where their tasks are; those by locality stand beside the blind ones, and beside their own like of
//! 1 MB, for no byte of an object need go anywhere, and its size does not matter.
//!
//! The smallest object is above what travels inside of messages (100 KiB), but below what tasks are kept apart for by where it is
//! (512 KiB, `HOME_BYTES_MIN`): to fetch it takes less than to have leases apart, so that row has no goal.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use actinic::cluster::{spawn_node, LocalNode, NodeSettings};
use actinic::prelude::*;

use crate::floors::{each, repeat};
use crate::row::{Ctx, Goal, Measure, Outcome, Reference, Row, Unit, WORKERS};
use crate::throttle::{free_address, Link};

/// 1 Gbit/s.
const LINK_BYTES_A_SECOND: f64 = 125e6;
/// What each node has, by which objects and blind tasks are bound to it.
const HERE: &str = "here";
const THERE: &str = "there";
/// Objects of the short form.
const QUICK_BYTES: usize = 1_000_000;

const KIB_128: usize = 128 << 10;
const MB_1: usize = 1_000_000;
const MB_10: usize = 10_000_000;
const MB_100: usize = 100_000_000;

static LINK_128_KIB: Reference = link::<KIB_128>("128 KiB through the link, as often as needed");
static LINK_1_MB: Reference = link::<MB_1>("1 MB through the link, as often as needed");
static LINK_10_MB: Reference = link::<MB_10>("10 MB through the link, as often as needed");
static LINK_100_MB: Reference = link::<MB_100>("100 MB through the link, as often as needed");

static BLIND_128_KIB: Reference = beside("such a task on 128 KiB, blindly", tasks::<KIB_128, false>);
static BLIND_1_MB: Reference = beside("such a task on 1 MB, blindly", tasks::<MB_1, false>);
static BLIND_10_MB: Reference = beside("such a task on 10 MB, blindly", tasks::<MB_10, false>);
static BLIND_100_MB: Reference = beside("such a task on 100 MB, blindly", tasks::<MB_100, false>);
static LOCAL_1_MB: Reference = beside("such a task on 1 MB, by locality", tasks::<MB_1, true>);

const fn link<const BYTES: usize>(name: &'static str) -> Reference {
    beside(name, through_link::<BYTES>)
}

const fn beside(name: &'static str, measure: Measure) -> Reference {
    Reference { name, unit: Unit::Seconds, measure }
}

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let row = |name, goal, measure, references| Row { name, unit: Unit::Seconds, goal, measure, references };
    let none = |text| Goal { text, ..Goal::NONE };
    let small = none("none: too small to look where it is");
    let first = Goal { text: "half of a blind one's time", ratio: Some(2.0), ..Goal::NONE };
    let flat = Goal {
        text: "at most twice 1 MB's: the size does not matter",
        ratio: Some(0.5),
        of: Some(LOCAL_1_MB.name),
        ..Goal::NONE
    };
    let latency = none("none: what a task takes by itself counts as much");
    let link = Goal { text: "80 % of the link", ratio: Some(0.8), ..Goal::NONE };
    vec![
        row("a task on 128 KiB of one of two nodes, by locality", small, tasks::<KIB_128, true>, vec![&BLIND_128_KIB]),
        row("a task on 128 KiB of one of two nodes, blindly", latency, tasks::<KIB_128, false>, vec![&LINK_128_KIB]),
        row("a task on 1 MB of one of two nodes, by locality", first, tasks::<MB_1, true>, vec![&BLIND_1_MB]),
        row("a task on 1 MB of one of two nodes, blindly", link, tasks::<MB_1, false>, vec![&LINK_1_MB]),
        row(
            "a task on 10 MB of one of two nodes, by locality",
            flat,
            tasks::<MB_10, true>,
            vec![&BLIND_10_MB, &LOCAL_1_MB],
        ),
        row("a task on 10 MB of one of two nodes, blindly", link, tasks::<MB_10, false>, vec![&LINK_10_MB]),
        row(
            "a task on 100 MB of one of two nodes, by locality",
            flat,
            tasks::<MB_100, true>,
            vec![&BLIND_100_MB, &LOCAL_1_MB],
        ),
        row("a task on 100 MB of one of two nodes, blindly", link, tasks::<MB_100, false>, vec![&LINK_100_MB]),
    ]
}

/// Two nodes with a link each, the head first; the driver ends first, the links last.
struct Linked {
    runtime: Runtime,
    _joined: LocalNode,
    _head: LocalNode,
    _links: [Link; 2],
}

fn node(name: &str, head: Option<&LocalNode>) -> Outcome<(LocalNode, Link)> {
    let listen = free_address()?;
    let link = Link::open(listen, LINK_BYTES_A_SECOND)?;
    let settings = NodeSettings {
        join: head.map(|head| head.card.address.clone()),
        token: head.map(|head| head.card.token.clone()),
        tls: Default::default(),
        listen,
        advertise: Some(link.address().to_string()),
        resources: [("CPU".to_owned(), WORKERS as f64), (name.to_owned(), WORKERS as f64)].into(),
        labels: Default::default(),
        gcs_folder: None,
        gcs_replicas: 1,
        memory_threshold: 1.0,
        attached: true,
        apart: true,
    };
    Ok((spawn_node(settings, None)?, link))
}

fn linked(ctx: &mut Ctx) -> Outcome<&Runtime> {
    let linked = ctx.kept(|_| {
        let (head, first) = node(HERE, None)?;
        let (joined, second) = node(THERE, Some(&head))?;
        let runtime = Runtime::builder().address(&head.card.address).init()?;
        Ok(Linked { runtime, _joined: joined, _head: head, _links: [first, second] })
    })?;
    Ok(&linked.runtime)
}

#[remote]
fn bytes_of(size: usize) -> Tensor<u8> {
    Tensor::full([size], 7)
}

#[remote]
fn last(x: Tensor<u8>) -> u8 {
    x.as_slice()[x.as_slice().len() - 1]
}

/// Large objects are few, since each is used once.
fn sizes(quick: bool, bytes: usize) -> (usize, usize) {
    match bytes {
        bytes if quick => (4, bytes.min(QUICK_BYTES)),
        MB_100 => (4, bytes),
        MB_10 => (20, bytes),
        bytes => (100, bytes),
    }
}

/// Where the object of each task is, and where the task is bound to that is placed blindly: at random, and the same in each run.
fn places(tasks: usize) -> Vec<(&'static str, &'static str)> {
    const SEED: u64 = 8;
    let mut state = SEED;
    // SplitMix64 (Steele et al., OOPSLA 2014).
    let mut either = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        if (mixed ^ (mixed >> 31)) & 1 == 0 {
            HERE
        } else {
            THERE
        }
    };
    (0..tasks).map(|_| (either(), either())).collect()
}

/// Of so many tasks, those that are placed blindly where their objects are not.
fn misplaced(tasks: usize) -> usize {
    places(tasks).into_iter().filter(|(object, bound)| object != bound).count()
}

/// Seconds a task, one after the other.
fn tasks<const BYTES: usize, const BY_LOCALITY: bool>(ctx: &mut Ctx) -> Outcome<f64> {
    let (tasks, bytes) = sizes(ctx.quick, BYTES);
    let runtime = linked(ctx)?;
    let places = places(tasks);
    let make = |on: &str| bytes_of.options().num_cpus(0.0).resource(on, 1.0).remote(bytes);
    let objects: Vec<ObjectRef<Tensor<u8>>> = places.iter().map(|(on, _)| make(on)).collect();
    runtime.wait(&objects, tasks, std::time::Duration::from_secs(60))?;
    let mut next = objects.iter().zip(&places);
    each(tasks, || {
        repeat(tasks, || {
            let Some((object, (_, bound_to))) = next.next() else { return Ok(0) };
            if BY_LOCALITY {
                return runtime.get(&last.remote(object));
            }
            runtime.get(&last.options().num_cpus(0.0).resource(bound_to, 1.0).remote(object))
        })
    })
}

/// Seconds a task that the objects take through such a link, by one stream, which have to go through it.
fn through_link<const BYTES: usize>(ctx: &mut Ctx) -> Outcome<f64> {
    let (tasks, bytes) = sizes(ctx.quick, BYTES);
    let objects = misplaced(tasks);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to: SocketAddr = listener.local_addr()?;
    let link = Link::open(to, LINK_BYTES_A_SECOND)?;
    let sender = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let object = vec![7; bytes];
        let mut asked = [0];
        // Once for the connection, which is there before a task as well, and once for each object.
        stream.read_exact(&mut asked)?;
        stream.write_all(&asked)?;
        for _ in 0..objects {
            stream.read_exact(&mut asked)?;
            stream.write_all(&object)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(link.address())?;
    stream.set_nodelay(true)?;
    let mut object = vec![0; bytes];
    stream.write_all(&[1])?;
    stream.read_exact(&mut object[..1])?;
    let seconds = each(tasks, || {
        for _ in 0..objects {
            stream.write_all(&[1])?;
            stream.read_exact(&mut object)?;
        }
        Ok(())
    });
    sender.join().map_err(|_| "the sending thread panicked")??;
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_tasks_are_placed_right_by_chance_and_some_wrong() {
        for tasks in [4, 20, 100] {
            let wrong = misplaced(tasks);
            assert!((tasks / 4..=tasks * 3 / 4).contains(&wrong), "{wrong} of {tasks}");
            assert_eq!(places(tasks), places(tasks));
        }
    }
}
