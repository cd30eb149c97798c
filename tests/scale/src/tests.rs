//! The short form of the figures, and what the simulation promises of itself.
#![allow(clippy::unwrap_used)]

use crate::{
    figures::{
        allreduce,
        empty_tasks::{linear_within, measure},
        spread, trouble,
    },
    world::LoadTo,
};

#[test]
fn throughput_is_linear_in_the_number_of_nodes() {
    let rows = [1, 10, 40].map(|nodes| measure(nodes, 1_000, LoadTo::Scheduler, 1).unwrap());
    linear_within(&rows, 0.05).unwrap();
    let per_node = rows.map(|row| row.loads_per_node_s);
    assert!(per_node[2] < 41.0, "two words a report, however many nodes there are: {per_node:?}");
}

#[test]
fn a_figure_that_is_not_linear_is_refused() {
    let row = measure(1, 100, LoadTo::Scheduler, 1).unwrap();
    let mut other = row.clone();
    other.nodes = 10;
    assert!(linear_within(&[row, other], 0.05).is_err());
}

#[test]
fn one_driver_keeps_ten_nodes_busy() {
    let row = spread::measure(10, 100, 10, 1).unwrap();
    assert!(row.busy > 0.9 * row.cpus, "{row:?}");
    assert!(row.reached_ms[1].unwrap() < 1_000, "{row:?}");
}

#[test]
fn a_slow_scheduler_delays_each_task_but_no_lease_that_is_held() {
    let time = |task, lease| allreduce::measure(100 << 20, task, lease, false, 1).unwrap();
    let (quick, slow_tasks, slow_leases) = (time(0, 0), time(5, 0), time(0, 5));
    assert!(slow_tasks > 2.0 * quick, "{quick} ms, {slow_tasks} ms");
    assert!(slow_leases < 1.05 * quick, "{quick} ms, {slow_leases} ms");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (one, again, other) = (trouble::one(7), trouble::one(7), trouble::one(8));
    assert_eq!(one, again);
    assert_ne!(one.unwrap().digest, other.unwrap().digest);
}

#[test]
fn no_task_and_no_lease_is_lost_under_random_trouble() {
    for seed in 1..=40 {
        if let Err(error) = trouble::one(seed) {
            panic!("seed {seed}: {error}; `make sim-scale SEED={seed} SEEDS=1` replays it");
        }
    }
}
