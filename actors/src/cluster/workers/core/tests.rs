//! Which worker serves whom, with hand-made processes.

use actinic_gcs::NodeId;

use super::*;
use crate::cluster::wire::{ExeHash, ProcessId};

fn code(job: u32) -> JobCode {
    let driver = ProcessId { node: NodeId(1), worker: WorkerId(1_000) };
    JobCode {
        job: JobId(job),
        exe: ExeHash([0; 32]),
        exe_bytes: 1,
        namespace: "default".to_owned(),
        driver,
        cwd: String::new(),
        env: Vec::new(),
        functions: 0,
    }
}

fn lease(number: u64) -> LeaseId {
    LeaseId { node: NodeId(1), number }
}

fn take(core: &PoolCore, effects: &mut Vec<PoolEffect>) -> Vec<PoolEffect> {
    core.sanity_check();
    std::mem::take(effects)
}

fn started(effects: &[PoolEffect]) -> Vec<u32> {
    let start = |effect: &PoolEffect| match effect {
        PoolEffect::Start(worker, _) => Some(worker.0),
        _ => None,
    };
    effects.iter().filter_map(start).collect()
}

#[test]
fn workers_are_started_ahead_of_need_and_used_again() {
    let (mut core, mut effects) = (PoolCore::new(), Vec::new());
    core.on_job(&code(1), 2, &mut effects);
    assert_eq!(started(&take(&core, &mut effects)), [1, 2]);
    core.on_ready(Millis(0), WorkerId(1), &mut effects);
    core.on_need(lease(1), LeaseFor::Tasks, &code(1), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Assign(lease(1), WorkerId(1))]);
    core.on_ended(Millis(1), lease(1), &mut effects);
    core.on_need(lease(2), LeaseFor::Tasks, &code(1), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Assign(lease(2), WorkerId(1))]);
}

#[test]
fn as_many_are_started_as_leases_wait() {
    let (mut core, mut effects) = (PoolCore::new(), Vec::new());
    (0..3).for_each(|number| core.on_need(lease(number), LeaseFor::Tasks, &code(1), &mut effects));
    assert_eq!(started(&take(&core, &mut effects)).len(), 3);
    core.on_ready(Millis(0), WorkerId(2), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Assign(lease(0), WorkerId(2))]);
}

#[test]
fn a_worker_serves_its_own_job_only() {
    let (mut core, mut effects) = (PoolCore::new(), Vec::new());
    core.on_job(&code(1), 1, &mut effects);
    core.on_ready(Millis(0), WorkerId(1), &mut effects);
    take(&core, &mut effects);
    core.on_need(lease(1), LeaseFor::Tasks, &code(2), &mut effects);
    assert_eq!(started(&take(&core, &mut effects)), [2]);
}

#[test]
fn a_job_whose_workers_never_come_up_is_told_why() {
    let (mut core, mut effects) = (PoolCore::new(), Vec::new());
    core.on_need(lease(1), LeaseFor::Tasks, &code(1), &mut effects);
    for worker in 1..=FAILURES_MAX {
        core.on_exit(WorkerId(worker), "exit status 127", &mut effects);
    }
    let effects = take(&core, &mut effects);
    assert!(matches!(effects.last(), Some(PoolEffect::NoWorker(_, why)) if why.contains("exit status 127")));
}

#[test]
fn a_worker_that_nobody_needs_ends() {
    let (mut core, mut effects) = (PoolCore::new(), Vec::new());
    core.on_need(lease(1), LeaseFor::Tasks, &code(1), &mut effects);
    core.on_ready(Millis(0), WorkerId(1), &mut effects);
    core.on_ended(Millis(5), lease(1), &mut effects);
    take(&core, &mut effects);
    core.on_time(Millis(IDLE_MS_MAX + 4), &mut effects);
    assert_eq!(take(&core, &mut effects), []);
    core.on_time(Millis(IDLE_MS_MAX + 5), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Stop(WorkerId(1))]);
}

#[test]
fn a_job_takes_its_workers_with_it() {
    let (mut core, mut effects) = (PoolCore::new(), Vec::new());
    core.on_job(&code(1), 2, &mut effects);
    core.on_ready(Millis(0), WorkerId(1), &mut effects);
    take(&core, &mut effects);
    core.on_job_gone(JobId(1), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Stop(WorkerId(1)), PoolEffect::Stop(WorkerId(2))]);
    core.on_ready(Millis(1), WorkerId(2), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Stop(WorkerId(2))]);
}
