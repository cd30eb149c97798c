//! Who is leased what, on one node.

use actinic_gcs::{resources::CPU, JobId, WorkerId};

use super::*;
use crate::{
    cluster::{wire::ExeHash, work::InputBytes},
    options::SchedulingStrategy,
};

mod bundles;
mod elsewhere;
mod rest;
mod unfit;

fn process(node: u128, worker: u32) -> ProcessId {
    ProcessId { node: NodeId(node), worker: WorkerId(worker) }
}

fn code(owner: ProcessId) -> JobCode {
    JobCode {
        job: JobId(1),
        exe: ExeHash([0; 32]),
        exe_bytes: 1,
        namespace: "default".to_owned(),
        driver: owner,
        cwd: String::new(),
        env: Vec::new(),
        functions: 0,
    }
}

fn spec(cpus: f64, strategy: SchedulingStrategy) -> ClassSpec {
    ClassSpec { demand: ResourceSet::new().with(CPU, cpus), strategy, retriable: true, ..ClassSpec::default() }
}

struct Kit {
    core: LocalCore,
    elsewhere: u32,
    work: Work,
    effects: Vec<LocalEffect>,
    revision: u64,
}

fn kit(cpus: f64) -> Kit {
    let resources = NodeResources::new(ResourceSet::new().with(CPU, cpus));
    let core = LocalCore::new(NodeId(1), resources);
    Kit { core, elsewhere: 0, work: Work::default(), effects: Vec::new(), revision: 0 }
}

impl Kit {
    fn demand(&mut self, now: u64, owner: u32, cpus: f64, want: u32) -> Vec<LocalEffect> {
        self.ask(now, owner, spec(cpus, SchedulingStrategy::Default), want)
    }

    fn ask(&mut self, now: u64, owner: u32, spec: ClassSpec, want: u32) -> Vec<LocalEffect> {
        self.revision += 1;
        let (owner, revision) = (process(1, owner), self.revision);
        let (elsewhere, work) = (self.elsewhere, self.work.clone());
        let demand = Demand { class: ClassId(0), spec, want, elsewhere, work, revision };
        self.core.on_demand(Millis(now), owner, &code(owner), demand, &mut self.effects);
        self.pass(now)
    }

    /// Another node of eight CPUs comes.
    fn peer(&mut self, node: u128) {
        self.core.on_peer(NodeId(node), ResourceSet::new().with(CPU, 8.0));
    }

    fn pass(&mut self, now: u64) -> Vec<LocalEffect> {
        self.core.dispatch(Millis(now), &mut self.effects);
        self.core.sanity_check();
        std::mem::take(&mut self.effects)
    }
}

fn needed(effects: &[LocalEffect]) -> Vec<u64> {
    let need = |effect: &LocalEffect| match effect {
        LocalEffect::NeedWorker { lease, .. } => Some(lease.number),
        _ => None,
    };
    effects.iter().filter_map(need).collect()
}

fn lease(number: u64) -> LeaseId {
    LeaseId { node: NodeId(1), number }
}

#[test]
fn what_is_free_is_leased_and_no_more() {
    let mut kit = kit(2.0);
    let effects = kit.demand(0, 1, 1.0, 5);
    let needed = needed(&effects);
    assert_eq!(needed.len(), 2);
    kit.core.on_worker(lease(needed[0]), process(1, 50), &mut kit.effects);
    let granted = kit.pass(0);
    assert!(matches!(granted[..], [LocalEffect::Grant { worker, .. }] if worker == process(1, 50)));
}

#[test]
fn two_owners_share_what_there_is() {
    let mut kit = kit(4.0);
    kit.demand(0, 1, 1.0, 1);
    let first = needed(&kit.demand(0, 2, 1.0, 10));
    assert_eq!(first.len(), 3);
    kit.core.on_return(lease(first[0]), &mut kit.effects);
    let before = kit.pass(0);
    assert_eq!(needed(&before).len(), 1, "its own, while nobody else wants it");
    kit.demand(0, 1, 1.0, 10);
    kit.core.on_return(lease(first[1]), &mut kit.effects);
    kit.pass(0);
    let held = |owner| {
        kit.core.wanted.iter().filter(|(key, _)| key.owner == process(1, owner)).map(|(_, wanted)| wanted.held).sum()
    };
    assert_eq!((held(1), held(2)), (2_u32, 2_u32));
}

#[test]
fn a_late_word_changes_nothing() {
    let mut kit = kit(1.0);
    kit.demand(0, 1, 1.0, 0);
    let owner = process(1, 1);
    let (class, spec, work) = (ClassId(0), spec(1.0, SchedulingStrategy::Default), Work::default());
    let late = Demand { class, spec, want: 1, elsewhere: 0, work, revision: 9 };
    let older = Demand { want: 0, revision: 8, ..late.clone() };
    kit.core.on_demand(Millis(0), owner, &code(owner), late, &mut kit.effects);
    kit.core.on_demand(Millis(0), owner, &code(owner), older, &mut kit.effects);
    assert_eq!(needed(&kit.pass(0)).len(), 1);
}

#[test]
fn what_stays_unmet_spills_over_once_others_are_there() {
    let mut kit = kit(1.0);
    kit.demand(0, 1, 1.0, 3);
    assert_eq!(kit.pass(SPILL_AFTER_MS), []);
    kit.peer(2);
    let effects = kit.pass(SPILL_AFTER_MS);
    assert!(matches!(&effects[..], [LocalEffect::Spill(spilled)] if spilled.want == 2));
    assert_eq!(kit.pass(SPILL_AFTER_MS + 1), []);
    let again = kit.pass(SPILL_AFTER_MS + REFRESH_MS);
    assert!(matches!(&again[..], [LocalEffect::Spill(spilled)] if spilled.want == 2));
    let fewer = kit.demand(SPILL_AFTER_MS + REFRESH_MS, 1, 1.0, 1);
    assert!(matches!(&fewer[..], [LocalEffect::Spill(spilled)] if spilled.want == 0));
}

#[test]
fn what_this_node_can_never_hold_spills_over_at_once() {
    let mut kit = kit(1.0);
    kit.peer(2);
    let effects = kit.demand(0, 1, 4.0, 1);
    assert!(matches!(&effects[..], [LocalEffect::Spill(spilled)] if spilled.want == 1));
    assert!(kit.core.waiting()[0].contains("4 CPU"), "{:?}", kit.core.waiting());
}

#[test]
fn a_spread_demand_is_placed_by_others_only() {
    let mut kit = kit(4.0);
    kit.peer(2);
    let effects = kit.ask(0, 1, spec(1.0, SchedulingStrategy::Spread), 4);
    assert!(matches!(&effects[..], [LocalEffect::Spill(spilled)] if spilled.want == 4));
}

#[test]
fn affinity_goes_to_its_node_and_nowhere_else() {
    let mut kit = kit(4.0);
    kit.peer(2);
    let to = |node, soft| spec(1.0, SchedulingStrategy::NodeAffinity { node: NodeId(node), soft });
    let effects = kit.ask(0, 1, to(2, false), 1);
    assert!(matches!(&effects[..], [LocalEffect::Place(NodeId(2), _)]));
    let effects = kit.ask(0, 2, to(3, false), 1);
    assert!(matches!(&effects[..], [LocalEffect::Infeasible(..)]));
    let effects = kit.ask(0, 3, to(3, true), 1);
    assert_eq!(needed(&effects).len(), 1);
}

#[test]
fn what_was_placed_here_is_forgotten_unless_it_is_told_again() {
    let mut kit = kit(0.0);
    kit.peer(2);
    kit.core.on_place(Millis(0), placed(process(2, 1), 1, 1));
    kit.pass(PLACED_MS_MAX - 1);
    assert_eq!(kit.core.load(0, 0).waiting, 1);
    kit.pass(PLACED_MS_MAX);
    assert_eq!(kit.core.load(0, 0).waiting, 0);
}

#[test]
fn what_was_placed_here_long_ago_is_granted_nothing_more_though_it_holds_something() {
    let mut kit = kit(1.0);
    kit.peer(2);
    kit.core.on_place(Millis(0), placed(process(2, 1), 3, 1));
    let first = needed(&kit.pass(0));
    assert_eq!(first.len(), 1);
    kit.pass(PLACED_MS_MAX);
    kit.core.on_return(lease(first[0]), &mut kit.effects);
    assert!(needed(&kit.pass(PLACED_MS_MAX + 1)).is_empty());
    assert_eq!(kit.core.wanted.iter().count(), 0);
}

#[test]
fn an_owner_hears_once_that_there_is_nothing_for_its_other_class() {
    let mut kit = kit(2.0);
    let first = needed(&kit.demand(0, 1, 1.0, 2));
    first.iter().for_each(|number| kit.core.on_worker(lease(*number), process(1, 50), &mut kit.effects));
    kit.pass(0);
    let (owner, code) = (process(1, 1), code(process(1, 1)));
    let other = |kit: &mut Kit, now, want, revision| {
        let spec = ClassSpec { demand: ResourceSet::new().with(CPU, 0.5), ..ClassSpec::default() };
        let (class, work) = (ClassId(7), Work::default());
        let demand = Demand { class, spec, want, elsewhere: 0, work, revision };
        kit.core.on_demand(Millis(now), owner, &code, demand, &mut kit.effects);
        let short = |effect: &LocalEffect| matches!(effect, LocalEffect::Short(to, ClassId(7), _) if *to == owner);
        kit.pass(now).iter().filter(|effect| short(effect)).count()
    };
    assert_eq!(other(&mut kit, 1, 1, 100), 1);
    assert_eq!(other(&mut kit, 2, 2, 101), 0, "it knows");
    kit.core.on_return(lease(first[0]), &mut kit.effects);
    assert_eq!(other(&mut kit, 3, 2, 102), 0);
    // Somebody who holds nothing here could give nothing back.
    kit.demand(4, 2, 1.0, 1);
    assert!(!kit.pass(4).iter().any(|effect| matches!(effect, LocalEffect::Short(..))));
}

#[test]
fn who_gives_a_lease_back_comes_last_for_the_next() {
    let mut kit = kit(1.0);
    kit.peer(2);
    // Placed here: that the first wants less is told by way of others.
    kit.core.on_place(Millis(0), placed(process(2, 1), 1, 1));
    let first = needed(&kit.pass(0));
    kit.core.on_place(Millis(1), placed(process(2, 2), 1, 1));
    assert!(needed(&kit.pass(1)).is_empty());
    kit.core.on_return(lease(first[0]), &mut kit.effects);
    let second = needed(&kit.pass(2));
    kit.core.on_worker(lease(second[0]), process(1, 50), &mut kit.effects);
    let granted = kit.pass(2);
    assert!(matches!(granted[..], [LocalEffect::Grant { owner, .. }] if owner == process(2, 2)), "{granted:?}");
}

#[test]
fn who_holds_nothing_for_long_gets_something_back_from_who_holds_most() {
    let mut kit = kit(2.0);
    let first = needed(&kit.demand(0, 1, 1.0, 2));
    first.iter().for_each(|number| kit.core.on_worker(lease(*number), process(1, 50), &mut kit.effects));
    kit.pass(0);
    kit.demand(0, 2, 1.0, 1);
    let effects = kit.pass(RECALL_AFTER_MS);
    assert!(matches!(effects[..], [LocalEffect::Recall(owner, _)] if owner == process(1, 1)));
    assert_eq!(kit.pass(RECALL_AFTER_MS + 1), [], "one at a time");
}

#[test]
fn who_is_gone_holds_and_wants_nothing() {
    let mut kit = kit(2.0);
    let first = needed(&kit.demand(0, 1, 1.0, 5));
    kit.core.on_gone(process(1, 1), &mut kit.effects);
    let effects = kit.pass(0);
    assert_eq!(effects.len(), first.len());
    assert_eq!(kit.core.load(0, 0).free.of(CPU).units(), 2.0);
}

fn placed(owner: ProcessId, want: u32, revision: u64) -> Spilled {
    let spec = spec(1.0, SchedulingStrategy::Default);
    Spilled { owner, code: code(owner), class: ClassId(0), spec, want, work: Work::default(), revision }
}

#[test]
fn a_late_word_of_who_is_gone_leases_nothing() {
    let mut kit = kit(2.0);
    kit.peer(2);
    let (far, near) = (process(2, 1), process(1, 1));
    kit.core.on_gone(far, &mut kit.effects);
    kit.core.on_place(Millis(0), placed(far, 1, 9));
    assert_eq!(kit.pass(0), []);
    kit.core.on_gone(near, &mut kit.effects);
    assert_eq!(kit.demand(0, 1, 1.0, 1), []);
}

#[test]
fn nothing_is_leased_to_an_owner_whose_node_is_not_there() {
    let mut kit = kit(2.0);
    kit.peer(2);
    kit.core.on_peer_gone(Millis(0), NodeId(2), &mut kit.effects);
    kit.core.on_place(Millis(0), placed(process(2, 1), 1, 9));
    assert_eq!(kit.pass(0), []);
    kit.peer(2);
    kit.core.on_place(Millis(0), placed(process(2, 1), 1, 10));
    assert_eq!(needed(&kit.pass(0)).len(), 1, "its connection was cut, and is there again");
}

#[test]
fn a_bound_demand_is_told_again_and_turns_elsewhere_when_its_node_is_lost() {
    let mut kit = kit(4.0);
    kit.peer(2);
    let to = |node, soft| spec(1.0, SchedulingStrategy::NodeAffinity { node: NodeId(node), soft });
    kit.ask(0, 1, to(2, true), 1);
    kit.ask(0, 2, to(2, false), 1);
    let again = kit.pass(REFRESH_MS);
    assert!(matches!(&again[..], [LocalEffect::Place(NodeId(2), _), LocalEffect::Place(NodeId(2), _)]), "{again:?}");
    kit.core.on_peer_gone(Millis(REFRESH_MS), NodeId(2), &mut kit.effects);
    let effects = kit.pass(REFRESH_MS + 1);
    assert_eq!(needed(&effects).len(), 1, "the one that takes another node");
    let given_up = |effects: &[LocalEffect]| {
        effects.iter().any(|effect| matches!(effect, LocalEffect::Infeasible(owner, ..) if *owner == process(1, 2)))
    };
    assert!(!given_up(&effects), "it may have been cut off only");
    assert!(kit.core.deadline().is_some_and(|due| due.0 <= REFRESH_MS + LOST_MS_MAX));
    assert!(given_up(&kit.pass(REFRESH_MS + LOST_MS_MAX)));
}

#[test]
fn leases_are_counted_after_a_start_has_failed() {
    let mut kit = kit(2.0);
    let numbers = needed(&kit.demand(0, 1, 1.0, 2));
    kit.core.on_worker(lease(numbers[0]), process(1, 50), &mut kit.effects);
    kit.core.on_no_worker(lease(numbers[1]), "its process ended", &mut kit.effects);
    kit.pass(0);
    assert_eq!(kit.demand(1, 1, 1.0, 1).len(), 0, "it holds one");
    kit.core.on_return(lease(numbers[0]), &mut kit.effects);
    assert_eq!(needed(&kit.pass(1)).len(), 1);
}

#[test]
fn a_changing_demand_is_told_now_and_then_and_its_end_at_once() {
    let mut kit = kit(1.0);
    kit.peer(2);
    kit.demand(0, 1, 1.0, 100);
    let spills = |effects: &[LocalEffect]| effects.iter().filter(|e| matches!(e, LocalEffect::Spill(_))).count();
    let told: usize = (1..=100).map(|now| spills(&kit.demand(SPILL_AFTER_MS + now, 1, 1.0, 200 - now as u32))).sum();
    assert_eq!(told, 1 + 99 / TELL_EVERY_MS as usize);
    assert_eq!(spills(&kit.demand(SPILL_AFTER_MS + 101, 1, 1.0, 1)), 1);
}
