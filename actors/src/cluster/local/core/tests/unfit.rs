//! Demands that a node cannot meet though its resources would do.

use super::*;

fn to(node: u128, soft: bool, cpus: f64) -> ClassSpec {
    spec(cpus, SchedulingStrategy::NodeAffinity { node: NodeId(node), soft })
}

#[test]
fn what_is_bound_to_this_node_goes_nowhere_else_however_long_it_waits() {
    let mut kit = kit(1.0);
    kit.peer(2);
    assert_eq!(needed(&kit.ask(0, 1, to(1, false, 1.0), 3)).len(), 1);
    assert_eq!(needed(&kit.ask(0, 2, to(1, true, 1.0), 1)).len(), 0);
    for now in [SPILL_AFTER_MS, REFRESH_MS, 2 * REFRESH_MS] {
        let effects = kit.pass(now);
        assert!(!effects.iter().any(|e| matches!(e, LocalEffect::Spill(_) | LocalEffect::Place(..))), "{effects:?}");
    }
}

#[test]
fn what_is_bound_to_a_node_that_can_never_meet_it_is_told_at_once_or_goes_elsewhere() {
    let mut kit = kit(2.0);
    kit.peer(2);
    for node in [1, 2] {
        let effects = kit.ask(0, 1, to(node, false, 9.0), 1);
        assert!(matches!(&effects[..], [LocalEffect::Infeasible(..)]), "{effects:?}");
    }
    let effects = kit.ask(0, 3, to(1, true, 3.0), 1);
    assert!(matches!(&effects[..], [LocalEffect::Spill(_)]), "{effects:?}");
    let effects = kit.ask(0, 4, to(2, true, 9.0), 1);
    assert!(matches!(&effects[..], [LocalEffect::Spill(_)]), "{effects:?}");
}

#[test]
fn a_job_whose_workers_cannot_be_started_here_asks_others() {
    let mut kit = kit(2.0);
    kit.peer(2);
    let first = needed(&kit.demand(0, 1, 1.0, 1));
    kit.core.on_unfit(JobId(1), Some("no space".to_owned()));
    kit.core.on_no_worker(lease(first[0]), "no space", &mut kit.effects);
    let effects = kit.pass(1);
    assert!(matches!(&effects[..], [LocalEffect::Spill(_)]), "{effects:?}");
    assert_eq!(kit.core.load(0, 0).unfit.len(), 1);
    // What is bound to this node hears of it.
    let effects = kit.ask(2, 2, to(1, false, 1.0), 1);
    assert!(matches!(&effects[..], [LocalEffect::Infeasible(_, _, why)] if why == "no space"), "{effects:?}");
    kit.core.on_place(Millis(2), Spilled { spec: to(1, false, 1.0), ..placed(process(2, 1), 1, 1) });
    let effects = kit.pass(2);
    assert!(matches!(&effects[..], [LocalEffect::Infeasible(owner, ..)] if *owner == process(2, 1)), "{effects:?}");
    kit.core.on_unfit(JobId(1), None);
    assert_eq!(needed(&kit.pass(3)).len(), 1);
}
