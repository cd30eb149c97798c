//! Where spilled demands go, in a world of a few nodes.

use actinic_gcs::{resources::CPU, spec::LabelSelector, JobId, ResourceSet, WorkerId};

use super::*;
use crate::{
    cluster::{
        wire::{ClassSpec, ExeHash, JobCode},
        work::{InputBytes, Work},
    },
    options::SchedulingStrategy,
};

fn node(id: u128, cpus: f64) -> NodeSpec {
    NodeSpec {
        id: NodeId(id),
        address: String::new(),
        hostname: String::new(),
        head: id == 1,
        resources: ResourceSet::new().with(CPU, cpus),
        labels: BTreeMap::new(),
        object_store_bytes: 0,
        shared_memory: None,
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
    let demand = ResourceSet::new().with(CPU, cpus);
    let spec = ClassSpec { demand, strategy, retriable: true, ..ClassSpec::default() };
    Spilled { owner, code, class: ClassId(0), spec, want, work: Work::default(), revision }
}

fn core(nodes: &[(u128, f64)]) -> GlobalCore {
    let mut core = GlobalCore::new();
    nodes.iter().for_each(|(id, cpus)| core.on_node(node(*id, *cpus)));
    core
}

fn placed(core: &mut GlobalCore, now: u64) -> Vec<(u128, u32)> {
    let mut effects = Vec::new();
    core.place(Millis(now), &mut effects);
    let place = |effect| match effect {
        GlobalEffect::Place(node, told) => Some((node.0, told.want)),
        GlobalEffect::Hopeless(..) | GlobalEffect::Infeasible(..) => None,
    };
    effects.into_iter().filter_map(place).collect()
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
    core.on_load(NodeId(2), NodeLoad { waiting: 3, workers: 1, revision: 1, ..NodeLoad::default() });
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

/// A node on which nothing is free, and where tasks wait for so many microseconds in all.
fn busy(wait_us: u64) -> NodeLoad {
    NodeLoad { waiting: 1, tasks: 10, task_us: wait_us / 10, workers: 1, revision: 1, ..NodeLoad::default() }
}

fn with_inputs(at: u128, bytes: u64, task_us: u64) -> Spilled {
    let inputs = InputBytes::new(bytes, [(NodeId(at), bytes)]);
    let work = Work { tasks: 1, task_us, inputs };
    Spilled { work, ..spilled(1, 1.0, SchedulingStrategy::Default, 1) }
}

#[test]
fn locality_wins_where_a_transfer_costs_more_than_the_wait() {
    let mut core = core(&[(1, 0.0), (2, 1.0), (3, 1.0)]);
    core.on_load(NodeId(2), busy(20_000));
    // A GiB a second: the inputs would take 100 ms to node 3, where something is free.
    core.on_spilled(Millis(0), with_inputs(2, (1 << 30) / 10, 1_000));
    assert_eq!(placed(&mut core, 0), [(2, 1)]);
}

#[test]
fn inputs_on_a_node_of_the_same_machine_are_near() {
    let mut core = core(&[(1, 0.0), (2, 1.0)]);
    for (id, memory) in [(2, 7), (3, 8), (4, 7)] {
        core.on_node(NodeSpec { shared_memory: Some(memory), ..node(id, 1.0) });
    }
    core.on_load(NodeId(2), busy(20_000));
    core.on_spilled(Millis(0), with_inputs(2, (1 << 30) / 10, 1_000));
    assert_eq!(placed(&mut core, 0), [(4, 1)], "read in place, and free at once");
}

#[test]
fn a_long_queue_wins_over_locality() {
    let mut core = core(&[(1, 0.0), (2, 1.0), (3, 1.0)]);
    core.on_load(NodeId(2), busy(500_000));
    core.on_spilled(Millis(0), with_inputs(2, (1 << 30) / 10, 1_000));
    assert_eq!(placed(&mut core, 0), [(3, 1)]);
}

#[test]
fn a_measured_bandwidth_counts() {
    let mut core = core(&[(1, 0.0), (2, 1.0), (3, 1.0)]);
    core.on_load(NodeId(2), busy(20_000));
    let free = ResourceSet::new().with(CPU, 1.0);
    core.on_load(NodeId(3), NodeLoad { free, bandwidth: 100 << 30, revision: 1, ..NodeLoad::default() });
    core.on_spilled(Millis(0), with_inputs(2, (1 << 30) / 10, 1_000));
    assert_eq!(placed(&mut core, 0), [(3, 1)]);
}

#[test]
fn inputs_at_home_keep_a_demand_there_until_it_has_waited_as_long_as_they_would_be_on_their_way() {
    let mut core = core(&[(1, 1.0), (2, 1.0)]);
    core.on_load(NodeId(1), busy(0));
    core.on_spilled(Millis(0), with_inputs(1, (1 << 30) / 10, 1_000));
    assert_eq!(placed(&mut core, 0), []);
    assert_eq!(placed(&mut core, 99), []);
    assert_eq!(placed(&mut core, 101), [(2, 1)], "it does not starve for its inputs");
}

#[test]
fn of_two_busy_nodes_the_one_with_less_work_is_chosen() {
    let mut core = core(&[(1, 0.0), (2, 1.0), (3, 1.0)]);
    core.on_load(NodeId(2), NodeLoad { tasks: 1, ..busy(90_000_000) });
    core.on_load(NodeId(3), NodeLoad { tasks: 500, ..busy(100) });
    core.on_spilled(Millis(0), spilled(1, 1.0, SchedulingStrategy::Default, 1));
    assert_eq!(placed(&mut core, 0), [(3, 1)], "five hundred short tasks are less than one long one");
}

#[test]
fn labels_are_heeded() {
    let mut core = core(&[(1, 0.0)]);
    for (id, zone) in [(2, "a"), (3, "b"), (4, "c")] {
        let labels = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        core.on_node(NodeSpec { labels, ..node(id, if id == 4 { 1.0 } else { 4.0 }) });
    }
    let zone = |text: &str| LabelSelector::default().with("zone", text);
    let mut hard = spilled(1, 1.0, SchedulingStrategy::Default, 1);
    hard.spec.labels = zone("!in(a, c)");
    core.on_spilled(Millis(0), hard);
    assert_eq!(placed(&mut core, 0), [(3, 1)]);
    let strategy = SchedulingStrategy::NodeLabel { hard: zone("in(a,c)"), soft: zone("c") };
    core.on_spilled(Millis(0), Spilled { class: ClassId(1), ..spilled(2, 1.0, strategy, 2) });
    assert_eq!(placed(&mut core, 0), [(2, 1), (4, 1)], "the preferred one as long as it has room");
}

#[test]
fn an_owner_is_told_once_that_no_node_can_meet_its_demand() {
    let mut core = core(&[(1, 2.0)]);
    core.on_spilled(Millis(0), spilled(1, 4.0, SchedulingStrategy::Default, 1));
    let mut effects = Vec::new();
    (0..HOPELESS_MS).step_by(100).for_each(|now| core.place(Millis(now), &mut effects));
    assert_eq!(effects, []);
    core.place(Millis(HOPELESS_MS), &mut effects);
    core.place(Millis(HOPELESS_MS + 1), &mut effects);
    let [GlobalEffect::Hopeless(.., text)] = &effects[..] else { panic!("{effects:?}") };
    assert!(text.contains("{CPU: 4}") && text.contains("{CPU: 2}"), "{text}");
}

#[test]
fn what_a_node_cannot_start_goes_to_another_and_its_owner_hears_where_there_is_none() {
    let mut core = core(&[(1, 2.0), (2, 8.0), (3, 4.0)]);
    core.on_spilled(Millis(0), spilled(2, 1.0, SchedulingStrategy::Default, 1));
    assert_eq!(placed(&mut core, 0), [(2, 2)]);
    let free = |cpus| ResourceSet::new().with(CPU, cpus);
    let unfit = |why: &str| BTreeMap::from([(JobId(1), why.to_owned())]);
    core.on_load(NodeId(2), NodeLoad { free: free(8.0), unfit: unfit("no space"), revision: 1, ..NodeLoad::default() });
    assert_eq!(placed(&mut core, 1), [(2, 0), (3, 2)]);
    for node in [1, 3] {
        let load = NodeLoad { free: free(2.0), unfit: unfit("no such library"), revision: 1, ..NodeLoad::default() };
        core.on_load(NodeId(node), load);
    }
    assert_eq!(placed(&mut core, 2), [(3, 0)]);
    let mut effects = Vec::new();
    core.on_spilled(Millis(3), spilled(2, 1.0, SchedulingStrategy::Default, 2));
    core.place(Millis(2 + HOPELESS_MS), &mut effects);
    let told =
        |effect: &GlobalEffect| matches!(effect, GlobalEffect::Infeasible(_, _, why) if why.contains("no space"));
    assert!(effects.iter().any(told), "{effects:?}");
    assert!(core.infeasible().iter().any(|line| line.contains("starts no workers of job")), "{:?}", core.infeasible());
}
