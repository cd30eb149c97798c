//! The short form of the bench command: every row once, so that none rots.

use std::process::{Command, Output};

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
