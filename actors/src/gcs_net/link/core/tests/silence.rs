//! What a link does about a leader that says nothing.

use super::*;

/// By then a silent leader that owes an answer is suspected.
const SUSPECTED_MS: u64 = PING_WAITING_MS + ASK_OTHERS_MS;

/// A link that was quiet for a while, to the first of three.
fn led_by_a() -> World {
    let follows = Replica::Follows(Some("a"));
    let mut world = World::new(&[("a", Replica::Leads), ("b", follows.clone()), ("c", follows)]);
    world.run_until(5_000);
    assert_eq!(world.open_to(), ["a"]);
    world
}

impl World {
    fn calls_of(&self, address: &str) -> usize {
        self.calls.iter().filter(|(_, called)| called == address).count()
    }
}

#[test]
fn a_silent_leader_is_left_once_another_leads_and_not_before() {
    let mut world = led_by_a();
    world.replicas.insert("a", Replica::Paused);
    world.request(1);
    world.passes(400);
    assert!(world.delivered.is_empty() && world.open_to().contains(&"a"), "it may lead still");
    assert!(world.calls_of("b") > 5 && world.calls_of("c") > 5, "the others are asked meanwhile");
    world.replicas.extend([("b", Replica::Follows(Some("c"))), ("c", Replica::Leads)]);
    world.passes(PAUSE_MS_USUAL);
    assert_eq!(world.delivered, [AnswerFrame::Reopened]);
    assert_eq!(world.open_to(), ["c"]);
    world.passes(60_000);
    assert_eq!(world.calls_of("a"), 1, "nobody goes back");
}

#[test]
fn the_others_are_asked_soon_where_an_answer_is_owed_and_later_where_none_is() {
    for (owes, within) in [(true, SUSPECTED_MS), (false, PING_IDLE_MS + ASK_OTHERS_MS)] {
        let mut world = led_by_a();
        let (attempt, now) = (world.attempt(), world.now);
        world.core.on_answers(now, attempt, Vec::new(), &mut Vec::new());
        world.replicas.insert("a", Replica::Paused);
        if owes {
            world.request(1);
        }
        world.passes(within - 1);
        assert_eq!(world.calls.len(), 1);
        world.passes(1);
        assert!(world.calls.len() > 1);
    }
}

#[test]
fn a_slow_leader_is_kept_however_slow_it_is() {
    let mut world = led_by_a();
    world.replicas.insert("a", Replica::Slow);
    world.request(1);
    world.passes(60_000);
    assert_eq!((world.calls.len(), world.delivered.len()), (1, 0), "signs of life keep a connection");
}

#[test]
fn a_leader_that_paused_for_a_moment_is_kept_and_the_search_is_called_off() {
    let mut world = led_by_a();
    world.replicas.insert("a", Replica::Paused);
    world.request(1);
    world.passes(SUSPECTED_MS + 50);
    world.give(2);
    assert!(world.calls.len() > 1);
    world.replicas.insert("a", Replica::Leads);
    let effects = world.answer(world.attempt(), vec![reply(RequestId(1))]);
    world.carry_out(effects);
    let calls = world.calls.len();
    world.passes(60_000);
    assert_eq!(world.delivered, [reply(RequestId(1))]);
    assert_eq!((world.open_to(), world.given_to("a")), (vec!["a"], vec![2]));
    assert_eq!(world.calls.len(), calls);
}

#[test]
fn nobody_is_asked_often_for_long_because_of_a_silence() {
    let mut world = led_by_a();
    world.replicas.insert("a", Replica::Paused);
    world.request(1);
    world.passes(SUSPECTED_MS + 500);
    let soon = world.calls.len();
    world.passes(60_000);
    assert!(soon < 120 && world.calls.len() < soon + 400, "{soon} calls, then {}", world.calls.len());
    assert!(world.calls_of("a") > 1, "its connection is given up after a while, and it is asked again");
    world.replicas.insert("a", Replica::Leads);
    world.passes(2 * PAUSE_MS_MAX + CONNECT_MS_MAX);
    assert_eq!((world.open_to(), world.delivered.clone()), (vec!["a"], vec![AnswerFrame::Reopened]));
}

#[test]
fn a_leader_without_others_is_left_after_a_long_silence_only() {
    let mut world = World::new(&[("a", Replica::Leads)]);
    world.run_until(0);
    world.replicas.insert("a", Replica::Mute);
    world.request(1);
    world.passes(PING_WAITING_MS + SILENCE_MS_MAX - 1);
    assert_eq!(world.calls.len(), 1);
    world.replicas.insert("a", Replica::Leads);
    world.passes(1);
    assert_eq!((world.calls.len(), world.delivered.clone()), (2, vec![AnswerFrame::Reopened]));
}

#[test]
fn a_leader_that_ends_while_it_is_silent_is_replaced_like_any_other() {
    let mut world = led_by_a();
    world.replicas.insert("a", Replica::Paused);
    world.request(1);
    world.passes(SUSPECTED_MS + 1_000);
    world.kill("a");
    world.passes(20);
    world.replicas.insert("b", Replica::Leads);
    world.passes(PAUSE_MS_MIN);
    assert_eq!((world.open_to(), world.delivered.clone()), (vec!["b"], vec![AnswerFrame::Reopened]));
}

#[test]
fn whoever_was_late_itself_blames_nobody() {
    let mut world = led_by_a();
    world.request(1);
    world.now.0 += 10_000;
    let mut effects = Vec::new();
    world.core.on_time(world.now, &mut effects);
    assert!(matches!(effects[..], [LinkEffect::Ping { .. }]), "{effects:?}");
    world.carry_out(effects);
    assert_eq!(world.calls.len(), 1);
}

#[test]
fn an_idle_link_pings_seldom_whatever_was_asked_before() {
    let mut world = led_by_a();
    world.replicas.insert("a", Replica::Slow);
    (1..=3).for_each(|n| world.request(n));
    world.passes(1_000);
    assert!(world.pings.len() > 10, "signs of life are asked for while answers are owed");
    world.core.on_unsendable(RequestId(1));
    let busy = AnswerFrame::Reply { request: RequestId(2), outcome: Err(RequestError::Busy) };
    let effects = world.answer(world.attempt(), vec![busy, reply(RequestId(3))]);
    world.carry_out(effects);
    world.pings.clear();
    world.passes(60_000);
    assert_eq!(world.pings.len() as u64, 60_000 / PING_IDLE_MS);
}
