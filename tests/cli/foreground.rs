//! Whom a node hears: one that was left to itself is in a session of its own, one in the foreground ends as its command does.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::Command,
};

use super::*;
use crate::cli::Node;

/// The session of a process.
fn session_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // What stands in brackets may have spaces.
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[test]
fn an_interrupt_of_the_script_that_started_a_node_does_not_reach_it() {
    let machine = Machine::new();
    let start = format!("{} start --head --num-cpus 1 --gcs-replicas 1; exec sleep 600", env!("CARGO_BIN_EXE_actinic"));
    let mut script = machine.program("sh");
    script.args(["-c", &start]).process_group(0).stdout(Stdio::piped());
    let mut script = Running(script.spawn().unwrap());
    let mut said = String::new();
    BufReader::new(script.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let node = Node::of(&said);
    assert_eq!(session_of(node.pid), node.pid, "it leads a session of its own");
    assert_ne!(session_of(script.0.id()), node.pid);
    // As a terminal does it: to all of the group.
    let group = format!("-{}", script.0.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    script.0.wait().unwrap();
    machine.run("status").tells(&[&node.name]);
    said_by(machine.driver("sum", &node.address)).tells(&["the sum is 5050"]);
}

#[test]
fn a_node_in_the_foreground_ends_in_good_order_when_it_is_interrupted_terminated_or_stopped() {
    let machine = Machine::new();
    for end in ["-INT", "-TERM", "stop"] {
        let mut node = machine.actinic("start --head --block --num-cpus 1 --gcs-replicas 1");
        node.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = Running(node.spawn().unwrap());
        let mut out = BufReader::new(running.0.stdout.take().unwrap());
        let mut said = String::new();
        out.read_line(&mut said).unwrap();
        let node = Node::of(&said);
        assert_eq!(node.pid, running.0.id(), "it is the command itself");
        assert_eq!(session_of(node.pid), session_of(std::process::id()), "what is typed at the terminal is for it");
        said_by(machine.driver("sum", &node.address)).tells(&["the sum is 5050"]);
        let all = machine.processes();
        match end {
            "stop" => machine.run("stop").tells(&["all nodes have ended"]),
            signal => processes::signal(signal, node.pid),
        }
        let ended = running.0.wait().unwrap();
        assert!(ended.success(), "{end}: {ended}");
        machine.is_empty_soon(&all);
    }
}
