//! Which worker serves whom, with hand-made processes.

use actinic_gcs::NodeId;

use super::*;
use crate::cluster::wire::{ExeHash, ProcessId};

fn code(job: u32) -> JobCode {
    code_of(job, NodeId(1))
}

/// The code of a job whose driver is at this node.
fn code_of(job: u32, node: NodeId) -> JobCode {
    let driver = ProcessId { node, worker: WorkerId(1_000) };
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
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
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
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    (0..3).for_each(|number| core.on_need(lease(number), LeaseFor::Tasks, &code(1), &mut effects));
    assert_eq!(started(&take(&core, &mut effects)).len(), 3);
    core.on_ready(Millis(0), WorkerId(2), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Assign(lease(0), WorkerId(2))]);
}

#[test]
fn a_worker_serves_its_own_job_only() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    core.on_job(&code(1), 1, &mut effects);
    core.on_ready(Millis(0), WorkerId(1), &mut effects);
    take(&core, &mut effects);
    core.on_need(lease(1), LeaseFor::Tasks, &code(2), &mut effects);
    assert_eq!(started(&take(&core, &mut effects)), [2]);
}

#[test]
fn a_job_whose_workers_never_come_up_is_told_why() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    core.on_need(lease(1), LeaseFor::Tasks, &code(1), &mut effects);
    for worker in 1..=FAILURES_MAX {
        core.on_exit(WorkerId(worker), "exit status 127", &mut effects);
    }
    let effects = take(&core, &mut effects);
    assert!(matches!(effects.last(), Some(PoolEffect::NoWorker(_, why)) if why.contains("exit status 127")));
}

#[test]
fn a_worker_that_nobody_needs_ends() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    core.on_need(lease(1), LeaseFor::Tasks, &code(1), &mut effects);
    core.on_ready(Millis(0), WorkerId(1), &mut effects);
    core.on_ended(Millis(5), lease(1), &mut effects);
    take(&core, &mut effects);
    core.on_time(Millis(IDLE_MS_MAX + 4), &mut effects);
    assert_eq!(take(&core, &mut effects), []);
    core.on_time(Millis(IDLE_MS_MAX + 5), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::AskToEnd(WorkerId(1), 1)]);
    core.on_may_end(Millis(IDLE_MS_MAX + 6), WorkerId(1), 1, true, &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Stop(WorkerId(1))]);
}

#[test]
fn a_worker_whose_objects_others_need_stays_and_so_does_one_that_has_something_to_do_again() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    core.on_need(lease(1), LeaseFor::Tasks, &code(1), &mut effects);
    core.on_ready(Millis(0), WorkerId(1), &mut effects);
    core.on_ended(Millis(0), lease(1), &mut effects);
    take(&core, &mut effects);
    let mut now = IDLE_MS_MAX;
    core.on_time(Millis(now), &mut effects);
    core.on_time(Millis(now + 1), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::AskToEnd(WorkerId(1), 1)], "once");
    core.on_may_end(Millis(now), WorkerId(1), 1, false, &mut effects);
    core.on_time(Millis(now + IDLE_MS_MAX - 1), &mut effects);
    assert_eq!(take(&core, &mut effects), []);
    now += IDLE_MS_MAX;
    core.on_time(Millis(now), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::AskToEnd(WorkerId(1), 2)]);
    // It is leased while it answers, and free again.
    core.on_need(lease(2), LeaseFor::Tasks, &code(1), &mut effects);
    core.on_may_end(Millis(now + 1), WorkerId(1), 2, true, &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Assign(lease(2), WorkerId(1))]);
    core.on_ended(Millis(now + 2), lease(2), &mut effects);
    core.on_may_end(Millis(now + 3), WorkerId(1), 2, true, &mut effects);
    assert_eq!(take(&core, &mut effects), []);
}

#[test]
fn a_job_whose_workers_failed_may_try_again_later() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    core.on_need(lease(1), LeaseFor::Tasks, &code(1), &mut effects);
    (1..=FAILURES_MAX).for_each(|worker| core.on_exit(WorkerId(worker), "no space", &mut effects));
    let why = format!("{FAILURES_MAX} workers in a row ended before they were ready; the last: no space");
    let told = take(&core, &mut effects);
    let last = [PoolEffect::Unfit(JobId(1), why.clone()), PoolEffect::NoWorker(lease(1), why)];
    assert!(told.ends_with(&last), "{told:?}");
    (1..UNFIT_LOOKS).for_each(|look| core.on_time(Millis(u64::from(look)), &mut effects));
    assert_eq!(take(&core, &mut effects), []);
    core.on_time(Millis(0), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Fit(JobId(1))]);
    core.on_need(lease(2), LeaseFor::Tasks, &code(1), &mut effects);
    assert_eq!(started(&take(&core, &mut effects)).len(), 1);
}

#[test]
fn a_job_takes_its_workers_with_it() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    core.on_job(&code(1), 2, &mut effects);
    core.on_ready(Millis(0), WorkerId(1), &mut effects);
    take(&core, &mut effects);
    core.on_job_gone(JobId(1), &mut effects);
    assert_eq!(
        take(&core, &mut effects),
        [PoolEffect::Stop(WorkerId(1)), PoolEffect::Stop(WorkerId(2)), PoolEffect::Unused(ExeHash([0; 32]))]
    );
    core.on_ready(Millis(1), WorkerId(2), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Stop(WorkerId(2))]);
}

#[test]
fn more_workers_are_started_than_may_start_at_once_when_more_leases_wait() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    let count = STARTING_MAX as u64 + 10;
    (0..count).for_each(|number| core.on_need(lease(number), LeaseFor::Tasks, &code(1), &mut effects));
    let first = started(&take(&core, &mut effects));
    assert_eq!(first.len(), STARTING_MAX);
    first.iter().for_each(|worker| core.on_ready(Millis(0), WorkerId(*worker), &mut effects));
    assert_eq!(started(&take(&core, &mut effects)).len(), 10);
}

/// Starts workers as the shell does where none of their executables is here.
fn start_without_code(core: &mut PoolCore, effects: &mut Vec<PoolEffect>) -> Vec<PoolEffect> {
    let (mut left, mut done) = (take(core, effects), Vec::new());
    while !left.is_empty() {
        for effect in left {
            match effect {
                PoolEffect::Start(worker, code) => core.on_code_missing(worker, *code, effects),
                other => done.push(other),
            }
        }
        left = take(core, effects);
    }
    done
}

#[test]
fn what_could_not_be_started_is_started_when_the_driver_s_node_is_back() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    let exe = ExeHash([0; 32]);
    core.on_node(NodeId(2), &mut effects);
    core.on_need(lease(1), LeaseFor::Tasks, &code_of(1, NodeId(2)), &mut effects);
    assert_eq!(start_without_code(&mut core, &mut effects), [PoolEffect::Fetch(exe, NodeId(2))]);
    core.on_node_gone(NodeId(2), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::DropPieces(exe)]);
    assert!(core.is_empty());
    core.on_node(NodeId(2), &mut effects);
    assert_eq!(start_without_code(&mut core, &mut effects), [PoolEffect::Fetch(exe, NodeId(2))]);
    core.on_code(exe, &mut effects);
    assert_eq!(started(&take(&core, &mut effects)), [2]);
    core.on_ready(Millis(0), WorkerId(2), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Assign(lease(1), WorkerId(2))]);
}

#[test]
fn an_executable_is_fetched_from_another_driver_s_node_where_the_first_is_cut_off_or_its_job_over() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    let exe = ExeHash([0; 32]);
    for node in 2..=4 {
        core.on_node(NodeId(node), &mut effects);
        core.on_need(lease(node as u64), LeaseFor::Tasks, &code_of(node as u32, NodeId(node)), &mut effects);
    }
    assert_eq!(start_without_code(&mut core, &mut effects), [PoolEffect::Fetch(exe, NodeId(2))]);
    // The one who was asked is cut off though its own job is over.
    core.on_job_gone(JobId(2), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Stop(WorkerId(1))]);
    core.on_node_gone(NodeId(2), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Fetch(exe, NodeId(3))]);
    core.on_node_gone(NodeId(3), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Fetch(exe, NodeId(4))]);
    core.on_piece(exe, &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Fetch(exe, NodeId(4))]);
    core.on_code(exe, &mut effects);
    assert_eq!(started(&take(&core, &mut effects)), [2, 3], "also the one whose driver's node is away");
}

#[test]
fn where_the_driver_s_node_is_away_whoever_ran_its_tasks_is_asked_for_the_executable() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    let exe = ExeHash([0; 32]);
    let lacks = || "no such file".to_owned();
    core.on_node(NodeId(3), &mut effects);
    core.on_need(lease(1), LeaseFor::Tasks, &code_of(1, NodeId(2)), &mut effects);
    assert_eq!(start_without_code(&mut core, &mut effects), [PoolEffect::Fetch(exe, NodeId(3))]);
    core.on_refused(exe, lacks(), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::DropPieces(exe)], "the driver's node may come back");
    core.on_node(NodeId(4), &mut effects);
    assert_eq!(start_without_code(&mut core, &mut effects), [PoolEffect::Fetch(exe, NodeId(3))]);
    core.on_refused(exe, lacks(), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Fetch(exe, NodeId(4))]);
    core.on_code(exe, &mut effects);
    assert_eq!(started(&take(&core, &mut effects)).len(), 1);
}

#[test]
fn where_the_driver_s_node_itself_lacks_the_executable_and_nobody_else_has_it_its_job_is_told() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    let exe = ExeHash([0; 32]);
    core.on_node(NodeId(2), &mut effects);
    core.on_node(NodeId(3), &mut effects);
    core.on_need(lease(1), LeaseFor::Tasks, &code_of(1, NodeId(2)), &mut effects);
    start_without_code(&mut core, &mut effects);
    core.on_refused(exe, "it was deleted".to_owned(), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Fetch(exe, NodeId(3))]);
    core.on_refused(exe, "no such file".to_owned(), &mut effects);
    let told = PoolEffect::NoWorker(lease(1), "it was deleted".to_owned());
    assert_eq!(
        take(&core, &mut effects),
        [PoolEffect::DropPieces(exe), PoolEffect::Unfit(JobId(1), "it was deleted".to_owned()), told]
    );
}

#[test]
fn who_keeps_a_detached_actor_has_its_executable_before_anybody_is_lost() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    let exe = ExeHash([0; 32]);
    core.on_node(NodeId(2), &mut effects);
    core.on_keep(code_of(1, NodeId(2)), false, &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Fetch(exe, NodeId(2))]);
    // The driver's job is over meanwhile.
    core.on_job_gone(JobId(7), &mut effects);
    core.on_code(exe, &mut effects);
    assert_eq!(take(&core, &mut effects), []);
    assert!(core.is_empty());
}

#[test]
fn nobody_s_executable_is_not_fetched_on() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    let exe = ExeHash([0; 32]);
    core.on_node(NodeId(2), &mut effects);
    core.on_need(lease(1), LeaseFor::Tasks, &code_of(1, NodeId(2)), &mut effects);
    start_without_code(&mut core, &mut effects);
    core.on_job_gone(JobId(1), &mut effects);
    assert_eq!(
        take(&core, &mut effects),
        [PoolEffect::Stop(WorkerId(1)), PoolEffect::DropPieces(exe), PoolEffect::Unused(exe)]
    );
    core.on_piece(exe, &mut effects);
    assert_eq!(take(&core, &mut effects), []);
}

#[test]
fn an_executable_that_cannot_be_had_leaves_no_lease_waiting() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    let exe = ExeHash([0; 32]);
    core.on_node(NodeId(2), &mut effects);
    core.on_need(lease(1), LeaseFor::Tasks, &code_of(1, NodeId(2)), &mut effects);
    start_without_code(&mut core, &mut effects);
    core.on_no_code(exe, "the disk is full", &mut effects);
    core.on_need(lease(2), LeaseFor::Tasks, &code_of(1, NodeId(2)), &mut effects);
    let why = || "the disk is full".to_owned();
    assert_eq!(
        take(&core, &mut effects),
        [
            PoolEffect::Unfit(JobId(1), why()),
            PoolEffect::NoWorker(lease(1), why()),
            PoolEffect::NoWorker(lease(2), why())
        ]
    );
    assert!(core.is_empty());
}

#[test]
fn a_job_is_over_when_its_driver_s_node_is_dead_and_not_when_that_is_cut_off() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    let both = BTreeSet::from([NodeId(1), NodeId(2)]);
    let one = BTreeSet::from([NodeId(1)]);
    core.on_need(lease(1), LeaseFor::Tasks, &code_of(1, NodeId(2)), &mut effects);
    core.on_need(lease(2), LeaseFor::Tasks, &code_of(2, NodeId(1)), &mut effects);
    let detached = JobCode { driver: ProcessId::manager(NodeId(2)), ..code(3) };
    core.on_need(lease(3), LeaseFor::Actor, &detached, &mut effects);
    take(&core, &mut effects);
    (0..3).for_each(|_| core.on_alive(&both, &mut effects));
    core.on_alive(&one, &mut effects);
    core.on_node(NodeId(2), &mut effects);
    (0..3).for_each(|_| core.on_alive(&one, &mut effects));
    assert_eq!(take(&core, &mut effects), [], "cut off, late in the list, and connected: it is there");
    core.on_node_gone(NodeId(2), &mut effects);
    (0..2).for_each(|_| core.on_alive(&one, &mut effects));
    assert_eq!(take(&core, &mut effects), [PoolEffect::Stop(WorkerId(1))]);
    assert_eq!(core.len(), 2, "those of another node's job and of detached actors are left alone");
}

#[test]
fn an_actor_has_a_worker_that_owns_nothing_of_others_and_holds_up_no_task() {
    let (mut core, mut effects) = (PoolCore::new(NodeId(1)), Vec::new());
    core.on_need(lease(1), LeaseFor::Tasks, &code(1), &mut effects);
    core.on_ready(Millis(0), WorkerId(1), &mut effects);
    core.on_ended(Millis(0), lease(1), &mut effects);
    take(&core, &mut effects);
    // The first has run tasks, and ends with no actor.
    core.on_need(lease(2), LeaseFor::Actor, &code(1), &mut effects);
    assert_eq!(started(&take(&core, &mut effects)), [2]);
    core.on_need(lease(3), LeaseFor::Tasks, &code(1), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Assign(lease(3), WorkerId(1))]);
    core.on_ready(Millis(1), WorkerId(2), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Assign(lease(2), WorkerId(2))]);
    core.on_ended(Millis(2), lease(2), &mut effects);
    assert_eq!(take(&core, &mut effects), [PoolEffect::Stop(WorkerId(2))]);
}
