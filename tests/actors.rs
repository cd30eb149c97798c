//! Actors: order, handles, concurrency, mailboxes, names, timers, and how they end.
#![allow(clippy::unwrap_used)]

use actinic::{prelude::*, supervision::DeadLetterReason, Error, TaskErrorKind};
use serde::{Deserialize, Serialize};

#[path = "support/kit.rs"]
mod kit;
use kit::{bounded, eventually, failure, test, Gate, PATIENCE};

fn runtime(cpus: u32) -> Runtime {
    Runtime::builder().num_cpus(cpus).init().unwrap()
}

#[remote]
struct Log {
    entries: Vec<i64>,
}

#[remote]
impl Log {
    fn new() -> Self {
        Self { entries: Vec::new() }
    }

    fn push(&mut self, entry: i64) -> usize {
        self.entries.push(entry);
        self.entries.len()
    }

    fn entries(&self) -> Vec<i64> {
        self.entries.clone()
    }

    fn pass(&mut self, gate: Gate) -> usize {
        gate.pass();
        self.entries.len()
    }

    fn fall(&mut self, message: String) -> i64 {
        panic!("{message}")
    }

    fn sum_with(&self, other: i64) -> Result<i64, String> {
        match self.entries.len() {
            0 => Err("there are no entries".to_owned()),
            _ => Ok(self.entries.iter().sum::<i64>() + other),
        }
    }
}

#[remote]
fn id(value: i64) -> i64 {
    value
}

#[remote]
fn pass(gate: Gate) -> i64 {
    gate.pass();
    7
}

fn died<T>(result: Result<T, TaskError>) -> String {
    let error = failure(result);
    match error.kind() {
        TaskErrorKind::ActorDied { reason, .. } => reason.clone(),
        _ => panic!("{error}"),
    }
}

// --- order and handles ---------------------------------------------------------------------------------------------

#[test]
fn calls_of_one_caller_run_in_their_order() {
    test(|| {
        let rt = runtime(2);
        let log = Log::remote();
        let all: Vec<_> = (0..20_000).map(|n| log.push(n)).collect();
        assert_eq!(rt.get(&all).unwrap(), (1..=20_000).collect::<Vec<usize>>());
        assert_eq!(rt.get(&log.entries()).unwrap(), (0..20_000).collect::<Vec<i64>>());
    });
}

#[test]
fn arguments_by_reference_keep_the_callers_order() {
    test(|| {
        let rt = runtime(2);
        let log = Log::remote();
        let gate = Gate::new();
        let late = pass.remote(gate);
        log.push(1);
        log.push(&late);
        log.push(id.remote(8));
        let last = log.push(9);
        assert!(failure(rt.get_timeout(&late, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        assert!(!last.is_ready(), "it must not overtake the call that waits for its argument");
        gate.open();
        assert_eq!(rt.get_timeout(&last, PATIENCE).unwrap(), 4);
        assert_eq!(rt.get(&log.entries()).unwrap(), [1, 7, 8, 9]);
    });
}

#[remote]
fn push_many(log: LogHandle, from: i64, count: i64) -> usize {
    let all: Vec<_> = (from..from + count).map(|n| log.push(n)).collect();
    actinic::get(&all).unwrap().len()
}

#[test]
fn a_call_that_waits_for_its_argument_holds_up_no_other_caller() {
    test(|| {
        let rt = runtime(2);
        let log = Log::remote();
        let gate = Gate::new();
        let stalled = log.push(pass.options().num_cpus(0).remote(gate));
        assert_eq!(rt.get_timeout(&push_many.remote(log.clone(), 0, 10), PATIENCE).unwrap(), 10);
        assert!(!stalled.is_ready());
        gate.open();
        assert_eq!(rt.get_timeout(&stalled, PATIENCE).unwrap(), 11);
    });
}

#[test]
fn each_caller_keeps_its_own_order() {
    test(|| {
        let rt = runtime(2);
        let log = Log::remote();
        let callers: Vec<_> = (0..8).map(|caller| push_many.remote(log.clone(), caller * 1_000, 500)).collect();
        assert_eq!(rt.get_timeout(&callers, PATIENCE).unwrap(), [500; 8]);
        let entries = rt.get(&log.entries()).unwrap();
        assert_eq!(entries.len(), 4_000);
        for caller in 0..8 {
            let of_caller: Vec<i64> = entries.iter().copied().filter(|entry| entry / 1_000 == caller).collect();
            assert_eq!(of_caller, (caller * 1_000..caller * 1_000 + 500).collect::<Vec<i64>>());
        }
    });
}

#[derive(Clone, Serialize, Deserialize)]
struct Address {
    log: LogHandle,
    entry: i64,
}

#[remote]
struct Relay {
    to: LogHandle,
}

#[remote]
impl Relay {
    fn new(to: LogHandle) -> Self {
        Self { to }
    }

    fn relay(&self, entry: i64) -> usize {
        actinic::get(&self.to.push(entry)).unwrap()
    }

    fn forward(&self, address: Address) -> ObjectRef<usize> {
        address.log.push(address.entry)
    }
}

#[test]
fn handles_travel_into_tasks_actors_and_structures() {
    test(|| {
        let rt = runtime(2);
        let log = Log::remote();
        let relays: Vec<_> = (0..4).map(|_| Relay::remote(log.clone())).collect();
        let all: Vec<_> = relays.iter().map(|relay| relay.relay(1)).collect();
        rt.get_timeout(&all, PATIENCE).unwrap();
        let inner = rt.get(&relays[0].forward(Address { log: log.clone(), entry: 2 })).unwrap();
        assert_eq!(rt.get(&inner).unwrap(), 5);
        let stored = rt.put(log.clone()).unwrap();
        assert_eq!(rt.get(&push_many.remote(&stored, 0, 1)).unwrap(), 1);
        assert_eq!(rt.get(&log.entries()).unwrap(), [1, 1, 1, 1, 2, 0]);
    });
}

#[test]
fn a_methods_err_is_the_callers_alone() {
    test(|| {
        let rt = runtime(1);
        let log = Log::remote();
        let error = failure(rt.get(&log.sum_with(1)));
        assert!(error.is_exception() && error.to_string().contains("there are no entries"), "{error}");
        assert!(error.to_string().contains("Log.sum_with"), "{error}");
        log.push(4);
        assert_eq!(rt.get(&log.sum_with(1)).unwrap(), 5);
    });
}

// --- concurrency ---------------------------------------------------------------------------------------------------

#[remote]
struct Room {
    visits: usize,
}

#[remote]
impl Room {
    fn new() -> Self {
        Self { visits: 0 }
    }

    async fn meet_async(&self, gate: Gate, count: usize) -> usize {
        let _inside = gate.enter();
        while gate.arrived() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        count
    }

    async fn visit_async(&mut self, gate: Gate) -> usize {
        let _inside = gate.enter();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.visits += 1;
        self.visits
    }

    async fn fall_async(&self) -> i64 {
        tokio::task::yield_now().await;
        panic!("fell between awaits")
    }

    async fn wait_for_ever(&self, gate: Gate) -> i64 {
        gate.arrive();
        std::future::pending().await
    }

    fn meet(&self, gate: Gate, count: usize) -> usize {
        let _inside = gate.enter();
        gate.wait_for(count);
        count
    }

    fn stay(&self, gate: Gate) -> usize {
        let _inside = gate.enter();
        gate.hold();
        1
    }

    #[concurrency_group("io")]
    fn stay_io(&self, gate: Gate) -> usize {
        let _inside = gate.enter();
        gate.hold();
        2
    }

    fn visit(&mut self, gate: Gate) -> usize {
        let _inside = gate.enter();
        self.visits += 1;
        self.visits
    }
}

#[remote]
struct Shelf;

#[remote]
impl Shelf {
    fn new() -> Self {
        Self
    }

    fn read(&self, gate: Gate) -> usize {
        let _inside = gate.enter();
        std::thread::yield_now();
        1
    }
}

#[test]
fn async_methods_interleave_at_await() {
    test(|| {
        let rt = runtime(1);
        let room = Room::remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..200).map(|_| room.meet_async(gate, 200)).collect();
        assert_eq!(rt.get_timeout(&all, PATIENCE).unwrap(), [200; 200]);
        assert_eq!(gate.inside_most(), 200);
    });
}

#[test]
fn max_concurrency_bounds_async_methods() {
    test(|| {
        let rt = runtime(2);
        let room = Room::options().max_concurrency(3).remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..50).map(|_| room.meet_async(gate, 3)).collect();
        rt.get_timeout(&all, PATIENCE).unwrap();
        assert_eq!(gate.inside_most(), 3);
    });
}

#[test]
fn async_methods_that_change_the_state_run_alone_and_in_order() {
    test(|| {
        let rt = runtime(2);
        let room = Room::remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..100).map(|_| room.visit_async(gate)).collect();
        assert_eq!(rt.get_timeout(&all, PATIENCE).unwrap(), (1..=100).collect::<Vec<usize>>());
        assert_eq!(gate.inside_most(), 1);
    });
}

#[test]
fn synchronous_methods_run_one_at_a_time_unless_more_is_asked() {
    test(|| {
        let rt = runtime(4);
        let shelf = Shelf::remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..500).map(|_| shelf.read(gate)).collect();
        rt.get_timeout(&all, PATIENCE).unwrap();
        assert_eq!(gate.inside_most(), 1);

        let room = Room::options().max_concurrency(4).remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..4).map(|_| room.meet(gate, 4)).collect();
        assert_eq!(rt.get_timeout(&all, PATIENCE).unwrap(), [4; 4]);
        let gate = Gate::new();
        let waiting: Vec<_> = (0..9).map(|_| room.stay(gate)).collect();
        assert!(failure(rt.get_timeout(&waiting, Duration::ZERO)).is_timeout());
        gate.wait_for(4);
        assert_eq!(gate.arrived(), 4);
        gate.open();
        rt.get_timeout(&waiting, PATIENCE).unwrap();
        assert_eq!(gate.inside_most(), 4);
    });
}

#[test]
fn a_method_that_changes_the_state_runs_alone_whatever_the_concurrency() {
    test(|| {
        let rt = runtime(4);
        let room = Room::options().max_concurrency(8).remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..500).map(|_| room.visit(gate)).collect();
        assert_eq!(rt.get_timeout(&all, PATIENCE).unwrap(), (1..=500).collect::<Vec<usize>>());
        assert_eq!(gate.inside_most(), 1);
    });
}

#[test]
fn concurrency_groups_have_limits_of_their_own() {
    test(|| {
        let rt = runtime(2);
        let room = Room::options().max_concurrency(1).concurrency_group("io", 2).remote();
        let (plain, io) = (Gate::new(), Gate::new());
        let plains: Vec<_> = (0..3).map(|_| room.stay(plain)).collect();
        let ios: Vec<_> = (0..5).map(|_| room.stay_io(io)).collect();
        assert!(failure(rt.get_timeout(&plains, Duration::ZERO)).is_timeout());
        plain.wait_for(1);
        io.wait_for(2);
        io.open();
        assert_eq!(rt.get_timeout(&ios, PATIENCE).unwrap(), [2; 5], "the full default group holds none of them up");
        assert_eq!((plain.arrived(), io.inside_most()), (1, 2));
        plain.open();
        rt.get_timeout(&plains, PATIENCE).unwrap();
        assert_eq!(plain.inside_most(), 1);
    });
}

#[test]
fn blocked_actors_hold_up_no_other() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let blocked: Vec<_> = (0..8).map(|_| Log::remote()).collect();
        let waiting: Vec<_> = blocked.iter().map(|log| log.pass(gate)).collect();
        let free = Log::remote();
        for n in 1..=100 {
            assert_eq!(rt.get_timeout(&free.push(1), PATIENCE).unwrap(), n);
        }
        assert_eq!(rt.get_timeout(&id.remote(3), PATIENCE).unwrap(), 3);
        gate.wait_for(8);
        assert!(waiting.iter().all(|object| !object.is_ready()));
        gate.open();
        assert_eq!(rt.get_timeout(&waiting, PATIENCE).unwrap(), [0; 8]);
    });
}

#[test]
fn ten_thousand_idle_actors_fit_and_answer() {
    test(|| {
        let rt = runtime(2);
        let all: Vec<_> = (0..10_000).map(|_| Log::remote()).collect();
        let first: Vec<_> = all.iter().map(|log| log.push(1)).collect();
        assert_eq!(rt.get_timeout(&first, PATIENCE).unwrap(), [1; 10_000]);
        assert_eq!(rt.actor_count(), 10_000);
        let second: Vec<_> = all.iter().map(|log| log.push(1)).collect();
        assert_eq!(rt.get(&second).unwrap(), [2; 10_000]);
        drop(all);
        eventually("all have ended", || rt.actor_count() == 0);
    });
}

// --- mailboxes -----------------------------------------------------------------------------------------------------

/// An actor that is busy until the gate opens, with a mailbox for two.
fn busy(rt: &Runtime, policy: OverflowPolicy) -> (LogHandle, Gate, ObjectRef<usize>) {
    let log = Log::options().max_pending_calls(2).overflow(policy).remote();
    let gate = Gate::new();
    let running = log.pass(gate);
    assert!(failure(rt.get_timeout(&running, Duration::ZERO)).is_timeout());
    gate.wait_for(1);
    (log, gate, running)
}

fn is_over_the_limit<T>(result: Result<T, TaskError>) {
    let error = failure(result);
    assert!(matches!(error.kind(), TaskErrorKind::PendingCallsLimitExceeded { limit: 2, .. }), "{error}");
    assert!(error.is_safe_to_retry());
}

#[test]
fn a_full_mailbox_refuses_calls() {
    test(|| {
        let rt = runtime(2);
        let (log, gate, running) = busy(&rt, OverflowPolicy::Fail);
        let accepted = [log.push(1), log.push(2)];
        assert_eq!(log.load().unwrap(), (2, 1));
        is_over_the_limit(rt.get(&log.push(3)));
        let (letters, total) = rt.dead_letters();
        assert_eq!((letters.len(), total), (1, 1));
        assert!(matches!(letters[0].reason, DeadLetterReason::MailboxFull { .. }), "{:?}", letters[0]);
        assert_eq!((letters[0].message.as_str(), letters[0].actor), ("Log.push", log.id().unwrap()));
        gate.open();
        assert_eq!(rt.get_timeout(&running, PATIENCE).unwrap(), 0);
        assert_eq!(rt.get_timeout(&accepted, PATIENCE).unwrap(), [1, 2]);
        assert_eq!(rt.get(&log.push(4)).unwrap(), 3);
    });
}

#[test]
fn a_full_mailbox_drops_the_oldest_call_where_told() {
    test(|| {
        let rt = runtime(2);
        let (log, gate, _running) = busy(&rt, OverflowPolicy::DropOldest);
        let calls: Vec<_> = (0..5).map(|n| log.push(n)).collect();
        for dropped in &calls[..3] {
            is_over_the_limit(rt.get_timeout(dropped, PATIENCE));
        }
        gate.open();
        assert_eq!(rt.get_timeout(&calls[4], PATIENCE).unwrap(), 2);
        assert_eq!(rt.get(&log.entries()).unwrap(), [3, 4]);
        assert_eq!(rt.dead_letters().1, 3);
    });
}

#[remote]
fn push_three(log: LogHandle) -> Vec<usize> {
    let all = [log.push(1), log.push(2), log.push(3)];
    actinic::get(&all).unwrap()
}

#[test]
fn a_full_mailbox_makes_the_caller_wait_where_told() {
    test(|| {
        let rt = runtime(1);
        let (log, gate, running) = busy(&rt, OverflowPolicy::Block(PATIENCE));
        let caller = push_three.remote(log.clone());
        assert!(failure(rt.get_timeout(&caller, Duration::ZERO)).is_timeout());
        eventually("two calls wait", || log.load().unwrap() == (2, 1));
        // The blocked caller's CPU is free for others.
        assert_eq!(rt.get_timeout(&id.remote(1), PATIENCE).unwrap(), 1);
        gate.open();
        assert_eq!(rt.get_timeout(&caller, PATIENCE).unwrap(), [1, 2, 3]);
        assert_eq!(rt.get(&running).unwrap(), 0);

        let (log, gate, running) = busy(&rt, OverflowPolicy::Block(Duration::from_millis(20)));
        let accepted = [log.push(1), log.push(2)];
        is_over_the_limit(log.push(3).get());
        gate.open();
        rt.get_timeout(&running, PATIENCE).unwrap();
        assert_eq!(rt.get_timeout(&accepted, PATIENCE).unwrap(), [1, 2]);
    });
}

// --- names ---------------------------------------------------------------------------------------------------------

#[test]
fn an_actor_is_found_by_its_name_in_its_namespace() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).namespace("here").init().unwrap();
        let log = Log::options().name("log").remote();
        let other = Log::options().name("log").namespace("there").remote();
        rt.get(&log.push(1)).unwrap();
        let found: LogHandle = rt.get_actor("log").unwrap();
        assert_eq!(found.id().unwrap(), log.id().unwrap());
        assert_eq!(rt.get(&found.push(2)).unwrap(), 2);
        let found: LogHandle = rt.get_actor_in("there", "log").unwrap();
        assert_eq!(found.id().unwrap(), other.id().unwrap());
        assert_eq!(rt.actor_names("here"), ["log"]);
        assert!(matches!(rt.get_actor::<LogHandle>("none"), Err(Error::NoSuchActor { .. })));
        assert!(matches!(rt.get_actor::<RoomHandle>("log"), Err(Error::WrongClass { .. })));
    });
}

#[test]
fn a_name_is_taken_once_and_shared_where_asked() {
    test(|| {
        let rt = runtime(1);
        let log = Log::options().name("one").remote();
        let refused = Log::options().name("one").try_remote();
        assert!(matches!(&refused, Err(Error::NameTaken { name, .. }) if name == "one"), "{refused:?}");
        let reason = died(rt.get(&Log::options().name("one").remote().push(1)));
        assert!(reason.contains("already"), "{reason}");
        let shared = Log::options().name("one").get_if_exists(true).remote();
        assert_eq!(shared.id().unwrap(), log.id().unwrap());
        let class = Room::options().name("one").get_if_exists(true).try_remote();
        assert!(matches!(class, Err(Error::WrongClass { .. })));
        drop((log, shared));
        let again = Log::options().name("one").try_remote().unwrap();
        assert_eq!(rt.get(&again.push(1)).unwrap(), 1, "the name is free once the last handle is gone");
    });
}

#[remote]
fn share_one(gate: Gate, name: String) -> u128 {
    gate.meet(8);
    let log = Log::options().name(name).get_if_exists(true).lifetime(Lifetime::Detached).remote();
    log.id().unwrap().0
}

#[test]
fn a_name_asked_for_by_many_at_once_gives_one_actor() {
    test(|| {
        let rt = runtime(8);
        for round in 0..50 {
            let gate = Gate::new();
            let all: Vec<_> = (0..8).map(|_| share_one.remote(gate, format!("log {round}"))).collect();
            let ids = rt.get_timeout(&all, PATIENCE).unwrap();
            assert!(ids.iter().all(|one| *one == ids[0]), "{ids:?}");
        }
    });
}

#[test]
fn a_detached_actor_outlives_its_handles() {
    test(|| {
        let rt = runtime(1);
        drop(Log::options().name("kept").lifetime(Lifetime::Detached).remote().push(1));
        let found: LogHandle = rt.get_actor("kept").unwrap();
        assert_eq!(rt.get(&found.push(2)).unwrap(), 2);
        let exit = found.watch();
        found.kill();
        rt.get_timeout(&exit, PATIENCE).unwrap();
        drop(found);
        assert!(matches!(rt.get_actor::<LogHandle>("kept"), Err(Error::NoSuchActor { .. })));
        assert_eq!(rt.actor_count(), 0);
    });
}

// --- the end of an actor -------------------------------------------------------------------------------------------

#[remote]
struct Noisy {
    gate: Gate,
}

#[remote]
impl Noisy {
    fn new(gate: Gate) -> Self {
        Self { gate }
    }

    fn work(&mut self, n: i64) -> i64 {
        self.gate.note(format!("{n}"));
        n
    }

    fn pass(&mut self, gate: Gate) -> i64 {
        gate.pass();
        0
    }
}

impl Drop for Noisy {
    fn drop(&mut self) {
        self.gate.note("dropped");
    }
}

#[test]
fn an_actor_without_handles_answers_what_waits_and_ends() {
    test(|| {
        let rt = runtime(2);
        let (gate, hold) = (Gate::new(), Gate::new());
        let noisy = Noisy::remote(gate);
        let running = noisy.pass(hold);
        let calls: Vec<_> = (0..10).map(|n| noisy.work(n)).collect();
        drop(noisy);
        hold.open();
        assert_eq!(rt.get_timeout(&calls, PATIENCE).unwrap(), (0..10).collect::<Vec<i64>>());
        assert_eq!(rt.get(&running).unwrap(), 0);
        let log = gate.wait_for_log(11);
        assert_eq!(log.last().unwrap(), "dropped");
        eventually("it has ended", || rt.actor_count() == 0);
        assert_eq!(gate.log().len(), 11, "the state is dropped once");
    });
}

#[test]
fn a_weak_handle_keeps_no_actor_alive() {
    test(|| {
        let rt = runtime(1);
        let log = Log::remote();
        let weak = log.downgrade();
        assert!(weak.upgrade().is_some());
        drop(log);
        assert!(weak.upgrade().is_none());
        eventually("it has ended", || rt.actor_count() == 0);
    });
}

#[test]
fn a_killed_actor_fails_its_queued_calls_and_makes_dead_letters() {
    test(|| {
        let rt = runtime(2);
        let log = Log::remote();
        let gate = Gate::new();
        let running = log.pass(gate);
        assert!(failure(rt.get_timeout(&running, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        let queued = [log.push(1), log.push(2)];
        let dependent = id.remote(3);
        let by_reference = log.push(&dependent);
        log.kill();
        for call in queued.iter().chain([&by_reference]) {
            let error = failure(rt.get_timeout(call, PATIENCE));
            assert!(error.is_safe_to_retry(), "{error}");
            assert!(died(Err::<(), _>(error)).contains("killed"));
        }
        assert!(died(rt.get_timeout(&log.push(4), PATIENCE)).contains("killed"));
        let (letters, total) = rt.dead_letters();
        assert_eq!((letters.len(), total), (4, 4));
        assert!(letters
            .iter()
            .all(|letter| letter.reason == DeadLetterReason::ActorDead && letter.message == "Log.push"));
        gate.open();
        assert_eq!(rt.get_timeout(&running, PATIENCE).unwrap(), 0, "what runs is not interrupted");
    });
}

#[test]
fn a_killed_actor_abandons_its_async_calls() {
    test(|| {
        let rt = runtime(2);
        let room = Room::remote();
        let gate = Gate::new();
        let waiting = room.wait_for_ever(gate);
        assert!(failure(rt.get_timeout(&waiting, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        room.kill();
        let error = failure(rt.get_timeout(&waiting, PATIENCE));
        assert!(matches!(error.kind(), TaskErrorKind::ActorUnavailable { .. }), "{error}");
        assert!(!error.is_safe_to_retry());
    });
}

#[test]
fn a_queued_call_can_be_cancelled_and_an_async_one_ends_at_its_await() {
    test(|| {
        let rt = runtime(2);
        let log = Log::remote();
        let gate = Gate::new();
        let running = log.pass(gate);
        assert!(failure(rt.get_timeout(&running, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        let (cancelled, kept) = (log.push(1), log.push(2));
        assert!(rt.cancel(&cancelled));
        assert!(failure(rt.get_timeout(&cancelled, PATIENCE)).is_cancelled());
        gate.open();
        assert_eq!(rt.get_timeout(&kept, PATIENCE).unwrap(), 1);
        assert_eq!(rt.get(&log.entries()).unwrap(), [2]);

        let room = Room::remote();
        let gate = Gate::new();
        let waiting = room.wait_for_ever(gate);
        assert!(failure(rt.get_timeout(&waiting, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        assert!(rt.cancel(&waiting));
        assert!(failure(rt.get_timeout(&waiting, PATIENCE)).is_cancelled());
        assert_eq!(rt.get_timeout(&room.visit(Gate::new()), PATIENCE).unwrap(), 1, "the actor lives on");
    });
}

#[test]
fn a_panic_without_restarts_ends_the_actor() {
    test(|| {
        let rt = runtime(2);
        let log = Log::remote();
        let error = failure(rt.get(&log.fall("on purpose")));
        let TaskErrorKind::Panicked { task, message, location, .. } = error.kind() else { panic!("{error}") };
        assert_eq!((task.as_str(), message.as_str()), ("Log.fall", "on purpose"));
        assert!(location.contains("tests/actors.rs:"), "{location}");
        let reason = died(rt.get_timeout(&log.push(1), PATIENCE));
        assert!(reason.contains("Log.fall") && reason.contains("on purpose"), "{reason}");
    });
}

#[test]
fn a_panic_between_awaits_ends_the_actor_too() {
    test(|| {
        let rt = runtime(2);
        let room = Room::remote();
        let error = failure(rt.get_timeout(&room.fall_async(), PATIENCE));
        assert!(matches!(error.kind(), TaskErrorKind::Panicked { message, .. } if message == "fell between awaits"));
        assert!(died(rt.get_timeout(&room.visit(Gate::new()), PATIENCE)).contains("fell between awaits"));
    });
}

// --- constructors --------------------------------------------------------------------------------------------------

#[remote]
struct Picky {
    value: i64,
}

#[remote]
impl Picky {
    fn new(value: i64) -> Result<Self, String> {
        assert!(value >= 0, "{value} is negative");
        if value == 0 {
            return Err("zero will not do".to_owned());
        }
        Ok(Self { value })
    }

    fn value(&self) -> i64 {
        self.value
    }
}

#[test]
fn a_constructor_may_take_references() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let picky = Picky::remote(pass.remote(gate));
        let value = picky.value();
        assert!(failure(rt.get_timeout(&value, Duration::ZERO)).is_timeout());
        gate.open();
        assert_eq!(rt.get_timeout(&value, PATIENCE).unwrap(), 7);
        assert_eq!(rt.get(&Picky::remote(&rt.put(3).unwrap()).value()).unwrap(), 3);
    });
}

#[test]
fn an_actor_that_asks_for_nothing_starts_while_all_cpus_are_busy() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let busy = pass.remote(gate);
        assert!(failure(rt.get_timeout(&busy, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        assert_eq!(rt.get_timeout(&Picky::remote(3).value(), PATIENCE).unwrap(), 3);
        assert_eq!(rt.get_timeout(&Picky::remote(rt.put(4).unwrap()).value(), PATIENCE).unwrap(), 4);
        gate.open();
        rt.get(&busy).unwrap();
    });
}

#[test]
fn the_error_or_panic_of_a_constructor_reaches_every_call() {
    test(|| {
        let rt = runtime(1);
        let picky = Picky::remote(0);
        for _ in 0..2 {
            let reason = died(rt.get_timeout(&picky.value(), PATIENCE));
            assert!(reason.contains("its constructor failed") && reason.contains("zero will not do"), "{reason}");
        }
        let reason = died(rt.get_timeout(&Picky::remote(-1).value(), PATIENCE));
        assert!(reason.contains("its constructor panicked") && reason.contains("-1 is negative"), "{reason}");
        let argument = Picky::remote(Log::remote().fall("no argument"));
        let reason = died(rt.get_timeout(&argument.value(), PATIENCE));
        assert!(reason.contains("no argument"), "{reason}");
        drop((picky, argument));
        eventually("none is left", || rt.actor_count() == 0);
    });
}

// --- timers --------------------------------------------------------------------------------------------------------

#[test]
fn timers_call_methods_until_the_last_handle_goes() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let noisy = Noisy::remote(gate);
        noisy.every(Duration::from_millis(1), |noisy| drop(noisy.work(1)));
        noisy.after(Duration::from_millis(1), |noisy| drop(noisy.work(2)));
        let log = gate.wait_for_log(20);
        assert_eq!(log.iter().filter(|line| *line == "2").count(), 1);
        drop(noisy);
        eventually("it has ended", || rt.actor_count() == 0);
        eventually("the state is dropped", || gate.log().last().unwrap() == "dropped");
    });
}

// --- explain -------------------------------------------------------------------------------------------------------

#[test]
fn explain_tells_of_a_mailbox() {
    test(|| {
        let rt = runtime(2);
        let log = Log::options().name("busy one").remote();
        let gate = Gate::new();
        let running = log.pass(gate);
        assert!(failure(rt.get_timeout(&running, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        let queued = log.push(1);
        let text = rt.explain(&queued);
        for part in ["Log.push", "mailbox", "busy one", "1 calls run, 1 wait"] {
            assert!(text.contains(part), "{text}");
        }
        gate.open();
        assert_eq!(rt.get_timeout(&queued, PATIENCE).unwrap(), 1);
    });
}

#[test]
fn many_calls_whose_results_nobody_wants_all_run() {
    bounded(Duration::from_secs(60), || {
        let rt = runtime(2);
        let log = Shelf::remote();
        let gate = Gate::new();
        let mut last = log.read(gate);
        for _ in 0..200_000 {
            last = log.read(gate);
        }
        assert_eq!(rt.get(&last).unwrap(), 1);
        assert_eq!(gate.arrived(), 200_001);
    });
}
