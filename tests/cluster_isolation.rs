//! What tasks do to their process is theirs alone: others' tasks, workers and drivers go on, each with its own code.
//!
//! Drivers that differ are processes of their own: this executable, or a copy of it, started for a test that does nothing unless
//! the environment names a program.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "support/processes.rs"]
mod processes;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use actinic::{cluster::Cluster, prelude::*, TaskErrorKind};
use rustix::process::{getpid, kill_process, Signal};

use processes::{connect, has_ended, here, hold, holds, let_go, parent_of, say_here, wait_until};

/// Which program a driver runs, and on which cluster.
const PROGRAM: &str = "ACTINIC_TEST_PROGRAM";

/// How a task can end its process.
const ENDS: [&str; 4] = ["fault", "overflow", "exit", "kill"];

/// Says that it is here and ends its process.
#[remote]
fn end(how: String, folder: PathBuf) -> u64 {
    say_here(&folder);
    match how.as_str() {
        // The first gives back what the standard library does about overflown stacks; the second ends it.
        "fault" => loop {
            kill_process(getpid(), Signal::SEGV).unwrap();
        },
        "overflow" => descend(1),
        "exit" => std::process::exit(7),
        _ => kill_process(getpid(), Signal::KILL).map(|()| 0).unwrap(),
    }
}

/// Without an end.
fn descend(level: u64) -> u64 {
    let here = std::hint::black_box([level; 64]);
    if here[63] == 0 {
        return 0;
    }
    descend(level + 1) + here[0]
}

#[remote]
fn pid() -> u32 {
    std::process::id()
}

/// Waits for another task in another process.
#[remote]
fn waits_for_another() -> u32 {
    actinic::get(&pid.options().scheduling_strategy(SchedulingStrategy::Spread).remote()).unwrap()
}

/// Says that it is here, waits until it may go on, and gives the size of its executable and its node.
#[remote(num_returns = 1)]
fn its_code(folder: PathBuf) -> (u64, u32) {
    hold(&folder);
    (executable_bytes(), parent_of(std::process::id()))
}

fn executable_bytes() -> u64 {
    fs::metadata("/proc/self/exe").unwrap().len()
}

#[remote(num_returns = 1)]
fn surroundings() -> (PathBuf, Vec<Option<String>>) {
    let names = ["ACTINIC_TEST_GIVEN", "ACTINIC_TEST_HAD", "ACTINIC_ADDRESS"];
    (std::env::current_dir().unwrap(), names.map(|name| std::env::var(name).ok()).into())
}

#[remote]
fn reads_its_input() -> usize {
    let mut read = Vec::new();
    std::io::stdin().read_to_end(&mut read).unwrap()
}

/// Not a test but the driver of those below: it is told what to do by the environment, and does nothing without.
#[test]
fn a_driver() {
    let Ok(program) = std::env::var(PROGRAM) else { return };
    let rt = Runtime::builder().env_var("ACTINIC_TEST_GIVEN", "by the driver").init().unwrap();
    match program.split_once(' ').unwrap() {
        ("code", folder) => {
            let spread = || its_code.options().scheduling_strategy(SchedulingStrategy::Spread);
            let tasks = [(); 2].map(|()| spread().remote(PathBuf::from(folder)));
            let found = rt.get(&tasks[..]).unwrap();
            let nodes: BTreeSet<u32> = found.iter().map(|(_, node)| *node).collect();
            assert!(found.iter().all(|(bytes, _)| *bytes == executable_bytes()), "{found:?}");
            println!("{} nodes ran its own {} bytes", nodes.len(), executable_bytes());
        }
        ("surroundings", expected) => {
            let (folder, variables) = rt.get(&surroundings.remote()).unwrap();
            assert_eq!(folder, Path::new(expected).canonicalize().unwrap());
            assert_eq!(variables, [Some("by the driver".to_owned()), None, None]);
            println!("as expected");
        }
        (other, _) => panic!("no such program: {other}"),
    }
}

/// Starts a driver.
fn driver(executable: &Path, program: &str, cluster: &Cluster, change: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(executable);
    command.args(["--exact", "a_driver", "--nocapture"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env(PROGRAM, program).env("ACTINIC_ADDRESS", cluster.address());
    change(&mut command);
    command.spawn().unwrap()
}

/// What a driver printed.
fn printed(driver: Child) -> String {
    let Output { status, stdout, stderr } = driver.wait_with_output().unwrap();
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(status.success(), "{text}");
    text
}

/// The processes that a node has started and that still run.
fn workers_of(node: u32) -> BTreeSet<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_its = |process: &u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|parent| parent.trim() == node.to_string()))
    };
    pids.filter(is_its).filter(|process| !has_ended(*process)).collect()
}

#[test]
fn a_task_that_ends_its_process_takes_its_worker_only_and_its_caller_is_told_how() {
    let cluster = Cluster::with_resources(&[&[("CPU", 2.0)]]).unwrap();
    let rt = connect(cluster.address());
    let folder = tempfile::tempdir().unwrap();
    let beside = holds.remote(folder.path().to_owned());
    wait_until("a task runs beside", || here(folder.path()).len() == 1);
    let other = here(folder.path());
    for how in ENDS {
        let ended = tempfile::tempdir().unwrap();
        let task = end.options().max_retries(0).remote(how.to_owned(), ended.path().to_owned());
        let lost = rt.get_timeout(&task, Duration::from_secs(60)).unwrap_err();
        let expected = match how {
            "fault" => "SIGSEGV",
            "overflow" => "SIG",
            "exit" => "exit status: 7",
            _ => "SIGKILL",
        };
        println!("{how}: {lost}");
        assert!(matches!(lost.kind(), TaskErrorKind::WorkerLost { .. }), "{how}: {lost}");
        assert!(lost.to_string().contains(expected), "{how}: {lost}");
        let worker = here(ended.path());
        assert!(worker.len() == 1 && worker.is_disjoint(&other), "{how}: once, and in a worker of its own");
        wait_until("its worker has ended", || worker.iter().all(|worker| has_ended(*worker)));
        assert_ne!(rt.get(&pid.remote()).unwrap(), worker.into_iter().next().unwrap());
    }
    let_go(folder.path());
    assert_eq!(rt.get(&beside).unwrap(), other.into_iter().next().unwrap(), "it was not tried again");
}

#[test]
fn a_task_that_ends_its_process_is_tried_again_as_often_as_it_may() {
    let cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    let rt = connect(cluster.address());
    for how in ENDS {
        let folder = tempfile::tempdir().unwrap();
        let task = end.options().max_retries(1).remote(how.to_owned(), folder.path().to_owned());
        rt.get_timeout(&task, Duration::from_secs(60)).unwrap_err();
        assert_eq!(here(folder.path()).len(), 2, "{how}");
    }
}

#[test]
fn drivers_with_different_executables_are_served_by_their_own_code_at_once() {
    let cluster = Cluster::with_resources(&[&[("CPU", 2.0)], &[("CPU", 2.0)]]).unwrap();
    let (folder, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mine, copy) = (std::env::current_exe().unwrap(), place.path().join("another"));
    fs::copy(&mine, &copy).unwrap();
    // Another executable by its hash, which runs all the same.
    fs::OpenOptions::new().append(true).open(&copy).unwrap().write_all(&[7; 4_321]).unwrap();
    let program = format!("code {}", folder.path().display());
    let drivers = [&mine, &copy].map(|executable| driver(executable, &program, &cluster, |_| {}));
    wait_until("tasks of both run at once", || here(folder.path()).len() == 4);
    let_go(folder.path());
    let bytes = fs::metadata(&mine).unwrap().len();
    for (driver, bytes) in drivers.into_iter().zip([bytes, bytes + 4_321]) {
        let printed = printed(driver);
        assert!(printed.contains(&format!("2 nodes ran its own {bytes} bytes")), "{printed}");
    }
}

#[test]
fn a_driver_s_working_directory_and_the_variables_that_it_gives_reach_its_tasks() {
    let cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = format!("surroundings {}", folder.path().display());
    let driver = driver(&std::env::current_exe().unwrap(), &program, &cluster, |command| {
        command.current_dir(folder.path()).env("ACTINIC_TEST_HAD", "by the shell");
    });
    let printed = printed(driver);
    assert!(printed.contains("as expected"), "{printed}");
}

#[test]
fn a_worker_serves_task_after_task_and_those_that_nobody_needs_end() {
    let cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    let rt = connect(cluster.address());
    let node = cluster.pids()[0];
    let first = rt.get(&pid.remote()).unwrap();
    for _ in 0..100 {
        assert_eq!(rt.get(&pid.remote()).unwrap(), first);
    }
    // One that waits for another worker lends its CPU to that.
    let other = rt.get_timeout(&waits_for_another.remote(), Duration::from_secs(60)).unwrap();
    let all = workers_of(node);
    assert!(all.len() > 1 && all.contains(&first) && all.contains(&other), "{first} and {other} of {all:?}");
    // As many as were started ahead of need stay.
    wait_until("one is left", || workers_of(node).len() == 1);
    let left = rt.get(&pid.remote()).unwrap();
    assert!(all.contains(&left), "{left} is new beside {all:?}");
    drop(rt);
    wait_until("with its driver the last ends", || workers_of(node).is_empty());
}

#[test]
fn a_task_that_reads_its_input_finds_its_end_at_once() {
    let cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    let rt = connect(cluster.address());
    let read = rt.get_timeout(&reads_its_input.options().max_retries(0).remote(), Duration::from_secs(20));
    assert_eq!(read.unwrap(), 0);
    // Nor is the node confused by it.
    rt.get(&pid.remote()).unwrap();
}
