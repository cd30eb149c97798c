//! Which task goes where, with hand-made leases.

use actinic_gcs::{resources::CPU, JobId, ResourceSet, WorkerId};

use super::*;

mod worlds;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Job(u64, bool);

impl Queued for Job {
    fn id(&self) -> TaskId {
        TaskId::driver(JobId(1)).child(self.0)
    }

    fn claim(&self) -> bool {
        self.1
    }

    fn function(&self) -> u64 {
        self.0 / FUNCTION_BASE
    }
}

/// Tasks from here on run another function.
const FUNCTION_BASE: u64 = 1_000_000;

struct Kit {
    core: SubmitCore<Job>,
    class: ClassId,
    effects: Vec<SubmitEffect<Job>>,
}

fn kit() -> Kit {
    let mut core = SubmitCore::default();
    let demand = ResourceSet::new().with(CPU, 1.0);
    let class = core.class(&ClassSpec { demand, retriable: true, ..ClassSpec::default() });
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

fn returned(effects: Vec<SubmitEffect<Job>>) -> Vec<u64> {
    let lease = |effect| if let SubmitEffect::Return(lease) = effect { Some(lease.number) } else { None };
    effects.into_iter().filter_map(lease).collect()
}

#[test]
fn an_idle_lease_goes_back_where_its_node_is_short_for_another_class() {
    let mut kit = kit();
    (1..=3).for_each(|number| kit.grant(number));
    kit.submit(0..1);
    let spec = |name, units| ClassSpec { demand: ResourceSet::new().with(name, units), ..ClassSpec::default() };
    let (other, elsewhere) = (kit.core.class(&spec(CPU, 0.5)), kit.core.class(&spec("tpu", 1.0)));
    for (class, task) in [(other, 10), (elsewhere, 11)] {
        kit.core.on_submit(class, Job(task, true), &mut kit.effects);
    }
    kit.take();
    let lacking = |name, units| ResourceSet::new().with(name, units);
    kit.core.on_short(elsewhere, NodeId(1), lacking("tpu", 1.0), &mut kit.effects);
    kit.core.on_short(other, NodeId(2), lacking(CPU, 0.5), &mut kit.effects);
    assert_eq!(returned(kit.take()), [0; 0], "nothing is idle that they could have");
    kit.core.on_short(other, NodeId(1), lacking(CPU, 0.5), &mut kit.effects);
    assert_eq!(returned(kit.take()), [2], "as much as lacks, and nothing that is busy");
    kit.done(1, 0, 5);
    assert_eq!(returned(kit.take()), [0; 0], "enough was given");
    kit.core.on_granted(Millis(1), other, lease(4), worker(4), &mut kit.effects);
    kit.submit(1..2);
    kit.done(3, 1, 5);
    assert_eq!(returned(kit.take()), [0; 0], "nobody waits any more");
}

#[test]
fn a_lease_makes_way_when_it_becomes_idle_and_not_while_tasks_wait_for_it() {
    let mut kit = kit();
    kit.grant(1);
    // Each takes so long that one is under way at a time.
    kit.submit(0..1);
    kit.done(1, 0, 10 * PIPELINE_US);
    kit.submit(1..4);
    let other = kit.core.class(&ClassSpec { demand: ResourceSet::new().with(CPU, 0.5), ..ClassSpec::default() });
    kit.core.on_submit(other, Job(10, true), &mut kit.effects);
    kit.core.on_short(other, NodeId(1), ResourceSet::new().with(CPU, 0.5), &mut kit.effects);
    for task in 1..3 {
        kit.done(1, task, 10 * PIPELINE_US);
        assert_eq!(returned(kit.take()), [0; 0], "its own tasks come first");
    }
    kit.done(1, 3, 10 * PIPELINE_US);
    assert_eq!(returned(kit.take()), [1]);
    // One that comes when nothing is left for it does not stay either.
    kit.core.on_short(other, NodeId(1), ResourceSet::new().with(CPU, 0.5), &mut kit.effects);
    kit.grant(2);
    assert_eq!(returned(kit.take()), [2]);
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
    assert!(matches!(&effects[1], SubmitEffect::Demand(demand) if demand.want == 0));
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
    assert!(kit.take().contains(&SubmitEffect::Return(lease(1))));
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
    let effects = kit.take();
    assert_eq!(effects.iter().filter(|effect| matches!(effect, SubmitEffect::Infeasible(..))).count(), 2);
    // Whoever has said so may be another than the node.
    assert!(effects.iter().any(|effect| matches!(effect, SubmitEffect::Demand(demand) if demand.want == 0)));
}

#[test]
fn one_long_function_does_not_keep_short_ones_from_travelling_in_crowds() {
    let mut kit = kit();
    let other = |task| Job(task + FUNCTION_BASE, true);
    kit.submit(0..2);
    kit.grant(1);
    kit.take();
    kit.done(1, 0, 10);
    kit.done(1, 1, 10);
    kit.take();
    kit.core.on_submit(kit.class, other(1), &mut kit.effects);
    kit.submit(2..10);
    assert_eq!(kit.sent(), [(1, FUNCTION_BASE + 1)], "nobody knows how long the other takes: it is alone");
    kit.core.on_done(Millis(0), lease(1), other(1).id(), 1_000_000, &mut kit.effects);
    assert_eq!(kit.sent().len(), 8);
}

#[test]
fn what_waits_behind_a_long_task_is_taken_back_and_goes_elsewhere_in_its_order() {
    let mut kit = kit();
    kit.submit(0..1);
    kit.grant(1);
    kit.take();
    kit.done(1, 0, 10);
    kit.submit(1..5);
    assert_eq!(kit.sent().len(), 4);
    kit.core.on_time(Millis(0), &mut kit.effects);
    kit.core.on_time(Millis(STALLED_MS - 1), &mut kit.effects);
    assert_eq!(kit.take(), []);
    kit.core.on_time(Millis(STALLED_MS), &mut kit.effects);
    let ids = |tasks: &[u64]| tasks.iter().map(|task| Job(*task, true).id()).collect::<Vec<_>>();
    let asked = SubmitEffect::TakeBack { lease: lease(1), worker: worker(1), tasks: ids(&[2, 3, 4]) };
    assert_eq!(kit.take(), [asked]);
    kit.core.on_time(Millis(STALLED_MS + 1), &mut kit.effects);
    assert_eq!(kit.take(), [], "once");
    kit.submit(5..6);
    // The worker had begun the second as well.
    kit.core.on_given_back(Millis(6), lease(1), &ids(&[3, 4]), &mut kit.effects);
    kit.core.settle(&mut kit.effects);
    assert_eq!(kit.wanted(), [2], "another worker is wanted beside the one that has stalled");
    kit.grant(2);
    assert_eq!(kit.sent(), [(2, 3), (2, 4), (2, 5)]);
}

#[test]
fn a_recalled_lease_gives_what_waits_there_to_others_at_once() {
    let mut kit = kit();
    kit.submit(0..1);
    kit.grant(1);
    kit.take();
    kit.done(1, 0, 10);
    kit.submit(1..3);
    kit.take();
    kit.core.on_recalled(lease(1), &mut kit.effects);
    assert!(matches!(&kit.take()[..], [SubmitEffect::TakeBack { tasks, .. }] if tasks.len() == 1));
}

#[test]
fn a_demand_tells_what_others_have_granted_and_the_work_behind_it() {
    let mut core = SubmitCore::<Job>::at(NodeId(9));
    let class = core.class(&ClassSpec::default());
    let mut effects = Vec::new();
    (0..3).for_each(|task| core.on_submit(class, Job(task, true), &mut effects));
    core.on_granted(Millis(0), class, lease(1), worker(1), &mut effects);
    core.settle(&mut effects);
    core.on_done(Millis(0), lease(1), Job(0, true).id(), 7_000, &mut effects);
    core.settle(&mut effects);
    let last = effects.iter().rev().find_map(|effect| match effect {
        SubmitEffect::Demand(demand) => Some((**demand).clone()),
        _ => None,
    });
    let last = last.unwrap();
    assert_eq!((last.elsewhere, last.work.tasks, last.work.task_us), (1, 2, 7_000));
}

#[test]
fn classes_of_which_nothing_is_left_are_forgotten() {
    let mut kit = kit();
    let demand = |cpus: usize| ResourceSet::new().with(CPU, cpus as f64);
    let spec = |cpus: usize| ClassSpec { demand: demand(cpus), retriable: true, ..ClassSpec::default() };
    for cpus in 2..3 * CLASSES_MAX {
        kit.core.class(&spec(cpus));
    }
    assert!(kit.core.classes.len() <= CLASSES_MAX + 1);
    assert_eq!(kit.core.class(&spec(1)), kit.class, "the first stays");
    let late = kit.core.class(&spec(5));
    kit.core.on_granted(Millis(0), ClassId(1), lease(1), worker(1), &mut kit.effects);
    assert_ne!(late, ClassId(1), "a number is never used twice");
    assert_eq!(kit.take(), [SubmitEffect::Return(lease(1))], "what comes for a forgotten one goes back");
}

#[test]
fn a_task_goes_to_the_lease_with_the_least_under_way_of_many() {
    let mut kit = kit();
    kit.submit(0..1);
    kit.grant(1);
    kit.take();
    kit.done(1, 0, 500);
    (2..=100).for_each(|number| kit.grant(number));
    kit.submit(1..201);
    let mut sent: Vec<u64> = kit.sent().into_iter().map(|(lease, _)| lease).collect();
    assert_eq!(sent[..100], (1..=100).collect::<Vec<u64>>()[..], "in the order of the grants where all are alike");
    sent.sort_unstable();
    assert_eq!(sent.chunks(2).filter(|pair| pair[0] == pair[1]).count(), 100, "each has two");
    kit.done(57, 57, 500);
    kit.submit(201..202);
    assert_eq!(kit.sent(), [(57, 201)]);
}

#[test]
fn a_lease_that_is_granted_twice_is_held_once() {
    let mut kit = kit();
    kit.submit(0..2);
    kit.grant(1);
    kit.grant(1);
    assert_eq!(kit.sent(), [(1, 0)]);
}

#[test]
fn a_recalled_lease_without_work_is_not_wanted_again() {
    let mut kit = kit();
    kit.submit(0..1);
    kit.grant(1);
    kit.done(1, 0, 10);
    kit.take();
    kit.core.on_recalled(lease(1), &mut kit.effects);
    let effects = kit.take();
    assert!(matches!(&effects[0], SubmitEffect::Demand(demand) if demand.want == 0), "before the lease: {effects:?}");
    assert_eq!(effects[1], SubmitEffect::Return(lease(1)));
}

#[test]
fn once_a_group_was_removed_no_task_is_sent_into_it_any_more() {
    let mut kit = kit();
    let (group, demand) = (actinic_gcs::PlacementGroupId(7), ResourceSet::new().with(CPU, 1.0));
    let strategy = crate::options::SchedulingStrategy::PlacementGroup { group, bundle: Some(0) };
    kit.class = kit.core.class(&ClassSpec { demand, strategy, retriable: true, ..ClassSpec::default() });
    kit.submit(0..3);
    kit.grant(1);
    kit.grant(2);
    assert_eq!(kit.sent(), [(1, 0), (2, 1)]);
    kit.done(2, 1, 1_000_000);
    assert_eq!(kit.sent(), [(2, 2)]);
    kit.done(2, 2, 1_000_000);
    kit.take();
    kit.submit(3..4);
    kit.submit(4..5);
    kit.take();
    // The second holds a task; the first idles, and the rest waits.
    kit.core.on_group_removed(group, &mut kit.effects);
    let effects = kit.take();
    assert!(effects
        .iter()
        .any(|effect| matches!(effect, SubmitEffect::Infeasible(Job(4, _), why) if why.contains("removed"))));
    kit.submit(5..6);
    assert!(kit.take().contains(&SubmitEffect::Infeasible(Job(5, true), "its placement group was removed".to_owned())));
    kit.done(1, 0, 1);
    assert!(kit.take().contains(&SubmitEffect::Return(lease(1))));
    kit.done(2, 3, 1);
    assert!(kit.take().contains(&SubmitEffect::Return(lease(2))));
}

#[test]
fn a_lease_that_comes_though_none_is_wanted_any_more_is_not_wanted_for_being_there() {
    let mut kit = kit();
    kit.submit(0..1);
    kit.grant(1);
    assert_eq!(kit.sent(), [(1, 0)]);
    kit.done(1, 0, 10);
    kit.take();
    // Its node grants another in the moment in which it comes back, since that it is not wanted takes a longer way.
    kit.core.on_time(Millis(10_000), &mut kit.effects);
    kit.core.settle(&mut kit.effects);
    let effects = kit.take();
    assert!(
        matches!(effects.iter().rfind(|e| matches!(e, SubmitEffect::Demand(_))), Some(SubmitEffect::Demand(d)) if d.want == 0)
    );
    assert_eq!(returned(effects), [1]);
    kit.grant(2);
    kit.core.settle(&mut kit.effects);
    assert_eq!(kit.wanted(), [0; 0]);
    kit.core.on_time(Millis(20_000), &mut kit.effects);
    kit.core.settle(&mut kit.effects);
    assert_eq!(returned(kit.take()), [2]);
}
