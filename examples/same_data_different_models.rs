//! Ray's pattern "same data, different models": put the data into the object store once, train many models on it.
//!
//! Ten polynomials are fitted to the same 200,000 noisy points, one task a degree. The points are encoded once; each
//! task reads them where they lie.
//!
//! `cargo run --release --example same_data_different_models`

use std::time::Instant;

use actinic::prelude::*;
use indicatif::HumanBytes;

const POINTS: usize = 200_000;

/// A cubic with noise: rows of `x`, `y`.
fn measure() -> Tensor<f64> {
    let mut state = 7_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    let points = (0..POINTS).flat_map(|_| {
        let x = random();
        [x, 0.5 - 2.0 * x + 4.0 * x * x * x + 0.5 * (random() + random())]
    });
    Tensor::from_vec([POINTS, 2], points.collect()).expect("two numbers a point")
}

/// Fits a polynomial to every second point by least squares; gives the degree, its mean squared error on the others,
/// and whether the data was read in place.
#[remote(num_returns = 1)]
fn fit(points: Tensor<f64>, degree: usize) -> (usize, f64, bool) {
    let terms = degree + 1;
    let mut sums = vec![vec![0.0; terms + 1]; terms]; // the normal equations
    for point in points.as_slice().chunks_exact(4) {
        let powers: Vec<f64> = (0..terms).map(|power| point[0].powi(power as i32)).collect();
        for (row, &left) in sums.iter_mut().zip(&powers) {
            row.iter_mut().zip(&powers).for_each(|(sum, right)| *sum += left * right);
            row[terms] += left * point[1];
        }
    }
    let weights = solve(sums);
    let value = |x: f64| weights.iter().rev().fold(0.0, |sum, weight| sum * x + weight);
    let errors = points.as_slice().chunks_exact(4).map(|point| (value(point[2]) - point[3]).powi(2));
    (degree, errors.sum::<f64>() / (POINTS / 2) as f64, points.is_view())
}

/// Gauss's elimination; the last column is the right-hand side.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let count = rows.len();
    for at in 0..count {
        let pivot = (at..count).max_by(|&a, &b| rows[a][at].abs().total_cmp(&rows[b][at].abs())).unwrap_or(at);
        rows.swap(at, pivot);
        let scaled: Vec<f64> = rows[at].iter().map(|value| value / rows[at][at]).collect();
        for (_, row) in rows.iter_mut().enumerate().filter(|(other, _)| *other != at) {
            let factor = row[at];
            row.iter_mut().zip(&scaled).for_each(|(value, subtracted)| *value -= factor * subtracted);
        }
        rows[at] = scaled;
    }
    rows.iter().map(|row| row[count]).collect()
}

fn main() -> actinic::Result<()> {
    let rt = Runtime::init()?;
    let started = Instant::now();
    let points = rt.put(measure())?; // once; every task gets a reference

    let mut running: Vec<_> = (0..10).map(|degree| fit.remote(&points, degree)).collect();
    let mut models = Vec::new();
    while !running.is_empty() {
        let (ready, others) = rt.wait(&running, 1, None)?;
        models.extend(rt.get(&ready)?);
        running = others;
    }
    models.sort_by_key(|model| model.0);
    for (degree, error, _) in &models {
        println!("degree {degree}   error {error:.4}  {}", "▇".repeat((error * 40.0) as usize));
    }
    // The simplest model that is within 1 % of the best.
    let least = models.iter().map(|model| model.1).fold(f64::MAX, f64::min);
    let best = models.iter().find(|model| model.1 < least * 1.01).expect("the least is within 1 % of itself").0;
    let bytes = rt.stats().object_bytes;
    println!(
        "degree {best} is enough; {} models, {} encoded in all, {:.2?}",
        models.len(),
        HumanBytes(bytes),
        started.elapsed()
    );

    assert_eq!(best, 3);
    assert!(models.iter().all(|model| model.2), "every task should have read the data in place");
    assert!(bytes < 2 * 16 * POINTS as u64, "the data should have been encoded once");
    Ok(())
}
