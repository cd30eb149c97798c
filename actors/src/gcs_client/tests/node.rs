//! Tests of the port on a node that runs.

use std::{
    sync::{mpsc, Arc, Barrier},
    thread,
    time::Duration,
};

use actinic_gcs::{
    shard::Filter,
    spec::{ActorDeath, ActorState, JobState, Limit, PlacementGroupSpec, PlacementGroupState, PlacementStrategy},
    tables::{limits, HistoryRead, IfExists, Table, Update},
    PlacementGroupId,
};
use bytes::Bytes;

use super::*;
use crate::{
    bootstrap::RunningNode,
    gcs_client::{ledger::DEAD_LEN_MAX, GcsError},
    node::{NodeConfig, INLINE_BYTES_MAX},
};

/// Longer than anything takes; a test that fails ends all the same.
const PATIENCE: Duration = Duration::from_secs(30);

fn start() -> Arc<RunningNode> {
    RunningNode::start(NodeConfig {
        cluster: None,
        resources: ResourceSet::new().with(actinic_gcs::resources::CPU, 1.0),
        store: Default::default(),
        job: JobId(1),
        namespace: "default".to_owned(),
        kv_namespace: "default".to_owned(),
        record_graph: None,
        pool: Default::default(),
        inline_bytes_max: INLINE_BYTES_MAX,
        arbiters: 1,
        seed: 1,
        gcs: crate::node::GcsStorage::Memory,
    })
    .unwrap()
}

#[test]
fn the_node_and_its_job_are_registered_at_start() {
    let running = start();
    let node = running.node();
    let nodes = node.gcs.nodes().unwrap();
    assert_eq!(nodes.len(), 1);
    assert!(nodes[0].is_alive());
    assert_eq!((nodes[0].spec.id, &nodes[0].spec.resources), (node.id, &node.config.resources));
    let jobs = node.gcs.jobs().unwrap();
    assert_eq!((jobs[0].spec.id, &jobs[0].state), (JobId(1), &JobState::Running));
}

#[test]
fn of_many_that_register_one_name_one_creates_the_actor() {
    let running = start();
    let barrier = Barrier::new(8);
    let (node, barrier) = (running.node(), &barrier);
    let given: Vec<(ActorId, bool)> = thread::scope(|scope| {
        let register = |number| {
            scope.spawn(move || {
                barrier.wait();
                node.gcs.register_actor(spec(number, Some("one")), IfExists::Get).unwrap()
            })
        };
        let threads: Vec<_> = (0..8).map(register).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(given.iter().filter(|(_, created)| *created).count(), 1);
    assert!(given.iter().all(|(actor, _)| *actor == given[0].0));
    let refused = node.gcs.register_actor(spec(9, Some("one")), IfExists::Fail);
    assert!(matches!(refused, Err(GcsError::Refused(TableError::NameTaken { .. }))));
}

#[test]
fn a_name_is_free_as_soon_as_its_bearer_is_said_to_be_dead() {
    let running = start();
    let gcs = &running.node().gcs;
    for number in 0..100 {
        let (actor, created) = gcs.register_actor(spec(number, Some("phoenix")), IfExists::Fail).unwrap();
        assert!(created);
        gcs.actor_alive(actor);
        assert_eq!(gcs.find_actor("default", "phoenix").unwrap().unwrap().state, ActorState::Alive);
        gcs.actor_dead(actor, "it was its time");
    }
    assert_eq!(gcs.find_actor("default", "phoenix").unwrap(), None);
}

#[test]
fn an_actor_is_seen_in_the_state_last_told() {
    let running = start();
    let gcs = &running.node().gcs;
    let (actor, created) = gcs.register_actor(spec(1, None), IfExists::Fail).unwrap();
    assert!(created);
    let seen = || gcs.actor(actor).unwrap().map(|info| (info.state, info.incarnation)).unwrap();
    assert_eq!(seen(), (ActorState::DependenciesUnready, 0));
    gcs.actor_pending(actor);
    assert_eq!(seen(), (ActorState::PendingCreation, 0));
    gcs.actor_alive(actor);
    gcs.actor_restarting(actor);
    gcs.actor_restarting(actor);
    assert_eq!(seen(), (ActorState::Restarting, 2));
    gcs.actor_alive(actor);
    assert_eq!(seen(), (ActorState::Alive, 2));
    gcs.actor_died(actor, ActorDeath::OutOfScope);
    let listed = gcs.actors().unwrap();
    assert_eq!((listed.len(), &listed[0].death), (1, &Some(ActorDeath::OutOfScope)));
}

#[test]
fn what_is_said_of_an_unknown_actor_is_nothing() {
    let running = start();
    let gcs = &running.node().gcs;
    gcs.actor_alive(ActorId(1));
    gcs.checkpoint(ActorId(1), 1, b"state");
    gcs.actor_dead(ActorId(1), "gone");
    assert_eq!(gcs.actors().unwrap(), []);
}

#[test]
fn of_many_short_lived_actors_only_the_last_dead_are_kept() {
    let running = start();
    let gcs = &running.node().gcs;
    for number in 0..50_000 {
        let (actor, _) = gcs.register_actor(spec(number, None), IfExists::Fail).unwrap();
        gcs.actor_alive(actor);
        gcs.actor_dead(actor, "done");
    }
    gcs.flush().unwrap();
    let actors = gcs.actors().unwrap();
    assert_eq!(actors.len(), DEAD_LEN_MAX);
    assert!(actors.iter().all(|info| info.state == ActorState::Dead));
}

#[test]
fn a_checkpoint_is_kept_unless_it_is_too_large() {
    let running = start();
    let gcs = &running.node().gcs;
    let actor = gcs.register_actor(spec(1, None), IfExists::Fail).unwrap().0;
    gcs.actor_alive(actor);
    gcs.checkpoint(actor, 1, b"small");
    gcs.checkpoint(actor, 2, &vec![0; limits::CHECKPOINT_BYTES_MAX + 1]);
    let Ok(Reply::Checkpoint(Some(saved))) = gcs.read(HistoryRead::Checkpoint(actor)) else { panic!("no checkpoint") };
    assert_eq!(saved.state, actinic_gcs::spec::CheckpointState::Inline(Bytes::from_static(b"small")));
}

#[test]
fn values_are_put_got_swapped_listed_and_deleted() {
    let running = start();
    let gcs = &running.node().gcs;
    assert!(gcs.kv_put("a", "key/1", "one", false).unwrap());
    assert!(!gcs.kv_put("a", "key/1", "two", false).unwrap());
    assert!(gcs.kv_put("a", "key/1", "three", true).unwrap());
    assert!(gcs.kv_put("b", "key/2", "other", true).unwrap());
    assert_eq!(gcs.kv_get("a", "key/1").unwrap(), Some(Bytes::from("three")));
    assert!(!gcs.kv_compare_and_swap("a", "key/1", None, Some("four".into())).unwrap());
    assert!(gcs.kv_compare_and_swap("a", "key/1", Some("three".into()), Some("four".into())).unwrap());
    assert_eq!(gcs.kv_keys("a", "key/").unwrap(), [Bytes::from("key/1")]);
    assert!(gcs.kv_delete("a", "key/1").unwrap());
    assert!(!gcs.kv_delete("a", "key/1").unwrap());
    assert!(matches!(gcs.kv_put("a", "", "", true), Err(GcsError::Refused(TableError::EmptyName))));
    (0..2_500).for_each(|n| drop(gcs.kv_put("many", n.to_string(), "", true)));
    assert_eq!(gcs.kv_keys("many", "").unwrap().len(), 2_500);
}

#[test]
fn a_placement_group_is_created_placed_and_removed() {
    let running = start();
    let node = running.node();
    let id = PlacementGroupId(1);
    node.gcs.group_created(PlacementGroupSpec {
        id,
        name: None,
        strategy: PlacementStrategy::Pack,
        bundles: vec![ResourceSet::new(); 2],
        lifetime: Lifetime::Detached,
    });
    let state = || node.gcs.groups().unwrap()[0].state;
    assert_eq!(state(), PlacementGroupState::Pending);
    node.gcs.group_placed(id, vec![node.id; 2]);
    assert_eq!(state(), PlacementGroupState::Created);
    node.gcs.group_removed(id);
    assert_eq!(state(), PlacementGroupState::Removed);
}

#[test]
fn a_subscriber_hears_of_each_change_in_order_and_may_not_wait() {
    let running = start();
    let node = running.node().clone();
    let (tell, heard) = mpsc::channel();
    let inner = Arc::downgrade(&node);
    let subscription = node.gcs.subscribe(Filter::table(Table::Actors), move |change| {
        let Ok(Some(Update::Actor(info))) = change.update() else { panic!("no actor") };
        let asked = inner.upgrade().unwrap().gcs.actors();
        tell.send((info.state, asked)).unwrap();
    });
    let actor = node.gcs.register_actor(spec(1, None), IfExists::Fail).unwrap().0;
    node.gcs.actor_alive(actor);
    node.gcs.actor_dead(actor, "done");
    let states = [ActorState::DependenciesUnready, ActorState::PendingCreation, ActorState::Alive, ActorState::Dead];
    // Steps that came together are told as one.
    let mut last = None;
    while last != Some(ActorState::Dead) {
        let (state, asked) = heard.recv_timeout(PATIENCE).unwrap();
        assert_eq!(asked, Err(GcsError::Callback));
        assert!(last < Some(state) && states.contains(&state));
        last = Some(state);
    }
    node.gcs.unsubscribe(subscription);
    assert!(heard.recv_timeout(PATIENCE).is_err(), "the callback is dropped");
}

#[test]
fn a_callback_that_panics_ends_its_subscription_only() {
    let running = start();
    let gcs = &running.node().gcs;
    let (tell, heard) = mpsc::channel();
    gcs.subscribe(Filter::values("a", b""), |_| panic!("a callback's own fault"));
    gcs.subscribe(Filter::values("a", b""), move |change| tell.send(change.sequence).unwrap());
    gcs.kv_put("a", "1", "", true).unwrap();
    gcs.kv_put("a", "2", "", true).unwrap();
    let first = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(first + 1));
}

#[test]
fn after_the_end_nobody_waits() {
    let running = start();
    let node = running.node().clone();
    let asking = {
        let node = node.clone();
        thread::spawn(move || while node.gcs.jobs() != Err(GcsError::Closed) {})
    };
    running.shut_down();
    asking.join().unwrap();
    assert_eq!(node.gcs.kv_get("a", "key"), Err(GcsError::Closed));
    node.gcs.record(actinic_gcs::tables::JobWrite::NextId);
    assert!(matches!(
        node.gcs.register_actor(ActorSpec { max_restarts: Limit::NEVER, ..spec(1, Some("late")) }, IfExists::Get),
        Err(GcsError::Closed)
    ));
}
