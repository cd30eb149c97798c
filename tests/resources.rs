//! Resources: CPUs, GPUs, memory and one's own; placement groups; what can never be met.
#![allow(clippy::unwrap_used)]

use actinic::{prelude::*, Error, PlacementGroup, TaskErrorKind};

#[path = "support/kit.rs"]
mod kit;
use kit::{eventually, failure, test, Gate, PATIENCE};

fn cpus(units: f64) -> ResourceSet {
    ResourceSet::new().with("CPU", units)
}

fn free(rt: &Runtime, name: &str) -> f64 {
    rt.available_resources().of(name).units()
}

#[remote]
fn visit(gate: Gate) -> Vec<u32> {
    let _inside = gate.enter();
    for _ in 0..10 {
        std::thread::yield_now();
    }
    actinic::gpu_ids()
}

#[remote]
fn hold(gate: Gate) -> Vec<u32> {
    gate.pass();
    actinic::gpu_ids()
}

#[remote]
fn meet(gate: Gate, count: usize) -> Vec<u32> {
    gate.meet(count);
    actinic::gpu_ids()
}

#[remote]
fn one() -> i64 {
    1
}

#[remote]
struct Tenant;

#[remote]
impl Tenant {
    fn new() -> Self {
        Self
    }

    fn gpus(&self) -> Vec<u32> {
        actinic::gpu_ids()
    }

    async fn gpus_async(&self) -> Vec<u32> {
        tokio::task::yield_now().await;
        actinic::gpu_ids()
    }
}

fn infeasible<T>(result: Result<T, TaskError>) -> String {
    let error = failure(result);
    match error.kind() {
        TaskErrorKind::Infeasible { .. } => error.to_string(),
        _ => panic!("{error}"),
    }
}

/// Has `task` started by somebody else and waits until it holds at the gate.
fn begun<T: Data>(rt: &Runtime, task: &ObjectRef<T>, gate: Gate, count: usize) {
    assert!(failure(rt.get_timeout(task, Duration::ZERO)).is_timeout());
    gate.wait_for(count);
}

// --- CPUs ----------------------------------------------------------------------------------------------------------

#[test]
fn ordinary_tasks_are_never_more_than_the_cpus() {
    test(|| {
        let rt = Runtime::builder().num_cpus(2).init().unwrap();
        let gate = Gate::new();
        let all: Vec<_> = (0..300).map(|_| visit.remote(gate)).collect();
        rt.get_timeout(&all, PATIENCE).unwrap();
        assert!(gate.inside_most() <= 2, "{} at once", gate.inside_most());
    });
}

#[test]
fn tasks_of_all_cpus_never_overlap_each_other_or_ordinary_ones() {
    test(|| {
        let rt = Runtime::builder().num_cpus(2).init().unwrap();
        let (wide, both) = (Gate::new(), Gate::new());
        let wides: Vec<_> = (0..100).map(|_| visit.options().num_cpus(2.0).remote(wide)).collect();
        rt.get_timeout(&wides, PATIENCE).unwrap();
        assert_eq!(wide.inside_most(), 1);
        let mixed: Vec<_> = (0..200)
            .map(|n| if n % 2 == 0 { visit.remote(both) } else { visit.options().num_cpus(2).remote(both) })
            .collect();
        rt.get_timeout(&mixed, PATIENCE).unwrap();
        assert!(both.inside_most() <= 2, "{} at once", both.inside_most());
        eventually("all is free again", || free(&rt, "CPU") == 2.0);
    });
}

#[test]
fn fractions_of_a_cpu_add_up() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).init().unwrap();
        let gate = Gate::new();
        let quarter = || meet.options().num_cpus(0.25);
        let four: Vec<_> = (0..4).map(|_| quarter().remote(gate, 4)).collect();
        rt.get_timeout(&four, PATIENCE).unwrap();
        let gate = Gate::new();
        let many: Vec<_> = (0..100).map(|_| visit.options().num_cpus(0.5).remote(gate)).collect();
        rt.get_timeout(&many, PATIENCE).unwrap();
        assert!(gate.inside_most() <= 2);
        let gate = Gate::new();
        let free_of_charge: Vec<_> = (0..20).map(|_| meet.options().num_cpus(0).remote(gate, 20)).collect();
        rt.get_timeout(&free_of_charge, PATIENCE).unwrap();
    });
}

#[test]
fn neither_plain_nor_wide_tasks_starve() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).init().unwrap();
        for memory in [0, 1] {
            let wide = || if memory == 0 { one.options().num_cpus(0.5) } else { one.options().memory(1) };
            // Each kind always has more to do while the other waits for its turn.
            let mut plain: Vec<_> = (0..50).map(|_| one.remote()).collect();
            let mut wides: Vec<_> = (0..50).map(|_| wide().remote()).collect();
            for _ in 0..20 {
                let (ready, rest) = rt.wait(&plain, 1, PATIENCE).unwrap();
                assert!(!ready.is_empty(), "plain tasks starve");
                plain = rest;
                plain.extend((0..ready.len()).map(|_| one.remote()));
                let (ready, rest) = rt.wait(&wides, 1, PATIENCE).unwrap();
                assert!(!ready.is_empty(), "wide tasks starve");
                wides = rest;
                wides.extend((0..ready.len()).map(|_| wide().remote()));
            }
            assert_eq!(rt.get_timeout(&plain, PATIENCE).unwrap().len(), 50);
            assert_eq!(rt.get_timeout(&wides, PATIENCE).unwrap().len(), 50);
        }
        eventually("all is free again", || free(&rt, "CPU") == 1.0);
    });
}

#[remote]
fn endless(stop: Gate, turns: Gate) -> i64 {
    turns.arrive();
    if stop.log().is_empty() {
        drop(endless.remote(stop, turns));
    }
    1
}

#[test]
fn a_wide_task_gets_its_turn_among_endless_plain_ones() {
    test(|| {
        let rt = Runtime::builder().num_cpus(2).init().unwrap();
        let (stop, turns) = (Gate::new(), Gate::new());
        let seeds: Vec<_> = (0..8).map(|_| endless.remote(stop, turns)).collect();
        rt.wait(&seeds, 1, PATIENCE).unwrap();
        for _ in 0..5 {
            assert_eq!(rt.get_timeout(&one.options().num_cpus(2).remote(), PATIENCE).unwrap(), 1);
        }
        let so_far = turns.arrived();
        turns.wait_for(so_far + 100);
        stop.note("stop");
        eventually("all have ended", || rt.graph().tasks.iter().all(|task| task.state == "Done"));
    });
}

#[remote]
fn nested_wide(depth: u32) -> u32 {
    match depth {
        0 => 0,
        _ => actinic::get(&nested_wide.options().num_cpus(2).remote(depth - 1)).unwrap() + 1,
    }
}

#[test]
fn a_wide_task_that_blocks_gives_its_cpus_back() {
    test(|| {
        let rt = Runtime::builder().num_cpus(2).init().unwrap();
        assert_eq!(rt.get_timeout(&nested_wide.options().num_cpus(2).remote(50), PATIENCE).unwrap(), 50);
        eventually("all is free again", || free(&rt, "CPU") == 2.0);
    });
}

// --- GPUs ----------------------------------------------------------------------------------------------------------

#[test]
fn whole_gpus_are_distinct_and_fractions_share_one() {
    test(|| {
        let rt = Runtime::builder().num_cpus(4).num_gpus(4).init().unwrap();
        let gate = Gate::new();
        let whole: Vec<_> = (0..4).map(|_| meet.options().num_gpus(1).remote(gate, 4)).collect();
        let mut ids: Vec<u32> = rt.get_timeout(&whole, PATIENCE).unwrap().concat();
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2, 3]);

        let gate = Gate::new();
        let pairs: Vec<_> = (0..2).map(|_| meet.options().num_gpus(2).remote(gate, 2)).collect();
        let mut ids: Vec<u32> = rt.get_timeout(&pairs, PATIENCE).unwrap().concat();
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2, 3]);

        let gate = Gate::new();
        let halves: Vec<_> = (0..8).map(|_| meet.options().num_cpus(0.5).num_gpus(0.5).remote(gate, 8)).collect();
        let ids: Vec<u32> = rt.get_timeout(&halves, PATIENCE).unwrap().concat();
        for gpu in 0..4 {
            assert_eq!(ids.iter().filter(|id| **id == gpu).count(), 2, "{ids:?}");
        }
        assert!(actinic::gpu_ids().is_empty() && rt.get(&visit.remote(Gate::new())).unwrap().is_empty());
        eventually("all is free again", || free(&rt, "GPU") == 4.0);
    });
}

#[test]
fn an_actor_holds_its_gpus_as_long_as_it_lives() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).num_gpus(2).init().unwrap();
        let tenants: Vec<_> = (0..2).map(|_| Tenant::options().num_gpus(1).remote()).collect();
        let (a, b) = (tenants[0].gpus(), tenants[1].gpus_async());
        let (a, b) = (rt.get_timeout(&a, PATIENCE).unwrap(), rt.get_timeout(&b, PATIENCE).unwrap());
        assert_eq!((a.len(), b.len()), (1, 1));
        assert_ne!(a, b);
        assert_eq!(free(&rt, "GPU"), 0.0);
        let waiting = Tenant::options().num_gpus(1).remote();
        let late = waiting.gpus();
        assert!(failure(rt.get_timeout(&late, Duration::from_millis(20))).is_timeout());
        drop(tenants);
        assert_eq!(rt.get_timeout(&late, PATIENCE).unwrap().len(), 1);
        waiting.kill();
        eventually("all is free again", || free(&rt, "GPU") == 2.0);
    });
}

// --- one's own resources and memory --------------------------------------------------------------------------------

#[test]
fn memory_and_resources_of_ones_own_limit_what_runs() {
    test(|| {
        let rt = Runtime::builder().num_cpus(8).memory(1_000).resource("tpu", 3.0).init().unwrap();
        assert_eq!(rt.cluster_resources().of("tpu").units(), 3.0);
        let (tpu, memory) = (Gate::new(), Gate::new());
        let tpus: Vec<_> = (0..60).map(|_| visit.options().resource("tpu", 1.5).remote(tpu)).collect();
        let memories: Vec<_> = (0..60).map(|_| visit.options().memory(400).remote(memory)).collect();
        rt.get_timeout(&tpus, PATIENCE).unwrap();
        rt.get_timeout(&memories, PATIENCE).unwrap();
        assert!(tpu.inside_most() <= 2 && memory.inside_most() <= 2);
        eventually("all is free again", || free(&rt, "tpu") == 3.0 && free(&rt, "memory") == 1_000.0);
    });
}

#[test]
fn what_can_never_be_met_is_told_at_once() {
    test(|| {
        let rt = Runtime::builder().num_cpus(2).num_gpus(1).memory(100).init().unwrap();
        let text = infeasible(one.options().num_cpus(3).remote().try_get().unwrap());
        assert!(text.contains("one") && text.contains("CPU"), "{text}");
        infeasible(one.options().num_gpus(2).remote().try_get().unwrap());
        infeasible(one.options().memory(101).remote().try_get().unwrap());
        infeasible(one.options().resource("tpu", 1).remote().try_get().unwrap());
        infeasible(rt.get(&Tenant::options().num_gpus(2).remote().gpus()));
        let refused = Tenant::options().num_cpus(3).try_remote();
        assert!(matches!(refused, Err(Error::Task(error)) if matches!(error.kind(), TaskErrorKind::Infeasible { .. })));
        assert_eq!(rt.get(&one.remote()).unwrap(), 1);
    });
}

#[test]
fn a_task_for_another_node_is_refused() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).init().unwrap();
        let other = actinic::ids::NodeId(1);
        let hard = SchedulingStrategy::NodeAffinity { node: other, soft: false };
        infeasible(rt.get_timeout(&one.options().scheduling_strategy(hard).remote(), PATIENCE));
        let soft = SchedulingStrategy::NodeAffinity { node: other, soft: true };
        assert_eq!(rt.get_timeout(&one.options().scheduling_strategy(soft).remote(), PATIENCE).unwrap(), 1);
        let here = SchedulingStrategy::NodeAffinity { node: rt.node_id(), soft: false };
        assert_eq!(rt.get_timeout(&one.options().scheduling_strategy(here).remote(), PATIENCE).unwrap(), 1);
        let spread = one.options().scheduling_strategy(SchedulingStrategy::Spread).remote();
        assert_eq!(rt.get_timeout(&spread, PATIENCE).unwrap(), 1);
    });
}

// --- explain -------------------------------------------------------------------------------------------------------

#[test]
fn explain_says_which_resource_a_task_waits_for() {
    test(|| {
        let rt = Runtime::builder().num_cpus(2).num_gpus(1).init().unwrap();
        let gate = Gate::new();
        let holder = hold.options().num_gpus(1).remote(gate);
        begun(&rt, &holder, gate, 1);
        let waiting: Vec<_> = (0..2).map(|_| one.options().num_gpus(1).remote()).collect();
        eventually("both wait", || rt.explain(&waiting[1]).contains("before it"));
        let text = rt.explain(&waiting[1]);
        for part in ["one", "it waits for", "GPU", "free are", "1 tasks of the same demand are before it"] {
            assert!(text.contains(part), "{text}");
        }
        gate.open();
        rt.get_timeout(&waiting, PATIENCE).unwrap();
    });
}

// --- placement groups ----------------------------------------------------------------------------------------------

fn group(rt: &Runtime, bundles: Vec<ResourceSet>, strategy: PlacementStrategy) -> PlacementGroup {
    let group = rt.placement_group(bundles, strategy).unwrap();
    assert!(group.wait(PATIENCE).unwrap());
    group
}

#[test]
fn one_node_holds_groups_of_all_strategies_but_strict_spread() {
    test(|| {
        let rt = Runtime::builder().num_cpus(4).init().unwrap();
        for strategy in [PlacementStrategy::Pack, PlacementStrategy::Spread, PlacementStrategy::StrictPack] {
            let group = group(&rt, vec![cpus(1.0), cpus(1.0)], strategy);
            assert_eq!(group.bundles().len(), 2);
            rt.get_timeout(&group.ready(), PATIENCE).unwrap();
            assert_eq!(free(&rt, "CPU"), 2.0);
            rt.remove_placement_group(&group);
            eventually("it gives its CPUs back", || free(&rt, "CPU") == 4.0);
        }
        let one_bundle = group(&rt, vec![cpus(1.0)], PlacementStrategy::StrictSpread);
        rt.remove_placement_group(&one_bundle);
        let error = rt.placement_group(vec![cpus(1.0), cpus(1.0)], PlacementStrategy::StrictSpread);
        assert!(matches!(error, Err(Error::PlacementGroup(_))));
        assert!(rt.placement_group(vec![cpus(3.0), cpus(2.0)], PlacementStrategy::Pack).is_err());
        assert!(rt.placement_group(Vec::new(), PlacementStrategy::Pack).is_err());
        assert_eq!(rt.get_timeout(&one.options().num_cpus(4).remote(), PATIENCE).unwrap(), 1);
    });
}

#[test]
fn tasks_and_actors_run_in_the_bundles_of_a_group() {
    test(|| {
        let rt = Runtime::builder().num_cpus(3).num_gpus(2).init().unwrap();
        let bundles = vec![cpus(1.0).with("GPU", 1.0), cpus(1.0).with("GPU", 1.0)];
        let group = group(&rt, bundles, PlacementStrategy::Pack);
        let gate = Gate::new();
        let in_bundle = |bundle| meet.options().num_gpus(1).placement_group(&group, bundle).remote(gate, 2);
        let ids = rt.get_timeout(&[in_bundle(0), in_bundle(1)], PATIENCE).unwrap();
        assert!(ids[0].len() == 1 && ids[1].len() == 1 && ids[0] != ids[1], "{ids:?}");
        let tenant = Tenant::options().num_gpus(1).placement_group(&group, 0).remote();
        assert_eq!(rt.get_timeout(&tenant.gpus(), PATIENCE).unwrap(), ids[0], "the bundle's own device");

        // The bundle is full now: another task waits for the actor to end, and one outside of the group for a GPU.
        let inside = visit.options().num_cpus(0).num_gpus(1).placement_group(&group, 0).remote(Gate::new());
        let outside = visit.options().num_gpus(1).remote(Gate::new());
        assert!(failure(rt.get_timeout(&inside, Duration::from_millis(20))).is_timeout());
        let text = rt.explain(&inside);
        assert!(text.contains("in bundle 0 of placement group"), "{text}");
        drop(tenant);
        assert_eq!(rt.get_timeout(&inside, PATIENCE).unwrap(), ids[0]);
        assert!(!outside.is_ready());
        rt.remove_placement_group(&group);
        assert_eq!(rt.get_timeout(&outside, PATIENCE).unwrap().len(), 1);
        eventually("all is free again", || free(&rt, "CPU") == 3.0 && free(&rt, "GPU") == 2.0);
    });
}

#[test]
fn what_does_not_fit_a_bundle_is_told_at_once() {
    test(|| {
        let rt = Runtime::builder().num_cpus(4).init().unwrap();
        let group = group(&rt, vec![cpus(1.0), cpus(2.0)], PlacementStrategy::Pack);
        infeasible(one.options().num_cpus(2).placement_group(&group, 0).remote().try_get().unwrap());
        infeasible(one.options().num_cpus(3).placement_group(&group, None).remote().try_get().unwrap());
        infeasible(one.options().placement_group(&group, 2).remote().try_get().unwrap());
        assert_eq!(
            rt.get_timeout(&one.options().num_cpus(2).placement_group(&group, None).remote(), PATIENCE).unwrap(),
            1
        );
        rt.remove_placement_group(&group);
        infeasible(rt.get_timeout(&one.options().placement_group(&group, 0).remote(), PATIENCE));
    });
}

#[test]
fn a_group_waits_for_busy_resources_and_says_so() {
    test(|| {
        let rt = Runtime::builder().num_cpus(2).init().unwrap();
        let gate = Gate::new();
        let holders = [hold.remote(gate), hold.remote(gate)];
        begun(&rt, &holders[0], gate, 2);
        let waiting = rt.placement_group(vec![cpus(2.0)], PlacementStrategy::Pack).unwrap();
        assert!(!waiting.wait(Duration::from_millis(20)).unwrap());
        let task = one.options().placement_group(&waiting, 0).remote();
        eventually("the task waits", || rt.explain(&task).contains("placement group"));
        gate.open();
        assert!(waiting.wait(PATIENCE).unwrap());
        assert_eq!(rt.get_timeout(&task, PATIENCE).unwrap(), 1);
        rt.remove_placement_group(&waiting);
        assert_eq!(rt.get_timeout(&holders, PATIENCE).unwrap().len(), 2);
        assert_eq!(rt.get_timeout(&one.remote(), PATIENCE).unwrap(), 1);
    });
}

#[test]
fn a_group_that_is_removed_fails_what_waits_in_it() {
    test(|| {
        let rt = Runtime::builder().num_cpus(2).init().unwrap();
        let group = group(&rt, vec![cpus(1.0)], PlacementStrategy::Pack);
        let gate = Gate::new();
        let holder = hold.options().placement_group(&group, 0).remote(gate);
        begun(&rt, &holder, gate, 1);
        let queued = one.options().placement_group(&group, 0).remote();
        let tenant = Tenant::options().num_cpus(1).placement_group(&group, 0).remote();
        let call = tenant.gpus();
        let exit = tenant.watch();
        rt.remove_placement_group(&group);
        infeasible(rt.get_timeout(&queued, PATIENCE));
        assert!(rt.get_timeout(&call, PATIENCE).is_err());
        rt.get_timeout(&exit, PATIENCE).unwrap();
        gate.open();
        rt.get_timeout(&holder, PATIENCE).unwrap();
        eventually("all is free again", || free(&rt, "CPU") == 2.0);
    });
}

#[test]
fn cancelled_tasks_give_back_what_they_were_granted() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).num_gpus(1).init().unwrap();
        for _ in 0..200 {
            let tasks: Vec<_> = (0..4).map(|_| one.options().num_gpus(1).remote()).collect();
            for task in &tasks {
                rt.cancel(task);
            }
            rt.wait(&tasks, 4, PATIENCE).unwrap();
        }
        eventually("all is free again", || free(&rt, "GPU") == 1.0 && free(&rt, "CPU") == 1.0);
        assert_eq!(rt.get_timeout(&one.options().num_gpus(1).remote(), PATIENCE).unwrap(), 1);
    });
}
