//! Tasks that submit tasks: a search over experiments, each of which runs many simulations and drops the slow ones.
//!
//! Which angle throws a ball farthest in gusty wind? Each experiment tries one angle in 40 winds, takes the first 30
//! results that `wait` gives and cancels the rest. A cancelled task that has not started never runs; one that runs sees
//! it by `is_cancelled`.
//!
//! `cargo run --release --example nested_search`

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use actinic::prelude::*;

const SIMULATIONS: u64 = 40;
const ENOUGH: usize = 30;

static STOPPED: AtomicUsize = AtomicUsize::new(0);

/// How far the ball flies, in metres. One wind in ten is computed with steps 100 times as fine: the slow ones.
#[remote]
fn simulate(angle_deg: f64, wind: u64) -> Result<f64, String> {
    let step_s = if wind % 10 == 7 { 1e-6 } else { 1e-4 };
    let (mut x, mut y) = (0.0, 0.0);
    let (mut vx, mut vy) = (30.0 * angle_deg.to_radians().cos(), 30.0 * angle_deg.to_radians().sin());
    let gust = (wind as f64 * 2.4).sin() * 6.0;
    for step in 0_u64.. {
        if step % 65_536 == 0 && actinic::is_cancelled() {
            STOPPED.fetch_add(1, Ordering::Relaxed);
            return Err("nobody waits for it any more".to_owned());
        }
        let along = vx - gust;
        let drag = 0.012 * (along * along + vy * vy).sqrt();
        vx -= drag * along * step_s;
        vy -= (9.81 + drag * vy) * step_s;
        x += vx * step_s;
        y += vy * step_s;
        if y < 0.0 {
            break;
        }
    }
    Ok(x)
}

/// Throws at one angle in many winds: the mean distance over those computed soon enough, and how many were not.
#[remote]
fn experiment(angle_deg: f64) -> Result<(f64, usize), TaskError> {
    let flights: Vec<_> = (0..SIMULATIONS).map(|wind| simulate.remote(angle_deg, wind)).collect();
    let (soon, late) = actinic::wait(&flights, ENOUGH, Duration::from_secs(10))?;
    let rt = Runtime::current()?;
    let cancelled = late.iter().filter(|flight| rt.cancel(flight)).count();
    let distances = actinic::get(&soon)?;
    Ok((distances.iter().sum::<f64>() / distances.len() as f64, cancelled))
}

fn main() -> actinic::Result<()> {
    let rt = Runtime::init()?;
    let started = Instant::now();
    let angles: Vec<f64> = (0..12).map(|at| 5.0 + 7.0 * f64::from(at)).collect();
    println!("{} experiments of {SIMULATIONS} simulations each, the first {ENOUGH} count", angles.len());

    let experiments: Vec<_> = angles.iter().map(|&angle| experiment.remote(angle)).collect();
    let (mut best, mut cancelled) = ((0.0, 0.0), 0);
    for (angle, (mean, _)) in angles.iter().zip(&experiments) {
        let distance = rt.get(mean)?;
        if distance > best.1 {
            best = (*angle, distance);
        }
        println!("{angle:>5.0}°  {distance:>5.1} m  {}", "▇".repeat((distance / 1.5) as usize));
    }
    for (_, late) in &experiments {
        cancelled += rt.get(late)?;
    }
    println!("farthest at {:.0}°: {:.1} m", best.0, best.1);
    println!(
        "{cancelled} simulations cancelled, {} of them while they ran; {:.2?} in all",
        STOPPED.load(Ordering::Relaxed),
        started.elapsed()
    );
    assert!((33.0..=54.0).contains(&best.0), "the best angle lies below 45° or there about");
    assert!(cancelled > 0, "the slow simulations were not waited for");
    Ok(())
}
