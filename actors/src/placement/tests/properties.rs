//! Random nodes, demands and groups: nothing is lost, nothing is given twice, groups are whole or nothing.

use std::collections::BTreeMap;

use actinic_gcs::Quantity;
use proptest::{
    prelude::{any, prop_assert, prop_assert_eq, prop_oneof, proptest, ProptestConfig},
    strategy::{Just, Strategy as Generator},
};

use super::*;
use crate::placement::GroupStatus;

#[derive(Clone, Debug)]
enum Step {
    Allocate { demand: ResourceSet },
    AllocateIn { group: u128, bundle: Option<u32>, demand: ResourceSet },
    Release { which: usize },
    Create { id: u128, bundles: Vec<ResourceSet>, strategy: u8, wait: bool },
    Remove { id: u128, force: bool },
    Join { node: u128, total: ResourceSet },
    Leave { node: u128 },
    Retry,
}

fn quantity() -> impl Generator<Value = f64> {
    prop_oneof![
        8 => Just(0.0), 8 => Just(1.0), 4 => Just(2.0), 8 => Just(0.5), 8 => Just(0.25), 4 => Just(0.3), 1 => Just(1.5),
    ]
}

fn demand() -> impl Generator<Value = ResourceSet> {
    (quantity(), quantity(), 0..2_u8)
        .prop_map(|(cpu, gpu, disk)| cpus(cpu).with(GPU, gpu).with("disk", f64::from(disk)))
}

fn total() -> impl Generator<Value = ResourceSet> {
    (0..5_u8, 0..4_u8, 0..4_u8)
        .prop_map(|(cpu, gpu, disk)| cpus(f64::from(cpu)).with(GPU, f64::from(gpu)).with("disk", f64::from(disk)))
}

fn step() -> impl Generator<Value = Step> {
    prop_oneof![
        5 => demand().prop_map(|demand| Step::Allocate { demand }),
        6 => (0..4_u128, proptest::option::of(0..3_u32), demand())
            .prop_map(|(group, bundle, demand)| Step::AllocateIn { group, bundle, demand }),
        8 => any::<usize>().prop_map(|which| Step::Release { which }),
        6 => (0..4_u128, proptest::collection::vec(demand(), 0..4), 0..4_u8, any::<bool>())
            .prop_map(|(id, bundles, strategy, wait)| Step::Create { id, bundles, strategy, wait }),
        3 => (0..4_u128, any::<bool>()).prop_map(|(id, force)| Step::Remove { id, force }),
        1 => (0..4_u128, total()).prop_map(|(node, total)| Step::Join { node, total }),
        1 => (0..4_u128).prop_map(|node| Step::Leave { node }),
        4 => Just(Step::Retry),
    ]
}

/// What the model knows: who holds what. A lease is void once what it is on is gone.
struct Model {
    shell: Shell,
    leases: Vec<(Lease, bool)>,
    bundles: BTreeMap<u128, Vec<ResourceSet>>,
}

impl Model {
    fn take(&mut self, step: Step) {
        let Self { shell, leases, bundles } = self;
        match step {
            Step::Allocate { demand } => leases.extend(shell.core.try_allocate(&demand).map(|lease| (lease, true))),
            Step::AllocateIn { group, bundle, demand } => {
                let lease = shell.core.allocate_in_group(PlacementGroupId(group), bundle, &demand);
                leases.extend(lease.map(|lease| (lease, true)));
            }
            Step::Release { which } if !leases.is_empty() => {
                let (lease, _) = leases.swap_remove(which % leases.len());
                shell.core.release(lease, &mut shell.effects);
            }
            Step::Create { id, bundles: asked, strategy, wait } => {
                use PlacementStrategy::{Pack, Spread, StrictPack, StrictSpread};
                let strategy = [Pack, Spread, StrictPack, StrictSpread][strategy as usize];
                let request = GroupRequest { wait_for_nodes: wait, ..Shell::request(id, &asked, strategy) };
                if shell.core.create(request, &mut shell.effects).is_ok() {
                    bundles.insert(id, asked);
                }
            }
            Step::Remove { id, force } => {
                let id = PlacementGroupId(id);
                if shell.core.remove_group(id, force, &mut shell.effects) && force {
                    let inside = |lease: &Lease| lease.bundle().is_some_and(|(group, _)| group == id);
                    leases.iter_mut().filter(|(lease, _)| inside(lease)).for_each(|(_, valid)| *valid = false);
                }
            }
            Step::Join { node, total } => {
                shell.join(node, total);
                void(leases, NodeId(node));
            }
            Step::Leave { node } => {
                shell.core.remove_node(NodeId(node), &mut shell.effects);
                void(leases, NodeId(node));
            }
            Step::Retry | Step::Release { .. } => shell.core.retry(&mut shell.effects),
        }
        self.check();
    }

    fn check(&self) {
        let core = &self.shell.core;
        core.sanity_check();
        let plain = |lease: &&(Lease, bool)| lease.1 && lease.0.bundle().is_none();
        for (id, node) in core.nodes() {
            let mut held = node.free().clone();
            let mut on_device = BTreeMap::new();
            for (lease, _) in self.leases.iter().filter(plain).filter(|(lease, _)| lease.node() == id) {
                held.add(lease.demand());
            }
            for (lease, _) in self.leases.iter().filter(|(lease, valid)| *valid && lease.node() == id) {
                for taken in lease.devices(GPU) {
                    *on_device.entry(taken.index).or_insert(0) += taken.share.0;
                }
            }
            for (group, asked) in &self.bundles {
                let Some(places) = core.group_nodes(PlacementGroupId(*group)) else {
                    continue;
                };
                let here = asked.iter().zip(places).filter(|(_, place)| *place == Some(id));
                here.for_each(|(demand, _)| held.add(demand));
            }
            assert_eq!(&held, node.total(), "free, leased and reserved make up node {id}");
            assert!(on_device.values().all(|taken| *taken <= Quantity::UNIT), "a device is given twice");
        }
        for (group, asked) in &self.bundles {
            for bundle in 0..asked.len() as u32 {
                let here = Some((PlacementGroupId(*group), bundle));
                let mut left = asked[bundle as usize].clone();
                for (lease, _) in self.leases.iter().filter(|(lease, valid)| *valid && lease.bundle() == here) {
                    assert_eq!(left.take(lease.demand()), Ok(()), "a bundle is leased beyond what it holds");
                }
            }
        }
    }

    /// Everything is given back: every node must be empty and every group that can be must be placed.
    fn settle(&mut self) {
        for (lease, _) in self.leases.drain(..) {
            self.shell.core.release(lease, &mut self.shell.effects);
        }
        self.check();
        for id in 0..4 {
            self.shell.core.remove_group(PlacementGroupId(id), false, &mut self.shell.effects);
            assert!(self.shell.core.explain(PlacementGroupId(id)).is_none());
        }
        assert!(self.shell.core.nodes().all(|(_, node)| node.free() == node.total()));
    }
}

fn void(leases: &mut [(Lease, bool)], node: NodeId) {
    leases.iter_mut().filter(|(lease, _)| lease.node() == node).for_each(|(_, valid)| *valid = false);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn resources_are_conserved_whatever_happens(
        nodes in proptest::collection::vec(total(), 1..4),
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut model = Model { shell: Shell::new(nodes), leases: Vec::new(), bundles: BTreeMap::new() };
        steps.into_iter().for_each(|step| model.take(step));
        model.settle();
    }

    #[test]
    fn a_group_that_stays_is_placed_whole_or_not_at_all(
        nodes in proptest::collection::vec(total(), 1..5),
        groups in proptest::collection::vec((proptest::collection::vec(demand(), 1..5), 0..4_u8), 1..12),
    ) {
        use PlacementStrategy::{Pack, Spread, StrictPack, StrictSpread};
        let mut shell = Shell::new(nodes);
        for (id, (bundles, strategy)) in groups.iter().enumerate() {
            let strategy = [Pack, Spread, StrictPack, StrictSpread][*strategy as usize];
            let Ok(placed) = shell.create(id as u128, bundles, strategy) else { continue };
            let waiting = shell.nodes_of(id as u128).iter().filter(|node| **node < 0).count();
            prop_assert_eq!(waiting, if placed { 0 } else { bundles.len() });
            let status = shell.core.explain(PlacementGroupId(id as u128));
            prop_assert_eq!(status == Some(GroupStatus::Placed), placed);
        }
        // Whoever waits and is alone at last must be placed: what was called feasible is.
        let ids = 0..groups.len() as u128;
        while shell.core.waiting_groups().count() > 0 {
            let placed = |id: &u128| shell.core.explain(PlacementGroupId(*id)) == Some(GroupStatus::Placed);
            let held = ids.clone().find(placed);
            prop_assert!(held.is_some(), "the nodes are empty, and a group waits");
            held.into_iter().for_each(|id| shell.remove(id, false));
        }
    }
}
