//! When calls are sent, with hand-made calls.

use std::cell::Cell;
use std::rc::Rc;

use actinic_gcs::{NodeId, WorkerId};

use super::*;
use crate::{cluster::wire::Doors, supervision::Exit};

struct State {
    id: TaskId,
    claimable: Cell<bool>,
    over: Cell<bool>,
    retries: Cell<u32>,
}

#[derive(Clone)]
struct Fake(Rc<State>);

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.id.0)
    }
}

impl PartialEq for Fake {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Fake {}

impl Called for Fake {
    fn id(&self) -> TaskId {
        self.0.id
    }

    fn ready(&self) {
        self.0.claimable.set(true);
    }

    fn claim(&self) -> bool {
        self.0.claimable.replace(false) && !self.0.over.get()
    }

    fn is_over(&self) -> bool {
        self.0.over.get()
    }

    fn try_again(&self) -> bool {
        let left = self.0.retries.get();
        self.0.retries.set(left.saturating_sub(1));
        self.0.claimable.set(left > 0);
        left > 0
    }
}

fn call(id: u128, retries: u32) -> Fake {
    Fake(Rc::new(State {
        id: TaskId(id),
        claimable: Cell::new(false),
        over: Cell::new(false),
        retries: Cell::new(retries),
    }))
}

fn at(worker: u32) -> ActorWhere {
    ActorWhere::Alive { process: ProcessId { node: NodeId(1), worker: WorkerId(worker) }, doors: Doors::default() }
}

fn sent(effects: &mut Vec<CallEffect<Fake>>) -> Vec<u128> {
    effects
        .drain(..)
        .map(|effect| match effect {
            CallEffect::Send { call, .. } => call.0.id.0,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn calls_wait_until_the_actor_is_there_and_keep_their_order() {
    let (mut core, mut effects) = (CallCore::new(10), Vec::new());
    for id in 1..=3 {
        core.on_call(call(id, 0), true, &mut effects);
    }
    assert!(effects.is_empty());
    core.on_place(at(1), &mut effects);
    assert_eq!(sent(&mut effects), [1, 2, 3]);
}

#[test]
fn a_call_whose_arguments_are_missing_holds_up_those_behind_it() {
    let (mut core, mut effects) = (CallCore::new(10), Vec::new());
    core.on_place(at(1), &mut effects);
    core.on_call(call(1, 0), false, &mut effects);
    core.on_call(call(2, 0), true, &mut effects);
    assert!(effects.is_empty());
    core.on_ready(TaskId(1), &mut effects);
    assert_eq!(sent(&mut effects), [1, 2]);
}

#[test]
fn a_cancelled_call_holds_up_nobody() {
    let (mut core, mut effects) = (CallCore::new(10), Vec::new());
    core.on_place(at(1), &mut effects);
    let first = call(1, 0);
    core.on_call(first.clone(), false, &mut effects);
    core.on_call(call(2, 0), true, &mut effects);
    first.0.over.set(true);
    core.on_cancelled(&mut effects);
    assert_eq!(sent(&mut effects), [2]);
}

#[test]
fn what_was_under_way_is_tried_again_in_its_order_or_may_have_run() {
    let (mut core, mut effects) = (CallCore::new(10), Vec::new());
    core.on_place(at(1), &mut effects);
    for (id, retries) in [(1, 1), (2, 0), (3, 1)] {
        core.on_call(call(id, retries), true, &mut effects);
    }
    assert_eq!(sent(&mut effects), [1, 2, 3]);
    core.on_place(ActorWhere::Away { reason: "lost".to_owned() }, &mut effects);
    assert!(matches!(&effects[..], [CallEffect::Unavailable(call, _)] if call.0.id.0 == 2));
    effects.clear();
    core.on_call(call(4, 0), true, &mut effects);
    core.on_place(at(2), &mut effects);
    assert_eq!(sent(&mut effects), [1, 3, 4]);
    assert!(core.on_answer(TaskId(3)).is_some());
    assert!(core.on_answer(TaskId(3)).is_none());
}

#[test]
fn a_dead_actor_runs_nothing_any_more() {
    let (mut core, mut effects) = (CallCore::new(10), Vec::new());
    core.on_place(at(1), &mut effects);
    core.on_call(call(1, 9), true, &mut effects);
    core.on_call(call(2, 9), false, &mut effects);
    effects.clear();
    core.on_place(ActorWhere::Dead { reason: "killed".to_owned(), exit: Exit::Killed }, &mut effects);
    assert!(matches!(&effects[..], [CallEffect::Unavailable(..), CallEffect::Dead(..)]));
    effects.clear();
    core.on_place(at(1), &mut effects);
    core.on_call(call(3, 0), true, &mut effects);
    assert!(matches!(&effects[..], [CallEffect::Dead(..)]));
}

#[test]
fn no_more_wait_than_may() {
    let (mut core, mut effects) = (CallCore::new(2), Vec::new());
    for id in 1..=3 {
        core.on_call(call(id, 0), true, &mut effects);
    }
    assert!(matches!(&effects[..], [CallEffect::Full(_)]));
    assert_eq!(core.load(), (2, 0));
}

#[test]
fn who_kills_an_actor_calls_it_no_more() {
    let (mut core, mut effects) = (CallCore::new(10), Vec::new());
    core.on_place(at(1), &mut effects);
    core.on_call(call(1, 0), true, &mut effects);
    core.on_call(call(2, 0), false, &mut effects);
    effects.clear();
    core.on_kill("it was killed", &mut effects);
    core.on_call(call(3, 0), true, &mut effects);
    assert!(matches!(&effects[..], [CallEffect::Dead(..), CallEffect::Dead(..)]));
    assert_eq!(core.load(), (0, 1), "what was sent may still be answered");
}
