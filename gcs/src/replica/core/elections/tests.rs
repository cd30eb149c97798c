//! Elections among replicas whose disks are done at once and whose messages go where the test lets them.

use std::collections::VecDeque;

use super::*;
use crate::{
    replica::{Bootstrap, DiskCore, DiskDone, DiskJob, PeerMessage, ReplicaEffect},
    shard::{ClientId, RequestId, ShardLimits},
    store::MemoryStore,
    tables::{JobWrite, Write},
    Millis,
};

/// Replicas 1 to so many, and what they have said and not yet heard.
struct Group {
    cores: Vec<ReplicaCore>,
    said: VecDeque<(u64, u64, PeerMessage)>,
    now: Millis,
    requests: u64,
}

impl Group {
    /// A group that the last of them leads.
    fn new(replicas: u64) -> Self {
        let founders = (1..=replicas).map(|id| (ReplicaId(id), format!("host {id}"))).collect();
        let open = |id| {
            let found = Bootstrap::Found(std::clone::Clone::clone(&founders));
            let (_, recovered) = DiskCore::open(MemoryStore::new(), &found, ShardLimits::default()).unwrap();
            ReplicaCore::open(ReplicaConfig::new(ReplicaId(id), 5), recovered).unwrap()
        };
        let cores = (1..=replicas).map(open).collect();
        let mut group = Self { cores, said: VecDeque::new(), now: Millis(1_000), requests: 0 };
        group.core(replicas).stand();
        group.settle();
        assert_eq!(group.leaders(), [replicas]);
        group
    }

    fn core(&mut self, id: u64) -> &mut ReplicaCore {
        &mut self.cores[id as usize - 1]
    }

    /// One replica works, its disk included, until it has nothing to do.
    fn work(&mut self, id: u64) {
        let mut effects = Vec::new();
        loop {
            self.core(id).poll(&mut effects).unwrap();
            self.core(id).sanity_check();
            if effects.is_empty() {
                return;
            }
            for effect in std::mem::take(&mut effects) {
                let done = match effect {
                    ReplicaEffect::Send { to, message } => {
                        self.said.push_back((id, to.0, message));
                        continue;
                    }
                    ReplicaEffect::Disk(DiskJob::Append { ticket, .. }) => DiskDone::Persisted(ticket),
                    ReplicaEffect::Disk(DiskJob::Apply { position, .. }) => DiskDone::Applied(position.index),
                    _ => continue,
                };
                self.core(id).on_disk(done, &mut effects).unwrap();
            }
        }
    }

    /// All work, and hear what was said to them where `hears` holds for sender and receiver; the rest is lost.
    fn settle_if(&mut self, hears: impl Fn(u64, u64) -> bool) {
        loop {
            (1..=self.cores.len() as u64).for_each(|id| self.work(id));
            let Some((from, to, message)) = self.said.pop_front() else { return };
            if hears(from, to) {
                self.core(to).on_message(ReplicaId(from), message, &mut Vec::new());
            }
        }
    }

    fn settle(&mut self) {
        self.settle_if(|_, _| true);
    }

    /// The leader takes a write, which those for whom `hears` holds put into their logs.
    fn write(&mut self, leader: u64, hears: impl Fn(u64) -> bool) {
        self.requests += 1;
        let (now, request) = (self.now, RequestId(self.requests));
        let write = Write::from(JobWrite::NextId);
        self.core(leader).on_request(now, ClientId(1), request, write.into(), &mut Vec::new());
        self.settle_if(|from, to| hears(from) && hears(to));
    }

    /// These notice that a process has ended; nobody hears of it any more.
    fn notice(&mut self, gone: u64, who: &[u64]) {
        for id in who {
            self.core(*id).on_peer_gone(ReplicaId(gone));
            self.work(*id);
        }
    }

    fn tick(&mut self, ids: &[u64]) {
        self.now.0 += 10;
        for id in ids {
            let now = self.now;
            self.core(*id).on_tick(now, &mut Vec::new());
            self.work(*id);
        }
    }

    fn leaders(&self) -> Vec<u64> {
        self.cores.iter().filter(|core| core.leads()).map(|core| core.config.id.0).collect()
    }

    fn standing(&self) -> Vec<u64> {
        let stands =
            |core: &&ReplicaCore| matches!(core.raw.raft.state, StateRole::PreCandidate | StateRole::Candidate);
        self.cores.iter().filter(stands).map(|core| core.config.id.0).collect()
    }
}

#[test]
fn the_end_of_a_leader_makes_the_first_in_rank_lead_without_a_tick() {
    let mut group = Group::new(3);
    group.notice(3, &[1, 2]);
    assert_eq!(group.standing(), [1]);
    group.settle_if(|from, to| from != 3 && to != 3);
    assert_eq!(group.leaders(), [1, 3]);
}

#[test]
fn where_the_first_in_rank_lags_behind_the_next_leads_without_a_tick() {
    let mut group = Group::new(3);
    group.write(3, |id| id != 1);
    group.notice(3, &[1, 2]);
    group.settle_if(|from, to| from != 3 && to != 3);
    assert_eq!(group.leaders(), [2, 3]);
}

#[test]
fn a_question_that_comes_before_the_end_is_noticed_is_heard_once_it_is() {
    for lagging in [false, true] {
        let mut group = Group::new(3);
        group.write(3, |id| id != 1 || !lagging);
        group.notice(3, &[1]);
        group.settle_if(|from, to| from != 3 && to != 3);
        assert_eq!(group.leaders(), [3], "the lease runs for the other");
        group.notice(3, &[2]);
        group.settle_if(|from, to| from != 3 && to != 3);
        assert_eq!(group.leaders().first(), Some(if lagging { &2 } else { &1 }));
    }
}

#[test]
fn in_a_group_of_five_one_stands_at_a_time_until_one_can_win() {
    let mut group = Group::new(5);
    // The fourth and the third have more than the second, which has more than the first.
    group.write(5, |id| id != 1);
    group.write(5, |id| id > 2);
    group.notice(5, &[1, 2, 3, 4]);
    assert_eq!(group.standing(), [1]);
    group.settle_if(|from, to| from != 5 && to != 5);
    assert_eq!(group.leaders(), [3, 5]);
    assert_eq!(group.core(3).status().term, 3, "no vote was split");
}

#[test]
fn a_question_that_came_much_too_early_is_forgotten() {
    let mut group = Group::new(3);
    group.notice(3, &[1]);
    group.settle_if(|from, to| from != 3 && to != 3);
    (0..EARLY_TICKS).for_each(|_| group.tick(&[2]));
    group.notice(3, &[2]);
    assert!(group.said.iter().all(|(from, ..)| *from != 2), "it votes for nobody who may have given up");
    // Its own turn comes.
    (0..=RANK_TICKS).for_each(|_| group.tick(&[2]));
    group.settle_if(|from, to| from != 3 && to != 3);
    assert_eq!(group.leaders(), [2, 3]);
}

#[test]
fn a_silent_leader_is_replaced_although_clocks_differ_by_a_tick() {
    let mut group = Group::new(3);
    let mut ticks = 0;
    // The first hears nothing from now on; the second heard the leader two ticks later.
    while group.standing() != [1] {
        group.tick(if ticks < 2 { &[1] } else { &[1, 2] });
        ticks += 1;
        assert!(ticks < 100);
    }
    group.settle_if(|from, to| from != 3 && to != 3);
    let stood = group.cores[0].config.election_ticks;
    (0..EARLY_TICKS).for_each(|_| {
        group.tick(&[1, 2]);
        group.settle_if(|from, to| from != 3 && to != 3);
    });
    assert!(ticks >= stood && group.leaders().first().is_some_and(|id| *id != 3), "{:?}", group.leaders());
}

#[test]
fn a_connection_that_was_reset_by_mistake_leaves_the_leader_where_it_is() {
    let mut group = Group::new(3);
    group.notice(3, &[1]);
    group.settle();
    for _ in 0..10 {
        group.tick(&[1, 2, 3]);
        group.settle();
    }
    assert_eq!(group.leaders(), [3]);
    assert_eq!(group.core(1).leader(), Some(ReplicaId(3)));
}
