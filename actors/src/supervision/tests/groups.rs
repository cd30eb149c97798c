//! Supervisors: strategies, rounds, escalation, stopping.

use super::*;
use crate::supervision::{Cause, SupervisionError};

/// Actors 1 to 4 under one supervisor.
fn four(strategy: Strategy, failures: u32) -> (Shell, SupervisorId) {
    let mut shell = Shell::new(1);
    let supervisor = shell.supervisor(ROOT, strategy, failures);
    (1..=4).for_each(|actor| shell.add(actor, supervisor, eager()));
    (shell, supervisor)
}

#[test]
fn one_for_one_restarts_the_failed_child_only() {
    let (mut shell, _) = four(Strategy::OneForOne, 9);
    assert_eq!(shell.fails(2), "restart 2");
}

#[test]
fn one_for_all_stops_in_reverse_and_restarts_in_start_order() {
    let (mut shell, _) = four(Strategy::OneForAll, 9);
    assert_eq!(shell.fails(2), "stop 4, stop 3, stop 1, restart 1, restart 2, restart 3, restart 4");
    assert_eq!(shell.core.restarts(ActorId(4)), Some(1));
}

#[test]
fn rest_for_one_spares_those_started_before() {
    let (mut shell, _) = four(Strategy::RestForOne, 9);
    assert_eq!(shell.fails(3), "stop 4, restart 3, restart 4");
}

#[test]
fn nobody_restarts_before_all_have_stopped() {
    let (mut shell, _) = four(Strategy::OneForAll, 9);
    shell.exit(2, failed());
    assert_eq!(shell.asked(), "stop 4, stop 3, stop 1");
    shell.exit(1, Exit::Normal);
    shell.exit(4, failed());
    assert_eq!(shell.asked(), "");
    shell.exit(3, Exit::Killed);
    assert_eq!(shell.asked(), "restart 1, restart 2, restart 3, restart 4");
}

#[test]
fn a_group_waits_for_the_back_off_of_the_failed_child() {
    let mut shell = Shell::new(1);
    let supervisor = shell.supervisor(ROOT, Strategy::OneForAll, 9);
    shell.add(1, supervisor, eager());
    shell.add(2, supervisor, ActorSpec { backoff: Backoff { jitter: 0.0, ..Backoff::default() }, ..eager() });
    assert_eq!(shell.fails(2), "stop 1");
    assert_eq!(shell.core.next_timer(), Some(MS));
    assert_eq!(shell.pass(MS), "restart 1, restart 2");
}

#[test]
fn a_second_failure_widens_a_round() {
    let (mut shell, _) = four(Strategy::RestForOne, 9);
    shell.exit(3, failed());
    shell.exit(2, failed());
    assert_eq!(shell.asked(), "stop 4");
    shell.exit(4, Exit::Normal);
    assert_eq!(shell.asked(), "restart 2, restart 3, restart 4");
}

#[test]
fn a_sibling_that_is_never_restarted_dies_in_a_round() {
    let (mut shell, supervisor) = four(Strategy::OneForAll, 9);
    shell.add(5, supervisor, of_policy(RestartPolicy::Never));
    shell.watch(1, 5);
    let log = shell.fails(1);
    assert!(log.starts_with("stop 5, stop 4, stop 3, stop 2, dead 5 GroupRestart, tell 1 of 5, restart 1"), "{log}");
}

#[test]
fn a_normal_end_leaves_the_siblings_alone() {
    let (mut shell, _) = four(Strategy::OneForAll, 9);
    shell.exit(2, Exit::Normal);
    assert_eq!(shell.obey(), "dead 2 Ended");
    assert_eq!(shell.fails(1), "stop 4, stop 3, restart 1, restart 3, restart 4");
}

#[test]
fn an_actor_killed_during_a_round_stays_dead() {
    let (mut shell, _) = four(Strategy::OneForAll, 9);
    shell.exit(2, failed());
    shell.kill(2);
    shell.kill(4);
    assert_eq!(shell.asked(), "stop 4, stop 3, stop 1, dead 2 Killed");
    [4, 3, 1].into_iter().for_each(|actor| shell.exit(actor, Exit::Normal));
    assert_eq!(shell.obey(), "dead 4 Killed, restart 1, restart 3");
}

#[test]
fn a_child_added_during_a_round_runs_on() {
    let (mut shell, supervisor) = four(Strategy::OneForAll, 9);
    shell.exit(2, failed());
    shell.add(5, supervisor, eager());
    assert_eq!(shell.obey(), "stop 4, stop 3, stop 1, restart 1, restart 2, restart 3, restart 4");
    assert_eq!(shell.core.restarts(ActorId(5)), Some(0));
}

#[test]
fn a_child_added_during_a_round_that_is_killed_holds_the_round_up() {
    let (mut shell, supervisor) = four(Strategy::OneForAll, 9);
    shell.exit(2, failed());
    shell.add(5, supervisor, eager());
    shell.kill(5);
    [4, 3, 1].into_iter().for_each(|actor| shell.exit(actor, Exit::Normal));
    assert_eq!(shell.asked(), "stop 4, stop 3, stop 1, stop 5");
    shell.exit(5, Exit::Normal);
    assert_eq!(shell.asked(), "dead 5 Killed, restart 1, restart 2, restart 3, restart 4");
}

#[test]
fn a_supervisor_over_its_limit_is_restarted_by_its_parent() {
    let (mut shell, supervisor) = four(Strategy::OneForOne, 1);
    shell.add(9, ROOT, eager());
    assert_eq!(shell.fails(2), "restart 2");
    let whole = format!("escalate {} to 0, stop 4, stop 3, stop 1", supervisor.0);
    assert_eq!(shell.fails(2), format!("{whole}, restart 1, restart 2, restart 3, restart 4"));
    assert_eq!(shell.fails(2), "restart 2", "it bears failures anew");
}

#[test]
fn a_restarted_supervisor_waits_for_its_own_back_off() {
    let mut shell = Shell::new(9);
    let backoff = Backoff { first: MS * 7, jitter: 0.0, ..Backoff::default() };
    let spec = SupervisorSpec { backoff, ..bearing(Strategy::OneForOne, 0) };
    let supervisor = shell.core.add_supervisor(ROOT, spec).expect("the root is open");
    shell.add(1, supervisor, eager());
    shell.add(2, supervisor, eager());
    assert_eq!(shell.fails(1), format!("escalate {} to 0, stop 2", supervisor.0));
    assert_eq!(shell.core.next_timer(), Some(MS * 7));
    assert_eq!(shell.pass(MS * 7), "restart 1, restart 2");
}

#[test]
fn an_escalation_follows_the_strategy_of_the_parent() {
    let mut shell = Shell::new(0);
    let upper = shell.supervisor(ROOT, Strategy::RestForOne, 9);
    shell.add(1, upper, eager());
    let lower = shell.supervisor(upper, Strategy::OneForOne, 0);
    shell.add(2, lower, eager());
    shell.add(3, lower, eager());
    shell.add(4, upper, eager());
    let log = shell.fails(3);
    assert_eq!(log, format!("escalate {} to {}, stop 4, stop 2, restart 2, restart 3, restart 4", lower.0, upper.0));
}

#[test]
fn a_round_further_up_swallows_one_below() {
    let mut shell = Shell::new(0);
    let upper = shell.supervisor(ROOT, Strategy::OneForAll, 9);
    shell.add(1, upper, eager());
    let lower = shell.supervisor(upper, Strategy::OneForAll, 9);
    shell.add(2, lower, eager());
    shell.add(3, lower, eager());
    shell.exit(2, failed());
    shell.exit(1, failed());
    assert_eq!(shell.asked(), "stop 3");
    shell.exit(3, Exit::Normal);
    assert_eq!(shell.asked(), "restart 1, restart 2, restart 3");
}

#[test]
fn a_swallowed_round_keeps_its_back_off() {
    let mut shell = Shell::new(0);
    let upper = shell.supervisor(ROOT, Strategy::OneForAll, 9);
    shell.add(1, upper, eager());
    let lower = shell.supervisor(upper, Strategy::OneForAll, 9);
    let backoff = Backoff { first: MS * 5, jitter: 0.0, ..Backoff::default() };
    shell.add(2, lower, ActorSpec { backoff, ..eager() });
    assert_eq!(shell.fails(2), "");
    assert_eq!(shell.fails(1), "");
    assert_eq!(shell.core.next_timer(), Some(MS * 5));
    assert_eq!(shell.pass(MS * 5), "restart 1, restart 2");
}

#[test]
fn a_failure_below_a_round_delays_that_round() {
    let mut shell = Shell::new(0);
    let upper = shell.supervisor(ROOT, Strategy::OneForAll, 9);
    shell.add(1, upper, eager());
    let lower = shell.supervisor(upper, Strategy::OneForAll, 9);
    shell.add(2, lower, eager());
    shell.exit(1, failed());
    let backoff = Backoff { first: MS * 5, jitter: 0.0, ..Backoff::default() };
    shell.add(3, lower, ActorSpec { backoff, ..eager() });
    shell.exit(3, failed());
    assert_eq!(shell.obey(), "stop 2");
    assert_eq!(shell.pass(MS * 5), "restart 1, restart 2, restart 3");
}

#[test]
fn the_root_over_its_limit_takes_everything_down() {
    let (mut shell, supervisor) = four(Strategy::OneForOne, 0);
    shell.add(9, ROOT, eager());
    shell.watch(100, 3);
    shell.fails(2);
    shell.exit(2, failed());
    let down = "root failed, stop 9, stop 4, stop 3, stop 1, dead 2 RootFailed";
    assert_eq!(shell.asked(), format!("escalate {} to 0, {down}", supervisor.0));
    [9, 4, 3, 1].into_iter().for_each(|actor| shell.exit(actor, Exit::Normal));
    let gone = format!("dead 1 RootFailed, gone {}, gone 0", supervisor.0);
    assert_eq!(
        shell.asked(),
        format!("dead 9 RootFailed, dead 4 RootFailed, dead 3 RootFailed, tell 100 of 3, {gone}")
    );
    let refused = shell.core.add_child(ActorId(10), None, Arc::new(eager()));
    assert_eq!(refused, Err(SupervisionError::Closing(ROOT)));
}

#[test]
fn failures_of_its_own_actors_never_bring_the_root_down() {
    let mut shell = Shell::new(0);
    (1..=20).for_each(|actor| shell.add(actor, ROOT, ActorSpec { limit: RestartLimit::in_all(1), ..eager() }));
    for actor in 1..=20 {
        shell.fails(actor);
        assert_eq!(shell.fails(actor), format!("dead {actor} OverLimit"));
    }
}

#[test]
fn an_actor_over_its_own_limit_dies_alone_while_its_supervisor_can_bear_more() {
    let mut shell = Shell::new(0);
    let supervisor = shell.supervisor(ROOT, Strategy::OneForAll, 9);
    shell.add(1, supervisor, ActorSpec { limit: RestartLimit::in_all(1), ..eager() });
    shell.add(2, supervisor, eager());
    shell.fails(1);
    assert_eq!(shell.fails(1), "dead 1 OverLimit");
    assert_eq!(shell.fails(2), "restart 2");
}

#[test]
fn default_limits_escalate_rather_than_bury() {
    let mut shell = Shell::new(9);
    let supervisor = shell.core.add_supervisor(ROOT, SupervisorSpec::default()).expect("the root is open");
    shell.add(1, supervisor, ActorSpec { backoff: Backoff::NONE, ..ActorSpec::default() });
    (0..5).for_each(|_| assert_eq!(shell.fails(1), "restart 1"));
    assert_eq!(shell.fails(1), format!("escalate {} to 0", supervisor.0));
    assert_eq!(shell.pass(MS), "restart 1");
    assert_eq!(shell.fails(1), "restart 1", "what was counted within the window is forgiven");
}

#[test]
fn a_stopped_supervisor_ends_its_children_in_good_order() {
    let (mut shell, supervisor) = four(Strategy::OneForAll, 9);
    let inner = shell.supervisor(supervisor, Strategy::OneForOne, 9);
    shell.add(5, inner, eager());
    shell.add(6, ROOT, eager());
    shell.link(6, 5);
    shell.exit(1, failed());
    shell.exit(4, Exit::Normal);
    shell.effects.clear();
    assert_eq!(shell.core.stop_supervisor(supervisor, &mut shell.effects), Ok(()));
    shell.core.sanity_check();
    assert_eq!(shell.asked(), "dead 4 SupervisorStopped, dead 1 SupervisorStopped");
    [5, 3, 2].into_iter().for_each(|actor| shell.exit(actor, failed()));
    let (outer, inner) = (supervisor.0, inner.0);
    let deaths = format!("dead 5 SupervisorStopped, gone {inner}, dead 3 SupervisorStopped, dead 2 SupervisorStopped");
    assert_eq!(shell.obey(), format!("{deaths}, gone {outer}"));
    assert_eq!(shell.core.exit_of(ActorId(5)), Some(&Exit::Normal));
    assert_eq!(
        shell.core.stop_supervisor(supervisor, &mut shell.effects),
        Err(SupervisionError::UnknownSupervisor(supervisor))
    );
    assert!(shell.core.is_alive(ActorId(6)), "an end in good order fires no link");
}

#[test]
fn empty_supervisors_are_gone_at_once() {
    let mut shell = Shell::new(0);
    let outer = shell.supervisor(ROOT, Strategy::OneForAll, 9);
    let inner = shell.supervisor(outer, Strategy::OneForAll, 9);
    shell.core.stop_supervisor(ROOT, &mut shell.effects).expect("the root is there");
    shell.core.stop_supervisor(ROOT, &mut shell.effects).expect("stopping twice is stopping once");
    assert_eq!(shell.asked(), format!("gone {}, gone {}, gone 0", inner.0, outer.0));
    shell.core.sanity_check();
}

#[test]
fn a_tree_may_only_be_so_deep() {
    let mut shell = Shell::new(0);
    let (mut parent, mut levels) = (ROOT, 1);
    while let Ok(next) = shell.core.add_supervisor(parent, SupervisorSpec::default()) {
        (parent, levels) = (next, levels + 1);
    }
    assert_eq!(levels, 64);
    let refused = shell.core.add_supervisor(parent, SupervisorSpec::default());
    assert!(matches!(refused, Err(SupervisionError::TooDeep { max: 64, .. })));
}

#[test]
fn causes_read_as_sentences() {
    assert_eq!(Cause::OverLimit.to_string(), "it failed more often than its restart limit allows");
    assert_eq!(ROOT.to_string(), "the root supervisor");
}
