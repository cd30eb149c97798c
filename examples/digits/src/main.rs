//! The demo: a neural network learns to read handwritten digits, by workers that share a parameter server.
//!
//! The weights live in an **actor**. **Tasks** fetch them, compute a gradient on a few images, and push it back, many
//! at a time and none waiting for the others: asynchronous SGD with a parameter server (Li et al., OSDI 2014). The
//! images lie in the **object store**, put there once and read where they lie.
//!
//! `cargo run --release --example digits` (or `make demo`)

mod data;
mod model;
mod random;
mod report;

use std::time::Instant;

use actinic::prelude::*;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use owo_colors::Style;

use self::{data::Digits, model::Model, random::Random};

const SEED: u64 = 42;
const HELD_OUT: usize = 360;
const SHARDS: usize = 4;
const BATCH: usize = 64;
const EPOCHS: usize = 60;
const EPOCHS_A_LINE: usize = 6;
const IN_FLIGHT: usize = 8;

/// Holds the weights and moves them against the gradients that come in.
#[remote]
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

/// One step: the loss on one batch, whose gradient has been pushed.
#[remote]
fn learn(server: ParameterServerHandle, shard: Digits, batch: usize) -> Result<f32, TaskError> {
    let weights = server.weights().get()?;
    let batches = shard.len() / BATCH;
    let first = batch % batches * BATCH;
    let (gradient, loss) = weights.gradient(&shard.select(first..first + BATCH));
    let _ = server.push(gradient);
    Ok(loss)
}

/// What the network reads in each image.
#[remote]
fn classify(weights: Model, test: Digits) -> Vec<u8> {
    weights.predict(&test.images)
}

fn main() -> actinic::Result<()> {
    let started = Instant::now();
    let rt = Runtime::builder().record_graph(100_000).init()?;

    let random = &mut Random(SEED);
    let (train, test) = Digits::load()?.split(HELD_OUT, random);
    let first = Model::random(random);
    println!("{}", report::paint("Learning to read handwritten digits", Style::new().bold()));
    println!(
        "   {} images to learn from, each also moved by a pixel in 8 directions; {HELD_OUT} held out",
        train.len()
    );
    println!("   {} weights in a parameter server, {IN_FLIGHT} workers at a time\n", HumanCount(first.len() as u64));

    let steps = EPOCHS * (train.len() * 9 / BATCH);
    let (train, test) = (rt.put(train)?, rt.put(test)?); // into the object store, once
    let shards: Vec<_> = (0..SHARDS).map(|shard| shift.remote(&train, shard)).collect();
    let server = ParameterServer::remote(first, steps);
    let losses = train_network(&rt, &server, &shards, &test, steps)?;

    let answers = rt.get(&classify.remote(server.weights(), &test))?;
    let test = rt.get(&test)?;
    println!("   loss {} from {:.3} to {:.3}", report::bars(&losses), losses[0], losses[losses.len() - 1]);
    report::confusion(test.labels.as_slice(), &answers);
    let wrong = report::mistakes(&test, &answers);
    let accuracy = 1.0 - wrong as f64 / test.len() as f64;
    summary(&rt, accuracy, started);
    assert!(accuracy >= 0.95, "it should read 95 % of the digits, and read {:.1} %", accuracy * 100.0);
    Ok(())
}

/// Runs all steps, a few at a time; gives the mean loss of each epoch.
fn train_network(
    rt: &Runtime,
    server: &ParameterServerHandle,
    shards: &[ObjectRef<Digits>],
    test: &ObjectRef<Digits>,
    steps: usize,
) -> actinic::Result<Vec<f32>> {
    let labels = rt.get(test)?.labels;
    let progress = progress_bar(steps);
    let (mut running, mut submitted, mut finished) = (Vec::new(), 0, 0);
    let (mut losses, mut sum) = (Vec::new(), 0.0);
    while finished < steps {
        while running.len() < IN_FLIGHT && submitted < steps {
            running.push(learn.remote(server.clone(), &shards[submitted % SHARDS], submitted / SHARDS));
            submitted += 1;
        }
        let (ready, others) = rt.wait(&running, 1, None)?; // whichever is first
        running = others;
        for loss in ready {
            sum += rt.get(&loss)?;
            finished += 1;
            progress.inc(1);
            if finished % (steps / EPOCHS) == 0 {
                losses.push(sum / (steps / EPOCHS) as f32);
                sum = 0.0;
                let answers = rt.get(&classify.remote(server.weights(), test))?;
                let right = answers.iter().zip(labels.as_slice()).filter(|(answer, is)| answer == is).count();
                show_epoch(&progress, losses.len(), losses[losses.len() - 1], right as f64 / labels.len() as f64);
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

fn show_epoch(progress: &ProgressBar, epoch: usize, loss: f32, accuracy: f64) {
    progress.set_message(format!("loss {loss:.3}, {:.1} % of the held-out digits", accuracy * 100.0));
    if epoch.is_multiple_of(EPOCHS_A_LINE) || epoch == 1 {
        let line =
            format!("   epoch {epoch:>3}   loss {loss:.3}   reads {:.1} % of the held-out digits", accuracy * 100.0);
        if progress.is_hidden() {
            println!("{line}");
        } else {
            progress.println(line);
        }
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
