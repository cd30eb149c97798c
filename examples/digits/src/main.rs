//! The demo: a neural network learns to read handwritten digits, by workers that share a parameter server.
//!
//! The weights live in an **actor**. **Tasks** fetch them, compute a gradient on a few images, and push it back, many
//! at a time and none waiting for the others: asynchronous SGD with a parameter server (Li et al., OSDI 2014). The
//! images lie in the **object store**, put there once and read where they lie.
//!
//! It starts a cluster of three nodes on this machine, each a process with worker processes of its own, and half-way kills
//! the one that the parameter server is on: its steps run again elsewhere, and the server is made again, from its last
//! checkpoint. Another actor notes who began which step, so that it is known which ones ran again. With `--embedded` the same code runs within this process; with
//! `ACTINIC_ADDRESS` set, on the cluster that is there.
//!
//! `cargo run --release -p digits` (or `make demo`)

mod data;
mod model;
mod progress;
mod random;
mod report;

use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, Instant},
};

use actinic::{cluster::Cluster, prelude::*};
use indicatif::{HumanBytes, HumanCount};
use owo_colors::Style;
use serde::{Deserialize, Serialize};

use self::{data::Digits, model::Model, progress::Progress, random::Random};

const SEED: u64 = 42;
const HELD_OUT: usize = 360;
const SHARDS: usize = 4;
const BATCH: usize = 64;
const EPOCHS: usize = 60;
const IN_FLIGHT: usize = 8;
/// Nodes of the cluster, the head included.
const NODES: usize = 3;
/// Pushes between two checkpoints of the parameter server.
const CHECKPOINT_EVERY: u64 = 100;
/// How often a call to the parameter server is tried again whose answer was lost with it.
const CALL_RETRIES: u32 = 10;
/// Steps that ran again, of which it is told where.
const AGAIN_SHOWN: usize = 4;

/// Holds the weights and moves them against the gradients that come in.
#[remote]
#[derive(Serialize, Deserialize)]
struct ParameterServer {
    weights: Model,
    velocity: Model,
    pushes: usize,
    pushes_planned: usize,
}

#[remote]
impl ParameterServer {
    fn new(weights: Model, pushes_planned: usize) -> Self {
        Self { weights, velocity: Model::zeros(), pushes: 0, pushes_planned }
    }

    fn weights(&self) -> Model {
        self.weights.clone() // shares the numbers; they are copied when the next gradient changes them
    }

    fn push(&mut self, gradient: Model) {
        // A push whose answer was lost is made again, so there may be some more than planned.
        let left = (1.0 - self.pushes as f32 / self.pushes_planned as f32).max(0.0);
        self.pushes += 1;
        self.velocity.blend(0.9, &gradient, 1.0);
        self.weights.blend(1.0, &self.velocity, -0.05 * left);
    }

    /// Where it is, and how many pushes it knows of.
    fn place(&self) -> Result<Place, TaskError> {
        Ok(Place { node: Runtime::current()?.node_id().to_string(), pushes: self.pushes })
    }
}

/// What the parameter server says of itself.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Its node.
    pub(crate) node: String,
    /// The pushes that it knows of.
    pub(crate) pushes: usize,
}

/// A step that was begun twice: which, where at first, and where then.
type Again = (usize, String, String);

/// Notes which node began which step.
#[remote]
#[derive(Default)]
struct Register {
    begun: BTreeMap<usize, String>,
    again: Vec<Again>,
}

#[remote]
impl Register {
    fn new() -> Self {
        Self::default()
    }

    fn begins(&mut self, step: usize, node: String) {
        if let Some(before) = self.begun.insert(step, node.clone()) {
            self.again.push((step, before, node));
        }
    }

    fn again(&self) -> Vec<Again> {
        self.again.clone()
    }
}

/// Makes a worker's share of the images: each one as it is, and moved by one pixel in all directions.
#[remote]
fn shift(all: Digits, shard: usize) -> Digits {
    let rows = (0..all.len()).filter(|row| row % SHARDS == shard);
    all.select(rows).shifted(&mut Random(SEED + shard as u64))
}

/// What a step gives.
#[derive(Clone, Serialize, Deserialize)]
struct Step {
    loss: f32,
    node: String,
}

/// One step: the loss on one batch, whose gradient has been pushed, and the node that took it.
#[remote]
fn learn(
    server: ParameterServerHandle,
    register: RegisterHandle,
    shard: Digits,
    step: usize,
) -> Result<Step, TaskError> {
    let node = Runtime::current()?.node_id().to_string();
    let _ = register.begins(step, node.clone());
    let weights = server.weights().get()?;
    let batches = shard.len() / BATCH;
    let first = step / SHARDS % batches * BATCH;
    let (gradient, loss) = weights.gradient(&shard.select(first..first + BATCH));
    let _ = server.push(gradient);
    Ok(Step { loss, node })
}

/// What the network reads in each image.
#[remote]
fn classify(weights: Model, test: Digits) -> Vec<u8> {
    weights.predict(&test.images)
}

fn main() -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let embedded = std::env::args().any(|arg| arg == "--embedded");
    let joins = std::env::var("ACTINIC_ADDRESS").is_ok_and(|address| !address.is_empty());
    // Each node with a CPU of its own, so that none takes all the work.
    let of_node: &[(&str, f64)] = &[("CPU", 1.0)];
    let mut cluster =
        if embedded || joins { None } else { Some(Cluster::builder().gcs_replicas(3).start(&[of_node; NODES])?) };
    let mut builder = Runtime::builder().record_graph(100_000);
    if let Some(cluster) = &cluster {
        builder = builder.address(cluster.address());
    }
    let rt = builder.init()?;

    let random = &mut Random(SEED);
    let (train, test) = Digits::load()?.split(HELD_OUT, random);
    let first = Model::random(random);
    println!("{}", report::paint("Learning to read handwritten digits", Style::new().bold()));
    println!(
        "   {} images to learn from, each also moved by a pixel in 8 directions; {HELD_OUT} held out",
        train.len()
    );
    println!("   {} weights in a parameter server, {IN_FLIGHT} steps at a time", HumanCount(first.len() as u64));
    if let Some(cluster) = &cluster {
        println!(
            "   a cluster of {NODES} nodes on this machine, as processes {:?}; the last, which has the parameter server, is \
             killed half-way",
            cluster.pids()
        );
    }
    println!();

    let steps = EPOCHS * (train.len() * 9 / BATCH);
    let (train, test) = (rt.put(train)?, rt.put(test)?); // into the object store, once
    let shards: Vec<_> = (0..SHARDS).map(|shard| shift.remote(&train, shard)).collect();
    // Kept by this process, so that no node's loss takes them along.
    let shards = shards.iter().map(|shard| rt.put(rt.get(shard)?)).collect::<Result<Vec<_>, TaskError>>()?;
    let nodes: Vec<String> = cluster.iter_mut().flat_map(Cluster::nodes).map(|node| node.card.node.clone()).collect();
    let mut options =
        ParameterServer::options().max_restarts(3).max_task_retries(CALL_RETRIES).checkpoint_every(CHECKPOINT_EVERY);
    if let Some(last) = nodes.last() {
        // There if it can be, so that it is lost with that node, and elsewhere when that is gone.
        options = options.scheduling_strategy(SchedulingStrategy::NodeAffinity { node: last.parse()?, soft: true });
    }
    let here = SchedulingStrategy::NodeAffinity { node: rt.node_id(), soft: false };
    let (server, register) = (options.remote(first, steps), Register::options().scheduling_strategy(here).remote());
    let mut training = Training {
        rt: &rt,
        server: &server,
        register: &register,
        progress: Progress::new(steps, &nodes),
        done: BTreeMap::new(),
        loss: None,
    };
    let losses = training.run(&shards, &test, steps, cluster.as_mut())?;
    let Training { progress, done, loss, .. } = training;
    progress.finish();

    let answers = rt.get(&classify.remote(server.weights(), &test))?;
    let test = rt.get(&test)?;
    println!("   loss {} from {:.3} to {:.3}", report::bars(&losses), losses[0], losses[losses.len() - 1]);
    report::confusion(test.labels.as_slice(), &answers);
    let wrong = report::mistakes(&test, &answers);
    let accuracy = 1.0 - wrong as f64 / test.len() as f64;
    let again = rt.get(&register.again())?;
    summary(&rt, accuracy, started);
    if let Some(loss) = &loss {
        report::recovery(loss, &again, AGAIN_SHOWN);
    }
    rt.shutdown();
    let finished: usize = done.values().map(|done| done.before + done.after).sum();
    check(finished == steps, || format!("{finished} of {steps} steps have ended"))?;
    check(accuracy >= 0.95, || format!("it should read 95 % of the digits, and read {:.1} %", accuracy * 100.0))?;
    if cluster.is_some() {
        took_part(&nodes, &done, loss.as_ref())?;
    }
    Ok(())
}

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Box<dyn Error>> {
    if holds {
        Ok(())
    } else {
        Err(otherwise().into())
    }
}

/// That all nodes took part, one was lost with the parameter server, and the others went on without it.
fn took_part(nodes: &[String], done: &BTreeMap<String, Done>, loss: Option<&Loss>) -> Result<(), Box<dyn Error>> {
    let of = |node: &String| done.get(node).cloned().unwrap_or_default();
    check(nodes.len() == NODES, || format!("there were {} nodes, not {NODES}", nodes.len()))?;
    for node in nodes {
        check(of(node).before > 0, || format!("node {node:.8} took no step before one was killed"))?;
    }
    let loss = loss.ok_or("no node was killed")?;
    for node in nodes.iter().filter(|node| **node != loss.node) {
        check(of(node).after > 0, || format!("node {node:.8} took no step after another was killed"))?;
    }
    let place = loss.server_after.as_ref().ok_or("the parameter server was never made again")?;
    check(loss.server_before.node == loss.node, || {
        "the parameter server was not on the node that was killed".to_owned()
    })?;
    check(place.node != loss.node, || "the parameter server is on the node that was killed".to_owned())
}

/// Steps of a node, before a node was killed and after it.
#[derive(Clone, Default)]
struct Done {
    before: usize,
    after: usize,
}

/// What was lost: a node, and the parameter server that was on it.
pub(crate) struct Loss {
    /// The node that was killed.
    pub(crate) node: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Where the parameter server was shortly before, and how many pushes it knew of.
    pub(crate) server_before: Place,
    /// The same of the one that was made again.
    pub(crate) server_after: Option<Place>,
    /// How long after.
    pub(crate) server_back: Duration,
    /// Steps that were under way.
    pub(crate) under_way: usize,
}

/// The training, as its driver sees it.
struct Training<'a> {
    rt: &'a Runtime,
    server: &'a ParameterServerHandle,
    register: &'a RegisterHandle,
    progress: Progress,
    done: BTreeMap<String, Done>,
    loss: Option<Loss>,
}

impl Training<'_> {
    /// Runs all steps, a few at a time, and kills a node half-way; gives the mean loss of each epoch.
    fn run(
        &mut self,
        shards: &[ObjectRef<Digits>],
        test: &ObjectRef<Digits>,
        steps: usize,
        mut cluster: Option<&mut Cluster>,
    ) -> Result<Vec<f32>, Box<dyn Error>> {
        let (rt, of_epoch) = (self.rt, steps / EPOCHS);
        let labels = rt.get(test)?.labels;
        let (mut running, mut submitted, mut finished) = (Vec::new(), 0, 0);
        let (mut losses, mut sum, mut back) = (Vec::new(), 0.0, None);
        while finished < steps {
            while running.len() < IN_FLIGHT && submitted < steps {
                let (server, register) = (self.server.clone(), self.register.clone());
                // Over all nodes: left to itself each step would run where the images are, on the driver's own.
                let spread = learn.options().scheduling_strategy(SchedulingStrategy::Spread);
                running.push(spread.remote(server, register, &shards[submitted % SHARDS], submitted));
                submitted += 1;
            }
            if finished >= steps / 2 {
                if let Some(cluster) = cluster.take() {
                    let since = Instant::now();
                    back = Some((self.lose_a_node(cluster, running.len())?, since));
                }
            }
            let (ready, others) = rt.wait(&running, 1, None)?; // whichever is first
            running = others;
            for step in ready {
                let Step { loss, node } = rt.get(&step)?;
                let done = self.done.entry(node.clone()).or_default();
                *(if self.loss.is_some() { &mut done.after } else { &mut done.before }) += 1;
                self.progress.step(&node);
                (sum, finished) = (sum + loss, finished + 1);
                if finished % of_epoch == 0 {
                    losses.push(sum / of_epoch as f32);
                    sum = 0.0;
                    let answers = rt.get(&classify.remote(self.server.weights(), test))?;
                    let right = answers.iter().zip(labels.as_slice()).filter(|(answer, is)| answer == is).count();
                    self.progress.learned(losses[losses.len() - 1], right as f64 / labels.len() as f64);
                }
            }
            if let Some((place, since)) = back.take_if(|(place, _)| place.is_ready()) {
                self.server_is_back(&rt.get(&place)?, since);
            }
        }
        if let Some((place, since)) = back {
            self.server_is_back(&rt.get(&place)?, since);
        }
        Ok(losses)
    }

    /// Kills the last node; gives what the parameter server will say when it has been made again.
    fn lose_a_node(&mut self, cluster: &mut Cluster, under_way: usize) -> Result<ObjectRef<Place>, Box<dyn Error>> {
        let server_before = self.rt.get(&self.server.place())?;
        let node = cluster.nodes().last_mut().ok_or("a cluster has nodes")?;
        node.kill()?;
        let (node, pid) = (node.card.node.clone(), node.pid());
        let name = self.progress.name(&node);
        self.progress.say(&format!(
            "   killed {name}, process {pid}, with the parameter server after {} pushes",
            server_before.pushes
        ));
        self.progress.note(&node, "killed");
        let (server_after, server_back) = (None, Duration::ZERO);
        self.loss = Some(Loss { node, pid, server_before, server_after, server_back, under_way });
        Ok(self.server.place())
    }

    fn server_is_back(&mut self, place: &Place, since: Instant) {
        let Some(loss) = &mut self.loss else { return };
        (loss.server_after, loss.server_back) = (Some(place.clone()), since.elapsed());
        let name = self.progress.name(&place.node);
        let after = since.elapsed().as_millis();
        self.progress
            .say(&format!("   made the parameter server again on {name} after {after} ms, from its checkpoint"));
    }
}

fn summary(rt: &Runtime, accuracy: f64, started: Instant) {
    let (stats, graph, elapsed) = (rt.stats(), rt.graph(), started.elapsed());
    let good = report::paint(format!("{:.1} %", accuracy * 100.0), Style::new().green().bold());
    report::heading("Summary");
    println!("   reads      {good} of the {HELD_OUT} digits it has never seen");
    println!(
        "   ran        {} tasks and {} actor calls",
        HumanCount(stats.tasks_submitted - stats.actor_calls),
        HumanCount(stats.actor_calls)
    );
    println!("   made       {} objects of {} in all", HumanCount(stats.objects), HumanBytes(stats.object_bytes));
    println!(
        "   graph      {} nodes; {} control, {} data and {} stateful edges",
        HumanCount(graph.tasks.len() as u64),
        HumanCount(graph.control_edges().len() as u64),
        HumanCount(graph.data_edges().len() as u64),
        HumanCount(graph.stateful_edges().len() as u64),
    );
    println!("   took       {:.1} s on {} CPUs", elapsed.as_secs_f64(), rt.cluster_resources().of("CPU").units());
}
