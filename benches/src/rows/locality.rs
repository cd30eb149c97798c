//! Figure 8a of the paper: tasks that need an object which is on one of two nodes, placed where it is or blindly.
//!
//! Two nodes of real processes, apart, behind a link of 1 Gbit/s each way: a forwarder in this process through which all goes
//! that the nodes say to each other, control and objects alike (see `throttle`). Half of the objects are on either node, and no
//! object is used twice, so that none is there already. *By locality* is what the scheduler does by itself; *blindly* every
//! second task is bound to the node that has not got its object, as a scheduler places half of them that does not look. So
//! the floor of the blind rows is half of what the bytes take through the same link, and those by locality have none: no byte
//! of an object need go anywhere.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use actinic::cluster::{spawn_node, LocalNode, NodeSettings};
use actinic::prelude::*;

use crate::floors::{each, repeat};
use crate::row::{Ctx, Goal, Outcome, Reference, Row, Unit, WORKERS};
use crate::throttle::{free_address, Link};

/// 1 Gbit/s.
const LINK_BYTES_A_SECOND: f64 = 125e6;
/// What each node has, by which objects and blind tasks are bound to it.
const HERE: &str = "here";
const THERE: &str = "there";
/// Objects of the short form.
const QUICK_BYTES: usize = 1_000_000;

const KB_100: usize = 100_000;
const MB_1: usize = 1_000_000;
const MB_10: usize = 10_000_000;
const MB_100: usize = 100_000_000;

static LINK_100_KB: Reference = link::<KB_100>("half of 100 KB through the link");
static LINK_1_MB: Reference = link::<MB_1>("half of 1 MB through the link");
static LINK_10_MB: Reference = link::<MB_10>("half of 10 MB through the link");
static LINK_100_MB: Reference = link::<MB_100>("half of 100 MB through the link");

const fn link<const BYTES: usize>(name: &'static str) -> Reference {
    Reference { name, unit: Unit::Seconds, measure: through_link::<BYTES> }
}

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let goal = Goal { text: "as for 100 KB: the size does not matter", ..Goal::NONE };
    let by_locality = |name, measure| Row { name, unit: Unit::Seconds, goal, measure, references: Vec::new() };
    let blindly = |name, measure, link: &'static Reference| Row {
        name,
        unit: Unit::Seconds,
        goal: Goal::NONE,
        measure,
        references: vec![link],
    };
    vec![
        by_locality("a task on 100 KB of one of two nodes, by locality", tasks::<KB_100, true>),
        blindly("a task on 100 KB of one of two nodes, blindly", tasks::<KB_100, false>, &LINK_100_KB),
        by_locality("a task on 1 MB of one of two nodes, by locality", tasks::<MB_1, true>),
        blindly("a task on 1 MB of one of two nodes, blindly", tasks::<MB_1, false>, &LINK_1_MB),
        by_locality("a task on 10 MB of one of two nodes, by locality", tasks::<MB_10, true>),
        blindly("a task on 10 MB of one of two nodes, blindly", tasks::<MB_10, false>, &LINK_10_MB),
        by_locality("a task on 100 MB of one of two nodes, by locality", tasks::<MB_100, true>),
        blindly("a task on 100 MB of one of two nodes, blindly", tasks::<MB_100, false>, &LINK_100_MB),
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

/// Seconds a task, one after the other.
fn tasks<const BYTES: usize, const BY_LOCALITY: bool>(ctx: &mut Ctx) -> Outcome<f64> {
    let (tasks, bytes) = sizes(ctx.quick, BYTES);
    let runtime = linked(ctx)?;
    let node_of = |task: usize| if task.is_multiple_of(2) { HERE } else { THERE };
    let make = |task: usize| bytes_of.options().num_cpus(0.0).resource(node_of(task), 1.0).remote(bytes);
    let objects: Vec<ObjectRef<Tensor<u8>>> = (0..tasks).map(make).collect();
    runtime.wait(&objects, tasks, std::time::Duration::from_secs(60))?;
    let mut next = 0;
    each(tasks, || {
        repeat(tasks, || {
            let (at, object) = (next, &objects[next]);
            next += 1;
            if BY_LOCALITY {
                return runtime.get(&last.remote(object));
            }
            // Objects lie on the nodes in turns: of each two tasks one is bound to where its object is.
            let bound_to = if at % 4 < 2 { HERE } else { THERE };
            runtime.get(&last.options().num_cpus(0.0).resource(bound_to, 1.0).remote(object))
        })
    })
}

/// Seconds that half of so many bytes take through such a link, by one stream.
fn through_link<const BYTES: usize>(ctx: &mut Ctx) -> Outcome<f64> {
    let (_, bytes) = sizes(ctx.quick, BYTES);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to: SocketAddr = listener.local_addr()?;
    let link = Link::open(to, LINK_BYTES_A_SECOND)?;
    let sender = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let object = vec![7; bytes];
        let mut asked = [0];
        // Once for the connection, which is there before a task as well, and once for the object.
        stream.read_exact(&mut asked)?;
        stream.write_all(&asked)?;
        stream.read_exact(&mut asked)?;
        stream.write_all(&object)
    });
    let mut stream = TcpStream::connect(link.address())?;
    stream.set_nodelay(true)?;
    let mut object = vec![0; bytes];
    stream.write_all(&[1])?;
    stream.read_exact(&mut object[..1])?;
    let seconds = each(2, || {
        stream.write_all(&[1])?;
        Ok(stream.read_exact(&mut object)?)
    });
    sender.join().map_err(|_| "the sending thread panicked")??;
    seconds
}
