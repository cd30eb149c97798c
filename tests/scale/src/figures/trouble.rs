//! Random trouble: programs with dependent and nested tasks on a cluster whose messages are slow at random, whose processes
//! and nodes are lost and whose connections are cut; each run out of one seed.
//!
//! Owns: what a seed means, and what must hold. While it runs, each core that an event touches is asked for its invariants.
//! In every second seed, programs pass references around, in arguments, results and inside of objects: nothing may be freed
//! early, and nothing may be left ([`crate::world`] says what that means where processes are lost). In every fourth, processes
//! of different nodes speak directly, by lines that are cut while both ends live.
//! After the last fault every task of a living driver must end, once; when the drivers have ended too, every CPU must be
//! free, nothing wanted and no worker left.

use std::error::Error;

use actinic_actors::{cluster::wire::ClassSpec, options::SchedulingStrategy};
use actinic_gcs::{resources::CPU, NodeId, ResourceSet};

use super::Options;
use crate::{
    model::MS,
    plan::{plain, Plan, Step, Tasks},
    rng::Rng,
    show,
    world::{Fault, Settings, World},
};

/// Faults happen before this.
const FAULTS_NS: u64 = 3_000 * MS;
/// Tasks must have ended by then.
const END_NS: u64 = 90_000 * MS;
/// After the drivers' ends all must be free within this.
const FREE_NS: u64 = 20_000 * MS;
/// What is under way has come within this, and losses are known: a silence of five seconds, and slow messages.
const LATE_NS: u64 = 10_000 * MS;

/// What one seed gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Tasks that ended.
    pub(crate) tasks: u64,
    /// Those of them whose workers were lost once too often.
    pub(crate) failed: u64,
    /// Faults.
    pub(crate) faults: u64,
    /// Events.
    pub(crate) events: u64,
    /// References that were sent.
    pub(crate) refs: u64,
    /// Ends of lines to processes that live on, each counted at each end.
    pub(crate) lines_lost: u64,
    /// A digest of all events.
    pub(crate) digest: u64,
}

/// Runs what a seed means.
///
/// # Errors
/// What did not hold.
///
/// # Panics
/// If a core breaks an invariant of its own.
pub(crate) fn one(seed: u64) -> Result<Outcome, String> {
    let mut rng = Rng::new(seed);
    let nodes = 1 + rng.below(6) as u32;
    let mut settings = Settings::nodes(nodes, rng.number());
    settings.cpus = 1.0 + rng.below(4) as f64;
    settings.model.jitter = [0, 1, 5, 50, 200][rng.below(5) as usize];
    (settings.check, settings.globals) = (true, nodes);
    // Two processes that are cut off hold each other for lost, and objects with them: so there is one or the other.
    settings.refs = rng.one_in(2);
    let refs = settings.refs;
    settings.lines = !refs && seed % 4 < 2;
    let lines = settings.lines;
    let cpus = settings.cpus;
    let mut world = World::new(settings);
    world.keep_connected();
    let drivers: Vec<u32> = (0..1 + rng.below(4))
        .map(|_| {
            let plan = program(&mut rng, nodes, cpus);
            let (node, at) = (rng.below(u64::from(nodes)) as u32, rng.below(500) * MS);
            world.driver(node, plan, at)
        })
        .collect();
    let faults = rng.below(6);
    for _ in 0..faults {
        let fault = fault(&mut rng, nodes, &drivers);
        if refs && matches!(fault, Fault::Cut(..)) {
            continue;
        }
        world.plan_fault(rng.below(FAULTS_NS), fault);
    }
    let cuts = if lines { rng.below(8) } else { 0 };
    for _ in 0..cuts {
        world.plan_fault(rng.below(FAULTS_NS), Fault::Line(rng.number()));
    }
    let living = |world: &World| drivers.iter().copied().filter(|d| world.lives(*d)).collect::<Vec<u32>>();
    world.run(FAULTS_NS, |_| false);
    if !world.run(END_NS, |world| living(world).into_iter().all(|driver| world.is_over(driver))) {
        let left: Vec<u32> = living(&world).into_iter().filter(|driver| !world.is_over(*driver)).collect();
        return Err(left.into_iter().map(|driver| world.left_of(driver)).collect::<Vec<_>>().join("; "));
    }
    let mut outcome = Outcome { faults: faults + cuts, lines_lost: world.meter.lines_lost, ..Outcome::default() };
    if refs {
        world.run(world.now + LATE_NS, |_| false);
        world.drop_all_refs();
        world.run(world.now + LATE_NS, |_| false);
        let (wrong, sent) = world.refs_left();
        outcome.refs = sent;
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
    }
    for driver in &drivers {
        let (done, failed) = world.outcome(*driver);
        outcome.tasks += u64::from(done);
        outcome.failed += u64::from(failed);
        world.end_driver(*driver);
    }
    world.run(world.now + FREE_NS, |_| false);
    let leaks = world.leaks();
    if !leaks.is_empty() {
        return Err(leaks.join("; "));
    }
    (outcome.events, outcome.digest) = (world.happened(), world.digest());
    Ok(outcome)
}

/// A graph of tasks of several classes; what comes later may need what came before.
fn program(rng: &mut Rng, nodes: u32, cpus: f64) -> Plan {
    let affine = NodeId(u128::from(rng.below(u64::from(nodes))) + 1);
    let of = |cpus: f64, strategy| ClassSpec { demand: ResourceSet::new().with(CPU, cpus), strategy, ..plain() };
    let classes = vec![
        plain(),
        of(1.0, SchedulingStrategy::Spread),
        of(cpus, SchedulingStrategy::Default),
        of(1.0, SchedulingStrategy::NodeAffinity { node: affine, soft: true }),
        of(0.5, SchedulingStrategy::Default),
    ];
    let longest = [0, 1, 30, 300][rng.below(4) as usize] * MS;
    let count = 10 + rng.below(120);
    let step = |number: u64| Step {
        ran_ns: rng.below(longest + 1),
        after: if number > 0 && rng.one_in(3) { vec![rng.below(number) as u32] } else { Vec::new() },
        children: if rng.one_in(8) { rng.below(4) as u8 } else { 0 },
        class: if rng.one_in(2) { 0 } else { rng.below(5) as usize },
        ..Step::default()
    };
    let steps: Vec<Step> = (0..count).map(step).collect();
    Plan::of(classes, Tasks::Graph(steps))
}

fn fault(rng: &mut Rng, nodes: u32, drivers: &[u32]) -> Fault {
    let node = rng.below(u64::from(nodes)) as u32;
    match rng.below(8) {
        0 => Fault::Node(node),
        1 => Fault::Driver(drivers[rng.below(drivers.len() as u64) as usize]),
        2 | 3 => Fault::Cut(node, rng.below(u64::from(nodes)) as u32),
        _ => Fault::Process(node, rng.number()),
    }
}

/// Runs many seeds.
///
/// # Errors
/// The first that does not hold.
pub(crate) fn figure(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut all = Outcome::default();
    let mut wrong = Vec::new();
    for seed in options.seed..options.seed + options.seeds {
        match one(seed) {
            Ok(outcome) => {
                all.tasks += outcome.tasks;
                all.failed += outcome.failed;
                all.faults += outcome.faults;
                all.events += outcome.events;
                all.refs += outcome.refs;
                all.lines_lost += outcome.lines_lost;
            }
            Err(error) => wrong.push(format!("seed {seed}: {error}")),
        }
    }
    let cells =
        [options.seeds, all.events, all.faults, all.tasks, all.failed, all.refs, all.lines_lost, wrong.len() as u64];
    let row = cells.iter().map(u64::to_string).collect();
    let head = [
        "seeds",
        "events",
        "faults",
        "tasks ended",
        "of them failed",
        "references sent",
        "lines lost",
        "seeds that broke a rule",
    ];
    show::table("Random trouble", &head, &[row]);
    match wrong.len() {
        0 => Ok(()),
        _ => Err(wrong.into_iter().take(10).collect::<Vec<_>>().join("\n").into()),
    }
}
