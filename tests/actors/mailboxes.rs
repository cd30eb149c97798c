//! Full mailboxes, and what is told of them.

use actinic::{prelude::*, supervision::DeadLetterReason, TaskErrorKind};

use super::{
    id,
    kit::{bounded, eventually, failure, test, Gate, PATIENCE},
    runtime, Log, LogHandle, Shelf,
};

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
