//! Tests of the ledger against the tables.

use actinic_gcs::{
    spec::{ActorDeath, ActorState},
    tables::HistoryRead,
    NodeId,
};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::gcs_client::ledger::{Happening, Ledger, DEAD_LEN_MAX};

fn happening(kind: u8) -> Happening {
    match kind {
        0 => Happening::Pending,
        1 | 2 => Happening::Alive,
        3 | 4 => Happening::Restarting,
        5 => Happening::Checkpoint(u64::from(kind), Bytes::from_static(b"state")),
        _ => Happening::Dead(ActorDeath::Killed),
    }
}

proptest! {
    #[test]
    fn whenever_it_is_written_down_the_tables_take_it_and_agree(
        events in proptest::collection::vec((0..3_u64, 0..7_u8, 0..5_u8), 0..60),
    ) {
        let mut tables = Tables::new();
        let mut ledger = Ledger::new(NodeId(1));
        let mut writes = Vec::new();
        let named = spec(1, Some("named"));
        tables.register(&named);
        ledger.add_registered(&named);
        ledger.add(Box::new(spec(0, None)));
        ledger.add(Box::new(spec(2, None)));
        let mut expected = [(ActorState::DependenciesUnready, 0_u32); 3];
        for (number, kind, look) in events {
            let what = happening(kind);
            let (state, incarnation) = &mut expected[number as usize];
            if *state != ActorState::Dead {
                *state = match what {
                    Happening::Pending if *state == ActorState::DependenciesUnready => ActorState::PendingCreation,
                    Happening::Alive => ActorState::Alive,
                    Happening::Restarting => ActorState::Restarting,
                    Happening::Dead(_) => ActorState::Dead,
                    _ => *state,
                };
                *incarnation += u32::from(matches!(what, Happening::Restarting));
            }
            ledger.on(spec(number, None).id, what, &mut writes);
            match look {
                0 => ledger.take_all(&mut writes),
                1 => drop(ledger.take_later(1, &mut writes)),
                2 => ledger.tell(spec(number, None).id, &mut writes),
                _ => ledger.take_prompt(&mut writes),
            }
            tables.take(&mut writes);
        }
        ledger.take_all(&mut writes);
        tables.take(&mut writes);
        for (number, expected) in expected.into_iter().enumerate() {
            let info = tables.actor(spec(number as u64, None).id).unwrap();
            prop_assert_eq!((info.state, info.incarnation), expected);
        }
        ledger.take_all(&mut writes);
        prop_assert!(writes.is_empty());
    }
}

#[test]
fn an_unnamed_actor_that_lives_and_dies_between_two_looks_is_written_for_who_asks_only() {
    let mut ledger = Ledger::new(NodeId(1));
    let mut writes = Vec::new();
    let spec = spec(1, None);
    ledger.add(Box::new(spec.clone()));
    ledger.on(spec.id, Happening::Alive, &mut writes);
    ledger.on(spec.id, Happening::Dead(ActorDeath::Exited), &mut writes);
    ledger.take_prompt(&mut writes);
    assert!(!ledger.take_later(100, &mut writes));
    assert!(writes.is_empty());
    ledger.take_all(&mut writes);
    let mut tables = Tables::new();
    tables.take(&mut writes);
    assert_eq!(tables.actor(spec.id).unwrap().death, Some(ActorDeath::Exited));
}

#[test]
fn the_dead_beyond_the_bound_are_forgotten_here_and_in_the_tables() {
    let mut tables = Tables::new();
    let mut ledger = Ledger::new(NodeId(1));
    let mut writes = Vec::new();
    let count = DEAD_LEN_MAX as u64 + 100;
    for number in 0..count {
        let actor = spec(number, None).id;
        ledger.add(Box::new(spec(number, None)));
        ledger.on(actor, Happening::Alive, &mut writes);
        ledger.on(actor, Happening::Checkpoint(1, Bytes::from_static(b"state")), &mut writes);
        if number % 2 == 0 {
            ledger.take_all(&mut writes);
        }
        ledger.on(actor, Happening::Dead(ActorDeath::Killed), &mut writes);
        tables.take(&mut writes);
    }
    ledger.take_all(&mut writes);
    tables.take(&mut writes);
    assert_eq!(ledger.len(), DEAD_LEN_MAX);
    let rows = |column| tables.0.store().rows(column);
    assert_eq!(rows(actinic_gcs::store::Column::Actors), DEAD_LEN_MAX);
    assert!(rows(actinic_gcs::store::Column::Checkpoints) <= DEAD_LEN_MAX);
    assert_eq!(tables.actor(spec(0, None).id), None);
}

#[test]
fn a_restart_beyond_the_bound_changes_nothing_and_death_is_still_written() {
    let mut tables = Tables::new();
    let mut ledger = Ledger::new(NodeId(1));
    let mut writes = Vec::new();
    let spec = ActorSpec { max_restarts: Limit::AtMost(1), ..spec(1, None) };
    ledger.add(Box::new(spec.clone()));
    for _ in 0..3 {
        ledger.on(spec.id, Happening::Alive, &mut writes);
        ledger.on(spec.id, Happening::Restarting, &mut writes);
    }
    ledger.on(spec.id, Happening::Dead(ActorDeath::Killed), &mut writes);
    ledger.take_all(&mut writes);
    tables.take(&mut writes);
    let info = tables.actor(spec.id).unwrap();
    assert_eq!((info.state, info.incarnation), (ActorState::Dead, 1));
}

#[test]
fn only_the_newest_checkpoint_is_written() {
    let mut tables = Tables::new();
    let mut ledger = Ledger::new(NodeId(1));
    let mut writes = Vec::new();
    let spec = spec(1, None);
    ledger.add(Box::new(spec.clone()));
    for (calls, state) in [(10, &b"ten"[..]), (30, b"thirty"), (20, b"twenty")] {
        ledger.on(spec.id, Happening::Checkpoint(calls, Bytes::from_static(state)), &mut writes);
    }
    ledger.take_all(&mut writes);
    tables.take(&mut writes);
    let Ok(Reply::Checkpoint(Some(saved))) = tables.ask(Read::from(HistoryRead::Checkpoint(spec.id))) else {
        panic!("no checkpoint")
    };
    assert_eq!(saved.state, actinic_gcs::spec::CheckpointState::Inline(Bytes::from_static(b"thirty")));
}
