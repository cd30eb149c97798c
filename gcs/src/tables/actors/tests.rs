//! Tests of the actor directory.

use proptest::prelude::*;

use super::*;
use crate::{
    spec::Limit,
    testing::{actor, Bench},
    NodeId, WorkerId,
};

const HERE: ActorLocation = ActorLocation { node: NodeId(1), worker: WorkerId(2) };

fn named(id: u128, name: &str) -> ActorSpec {
    ActorSpec { name: Some(name.into()), ..actor(id) }
}

fn register(bench: &mut Bench, spec: ActorSpec, if_exists: IfExists) -> Result<Reply, TableError> {
    bench.apply(ActorWrite::Register { spec: Box::new(spec), if_exists })
}

fn step(bench: &mut Bench, id: u128, incarnation: u32, step: ActorStep) -> Result<Reply, TableError> {
    bench.apply(ActorWrite::Step { actor: ActorId(id), incarnation, step })
}

fn by_name(bench: &Bench, name: &str) -> Option<ActorId> {
    let read = ActorRead::ByName { namespace: "default".into(), name: name.into() };
    let Ok(Reply::Actor(info)) = bench.read(read) else { panic!("not an actor") };
    info.map(|info| info.spec.id)
}

#[test]
fn an_actor_lives_restarts_and_dies() {
    let mut bench = Bench::new();
    register(&mut bench, actor(1), IfExists::Fail).unwrap();
    assert_eq!(step(&mut bench, 1, 0, ActorStep::PendingCreation), Ok(Reply::Incarnation(0)));
    assert_eq!(step(&mut bench, 1, 0, ActorStep::Alive(HERE)), Ok(Reply::Incarnation(0)));
    assert_eq!(step(&mut bench, 1, 0, ActorStep::Restarting), Ok(Reply::Incarnation(1)));
    assert_eq!(step(&mut bench, 1, 1, ActorStep::Alive(HERE)), Ok(Reply::Incarnation(1)));
    assert_eq!(step(&mut bench, 1, 1, ActorStep::Dead(ActorDeath::Killed)), Ok(Reply::Incarnation(1)));
    let Ok(Reply::Actor(Some(info))) = bench.read(ActorRead::Get(ActorId(1))) else { panic!("no actor") };
    assert_eq!((info.state, info.location, info.death), (ActorState::Dead, None, Some(ActorDeath::Killed)));
}

#[test]
fn an_illegal_step_is_refused_and_changes_nothing() {
    let mut bench = Bench::new();
    register(&mut bench, actor(1), IfExists::Fail).unwrap();
    let before = bench.store.clone();
    let refusal = TableError::IllegalTransition {
        actor: ActorId(1),
        from: ActorState::DependenciesUnready,
        to: ActorState::Alive,
    };
    assert_eq!(step(&mut bench, 1, 0, ActorStep::Alive(HERE)), Err(refusal));
    assert_eq!(bench.store, before);
}

#[test]
fn a_step_for_an_incarnation_that_is_over_is_refused() {
    let mut bench = Bench::new();
    register(&mut bench, actor(1), IfExists::Fail).unwrap();
    step(&mut bench, 1, 0, ActorStep::PendingCreation).unwrap();
    step(&mut bench, 1, 0, ActorStep::Restarting).unwrap();
    let refusal = TableError::StaleIncarnation { actor: ActorId(1), given: 0, current: 1 };
    assert_eq!(step(&mut bench, 1, 0, ActorStep::Alive(HERE)), Err(refusal));
}

#[test]
fn an_actor_restarts_only_as_often_as_it_may() {
    let mut bench = Bench::new();
    register(&mut bench, ActorSpec { max_restarts: Limit::AtMost(1), ..actor(1) }, IfExists::Fail).unwrap();
    step(&mut bench, 1, 0, ActorStep::PendingCreation).unwrap();
    step(&mut bench, 1, 0, ActorStep::Restarting).unwrap();
    let refusal = TableError::RestartsSpent { actor: ActorId(1), restarts: 1 };
    assert_eq!(step(&mut bench, 1, 1, ActorStep::Restarting), Err(refusal));
}

#[test]
fn a_name_belongs_to_one_living_actor_of_its_namespace() {
    let mut bench = Bench::new();
    register(&mut bench, named(1, "hits"), IfExists::Fail).unwrap();
    let refusal =
        TableError::NameTaken { namespace: "default".to_owned(), name: "hits".to_owned(), holder: ActorId(1) };
    assert_eq!(register(&mut bench, named(2, "hits"), IfExists::Fail), Err(refusal));
    let elsewhere = ActorSpec { namespace: "other".into(), ..named(3, "hits") };
    assert!(register(&mut bench, elsewhere, IfExists::Fail).is_ok());
    assert_eq!(by_name(&bench, "hits"), Some(ActorId(1)));
}

#[test]
fn get_if_exists_gives_the_living_actor_of_the_name() {
    let mut bench = Bench::new();
    let first = register(&mut bench, named(1, "hits"), IfExists::Get);
    assert_eq!(first, Ok(Reply::Registered { actor: ActorId(1), created: true }));
    let second = register(&mut bench, named(2, "hits"), IfExists::Get);
    assert_eq!(second, Ok(Reply::Registered { actor: ActorId(1), created: false }));
    assert_eq!(bench.read(ActorRead::Get(ActorId(2))), Ok(Reply::Actor(None)));
}

#[test]
fn the_name_of_a_dead_actor_is_free() {
    let mut bench = Bench::new();
    register(&mut bench, named(1, "hits"), IfExists::Fail).unwrap();
    step(&mut bench, 1, 0, ActorStep::Dead(ActorDeath::Killed)).unwrap();
    assert_eq!(by_name(&bench, "hits"), None);
    register(&mut bench, named(2, "hits"), IfExists::Fail).unwrap();
    assert_eq!(by_name(&bench, "hits"), Some(ActorId(2)));
}

#[test]
fn the_same_registration_again_is_nothing_and_another_spec_is_refused() {
    let mut bench = Bench::new();
    register(&mut bench, named(1, "hits"), IfExists::Fail).unwrap();
    let again = register(&mut bench, named(1, "hits"), IfExists::Fail);
    assert_eq!(again, Ok(Reply::Registered { actor: ActorId(1), created: false }));
    assert_eq!(register(&mut bench, named(1, "misses"), IfExists::Fail), Err(TableError::ActorExists(ActorId(1))));
}

#[test]
fn only_a_dead_actor_is_deleted() {
    let mut bench = Bench::new();
    register(&mut bench, actor(1), IfExists::Fail).unwrap();
    assert_eq!(bench.apply(ActorWrite::Delete(ActorId(1))), Err(TableError::ActorNotDead(ActorId(1))));
    step(&mut bench, 1, 0, ActorStep::Dead(ActorDeath::OutOfScope)).unwrap();
    assert_eq!(bench.apply(ActorWrite::Delete(ActorId(1))), Ok(Reply::Deleted(true)));
    assert_eq!(bench.apply(ActorWrite::Delete(ActorId(1))), Ok(Reply::Deleted(false)));
}

#[test]
fn empty_and_overlong_names_are_refused() {
    let mut bench = Bench::new();
    assert_eq!(register(&mut bench, named(1, ""), IfExists::Fail), Err(TableError::EmptyName));
    let long = register(&mut bench, named(1, &"x".repeat(256)), IfExists::Fail);
    assert_eq!(long, Err(TableError::TooLarge { what: Bound::NameBytes, actual: 256, max: 255 }));
}

#[test]
fn a_name_is_free_once_its_keeper_s_node_is_dead() {
    use crate::{spec::NodeDeath, tables::NodeWrite, testing::node};
    let mut bench = Bench::new();
    bench.apply(NodeWrite::Register { node: Box::new(node(1)), lease_ms: 10 }).unwrap();
    register(&mut bench, ActorSpec { owner: Some(HERE), ..named(1, "hits") }, IfExists::Fail).unwrap();
    step(&mut bench, 1, 0, ActorStep::PendingCreation).unwrap();
    assert!(register(&mut bench, named(2, "hits"), IfExists::Fail).is_err());
    let cause = NodeDeath::ConnectionLost;
    bench.apply(NodeWrite::MarkDead { node: NodeId(1), cause, lease_until: None }).unwrap();
    assert_eq!(by_name(&bench, "hits"), None);
    let created = Reply::Registered { actor: ActorId(2), created: true };
    assert_eq!(register(&mut bench, named(2, "hits"), IfExists::Get), Ok(created));
    assert_eq!(by_name(&bench, "hits"), Some(ActorId(2)));
    // Whoever kept the first lives on, cut off, and says late that it is dead.
    assert!(step(&mut bench, 1, 0, ActorStep::Dead(ActorDeath::Killed)).is_err());
    assert_eq!(by_name(&bench, "hits"), Some(ActorId(2)));
}

fn any_step() -> impl Strategy<Value = ActorStep> {
    prop_oneof![
        Just(ActorStep::PendingCreation),
        Just(ActorStep::Alive(HERE)),
        Just(ActorStep::Restarting),
        Just(ActorStep::Dead(ActorDeath::Killed)),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_steps_leaves_the_legal_paths(steps in prop::collection::vec((any_step(), 0..4_u32), 0..20)) {
        let mut bench = Bench::new();
        register(&mut bench, named(1, "hits"), IfExists::Fail).unwrap();
        let (mut state, mut current) = (ActorState::DependenciesUnready, 0);
        for (next, incarnation) in steps {
            let legal = incarnation == current && state.may_become(next.state());
            let reply = step(&mut bench, 1, incarnation, next.clone());
            if let Ok(Reply::Incarnation(reached)) = reply {
                prop_assert!(legal);
                prop_assert_eq!(reached, current + u32::from(next.state() == ActorState::Restarting));
                (state, current) = (next.state(), reached);
            } else {
                prop_assert!(!legal || next.state() == ActorState::Restarting);
            }
            let holder = by_name(&bench, "hits");
            prop_assert_eq!(holder.is_some(), state != ActorState::Dead);
        }
    }
}
