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

#[test]
fn what_would_rather_be_on_a_node_that_is_unfit_goes_elsewhere() {
    // As the node that is unfit sees it.
    let mut there = kit(2.0);
    there.peer(2);
    there.core.on_unfit(JobId(1), Some("no space".to_owned()));
    there.core.on_place(Millis(0), Spilled { spec: to(1, true, 1.0), ..placed(process(2, 1), 1, 1) });
    assert_eq!(there.pass(0), [LocalEffect::Unfit(NodeId(2), JobId(1))]);
    // And the one that has placed it there; this one will do for it too.
    let mut home = kit(2.0);
    home.peer(2);
    let effects = home.ask(0, 1, to(2, true, 1.0), 1);
    assert!(matches!(&effects[..], [LocalEffect::Place(NodeId(2), _)]), "{effects:?}");
    home.core.on_peer_unfit(Millis(1), NodeId(2), JobId(1));
    assert_eq!(needed(&home.pass(1)).len(), 1);
    // Its own node is unfit, too: so others are asked.
    home.core.on_unfit(JobId(1), Some("no space".to_owned()));
    let effects = home.ask(2, 2, to(1, true, 1.0), 1);
    assert!(matches!(&effects[..], [.., LocalEffect::Spill(_)]), "{effects:?}");
}

#[test]
fn a_node_that_is_waited_for_in_vain_makes_nobody_look_again_and_again() {
    let mut kit = kit(1.0);
    (2..=3).for_each(|node| kit.peer(node));
    kit.ask(0, 1, to(2, true, 1.0), 1);
    kit.ask(0, 2, to(3, false, 1.0), 1);
    kit.core.on_peer_gone(Millis(1_000), NodeId(2), &mut kit.effects);
    kit.core.on_peer_gone(Millis(9_000), NodeId(3), &mut kit.effects);
    let mut now = 9_000;
    for _ in 0..100 {
        kit.pass(now);
        let Some(due) = kit.core.deadline() else { break };
        assert!(due.0 > now, "{due:?} after {now}");
        now = due.0;
    }
    assert!(now >= 9_000 + LOST_MS_MAX);
}
