//! Tests of the client's core against shard cores, without a runtime.

use actinic_gcs::{
    shard::{Change, Filter, SubscriptionId},
    tables::{KeyValueRead, KeyValueWrite, ObjectRead, ObjectWrite, PageRequest, TaskRead, TaskWrite},
    ObjectId,
};
use bytes::Bytes;

use super::*;
use crate::gcs_client::{
    core::{ClientCore, ClientEffect, ATTEMPTS_MAX, RETRY_AFTER_MS, SPAN_MAX, WINDOW},
    GcsError,
};

struct Cluster {
    client: ClientCore<u64>,
    shards: Vec<ShardCore<MemoryStore>>,
    effects: Vec<ClientEffect<u64>>,
}

impl Cluster {
    fn new(shards: usize) -> Self {
        let cores = (0..shards).map(|_| shard()).collect();
        Self { client: ClientCore::new(shards), shards: cores, effects: Vec::new() }
    }

    fn run(&mut self) {
        while !self.step().is_empty() {}
    }

    /// One exchange with all shards; gives what was sent.
    fn step(&mut self) -> Vec<(usize, Vec<Frame>)> {
        let sent = self.client.frames(Millis(0));
        for (shard, frames) in sent.clone() {
            for frame in frames {
                for said in answer(&mut self.shards[shard], frame) {
                    self.client.on_answer(Millis(0), shard, said, &mut self.effects);
                }
            }
        }
        sent
    }

    fn outcome(&mut self, waiter: u64) -> Result<Reply, GcsError> {
        let of = |effect: &ClientEffect<u64>| matches!(effect, ClientEffect::Done { waiter: of, .. } if *of == waiter);
        let at = self.effects.iter().position(of).expect("an outcome");
        let ClientEffect::Done { outcome, .. } = self.effects.remove(at) else { panic!("it is one") };
        outcome
    }

    fn changes(&mut self) -> Vec<Change> {
        let change = |effect| match effect {
            ClientEffect::Changed { change, .. } => Some(change),
            _ => None,
        };
        self.effects.drain(..).filter_map(change).collect()
    }
}

fn put(key: &str) -> Write {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::from_static(b"value"));
    KeyValueWrite::Put { namespace: "default".into(), key, value, overwrite: true }.into()
}

fn numbers(sent: &[(usize, Vec<Frame>)]) -> Vec<u64> {
    let number = |frame: &Frame| match frame {
        Frame::Request { request, .. } => Some(request.0),
        _ => None,
    };
    sent.iter().flat_map(|(_, frames)| frames).filter_map(number).collect()
}

#[test]
fn a_listing_of_all_shards_gives_every_key_once_and_in_order() {
    let mut cluster = Cluster::new(5);
    let keys: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    keys.iter().for_each(|key| cluster.client.write(put(key), 0));
    cluster.run();
    assert!(cluster.shards.iter().all(|shard| shard.applied() > 0), "keys are spread");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { after, limit: 7 };
        let read = KeyValueRead::List { namespace: "default".into(), prefix: Bytes::new(), page };
        cluster.client.read(read.into(), 1);
        cluster.run();
        let Ok(Reply::Keys(page)) = cluster.outcome(1) else { panic!("no keys") };
        assert!(page.items.len() <= 7);
        seen.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, keys);
}

#[test]
fn a_batch_of_tasks_is_split_by_shard_and_answered_once() {
    let mut cluster = Cluster::new(4);
    let tasks = (0..64).map(|n| TaskId::driver(JobId(1)).child(n)).collect();
    cluster.client.write(TaskWrite::Delete(tasks).into(), 9);
    assert_eq!(cluster.step().len(), 4);
    assert_eq!(cluster.outcome(9), Ok(Reply::Done));
    assert!(cluster.effects.is_empty());
    cluster.client.write(TaskWrite::Delete(Vec::new()).into(), 9);
    cluster.run();
    assert_eq!(cluster.outcome(9), Ok(Reply::Done));
}

#[test]
fn a_retry_bears_the_number_of_the_original_and_is_applied_once() {
    let mut cluster = Cluster::new(1);
    cluster.client.write(put("a"), 3);
    let lost = cluster.client.frames(Millis(0));
    answer(&mut cluster.shards[0], lost[0].1[0].clone());
    cluster.client.on_tick(Millis(RETRY_AFTER_MS - 1), &mut cluster.effects);
    assert!(cluster.client.frames(Millis(1)).is_empty());
    cluster.client.on_tick(Millis(RETRY_AFTER_MS), &mut cluster.effects);
    let again = cluster.step();
    assert_eq!(numbers(&again), numbers(&lost));
    assert_eq!(cluster.outcome(3), Ok(Reply::Stored(true)));
    assert_eq!(cluster.shards[0].applied(), 1);
}

#[test]
fn a_shard_that_never_answers_is_given_up() {
    let mut cluster = Cluster::new(1);
    cluster.client.write(put("a"), 3);
    for attempt in 0..ATTEMPTS_MAX {
        let now = Millis(u64::from(attempt) * RETRY_AFTER_MS);
        cluster.client.on_tick(now, &mut cluster.effects);
        assert_eq!(numbers(&cluster.client.frames(now)), [1]);
    }
    cluster.client.on_tick(Millis(u64::from(ATTEMPTS_MAX) * RETRY_AFTER_MS), &mut cluster.effects);
    assert_eq!(cluster.outcome(3), Err(GcsError::Unavailable { attempts: ATTEMPTS_MAX }));
    assert_eq!(cluster.client.unanswered(), 0);
}

#[test]
fn a_shard_is_sent_no_more_than_its_window() {
    let mut cluster = Cluster::new(1);
    let count = 3 * WINDOW as u64;
    (0..count).for_each(|n| cluster.client.write(put("a"), n));
    let first = cluster.client.frames(Millis(0));
    assert_eq!(numbers(&first).len(), WINDOW);
    assert!(cluster.client.frames(Millis(0)).is_empty());
    for said in first.into_iter().flat_map(|(_, frames)| frames).flat_map(|f| answer(&mut cluster.shards[0], f)) {
        cluster.client.on_answer(Millis(0), 0, said, &mut cluster.effects);
    }
    cluster.run();
    assert_eq!(cluster.effects.len() as u64, count);
}

#[test]
fn after_a_shard_was_opened_anew_no_change_and_no_request_is_missing() {
    let mut cluster = Cluster::new(1);
    cluster.client.subscribe(SubscriptionId(1), Filter::values("default", b""));
    cluster.client.write(put("a"), 0);
    cluster.run();
    assert_eq!(cluster.changes().len(), 1);
    // One write is applied, but its answer and its change are lost with the shard; the next never arrives.
    cluster.client.write(put("b"), 1);
    cluster.client.write(put("c"), 2);
    let lost = cluster.client.frames(Millis(0));
    answer(&mut cluster.shards[0], lost[0].1[0].clone());
    let store = cluster.shards.remove(0).into_store();
    cluster.shards.push(ShardCore::open(store, ShardLimits::default()).unwrap());
    cluster.client.on_answer(Millis(0), 0, AnswerFrame::Reopened, &mut cluster.effects);
    cluster.run();
    assert_eq!(cluster.outcome(1), Ok(Reply::Stored(true)));
    assert_eq!(cluster.outcome(2), Ok(Reply::Stored(true)));
    let sequences: Vec<u64> = cluster.changes().iter().map(|change| change.sequence).collect();
    assert_eq!(sequences, [2, 3]);
}

#[test]
fn a_subscription_hears_changes_of_every_shard_until_it_ends() {
    let mut cluster = Cluster::new(3);
    cluster.client.subscribe(SubscriptionId(1), Filter::values("default", b""));
    (0..30).for_each(|n| cluster.client.write(put(&n.to_string()), n));
    cluster.run();
    assert_eq!(cluster.changes().len(), 30);
    cluster.client.unsubscribe(SubscriptionId(1));
    cluster.client.write(put("later"), 0);
    cluster.run();
    assert!(cluster.changes().is_empty());
}

#[test]
fn a_read_of_many_ids_gives_each_its_answer_in_its_place_whatever_shard_has_it() {
    let mut cluster = Cluster::new(4);
    let objects: Vec<ObjectId> =
        (0..100).map(|n| ObjectId { task: TaskId::driver(JobId(1)).child(n), index: 0 }).collect();
    for (n, object) in objects.iter().enumerate().filter(|(n, _)| n % 3 > 0) {
        cluster.client.write(ObjectWrite::SetSize { object: *object, size_bytes: n as u64 }.into(), 0);
    }
    cluster.run();
    cluster.effects.clear();
    // An id that is asked for twice is answered twice.
    let asked: Vec<ObjectId> = objects.iter().rev().chain(&objects[..5]).copied().collect();
    cluster.client.read(ObjectRead::Get(asked.clone()).into(), 7);
    assert_eq!(cluster.step().len(), 4, "each shard is asked once");
    let Ok(Reply::Objects(found)) = cluster.outcome(7) else { panic!("no objects") };
    assert!(cluster.effects.is_empty());
    let sizes: Vec<_> = found.into_iter().map(|info| info.map(|info| (info.id, info.size_bytes))).collect();
    let size = |object: &ObjectId| {
        let n = objects.iter().position(|other| other == object).unwrap();
        (n % 3 > 0).then_some((*object, Some(n as u64)))
    };
    assert_eq!(sizes, asked.iter().map(size).collect::<Vec<_>>());
    let tasks = objects.iter().map(|object| object.task).collect::<Vec<_>>();
    cluster.client.read(TaskRead::Get(tasks).into(), 8);
    cluster.run();
    assert_eq!(cluster.outcome(8), Ok(Reply::Tasks(vec![None; 100])));
}

#[test]
fn a_part_that_is_not_answered_is_told_of_the_whole() {
    let mut cluster = Cluster::new(2);
    let tasks = (0..20).map(|n| TaskId::driver(JobId(1)).child(n)).collect();
    cluster.client.read(TaskRead::Get(tasks).into(), 7);
    let sent = cluster.client.frames(Millis(0));
    for said in sent[0].1.clone().into_iter().flat_map(|frame| answer(&mut cluster.shards[0], frame)) {
        cluster.client.on_answer(Millis(0), 0, said, &mut cluster.effects);
    }
    assert!(cluster.effects.is_empty());
    for attempt in 1..=ATTEMPTS_MAX {
        cluster.client.on_tick(Millis(u64::from(attempt) * RETRY_AFTER_MS), &mut cluster.effects);
    }
    assert_eq!(cluster.outcome(7), Err(GcsError::Unavailable { attempts: ATTEMPTS_MAX }));
}

#[test]
fn a_request_without_an_answer_is_never_left_behind_so_far_that_its_shard_forgets_it() {
    let mut cluster = Cluster::new(1);
    (0..2 * SPAN_MAX).for_each(|n| cluster.client.write(put("a"), n));
    let mut sent = cluster.client.frames(Millis(0)).remove(0).1;
    // The first never arrives; all others are answered.
    let lost = sent.remove(0);
    while !sent.is_empty() {
        for said in sent.into_iter().flat_map(|frame| answer(&mut cluster.shards[0], frame)) {
            cluster.client.on_answer(Millis(0), 0, said, &mut cluster.effects);
        }
        sent = cluster.client.frames(Millis(0)).pop().map(|(_, frames)| frames).unwrap_or_default();
    }
    assert_eq!(cluster.shards[0].applied(), SPAN_MAX - 1);
    for said in answer(&mut cluster.shards[0], lost) {
        cluster.client.on_answer(Millis(0), 0, said, &mut cluster.effects);
    }
    assert_eq!(cluster.outcome(0), Ok(Reply::Stored(true)));
    cluster.run();
    assert_eq!(cluster.shards[0].applied(), 2 * SPAN_MAX);
    assert_eq!(cluster.client.unanswered(), 0);
}

/// The numbers under which a shard is asked to subscribe.
fn subscribed(sent: &[(usize, Vec<Frame>)]) -> Vec<(SubscriptionId, Option<u64>)> {
    let number = |frame: &Frame| match frame {
        Frame::Subscribe { subscription, from, .. } => Some((*subscription, *from)),
        _ => None,
    };
    sent.iter().flat_map(|(_, frames)| frames).filter_map(number).collect()
}

#[test]
fn what_an_older_connection_still_tells_is_not_taken_for_news() {
    let mut cluster = Cluster::new(1);
    cluster.client.subscribe(SubscriptionId(1), Filter::values("default", b""));
    let first = cluster.step();
    (1..=3).for_each(|n| cluster.client.write(put("a"), n));
    let lost = cluster.client.frames(Millis(0));
    let mut told: Vec<AnswerFrame> =
        lost[0].1.iter().flat_map(|frame| answer(&mut cluster.shards[0], frame.clone())).collect();
    // The first two changes are lost with the connection; the third comes late, over what is left of it.
    let late = told.pop().unwrap();
    assert!(matches!(&late, AnswerFrame::Change { change, .. } if change.sequence == 3), "{late:?}");
    cluster.client.on_answer(Millis(0), 0, AnswerFrame::Reopened, &mut cluster.effects);
    cluster.client.on_answer(Millis(0), 0, late, &mut cluster.effects);
    let renewed = cluster.client.frames(Millis(0));
    // And the connection breaks again, before anything is heard.
    cluster.client.on_answer(Millis(0), 0, AnswerFrame::Reopened, &mut cluster.effects);
    assert!(cluster.changes().is_empty());
    let again = cluster.step();
    assert_eq!([subscribed(&first).len(), subscribed(&renewed).len(), subscribed(&again).len()], [1, 1, 1]);
    let ((first, _), (second, from), (third, still)) =
        (subscribed(&first)[0], subscribed(&renewed)[0], subscribed(&again)[0]);
    assert!(first != second && second != third && first != third, "each has a number of its own");
    assert_eq!((from, still), (Some(0), Some(0)), "it goes on after the last change that was told");
    // A key that changed three times is told once, as it is now.
    let sequences: Vec<u64> = cluster.changes().iter().map(|change| change.sequence).collect();
    assert_eq!(sequences, [3]);
}

#[test]
fn a_subscription_that_waits_to_be_sent_is_sent_once_to_a_shard_that_is_opened_anew() {
    let mut cluster = Cluster::new(1);
    cluster.client.subscribe(SubscriptionId(1), Filter::values("default", b"a"));
    cluster.client.subscribe(SubscriptionId(2), Filter::values("default", b"b"));
    cluster.client.unsubscribe(SubscriptionId(2));
    cluster.client.on_answer(Millis(0), 0, AnswerFrame::Reopened, &mut cluster.effects);
    cluster.client.on_answer(Millis(0), 0, AnswerFrame::Reopened, &mut cluster.effects);
    let sent = cluster.client.frames(Millis(0));
    assert_eq!(sent[0].1.len(), 1, "{sent:?}");
    assert_eq!(subscribed(&sent).len(), 1);
}
