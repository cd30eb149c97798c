//! What is fetched from where, in virtual time.

use actinic_gcs::{Millis, WorkerId};

use super::*;
use crate::cluster::objects::directory::core::{DirectoryCore, DirectoryEffect};

const STORED: StoredId = StoredId { node: NodeId(1), serial: 1 };
const OWNER: ProcessId = ProcessId { node: NodeId(1), worker: WorkerId(1) };
const LIMITS: PullLimits = PullLimits { admitted_bytes_max: 64 << 20, chunks_max: 4 };

fn fetches(effects: &mut Vec<PullEffect>) -> Vec<(Chunk, NodeId)> {
    let mut all = Vec::new();
    effects.retain(|effect| match effect {
        PullEffect::Fetch(chunk, from) => {
            all.push((*chunk, *from));
            false
        }
        _ => true,
    });
    all
}

/// A pull of so many chunks that has room and fetches from node 2.
fn fetching(chunks: u64) -> (PullCore, Vec<(Chunk, NodeId)>) {
    let (mut core, mut effects) = (PullCore::new(LIMITS), Vec::new());
    core.on_wanted(STORED, OWNER, chunks * CHUNK_BYTES, &mut effects);
    assert_eq!(effects, [PullEffect::Reserve { stored: STORED, pull: 1, bytes: chunks * CHUNK_BYTES }]);
    effects.clear();
    core.on_room(STORED, 1, Ok(()), &mut effects);
    assert_eq!(effects, [PullEffect::Locate { stored: STORED, owner: OWNER, failed: None, near: vec![] }]);
    core.on_source(STORED, Ok(NodeId(2)), &mut effects);
    let asked = fetches(&mut effects);
    core.sanity_check();
    (core, asked)
}

#[test]
fn an_object_is_complete_when_each_chunk_has_come_once() {
    let (mut core, mut asked) = fetching(6);
    assert_eq!(asked.len(), 4, "no more than may be under way");
    let (mut effects, mut offsets) = (Vec::new(), Vec::new());
    while let Some((chunk, from)) = asked.pop() {
        offsets.push(chunk.offset);
        core.on_chunk(chunk, from, true, &mut effects);
        core.sanity_check();
        asked.extend(fetches(&mut effects));
    }
    offsets.sort_unstable();
    assert_eq!(offsets, (0..6).map(|n| n * CHUNK_BYTES).collect::<Vec<_>>());
    assert_eq!(effects, [PullEffect::Complete(STORED, OWNER)]);
}

#[test]
fn a_lost_source_is_replaced_and_what_has_come_is_kept() {
    let (mut core, asked) = fetching(4);
    let mut effects = Vec::new();
    core.on_chunk(asked[0].0, NodeId(2), true, &mut effects);
    for (chunk, from) in &asked[1..3] {
        core.on_chunk(*chunk, *from, false, &mut effects);
    }
    let locate = PullEffect::Locate { stored: STORED, owner: OWNER, failed: Some(NodeId(2)), near: vec![] };
    assert_eq!(effects, [locate], "told once, however many chunks fail");
    effects.clear();
    core.on_source(STORED, Ok(NodeId(3)), &mut effects);
    let again = fetches(&mut effects);
    assert_eq!(
        again.iter().map(|(chunk, from)| (chunk.offset, from.0)).collect::<Vec<_>>(),
        [(asked[1].0.offset, 3), (asked[2].0.offset, 3)]
    );
    // The last of the old source's comes after all.
    core.on_chunk(asked[3].0, NodeId(2), true, &mut effects);
    again.iter().for_each(|(chunk, from)| core.on_chunk(*chunk, *from, true, &mut effects));
    assert_eq!(effects, [PullEffect::Complete(STORED, OWNER)]);
}

#[test]
fn a_chunk_of_an_earlier_pull_does_not_count_for_a_later() {
    let (mut core, asked) = fetching(1);
    let mut effects = Vec::new();
    core.on_unwanted(STORED, &mut effects);
    assert_eq!(effects, [PullEffect::GaveUp(STORED, OWNER)]);
    effects.clear();
    core.on_wanted(STORED, OWNER, CHUNK_BYTES, &mut effects);
    core.on_room(STORED, 2, Ok(()), &mut effects);
    core.on_source(STORED, Ok(NodeId(2)), &mut effects);
    assert_eq!(fetches(&mut effects).len(), 1);
    effects.clear();
    core.on_chunk(asked[0].0, NodeId(2), true, &mut effects);
    core.sanity_check();
    assert_eq!((effects, core.len()), (vec![], 1));
}

#[test]
fn what_a_neighbour_has_is_borrowed_and_takes_no_room() {
    let (mut core, mut effects) = (PullCore::new(LIMITS), Vec::new());
    core.on_neighbour(STORED.node);
    core.on_wanted(STORED, OWNER, 9 * CHUNK_BYTES, &mut effects);
    let from = Lender { node: STORED.node, number: 1 };
    assert_eq!(effects, [PullEffect::Borrow(STORED, from)]);
    effects.clear();
    core.on_lent(STORED, from, true, &mut effects);
    assert_eq!(effects, [PullEffect::Borrowed(STORED, from)]);
    effects.clear();
    // Asked again, not wanted any more, and lent after that.
    core.on_wanted(STORED, OWNER, 9 * CHUNK_BYTES, &mut effects);
    core.on_unwanted(STORED, &mut effects);
    effects.clear();
    let late = Lender { number: 2, ..from };
    core.on_lent(STORED, late, true, &mut effects);
    assert_eq!(effects, [PullEffect::Return(STORED, late)]);
}

#[test]
fn what_is_not_lent_is_fetched() {
    for gone in [false, true] {
        let (mut core, mut effects) = (PullCore::new(LIMITS), Vec::new());
        core.on_neighbour(STORED.node);
        core.on_wanted(STORED, OWNER, CHUNK_BYTES, &mut effects);
        effects.clear();
        match gone {
            true => core.on_node_gone(STORED.node, &mut effects),
            false => core.on_lent(STORED, Lender { node: STORED.node, number: 1 }, false, &mut effects),
        }
        assert_eq!(effects, [PullEffect::Reserve { stored: STORED, pull: 1, bytes: CHUNK_BYTES }]);
        core.on_room(STORED, 1, Ok(()), &mut effects);
        core.on_source(STORED, Ok(STORED.node), &mut effects);
        assert_eq!(fetches(&mut effects).len(), 1, "it is not asked to lend it twice");
    }
}

#[test]
fn a_copy_on_the_same_machine_is_borrowed_and_the_room_given_back() {
    let (mut core, mut effects) = (PullCore::new(LIMITS), Vec::new());
    core.on_neighbour(NodeId(7));
    core.on_wanted(STORED, OWNER, CHUNK_BYTES, &mut effects);
    core.on_room(STORED, 1, Ok(()), &mut effects);
    let near = vec![NodeId(7)];
    assert_eq!(effects.pop(), Some(PullEffect::Locate { stored: STORED, owner: OWNER, failed: None, near }));
    effects.clear();
    core.on_source(STORED, Ok(NodeId(7)), &mut effects);
    core.sanity_check();
    let from = Lender { node: NodeId(7), number: 1 };
    let gave_up = PullEffect::GaveUp(STORED, OWNER);
    assert_eq!(effects, [PullEffect::GiveBack(STORED), gave_up, PullEffect::Borrow(STORED, from)]);
}

#[test]
fn an_object_comes_to_a_machine_once() {
    const CHUNKS: u64 = 10;
    for seed in 0..100 {
        let mut world = World::new(seed, 16, 0).on_machines(4);
        (1..16).for_each(|node| world.want(node, CHUNKS * CHUNK_BYTES));
        while world.step() {}
        let served = world.complete.iter().zip(&world.borrowed).all(|(complete, borrowed)| *complete || *borrowed);
        assert!(served, "seed {seed}");
        assert_eq!(world.sent.iter().sum::<u64>(), 3 * CHUNKS, "seed {seed}: once for each other machine");
    }
}

#[test]
fn what_is_not_lent_and_nodes_that_are_lost_are_made_good_on_machines_too() {
    const CHUNKS: u64 = 6;
    for seed in 0..200 {
        let mut world = World::new(seed, 9, 5).on_machines(3);
        (1..9).for_each(|node| world.want(node, CHUNKS * CHUNK_BYTES));
        while world.directory.places(STORED).len() < 3 {
            assert!(world.step(), "seed {seed}");
        }
        world.kill(0);
        while world.step() {}
        let served = (1..9).all(|node| world.complete[node] || world.borrowed[node]);
        assert!(served, "seed {seed}: {:?} {:?}", world.complete, world.borrowed);
    }
}

#[test]
fn who_is_killed_while_it_waits_and_whoever_wants_it_next_leave_nothing_behind() {
    const BYTES: u64 = 5 * CHUNK_BYTES;
    for seed in 0..300 {
        // Some neighbours are met late, and machines are larger than what owners are told of.
        let of = [1, 3, 22][seed as usize % 3];
        let mut world = World::new(seed, 22, 5);
        for node in 1..22 {
            world.later(Event::Want(node, BYTES));
            for _ in 0..world.rng.below(4) {
                world.now = Millis(world.now.0 + world.rng.below(4));
                world.later(Event::Unwant(node));
                world.later(Event::Want(node, BYTES));
            }
        }
        world.now = Millis(0);
        for _ in 0..world.rng.below(60) {
            world.step();
        }
        world = world.on_machines_of(of);
        while world.step() {}
        (1..22).for_each(|node| world.later(Event::Want(node, BYTES)));
        while world.step() {}
        let served = (0..22).all(|node| world.complete[node] || world.borrowed[node]);
        assert!(served, "seed {seed}: {:?} {:?}", world.complete, world.borrowed);
        assert!(world.nodes.iter().all(PullCore::is_empty), "seed {seed}");
        assert_eq!(world.directory.under_way(STORED), 0, "seed {seed}: nobody is thought to fetch");
    }
}

#[test]
fn what_is_admitted_is_bounded_and_the_first_is_admitted_whatever_its_size() {
    let (mut core, mut effects) = (PullCore::new(LIMITS), Vec::new());
    let of = |serial| StoredId { node: NodeId(1), serial };
    core.on_wanted(of(1), OWNER, LIMITS.admitted_bytes_max * 2, &mut effects);
    core.on_wanted(of(2), OWNER, 1, &mut effects);
    core.on_wanted(of(2), OWNER, 1, &mut effects);
    core.sanity_check();
    assert_eq!(effects, [PullEffect::Reserve { stored: of(1), pull: 1, bytes: LIMITS.admitted_bytes_max * 2 }]);
    effects.clear();
    core.on_room(of(1), 1, Err("the store is full".to_owned()), &mut effects);
    let failed = PullEffect::Failed(of(1), "the store is full".to_owned());
    assert_eq!(
        effects,
        [failed, PullEffect::GaveUp(of(1), OWNER), PullEffect::Reserve { stored: of(2), pull: 2, bytes: 1 }]
    );
}

/// A generator of its own, so that a seed gives the same run everywhere.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

enum Event {
    GaveUp(usize),
    Want(usize, u64),
    Unwant(usize),
    Chunk(usize, Chunk, NodeId, bool),
    Source(usize, Result<NodeId, String>),
    Locate(usize, Option<NodeId>, Vec<NodeId>),
    Lent(usize, Lender, bool),
    Copied(usize),
    Room(usize, u64),
}

/// One owner, and nodes that all want its object: node 0 has it.
struct World {
    rng: Rng,
    now: Millis,
    directory: DirectoryCore,
    nodes: Vec<PullCore>,
    alive: Vec<bool>,
    complete: Vec<bool>,
    borrowed: Vec<bool>,
    events: BTreeMap<(Millis, u64), Event>,
    count: u64,
    sent: Vec<u64>,
    lost_percent: u64,
    /// When the last word between each node and the owner is heard: they come in order.
    to_owner: Vec<Millis>,
    from_owner: Vec<Millis>,
}

fn id(node: usize) -> NodeId {
    NodeId(node as u128 + 1)
}

impl World {
    fn new(seed: u64, nodes: usize, lost_percent: u64) -> Self {
        let mut directory = DirectoryCore::default();
        directory.on_owned(STORED);
        let mut complete = vec![false; nodes];
        complete[0] = true;
        Self {
            rng: Rng(seed * 2 + 1),
            now: Millis(0),
            directory,
            nodes: (0..nodes).map(|_| PullCore::new(LIMITS)).collect(),
            alive: vec![true; nodes],
            complete,
            borrowed: vec![false; nodes],
            events: BTreeMap::new(),
            count: 0,
            sent: vec![0; nodes],
            lost_percent,
            to_owner: vec![Millis(0); nodes],
            from_owner: vec![Millis(0); nodes],
        }
    }

    /// So many nodes on each machine.
    fn on_machines(self, of: usize) -> Self {
        assert_eq!(self.nodes.len() % of, 0);
        self.on_machines_of(of)
    }

    /// The last may have fewer.
    fn on_machines_of(mut self, of: usize) -> Self {
        let all = self.nodes.len();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let machine = at / of * of;
            let others = (machine..(machine + of).min(all)).filter(|other| *other != at);
            others.for_each(|other| node.on_neighbour(id(other)));
        }
        self
    }

    fn later(&mut self, event: Event) {
        self.count += 1;
        let at = Millis(self.now.0 + 1 + self.rng.below(20));
        self.events.insert((at, self.count), event);
    }

    fn later_in_order(&mut self, node: usize, to_owner: bool, event: Event) {
        let at = self.now.0 + 1 + self.rng.below(20);
        let last = if to_owner { &mut self.to_owner[node] } else { &mut self.from_owner[node] };
        *last = Millis(at.max(last.0));
        self.count += 1;
        self.events.insert((*last, self.count), event);
    }

    fn want(&mut self, node: usize, bytes: u64) {
        let mut effects = Vec::new();
        self.nodes[node].on_wanted(STORED, OWNER, bytes, &mut effects);
        self.pulled(node, effects);
    }

    fn pulled(&mut self, node: usize, effects: Vec<PullEffect>) {
        self.nodes[node].sanity_check();
        for effect in effects {
            match effect {
                PullEffect::Locate { failed, near, .. } => {
                    self.later_in_order(node, true, Event::Locate(node, failed, near));
                }
                PullEffect::Borrow(_, from) => {
                    let of = from.node.0 as usize - 1;
                    let lends = self.complete[of] && self.alive[of] && self.rng.below(100) >= self.lost_percent;
                    self.later(Event::Lent(node, from, lends));
                }
                PullEffect::Borrowed(..) => self.borrowed[node] = true,
                PullEffect::Return(..) | PullEffect::GiveBack(_) => {}
                PullEffect::Reserve { pull, .. } => self.later(Event::Room(node, pull)),
                PullEffect::Fetch(chunk, from) => {
                    let source = from.0 as usize - 1;
                    assert!(self.complete[source], "only who has it is asked");
                    let came = self.alive[source] && self.rng.below(100) >= self.lost_percent;
                    self.sent[source] += u64::from(came);
                    self.later(Event::Chunk(node, chunk, from, came));
                }
                PullEffect::Complete(..) => {
                    self.complete[node] = true;
                    self.later_in_order(node, true, Event::Copied(node));
                }
                PullEffect::Failed(_, why) => panic!("node {node}: {why}"),
                PullEffect::GaveUp(..) => self.later_in_order(node, true, Event::GaveUp(node)),
            }
        }
    }

    fn directed(&mut self, effects: Vec<DirectoryEffect>) {
        self.directory.sanity_check();
        for effect in effects {
            if let DirectoryEffect::Source { to, from, .. } = effect {
                let node = to.0 as usize - 1;
                self.later_in_order(node, false, Event::Source(node, from));
            }
        }
    }

    fn kill(&mut self, node: usize) {
        self.alive[node] = false;
        let mut effects = Vec::new();
        self.directory.on_node_gone(id(node), &mut effects);
        self.directed(effects);
        for other in 0..self.nodes.len() {
            let mut effects = Vec::new();
            self.nodes[other].on_node_gone(id(node), &mut effects);
            self.pulled(other, effects);
        }
    }

    fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = at;
        let (mut pulled, mut directed) = (Vec::new(), Vec::new());
        let node = match event {
            Event::Chunk(node, chunk, from, came) => {
                self.nodes[node].on_chunk(chunk, from, came, &mut pulled);
                node
            }
            Event::Source(node, from) => {
                self.nodes[node].on_source(STORED, from, &mut pulled);
                node
            }
            Event::Room(node, pull) => {
                self.nodes[node].on_room(STORED, pull, Ok(()), &mut pulled);
                node
            }
            Event::GaveUp(node) => {
                if self.alive[node] {
                    self.directory.on_dropped(STORED, id(node), &mut directed);
                }
                node
            }
            Event::Want(node, bytes) => {
                if !self.complete[node] && !self.borrowed[node] {
                    self.nodes[node].on_wanted(STORED, OWNER, bytes, &mut pulled);
                }
                node
            }
            Event::Unwant(node) => {
                self.nodes[node].on_unwanted(STORED, &mut pulled);
                node
            }
            Event::Locate(node, failed, near) => {
                if self.alive[node] {
                    self.directory.on_locate(STORED, id(node), failed, near, &mut directed);
                }
                node
            }
            Event::Lent(node, from, lends) => {
                self.nodes[node].on_lent(STORED, from, lends, &mut pulled);
                node
            }
            Event::Copied(node) => {
                if self.alive[node] {
                    self.directory.on_copied(STORED, id(node), &mut directed);
                }
                node
            }
        };
        if self.alive[node] {
            self.pulled(node, pulled);
        }
        self.directed(directed);
        true
    }
}

#[test]
fn a_broadcast_spreads_as_a_tree() {
    const CHUNKS: u64 = 10;
    for seed in 0..50 {
        let mut world = World::new(seed, 16, 0);
        (1..16).for_each(|node| world.want(node, CHUNKS * CHUNK_BYTES));
        while world.step() {}
        assert!(world.complete.iter().all(|complete| *complete), "seed {seed}");
        assert_eq!(world.sent.iter().sum::<u64>(), 15 * CHUNKS, "seed {seed}: nothing is sent twice");
        let busiest = world.sent.iter().max().copied().unwrap();
        assert!(busiest <= 8 * CHUNKS, "seed {seed}: one node sent {busiest} chunks of {}", 15 * CHUNKS);
    }
}

#[test]
fn lost_chunks_and_lost_nodes_are_made_good() {
    const CHUNKS: u64 = 20;
    for seed in 0..200 {
        let mut world = World::new(seed, 6, 3);
        world.want(1, CHUNKS * CHUNK_BYTES);
        while !world.complete[1] {
            assert!(world.step(), "seed {seed}");
        }
        while world.directory.places(STORED).len() < 2 {
            assert!(world.step(), "seed {seed}");
        }
        (2..6).for_each(|node| world.want(node, CHUNKS * CHUNK_BYTES));
        for _ in 0..30 {
            world.step();
        }
        world.kill(0);
        while world.step() {}
        assert!(world.complete.iter().all(|complete| *complete), "seed {seed}");
    }
}
