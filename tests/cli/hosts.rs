//! Nodes of several hosts, each a network namespace, that are told no more than whom to join.
//!
//! Where namespaces cannot be made, each test says so by its name and is passed over.

use std::time::Instant;

use super::*;
use crate::network::{passed_over, Network};

/// Longer than a node may be without a connection before it is looked after.
const LOOKED_AFTER: Duration = Duration::from_secs(5);

fn network(test: &str) -> Option<Network> {
    Network::make(2).map_err(|why| passed_over(test, &why)).ok()
}

#[test]
fn a_node_that_is_told_whom_to_join_and_nothing_else_is_reached_by_the_others() {
    let test = "a_node_that_is_told_whom_to_join_and_nothing_else_is_reached_by_the_others";
    let Some(network) = network(test) else { return };
    let (first, second) = (Machine::new(), Machine::new());
    // Everywhere is no address that others could be told.
    let words = "--head --listen 0.0.0.0:0 --num-cpus 1 --gcs-replicas 1 --label zone=a";
    let head = network.at(1, || first.start(words));
    assert!(head.address.starts_with(&format!("{}:", network.address(1))), "{head:?}");
    assert!(head.said.contains(&format!("actinic start --join {}", head.address)), "{head:?}");
    // As it is printed.
    let join = |words: &str| {
        let mut command = second.actinic(&format!("start --join {} --num-cpus 1 --label zone=b {words}", head.address));
        command.env("ACTINIC_TOKEN", head.token());
        network.at(2, || said_by(command))
    };
    let near = join("--listen 127.0.0.1:0");
    near.refuses(LOOKED_AFTER, &["only this machine reaches it", &head.address, "leave `--listen` out"]);
    let joined = join("");
    assert!(joined.succeeded, "{joined:?}");
    let node = cli::Node::of(&joined.text);
    assert!(node.address.starts_with(&format!("{}:", network.address(2))), "{node:?}");
    let both = format!("they ran at [{}, {}]", head.pid, node.pid);
    let ran = |machine: &Machine, host: u8, at: &str| {
        network.at(host, || said_by(machine.driver("where a b", at))).tells(&[&both]);
    };
    wait_until("each has heard of the other", || network.at(1, || first.run("status").text.contains(&node.address)));
    let since = Instant::now();
    while since.elapsed() < LOOKED_AFTER {
        network.at(1, || first.run("status")).tells(&[&head.address, &node.address]);
        ran(&first, 1, &head.address);
        ran(&second, 2, &head.address);
    }
    // Nor are workers at an address that leads nowhere.
    let doors = network.at(1, || said_by(first.driver("doors", &head.address)));
    doors.tells(&[&format!("doors at [{}]", network.address(1))]);
    network.at(2, || second.run("stop")).tells(&["all nodes have ended"]);
    network.at(1, || first.run("stop")).tells(&["all nodes have ended"]);
}

#[test]
fn a_loopback_address_of_a_cluster_of_other_hosts_is_not_joined_by_a_node_that_they_would_not_reach() {
    let test = "a_loopback_address_of_a_cluster_of_other_hosts_is_not_joined_by_a_node_that_they_would_not_reach";
    let Some(network) = network(test) else { return };
    let (machine, beside) = (Machine::new(), Machine::new());
    network.at(1, || {
        let head = machine.start("--head --listen 0.0.0.0:0 --num-cpus 1 --gcs-replicas 1");
        let (_, port) = head.address.rsplit_once(':').unwrap();
        let mut join = beside.actinic(&format!("start --join 127.0.0.1:{port} --num-cpus 1"));
        join.env("ACTINIC_TOKEN", head.token());
        let refused = said_by(join);
        refused.refuses(LOOKED_AFTER, &["only this machine reaches it", &head.address, "join by that address"]);
        beside.is_empty_soon(&BTreeSet::new());
    });
}

#[test]
fn where_nobody_answers_a_node_gives_up_soon() {
    let Some(network) = network("where_nobody_answers_a_node_gives_up_soon") else { return };
    let machine = Machine::new();
    let hole = format!("{}:7000", network.address(99));
    let joined = network.at(1, || machine.run(&format!("start --join {hole} --token any.sha256-{}", "0".repeat(64))));
    println!("a black hole was given up after {:.1?}", joined.took);
    joined.refuses(Duration::from_secs(30), &[&hole]);
    machine.is_empty_soon(&BTreeSet::new());
}
