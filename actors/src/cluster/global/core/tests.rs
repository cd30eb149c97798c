//! Where spilled demands go, in a world of a few nodes.

use actinic_gcs::{resources::CPU, JobId, WorkerId};

use super::*;
use crate::cluster::wire::{ClassSpec, ExeHash, JobCode};

fn node(id: u128, cpus: f64) -> NodeSpec {
    NodeSpec {
        id: NodeId(id),
        address: String::new(),
        hostname: String::new(),
        head: id == 1,
        resources: ResourceSet::new().with(CPU, cpus),
        labels: BTreeMap::new(),
        object_store_bytes: 0,
    }
}

fn spilled(want: u32, cpus: f64, strategy: SchedulingStrategy, revision: u64) -> Spilled {
    let owner = ProcessId { node: NodeId(1), worker: WorkerId(1) };
    let (exe, namespace) = (ExeHash([0; 32]), "default".to_owned());
    let code = JobCode {
        job: JobId(1),
        exe,
        exe_bytes: 1,
        namespace,
        driver: owner,
        cwd: String::new(),
        env: Vec::new(),
        functions: 0,
    };
    let spec = ClassSpec { demand: ResourceSet::new().with(CPU, cpus), strategy };
    Spilled { owner, code, class: ClassId(0), spec, want, revision }
}

fn core(nodes: &[(u128, f64)]) -> GlobalCore {
    let mut core = GlobalCore::new();
    nodes.iter().for_each(|(id, cpus)| core.on_node(node(*id, *cpus)));
    core
}

fn placed(core: &mut GlobalCore, now: u64) -> Vec<(u128, u32)> {
    let mut effects = Vec::new();
    core.place(Millis(now), &mut effects);
    effects.into_iter().map(|GlobalEffect::Place(node, told)| (node.0, told.want)).collect()
}

#[test]
fn what_waits_at_home_goes_where_something_is_free() {
    let mut core = core(&[(1, 2.0), (2, 2.0), (3, 4.0)]);
    core.on_spilled(Millis(0), spilled(4, 1.0, SchedulingStrategy::Default, 1));
    assert_eq!(placed(&mut core, 0), [(2, 1), (3, 3)]);
}

#[test]
fn no_node_is_promised_more_than_it_has() {
    let mut core = core(&[(1, 2.0), (2, 2.0)]);
    core.on_spilled(Millis(0), spilled(100, 1.0, SchedulingStrategy::Default, 1));
    assert_eq!(placed(&mut core, 0), [(2, 2)]);
    let free = ResourceSet::new().with(CPU, 1.0);
    core.on_load(NodeId(2), NodeLoad { free, revision: 1, ..NodeLoad::default() });
    assert_eq!(placed(&mut core, 1), [(2, 3)], "one more, now that one is free");
}

#[test]
fn what_home_can_never_hold_waits_where_it_can_be_held() {
    let mut core = core(&[(1, 2.0), (2, 8.0)]);
    core.on_load(NodeId(2), NodeLoad { free: ResourceSet::new(), waiting: 3, workers: 1, revision: 1 });
    core.on_spilled(Millis(0), spilled(1, 4.0, SchedulingStrategy::Default, 1));
    assert_eq!(placed(&mut core, 0), [(2, 1)]);
}

#[test]
fn what_no_node_can_hold_starts_when_one_joins_that_can() {
    let mut core = core(&[(1, 2.0)]);
    core.on_spilled(Millis(0), spilled(1, 4.0, SchedulingStrategy::Default, 1));
    assert_eq!(placed(&mut core, 0), []);
    assert_eq!(core.infeasible().len(), 1);
    core.on_node(node(2, 8.0));
    assert_eq!(placed(&mut core, 1), [(2, 1)]);
    assert_eq!(core.infeasible().len(), 0);
}

#[test]
fn a_spread_demand_goes_to_all_nodes_in_turn() {
    let mut core = core(&[(1, 4.0), (2, 4.0), (3, 4.0)]);
    core.on_spilled(Millis(0), spilled(6, 1.0, SchedulingStrategy::Spread, 1));
    assert_eq!(placed(&mut core, 0), [(1, 2), (2, 2), (3, 2)]);
}

#[test]
fn what_is_not_wanted_any_more_is_taken_back() {
    let mut core = core(&[(1, 0.0), (2, 2.0)]);
    core.on_spilled(Millis(0), spilled(2, 1.0, SchedulingStrategy::Default, 1));
    assert_eq!(placed(&mut core, 0), [(2, 2)]);
    core.on_spilled(Millis(1), spilled(0, 1.0, SchedulingStrategy::Default, 2));
    assert_eq!(placed(&mut core, 1), [(2, 0)]);
    assert_eq!(placed(&mut core, 2), []);
}

#[test]
fn a_lost_node_s_share_goes_to_others() {
    let mut core = core(&[(1, 0.0), (2, 2.0), (3, 2.0)]);
    core.on_spilled(Millis(0), spilled(2, 1.0, SchedulingStrategy::Default, 1));
    assert_eq!(placed(&mut core, 0), [(2, 1), (3, 1)]);
    core.on_node_gone(NodeId(2));
    assert_eq!(placed(&mut core, 1), [(3, 2)]);
}

#[test]
fn nothing_is_told_twice_but_when_it_was_asked_again() {
    let mut core = core(&[(1, 0.0), (2, 2.0)]);
    core.on_spilled(Millis(0), spilled(1, 1.0, SchedulingStrategy::Default, 1));
    assert_eq!(placed(&mut core, 0), [(2, 1)]);
    assert_eq!(placed(&mut core, 1), []);
    core.on_spilled(Millis(2), spilled(1, 1.0, SchedulingStrategy::Default, 2));
    assert_eq!(placed(&mut core, 2), [(2, 1)]);
}

#[test]
fn nothing_is_placed_for_an_owner_who_is_gone() {
    let mut core = core(&[(1, 2.0), (2, 2.0)]);
    core.on_spilled(Millis(0), spilled(4, 1.0, SchedulingStrategy::Default, 1));
    assert_eq!(placed(&mut core, 0), [(2, 2)]);
    core.on_gone(ProcessId { node: NodeId(1), worker: WorkerId(1) });
    let free = ResourceSet::new().with(CPU, 2.0);
    core.on_load(NodeId(2), NodeLoad { free, revision: 1, ..NodeLoad::default() });
    assert_eq!(placed(&mut core, 1), []);
}
