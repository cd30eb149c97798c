//! The demo: a neural network learns to read handwritten digits, by workers that share a parameter server.
//!
//! The weights live in an **actor**. **Tasks** fetch them, compute a gradient on a few images, and push it back, many
//! at a time and none waiting for the others: asynchronous SGD with a parameter server (Li et al., OSDI 2014). The
//! images lie in the **object store**, put there once and read where they lie.
//!
//! It starts a cluster of three nodes on this machine, each a process with worker processes of its own, and half-way kills
//! one of them: its tasks run again elsewhere. With `--embedded` the same code runs within this process; with
//! `ACTINIC_ADDRESS` set, on the cluster that is there.
//!
//! `cargo run --release -p digits` (or `make demo`)

mod data;
mod model;
mod random;
mod report;

use std::{collections::BTreeMap, time::Instant};

use actinic::{cluster::Cluster, prelude::*};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use owo_colors::Style;
use serde::{Deserialize, Serialize};

use self::{data::Digits, model::Model, random::Random};

const SEED: u64 = 42;
const HELD_OUT: usize = 360;
const SHARDS: usize = 4;
const BATCH: usize = 64;
const EPOCHS: usize = 60;
const EPOCHS_A_LINE: usize = 6;
const IN_FLIGHT: usize = 8;
/// Nodes of the cluster, the head included.
const NODES: usize = 3;
/// Pushes between two checkpoints of the parameter server.
const CHECKPOINT_EVERY: u64 = 100;

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
        let left = 1.0 - self.pushes as f32 / self.pushes_planned as f32;
        self.pushes += 1;
        self.velocity.blend(0.9, &gradient, 1.0);
        self.weights.blend(1.0, &self.velocity, -0.05 * left);
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
fn learn(server: ParameterServerHandle, shard: Digits, batch: usize) -> Result<Step, TaskError> {
    let weights = server.weights().get()?;
    let batches = shard.len() / BATCH;
    let first = batch % batches * BATCH;
    let (gradient, loss) = weights.gradient(&shard.select(first..first + BATCH));
    let _ = server.push(gradient);
    Ok(Step { loss, node: Runtime::current()?.node_id().to_string() })
}

/// What the network reads in each image.
#[remote]
fn classify(weights: Model, test: Digits) -> Vec<u8> {
    weights.predict(&test.images)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
            "   a cluster of {NODES} nodes on this machine, as processes {:?}; the last is killed half-way",
            cluster.pids()
        );
    }
    println!();

    let steps = EPOCHS * (train.len() * 9 / BATCH);
    let (train, test) = (rt.put(train)?, rt.put(test)?); // into the object store, once
    let shards: Vec<_> = (0..SHARDS).map(|shard| shift.remote(&train, shard)).collect();
    // Kept by this process, so that no node's loss takes them along.
    let shards = shards.iter().map(|shard| rt.put(rt.get(shard)?)).collect::<Result<Vec<_>, TaskError>>()?;
    let server = ParameterServer::options().max_restarts(3).checkpoint_every(CHECKPOINT_EVERY).remote(first, steps);
    let losses = train_network(&rt, &server, &shards, &test, steps, cluster.as_mut())?;

    let answers = rt.get(&classify.remote(server.weights(), &test))?;
    let test = rt.get(&test)?;
    println!("   loss {} from {:.3} to {:.3}", report::bars(&losses), losses[0], losses[losses.len() - 1]);
    report::confusion(test.labels.as_slice(), &answers);
    let wrong = report::mistakes(&test, &answers);
    let accuracy = 1.0 - wrong as f64 / test.len() as f64;
    summary(&rt, accuracy, started);
    rt.shutdown();
    assert!(accuracy >= 0.95, "it should read 95 % of the digits, and read {:.1} %", accuracy * 100.0);
    Ok(())
}

/// Runs all steps, a few at a time, and kills a node half-way; gives the mean loss of each epoch.
fn train_network(
    rt: &Runtime,
    server: &ParameterServerHandle,
    shards: &[ObjectRef<Digits>],
    test: &ObjectRef<Digits>,
    steps: usize,
    mut cluster: Option<&mut Cluster>,
) -> Result<Vec<f32>, Box<dyn std::error::Error>> {
    let labels = rt.get(test)?.labels;
    let progress = progress_bar(steps);
    let (mut running, mut submitted, mut finished) = (Vec::new(), 0, 0);
    let (mut losses, mut sum) = (Vec::new(), 0.0);
    let mut by_node: BTreeMap<String, usize> = BTreeMap::new();
    while finished < steps {
        if finished == steps / 2 {
            if let Some(node) = cluster.take().and_then(|cluster| cluster.nodes().last_mut()) {
                node.kill()?;
                say(&progress, &format!("   killed node {:.8} (process {})", node.card.node, node.pid()));
            }
        }
        while running.len() < IN_FLIGHT && submitted < steps {
            running.push(learn.remote(server.clone(), &shards[submitted % SHARDS], submitted / SHARDS));
            submitted += 1;
        }
        let (ready, others) = rt.wait(&running, 1, None)?; // whichever is first
        running = others;
        for step in ready {
            let Step { loss, node } = rt.get(&step)?;
            sum += loss;
            *by_node.entry(node).or_default() += 1;
            finished += 1;
            progress.inc(1);
            if finished % (steps / EPOCHS) == 0 {
                losses.push(sum / (steps / EPOCHS) as f32);
                sum = 0.0;
                let answers = rt.get(&classify.remote(server.weights(), test))?;
                let right = answers.iter().zip(labels.as_slice()).filter(|(answer, is)| answer == is).count();
                let accuracy = right as f64 / labels.len() as f64;
                show_epoch(&progress, losses.len(), losses[losses.len() - 1], accuracy, &by_node);
                by_node.values_mut().for_each(|steps| *steps = 0);
            }
        }
    }
    progress.finish_and_clear();
    Ok(losses)
}

fn progress_bar(steps: usize) -> ProgressBar {
    if !report::on_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("   {bar:36.cyan/blue} {pos}/{len} steps  {msg}  {elapsed}");
    let bar = ProgressBar::new(steps as u64);
    bar.with_style(style.expect("the template is well-formed").progress_chars("━╸─"))
}

fn show_epoch(progress: &ProgressBar, epoch: usize, loss: f32, accuracy: f64, by_node: &BTreeMap<String, usize>) {
    progress.set_message(format!("loss {loss:.3}, {:.1} % of the held-out digits", accuracy * 100.0));
    if epoch.is_multiple_of(EPOCHS_A_LINE) || epoch == 1 {
        let nodes: String = by_node.iter().map(|(node, steps)| format!("  {node:.8}: {steps:>3}")).collect();
        let accuracy = accuracy * 100.0;
        say(progress, &format!("   epoch {epoch:>3}   loss {loss:.3}   reads {accuracy:.1} %   steps by node {nodes}"));
    }
}

/// A line above the bar.
fn say(progress: &ProgressBar, line: &str) {
    if progress.is_hidden() {
        println!("{line}");
    } else {
        progress.println(line);
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
