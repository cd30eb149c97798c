//! Order of calls, and handles that travel.

use actinic::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    id,
    kit::{failure, test, Gate, PATIENCE},
    pass, runtime, Log, LogHandle,
};

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
