//! A world of processes that send references to each other, in any order and with losses.

use std::collections::VecDeque;

use actinic_gcs::{JobId, NodeId, TaskId, WorkerId};

use super::*;

const OBJECT: u32 = 0;

fn process(number: u32) -> ProcessId {
    ProcessId { node: NodeId(1), worker: WorkerId(number) }
}

fn object() -> ObjectId {
    ObjectId::of_return(TaskId::driver(JobId(1)), OBJECT)
}

#[derive(Clone, Copy, Debug)]
enum Message {
    Ref,
    Release(u32),
    Borrow,
}

/// Process 0 owns the object. `held` says how many references each process has itself.
struct World {
    cores: Vec<RefCore>,
    held: Vec<u32>,
    alive: Vec<bool>,
    /// By sender and receiver: in order between two, in any order otherwise.
    wires: BTreeMap<(usize, usize), VecDeque<Message>>,
    pinned: bool,
    owner_holds: bool,
    seed: u64,
}

impl World {
    fn new(processes: u32, seed: u64) -> Self {
        let cores = (0..processes).map(|number| RefCore::new(process(number))).collect();
        let count = processes as usize;
        Self {
            cores,
            held: vec![0; count],
            alive: vec![true; count],
            wires: BTreeMap::new(),
            pinned: false,
            owner_holds: true,
            seed,
        }
    }

    /// Knuth's multiplier and increment for 64 bits (TAOCP volume 2, section 3.3.4).
    fn random(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % below
    }

    fn carry_out(&mut self, at: usize, effects: Vec<RefEffect>) {
        for effect in effects {
            match effect {
                RefEffect::Release { to, count, .. } => self.post(at, to.worker.0 as usize, Message::Release(count)),
                RefEffect::Borrow { owner, .. } => self.post(at, owner.worker.0 as usize, Message::Borrow),
                RefEffect::Unpin(_) => {
                    assert_eq!(at, 0, "only the owner frees");
                    self.pinned = false;
                }
                RefEffect::Forget(_) => assert_ne!(at, 0),
            }
        }
        self.cores[at].sanity_check();
    }

    fn post(&mut self, from: usize, to: usize, message: Message) {
        if self.alive[to] {
            self.wires.entry((from, to)).or_default().push_back(message);
        }
    }

    fn can_send(&self, at: usize) -> bool {
        if at == 0 {
            self.owner_holds || self.pinned
        } else {
            self.held[at] > 0
        }
    }

    fn send(&mut self, from: usize, to: usize) {
        if self.cores[from].on_send(object(), process(0), process(to as u32)) {
            self.pinned = true;
        }
        self.post(from, to, Message::Ref);
    }

    fn deliver(&mut self, from: usize, to: usize) {
        let Some(message) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return };
        let mut effects = Vec::new();
        let sender = process(from as u32);
        match message {
            Message::Ref => {
                self.cores[to].on_receive(object(), process(0), sender, &mut effects);
                if to == 0 {
                    self.owner_holds = true;
                } else {
                    self.held[to] += 1;
                }
            }
            Message::Release(count) => self.cores[to].on_release(object(), sender, count, &mut effects),
            Message::Borrow => drop(self.cores[to].on_borrow(object(), sender)),
        }
        self.carry_out(to, effects);
    }

    fn drop_one(&mut self, at: usize) {
        if at == 0 {
            self.owner_holds = false;
        } else if self.held[at] > 0 {
            self.held[at] -= 1;
            let mut effects = Vec::new();
            self.cores[at].on_dropped(object(), &mut effects);
            self.carry_out(at, effects);
        }
    }

    /// Its end is told of, or only that nobody hears it any more.
    fn kill(&mut self, gone: usize) {
        let is_told = self.random(2) == 0;
        self.alive[gone] = false;
        self.held[gone] = 0;
        self.wires.retain(|(from, to), _| *from != gone && *to != gone);
        for at in (0..self.cores.len()).filter(|at| *at != gone) {
            if self.alive[at] {
                let mut effects = Vec::new();
                if is_told {
                    self.cores[at].on_ended(process(gone as u32));
                }
                self.cores[at].on_gone(process(gone as u32), &mut effects);
                self.carry_out(at, effects);
            }
        }
    }

    fn busy_wires(&self) -> Vec<(usize, usize)> {
        self.wires.iter().filter(|(_, wire)| !wire.is_empty()).map(|(ends, _)| *ends).collect()
    }

    fn anybody_needs_it(&self) -> bool {
        let under_way = self.wires.values().flatten().any(|message| matches!(message, Message::Ref));
        under_way || self.held.iter().any(|held| *held > 0)
    }

    fn check_no_early_free(&self) {
        assert!(!self.anybody_needs_it() || self.pinned || self.owner_holds, "freed while somebody needs it");
    }

    fn step(&mut self) {
        let count = self.cores.len();
        match self.random(10) {
            0..=2 => {
                let (from, to) = (self.random(count), self.random(count));
                if from != to && self.alive[from] && self.alive[to] && self.can_send(from) {
                    self.send(from, to);
                }
            }
            3..=4 => {
                let at = self.random(count);
                if self.alive[at] {
                    self.drop_one(at);
                }
            }
            _ => {
                let wires = self.busy_wires();
                if !wires.is_empty() {
                    let (from, to) = wires[self.random(wires.len())];
                    self.deliver(from, to);
                }
            }
        }
    }

    fn settle(&mut self) {
        for at in 0..self.cores.len() {
            while self.alive[at] && (self.held[at] > 0 || (at == 0 && self.owner_holds)) {
                self.drop_one(at);
            }
        }
        loop {
            let wires = self.busy_wires();
            let Some((from, to)) = wires.first().copied() else { break };
            self.deliver(from, to);
            for at in 0..self.cores.len() {
                while self.alive[at] && (self.held[at] > 0 || (at == 0 && self.owner_holds)) {
                    self.drop_one(at);
                }
            }
        }
    }
}

#[test]
fn whatever_the_order_nothing_is_freed_early_and_nothing_leaks() {
    for seed in 0..2_000 {
        let mut world = World::new(5, seed);
        for _ in 0..200 {
            world.step();
            world.check_no_early_free();
        }
        world.settle();
        assert!(!world.pinned, "seed {seed}: the owner keeps it for nobody");
        assert!(world.cores.iter().all(RefCore::is_empty), "seed {seed}: nobody keeps anything");
    }
}

#[test]
fn nothing_leaks_where_processes_are_lost() {
    for seed in 0..2_000 {
        let mut world = World::new(5, seed);
        for step in 0..200 {
            world.step();
            if step % 67 == 66 {
                let victim = world.random(5);
                if world.alive[victim] {
                    world.kill(victim);
                }
            }
        }
        world.settle();
        assert!(!world.pinned || !world.alive[0], "seed {seed}: the owner keeps it for nobody");
        for (at, core) in world.cores.iter().enumerate().filter(|(at, _)| world.alive[*at]) {
            assert!(core.is_empty(), "seed {seed}: process {at} keeps nothing");
        }
    }
}

#[test]
fn a_reference_that_is_sent_to_one_who_has_ended_keeps_nothing() {
    let (mut core, mut effects) = (RefCore::new(process(0)), Vec::new());
    core.on_ended(process(1));
    core.on_gone(process(1), &mut effects);
    assert!(!core.on_send(object(), process(0), process(1)), "there is nothing to keep it for");
    assert!(core.is_empty());
}

#[test]
fn a_reference_that_comes_late_from_one_who_has_ended_turns_to_the_owner() {
    let (mut core, mut effects) = (RefCore::new(process(2)), Vec::new());
    core.on_ended(process(1));
    core.on_gone(process(1), &mut effects);
    core.on_receive(object(), process(0), process(1), &mut effects);
    assert_eq!(effects, [RefEffect::Borrow { owner: process(0), object: object() }]);
    effects.clear();
    core.on_dropped(object(), &mut effects);
    assert_eq!(effects[0], RefEffect::Release { to: process(0), object: object(), count: 1 });
    assert!(core.is_empty());
}
