//! Tests of the link's core in virtual time: replicas that lead, follow, or are gone.

use std::collections::BTreeMap;

use actinic_gcs::{
    shard::{Request, SubscriptionId},
    tables::{EventRead, Page, PageRequest, Read, Reply},
};
use proptest::prelude::*;

use super::{
    leader::{ASK_OTHERS_MS, PING_IDLE_MS, PING_WAITING_MS},
    places::ADDRESSES_MAX,
    search::{PAUSE_MS_MAX, PAUSE_MS_MIN, PAUSE_MS_USUAL, PROBE_MS_MAX},
    *,
};

/// What an address does.
#[derive(Clone, Debug, PartialEq)]
enum Replica {
    Leads,
    Follows(Option<&'static str>),
    Gone,
    /// Lets in, and says nothing.
    Mute,
    /// Stopped: takes connections and does not even greet.
    Paused,
    /// Leads, gives signs of life, and answers nothing.
    Slow,
}

struct World {
    core: LinkCore,
    now: Millis,
    replicas: BTreeMap<&'static str, Replica>,
    open: BTreeMap<u64, String>,
    calls: Vec<(Millis, String)>,
    pings: Vec<Millis>,
    sent: Vec<(String, Frame)>,
    delivered: Vec<AnswerFrame>,
    /// The addresses that replicas know.
    told: Vec<String>,
}

fn reply(request: RequestId) -> AnswerFrame {
    AnswerFrame::Reply { request, outcome: Ok(Reply::Events(Page { items: Vec::new(), next: None })) }
}

fn frame(n: u64) -> Frame {
    Frame::Unsubscribe(SubscriptionId(n))
}

impl World {
    fn new(replicas: &[(&'static str, Replica)]) -> Self {
        let addresses = replicas.iter().map(|(address, _)| (*address).to_owned()).collect();
        Self {
            core: LinkCore::new(addresses, 7),
            now: Millis(0),
            replicas: replicas.iter().cloned().collect(),
            open: BTreeMap::new(),
            calls: Vec::new(),
            pings: Vec::new(),
            sent: Vec::new(),
            delivered: Vec::new(),
            told: Vec::new(),
        }
    }

    fn carry_out(&mut self, effects: Vec<LinkEffect>) {
        for effect in effects {
            let mut next = Vec::new();
            match effect {
                LinkEffect::Connect { attempt, address } => {
                    self.calls.push((self.now, address.clone()));
                    match self.replicas.get(address.as_str()) {
                        None | Some(Replica::Gone) => self.core.on_failed(self.now, attempt, &mut next),
                        Some(Replica::Paused) => drop(self.open.insert(attempt, address)),
                        Some(_) => {
                            self.open.insert(attempt, address);
                            let known = self.told.clone();
                            self.core.on_connected(self.now, attempt, known, &mut next);
                        }
                    }
                }
                LinkEffect::Close { attempt } => drop(self.open.remove(&attempt)),
                LinkEffect::Send { attempt, frames } => next = self.ask(attempt, frames),
                LinkEffect::Ping { attempt } => {
                    self.pings.push(self.now);
                    if !matches!(self.replicas[self.open[&attempt].as_str()], Replica::Mute | Replica::Paused) {
                        self.core.on_answers(self.now, attempt, Vec::new(), &mut next);
                    }
                }
                LinkEffect::Deliver(frames) => self.delivered.extend(frames),
                LinkEffect::Found(_) | LinkEffect::NobodyLeads => {}
            }
            self.core.sanity_check();
            self.carry_out(next);
        }
    }

    /// A replica is asked.
    fn ask(&mut self, attempt: u64, frames: Vec<Frame>) -> Vec<LinkEffect> {
        let address = self.open[&attempt].clone();
        self.sent.extend(frames.iter().map(|frame| (address.clone(), frame.clone())));
        let said = match self.replicas[address.as_str()].clone() {
            Replica::Leads => frames.iter().filter_map(request_of).map(reply).collect(),
            Replica::Follows(leader) => vec![AnswerFrame::NotLeader { leader: leader.map(str::to_owned) }],
            Replica::Gone | Replica::Mute | Replica::Paused | Replica::Slow => return Vec::new(),
        };
        self.answer(attempt, said)
    }

    fn answer(&mut self, attempt: u64, frames: Vec<AnswerFrame>) -> Vec<LinkEffect> {
        let mut effects = Vec::new();
        self.core.on_answers(self.now, attempt, frames, &mut effects);
        effects
    }

    fn run_until(&mut self, end: u64) {
        while self.core.deadline().0 <= end {
            self.now = self.now.max(self.core.deadline());
            let mut effects = Vec::new();
            self.core.on_time(self.now, &mut effects);
            self.carry_out(effects);
        }
        self.now = Millis(end);
    }

    fn give(&mut self, n: u64) {
        self.give_frame(frame(n));
    }

    /// Gives a request, which wants an answer.
    fn request(&mut self, n: u64) {
        let read: Read = EventRead::List(PageRequest { after: None, limit: 1 }).into();
        self.give_frame(Frame::Request { request: RequestId(n), what: Request::Read(read).into() });
    }

    fn give_frame(&mut self, frame: Frame) {
        let mut effects = Vec::new();
        self.core.on_frames(self.now, vec![frame], &mut effects);
        self.carry_out(effects);
    }

    fn passes(&mut self, ms: u64) {
        self.run_until(self.now.0 + ms);
    }

    /// The connections that are open, by attempt.
    fn open_to(&self) -> Vec<&str> {
        self.open.values().map(String::as_str).collect()
    }

    /// The first connection that is open.
    fn attempt(&self) -> u64 {
        *self.open.keys().next().expect("a connection")
    }

    /// The process behind the connection ends.
    fn kill(&mut self, address: &'static str) {
        self.replicas.insert(address, Replica::Gone);
        let ended: Vec<u64> =
            self.open.iter().filter(|(_, open)| *open == address).map(|(attempt, _)| *attempt).collect();
        for attempt in ended {
            self.open.remove(&attempt);
            let mut effects = Vec::new();
            self.core.on_failed(self.now, attempt, &mut effects);
            self.carry_out(effects);
        }
    }

    fn given_to(&self, address: &str) -> Vec<u64> {
        let number = |(to, frame): &(String, Frame)| match frame {
            Frame::Unsubscribe(subscription) if to == address => Some(subscription.0),
            _ => None,
        };
        self.sent.iter().filter_map(number).collect()
    }
}

fn request_of(frame: &Frame) -> Option<RequestId> {
    match frame {
        Frame::Request { request, .. } => Some(*request),
        _ => None,
    }
}

#[test]
fn what_came_before_the_leader_was_found_is_sent_to_it_once() {
    let mut world = World::new(&[("a", Replica::Follows(Some("c"))), ("b", Replica::Gone), ("c", Replica::Leads)]);
    world.give(1);
    world.run_until(0);
    let called: Vec<&str> = world.calls.iter().map(|(_, address)| address.as_str()).collect();
    assert_eq!(called, ["a", "c"]);
    assert_eq!(world.given_to("c"), [1]);
    assert!(world.delivered.is_empty(), "nothing was lost, so nothing need be sent again: {:?}", world.delivered);
}

#[test]
fn a_tip_may_name_an_address_that_was_not_known() {
    let mut world = World::new(&[("a", Replica::Follows(Some("new")))]);
    world.replicas.insert("new", Replica::Leads);
    world.run_until(0);
    world.give(1);
    assert_eq!(world.given_to("new"), [1]);
}

#[test]
fn a_group_whose_members_were_all_replaced_is_found_again() {
    let mut world = World::new(&[("a", Replica::Leads)]);
    world.told = vec!["a".to_owned(), "b".to_owned()];
    world.replicas.insert("b", Replica::Leads);
    world.run_until(10);
    world.kill("a");
    assert_eq!(world.delivered, [AnswerFrame::Reopened]);
    // However many there were before.
    world.told = (0..10 * ADDRESSES_MAX).map(|n| n.to_string()).chain(["last".to_owned()]).collect();
    world.replicas.extend([("a", Replica::Leads), ("b", Replica::Gone), ("last", Replica::Leads)]);
    world.kill("b");
    world.run_until(1_000);
    world.replicas.insert("b", Replica::Gone);
    world.kill("a");
    world.run_until(3_000);
    assert_eq!(world.open_to(), ["last"]);
}

#[test]
fn after_a_reset_the_client_is_told_once_the_next_leads_and_not_before() {
    let mut world = World::new(&[("a", Replica::Leads), ("b", Replica::Follows(Some("a"))), ("c", Replica::Gone)]);
    world.run_until(10);
    world.give(1);
    world.kill("a");
    world.give(2);
    world.run_until(30);
    assert!(world.delivered.is_empty(), "nobody leads yet: {:?}", world.delivered);
    world.replicas.insert("b", Replica::Leads);
    world.run_until(60);
    assert_eq!(world.delivered, [AnswerFrame::Reopened]);
    assert!(world.given_to("b").is_empty(), "the client sends it again itself");
    world.give(3);
    assert_eq!(world.given_to("b"), [3]);
}

#[test]
fn an_election_is_found_to_have_ended_within_the_first_pause() {
    let mut world = World::new(&[("a", Replica::Leads), ("b", Replica::Follows(None)), ("c", Replica::Follows(None))]);
    world.run_until(0);
    world.kill("a");
    world.run_until(20);
    world.replicas.insert("c", Replica::Leads);
    world.replicas.insert("b", Replica::Follows(Some("c")));
    world.run_until(20 + PAUSE_MS_MIN);
    assert_eq!(world.delivered, [AnswerFrame::Reopened]);
}

#[test]
fn replicas_that_point_at_the_dead_and_at_each_other_are_not_followed_for_ever() {
    let mut world = World::new(&[
        ("a", Replica::Follows(Some("b"))),
        ("b", Replica::Follows(Some("a"))),
        ("c", Replica::Follows(Some("d"))),
    ]);
    world.run_until(10_000);
    assert!(world.calls.len() < 1_000, "{} calls in ten seconds", world.calls.len());
    world.replicas.insert("c", Replica::Leads);
    world.run_until(12_000);
    assert_eq!(world.calls.last().map(|(_, address)| address.as_str()), Some("c"));
}

#[test]
fn pauses_grow_to_their_bound() {
    let mut world = World::new(&[("a", Replica::Gone)]);
    world.run_until(60_000);
    let gaps: Vec<u64> = world.calls.windows(2).map(|pair| pair[1].0 .0 - pair[0].0 .0).collect();
    assert!(gaps.iter().all(|gap| (PAUSE_MS_MIN / 2..=PAUSE_MS_MAX).contains(gap)), "{gaps:?}");
    assert!(gaps[..6].iter().all(|gap| *gap <= PAUSE_MS_MIN), "{gaps:?}");
    assert!(*gaps.last().unwrap() >= PAUSE_MS_MAX / 2, "{gaps:?}");
}

#[test]
fn one_who_never_answers_the_probe_is_left() {
    let mut world = World::new(&[("a", Replica::Mute), ("b", Replica::Leads)]);
    world.give(1);
    world.run_until(PROBE_MS_MAX);
    assert_eq!(world.given_to("b"), [1]);
}

#[test]
fn what_cannot_be_held_is_asked_for_again() {
    let mut world = World::new(&[("a", Replica::Gone)]);
    world.run_until(0);
    (0..=HELD_MAX as u64).for_each(|n| world.give(n));
    world.replicas.insert("a", Replica::Leads);
    world.run_until(PAUSE_MS_MIN);
    assert_eq!(world.delivered, [AnswerFrame::Reopened]);
    assert!(world.given_to("a").is_empty());
}

#[test]
fn replies_that_came_with_the_news_of_a_switch_are_delivered() {
    let mut world = World::new(&[("a", Replica::Leads), ("b", Replica::Leads)]);
    world.run_until(0);
    let attempt = world.attempt();
    let said = vec![reply(RequestId(1)), AnswerFrame::NotLeader { leader: Some("b".to_owned()) }, reply(RequestId(2))];
    let effects = world.answer(attempt, said);
    world.carry_out(effects);
    assert_eq!(world.delivered, [reply(RequestId(1)), reply(RequestId(2)), AnswerFrame::Reopened]);
    let late = world.answer(attempt, vec![reply(RequestId(3))]);
    assert!(late.is_empty(), "an older connection is not heard");
}

#[test]
fn a_busy_shard_is_not_left_and_the_client_does_not_hear_of_it() {
    let mut world = World::new(&[("a", Replica::Leads), ("b", Replica::Gone)]);
    world.run_until(0);
    let attempt = world.attempt();
    let busy = AnswerFrame::Reply { request: RequestId(1), outcome: Err(RequestError::Busy) };
    assert!(world.answer(attempt, vec![busy]).is_empty());
}

mod silence;

fn any_replica() -> impl Strategy<Value = Replica> {
    let tip = prop_oneof![Just(None), Just(Some("a")), Just(Some("b")), Just(Some("x"))];
    prop_oneof![Just(Replica::Leads), tip.prop_map(Replica::Follows), Just(Replica::Gone), any_silent()]
}

fn any_silent() -> impl Strategy<Value = Replica> {
    prop_oneof![Just(Replica::Mute), Just(Replica::Paused), Just(Replica::Slow)]
}

proptest! {
    #[test]
    fn whatever_happened_a_leader_is_found_in_the_end(
        steps in proptest::collection::vec((any_replica(), any_replica(), 0..3_000_u64, any::<bool>()), 1..12),
    ) {
        let mut world = World::new(&[("a", Replica::Gone), ("b", Replica::Gone)]);
        for (n, (a, b, passes, kills)) in steps.into_iter().enumerate() {
            world.replicas.extend([("a", a), ("b", b)]);
            world.request(n as u64);
            world.passes(passes);
            if kills {
                world.kill("a");
            }
        }
        world.kill("a");
        world.replicas.insert("b", Replica::Leads);
        world.delivered.clear();
        world.sent.clear();
        world.passes(10_000);
        world.give(u64::MAX);
        prop_assert_eq!(world.given_to("b").pop(), Some(u64::MAX));
    }
}
