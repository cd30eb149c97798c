//! Links and death watch.

use super::*;
use crate::supervision::SupervisionError;

fn actors(count: u128) -> Shell {
    let mut shell = Shell::new(0);
    (1..=count).for_each(|actor| shell.add(actor, ROOT, eager()));
    shell
}

#[test]
fn a_failure_takes_linked_actors_down_which_are_then_restarted() {
    let mut shell = actors(3);
    shell.link(1, 2);
    assert_eq!(shell.fails(1), "restart 1, stop 2, restart 2");
    assert_eq!(shell.fails(2), "restart 2, stop 1, restart 1", "a link works both ways and outlives a restart");
}

#[test]
fn a_linked_actor_that_is_never_restarted_dies_with_the_other() {
    let mut shell = actors(1);
    shell.add(2, ROOT, of_policy(RestartPolicy::Never));
    shell.link(2, 1);
    shell.watch(9, 2);
    assert_eq!(shell.fails(1), "restart 1, stop 2, dead 2 Ended, tell 9 of 2");
    let Some(Exit::Failed(text)) = shell.core.exit_of(ActorId(2)) else { panic!("it counts as failed") };
    assert!(text.contains("linked actor"));
    assert_eq!(shell.fails(1), "restart 1", "a link ends with either actor");
}

#[test]
fn a_failure_travels_along_links_and_around_a_ring_once() {
    let mut shell = actors(5);
    [(1, 2), (2, 3), (3, 4), (4, 1)].into_iter().for_each(|(one, other)| shell.link(one, other));
    assert_eq!(shell.fails(1), "restart 1, stop 2, stop 4, stop 3, restart 2, restart 4, restart 3");
}

#[test]
fn an_actor_that_traps_exits_is_told_and_stops_the_chain() {
    let mut shell = actors(2);
    shell.add(3, ROOT, ActorSpec { trap_exits: true, ..eager() });
    shell.add(4, ROOT, eager());
    [(1, 2), (2, 3), (1, 3), (3, 4)].into_iter().for_each(|(one, other)| shell.link(one, other));
    assert_eq!(shell.fails(1), "restart 1, stop 2, warn 3 of 1, restart 2");
}

#[test]
fn a_normal_end_fires_no_link() {
    let mut shell = actors(2);
    shell.link(1, 2);
    shell.exit(1, Exit::Normal);
    assert_eq!(shell.obey(), "dead 1 Ended");
}

#[test]
fn a_kill_fires_links() {
    let mut shell = actors(2);
    shell.link(1, 2);
    shell.kill(1);
    assert_eq!(shell.obey(), "stop 1, dead 1 Killed, stop 2, restart 2");
}

#[test]
fn a_stop_for_a_group_restart_fires_no_link() {
    let mut shell = Shell::new(0);
    let supervisor = shell.supervisor(ROOT, Strategy::OneForAll, 9);
    shell.add(1, supervisor, eager());
    shell.add(2, supervisor, eager());
    shell.add(3, ROOT, eager());
    shell.link(2, 3);
    shell.link(1, 2);
    assert_eq!(shell.fails(1), "stop 2, stop 3, restart 1, restart 2, restart 3");
    assert!(shell.core.unlink(ActorId(2), ActorId(1)));
    assert!(!shell.core.unlink(ActorId(1), ActorId(2)));
    assert_eq!(shell.fails(1), "stop 2, restart 1, restart 2");
}

#[test]
fn a_linked_failure_counts_against_the_limit() {
    let mut shell = actors(1);
    shell.add(2, ROOT, ActorSpec { limit: RestartLimit::in_all(1), ..eager() });
    shell.link(1, 2);
    assert_eq!(shell.fails(1), "restart 1, stop 2, restart 2");
    assert_eq!(shell.fails(1), "restart 1, stop 2, dead 2 OverLimit");
}

#[test]
fn a_watcher_hears_of_death_once_and_not_of_restarts() {
    let mut shell = actors(2);
    shell.watch(2, 1);
    shell.watch(2, 1);
    assert_eq!(shell.fails(1), "restart 1");
    shell.exit(1, Exit::Normal);
    assert_eq!(shell.obey(), "dead 1 Ended, tell 2 of 1");
}

#[test]
fn whoever_watches_the_dead_is_told_at_once() {
    let mut shell = actors(2);
    shell.exit(1, Exit::Normal);
    shell.effects.clear();
    shell.watch(2, 1);
    assert_eq!(shell.asked(), "tell 2 of 1");
}

#[test]
fn a_dead_or_forgotten_watcher_is_not_told() {
    let mut shell = actors(4);
    [2, 3, 4, 77].into_iter().for_each(|watcher| shell.watch(watcher, 1));
    shell.exit(2, Exit::Normal);
    assert!(shell.core.unwatch(ActorId(3), ActorId(1)));
    assert!(!shell.core.unwatch(ActorId(3), ActorId(1)));
    shell.core.forget_watcher(ActorId(77));
    shell.exit(1, Exit::Normal);
    assert_eq!(shell.obey(), "dead 2 Ended, dead 1 Ended, tell 4 of 1");
}

#[test]
fn ties_with_the_dead_the_unknown_and_oneself_are_refused() {
    let mut shell = actors(2);
    shell.exit(2, Exit::Normal);
    let (one, two, nine) = (ActorId(1), ActorId(2), ActorId(9));
    assert_eq!(shell.core.link(one, one), Err(SupervisionError::SameActor(one)));
    assert_eq!(shell.core.link(one, two), Err(SupervisionError::DeadActor(two)));
    assert_eq!(shell.core.link(nine, one), Err(SupervisionError::UnknownActor(nine)));
    let effects = &mut Vec::new();
    assert_eq!(shell.core.watch(one, one, effects), Err(SupervisionError::SameActor(one)));
    assert_eq!(shell.core.watch(two, one, effects), Err(SupervisionError::DeadActor(two)));
    assert_eq!(shell.core.watch(one, nine, effects), Err(SupervisionError::UnknownActor(nine)));
    assert!(effects.is_empty());
}
