//! One pool: devices, fractions, and what is said of what does not fit.

use super::*;
use crate::placement::{Infeasible, Refusal};

fn indices(pool: &mut NodeResources, count: f64) -> Vec<u32> {
    let allocation = pool.try_allocate(&gpus(count)).expect("it fits");
    pool.sanity_check();
    allocation.devices(GPU).iter().map(|share| share.index).collect()
}

#[test]
fn fractions_fill_a_device_before_they_open_the_next() {
    let mut pool = NodeResources::new(gpus(3.0));
    let given: Vec<_> = [0.5, 0.3, 0.4, 0.2, 0.6].into_iter().flat_map(|part| indices(&mut pool, part)).collect();
    assert_eq!(given, [0, 0, 1, 0, 1]);
    assert_eq!(indices(&mut pool, 1.0), [2]);
}

#[test]
fn a_fraction_goes_to_the_device_with_the_least_room_that_suffices() {
    let mut pool = NodeResources::new(gpus(3.0));
    let given: Vec<_> = [0.5, 0.7, 0.3, 0.4].into_iter().flat_map(|part| indices(&mut pool, part)).collect();
    assert_eq!(given, [0, 1, 1, 0]);
}

#[test]
fn whole_devices_are_empty_and_distinct() {
    let mut pool = NodeResources::new(gpus(4.0));
    assert_eq!(indices(&mut pool, 0.1), [0]);
    assert_eq!(indices(&mut pool, 2.0), [1, 2]);
    assert!(matches!(pool.try_allocate(&gpus(2.0)), Err(Refusal::Busy { .. })));
    assert_eq!(indices(&mut pool, 1.0), [3]);
}

#[test]
fn enough_in_sum_on_too_many_devices_is_busy() {
    let mut pool = NodeResources::new(gpus(2.0));
    let parts = [0.6, 0.6].map(|part| pool.try_allocate(&gpus(part)).expect("it fits"));
    let refusal = pool.try_allocate(&gpus(0.8)).expect_err("0.4 are free on each");
    assert_eq!(refusal.to_string(), "0.8 GPU are asked, and 0.8 are free in one place");
    parts.into_iter().for_each(|part| pool.release(part));
    assert_eq!(pool, NodeResources::new(gpus(2.0)));
}

#[test]
fn more_than_one_device_is_a_whole_number() {
    let mut pool = NodeResources::new(gpus(4.0).with(CPU, 4.0));
    let refusal = pool.try_allocate(&gpus(1.5)).expect_err("it is not whole");
    assert_eq!(refusal.to_string(), "1.5 GPU are asked, and more than one must be a whole number");
    assert!(pool.try_allocate(&cpus(1.5)).is_ok(), "processors are not told apart");
}

#[test]
fn what_never_fits_names_resource_demand_and_total() {
    let pool = NodeResources::new(gpus(2.5));
    let total = |asked: f64| pool.can_ever_fit(&gpus(asked)).map_err(|never| never.to_string());
    assert_eq!(total(2.0), Ok(()));
    assert_eq!(total(0.5), Ok(()));
    assert_eq!(total(3.0), Err("3 GPU are asked, and no one place has more than 2".to_owned()));
    let tpu = ResourceSet::new().with("tpu", 0.1);
    assert_eq!(
        pool.can_ever_fit(&tpu).expect_err("there is none").to_string(),
        "0.1 tpu are asked, and no one place has more than 0"
    );
}

#[test]
fn a_refused_demand_takes_nothing() {
    let mut pool = NodeResources::new(gpus(2.0).with(CPU, 1.0));
    let before = pool.clone();
    assert!(pool.try_allocate(&gpus(1.0).with(CPU, 2.0)).is_err());
    assert!(!pool.fits(&gpus(1.0).with(CPU, 2.0)));
    assert_eq!(pool, before);
}

#[test]
fn other_resources_may_come_in_devices_too() {
    let total = ResourceSet::new().with("tpu", 2.0);
    let mut pool = NodeResources::with_devices(total, &[GPU, "tpu"]);
    let one = pool.try_allocate(&ResourceSet::new().with("tpu", 1.0)).expect("it fits");
    assert_eq!(one.devices("tpu").len(), 1);
    assert!(pool.devices(GPU).is_empty());
}

#[test]
#[should_panic(expected = "more was released than was taken")]
fn a_release_into_the_wrong_pool_is_noticed() {
    let mut pool = NodeResources::new(cpus(1.0));
    let other = NodeResources::new(cpus(2.0)).try_allocate(&cpus(1.0)).expect("it fits");
    pool.release(other);
}

#[test]
fn a_demand_goes_to_the_first_node_that_has_it_free() {
    let mut shell = Shell::new([cpus(1.0), cpus(2.0)]);
    let two = shell.core.try_allocate(&cpus(2.0)).expect("node 1 has it");
    let one = shell.core.try_allocate(&cpus(1.0)).expect("node 0 has it");
    assert_eq!((two.node(), one.node()), (NodeId(1), NodeId(0)));
    assert!(matches!(shell.core.try_allocate(&cpus(1.0)), Err(Refusal::Busy { .. })));
    assert!(matches!(shell.core.try_allocate(&cpus(3.0)), Err(Refusal::Infeasible(_))));
    assert!(matches!(shell.core.allocate_on(NodeId(7), &cpus(1.0)), Err(Refusal::UnknownNode(_))));
    shell.release(one);
    shell.release(two);
    assert_eq!((shell.free(0, CPU), shell.free(1, CPU)), (1.0, 2.0));
}

#[test]
fn what_no_node_has_together_is_infeasible() {
    let shell = Shell::new([cpus(8.0), gpus(1.0)]);
    let both = cpus(1.0).with(GPU, 1.0);
    assert_eq!(shell.core.can_ever_fit(&both), Err(Infeasible::Together { demand: both.clone() }));
    assert_eq!(Shell::new([]).core.can_ever_fit(&both), Err(Infeasible::NoNodes));
}

#[test]
fn a_lease_of_a_node_that_left_gives_nothing_back_to_its_successor() {
    let mut shell = Shell::new([cpus(2.0)]);
    let stale = shell.core.try_allocate(&cpus(2.0)).expect("it fits");
    shell.join(0, cpus(2.0));
    let fresh = shell.core.try_allocate(&cpus(1.0)).expect("the new node is empty");
    shell.release(stale);
    assert_eq!(shell.free(0, CPU), 1.0);
    shell.release(fresh);
}
