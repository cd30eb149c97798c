//! Where the tasks of a cluster run, and that none waits in vain: stalled workers, labels, nesting, placement groups.

use actinic::{options::LabelSelector, PlacementGroup};

use super::*;

#[test]
fn no_task_sticks_behind_one_that_takes_longer_than_its_like_did() {
    let cluster = Cluster::with_resources(&[&[("CPU", 3.0)]]).unwrap();
    let rt = connect(&cluster);
    let alone = tempfile::tempdir().unwrap();
    let short: Vec<_> = (0..3_000).map(|_| meets.remote(alone.path().to_owned(), 1)).collect();
    rt.get(&short).unwrap();
    // By now a crowd of these is sent to one worker, of which the first waits for the second.
    let together = tempfile::tempdir().unwrap();
    let tasks: Vec<_> = (0..3).map(|_| meets.remote(together.path().to_owned(), 3)).collect();
    let workers: BTreeSet<u32> = rt.get(&tasks).unwrap().into_iter().collect();
    assert_eq!(workers.len(), 3);
}

#[test]
fn labels_choose_a_task_s_node() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 2.0)]]).unwrap();
    let token = cluster.nodes()[0].card.token.clone();
    let mut labelled = node_settings(Some(cluster.address()), Some(&token));
    labelled.resources = [("CPU".to_owned(), 2.0)].into();
    labelled.labels = [("zone".to_owned(), "b".to_owned())].into();
    let other = spawn_node(labelled, None).unwrap();
    let rt = connect(&cluster);
    let node_of = |task: ObjectRef<u32>| parent_of(rt.get_timeout(&task, Duration::from_secs(30)).unwrap());
    assert_eq!(node_of(pid.options().label_selector("zone", "in(a, b)").remote()), other.pid());
    assert_eq!(node_of(pid.options().label_selector("zone", "!b").remote()), cluster.pids()[0]);
    let soft = SchedulingStrategy::NodeLabel {
        hard: LabelSelector::default(),
        soft: LabelSelector::default().with("zone", "b"),
    };
    assert_eq!(node_of(pid.options().scheduling_strategy(soft).remote()), other.pid());
    let nowhere = pid.options().label_selector("zone", "c").remote();
    assert!(rt.get_timeout(&nowhere, Duration::from_millis(300)).unwrap_err().is_timeout());
}

/// A chain of tasks, each of which waits for the next in another process: nobody runs what it waits for itself.
#[remote]
fn deeper(levels: u32) -> Vec<u32> {
    let mut pids = vec![std::process::id()];
    if levels > 1 {
        let next = deeper.options().scheduling_strategy(SchedulingStrategy::Spread).remote(levels - 1);
        pids.extend(actinic::get(&next).unwrap());
    }
    pids
}

#[test]
fn tasks_that_wait_for_tasks_deeper_than_there_are_cpus_do_not_deadlock() {
    let cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &[("CPU", 1.0)]]).unwrap();
    let rt = connect(&cluster);
    let pids = rt.get_timeout(&deeper.remote(6), Duration::from_secs(60)).unwrap();
    let distinct: BTreeSet<u32> = pids.iter().copied().collect();
    assert_eq!(distinct.len(), 6, "each waited in a worker of its own: {pids:?}");
}

/// On which node a task in this bundle of a group runs.
fn node_of_bundle(rt: &Runtime, group: &PlacementGroup, bundle: u32) -> u32 {
    let task = pid.options().placement_group(group, bundle).remote();
    parent_of(rt.get_timeout(&task, Duration::from_secs(40)).unwrap())
}

#[test]
fn bundles_lie_on_nodes_as_their_group_s_strategy_says_all_or_none() {
    let cluster = Cluster::with_resources(&[&[("CPU", 2.0)], &[("CPU", 2.0)]]).unwrap();
    let rt = connect(&cluster);
    let cpus = |units: f64| ResourceSet::new().with("CPU", units);
    let apart = rt.placement_group(vec![cpus(1.0), cpus(1.0)], PlacementStrategy::StrictSpread).unwrap();
    assert!(apart.wait(Duration::from_secs(30)).unwrap());
    let nodes: BTreeSet<u32> = (0..2).map(|bundle| node_of_bundle(&rt, &apart, bundle)).collect();
    assert_eq!(nodes.len(), 2);
    // One CPU is left on each: the second group takes neither of them while it waits.
    let together = rt.placement_group(vec![cpus(1.0), cpus(1.0)], PlacementStrategy::StrictPack).unwrap();
    assert!(!together.wait(Duration::from_millis(300)).unwrap());
    let third = rt.placement_group(vec![cpus(1.0), cpus(1.0)], PlacementStrategy::Spread).unwrap();
    assert!(third.wait(Duration::from_secs(30)).unwrap());
    let too_large = pid.options().num_cpus(2).placement_group(&third, 0).remote();
    assert!(rt.get(&too_large).unwrap_err().to_string().contains("large enough"));
    rt.remove_placement_group(&apart);
    rt.remove_placement_group(&third);
    assert!(together.wait(Duration::from_secs(30)).unwrap());
    assert_eq!(node_of_bundle(&rt, &together, 0), node_of_bundle(&rt, &together, 1));
    // At once, also where a lease of the group's was still held.
    for group in [&apart, &third] {
        let removed = pid.options().placement_group(group, 0).remote();
        assert!(rt.get(&removed).unwrap_err().to_string().contains("removed"));
    }
}

#[test]
fn what_runs_in_a_group_ends_with_it() {
    let cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &[("CPU", 1.0)]]).unwrap();
    let rt = connect(&cluster);
    let cpu = || ResourceSet::new().with("CPU", 1.0);
    let group = rt.placement_group(vec![cpu(), cpu()], PlacementStrategy::StrictSpread).unwrap();
    assert!(group.wait(Duration::from_secs(30)).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let inside = |bundle| holds.options().placement_group(&group, bundle).remote(folder.path().to_owned());
    let tasks = [inside(0), inside(1)];
    wait_until("both run", || here(folder.path()).len() == 2);
    let workers = here(folder.path());
    rt.remove_placement_group(&group);
    for task in &tasks {
        let ended = rt.get_timeout(task, Duration::from_secs(20)).unwrap_err().to_string();
        assert!(ended.contains("its placement group was removed"), "{ended}");
    }
    assert!(workers.iter().all(|worker| has_ended(*worker)), "{workers:?}");
    // What they held is free.
    let again = rt.placement_group(vec![cpu(), cpu()], PlacementStrategy::StrictSpread).unwrap();
    assert!(again.wait(Duration::from_secs(30)).unwrap());
}

#[test]
fn bundles_of_a_killed_node_are_placed_on_another() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &[("CPU", 1.0)]]).unwrap();
    let rt = connect(&cluster);
    let cpu = || ResourceSet::new().with("CPU", 1.0);
    let group = rt.placement_group(vec![cpu(), cpu()], PlacementStrategy::StrictSpread).unwrap();
    assert!(group.wait(Duration::from_secs(30)).unwrap());
    let lost = cluster.pids()[1];
    let bundle = (0..2).find(|bundle| node_of_bundle(&rt, &group, *bundle) == lost).unwrap();
    cluster.nodes()[1].kill().unwrap();
    let new = cluster.add_node(&[("CPU", 1.0)]).unwrap().pid();
    assert_eq!(node_of_bundle(&rt, &group, bundle), new);
    assert_eq!(node_of_bundle(&rt, &group, 1 - bundle), cluster.pids()[0], "the other stays where it is");
}
