//! What nodes of one machine lend each other.

use super::*;
use crate::cluster::objects::pull::core::{PullCore, PullEffect, PullLimits};

const OWNER: ProcessId = ProcessId { node: OTHER, worker: WorkerId(9) };

fn loan(number: u64) -> Loan {
    Loan { to: OTHER, number }
}

fn lender(number: u64) -> Lender {
    Lender { node: OTHER, number }
}

/// A bench whose process 1 reads what another node has lent.
fn borrowing() -> (Bench, StoredId) {
    let mut bench = Bench::new();
    bench.act(|core, effects| core.on_pin(away(1), process(1), 1, (OWNER, 100), effects));
    bench.act(|core, effects| core.on_lent(away(1), lender(5), effects));
    bench.take();
    (bench, away(1))
}

#[test]
fn what_is_lent_stays_until_it_is_returned() {
    let mut bench = Bench::new();
    let stored = bench.sealed_by(process(1));
    bench.act(|core, effects| core.on_borrow(stored, loan(5), effects));
    let reader = Reader::Loan(loan(5));
    assert_eq!(bench.take(), [TableEffect::Pin { stored, reader, request: 5 }]);
    bench.act(|core, effects| core.on_release(stored, process(1), effects));
    bench.act(|core, effects| core.on_return(stored, loan(4), effects));
    assert_eq!(bench.take(), [], "another loan's return is not this one's");
    bench.act(|core, effects| core.on_return(stored, loan(5), effects));
    assert_eq!(bench.take(), [TableEffect::Unpin(stored, reader), TableEffect::Free(stored)]);
    bench.act(|core, effects| core.on_borrow(stored, loan(6), effects));
    assert!(matches!(bench.take()[..], [TableEffect::Refuse { request: 6, .. }]));
}

#[test]
fn a_borrower_that_is_lost_reads_no_more_as_far_as_the_table_knows() {
    let mut bench = Bench::new();
    let stored = bench.sealed_by(process(1));
    bench.act(|core, effects| core.on_borrow(stored, loan(5), effects));
    bench.take();
    bench.act(|core, effects| core.on_node_gone(Millis(0), OTHER, effects));
    assert_eq!(bench.take(), [TableEffect::Unpin(stored, Reader::Loan(loan(5)))]);
}

#[test]
fn what_is_borrowed_or_on_its_way_is_not_lent_on() {
    let (mut bench, stored) = borrowing();
    bench.act(|core, effects| core.on_borrow(stored, loan(7), effects));
    bench.act(|core, effects| core.on_pin(away(2), process(1), 2, (OWNER, 100), effects));
    bench.act(|core, effects| core.on_borrow(away(2), loan(8), effects));
    let refused = bench.take().into_iter().filter(|effect| matches!(effect, TableEffect::Refuse { .. }));
    assert_eq!(refused.count(), 2);
}

#[test]
fn a_loan_is_returned_once_nobody_has_read_it_for_a_while() {
    let (mut bench, stored) = borrowing();
    bench.act(|core, effects| core.on_time(Millis(1_000), effects));
    bench.act(|core, effects| core.on_unpin(stored, process(1), effects));
    bench.act(|core, effects| core.on_time(Millis(1_010), effects));
    bench.act(|core, effects| core.on_pin(stored, process(1), 2, (OWNER, 100), effects));
    bench.act(|core, effects| core.on_time(Millis(1_050), effects));
    bench.act(|core, effects| core.on_unpin(stored, process(1), effects));
    bench.act(|core, effects| core.on_short(1_000, effects));
    bench.act(|core, effects| core.on_time(Millis(1_120), effects));
    bench.act(|core, effects| core.on_time(Millis(1_120 + LOAN_IDLE_MS - 1), effects));
    let returned = TableEffect::Return(stored, lender(5));
    assert!(!bench.take().contains(&returned), "it was read meanwhile, and takes no room here");
    bench.act(|core, effects| core.on_time(Millis(1_120 + LOAN_IDLE_MS), effects));
    assert_eq!(bench.take(), [returned]);
    assert!(bench.core.is_empty());
}

#[test]
fn views_of_a_lost_lender_s_memory_are_not_taken_for_those_of_a_later_copy() {
    let (mut bench, stored) = borrowing();
    bench.act(|core, effects| core.on_node_gone(Millis(0), OTHER, effects));
    assert_eq!(bench.take(), [TableEffect::Lost(stored)]);
    bench.act(|core, effects| core.on_pin(stored, process(1), 2, (OWNER, 100), effects));
    bench.act(|core, effects| core.on_pulled(stored, effects));
    bench.act(|core, effects| core.on_free(stored, effects));
    bench.take();
    bench.act(|core, effects| core.on_unpin(stored, process(1), effects));
    assert_eq!(bench.take(), [], "the old view's");
    bench.act(|core, effects| core.on_unpin(stored, process(1), effects));
    assert_eq!(bench.take(), [TableEffect::Unpin(stored, Reader::Process(process(1))), TableEffect::Free(stored)]);
}

/// What one of two nodes says to the other.
enum Word {
    Borrow(StoredId, Loan),
    Lent(StoredId, Lender, bool),
    Return(StoredId, Loan),
}

/// A lender, and a borrower with processes that read, on a connection that is lost now and then.
struct World {
    state: u64,
    now: u64,
    lender: TableCore,
    borrower: TableCore,
    pulls: PullCore,
    to_lender: VecDeque<Word>,
    to_borrower: VecDeque<Word>,
    connected: bool,
    /// By which loan an object is read, as the borrower's shell knows.
    places: BTreeMap<StoredId, u64>,
    /// What processes read, and by which loan; none where the lender was lost meanwhile.
    read: Vec<(StoredId, ProcessId, Option<u64>)>,
    held: Vec<StoredId>,
    granted: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let limits = PullLimits { admitted_bytes_max: 1 << 20, chunks_max: 4 };
        let mut world = Self {
            state: seed * 2 + 1,
            now: 0,
            lender: TableCore::new(OTHER),
            borrower: TableCore::new(ME),
            pulls: PullCore::new(limits),
            to_lender: VecDeque::new(),
            to_borrower: VecDeque::new(),
            connected: true,
            places: BTreeMap::new(),
            read: Vec::new(),
            held: Vec::new(),
            granted: 0,
        };
        world.pulls.on_neighbour(OTHER);
        for _ in 0..6 {
            let stored = world.lender.on_reserved(OWNER, 100).unwrap();
            world.lender.on_seal(stored, OWNER, &mut Vec::new());
            world.held.push(stored);
        }
        world
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % bound as u64) as usize
    }

    fn by_lender(&mut self, act: &mut dyn FnMut(&mut TableCore, &mut Vec<TableEffect>)) {
        let mut effects = Vec::new();
        act(&mut self.lender, &mut effects);
        self.lender.sanity_check();
        for effect in effects {
            let (stored, reader, lends) = match effect {
                TableEffect::Pin { stored, reader, .. } => (stored, reader, true),
                TableEffect::Refuse { stored, reader, .. } => (stored, reader, false),
                _ => continue,
            };
            let Reader::Loan(Loan { number, .. }) = reader else { continue };
            self.to_borrower.push_back(Word::Lent(stored, lender(number), lends));
        }
    }

    fn by_borrower(&mut self, act: &mut dyn FnMut(&mut TableCore, &mut Vec<TableEffect>)) {
        let mut effects = Vec::new();
        act(&mut self.borrower, &mut effects);
        self.borrower.sanity_check();
        for effect in effects {
            match effect {
                TableEffect::Pin { stored, reader: Reader::Process(process), .. } => {
                    let number = self.places.get(&stored).copied().expect("it is read where it was lent");
                    self.read.push((stored, process, Some(number)));
                    self.granted += 1;
                }
                TableEffect::Pull { stored, owner, bytes } => {
                    self.by_pulls(&mut |pulls, effects| pulls.on_wanted(stored, owner, bytes, effects));
                }
                TableEffect::CancelPull(stored) => {
                    self.by_pulls(&mut |pulls, effects| pulls.on_unwanted(stored, effects))
                }
                TableEffect::Return(stored, from) => {
                    self.places.remove(&stored);
                    self.to_lender.push_back(Word::Return(stored, Loan { to: ME, number: from.number }));
                }
                TableEffect::Lost(stored) => drop(self.places.remove(&stored)),
                _ => {}
            }
        }
    }

    fn by_pulls(&mut self, act: &mut dyn FnMut(&mut PullCore, &mut Vec<PullEffect>)) {
        let mut effects = Vec::new();
        act(&mut self.pulls, &mut effects);
        self.pulls.sanity_check();
        for effect in effects {
            match effect {
                PullEffect::Borrow(stored, from) => {
                    self.to_lender.push_back(Word::Borrow(stored, Loan { to: ME, number: from.number }));
                }
                PullEffect::Borrowed(stored, from) => {
                    self.places.insert(stored, from.number);
                    self.by_borrower(&mut |core, effects| core.on_lent(stored, from, effects));
                }
                PullEffect::Return(stored, from) => {
                    self.to_lender.push_back(Word::Return(stored, Loan { to: ME, number: from.number }));
                }
                // There is nothing but to borrow.
                PullEffect::Reserve { stored, pull, .. } => {
                    let why = || Err("no room".to_owned());
                    self.by_pulls(&mut |pulls, effects| pulls.on_room(stored, pull, why(), effects));
                }
                PullEffect::Failed(stored, why) => {
                    self.by_borrower(&mut |core, effects| core.on_pull_failed(stored, &why, effects));
                }
                _ => {}
            }
        }
    }

    fn deliver(&mut self) -> bool {
        let to_lender = match (self.to_lender.is_empty(), self.to_borrower.is_empty()) {
            (true, true) => return false,
            (false, false) => self.below(2) == 0,
            (empty, _) => !empty,
        };
        let word = if to_lender { self.to_lender.pop_front() } else { self.to_borrower.pop_front() };
        match word.unwrap() {
            Word::Borrow(stored, loan) => self.by_lender(&mut |core, effects| core.on_borrow(stored, loan, effects)),
            Word::Return(stored, loan) => self.by_lender(&mut |core, effects| core.on_return(stored, loan, effects)),
            Word::Lent(stored, from, lends) => {
                self.by_pulls(&mut |pulls, effects| pulls.on_lent(stored, from, lends, effects));
            }
        }
        true
    }

    fn lose_the_connection(&mut self) {
        self.connected = false;
        self.to_lender.clear();
        self.to_borrower.clear();
        let now = Millis(self.now);
        self.by_lender(&mut |core, effects| core.on_node_gone(now, ME, effects));
        self.read.iter_mut().for_each(|(_, _, number)| *number = None);
        self.by_borrower(&mut |core, effects| core.on_node_gone(now, OTHER, effects));
        self.by_pulls(&mut |pulls, effects| pulls.on_node_gone(OTHER, effects));
    }

    fn step(&mut self) {
        self.now += self.below(40) as u64;
        let now = Millis(self.now);
        match self.below(12) {
            0..=2 => {
                let (stored, reader) =
                    (StoredId { node: OTHER, serial: self.below(6) as u64 + 1 }, process(self.below(3) as u32));
                self.by_borrower(&mut |core, effects| core.on_pin(stored, reader, 1, (OWNER, 100), effects));
            }
            3..=5 if !self.read.is_empty() => {
                let at = self.below(self.read.len());
                let (stored, reader, _) = self.read.swap_remove(at);
                self.by_borrower(&mut |core, effects| core.on_unpin(stored, reader, effects));
            }
            6 if self.below(10) == 0 && !self.held.is_empty() => {
                let stored = self.held.remove(0);
                self.by_lender(&mut |core, effects| core.on_release(stored, OWNER, effects));
            }
            7 if self.below(5) == 0 => match self.connected {
                true => self.lose_the_connection(),
                false => {
                    self.connected = true;
                    self.pulls.on_neighbour(OTHER);
                }
            },
            8 => {
                self.by_borrower(&mut |core, effects| core.on_time(now, effects));
                self.by_lender(&mut |core, effects| core.on_time(now, effects));
            }
            _ => drop(self.deliver()),
        }
        for (stored, _, number) in &self.read {
            let Some(number) = *number else { continue };
            let lent = self.lender.is_pinned_by(*stored, Reader::Loan(Loan { to: ME, number }));
            assert!(lent, "what is read is lent");
        }
    }
}

#[test]
fn what_is_read_is_lent_and_what_is_not_is_returned_whatever_comes_between() {
    let mut granted = 0;
    for seed in 0..300 {
        let mut world = World::new(seed);
        (0..400).for_each(|_| world.step());
        granted += world.granted;
        // In the end nobody reads, and all has been said.
        for (stored, reader, _) in std::mem::take(&mut world.read) {
            world.by_borrower(&mut |core, effects| core.on_unpin(stored, reader, effects));
        }
        while world.deliver() {}
        for (stored, reader, _) in std::mem::take(&mut world.read) {
            world.by_borrower(&mut |core, effects| core.on_unpin(stored, reader, effects));
        }
        for _ in 0..2 {
            world.now += LOAN_IDLE_MS;
            let now = Millis(world.now);
            world.by_borrower(&mut |core, effects| core.on_time(now, effects));
        }
        while world.deliver() {}
        for stored in std::mem::take(&mut world.held) {
            world.by_lender(&mut |core, effects| core.on_release(stored, OWNER, effects));
        }
        assert!(world.lender.is_empty() && world.borrower.is_empty() && world.pulls.is_empty(), "seed {seed}");
    }
    assert!(granted > 10_000, "{granted}");
}
