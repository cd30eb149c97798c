//! Groups that are placed in two phases, by nodes that say yes or no.

use actinic_gcs::{resources::CPU, WorkerId};

use super::*;

const GROUP: PlacementGroupId = PlacementGroupId(7);

struct Kit {
    core: GroupCore,
    free: BTreeMap<NodeId, ResourceSet>,
    effects: Vec<GroupEffect>,
}

fn asker() -> Asker {
    Asker { process: ProcessId { node: NodeId(1), worker: WorkerId(1) }, job: JobId(1) }
}

fn cpus(units: f64) -> ResourceSet {
    ResourceSet::new().with(CPU, units)
}

fn kit(nodes: &[(u128, f64)]) -> Kit {
    let free = nodes.iter().map(|(id, units)| (NodeId(*id), cpus(*units))).collect();
    Kit { core: GroupCore::new(NodeId(1)), free, effects: Vec::new() }
}

impl Kit {
    fn create(&mut self, bundles: &[f64], strategy: PlacementStrategy) {
        let bundles = bundles.iter().map(|units| cpus(*units)).collect();
        let request = GroupRequest { id: GROUP, bundles, strategy, wait_for_nodes: true };
        self.core.on_create(asker(), request, &mut self.effects);
    }

    fn pass(&mut self, now: u64) -> Vec<GroupEffect> {
        let free = self.free.clone();
        self.core.pass(Millis(now), || free, &mut self.effects);
        self.take()
    }

    fn take(&mut self) -> Vec<GroupEffect> {
        self.core.sanity_check();
        std::mem::take(&mut self.effects)
    }

    fn answer(&mut self, now: u64, node: u128, round: u64, taken: bool) -> Vec<GroupEffect> {
        self.core.on_prepared(Millis(now), NodeId(node), (GROUP, round), taken, &mut self.effects);
        self.take()
    }
}

/// The nodes that are asked, and the attempt.
fn prepared(effects: &[GroupEffect]) -> (Vec<u128>, u64) {
    let asked = effects.iter().filter_map(|effect| match effect {
        GroupEffect::Send(node, GroupFrame::Prepare { round, .. }) => Some((node.0, *round)),
        _ => None,
    });
    let all: Vec<_> = asked.collect();
    (all.iter().map(|(node, _)| *node).collect(), all.first().map_or(0, |(_, round)| *round))
}

fn told(effects: &[GroupEffect]) -> Vec<GroupNews> {
    let tell = |effect: &GroupEffect| match effect {
        GroupEffect::Tell(_, _, news) => Some(news.clone()),
        _ => None,
    };
    effects.iter().filter_map(tell).collect()
}

#[test]
fn a_group_is_placed_once_all_nodes_have_said_yes() {
    let mut kit = kit(&[(1, 2.0), (2, 2.0)]);
    kit.create(&[1.0, 1.0], PlacementStrategy::StrictSpread);
    let (nodes, round) = prepared(&kit.pass(0));
    assert_eq!(nodes, [1, 2]);
    assert_eq!(told(&kit.answer(1, 1, round, true)), []);
    let placed = kit.answer(1, 2, round, true);
    let commits = placed.iter().filter(|effect| matches!(effect, GroupEffect::Send(_, GroupFrame::Commit(_))));
    assert_eq!(commits.count(), 2);
    assert_eq!(told(&placed), [GroupNews::Placed(vec![NodeId(1), NodeId(2)])]);
    assert!(!kit.core.is_busy());
}

#[test]
fn one_no_gives_everything_back_and_the_group_is_tried_again() {
    let mut kit = kit(&[(1, 2.0), (2, 2.0)]);
    kit.create(&[1.0, 1.0], PlacementStrategy::StrictSpread);
    let (_, round) = prepared(&kit.pass(0));
    kit.answer(0, 1, round, true);
    let undone = kit.answer(0, 2, round, false);
    let released = undone.iter().filter(|effect| matches!(effect, GroupEffect::Send(_, GroupFrame::Release(..))));
    assert_eq!(released.count(), 2);
    assert_eq!(kit.pass(RETRY_MS - 1), []);
    let (nodes, again) = prepared(&kit.pass(RETRY_MS));
    assert_eq!(nodes.len(), 2);
    assert_eq!(kit.answer(RETRY_MS, 1, round, true), [], "an answer to the first attempt is not heard");
    assert!(again > round);
}

#[test]
fn who_does_not_answer_counts_as_a_no() {
    let mut kit = kit(&[(1, 2.0)]);
    kit.create(&[1.0], PlacementStrategy::Pack);
    kit.pass(0);
    let undone = kit.pass(ANSWER_MS_MAX);
    assert!(matches!(&undone[..], [GroupEffect::Send(_, GroupFrame::Release(..))]), "{undone:?}");
}

#[test]
fn what_does_not_fit_takes_nothing_and_waits() {
    let mut kit = kit(&[(1, 2.0)]);
    kit.create(&[1.0, 1.0], PlacementStrategy::StrictSpread);
    assert_eq!(kit.pass(0), []);
    assert_eq!(kit.core.waiting().len(), 1);
    kit.free.insert(NodeId(2), cpus(1.0));
    assert_eq!(prepared(&kit.pass(RETRY_MS)).0, [1, 2]);
}

#[test]
fn bundles_of_a_lost_node_are_placed_again_and_the_others_stay() {
    let mut kit = kit(&[(1, 1.0), (2, 1.0)]);
    kit.create(&[1.0, 1.0], PlacementStrategy::StrictSpread);
    let (_, round) = prepared(&kit.pass(0));
    kit.answer(0, 1, round, true);
    kit.answer(0, 2, round, true);
    kit.core.on_node_gone(Millis(100), NodeId(2), &mut kit.effects);
    assert_eq!(told(&kit.take()), [GroupNews::Lost(NodeId(2))]);
    kit.free = [(NodeId(1), cpus(0.0)), (NodeId(3), cpus(1.0))].into();
    let (nodes, round) = prepared(&kit.pass(200));
    assert_eq!(nodes, [3]);
    let placed = kit.answer(200, 3, round, true);
    let mut at = match &told(&placed)[..] {
        [GroupNews::Placed(at)] => at.clone(),
        other => panic!("{other:?}"),
    };
    at.sort_unstable();
    assert_eq!(at, [NodeId(1), NodeId(3)]);
}

#[test]
fn a_removed_group_is_released_everywhere_also_in_the_middle_of_an_attempt() {
    let mut kit = kit(&[(1, 1.0)]);
    kit.create(&[1.0], PlacementStrategy::Pack);
    kit.pass(0);
    kit.core.on_job_gone(JobId(1), &mut kit.effects);
    let effects = kit.take();
    let [release, gone, record] = &effects[..] else { panic!("{effects:?}") };
    assert!(matches!(release, GroupEffect::Send(_, GroupFrame::Release(..))));
    assert_eq!((gone, record), (&GroupEffect::Broadcast(GroupFrame::Gone(GROUP)), &GroupEffect::Record(GROUP)));
}

#[test]
fn a_request_that_makes_no_sense_is_refused() {
    let mut kit = kit(&[(1, 1.0)]);
    kit.create(&[], PlacementStrategy::Pack);
    assert!(matches!(&told(&kit.take())[..], [GroupNews::Refused(_)]));
}
