//! The replicated control store in one thread and virtual time.
//!
//! Owns: whole groups of replicas over simulated disks and networks, with everything going wrong that may, all of it drawn
//! from one seed; then all is well again, and everyone must be answered and agree. Does not own the code under test, nor
//! what a real shell adds to it. Invariants: a seed always gives the same trace; each of the known mistakes put back on
//! purpose ([`Fault`]) is found.
//!
//! `ACTINIC_SIM_SEEDS=n` runs so many seeds, `ACTINIC_SIM_SEED=x` runs one and prints all that happens.

mod sim {
    pub(crate) mod checks;
    pub(crate) mod client;
    pub(crate) mod connect;
    pub(crate) mod effects;
    pub(crate) mod event;
    pub(crate) mod figure8;
    pub(crate) mod finish;
    pub(crate) mod host;
    pub(crate) mod members;
    pub(crate) mod network;
    pub(crate) mod plan;
    pub(crate) mod rng;
    pub(crate) mod run;
    pub(crate) mod store;
    pub(crate) mod trouble;
    pub(crate) mod watch;
    pub(crate) mod world;
}

use std::time::Instant;

use actinic_gcs::replica::Fault;
use sim::{
    finish,
    plan::Plan,
    run::{run, run_all, setting},
};

const SEEDS: u64 = 300;
/// Seeds after which a known mistake must be found.
const HUNT_MAX: u64 = 400;

#[test]
fn seeds_of_all_kinds_of_trouble_keep_every_promise() {
    if let Some(seed) = setting("ACTINIC_SIM_SEED") {
        let plan = Plan::draw(seed);
        println!("{plan:#?}");
        let outcome = finish::run(plan, true);
        println!("{outcome:#?}");
        assert_eq!(outcome.failure, None);
        return;
    }
    let (seeds, begun) = (setting("ACTINIC_SIM_SEEDS").unwrap_or(SEEDS), Instant::now());
    let counts = run_all(0..seeds);
    let each_second = seeds as f64 / begun.elapsed().as_secs_f64();
    println!("{seeds} seeds, {each_second:.0} a second: {counts:#?}");
    if seeds >= SEEDS {
        let happened = [
            counts.crashes,
            counts.compactions,
            counts.installs,
            counts.later_chunks,
            counts.members_changed,
            counts.resyncs,
            counts.disk_failures,
        ];
        assert!(happened.iter().all(|times| *times > seeds / 10), "something hardly ever happens");
        assert!(counts.answered > seeds * 50, "hardly anyone is answered");
        assert!(counts.undecided * 1_000 < seeds, "too many histories are too long to judge");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..10 {
        assert_eq!(run(Plan::draw(seed)), run(Plan::draw(seed)), "seed {seed}");
    }
    assert_ne!(run(Plan::draw(1)).hash, run(Plan::draw(2)).hash);
}

/// Runs seeds with a mistake until one fails.
fn hunt(fault: Fault) {
    let found = (0..HUNT_MAX).find_map(|seed| Some((seed, run(Plan::hunt(seed, fault)).failure?)));
    let Some((seed, failure)) = found else { panic!("{fault:?} is not found in {HUNT_MAX} seeds") };
    let detail: String = failure.detail.chars().take(160).collect();
    println!("{fault:?} is found after {} seeds: {}: {detail}", seed + 1, failure.check);
    // Without the mistake the same seed keeps its promises.
    assert_eq!(run(Plan { fault: None, ..Plan::hunt(seed, fault) }).failure, None, "seed {seed} without {fault:?}");
}

#[test]
fn a_vote_before_it_is_durable_is_found() {
    hunt(Fault::VoteBeforePersist);
}

#[test]
fn an_acknowledgement_before_it_is_durable_is_found() {
    hunt(Fault::AckBeforePersist);
}

#[test]
fn a_commit_of_an_older_term_is_found() {
    hunt(Fault::CommitOlderTerm);
}

#[test]
fn an_entry_applied_before_it_is_committed_is_found() {
    hunt(Fault::ApplyBeforeCommit);
}

#[test]
fn a_read_without_confirmation_is_found() {
    hunt(Fault::ReadWithoutConfirmation);
}
