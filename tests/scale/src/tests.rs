//! The short form of the figures, and what the simulation promises of itself.
#![allow(clippy::unwrap_used)]

use crate::{
    figures::empty_tasks::{linear_within, measure},
    world::LoadTo,
};

#[test]
fn throughput_is_linear_in_the_number_of_nodes() {
    let rows = [1, 10, 40].map(|nodes| measure(nodes, 1_000, LoadTo::Scheduler, 1).unwrap());
    linear_within(&rows, 0.05).unwrap();
}
