//! Ray's pattern "tree of actors": a supervisor actor makes trainer actors of its own and trains through them.
//!
//! The driver talks to two supervisors, one for each learning rate, and never sees their trainers. When a supervisor's
//! last handle goes, so do its trainers.
//!
//! `cargo run --release --example tree_of_actors`

use actinic::prelude::*;

const ROUNDS: usize = 50;

/// Fits `y = weight * x` to one part of the data.
#[remote]
struct Trainer {
    points: Vec<(f64, f64)>,
}

#[remote]
impl Trainer {
    fn new(points: Vec<(f64, f64)>) -> Self {
        Self { points }
    }

    /// The slope of the mean squared error.
    fn slope(&self, weight: f64) -> f64 {
        let sum: f64 = self.points.iter().map(|(x, y)| 2.0 * (weight * x - y) * x).sum();
        sum / self.points.len() as f64
    }
}

/// Trains with one learning rate, each part of the data in a trainer of its own.
#[remote]
struct Supervisor {
    learning_rate: f64,
    trainers: Vec<TrainerHandle>,
}

#[remote]
impl Supervisor {
    fn new(learning_rate: f64, parts: Vec<Vec<(f64, f64)>>) -> Self {
        Self { learning_rate, trainers: parts.into_iter().map(Trainer::remote).collect() }
    }

    fn fit(&mut self) -> Result<f64, TaskError> {
        let mut weight = 0.0;
        for _ in 0..ROUNDS {
            let slopes: Vec<_> = self.trainers.iter().map(|trainer| trainer.slope(weight)).collect();
            let slopes = actinic::get(&slopes)?; // the trainers work side by side
            weight -= self.learning_rate * slopes.iter().sum::<f64>() / slopes.len() as f64;
        }
        Ok(weight)
    }
}

fn main() -> actinic::Result<()> {
    let rt = Runtime::init()?;
    let parts: Vec<Vec<(f64, f64)>> = (0..3)
        .map(|part| (0..1_000).map(|at| f64::from(part + 3 * at) / 3_000.0).map(|x| (x, 7.0 * x)).collect())
        .collect();
    let parts = rt.put(parts)?; // both supervisors read the same object

    let rates = [0.05, 0.5];
    let supervisors = rates.map(|rate| Supervisor::remote(rate, &parts));
    let weights: Vec<_> = supervisors.iter().map(|supervisor| supervisor.fit()).collect(); // both train at once
    let weights = rt.get(&weights)?;

    println!("driver");
    for (rate, weight) in rates.iter().zip(&weights) {
        println!("├── supervisor, learning rate {rate}: weight {weight:.4} (7 is right)");
        println!("│   ├── trainer\n│   ├── trainer\n│   └── trainer");
    }
    println!("{} actors, {} calls", rt.stats().actors_created, rt.stats().actor_calls);
    assert_eq!(rt.stats().actors_created, 8);
    assert!((weights[1] - 7.0).abs() < 0.01 && (weights[0] - 7.0).abs() > (weights[1] - 7.0).abs());
    Ok(())
}
