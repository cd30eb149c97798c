//! Clusters across hosts: each node in a network namespace with an address of its own, and links that fail.
//!
//! Where namespaces cannot be made, each test says so by its name and is passed over.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "hosts/delay.rs"]
mod delay;
#[path = "hosts/network.rs"]
mod network;
#[path = "support/processes.rs"]
mod processes;

use std::time::{Duration, Instant};

use actinic::{
    cluster::{spawn_node, LocalNode},
    prelude::*,
};

use network::{passed_over, Network};
use processes::{has_ended, here, holds, let_go, node_settings, parent_of, wait_until};

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn ones(n: usize) -> Tensor<f64> {
    Tensor::from_vec([n], vec![1.0; n]).unwrap()
}

#[remote]
fn length(x: Tensor<f64>) -> usize {
    x.as_slice().len()
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
                passed_over(test, &why);
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
            let (join, token) = head.map(|head| (head.address, head.token)).unzip();
            let mut settings = node_settings(join.as_deref(), token.as_deref());
            (settings.listen, settings.advertise, settings.apart) = (listen.parse().unwrap(), advertise, true);
            settings.resources.insert(format!("host{host}"), 10.0);
            nodes.push(network.at(host, || spawn_node(settings, None)).unwrap());
        }
        Some(Self { nodes, network })
    }

    /// From now on nothing but the nodes' own ports leads from host to host.
    ///
    /// # Errors
    /// That this machine cannot do that.
    fn wall(&self) -> Result<(), String> {
        let port = |node: &LocalNode| node.card.address.rsplit_once(':').unwrap().1.parse().unwrap();
        self.network.wall(&self.nodes.iter().map(port).collect::<Vec<u16>>())
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

/// Counts.
#[remote]
struct Counter {
    value: i64,
}

#[remote]
impl Counter {
    fn new() -> Self {
        Self { value: 0 }
    }

    fn add(&mut self, n: i64) -> i64 {
        self.value += n;
        self.value
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
        let_go(folder);
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
            return passed_over(test, &why);
        }
        let tasks: Vec<_> = (0..300_i64).map(|n| at((n % 3) as u8 + 1, n)).collect();
        assert_eq!(rt.get(&tasks).unwrap(), (1..=300).collect::<Vec<i64>>());
        // An object from host to host past the driver's, and calls in order.
        let large = ones.options().resource("host2", 1.0).remote(500_000);
        let counter = Counter::options().resource("host3", 1.0).remote();
        let calls: Vec<_> = (0..100).map(|_| counter.add(1)).collect();
        assert_eq!(rt.get(&length.options().resource("host3", 1.0).remote(&large)).unwrap(), 500_000);
        assert_eq!(rt.get(&calls).unwrap(), (1..=100).collect::<Vec<i64>>());
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
            return passed_over(test, &why);
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

#[test]
fn where_only_the_nodes_ports_are_open_tasks_and_calls_go_through_the_nodes() {
    let test = "where_only_the_nodes_ports_are_open_tasks_and_calls_go_through_the_nodes";
    let Some(hosts) = Hosts::start(test, 2, None) else { return };
    if let Err(why) = hosts.wall() {
        return passed_over(test, &why);
    }
    hosts.drive(1, |rt| {
        let tasks: Vec<_> = (0..200_i64).map(|n| at(2, n)).collect();
        assert_eq!(rt.get(&tasks).unwrap(), (1..=200).collect::<Vec<i64>>());
        let since = Instant::now();
        let counter = Counter::options().resource("host2", 1.0).remote();
        let calls: Vec<_> = (0..100).map(|_| counter.add(1)).collect();
        assert_eq!(rt.get(&calls).unwrap(), (1..=100).collect::<Vec<i64>>());
        let took = since.elapsed();
        assert!(took < Duration::from_millis(1_900), "it is known that doors do not answer there: {took:?}");
    });
}

#[test]
fn a_line_that_is_forgotten_on_the_way_costs_no_task_and_no_actor() {
    let test = "a_line_that_is_forgotten_on_the_way_costs_no_task_and_no_actor";
    let Some(hosts) = Hosts::start(test, 2, None) else { return };
    hosts.drive(1, |rt| {
        let counter = Counter::options().resource("host2", 1.0).max_task_retries(5).remote();
        assert_eq!(rt.get(&counter.add(1)).unwrap(), 1);
        assert_eq!(rt.get(&at(2, 1)).unwrap(), 2);
        if let Err(why) = hosts.wall() {
            return passed_over(test, &why);
        }
        let since = Instant::now();
        let tasks: Vec<_> = (0..100_i64).map(|n| at(2, n)).collect();
        let calls: Vec<_> = (0..10).map(|_| counter.add(1)).collect();
        assert_eq!(rt.get(&tasks).unwrap(), (1..=100).collect::<Vec<i64>>());
        assert_eq!(rt.get(&calls).unwrap(), (2..=11).collect::<Vec<i64>>(), "in order, and none of them had come");
        println!("a line was forgotten: its tasks and calls ended after {:.1?}", since.elapsed());
        assert!(rt.list_nodes().unwrap().iter().all(|node| node.is_alive()));
    });
}
