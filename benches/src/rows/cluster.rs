//! Tasks and actors in worker processes: on the driver's own node, over Unix sockets, and on another node, over TCP.
//!
//! The nodes and their workers are processes of this very program. A node *apart* treats the others of its machine as if
//! they were on others, so that what goes there goes over TCP.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use actinic::cluster::{Cluster, NodeTls};
use actinic::prelude::*;

use super::node::get_all;
use super::remote::empty;
use crate::floors::{each, rate, repeat, socket, tls};
use crate::row::{Ctx, Goal, Outcome, Row, Unit, WORKERS};

const TASKS: usize = 200_000;
const DRIVERS: usize = 4;
const TASKS_ONE_BY_ONE: usize = 5_000;
/// What the other node has, and the driver's has not.
pub(super) const FAR: &str = "far";

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let many = Goal { text: "500 k/s", figure: Some(5e5), ..Goal::NONE };
    let one = Goal { text: "under 2 x the round trip", ratio: Some(0.5), ..Goal::NONE };
    let far = Goal { text: "200 k/s", figure: Some(2e5), ..Goal::NONE };
    let far_one = Goal { text: "under 2.5 x the round trip", ratio: Some(0.4), ..Goal::NONE };
    let row = |name, unit, goal, measure, references| Row { name, unit, goal, measure, references };
    vec![
        row(
            "tasks through worker processes",
            Unit::PerSecond,
            many,
            |ctx| many_of(ctx, Near),
            vec![&socket::UNIX_CALLS],
        ),
        row("one task through a worker process", Unit::Seconds, one, |ctx| one_of(ctx, Near), vec![&socket::UNIX]),
        row("tasks on another node", Unit::PerSecond, far, |ctx| many_of(ctx, Far), vec![&socket::TCP_CALLS]),
        row("one task on another node", Unit::Seconds, far_one, |ctx| one_of(ctx, Far), vec![&socket::TCP]),
        row(
            "actor calls into a worker process",
            Unit::PerSecond,
            many,
            |ctx| calls(ctx, Near),
            vec![&socket::UNIX_CALLS],
        ),
        row("one actor call into a worker process", Unit::Seconds, one, |ctx| one_call(ctx, Near), vec![&socket::UNIX]),
        row("actor calls to another node", Unit::PerSecond, far, |ctx| calls(ctx, Far), vec![&socket::TCP_CALLS]),
        row("one actor call to another node", Unit::Seconds, far_one, |ctx| one_call(ctx, Far), vec![&socket::TCP]),
        row(
            "tasks on another node, encrypted",
            Unit::PerSecond,
            Goal { text: "200 k/s; its floor is not encrypted", ..far },
            |ctx| many_of(ctx, Encrypted),
            vec![&socket::TCP_CALLS],
        ),
        row(
            "one task on another node, encrypted",
            Unit::Seconds,
            Goal { text: "under 2.5 x the encrypted round trip", of: Some(tls::ROUND_TRIP.name), ..far_one },
            |ctx| one_of(ctx, Encrypted),
            vec![&tls::ROUND_TRIP, &socket::TCP],
        ),
        row(
            "tasks of four drivers at once",
            Unit::PerSecond,
            Goal { text: "500 k/s together, as one driver's", ..many },
            four_drivers,
            vec![&socket::UNIX_CALLS_FOUR],
        ),
    ]
}

/// A cluster and its driver; the driver ends first.
struct Running {
    runtime: Runtime,
    _cluster: Cluster,
}

/// The cluster of the rows at hand, one at a time: a program's calls go to the runtime that it started last.
#[derive(Default)]
struct Kept {
    on: Option<Where>,
    running: Option<Running>,
}

impl Running {
    /// For work near the driver one node: with a second one on the same machine tasks would spill over to it, and take the
    /// CPUs that they are measured on.
    fn start(on: Where) -> Outcome<Self> {
        let tls = NodeTls { always: on == Encrypted, files: None };
        let mut cluster = Cluster::builder().tls(tls).start(&[&[("CPU", WORKERS as f64)]])?;
        if on != Near {
            cluster.add_node_apart(&[("CPU", WORKERS as f64), (FAR, WORKERS as f64)])?;
        }
        let runtime = Runtime::builder().address(cluster.address()).init()?;
        // Until every worker has come up.
        for _ in 0..100 {
            get_all(&runtime, &[near(), near(), near()])?;
            if on != Near {
                get_all(&runtime, &[beyond(), beyond(), beyond()])?;
            }
        }
        Ok(Self { runtime, _cluster: cluster })
    }
}

fn at(ctx: &mut Ctx, on: Where) -> Outcome<&Runtime> {
    let kept = ctx.kept(|_| Ok(Kept::default()))?;
    if kept.on != Some(on) {
        kept.running = None;
        (kept.running, kept.on) = (Some(Running::start(on)?), Some(on));
    }
    Ok(&kept.running.as_ref().ok_or("no cluster")?.runtime)
}

/// A driver and a node beside it, and another one apart.
pub(super) fn kept(ctx: &mut Ctx) -> Outcome<&Runtime> {
    at(ctx, Far)
}

/// The same, and the two nodes speak encrypted.
pub(super) fn kept_encrypted(ctx: &mut Ctx) -> Outcome<&Runtime> {
    at(ctx, Encrypted)
}

fn near() -> ObjectRef<()> {
    empty.remote()
}

fn beyond() -> ObjectRef<()> {
    empty.options().num_cpus(0.0).resource(FAR, 1.0).remote()
}

fn task(at: Where) -> ObjectRef<()> {
    match at {
        Near => near(),
        Far | Encrypted => beyond(),
    }
}

fn many_of(ctx: &mut Ctx, on: Where) -> Outcome<f64> {
    let tasks = ctx.size(TASKS);
    let runtime = at(ctx, on)?;
    rate(tasks, || {
        let refs: Vec<ObjectRef<()>> = (0..tasks).map(|_| task(on)).collect();
        get_all(runtime, &refs)?;
        Ok(())
    })
}

fn one_of(ctx: &mut Ctx, on: Where) -> Outcome<f64> {
    let tasks = ctx.size(TASKS_ONE_BY_ONE);
    let runtime = at(ctx, on)?;
    each(tasks, || repeat(tasks, || runtime.get(&task(on))))
}

/// On which node a task or an actor is: the driver's, another one, or another one of a cluster that encrypts what goes between
/// them, by TLS 1.3.
#[derive(Clone, Copy, PartialEq)]
enum Where {
    Near,
    Far,
    Encrypted,
}
use Where::{Encrypted, Far, Near};

/// Does nothing.
#[remote]
struct Idle;

#[remote]
impl Idle {
    fn new() -> Self {
        Self
    }

    fn nothing(&self) {}
}

fn idle(runtime: &Runtime, at: Where) -> Outcome<IdleHandle> {
    let options = match at {
        // What asks for a CPU is placed where the driver is, if there is one.
        Near => Idle::options().num_cpus(0.01),
        Far | Encrypted => Idle::options().resource(FAR, 0.01),
    };
    let actor = options.try_remote()?;
    runtime.get(&actor.nothing())?;
    Ok(actor)
}

fn calls(ctx: &mut Ctx, on: Where) -> Outcome<f64> {
    let calls = ctx.size(TASKS);
    let runtime = at(ctx, on)?;
    let actor = idle(runtime, on)?;
    rate(calls, || {
        let refs: Vec<ObjectRef<()>> = (0..calls).map(|_| actor.nothing()).collect();
        get_all(runtime, &refs)?;
        Ok(())
    })
}

fn one_call(ctx: &mut Ctx, on: Where) -> Outcome<f64> {
    let calls = ctx.size(TASKS_ONE_BY_ONE);
    let runtime = at(ctx, on)?;
    let actor = idle(runtime, on)?;
    each(calls, || repeat(calls, || runtime.get(&actor.nothing())))
}

/// A driver in a process of its own; it ends when its input is closed.
struct Driver {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Driver {
    fn start(address: &str, tasks: usize) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--driver", address, &tasks.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let says = BufReader::new(child.stdout.take().ok_or("a driver without output")?).lines();
        let mut driver = Self { child, says };
        driver.hear()?;
        Ok(driver)
    }

    /// Waits until it has said a line.
    fn hear(&mut self) -> Outcome<()> {
        self.says.next().ok_or("a driver has ended")??;
        Ok(())
    }

    fn go(&mut self) -> Outcome<()> {
        Ok(self.child.stdin.as_mut().ok_or("a driver without input")?.write_all(b"go\n")?)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn four_drivers(ctx: &mut Ctx) -> Outcome<f64> {
    let tasks = ctx.size(TASKS) / DRIVERS;
    let cluster = Cluster::with_resources(&[&[("CPU", WORKERS as f64)]])?;
    let drivers: Outcome<Vec<Driver>> = (0..DRIVERS).map(|_| Driver::start(cluster.address(), tasks)).collect();
    let mut drivers = drivers?;
    rate(tasks * DRIVERS, || {
        drivers.iter_mut().try_for_each(Driver::go)?;
        drivers.iter_mut().try_for_each(Driver::hear)
    })
}

/// What such a driver does: a line when it is ready, and one when it is done.
pub(crate) fn drive(address: &str, tasks: usize) -> Outcome<()> {
    let runtime = Runtime::builder().address(address).init()?;
    for _ in 0..100 {
        get_all(&runtime, &[near(), near()])?;
    }
    println!("ready");
    for line in std::io::stdin().lines() {
        line?;
        let refs: Vec<ObjectRef<()>> = (0..tasks).map(|_| near()).collect();
        get_all(&runtime, &refs)?;
        println!("done");
    }
    Ok(())
}
