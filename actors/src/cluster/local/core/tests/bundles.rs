//! Bundles of placement groups on one node.

use actinic_gcs::PlacementGroupId;

use super::{
    super::{bundles::PREPARED_MS_MAX, doomed::DOOMED_MS},
    *,
};
use crate::cluster::groups::{GroupFrame, Site};

const GROUP: PlacementGroupId = PlacementGroupId(7);
const HOME: NodeId = NodeId(9);

fn cpus(units: f64) -> ResourceSet {
    ResourceSet::new().with(CPU, units)
}

impl Kit {
    fn group(&mut self, now: u64, frame: GroupFrame) {
        self.core.on_group(Millis(now), HOME, frame, &mut self.effects);
    }

    fn prepare(&mut self, now: u64, bundles: &[(u32, f64)]) -> bool {
        let bundles = bundles.iter().map(|(index, units)| (*index, cpus(*units))).collect();
        self.group(now, GroupFrame::Prepare { group: GROUP, round: 1, bundles });
        match self.effects.pop() {
            Some(LocalEffect::Group(HOME, GroupFrame::Prepared { taken, .. })) => taken,
            other => panic!("{other:?}"),
        }
    }

    fn free(&self) -> f64 {
        self.core.load(0, 0).free.of(CPU).units()
    }

    /// Where the group is: bundle 0 here, bundle 1 on node 2.
    fn locate(&mut self) {
        let bundles = vec![(cpus(1.0), Some(NodeId(1))), (cpus(1.0), Some(NodeId(2)))];
        self.group(0, GroupFrame::Where(Site { group: GROUP, home: HOME, bundles }));
    }

    fn ask_in(&mut self, now: u64, bundle: Option<u32>, want: u32) -> Vec<LocalEffect> {
        self.ask(now, 1, spec(1.0, SchedulingStrategy::PlacementGroup { group: GROUP, bundle }), want)
    }
}

#[test]
fn bundles_are_taken_all_or_none_and_given_back_unless_they_are_committed() {
    let mut kit = kit(3.0);
    assert!(!kit.prepare(0, &[(0, 2.0), (1, 2.0)]));
    assert_eq!(kit.free(), 3.0);
    assert!(kit.prepare(0, &[(0, 2.0), (1, 1.0)]));
    assert_eq!(kit.free(), 0.0);
    kit.pass(PREPARED_MS_MAX);
    assert_eq!(kit.free(), 3.0);
}

#[test]
fn a_demand_for_a_group_is_granted_in_its_bundle_only() {
    let mut kit = kit(4.0);
    assert!(kit.prepare(0, &[(0, 1.0)]));
    kit.group(0, GroupFrame::Commit(GROUP));
    assert_eq!(kit.ask_in(0, Some(0), 2), [], "nobody knows yet where it is");
    kit.locate();
    let granted = needed(&kit.pass(1));
    assert_eq!(granted.len(), 1, "one fits into the bundle, though the node has more");
    kit.group(2, GroupFrame::Release(GROUP, vec![0]));
    assert_eq!(kit.free(), 3.0, "what runs in it keeps it");
    kit.core.on_return(lease(granted[0]), &mut kit.effects);
    kit.pass(2);
    assert_eq!(kit.free(), 4.0);
}

#[test]
fn a_demand_for_a_bundle_on_another_node_goes_there_by_name() {
    let mut kit = kit(4.0);
    kit.peer(2);
    kit.locate();
    let effects = kit.ask_in(0, Some(1), 3);
    assert!(matches!(&effects[..], [LocalEffect::Place(NodeId(2), placed)] if placed.want == 3), "{effects:?}");
    let again = kit.pass(REFRESH_MS);
    assert!(matches!(&again[..], [LocalEffect::Place(NodeId(2), _)]), "{again:?}");
    let less = kit.ask_in(REFRESH_MS, Some(1), 0);
    assert!(matches!(&less[..], [LocalEffect::Place(NodeId(2), placed)] if placed.want == 0), "{less:?}");
}

#[test]
fn who_wants_what_no_bundle_has_is_told_and_so_is_who_waits_for_a_group_that_is_gone() {
    let mut kit = kit(4.0);
    kit.locate();
    let effects = kit.ask_in(0, Some(5), 1);
    assert!(matches!(&effects[..], [LocalEffect::Infeasible(.., why)] if why.contains("none of index 5")));
    kit.group(0, GroupFrame::Gone(GROUP));
    let effects = kit.ask_in(0, Some(0), 1);
    assert!(matches!(&effects[..], [LocalEffect::Infeasible(.., why)] if why.contains("removed")));
}

#[test]
fn groups_go_with_the_node_that_has_placed_them() {
    let mut kit = kit(4.0);
    assert!(kit.prepare(0, &[(0, 1.0)]));
    kit.group(0, GroupFrame::Commit(GROUP));
    kit.core.on_peer_gone(Millis(0), HOME, &mut kit.effects);
    assert_eq!(kit.free(), 4.0);
}

#[test]
fn what_runs_in_a_group_ends_soon_after_it() {
    let mut kit = kit(4.0);
    assert!(kit.prepare(0, &[(0, 3.0)]));
    kit.group(0, GroupFrame::Commit(GROUP));
    kit.locate();
    let granted = needed(&kit.ask_in(0, Some(0), 3));
    assert_eq!(granted.len(), 3);
    let (idle, busy, starting) = (lease(granted[0]), lease(granted[1]), lease(granted[2]));
    for (held, worker) in [(idle, 7), (busy, 8)] {
        kit.core.on_worker(held, process(1, worker), &mut kit.effects);
    }
    kit.pass(1);
    kit.group(2, GroupFrame::Release(GROUP, vec![0]));
    kit.group(2, GroupFrame::Gone(GROUP));
    let effects = kit.pass(2);
    let asked = |held| effects.contains(&LocalEffect::Recall(process(1, 1), held));
    assert!(asked(idle) && asked(busy) && effects.contains(&LocalEffect::Ended(starting)), "{effects:?}");
    kit.core.on_return(idle, &mut kit.effects);
    assert_eq!(kit.core.deadline(), Some(Millis(2 + DOOMED_MS)));
    let effects = kit.pass(2 + DOOMED_MS);
    let killed: Vec<_> = effects.iter().filter(|effect| matches!(effect, LocalEffect::Kill(..))).collect();
    assert!(
        matches!(killed[..], [LocalEffect::Kill(worker, why)] if *worker == process(1, 8) && why.contains("removed"))
    );
    kit.core.on_gone(process(1, 8), &mut kit.effects);
    kit.pass(3 + DOOMED_MS);
    assert_eq!(kit.free(), 4.0);
}

#[test]
fn a_worker_that_actors_may_share_is_not_ended_for_a_group() {
    let mut kit = kit(4.0);
    assert!(kit.prepare(0, &[(0, 1.0)]));
    kit.group(0, GroupFrame::Commit(GROUP));
    kit.locate();
    let keeper = ProcessId::manager(NodeId(1));
    let strategy = SchedulingStrategy::PlacementGroup { group: GROUP, bundle: Some(0) };
    let (work, class) = (Work::default(), ClassId(0));
    let demand = Demand { class, spec: spec(1.0, strategy), want: 1, elsewhere: 0, work, revision: 1 };
    kit.core.on_demand(Millis(0), keeper, &code(keeper), demand, &mut kit.effects);
    let granted = lease(needed(&kit.pass(0))[0]);
    kit.core.on_worker(granted, process(1, 7), &mut kit.effects);
    kit.group(1, GroupFrame::Gone(GROUP));
    assert!(kit.pass(1).contains(&LocalEffect::Recall(keeper, granted)), "its keeper ends the actor");
    let effects = kit.pass(1 + 10 * DOOMED_MS);
    assert!(!effects.iter().any(|effect| matches!(effect, LocalEffect::Kill(..))), "{effects:?}");
}
