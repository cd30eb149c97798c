//! One actor under the root: policies, limits, back-off, kill.

use super::*;
use crate::supervision::SupervisionError;

#[test]
fn each_policy_treats_each_end_as_its_table_says() {
    for policy in [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always] {
        for exit in [Exit::Normal, failed(), Exit::Killed] {
            let mut shell = Shell::new(0);
            shell.add(1, ROOT, of_policy(policy));
            shell.exit(1, exit.clone());
            let expected = if policy.restarts(&exit) { "restart 1" } else { "dead 1 Ended" };
            assert_eq!(shell.obey(), expected, "{policy:?} after {exit:?}");
        }
    }
}

#[test]
fn a_restart_waits_for_its_back_off() {
    let mut shell = Shell::new(0);
    let backoff = Backoff { first: MS, factor: 2.0, max: MS * 100, jitter: 0.0 };
    shell.add(1, ROOT, ActorSpec { backoff, ..eager() });
    for wait in [1, 2, 4] {
        shell.exit(1, failed());
        let at = shell.now + MS * wait;
        assert_eq!(shell.effects, [Effect::SetTimer { at }]);
        assert_eq!(shell.obey(), "");
        assert_eq!(shell.pass(MS * wait - Duration::from_nanos(1)), "");
        assert_eq!(shell.core.next_timer(), Some(at));
        assert_eq!(shell.pass(Duration::from_nanos(1)), "restart 1");
    }
    shell.pass(MS * 100);
    shell.exit(1, failed());
    assert_eq!(shell.core.next_timer(), Some(shell.now + MS), "it ran for long, so back-off starts over");
}

#[test]
fn the_default_restart_comes_within_a_millisecond() {
    let mut shell = Shell::new(0);
    shell.add(1, ROOT, ActorSpec::default());
    assert_eq!(shell.fails(1), "");
    assert_eq!(shell.pass(MS), "restart 1");
}

#[test]
fn an_actor_over_its_limit_is_dead_and_others_live_on() {
    let mut shell = Shell::new(0);
    shell.add(1, ROOT, ActorSpec { limit: RestartLimit::in_all(2), ..eager() });
    shell.add(2, ROOT, eager());
    assert_eq!(shell.fails(1), "restart 1");
    assert_eq!(shell.fails(1), "restart 1");
    assert_eq!(shell.fails(1), "dead 1 OverLimit");
    assert_eq!(shell.core.restarts(ActorId(1)), Some(2));
    assert_eq!(shell.core.exit_of(ActorId(1)), Some(&failed()));
    assert_eq!(shell.fails(2), "restart 2");
}

#[test]
fn a_window_lets_an_actor_fail_for_ever_if_seldom() {
    let mut shell = Shell::new(0);
    shell.add(1, ROOT, ActorSpec { limit: RestartLimit::within(1, MS * 10), ..eager() });
    for _ in 0..50 {
        assert_eq!(shell.fails(1), "restart 1");
        shell.pass(MS * 10);
    }
    assert_eq!(shell.fails(1), "restart 1");
    shell.pass(MS * 9);
    assert_eq!(shell.fails(1), "dead 1 OverLimit");
}

#[test]
fn a_start_that_fails_counts_as_a_failure() {
    let mut shell = Shell::new(0);
    shell.add(1, ROOT, ActorSpec { limit: RestartLimit::in_all(1), ..eager() });
    shell.exit(1, failed());
    assert_eq!(shell.asked(), "restart 1");
    shell.exit(1, failed());
    assert_eq!(shell.asked(), "dead 1 OverLimit");
}

#[test]
fn a_killed_actor_is_dead_whatever_its_policy() {
    let mut shell = Shell::new(0);
    shell.add(1, ROOT, of_policy(RestartPolicy::Always));
    shell.kill(1);
    shell.kill(1);
    assert_eq!(shell.obey(), "stop 1, dead 1 Killed");
    assert_eq!(shell.core.exit_of(ActorId(1)), Some(&Exit::Killed));
    assert!(!shell.core.kill(ActorId(1), &mut shell.effects));
}

#[test]
fn an_actor_killed_while_it_waits_is_never_restarted() {
    let mut shell = Shell::new(0);
    shell.add(1, ROOT, ActorSpec { backoff: Backoff::default(), ..eager() });
    shell.exit(1, failed());
    shell.kill(1);
    assert_eq!(shell.obey(), "dead 1 Killed");
    assert_eq!(shell.core.next_timer(), None);
    assert_eq!(shell.pass(MS * 1_000), "");
}

#[test]
fn an_actor_killed_while_it_starts_is_stopped() {
    let mut shell = Shell::new(0);
    shell.add(1, ROOT, eager());
    shell.exit(1, failed());
    shell.kill(1);
    assert_eq!(shell.asked(), "restart 1, stop 1");
    shell.core.on_restarted(ActorId(1));
    shell.exit(1, Exit::Normal);
    assert_eq!(shell.obey(), "dead 1 Killed");
}

#[test]
fn late_and_unknown_reports_change_nothing() {
    let mut shell = Shell::new(0);
    shell.add(1, ROOT, ActorSpec { backoff: Backoff::default(), ..eager() });
    shell.exit(1, failed());
    shell.effects.clear();
    shell.exit(1, failed());
    shell.exit(9, failed());
    shell.core.on_restarted(ActorId(1));
    shell.core.on_restarted(ActorId(9));
    assert!(shell.effects.is_empty());
    assert_eq!(shell.pass(MS), "restart 1");
    assert_eq!(shell.core.restarts(ActorId(1)), Some(1));
}

#[test]
fn an_id_is_used_once_until_its_death_is_forgotten() {
    let mut shell = Shell::new(0);
    let spec = Arc::new(of_policy(RestartPolicy::Never));
    let one = ActorId(1);
    shell.add(1, ROOT, eager());
    assert_eq!(shell.core.add_child(one, None, spec.clone()), Err(SupervisionError::AlreadySupervised(one)));
    assert_eq!(shell.core.remove(one), Err(SupervisionError::StillAlive(one)));
    shell.exit(1, Exit::Normal);
    assert_eq!(shell.core.add_child(one, None, spec.clone()), Err(SupervisionError::DeadActor(one)));
    assert_eq!(shell.core.remove(one), Ok(()));
    assert_eq!(shell.core.remove(one), Err(SupervisionError::UnknownActor(one)));
    assert_eq!(shell.core.restarts(one), None);
    assert_eq!(shell.core.add_child(one, None, spec), Ok(()));
}

#[test]
fn a_hundred_thousand_actors_fail_and_come_back() {
    let mut shell = Shell::new(0);
    let (spec, count) = (Arc::new(ActorSpec::default()), 100_000_u32);
    let mut effects = Vec::new();
    for n in 0..count {
        shell.core.add_child(ActorId(u128::from(n)), None, spec.clone()).expect("the root is open");
    }
    for n in 0..count {
        shell.core.on_exit(Duration::from_nanos(u64::from(n)), ActorId(u128::from(n)), failed(), &mut effects);
    }
    assert!(effects.len() < 200, "a timer is asked for only when it is sooner: {}", effects.len());
    effects.clear();
    shell.core.on_timer(MS * 2, &mut effects);
    assert_eq!(effects.len(), count as usize);
    assert!((0..count).all(|n| shell.core.restarts(ActorId(u128::from(n))) == Some(1)));
    shell.core.sanity_check();
}

#[test]
fn only_the_latest_deaths_are_remembered() {
    let mut shell = Shell::new(0);
    let spec = Arc::new(of_policy(RestartPolicy::Never));
    let most = SupervisionCore::GRAVES_MAX as u128;
    for n in 0..=most {
        shell.core.add_child(ActorId(n), None, spec.clone()).expect("the root is open");
        shell.core.on_exit(MS, ActorId(n), Exit::Normal, &mut shell.effects);
    }
    assert_eq!(shell.core.exit_of(ActorId(0)), None);
    assert_eq!(shell.core.exit_of(ActorId(1)), Some(&Exit::Normal));
    shell.core.sanity_check();
}
