//! Figure 3 of the Ray paper (Moritz et al., OSDI 2018): a policy is trained by simulators, which are actors with a GPU
//! each, and updates, which are tasks with two. A nested task holds it all together.
//!
//! The simulators balance a pole on a cart; the policy weighs the four numbers that describe them. It is trained by
//! evolution strategies (Salimans et al., 2017): try small changes, and move towards those that did well. The GPUs are
//! logical: the runtime assigns them, the arithmetic here does without.
//!
//! `cargo run --release --example train_policy`

use actinic::prelude::*;
use serde::{Deserialize, Serialize};

type Policy = [f64; 4];

const STEPS_MAX: u32 = 500;
const SIMULATORS: u64 = 2;
const ROUNDS: u64 = 51;
const TRIES: u64 = 24; // in a round, by each simulator

/// What came of one change of the policy.
#[derive(Clone, Serialize, Deserialize)]
struct Rollout {
    change: Policy,
    /// For how many steps the pole stayed up.
    steps: u32,
}

/// A number from -1 to 1, the same for the same seed (SplitMix64).
fn random(seed: u64) -> f64 {
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// A policy that knows nothing yet.
#[remote]
fn create_policy() -> Policy {
    [0.01, -0.02, -0.03, 0.01]
}

/// A cart with a pole on it (Barto, Sutton and Anderson, 1983).
#[remote]
struct Simulator {
    seed: u64,
    gpus: Vec<u32>,
}

#[remote]
impl Simulator {
    fn new(seed: u64) -> Self {
        Self { seed, gpus: actinic::gpu_ids() }
    }

    fn gpus(&self) -> Vec<u32> {
        self.gpus.clone()
    }

    /// Tries some random changes of the policy, each and its opposite.
    fn rollouts(&mut self, policy: Policy) -> Vec<Rollout> {
        let mut tried = Vec::new();
        for _ in 0..TRIES / 2 {
            self.seed += 1;
            let change: Policy = std::array::from_fn(|at| random(self.seed * 8 + at as u64));
            for sign in [1.0, -1.0] {
                let change = change.map(|weight| sign * weight);
                let steps = balance(std::array::from_fn(|at| policy[at] + 0.3 * change[at]), self.seed);
                tried.push(Rollout { change, steps });
            }
        }
        tried
    }
}

/// For how many steps of 20 ms the pole stays up.
fn balance(policy: Policy, seed: u64) -> u32 {
    let [mut x, mut speed, mut angle, mut turn]: [f64; 4] =
        std::array::from_fn(|at| 0.05 * random(!seed * 8 + at as u64));
    for step in 0..STEPS_MAX {
        let score = policy[0] * x + policy[1] * speed + policy[2] * angle + policy[3] * turn;
        let force = if score > 0.0 { 10.0 } else { -10.0 };
        let push = (force + 0.05 * turn * turn * angle.sin()) / 1.1;
        let turned =
            (9.8 * angle.sin() - angle.cos() * push) / (0.5 * (4.0 / 3.0 - 0.1 * angle.cos() * angle.cos() / 1.1));
        let pushed = push - 0.05 * turned * angle.cos() / 1.1;
        (x, speed) = (x + 0.02 * speed, speed + 0.02 * pushed);
        (angle, turn) = (angle + 0.02 * turn, turn + 0.02 * turned);
        if x.abs() > 2.4 || angle.abs() > 12_f64.to_radians() {
            return step;
        }
    }
    STEPS_MAX
}

/// Moves the policy towards the changes that did better than the others.
#[remote]
fn update_policy(policy: Policy, rollouts: Vec<Vec<Rollout>>) -> Policy {
    assert_eq!(actinic::gpu_ids().len(), 2, "it has two GPUs to itself while it runs");
    let tried: Vec<&Rollout> = rollouts.iter().flatten().collect();
    let mean = tried.iter().map(|rollout| f64::from(rollout.steps)).sum::<f64>() / tried.len() as f64;
    let spread = tried.iter().map(|rollout| (f64::from(rollout.steps) - mean).powi(2)).sum::<f64>();
    let spread = (spread / tried.len() as f64).sqrt().max(1.0);
    std::array::from_fn(|at| {
        let pull = tried.iter().map(|rollout| (f64::from(rollout.steps) - mean) / spread * rollout.change[at]);
        policy[at] + 0.2 * pull.sum::<f64>() / tried.len() as f64
    })
}

/// The paper's `train_policy`, line by line.
#[remote]
fn train_policy() -> Result<Policy, TaskError> {
    let mut policy = create_policy.remote();
    let simulators: Vec<_> =
        (0..SIMULATORS).map(|at| Simulator::options().num_gpus(1).remote(1_000_000 * at)).collect();
    for simulator in &simulators {
        println!("a simulator has GPU {:?}", actinic::get(&simulator.gpus())?);
    }
    for round in 0..ROUNDS {
        let rollouts: Vec<ObjectRef<Vec<Rollout>>> = simulators.iter().map(|sim| sim.rollouts(&policy)).collect();
        policy = update_policy.options().num_gpus(2).remote(&policy, &rollouts);
        if round % 10 == 0 {
            let steps: Vec<u32> = actinic::get(&rollouts)?.concat().iter().map(|rollout| rollout.steps).collect();
            let mean = f64::from(steps.iter().sum::<u32>()) / steps.len() as f64;
            println!("round {:>3}   the pole stayed up for {mean:>3.0} of {STEPS_MAX} steps", round + 1);
        }
    }
    actinic::get(&policy)
}

fn main() -> actinic::Result<()> {
    let rt = Runtime::builder().num_gpus(4.0).init()?;
    let policy = rt.get(&train_policy.remote())?;
    println!("the policy: {policy:.2?}");
    let steps: Vec<u32> = (0..100).map(|seed| balance(policy, 77_000_000 + seed)).collect();
    let mean = f64::from(steps.iter().sum::<u32>()) / steps.len() as f64;
    println!("in 100 new games: {mean:.0} of {STEPS_MAX} steps");
    assert!(mean > 400.0, "the policy should balance the pole");
    Ok(())
}
