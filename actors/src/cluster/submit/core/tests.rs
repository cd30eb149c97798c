//! Which task goes where, with hand-made leases.

use actinic_gcs::{resources::CPU, JobId, ResourceSet, WorkerId};

use super::*;
use crate::options::SchedulingStrategy;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Job(u64, bool);

impl Queued for Job {
    fn id(&self) -> TaskId {
        TaskId::driver(JobId(1)).child(self.0)
    }

    fn claim(&self) -> bool {
        self.1
    }
}

struct Kit {
    core: SubmitCore<Job>,
    class: ClassId,
    effects: Vec<SubmitEffect<Job>>,
}

fn kit() -> Kit {
    let mut core = SubmitCore::default();
    let demand = ResourceSet::new().with(CPU, 1.0);
    let class = core.class(&ClassSpec { demand, strategy: SchedulingStrategy::Default, retriable: true });
    Kit { core, class, effects: Vec::new() }
}

fn worker(number: u32) -> ProcessId {
    ProcessId { node: NodeId(1), worker: WorkerId(number) }
}

fn lease(number: u64) -> LeaseId {
    LeaseId { node: NodeId(1), number }
}

impl Kit {
    fn submit(&mut self, tasks: std::ops::Range<u64>) {
        tasks.for_each(|task| self.core.on_submit(self.class, Job(task, true), &mut self.effects));
        self.core.settle(&mut self.effects);
    }

    fn grant(&mut self, number: u64) {
        self.core.on_granted(Millis(0), self.class, lease(number), worker(number as u32), &mut self.effects);
        self.core.settle(&mut self.effects);
    }

    fn done(&mut self, number: u64, task: u64, ran_us: u64) -> Option<Job> {
        let done = self.core.on_done(Millis(0), lease(number), Job(task, true).id(), ran_us, &mut self.effects);
        self.core.settle(&mut self.effects);
        done
    }

    fn take(&mut self) -> Vec<SubmitEffect<Job>> {
        self.core.sanity_check();
        std::mem::take(&mut self.effects)
    }

    fn sent(&mut self) -> Vec<(u64, u64)> {
        let send = |effect: SubmitEffect<Job>| match effect {
            SubmitEffect::Send { lease, task, .. } => Some((lease.number, task.0)),
            _ => None,
        };
        self.take().into_iter().filter_map(send).collect()
    }

    fn wanted(&mut self) -> Vec<u32> {
        let want = |effect: SubmitEffect<Job>| match effect {
            SubmitEffect::Demand(demand) => Some(demand.want),
            _ => None,
        };
        self.take().into_iter().filter_map(want).collect()
    }
}

#[test]
fn a_batch_of_tasks_makes_one_demand() {
    let mut kit = kit();
    kit.submit(0..100);
    assert_eq!(kit.wanted(), [100]);
}

#[test]
fn before_anything_is_known_a_worker_gets_one_task_at_a_time() {
    let mut kit = kit();
    kit.submit(0..10);
    kit.grant(1);
    kit.grant(2);
    assert_eq!(kit.sent(), [(1, 0), (2, 1)]);
}

#[test]
fn short_tasks_travel_in_crowds_and_few_workers_are_wanted_for_them() {
    let mut kit = kit();
    kit.submit(0..1_000);
    kit.grant(1);
    kit.take();
    assert_eq!(kit.done(1, 0, 100), Some(Job(0, true)));
    let sent = kit.sent();
    assert_eq!(sent.len(), 20, "as many as take two milliseconds");
    kit.done(1, 1, 100);
    kit.submit(0..0);
    assert!(kit.core.classes[&kit.class].told <= 20, "98 milliseconds of work in steps of five");
}

#[test]
fn a_long_task_holds_nobody_up() {
    let mut kit = kit();
    kit.submit(0..3);
    kit.grant(1);
    kit.take();
    kit.done(1, 0, 1_000_000);
    assert_eq!(kit.sent(), [(1, 1)]);
}

#[test]
fn a_lease_without_work_is_kept_for_a_while_and_then_given_back() {
    let mut kit = kit();
    kit.submit(0..1);
    kit.grant(1);
    kit.take();
    kit.done(1, 0, 10);
    assert_eq!(kit.take(), []);
    kit.core.on_time(Millis(LINGER_MS - 1), &mut kit.effects);
    assert_eq!(kit.take(), []);
    kit.core.on_time(Millis(LINGER_MS), &mut kit.effects);
    let effects = kit.take();
    assert_eq!(effects[0], SubmitEffect::Return(lease(1)));
    assert!(matches!(&effects[1], SubmitEffect::Demand(Demand { want: 0, .. })));
}

#[test]
fn a_recalled_lease_gets_no_more_tasks_and_goes_back_when_it_is_empty() {
    let mut kit = kit();
    kit.submit(0..3);
    kit.grant(1);
    kit.take();
    kit.core.on_recalled(lease(1), &mut kit.effects);
    assert_eq!(kit.take(), []);
    kit.done(1, 0, 10);
    assert_eq!(kit.take()[0], SubmitEffect::Return(lease(1)));
    kit.grant(2);
    assert_eq!(kit.sent()[0], (2, 1));
}

#[test]
fn what_was_at_a_lost_worker_is_told_and_the_rest_goes_elsewhere() {
    let mut kit = kit();
    kit.submit(0..3);
    kit.grant(1);
    kit.grant(2);
    kit.take();
    kit.core.on_gone(worker(1), &mut kit.effects);
    assert_eq!(kit.take(), [SubmitEffect::Lost(Job(0, true), worker(1))]);
    kit.done(2, 1, 10);
    assert_eq!(kit.sent(), [(2, 2)]);
}

#[test]
fn a_task_that_its_waiter_has_run_is_not_sent() {
    let mut kit = kit();
    kit.core.on_submit(kit.class, Job(0, false), &mut kit.effects);
    kit.submit(1..2);
    kit.grant(1);
    assert_eq!(kit.sent(), [(1, 1)]);
}

#[test]
fn what_can_never_run_is_told_for_each_task() {
    let mut kit = kit();
    kit.submit(0..2);
    kit.take();
    kit.core.on_infeasible(kit.class, "no node has so much", &mut kit.effects);
    assert_eq!(kit.take().len(), 2);
}
