//! The short form of the figures, and what the simulation promises of itself.
#![allow(clippy::unwrap_used)]

use crate::{
    figures::{
        allreduce, control,
        empty_tasks::{flat_within, linear_within, measure},
        locality, spread, trouble,
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
fn a_task_that_costs_more_on_more_nodes_is_refused() {
    let mut row = measure(10, 100, LoadTo::Scheduler, 1).unwrap();
    row.equal_ns = [900.0, 500.0];
    flat_within(&[row.clone()], 2.0).unwrap();
    assert!(flat_within(&[row], 1.5).is_err());
}

#[test]
fn a_connection_that_is_quiet_for_a_second_gives_a_sign_of_life() {
    // Each node tells one of the others in turn how it is, ten times a second: nine others seldom wait for a second.
    let [few, many] = [10, 40].map(|nodes| control::measure(nodes, 0, 0, 1).unwrap());
    assert!(few.signs_s[0] < 2.0, "{few:?}");
    assert!((10.0..39.0).contains(&many.signs_s[0]) && (10.0..39.0).contains(&many.signs_s[1]), "{many:?}");
    assert_eq!(many.sign_bytes_s, many.signs_s.map(|signs| 4.0 * signs));
}

#[test]
fn tasks_go_where_their_inputs_are_and_who_is_not_told_waits_for_the_network() {
    let run_on = |one_machine, bytes, locality| {
        let case = locality::Case {
            nodes: 2,
            bytes,
            link_bytes_per_s: locality::LINKS[0].0,
            one_machine,
            locality,
            tasks: 200,
        };
        locality::measure(&case, 1).unwrap()
    };
    let run = |bytes, locality| run_on(false, bytes, locality);
    let (small, large) = (run(1 << 20, true), run(100 << 20, true));
    assert!(large.mean_ms < 2.0 * small.mean_ms, "with locality it is flat: {small:?}, {large:?}");
    let without = run(100 << 20, false);
    assert!(without.mean_ms > 10.0 * large.mean_ms, "{large:?}, {without:?}");
    let beside = run_on(true, 100 << 20, false);
    assert_eq!(beside.moved_bytes, 0, "on one machine nothing is moved");
    assert!(beside.mean_ms < without.mean_ms / 10.0, "{beside:?}, {without:?}");
}

#[test]
fn an_actor_costs_the_control_store_the_same_however_many_nodes_there_are() {
    let rows = [1, 10].map(|nodes| control::measure(nodes, 200, 10, 1).unwrap());
    assert_eq!(rows.clone().map(|row| row.writes_per_actor), [4.0, 4.0], "made, placed, up, ended");
    let [_, groups] = rows.clone().map(|row| row.writes_s[3]);
    assert_eq!(groups, 3.0, "three rows for each of ten groups in ten seconds");
    assert!(rows[1].load_bytes_s[0] < 10_000.0, "{rows:?}");
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
