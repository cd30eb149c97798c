//! Placement groups: strategies, waiting, leases, removal, lost nodes.

use super::*;
use crate::placement::{GroupInfeasible, GroupStatus, Refusal};
use PlacementStrategy::{Pack, Spread, StrictPack, StrictSpread};

const G: PlacementGroupId = PlacementGroupId(1);

#[test]
fn each_strategy_lays_bundles_out_as_its_name_says() {
    let two = [cpus(1.0), cpus(1.0)];
    for (strategy, expected) in [(Pack, [0, 0]), (Spread, [0, 1]), (StrictPack, [0, 0]), (StrictSpread, [0, 1])] {
        let mut shell = Shell::new([cpus(2.0), cpus(2.0)]);
        assert_eq!(shell.create(1, &two, strategy), Ok(true));
        assert_eq!(shell.nodes_of(1), expected, "{strategy}");
        assert_eq!(shell.explain(1), "placed");
    }
}

#[test]
fn pack_uses_a_second_node_where_strict_pack_is_infeasible() {
    let three = [cpus(1.0), cpus(1.0), cpus(1.0)];
    let mut shell = Shell::new([cpus(1.0), cpus(2.0)]);
    let refused = shell.create(1, &three, StrictPack);
    assert_eq!(refused, Err(GroupError::Infeasible(GroupInfeasible::Together { strategy: StrictPack })));
    assert_eq!(shell.create(1, &three, Pack), Ok(true));
    assert_eq!(shell.nodes_of(1), [1, 1, 0], "the node that holds most comes first");
}

#[test]
fn spread_doubles_up_where_strict_spread_is_infeasible() {
    let two = [cpus(1.0), cpus(1.0)];
    let mut shell = Shell::new([cpus(2.0)]);
    let refused = shell.create(1, &two, StrictSpread).expect_err("one node cannot hold two apart");
    assert_eq!(refused, GroupError::Infeasible(GroupInfeasible::TooFewNodes { bundles: 2, nodes: 1 }));
    assert_eq!(refused.to_string(), "2 bundles must be on different nodes, and there are 1");
    assert!(shell.core.explain(G).is_none());
    assert_eq!(shell.create(1, &two, Spread), Ok(true));
    assert_eq!(shell.nodes_of(1), [0, 0]);
}

#[test]
fn strict_spread_finds_the_only_matching() {
    let mut shell = Shell::new([cpus(4.0), cpus(4.0).with(GPU, 1.0), cpus(2.0)]);
    let bundles = [cpus(1.0), cpus(3.0), gpus(1.0)];
    assert_eq!(shell.create(1, &bundles, StrictSpread), Ok(true));
    assert_eq!(shell.nodes_of(1), [2, 0, 1]);
}

#[test]
fn a_request_that_makes_no_sense_is_refused() {
    let mut shell = Shell::new([cpus(4.0)]);
    assert_eq!(shell.create(1, &[], Pack), Err(GroupError::NoBundles));
    assert_eq!(shell.create(1, &[cpus(1.0), cpus(0.0)], Pack), Err(GroupError::EmptyBundle(1)));
    let many = vec![cpus(0.0001); PlacementCore::BUNDLES_MAX + 1];
    assert!(matches!(shell.create(1, &many, Pack), Err(GroupError::TooManyBundles { .. })));
    assert_eq!(shell.create(1, &[cpus(1.0)], Pack), Ok(true));
    assert_eq!(shell.create(1, &[cpus(1.0)], Pack), Err(GroupError::AlreadyExists(G)));
}

#[test]
fn a_bundle_too_large_for_any_node_is_told_at_once() {
    let mut shell = Shell::new([cpus(4.0), cpus(2.0)]);
    let refused = shell.create(1, &[cpus(1.0), cpus(5.0)], Spread).expect_err("5 are too many");
    assert_eq!(refused.to_string(), "bundle 1 fits on no node: 5 CPU are asked, and no one place has more than 4");
}

#[test]
fn an_infeasible_group_may_wait_for_nodes() {
    let mut shell = Shell::new([cpus(2.0)]);
    let request = Shell::request(1, &[cpus(1.0), cpus(1.0)], StrictSpread);
    let request = GroupRequest { wait_for_nodes: true, ..request };
    assert_eq!(shell.core.create(request, &mut shell.effects), Ok(false));
    assert_eq!(shell.explain(1), "waits for nodes to join: 2 bundles must be on different nodes, and there are 1");
    assert_eq!(shell.create(2, &[cpus(1.0)], Pack), Ok(true), "it stops nobody");
    shell.join(1, cpus(1.0));
    shell.core.retry(&mut shell.effects);
    assert_eq!(shell.nodes_of(1), [0, 1]);
    assert_eq!(shell.effects.last(), Some(&PlacementEffect::Placed { group: G, nodes: vec![NodeId(0), NodeId(1)] }));
}

#[test]
fn a_group_that_does_not_fit_now_holds_nothing_and_waits() {
    let mut shell = Shell::new([cpus(2.0), cpus(2.0)]);
    let busy = shell.core.allocate_on(NodeId(1), &cpus(1.0)).expect("it fits");
    assert_eq!(shell.create(1, &[cpus(2.0), cpus(2.0)], Pack), Ok(false));
    assert_eq!((shell.free(0, CPU), shell.free(1, CPU)), (2.0, 1.0));
    assert_eq!(
        shell.core.explain(G),
        Some(GroupStatus::WaitsToFitTogether { strategy: Pack }),
        "either bundle fits on node 0"
    );
    shell.release(busy);
    assert_eq!(shell.nodes_of(1), [0, 1]);
}

#[test]
fn a_waiting_group_says_which_bundle_lacks_what() {
    let mut shell = Shell::new([cpus(4.0), cpus(3.0)]);
    let busy = shell.core.allocate_on(NodeId(0), &cpus(2.5)).expect("it fits");
    assert_eq!(shell.create(1, &[cpus(1.0), cpus(4.0)], Pack), Ok(false));
    let expected = "waits for resources of bundle 1: 4 CPU are asked, and 1.5 are free in one place";
    assert_eq!(shell.explain(1), expected);
    shell.core.release(busy, &mut shell.effects);
    assert_eq!(shell.core.explain(G), Some(GroupStatus::WaitsForRetry));
    shell.core.retry(&mut shell.effects);
    assert_eq!(shell.core.explain(G), Some(GroupStatus::Placed));
}

#[test]
fn later_groups_may_pass_but_not_for_ever() {
    let mut shell = Shell::new([cpus(2.0)]);
    let half = shell.core.try_allocate(&cpus(1.0)).expect("it fits");
    assert_eq!(shell.create(1, &[cpus(2.0)], Pack), Ok(false));
    for id in 0..u128::from(PlacementCore::PASSES_MAX) {
        assert_eq!(shell.create(100 + id, &[cpus(1.0)], Pack), Ok(true));
        shell.remove(100 + id, false);
    }
    assert_eq!(shell.create(200, &[cpus(1.0)], Pack), Ok(false), "the first has waited too long");
    assert_eq!(shell.core.explain(PlacementGroupId(200)), Some(GroupStatus::WaitsBehind { group: G }));
    shell.release(half);
    assert_eq!(shell.core.explain(G), Some(GroupStatus::Placed));
    shell.remove(1, false);
    assert_eq!(shell.explain(200), "placed");
}

#[test]
fn a_group_that_was_placed_has_its_passings_forgotten() {
    let mut shell = Shell::new([cpus(2.0)]);
    let half = shell.core.try_allocate(&cpus(1.0)).expect("it fits");
    assert_eq!(shell.create(1, &[cpus(2.0)], Pack), Ok(false));
    for id in 0..u128::from(PlacementCore::PASSES_MAX) {
        shell.create(100 + id, &[cpus(1.0)], Pack).expect("it fits");
        shell.remove(100 + id, false);
    }
    shell.release(half);
    assert_eq!(shell.explain(1), "placed");
    shell.join(0, cpus(2.0));
    let half = shell.core.try_allocate(&cpus(1.0)).expect("the new node is empty");
    assert_eq!(shell.create(200, &[cpus(1.0)], Pack), Ok(true));
    assert_eq!(shell.nodes_of(1), [-1]);
    shell.release(half);
}

#[test]
fn one_retry_passes_a_group_no_more_often_than_allowed() {
    let mut shell = Shell::new([cpus(40.0)]);
    let most = shell.core.try_allocate(&cpus(40.0)).expect("it fits");
    assert_eq!(shell.create(1, &[cpus(40.0)], Pack), Ok(false));
    let rest = 2..42_u128;
    rest.clone().for_each(|id| assert_eq!(shell.create(id, &[cpus(1.0)], Pack), Ok(false)));
    shell.core.release(most, &mut shell.effects);
    let one = shell.core.try_allocate(&cpus(1.0)).expect("it is free");
    shell.core.retry(&mut shell.effects);
    let placed = |shell: &Shell| rest.clone().filter(|id| shell.nodes_of(*id) == [0]).count();
    assert_eq!(placed(&shell), PlacementCore::PASSES_MAX as usize);
    (2..18).for_each(|id| shell.remove(id, false));
    shell.release(one);
    assert_eq!(shell.nodes_of(1), [0]);
    shell.remove(1, true);
    assert_eq!(shell.core.waiting_groups().count(), 0);
}

#[test]
fn leases_come_out_of_a_bundle_and_not_out_of_the_node() {
    let mut shell = Shell::new([cpus(4.0)]);
    shell.create(1, &[cpus(1.0), cpus(2.0)], Pack).expect("it fits");
    assert_eq!(shell.free(0, CPU), 1.0);
    let any = shell.core.allocate_in_group(G, None, &cpus(2.0)).expect("bundle 1 has it");
    assert_eq!((any.bundle(), any.node()), (Some((G, 1)), NodeId(0)));
    let refusal = shell.core.allocate_in_group(G, Some(0), &cpus(2.0));
    assert!(matches!(refusal, Err(Refusal::Infeasible(_))));
    assert!(matches!(shell.core.allocate_in_group(G, None, &cpus(2.0)), Err(Refusal::Busy { .. })));
    assert!(matches!(
        shell.core.allocate_in_group(G, Some(2), &cpus(1.0)),
        Err(Refusal::UnknownBundle { bundles: 2, .. })
    ));
    assert_eq!(shell.free(0, CPU), 1.0);
    shell.release(any);
    assert!(shell.core.allocate_in_group(G, Some(1), &cpus(2.0)).is_ok());
}

#[test]
fn a_bundles_devices_are_shared_out_among_its_tasks() {
    let mut shell = Shell::new([gpus(4.0)]);
    let outside = shell.core.try_allocate(&gpus(1.0)).expect("it fits");
    shell.create(1, &[gpus(2.0)], Pack).expect("it fits");
    let mut lease = |count: f64| {
        let lease = shell.core.allocate_in_group(G, None, &gpus(count)).expect("it fits");
        lease.devices(GPU).iter().map(|share| share.index).collect::<Vec<_>>()
    };
    assert_eq!([lease(0.5), lease(1.0), lease(0.5)], [[1], [2], [1]]);
    assert_eq!(outside.devices(GPU)[0].index, 0);
}

#[test]
fn a_fraction_of_a_device_may_be_a_bundle() {
    let mut shell = Shell::new([gpus(1.0)]);
    assert_eq!(shell.create(1, &[gpus(0.5), gpus(0.5)], StrictPack), Ok(true));
    let quarter = shell.core.allocate_in_group(G, Some(1), &gpus(0.25)).expect("it fits");
    assert_eq!(quarter.devices(GPU)[0].index, 0);
    assert!(shell.core.allocate_in_group(G, Some(1), &gpus(0.5)).is_err());
}

#[test]
fn a_removed_group_waits_for_its_tasks_bundle_by_bundle() {
    let mut shell = Shell::new([cpus(4.0)]);
    shell.create(1, &[cpus(1.0), cpus(2.0)], Pack).expect("it fits");
    let lease = shell.core.allocate_in_group(G, Some(1), &cpus(0.5)).expect("it fits");
    shell.remove(1, false);
    assert_eq!(shell.free(0, CPU), 2.0);
    assert_eq!(shell.explain(1), "removed, once 1 running tasks are done");
    assert_eq!(shell.core.allocate_in_group(G, None, &cpus(0.5)), Err(Refusal::Removing(G)));
    shell.release(lease);
    assert_eq!(shell.free(0, CPU), 4.0);
    assert_eq!(shell.effects.last(), Some(&PlacementEffect::Removed { group: G }));
    assert_eq!(shell.core.allocate_in_group(G, None, &cpus(0.5)), Err(Refusal::UnknownGroup(G)));
}

#[test]
fn a_forced_removal_gives_back_at_once_and_only_once() {
    let mut shell = Shell::new([cpus(4.0)]);
    shell.create(1, &[cpus(2.0)], Pack).expect("it fits");
    let stale = shell.core.allocate_in_group(G, None, &cpus(2.0)).expect("it fits");
    shell.remove(1, true);
    assert_eq!(shell.free(0, CPU), 4.0);
    shell.create(1, &[cpus(3.0)], Pack).expect("it fits");
    let fresh = shell.core.allocate_in_group(G, None, &cpus(3.0)).expect("it fits");
    shell.release(stale);
    assert!(shell.core.allocate_in_group(G, None, &cpus(1.0)).is_err(), "a stale lease frees nothing");
    shell.release(fresh);
}

#[test]
fn a_waiting_group_can_be_removed() {
    let mut shell = Shell::new([cpus(1.0)]);
    let busy = shell.core.try_allocate(&cpus(1.0)).expect("it fits");
    assert_eq!(shell.create(1, &[cpus(1.0)], Pack), Ok(false));
    assert!(matches!(shell.core.allocate_in_group(G, None, &cpus(1.0)), Err(Refusal::NotPlaced(_))));
    shell.remove(1, false);
    assert_eq!(shell.effects.last(), Some(&PlacementEffect::Removed { group: G }));
    shell.release(busy);
    assert!(!shell.core.remove_group(G, false, &mut shell.effects));
}

#[test]
fn bundles_lost_with_a_node_are_placed_again_and_the_others_stay() {
    let mut shell = Shell::new([cpus(1.0), cpus(1.0), cpus(1.0)]);
    shell.create(1, &[cpus(1.0), cpus(1.0)], StrictSpread).expect("it fits");
    let kept = shell.core.allocate_in_group(G, Some(0), &cpus(1.0)).expect("it fits");
    let lost = shell.core.allocate_in_group(G, Some(1), &cpus(1.0)).expect("it fits");
    shell.core.remove_node(NodeId(1), &mut shell.effects);
    assert_eq!(shell.effects.last(), Some(&PlacementEffect::BundlesLost { group: G, bundles: vec![1] }));
    assert_eq!(shell.nodes_of(1), [0, -1]);
    shell.core.retry(&mut shell.effects);
    assert_eq!(shell.nodes_of(1), [0, 2]);
    shell.release(lost);
    shell.release(kept);
    assert_eq!(shell.free(2, CPU), 0.0);
}

#[test]
fn a_strictly_packed_group_moves_as_a_whole() {
    let mut shell = Shell::new([cpus(2.0), cpus(2.0)]);
    shell.create(1, &[cpus(1.0), cpus(1.0)], StrictPack).expect("it fits");
    shell.core.remove_node(NodeId(0), &mut shell.effects);
    shell.core.retry(&mut shell.effects);
    assert_eq!(shell.nodes_of(1), [1, 1]);
    shell.core.remove_node(NodeId(1), &mut shell.effects);
    shell.core.retry(&mut shell.effects);
    assert_eq!(shell.explain(1), "waits for nodes to join: bundle 0 fits on no node: there are no nodes");
    shell.remove(1, false);
}

#[test]
fn a_group_being_removed_is_gone_with_its_node() {
    let mut shell = Shell::new([cpus(2.0)]);
    shell.create(1, &[cpus(1.0)], Pack).expect("it fits");
    let lease = shell.core.allocate_in_group(G, None, &cpus(1.0)).expect("it fits");
    shell.remove(1, false);
    shell.core.remove_node(NodeId(0), &mut shell.effects);
    assert_eq!(shell.effects.last(), Some(&PlacementEffect::Removed { group: G }));
    shell.release(lease);
}
