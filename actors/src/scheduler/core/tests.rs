//! The scheduler core, by events alone.

use actinic_gcs::resources::MEMORY;

use super::*;
use crate::placement::PlacementStrategy;

type Core = SchedulerCore<u32>;
type Effects = Vec<SchedulerEffect<u32>>;

fn core(cpus: f64, gpus: f64) -> Core {
    let total = ResourceSet::new().with(CPU, cpus).with(GPU, gpus).with(MEMORY, 1e9);
    SchedulerCore::new(NodeId(1), NodeResources::new(total))
}

fn submit(core: &mut Core, task: u32, demand: ResourceSet) -> Effects {
    let mut effects = Vec::new();
    core.on_submit(task, demand, SchedulingStrategy::Default, &mut effects);
    core.dispatch(&mut effects);
    core.sanity_check();
    effects
}

fn gpu(units: f64) -> ResourceSet {
    ResourceSet::new().with(GPU, units)
}

fn started(effects: &Effects) -> Vec<(u32, u64, Vec<u32>)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            SchedulerEffect::Start { task, grant, gpus } => Some((*task, *grant, gpus.clone())),
            _ => None,
        })
        .collect()
}

fn finish(core: &mut Core, grant: u64, lane_waits: bool) -> Effects {
    let mut effects = Vec::new();
    core.on_finished(grant, lane_waits, &mut effects);
    core.dispatch(&mut effects);
    core.sanity_check();
    effects
}

fn returned(core: &mut Core, count: u32) -> Effects {
    let mut effects = Vec::new();
    core.on_tokens_returned(count, &mut effects);
    core.dispatch(&mut effects);
    core.sanity_check();
    effects
}

#[test]
fn each_task_is_told_its_own_device() {
    let mut core = core(2.0, 2.0);
    let first = started(&submit(&mut core, 1, gpu(1.0)));
    let second = started(&submit(&mut core, 2, gpu(1.0)));
    assert_eq!((first[0].2.clone(), second[0].2.clone()), (vec![0], vec![1]));
    assert!(started(&submit(&mut core, 3, gpu(1.0))).is_empty());
    assert_eq!(started(&finish(&mut core, second[0].1, false))[0].2, vec![1]);
}

#[test]
fn two_halves_share_a_device() {
    let mut core = core(2.0, 1.0);
    let all: Vec<_> = (0..2).flat_map(|n| started(&submit(&mut core, n, gpu(0.5)))).map(|s| s.2).collect();
    assert_eq!(all, vec![vec![0], vec![0]]);
}

#[test]
fn a_task_that_needs_the_lanes_cpus_gets_them_back() {
    let mut core = core(2.0, 0.0);
    let effects = submit(&mut core, 1, ResourceSet::new().with(CPU, 2.0));
    assert_eq!(effects, vec![SchedulerEffect::Reclaim(2)]);
    assert!(started(&returned(&mut core, 1)).is_empty());
    let run = started(&returned(&mut core, 1));
    assert_eq!(run[0].0, 1);
    assert_eq!(finish(&mut core, run[0].1, false), vec![SchedulerEffect::Lend(2)]);
}

#[test]
fn the_lane_gets_a_cpu_between_two_that_want_them_all() {
    let mut core = core(1.0, 0.0);
    let wide = || ResourceSet::new().with(CPU, 1.0).with(MEMORY, 1.0);
    submit(&mut core, 1, wide());
    let run = started(&returned(&mut core, 1));
    submit(&mut core, 2, wide());
    let effects = finish(&mut core, run[0].1, true);
    assert_eq!(effects, vec![SchedulerEffect::Lend(1), SchedulerEffect::Reclaim(1)]);
    assert_eq!(started(&returned(&mut core, 1))[0].0, 2);
}

#[test]
fn a_blocked_task_gives_its_cpu_back_and_keeps_its_gpu() {
    let mut core = core(1.0, 1.0);
    let both = ResourceSet::new().with(CPU, 1.0).with(GPU, 1.0);
    submit(&mut core, 1, both.clone());
    let run = started(&returned(&mut core, 1));
    let mut effects = Vec::new();
    core.on_blocked(run[0].1, &mut effects);
    core.dispatch(&mut effects);
    assert_eq!(effects, vec![SchedulerEffect::Lend(1)]);
    assert!(started(&submit(&mut core, 2, gpu(1.0))).is_empty());
    core.on_unblocked(run[0].1, &mut Vec::new());
    core.sanity_check();
    assert_eq!(started(&finish(&mut core, run[0].1, false))[0].0, 2);
}

#[test]
fn a_smaller_demand_passes_one_that_does_not_fit() {
    let mut core = core(1.0, 1.0);
    let run = started(&submit(&mut core, 1, gpu(0.5)));
    assert!(started(&submit(&mut core, 2, gpu(1.0))).is_empty());
    assert_eq!(started(&submit(&mut core, 3, gpu(0.5)))[0].0, 3);
    assert!(core.explain(|task| *task == 2).is_some_and(|text| text.contains("GPU: 1")));
    assert!(core.explain(|task| *task == run[0].0).is_none());
}

#[test]
fn a_group_takes_its_bundles_from_the_lane_and_its_tasks_run_inside() {
    let mut core = core(2.0, 0.0);
    let id = PlacementGroupId(7);
    let bundles = vec![ResourceSet::new().with(CPU, 1.0); 2];
    let request = GroupRequest { id, bundles, strategy: PlacementStrategy::Pack, wait_for_nodes: false };
    let mut effects = Vec::new();
    core.on_create_group(request, &mut effects).expect("it fits");
    core.dispatch(&mut effects);
    assert_eq!(effects, vec![SchedulerEffect::Reclaim(2)]);
    assert_eq!(returned(&mut core, 2), vec![SchedulerEffect::Placed(id)]);
    let strategy = SchedulingStrategy::PlacementGroup { group: id, bundle: Some(1) };
    let mut effects = Vec::new();
    core.on_submit(5, ResourceSet::new().with(CPU, 1.0), strategy, &mut effects);
    core.dispatch(&mut effects);
    assert_eq!(started(&effects)[0].0, 5);
    core.on_remove_group(id, &mut effects);
    core.sanity_check();
}

#[test]
fn strict_spread_over_one_node_is_refused_with_its_reason() {
    let mut core = core(2.0, 0.0);
    let request = GroupRequest {
        id: PlacementGroupId(7),
        bundles: vec![ResourceSet::new().with(CPU, 1.0); 2],
        strategy: PlacementStrategy::StrictSpread,
        wait_for_nodes: false,
    };
    let error = core.on_create_group(request, &mut Vec::new()).expect_err("one node is too few");
    assert!(error.to_string().contains("different nodes"), "{error}");
}
