//! The mailbox, by events alone.

use actinic_gcs::{JobId, TaskId};

use super::*;

fn id(n: u64) -> TaskId {
    TaskId::driver(JobId(1)).child(n)
}

fn alive(limits: &[usize]) -> MailboxCore<u64> {
    let mut core = MailboxCore::new(limits, 4, OverflowPolicy::Fail);
    assert!(core.allow_creation() && core.begin_turn());
    assert_eq!(core.start_next(), Some(Start::Create));
    core.created(true);
    assert!(!core.end_turn());
    core
}

fn offer(core: &mut MailboxCore<u64>, n: u64, access: Access) -> Offer<u64> {
    core.offer(n, id(n), id(1_000), 0, access, true)
}

#[test]
fn calls_run_one_at_a_time_in_their_order() {
    let mut core = alive(&[1]);
    for n in 1..=3 {
        offer(&mut core, n, Access::Exclusive);
    }
    for n in 1..=3 {
        assert_eq!(core.start_next(), Some(Start::Call(n, Access::Exclusive, 0)));
        assert_eq!(core.start_next(), None);
        core.done(Access::Exclusive, 0);
    }
}

#[test]
fn a_call_that_waits_for_its_arguments_holds_its_callers_place_only() {
    let mut core = alive(&[1]);
    core.offer(1, id(1), id(7), 0, Access::Exclusive, false);
    core.offer(2, id(2), id(7), 0, Access::Exclusive, true);
    core.offer(3, id(3), id(8), 0, Access::Exclusive, true);
    assert_eq!(core.start_next(), Some(Start::Call(3, Access::Exclusive, 0)));
    core.done(Access::Exclusive, 0);
    assert_eq!(core.start_next(), None);
    core.on_ready(id(1), id(7));
    assert_eq!(core.start_next(), Some(Start::Call(1, Access::Exclusive, 0)));
    core.done(Access::Exclusive, 0);
    assert_eq!(core.start_next(), Some(Start::Call(2, Access::Exclusive, 0)));
}

#[test]
fn shared_calls_run_together_up_to_the_limit_and_an_exclusive_one_alone() {
    let mut core = alive(&[2]);
    offer(&mut core, 1, Access::Shared);
    offer(&mut core, 2, Access::Shared);
    offer(&mut core, 3, Access::Shared);
    assert!(core.start_next().is_some() && core.start_next().is_some());
    assert_eq!(core.start_next(), None);
    core.done(Access::Shared, 0);
    assert_eq!(core.start_next(), Some(Start::Call(3, Access::Shared, 0)));
    offer(&mut core, 4, Access::Exclusive);
    core.done(Access::Shared, 0);
    assert_eq!(core.start_next(), None);
    core.done(Access::Shared, 0);
    assert_eq!(core.start_next(), Some(Start::Call(4, Access::Exclusive, 0)));
}

#[test]
fn a_named_group_goes_on_while_the_default_one_is_full() {
    let mut core = alive(&[1, 1]);
    offer(&mut core, 1, Access::Shared);
    assert!(core.start_next().is_some());
    core.offer(2, id(2), id(1_000), 1, Access::Shared, true);
    offer(&mut core, 3, Access::Shared);
    assert_eq!(core.start_next(), Some(Start::Call(2, Access::Shared, 1)));
    assert_eq!(core.start_next(), None);
}

#[test]
fn a_full_mailbox_gives_the_call_back() {
    let mut core = alive(&[1]);
    for n in 1..=4 {
        assert!(matches!(offer(&mut core, n, Access::Exclusive), Offer::Accepted { .. }));
    }
    assert_eq!(offer(&mut core, 5, Access::Exclusive), Offer::Full(5));
}

#[test]
fn drop_oldest_gives_the_oldest_call_back() {
    let mut core = MailboxCore::new(&[1], 2, OverflowPolicy::DropOldest);
    for n in 1..=2 {
        offer(&mut core, n, Access::Exclusive);
    }
    assert_eq!(offer(&mut core, 3, Access::Exclusive), Offer::Displaced { sequence: 3, oldest: 1 });
}

#[test]
fn a_crash_keeps_what_waits_and_death_gives_it_back_in_order() {
    let mut core = alive(&[1]);
    offer(&mut core, 1, Access::Exclusive);
    offer(&mut core, 2, Access::Exclusive);
    core.start_next();
    core.crashed();
    core.done(Access::Exclusive, 0);
    assert_eq!(core.start_next(), None);
    core.put_back(1, 0, Access::Exclusive);
    core.allow_creation();
    assert_eq!(core.start_next(), Some(Start::Create));
    core.created(false);
    assert_eq!(core.phase(), Phase::Crashed);
    assert_eq!(core.die(), vec![1, 2]);
    assert_eq!(offer(&mut core, 3, Access::Exclusive), Offer::Dead(3));
}

#[test]
fn one_turn_at_a_time_and_none_is_lost() {
    let mut core = alive(&[1]);
    assert!(matches!(offer(&mut core, 1, Access::Exclusive), Offer::Accepted { wake: true, .. }));
    assert!(matches!(offer(&mut core, 2, Access::Exclusive), Offer::Accepted { wake: false, .. }));
    assert!(core.begin_help());
    assert!(!core.begin_turn());
    core.start_next();
    core.done(Access::Exclusive, 0);
    assert!(core.end_turn());
    assert!(core.begin_turn());
}

#[test]
fn a_turn_takes_several_calls_and_gives_back_what_did_not_run_in_order() {
    let mut core = alive(&[1]);
    for n in 1..=4 {
        offer(&mut core, n, Access::Exclusive);
    }
    assert_eq!(core.start_next(), Some(Start::Call(1, Access::Exclusive, 0)));
    let mut more = VecDeque::new();
    core.start_more(0, 2, &mut more);
    assert_eq!((more.clone(), core.pending()), (VecDeque::from([2, 3]), 1));
    core.give_back(0, &mut more);
    core.done(Access::Exclusive, 0);
    for n in 2..=4 {
        assert_eq!(core.start_next(), Some(Start::Call(n, Access::Exclusive, 0)));
        core.done(Access::Exclusive, 0);
    }
}
