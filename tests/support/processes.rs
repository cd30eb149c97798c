//! What the tests of clusters share: tasks that meet through a folder, and looks at the processes of a cluster.
//!
//! Owns: no process. Tasks run in other processes than their test, so they meet in a folder of the test's: each says there
//! that it runs, and goes on once the test says so. Invariant: every wait has a deadline.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use actinic::{cluster::NodeSettings, prelude::*};

/// How long a test waits for what must happen between processes; hosts that were cut off take longest.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until it has happened, looking again and again.
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

// --- meeting in a folder -----------------------------------------------------------------------------------------------

/// Says in `folder` that this process runs; gives its number.
pub(crate) fn say_here(folder: &Path) -> u32 {
    let me = std::process::id();
    fs::write(folder.join(me.to_string()), "").unwrap();
    me
}

/// Says in `folder` that this process runs, and waits until [`let_go`] was called; gives its number.
pub(crate) fn hold(folder: &Path) -> u32 {
    let me = say_here(folder);
    wait_until("it may go on", || folder.join("go").exists());
    me
}

/// Lets all go on who hold, now and later.
pub(crate) fn let_go(folder: &Path) {
    fs::write(folder.join("go"), "").unwrap();
}

/// The processes that said in `folder` that they run.
pub(crate) fn here(folder: &Path) -> BTreeSet<u32> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

/// Says in `folder` that it runs, and ends once somebody has called [`let_go`].
#[remote]
pub(crate) fn holds(folder: PathBuf) -> u32 {
    hold(&folder)
}

// --- processes ---------------------------------------------------------------------------------------------------------

/// Whether a process runs no more; it may still wait for somebody to ask how it ended.
pub(crate) fn has_ended(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

/// The process that started another: a worker's node.
pub(crate) fn parent_of(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}

/// Sends a signal, such as `-STOP`.
pub(crate) fn signal(name: &str, process: u32) {
    assert!(Command::new("kill").args([name, &process.to_string()]).status().unwrap().success());
}

// --- clusters ----------------------------------------------------------------------------------------------------------

/// A driver at this address, which shares its names with the others of its test.
pub(crate) fn connect(address: &str) -> Runtime {
    Runtime::builder().address(address).namespace("tests").init().unwrap()
}

/// A node of one CPU that listens on loopback and ends with its test; the head of a cluster unless it joins one.
pub(crate) fn node_settings(join: Option<&str>, token: Option<&str>) -> NodeSettings {
    NodeSettings {
        join: join.map(str::to_owned),
        token: token.map(str::to_owned),
        tls: Default::default(),
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: None,
        resources: [("CPU".to_owned(), 1.0)].into(),
        labels: Default::default(),
        gcs_folder: None,
        gcs_replicas: 1,
        memory_threshold: 1.0,
        attached: true,
        apart: false,
    }
}
