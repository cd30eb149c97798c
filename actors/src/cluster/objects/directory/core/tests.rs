//! Where objects are, with hand-made owners and nodes.

use super::*;

fn node(n: u128) -> NodeId {
    NodeId(n)
}

const STORED: StoredId = StoredId { node: NodeId(1), serial: 1 };

struct Bench(DirectoryCore);

impl Bench {
    fn new() -> Self {
        let mut core = DirectoryCore::default();
        core.on_owned(STORED);
        Self(core)
    }

    /// Who was told of which source.
    fn act(&mut self, act: impl FnOnce(&mut DirectoryCore, &mut Vec<DirectoryEffect>)) -> Vec<(u128, Option<u128>)> {
        let mut effects = Vec::new();
        act(&mut self.0, &mut effects);
        self.0.sanity_check();
        let told = effects.into_iter().map(|effect| match effect {
            DirectoryEffect::Source { to, from, .. } => (to.0, from.ok().map(|from| from.0)),
            DirectoryEffect::Free { at, .. } => (at.0, None),
        });
        told.collect()
    }

    fn locate(&mut self, to: u128, failed: Option<u128>) -> Vec<(u128, Option<u128>)> {
        self.act(|core, effects| core.on_locate(STORED, node(to), failed.map(node), vec![], effects))
    }

    /// It is wanted by a node that has others beside it.
    fn locate_beside(&mut self, to: u128, failed: Option<u128>, near: &[u128]) -> Vec<(u128, Option<u128>)> {
        let near: Vec<NodeId> = near.iter().copied().map(node).collect();
        self.act(|core, effects| core.on_locate(STORED, node(to), failed.map(node), near, effects))
    }

    fn copied(&mut self, at: u128) -> Vec<(u128, Option<u128>)> {
        self.act(|core, effects| core.on_copied(STORED, node(at), effects))
    }
}

#[test]
fn many_who_want_an_object_get_it_as_a_tree() {
    let mut bench = Bench::new();
    assert_eq!(bench.locate(2, None), [(2, Some(1))]);
    assert_eq!(bench.locate(3, None), [(3, Some(1))]);
    for to in 4..=7 {
        assert_eq!(bench.locate(to, None), [], "the only copy serves as many as it may");
    }
    // Each copy that is complete serves the next at once, besides the place that came free.
    assert_eq!(bench.copied(2), [(4, Some(2)), (5, Some(1)), (6, Some(2))]);
    assert_eq!(bench.copied(3), [(7, Some(3))]);
}

#[test]
fn a_source_that_failed_is_asked_last() {
    let mut bench = Bench::new();
    bench.locate(2, None);
    bench.copied(2);
    assert_eq!(bench.locate(3, None), [(3, Some(1))]);
    assert_eq!(bench.locate(3, Some(1)), [(3, Some(2))]);
    assert_eq!(bench.act(|core, effects| core.on_node_gone(node(2), effects)), []);
    assert_eq!(bench.locate(3, Some(2)), [(3, Some(1))], "there is no other");
    assert_eq!(bench.act(|core, effects| core.on_node_gone(node(1), effects)), []);
    assert_eq!(bench.locate(3, Some(1)), [(3, None)]);
}

#[test]
fn those_who_wait_for_a_source_hear_that_the_last_is_lost() {
    let mut bench = Bench::new();
    for to in 2..=4 {
        bench.locate(to, None);
    }
    assert_eq!(bench.act(|core, effects| core.on_node_gone(node(1), effects)), [(4, None)]);
}

#[test]
fn a_puller_that_gives_up_makes_room_for_the_next() {
    let mut bench = Bench::new();
    for to in 2..=4 {
        bench.locate(to, None);
    }
    assert_eq!(bench.act(|core, effects| core.on_dropped(STORED, node(2), effects)), [(4, Some(1))]);
}

#[test]
fn freeing_tells_every_copy_and_whoever_fetches_one() {
    let mut bench = Bench::new();
    bench.locate(2, None);
    bench.copied(2);
    bench.locate(3, None);
    bench.0.on_owned(STORED);
    assert_eq!(bench.act(|core, effects| core.on_released(STORED, effects)), [], "it is needed once more");
    assert_eq!(bench.act(|core, effects| core.on_released(STORED, effects)), [(2, None), (3, None)]);
    assert!(bench.0.is_empty());
    assert_eq!(bench.locate(4, None), [(4, None)]);
    assert_eq!(bench.copied(3), [(3, None)], "a copy that came late is freed as well");
}

#[test]
fn a_node_waits_for_the_copy_that_comes_to_its_machine() {
    let mut bench = Bench::new();
    assert_eq!(bench.locate_beside(2, None, &[3]), [(2, Some(1))]);
    assert_eq!(bench.locate_beside(3, None, &[2]), [], "though a source is free");
    assert_eq!(bench.locate(4, None), [(4, Some(1))], "who is elsewhere does not wait for that");
    assert_eq!(bench.copied(2), [(3, Some(2))]);
    // It takes nobody's place: two more may fetch from 2.
    assert_eq!(bench.locate(5, None), [(5, Some(2))]);
    assert_eq!(bench.locate(6, None), [(6, Some(1))]);
    assert_eq!(bench.locate(7, None), [(7, Some(2))]);
}

#[test]
fn a_node_that_waits_for_its_machine_is_told_when_that_has_failed() {
    let mut bench = Bench::new();
    bench.locate_beside(2, None, &[3]);
    bench.locate_beside(3, None, &[2]);
    assert_eq!(bench.act(|core, effects| core.on_node_gone(node(2), effects)), [(3, Some(1))]);
    bench.copied(3);
    assert_eq!(bench.locate_beside(2, Some(3), &[3]), [(2, Some(1))], "who could not read it there fetches it");
}
