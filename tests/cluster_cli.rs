//! The `actinic` command: clusters as an operator starts, looks at, uses and stops them.
//!
//! What is typed is run as processes of its own, and so are drivers: this executable, started for a test that does nothing
//! unless the environment names a program.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "support/cli.rs"]
mod cli;
#[path = "cli/foreground.rs"]
mod foreground;
#[path = "cli/hosts.rs"]
mod hosts;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "hosts/network.rs"]
mod network;
#[path = "support/processes.rs"]
mod processes;
#[path = "cli/refusals.rs"]
mod refusals;

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use actinic::prelude::*;

use cli::{said_by, Machine, Running, PROGRAM};
use processes::{here, hold, holds, let_go, parent_of, wait_until};

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn node_pid() -> u32 {
    parent_of(std::process::id())
}

/// Where the worker listens for processes of other nodes.
#[remote(num_returns = 1)]
fn its_doors() -> Vec<Ipv4Addr> {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| std::fs::read_link(entry.path()));
    let own: Vec<String> = links.flatten().map(|link| link.to_string_lossy().into_owned()).collect();
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let hosts = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields[3] == "0A" && own.contains(&format!("socket:[{}]", fields[9]));
        let (host, _) = fields[1].split_once(':').filter(|_| listens)?;
        Some(Ipv4Addr::from(u32::from_str_radix(host, 16).ok()?.to_ne_bytes()))
    });
    hosts.collect()
}

/// Not a test but the driver of those below: it is told what to do by the environment, and does nothing without. It joins the
/// cluster that ACTINIC_ADDRESS names.
#[test]
fn a_driver() {
    let Ok(program) = std::env::var(PROGRAM) else { return };
    let rt = Runtime::init().unwrap_or_else(|error| panic!("{error}"));
    match program.split_once(' ').unwrap_or((&program, "")) {
        ("sum", _) => {
            let sums: Vec<_> = (0..100).map(|n| add.remote(n, 1)).collect();
            println!("the sum is {}", rt.get(&sums).unwrap().iter().sum::<i64>());
        }
        ("where", selectors) => {
            let on = |zone| node_pid.options().label_selector("zone", zone).remote();
            let nodes: Vec<u32> = selectors.split_whitespace().map(|zone| rt.get(&on(zone)).unwrap()).collect();
            println!("they ran at {nodes:?}");
        }
        ("doors", _) => println!("doors at {:?}", rt.get(&its_doors.remote()).unwrap()),
        ("wants", folder) => {
            let _waits = add.options().resource("unicorn", 1.0).remote(1, 1);
            hold(Path::new(folder));
        }
        ("holds", folder) => {
            let lost = rt.get(&holds.options().max_retries(0).remote(PathBuf::from(folder)));
            println!("it heard: {}", lost.unwrap_err());
        }
        (other, _) => panic!("no such program: {other}"),
    }
}

#[test]
fn a_cluster_is_started_shown_used_and_stopped() {
    let machine = Machine::new();
    let head = machine.start("--head --num-cpus 2 --resource tpu=3 --label zone=a --gcs-replicas 1");
    assert!(head.address.starts_with("127.0.0.1:"), "{head:?}");
    for advice in ["ACTINIC_ADDRESS=", "actinic start --join", "actinic start --head --listen", "actinic stop"] {
        assert!(head.said.contains(advice), "{advice}: {head:?}");
    }
    let second =
        machine.start(&format!("--join {} --num-cpus 1 --num-gpus 4 --labels zone=b,host=rack-7", head.address));
    let has = |words: &str| machine.run("status").text.contains(words);
    wait_until("the head has heard of the second", || has(&second.name));
    let status = machine.run("status");
    status.tells(&[&format!("{}*", head.name), &head.address, "2/2 CPU", "3/3 tpu", "zone=a", "os=linux", "arch="]);
    status.tells(&[&second.name, &second.address, "1/1 CPU", "4/4 GPU", "zone=b", "host=rack-7"]);
    status.tells(&["the loss of the head would not be survived"]);
    wait_until("it is known where the control store is", || has("control store: 1 of 1 replicas"));
    let both = [(head.name.as_str(), head.pid), (second.name.as_str(), second.pid)];
    assert_eq!(machine.processes(), both.iter().map(|(_, pid)| *pid).collect());
    // Any node of the cluster will do for an address.
    for address in [&head.address, &second.address, "auto"] {
        said_by(machine.driver("sum", address)).tells(&["the sum is 5050"]);
    }
    let ran = said_by(machine.driver("where a b", &head.address));
    ran.tells(&[&format!("they ran at [{}, {}]", head.pid, second.pid)]);
    let token = machine.run("token");
    assert!(token.succeeded && token.text.trim().len() >= 64, "{token:?}");
    let all = machine.processes();
    let stopped = machine.run("stop");
    stopped.tells(&[&head.name, &second.name, "all nodes have ended"]);
    machine.is_empty_soon(&all);
    for (words, answer) in [("stop", "no node runs here"), ("status", "`actinic start --head` begins a cluster")] {
        machine.run(words).tells(&[answer]);
    }
    machine.run("token").refuses(Duration::from_secs(5), &["no node runs here"]);
}

#[test]
fn three_nodes_hold_the_control_store_and_status_says_what_would_be_survived() {
    let machine = Machine::new();
    let head = machine.start("--head --num-cpus 1");
    machine.run("status").tells(&["it takes 3 nodes that live"]);
    let has = |words: &str| machine.run("status").text.contains(words);
    wait_until("there is one replica", || has("control store: 1 of 3 replicas"));
    for _ in 0..2 {
        machine.start(&format!("--join {} --num-cpus 1", head.address));
    }
    wait_until("there are three replicas", || has("control store: 3 of 3 replicas"));
    wait_until("that is said", || has("the loss of any one node would be survived, but not that of this machine"));
    let all = machine.processes();
    machine.run("stop").tells(&["all nodes have ended"]);
    machine.is_empty_soon(&all);
}

#[test]
fn what_waits_is_shown_until_its_driver_leaves() {
    let machine = Machine::new();
    let head = machine.start("--head --num-cpus 1 --gcs-replicas 1");
    let folder = machine.path("meeting");
    std::fs::create_dir(&folder).unwrap();
    let mut driver = machine.driver(&format!("wants {}", folder.display()), &head.address);
    let mut driver = Running(driver.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_until("the driver waits", || !here(&folder).is_empty());
    let shows = |words: &[&str]| {
        let status = machine.run("status");
        assert!(status.succeeded, "{status:?}");
        words.iter().all(|word| status.text.contains(word))
    };
    wait_until("what waits is shown", || shows(&["waiting:", "unicorn", "jobs with a driver here"]));
    let_go(&folder);
    assert!(driver.0.wait().unwrap().success());
    wait_until("nothing waits any more", || !shows(&["waiting:"]));
}

#[test]
fn a_node_that_is_stopped_takes_its_workers_along_and_its_driver_is_told() {
    let machine = Machine::new();
    let head = machine.start("--head --num-cpus 1 --gcs-replicas 1");
    let folder = machine.path("meeting");
    std::fs::create_dir(&folder).unwrap();
    let mut driver = machine.driver(&format!("holds {}", folder.display()), &head.address);
    let driver = driver.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("its task runs", || !here(&folder).is_empty());
    let worker = here(&folder).pop_first().unwrap();
    assert_eq!(parent_of(worker), head.pid);
    let all: BTreeSet<u32> = machine.processes();
    assert!(all.contains(&worker) && all.contains(&driver.id()), "{all:?}");
    machine.run("stop").tells(&["all nodes have ended"]);
    let heard = driver.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&heard.stdout).into_owned();
    assert!(heard.status.success() && text.contains("it heard: "), "{heard:?}");
    machine.is_empty_soon(&all);
}

#[test]
fn a_node_that_was_killed_is_not_shown_and_what_it_left_goes_with_the_next_look() {
    let machine = Machine::new();
    let head = machine.start("--head --num-cpus 1 --gcs-replicas 1");
    let all = machine.processes();
    processes::signal("-KILL", head.pid);
    wait_until("it is not shown any more", || machine.run("status").text.contains("no node runs here"));
    // Its shared memory goes with the next start, wherever that is.
    let next = machine.start("--head --num-cpus 1 --gcs-replicas 1");
    said_by(machine.driver("sum", &next.address)).tells(&["the sum is 5050"]);
    let all: BTreeSet<u32> = machine.processes().union(&all).copied().collect();
    machine.run("stop").tells(&["all nodes have ended"]);
    machine.is_empty_soon(&all);
}
