//! A parameter server: an actor holds the weights, tasks compute gradients on shards of the data.
//!
//! The same training twice: synchronous (all gradients of a round, then one step) and asynchronous (each gradient as it
//! comes, `wait` says which). The driver never sees a weight or a gradient: it only passes references on.
//!
//! `cargo run --release --example parameter_server`

use std::time::Instant;

use actinic::prelude::*;

const FEATURES: usize = 64;
const ROWS: usize = 8_192;
const WORKERS: usize = 4;
const ROUNDS: usize = 60;

#[remote]
struct ParameterServer {
    weights: Tensor<f64>,
}

#[remote]
impl ParameterServer {
    fn new() -> Self {
        Self { weights: Tensor::zeros([FEATURES]) }
    }

    fn weights(&self) -> Tensor<f64> {
        self.weights.clone() // shares the numbers until the next step
    }

    /// Steps against `gradients`, each of them a worker's share; gives the new weights.
    fn apply(&mut self, gradients: Vec<Tensor<f64>>) -> Tensor<f64> {
        for gradient in gradients {
            self.weights -= &(gradient * (0.2 / WORKERS as f64));
        }
        self.weights.clone()
    }
}

/// What the weights should become: 0, 0.1, 0.2 and so on, then from the start again.
fn truth() -> Tensor<f64> {
    Tensor::from_fn([FEATURES], |at| (at[0] % 10) as f64 / 10.0)
}

/// One worker's rows, and the value that belongs to each.
#[remote]
fn load_shard(worker: u64) -> (Tensor<f64>, Tensor<f64>) {
    let mut state = worker + 1;
    let rows = Tensor::from_fn([ROWS, FEATURES], |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    });
    let values = rows.dot(&truth());
    (rows, values)
}

/// The gradient of the mean squared error on a shard.
#[remote]
fn compute_gradient(weights: Tensor<f64>, rows: Tensor<f64>, values: Tensor<f64>) -> Tensor<f64> {
    let errors = rows.dot(&weights) - &values;
    errors.dot(&rows) * (2.0 / ROWS as f64)
}

fn distance(weights: &Tensor<f64>) -> f64 {
    let difference = weights - &truth();
    difference.dot(&difference).sum().sqrt()
}

fn main() -> actinic::Result<()> {
    let rt = Runtime::init()?;
    let shards: Vec<_> = (0..WORKERS as u64).map(|worker| load_shard.remote(worker)).collect(); // pairs of references
    for (rows, _) in &shards {
        rows.get()?;
    }
    println!("{WORKERS} shards of {ROWS} rows and {FEATURES} features in the object store");

    let started = Instant::now();
    let server = ParameterServer::remote();
    let mut weights = server.weights();
    for _ in 0..ROUNDS {
        let gradients: Vec<_> =
            shards.iter().map(|(rows, values)| compute_gradient.remote(&weights, rows, values)).collect();
        weights = server.apply(gradients); // starts when the last gradient is there
    }
    let synchronous = distance(&rt.get(&weights)?);
    println!(
        "synchronous    {ROUNDS} steps of {WORKERS} gradients   off by {synchronous:.1e}   {:.2?}",
        started.elapsed()
    );

    let started = Instant::now();
    let server = ParameterServer::remote();
    let mut weights = server.weights();
    let step = |weights: &_, worker: usize| compute_gradient.remote(weights, &shards[worker].0, &shards[worker].1);
    let mut gradients: Vec<_> = (0..WORKERS).map(|worker| step(&weights, worker)).collect();
    for _ in 0..ROUNDS * WORKERS {
        let (ready, _) = rt.wait(&gradients, 1, None)?; // the fastest worker does not wait for the others
        let worker = gradients.iter().position(|gradient| *gradient == ready[0]).expect("it is one of them");
        weights = server.apply(ready);
        gradients[worker] = step(&weights, worker);
    }
    let asynchronous = distance(&rt.get(&weights)?);
    println!(
        "asynchronous   {} steps of 1 gradient    off by {asynchronous:.1e}   {:.2?}",
        ROUNDS * WORKERS,
        started.elapsed()
    );

    assert!(synchronous < 0.01 && asynchronous < 0.01, "both should have come near to the truth");
    Ok(())
}
