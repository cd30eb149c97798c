//! How actors end; constructors and timers.

use actinic::{prelude::*, supervision::DeadLetterReason, TaskErrorKind};

use super::{
    died, id,
    kit::{eventually, failure, test, Gate, PATIENCE},
    pass, runtime, Log, Room,
};

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
        assert_eq!(rt.get(&Picky::remote(rt.put(3).unwrap()).value()).unwrap(), 3);
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

#[test]
fn timers_call_methods_until_the_last_handle_goes() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let noisy = Noisy::remote(gate);
        noisy.every(Duration::from_millis(1), |noisy| drop(noisy.work(1)));
        noisy.after(Duration::from_millis(1), |noisy| drop(noisy.work(2)));
        eventually("the single one has been", || gate.log().contains(&"2".to_owned()));
        let so_far = gate.log().len();
        let log = gate.wait_for_log(so_far + 20);
        assert_eq!(log.iter().filter(|line| *line == "2").count(), 1);
        drop(noisy);
        eventually("it has ended", || rt.actor_count() == 0);
        eventually("the state is dropped", || gate.log().last().unwrap() == "dropped");
    });
}
