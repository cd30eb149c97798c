//! Clusters across hosts: each node in a network namespace with an address of its own, and links that fail.
//!
//! Where namespaces cannot be made, each test says so by its name and is passed over.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "hosts/delay.rs"]
mod delay;
#[path = "hosts/network.rs"]
mod network;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use actinic::{
    cluster::{spawn_node, LocalNode, NodeSettings},
    prelude::*,
};

use network::Network;

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn ones(n: usize) -> Tensor<f64> {
    Tensor::from_vec([n], vec![1.0; n]).unwrap()
}

/// Says in `folder` that it runs, and ends once somebody has put `go` there.
#[remote]
fn holds(folder: PathBuf) -> u32 {
    let worker = std::process::id();
    fs::write(folder.join(worker.to_string()), "").unwrap();
    wait_until("it may go on", || folder.join("go").exists());
    worker
}

fn here(folder: &Path) -> Vec<u32> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !happened() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn has_ended(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

fn parent_of(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}

/// A cluster with a node a host, the head on the first.
struct Hosts {
    nodes: Vec<LocalNode>,
    network: Network,
}

impl Hosts {
    /// One CPU each; each has a resource of its own, named after its host. With a delay every connection between two nodes
    /// has it, each way.
    fn start(test: &str, hosts: u8, delay: Option<Duration>) -> Option<Self> {
        let network = match Network::make(hosts) {
            Ok(network) => network,
            Err(why) => {
                println!("{test} is passed over: {why}");
                return None;
            }
        };
        let mut nodes: Vec<LocalNode> = Vec::new();
        for host in 1..=hosts {
            let ip = network.address(host);
            let (listen, advertise) = match delay {
                None => (format!("{ip}:0"), None),
                Some(delay) => {
                    let (far, near) = (format!("{ip}:7000"), format!("{ip}:7001"));
                    network.at(host, || delay::forward(&far, &near, delay));
                    (near, Some(far))
                }
            };
            let head = nodes.first().map(|head| head.card.clone());
            let settings = NodeSettings {
                join: head.as_ref().map(|head| head.address.clone()),
                token: head.map(|head| head.token),
                tls: Default::default(),
                listen: listen.parse().unwrap(),
                advertise,
                resources: [("CPU".to_owned(), 1.0), (format!("host{host}"), 1.0)].into(),
                labels: Default::default(),
                gcs_folder: None,
                gcs_replicas: 1,
                memory_threshold: 1.0,
                attached: true,
                apart: true,
            };
            nodes.push(network.at(host, || spawn_node(settings, None)).unwrap());
        }
        Some(Self { nodes, network })
    }

    /// Runs a driver at a host, once every node has a worker for it.
    fn drive<T: Send>(&self, host: u8, program: impl FnOnce(&Runtime) -> T + Send) -> T {
        let address = self.nodes[usize::from(host) - 1].card.address.clone();
        let nodes = self.nodes.len() as u8;
        self.network.at(host, move || {
            let rt = Runtime::builder().address(address).init().unwrap();
            let everywhere: Vec<_> = (1..=nodes).map(|host| at(host, 1)).collect();
            rt.get(&everywhere).unwrap();
            program(&rt)
        })
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // Whoever is cut off could not say goodbye; the head ends last.
        while let Some(node) = self.nodes.pop() {
            drop(node);
        }
    }
}

/// A task that only this host can run.
fn at(host: u8, n: i64) -> ObjectRef<i64> {
    add.options().resource(&format!("host{host}"), 1.0).remote(n, 1)
}

#[test]
fn a_host_that_is_cut_off_ends_its_node_and_its_tasks_run_elsewhere() {
    let test = "a_host_that_is_cut_off_ends_its_node_and_its_tasks_run_elsewhere";
    let Some(hosts) = Hosts::start(test, 3, None) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (cut, network) = (hosts.nodes[2].pid(), &hosts.network);
    let folder = folder.path();
    hosts.drive(1, |rt| {
        let tasks: Vec<_> = (0..6).map(|_| holds.remote(folder.to_owned())).collect();
        wait_until("all hosts work", || here(folder).len() >= 3);
        let lost: Vec<u32> = here(folder).into_iter().filter(|worker| parent_of(*worker) == cut).collect();
        assert_eq!(lost.len(), 1);
        let since = Instant::now();
        network.set_link(3, false);
        wait_until("its node ends itself", || has_ended(cut));
        let ended_after = since.elapsed();
        wait_until("its worker ends with it", || lost.iter().all(|worker| has_ended(*worker)));
        let dead = || rt.list_nodes().unwrap().iter().filter(|node| !node.is_alive()).count() == 1;
        wait_until("it is declared dead", dead);
        let dead_after = since.elapsed();
        println!("cut off: it ended itself after {ended_after:.1?}, and was declared dead after {dead_after:.1?}");
        assert!(ended_after < dead_after, "it ended before others could take its place");
        fs::write(folder.join("go"), "").unwrap();
        let ran_at = rt.get(&tasks).unwrap();
        assert!(ran_at.iter().all(|worker| !lost.contains(worker)), "{ran_at:?} and {lost:?}");
        network.set_link(3, true);
        assert_eq!(rt.get(&at(2, 1)).unwrap(), 2);
    });
}

#[test]
fn where_packets_are_lost_all_tasks_end() {
    let test = "where_packets_are_lost_all_tasks_end";
    let Some(hosts) = Hosts::start(test, 3, None) else { return };
    hosts.drive(1, |rt| {
        if let Err(why) = hosts.network.lose(5) {
            return println!("{test} is passed over: {why}");
        }
        let tasks: Vec<_> = (0..300_i64).map(|n| at((n % 3) as u8 + 1, n)).collect();
        assert_eq!(rt.get(&tasks).unwrap(), (1..=300).collect::<Vec<i64>>());
        assert!(rt.list_nodes().unwrap().iter().all(|node| node.is_alive()));
    });
}

#[test]
fn a_link_that_fails_for_a_moment_costs_no_task_and_no_node() {
    let test = "a_link_that_fails_for_a_moment_costs_no_task_and_no_node";
    let Some(hosts) = Hosts::start(test, 2, None) else { return };
    hosts.drive(1, |rt| {
        for _ in 0..2 {
            hosts.network.set_link(2, false);
            let tasks: Vec<_> = (0..40_i64).map(|n| at(2, n)).collect();
            // As long as the trouble is.
            std::thread::sleep(Duration::from_secs(2));
            hosts.network.set_link(2, true);
            assert_eq!(rt.get(&tasks).unwrap(), (1..=40).collect::<Vec<i64>>());
        }
        assert!(rt.list_nodes().unwrap().iter().all(|node| node.is_alive()));
    });
}

#[test]
fn a_narrow_link_is_slow_and_loses_nobody() {
    let test = "a_narrow_link_is_slow_and_loses_nobody";
    let Some(hosts) = Hosts::start(test, 2, None) else { return };
    hosts.drive(1, |rt| {
        // What host 2 sends is received by host 1.
        if let Err(why) = hosts.network.narrow(1, 20) {
            return println!("{test} is passed over: {why}");
        }
        let since = Instant::now();
        let large = ones.options().resource("host2", 1.0).remote(1_000_000);
        assert_eq!(rt.get(&large).unwrap().as_slice().len(), 1_000_000);
        let took = since.elapsed();
        println!("8 MB over 20 Mbit/s took {took:.1?}");
        assert!(took > Duration::from_secs(2), "the link was not narrow: {took:?}");
        assert_eq!(rt.get(&at(2, 1)).unwrap(), 2);
        assert!(rt.list_nodes().unwrap().iter().all(|node| node.is_alive()));
    });
}

#[test]
fn a_long_way_is_waited_for() {
    let delay = Duration::from_millis(60);
    let Some(hosts) = Hosts::start("a_long_way_is_waited_for", 2, Some(delay)) else { return };
    hosts.drive(1, |rt| {
        let since = Instant::now();
        assert_eq!(rt.get(&at(2, 1)).unwrap(), 2);
        let took = since.elapsed();
        assert!(took >= 2 * delay, "there and back takes twice as long as one way: {took:?}");
        let tasks: Vec<_> = (0..200_i64).map(|n| at((n % 2) as u8 + 1, n)).collect();
        assert_eq!(rt.get(&tasks).unwrap(), (1..=200).collect::<Vec<i64>>());
    });
}
