//! Tests of which nodes hold replicas.

use actinic_gcs::replica::ReplicaWork;

use super::*;

fn node(number: u64) -> NodeId {
    NodeId(u128::from(number) << 64)
}

fn nodes(numbers: &[u64]) -> Vec<(NodeId, String)> {
    numbers.iter().map(|number| (node(*number), format!("host:{number}"))).collect()
}

/// A group as replica 1, its leader, sees it.
fn group(voters: &[u64], learners: &[(u64, u64)]) -> ReplicaStatus {
    ReplicaStatus {
        id: ReplicaId(1),
        term: 1,
        leader: Some(ReplicaId(1)),
        leads: true,
        last: 1_000,
        committed: 1_000,
        applied: 1_000,
        log_entries: 0,
        log_bytes: 0,
        waiting: 0,
        voters: voters.iter().copied().map(ReplicaId).collect(),
        learners: learners.iter().map(|(id, _)| ReplicaId(*id)).collect(),
        matched: learners.iter().map(|(id, matched)| (ReplicaId(*id), *matched)).collect(),
        work: ReplicaWork::default(),
    }
}

fn next(core: &mut GroupCore, wanted: usize, status: &ReplicaStatus, alive: &[u64]) -> Vec<Step> {
    core.next(wanted, status, &nodes(alive))
}

#[test]
fn two_nodes_have_one_replica_and_the_third_makes_them_three() {
    let mut core = GroupCore::default();
    assert_eq!(next(&mut core, 3, &group(&[1], &[]), &[1, 2]), []);
    assert_eq!(next(&mut core, 3, &group(&[1], &[]), &[1, 2, 3]), [Step::Hold(node(2))]);
    let learner = Step::Change(MembershipChange::AddLearner(ReplicaId(2), "host:2".to_owned()));
    assert_eq!(next(&mut core, 3, &group(&[1], &[]), &[1, 2, 3]), [learner, Step::Hold(node(2))]);
}

#[test]
fn the_third_replica_goes_to_a_node_that_has_none() {
    let mut core = GroupCore::default();
    assert_eq!(next(&mut core, 3, &group(&[1, 2], &[]), &[1, 2, 3]), [Step::Hold(node(3))]);
    assert_eq!(next(&mut core, 3, &group(&[1, 2], &[]), &[1, 3, 2]), {
        let learner = Step::Change(MembershipChange::AddLearner(ReplicaId(3), "host:3".to_owned()));
        [learner, Step::Hold(node(3))]
    });
}

#[test]
fn a_learner_votes_once_it_has_caught_up() {
    let mut core = GroupCore::default();
    assert_eq!(next(&mut core, 3, &group(&[1], &[(2, 0)]), &[1, 2, 3]), [Step::Hold(node(2))]);
    assert_eq!(next(&mut core, 3, &group(&[1], &[(2, 900)]), &[1, 2, 3]), [Step::Hold(node(2))]);
    let voter = Step::Change(MembershipChange::AddVoter(ReplicaId(2), "host:2".to_owned()));
    assert_eq!(next(&mut core, 3, &group(&[1], &[(2, 990)]), &[1, 2, 3]), [voter]);
}

#[test]
fn a_dead_node_s_replica_is_taken_out_before_another_comes() {
    let mut core = GroupCore::default();
    let removed = [Step::Change(MembershipChange::Remove(ReplicaId(2)))];
    assert_eq!(next(&mut core, 3, &group(&[1, 2, 3], &[]), &[1, 3, 4]), removed);
    assert_eq!(next(&mut core, 3, &group(&[1, 3], &[(2, 5)]), &[1, 3, 4]), removed);
    assert_eq!(next(&mut core, 3, &group(&[1, 3], &[]), &[1, 3, 4]), [Step::Hold(node(4))]);
}

#[test]
fn where_no_node_can_take_its_place_the_others_stay() {
    let mut core = GroupCore::default();
    assert_eq!(next(&mut core, 3, &group(&[1, 3], &[]), &[1, 3]), []);
    assert_eq!(next(&mut core, 1, &group(&[1, 2, 3], &[]), &[1, 2, 3]), []);
}

#[test]
fn while_the_nodes_are_not_known_nothing_is_decided() {
    assert_eq!(next(&mut GroupCore::default(), 3, &group(&[1, 2, 3], &[]), &[]), []);
    assert_eq!(next(&mut GroupCore::default(), 3, &group(&[1, 2, 3], &[]), &[2, 3, 4]), []);
}
