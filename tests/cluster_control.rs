//! A cluster whose control plane survives: real processes, the head among those that are lost.
#![allow(clippy::unwrap_used)]

#[path = "support/processes.rs"]
mod processes;

use std::{fs, path::PathBuf, time::Duration};

use actinic::{
    cluster::{ask, node_of, Caller, Cluster, ClusterStatus},
    prelude::*,
};

use processes::{connect, has_ended, here, hold, holds, let_go, parent_of, signal, wait_until};

#[remote]
fn pid() -> u32 {
    std::process::id()
}

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Takes memory until somebody ends it, `most` bytes at last, and holds it until the test lets it go.
#[remote]
fn eats(most: usize, folder: PathBuf) -> usize {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    while eaten.len() << 24 < most {
        eaten.push(vec![1; 1 << 24]);
        std::thread::sleep(Duration::from_millis(5));
    }
    hold(&folder);
    eaten.len()
}

fn status(address: &str) -> ClusterStatus {
    ask(&node_of(address).unwrap(), Caller::Status).unwrap()
}

/// Whether the control store has so many replicas, each on a node that lives.
fn has_replicas(address: &str, count: usize) -> bool {
    let gcs = status(address).gcs;
    gcs.shards.len() == 1 && gcs.shards[0].len() == count && gcs.shards[0].iter().all(|(_, lives)| *lives)
}

#[test]
fn a_killed_head_takes_nothing_along() {
    let one: &[(&str, f64)] = &[("CPU", 1.0)];
    let mut cluster = Cluster::builder().gcs_replicas(3).start(&[one, one, one]).unwrap();
    let addresses: Vec<String> = cluster.nodes().iter().map(|node| node.card.address.clone()).collect();
    wait_until("three replicas", || has_replicas(&addresses[1], 3));
    assert!(status(&addresses[1]).gcs.survives_a_node);
    // The driver is on the second node.
    let rt = connect(&addresses[1]);
    assert!(rt.kv_put("kept", "row", true).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let before: Vec<_> = (0..6).map(|_| holds.remote(folder.path().to_owned())).collect();
    wait_until("all nodes work", || here(folder.path()).len() >= 3);
    let (head, workers) = (cluster.pids()[0], here(folder.path()));
    let lost: Vec<u32> = workers.into_iter().filter(|worker| parent_of(*worker) == head).collect();
    cluster.nodes()[0].kill().unwrap();
    let after: Vec<_> = (0..20).map(|n| add.remote(n, 1)).collect();
    let_go(folder.path());
    let ran_at = rt.get(&before).unwrap();
    assert!(ran_at.iter().all(|worker| !lost.contains(worker)), "{ran_at:?} and {lost:?}");
    assert_eq!(rt.get(&after).unwrap(), (1..=20).collect::<Vec<i64>>());
    assert_eq!(rt.kv_get("kept").unwrap().as_deref(), Some(&b"row"[..]));
    // A node joins through those that are left, and takes the head's place in the control store.
    cluster.add_node(&[("CPU", 1.0), ("tpu", 1.0)]).unwrap();
    rt.get(&pid.options().resource("tpu", 1.0).remote()).unwrap();
    let without_head = || {
        let gcs = status(&addresses[1]).gcs;
        gcs.shards[0].iter().all(|(address, _)| *address != addresses[0])
    };
    wait_until("three replicas again", || without_head() && has_replicas(&addresses[1], 3));
    // Another driver connects, by a list that begins with the lost head.
    let another = connect(&format!("127.0.0.1:1,{}", addresses[2]));
    assert_eq!(another.get(&add.remote(20, 22)).unwrap(), 42);
    assert_eq!(another.kv_get("kept").unwrap().as_deref(), Some(&b"row"[..]));
}

#[test]
fn the_control_store_is_on_one_node_until_there_are_three() {
    let one: &[(&str, f64)] = &[("CPU", 1.0)];
    let mut cluster = Cluster::builder().gcs_replicas(3).start(&[one, one]).unwrap();
    let address = cluster.address().to_owned();
    wait_until("its state is known", || has_replicas(&address, 1));
    assert!(!status(&address).gcs.survives_a_node);
    cluster.add_node(&[("CPU", 1.0)]).unwrap();
    wait_until("three replicas", || has_replicas(&address, 3));
}

#[test]
fn a_node_that_was_paused_too_long_ends_itself_with_its_workers() {
    let one: &[(&str, f64)] = &[("CPU", 1.0)];
    let mut cluster = Cluster::with_resources(&[one, &[("CPU", 1.0), ("tpu", 1.0)]]).unwrap();
    let rt = connect(cluster.address());
    let folder = tempfile::tempdir().unwrap();
    let held = holds.options().resource("tpu", 1.0).remote(folder.path().to_owned());
    wait_until("it runs", || here(folder.path()).len() == 1);
    let (paused, worker) = (cluster.nodes()[1].pid(), *here(folder.path()).first().unwrap());
    signal("-STOP", paused);
    let address = cluster.address().to_owned();
    wait_until("it is given up", || status(&address).nodes.len() == 1);
    let dead = || rt.list_nodes().unwrap().iter().filter(|node| !node.is_alive()).count() == 1;
    wait_until("it is declared dead", dead);
    signal("-CONT", paused);
    wait_until("it ends itself", || has_ended(paused));
    wait_until("its worker ends with it", || has_ended(worker));
    // Its task runs again where there is what it needs.
    cluster.add_node(&[("CPU", 1.0), ("tpu", 1.0)]).unwrap();
    let_go(folder.path());
    assert_ne!(rt.get(&held).unwrap(), worker);
}

/// Bytes in use and all bytes of this machine.
fn memory() -> (f64, f64) {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let of = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_end_matches("kB").trim().parse::<f64>().unwrap() * 1_024.0
    };
    (of("MemTotal:") - of("MemAvailable:"), of("MemTotal:"))
}

#[test]
fn a_task_that_takes_too_much_memory_is_killed_and_others_go_on() {
    let (used, total) = memory();
    let room = 500e6;
    let three: &[(&str, f64)] = &[("CPU", 3.0)];
    let cluster = Cluster::builder().memory_threshold((used + room) / total).start(&[three]).unwrap();
    let rt = connect(cluster.address());
    let folder = tempfile::tempdir().unwrap();
    let others: Vec<_> = (0..2).map(|_| holds.options().max_retries(100).remote(folder.path().to_owned())).collect();
    wait_until("the others run", || here(folder.path()).len() >= 2);
    let eater = eats.options().max_retries(0).remote(total as usize, folder.path().to_owned());
    let killed = rt.get(&eater).unwrap_err().to_string();
    assert!(killed.contains("eats") && killed.contains("short of memory") && killed.contains("MiB"), "{killed}");
    assert!(killed.contains("option `memory`"), "{killed}");
    let_go(folder.path());
    rt.get(&others).unwrap();
}
