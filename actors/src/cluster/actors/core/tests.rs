//! Where actors live and what becomes of them, with hand-made nodes and hosts.

use actinic_gcs::{
    spec::{ActorSpec, Lifetime, Limit},
    FunctionId, JobId, ResourceSet, TaskId, WorkerId,
};

use super::*;
use crate::{cluster::wire::ExeHash, options::ActorOptions, supervision::Backoff};

const HERE: NodeId = NodeId(1);
const THERE: NodeId = NodeId(2);

fn process(node: NodeId, worker: u32) -> ProcessId {
    ProcessId { node, worker: WorkerId(worker) }
}

fn owner() -> ProcessId {
    process(HERE, 7)
}

fn code() -> JobCode {
    JobCode {
        job: JobId(1),
        exe: ExeHash([0; 32]),
        exe_bytes: 1,
        namespace: "default".to_owned(),
        driver: owner(),
        cwd: String::new(),
        env: Vec::new(),
        functions: 0,
    }
}

fn new(id: u128, max_restarts: Option<u32>) -> NewActor {
    let spec = ActorSpec {
        id: ActorId(id),
        class: FunctionId(1),
        class_name: "C".into(),
        creation_task: TaskId(id),
        name: None,
        namespace: "default".into(),
        lifetime: Lifetime::Job(JobId(1)),
        max_restarts: Limit::Unlimited,
        max_task_retries: Limit::AtMost(0),
        max_concurrency: 1,
        max_pending_calls: Limit::Unlimited,
        checkpoint_every: None,
        resources: ResourceSet::new(),
        owner: None,
    };
    let options = ActorOptions { max_restarts, backoff: Backoff::NONE, ..ActorOptions::default() };
    NewActor { spec, owner: owner(), parent: TaskId(0), options }
}

struct World {
    core: ActorCore,
    effects: Vec<ActorEffect>,
    leases: u64,
}

impl World {
    fn new() -> Self {
        Self { core: ActorCore::new(HERE), effects: Vec::new(), leases: 0 }
    }

    fn make(&mut self, id: u128, max_restarts: Option<u32>) {
        self.core.on_declare(owner(), new(id, max_restarts), code(), &mut self.effects);
        self.core.on_construct(ActorId(id), Vec::new(), &mut self.effects);
        self.core.place(Millis(0), &mut self.effects);
    }

    fn take(&mut self) -> Vec<ActorEffect> {
        self.core.sanity_check();
        std::mem::take(&mut self.effects)
    }

    /// Grants what is wanted, each on a worker of this number on the node that was asked for, or here.
    fn grant(&mut self, worker: u32) -> Vec<LeaseId> {
        let wanted: Vec<Demand> = self
            .take()
            .into_iter()
            .filter_map(|effect| match effect {
                ActorEffect::Demand(_, demand) if demand.want > 0 => Some(demand),
                _ => None,
            })
            .collect();
        let mut granted = Vec::new();
        for demand in wanted {
            let node = match demand.spec.strategy {
                SchedulingStrategy::NodeAffinity { node, .. } => node,
                _ => HERE,
            };
            self.leases += 1;
            let lease = LeaseId { node, number: self.leases };
            let host = process(node, worker);
            self.core.on_granted(demand.class, lease, host, Doors::default(), Vec::new(), &mut self.effects);
            granted.push(lease);
        }
        granted
    }
}

fn told(effects: &[ActorEffect], to: ProcessId) -> Vec<ActorWhere> {
    let word = |effect: &ActorEffect| match effect {
        ActorEffect::Tell(told, _, place) if *told == to => Some(place.clone()),
        _ => None,
    };
    effects.iter().filter_map(word).collect()
}

#[test]
fn an_actor_is_hosted_under_a_lease_of_its_own_and_its_watchers_hear_of_it() {
    let mut world = World::new();
    world.core.on_watch(Millis(0), ActorId(1), process(THERE, 3), &mut world.effects);
    assert!(world.take().is_empty(), "nobody knows of it yet");
    world.make(1, Some(0));
    let leases = world.grant(5);
    assert!(world.take().iter().any(|effect| matches!(effect, ActorEffect::Host(host, _) if host.worker.0 == 5)));
    world.core.on_up(ActorId(1), leases[0], &mut world.effects);
    let effects = world.take();
    for watcher in [owner(), process(THERE, 3)] {
        assert!(matches!(&told(&effects, watcher)[..], [ActorWhere::Alive { .. }]), "{effects:?}");
    }
}

#[test]
fn light_actors_are_spread_over_the_nodes() {
    let mut world = World::new();
    world.core.on_node(THERE);
    (1..=10).for_each(|id| world.make(id, Some(0)));
    let leases = world.grant(5);
    assert_eq!(leases.iter().filter(|lease| lease.node == HERE).count(), 5);
}

#[test]
fn a_lost_host_costs_a_restart_as_long_as_there_are_any() {
    let mut world = World::new();
    world.make(1, Some(1));
    world.grant(5);
    world.take();
    world.core.on_gone(Millis(10), process(HERE, 5), "killed", &mut world.effects);
    assert!(matches!(&told(&world.take(), owner())[..], [ActorWhere::Away { .. }]));
    world.core.on_time(Millis(20), &mut world.effects);
    let again = world.grant(6);
    assert_eq!(again.len(), 1);
    world.core.on_up(ActorId(1), again[0], &mut world.effects);
    world.take();
    world.core.on_gone(Millis(30), process(HERE, 6), "killed", &mut world.effects);
    let effects = world.take();
    assert!(matches!(&told(&effects, owner())[..], [ActorWhere::Dead { .. }]), "{effects:?}");
    assert!(world.core.is_empty());
    world.core.on_watch(Millis(40), ActorId(1), owner(), &mut world.effects);
    assert!(matches!(&told(&world.take(), owner())[..], [ActorWhere::Dead { .. }]), "it is remembered");
}

#[test]
fn restarts_by_the_host_count_as_well() {
    let mut world = World::new();
    world.make(1, Some(1));
    let lease = world.grant(5)[0];
    world.core.on_restarting(Millis(5), ActorId(1), lease, &mut world.effects);
    world.core.on_gone(Millis(10), process(HERE, 5), "killed", &mut world.effects);
    assert!(matches!(&told(&world.take(), owner())[..], [ActorWhere::Dead { .. }]));
}

#[test]
fn what_a_former_host_says_is_not_heard() {
    let mut world = World::new();
    world.make(1, None);
    let former = world.grant(5)[0];
    world.core.on_gone(Millis(10), process(HERE, 5), "killed", &mut world.effects);
    world.core.on_time(Millis(20), &mut world.effects);
    world.grant(6);
    world.take();
    world.core.on_down(ActorId(1), former, "late", Exit::Killed, &mut world.effects);
    world.core.on_up(ActorId(1), former, &mut world.effects);
    assert!(world.take().is_empty());
}

#[test]
fn an_actor_ends_with_its_owner_and_its_lease_goes_back() {
    let mut world = World::new();
    world.make(1, None);
    let lease = world.grant(5)[0];
    world.take();
    world.core.on_gone(Millis(10), owner(), "it ended", &mut world.effects);
    assert!(world.take().contains(&ActorEffect::Return(lease)));
    assert!(world.core.is_empty());
}

#[test]
fn a_killed_actor_gives_up_its_demand() {
    let mut world = World::new();
    world.make(1, None);
    world.take();
    world.core.on_end(ActorId(1), "it was killed", false, &mut world.effects);
    let effects = world.take();
    assert!(effects.iter().any(|effect| matches!(effect, ActorEffect::Demand(_, demand) if demand.want == 0)));
}

#[test]
fn a_lease_that_nobody_wants_any_more_goes_back() {
    let mut world = World::new();
    let lease = LeaseId { node: HERE, number: 9 };
    world.core.on_granted(ClassId(4), lease, process(HERE, 5), Doors::default(), Vec::new(), &mut world.effects);
    assert_eq!(world.take(), [ActorEffect::Return(lease)]);
}

#[test]
fn who_asks_for_an_actor_that_nobody_declares_is_answered_in_time() {
    let mut world = World::new();
    world.core.on_watch(Millis(0), ActorId(1), owner(), &mut world.effects);
    assert!(world.core.waits_for_time());
    world.core.on_time(Millis(UNKNOWN_MS_MAX), &mut world.effects);
    assert!(matches!(&told(&world.take(), owner())[..], [ActorWhere::Dead { .. }]));
}

#[test]
fn a_node_that_is_lost_while_an_actor_is_placed_there_is_replaced_by_another() {
    let mut world = World::new();
    world.core.on_node(THERE);
    world.make(1, None);
    world.make(2, None);
    let strategies = |effects: &[ActorEffect]| -> Vec<NodeId> {
        let on = |effect: &ActorEffect| match effect {
            ActorEffect::Demand(_, demand) => match demand.spec.strategy {
                SchedulingStrategy::NodeAffinity { node, .. } => Some(node),
                _ => None,
            },
            _ => None,
        };
        effects.iter().filter_map(on).collect()
    };
    assert_eq!(strategies(&world.take()), [HERE, THERE]);
    world.core.on_node_gone(Millis(1), THERE, "cut", &mut world.effects);
    world.core.on_time(Millis(RETELL_MS), &mut world.effects);
    assert!(strategies(&world.take()).iter().all(|node| *node == HERE));
}

#[test]
fn an_actor_whose_lease_is_wanted_back_ends_and_is_not_made_again() {
    let mut world = World::new();
    world.make(1, None);
    let lease = world.grant(5)[0];
    world.core.on_up(ActorId(1), lease, &mut world.effects);
    world.take();
    world.core.on_recalled(lease, &mut world.effects);
    let effects = world.take();
    assert!(effects.contains(&ActorEffect::Return(lease)), "{effects:?}");
    let end = |effect: &ActorEffect| matches!(effect, ActorEffect::End { reason, drain: false, .. } if reason.contains("placement group"));
    assert!(effects.iter().any(end), "{effects:?}");
    assert!(matches!(&told(&effects, owner())[..], [ActorWhere::Dead { .. }]));
    assert!(world.core.is_empty());
}
