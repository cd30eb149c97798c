//! The short form of the bench command: every row once, so that none rots.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actinic-bench"));
    command.args(arguments).env_remove("ONLY").current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.output().expect("the command starts")
}

#[test]
fn every_row_runs_once() {
    let output = bench(&["--quick", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("a list");
    assert!(!rows.is_empty());
    for row in rows {
        assert!(row["error"].is_null() && row["value"].as_f64().is_some(), "{row}");
        assert!(row["met"].is_null(), "the short form judges nothing: {row}");
    }
}

#[test]
fn the_list_names_rows_without_measuring() {
    let output = bench(&["--list", "--floors", "--only", "tokio*"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("tokio::spawn + join, batches of 10k") && !text.contains("rayon"), "{text}");
}

#[test]
fn a_wrong_option_shows_the_usage() {
    let output = bench(&["--fastest"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--only PATTERN"));
}

#[test]
fn the_results_land_in_the_current_folder() {
    let output = bench(&["--floors", "--quick", "--only", "Arc clone"]);
    assert!(output.status.success());
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-results.json");
    let rows: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(file).expect("the file is written")).expect("a list");
    assert_eq!(rows.len(), 1);
}

#[test]
fn whatever_befalls_the_leader_no_acknowledged_write_is_lost() {
    let output = bench(&["--failover", "--quick"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let named = |what: &str| text.contains(what);
    assert!(named("leader killed") && named("leader paused") && named("network cut"), "{text}");
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failover.svg");
    assert!(std::fs::read_to_string(picture).expect("the picture is written").starts_with("<svg"));
}

/// Namespaces that belong to this process.
fn namespaces_of(pid: u32) -> usize {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return 0 };
    let ours = format!("actinic-failover-{pid}-");
    entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours)).count()
}

#[test]
fn a_failover_bench_that_is_killed_leaves_no_network_behind() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actinic-bench"));
    command.args(["--failover", "--quick"]).current_dir(env!("CARGO_TARGET_TMPDIR"));
    let mut bench = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command starts");
    // Where none may be made it ends by itself.
    while bench.try_wait().expect("it is ours").is_none() && namespaces_of(bench.id()) < 5 {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let _ = bench.kill();
    bench.wait().expect("it is ours");
    let since = Instant::now();
    while namespaces_of(bench.id()) > 0 {
        assert!(since.elapsed() < Duration::from_secs(20), "they are still there");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
