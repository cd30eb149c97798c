//! What the workers of a cluster print: it comes out at the driver, each line with who printed it, and none is lost.
//!
//! What a driver prints itself is seen from outside only, so each driver here is a process of its own: this executable,
//! started for a test that does nothing unless it is told to by the environment.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use actinic::{cluster::Cluster, prelude::*};

/// Which program the process runs.
const PROGRAM: &str = "ACTINIC_TEST_PROGRAM";

#[remote]
fn speak(lines: Vec<String>) -> usize {
    lines.iter().for_each(|line| println!("{line}"));
    lines.len()
}

#[remote]
fn grumble(line: String) {
    eprintln!("{line}");
}

#[remote]
fn say_nothing() -> u32 {
    std::process::id()
}

#[remote]
fn say_and_abort(line: String) {
    print!("{line}\n{line}, without an end");
    std::io::Write::flush(&mut std::io::stdout()).unwrap();
    std::process::abort()
}

#[remote]
struct Parrot;

#[remote]
impl Parrot {
    fn new() -> Self {
        println!("hatched");
        Self
    }

    fn repeat(&mut self, line: String) {
        println!("{line}");
    }

    async fn repeat_later(&self, line: String) {
        tokio::task::yield_now().await;
        println!("{line}");
    }
}

/// What a driver prints that runs this program.
fn printed(program: &str) -> String {
    let me = std::env::current_exe().unwrap();
    let run = Command::new(me).args(["--exact", "a_driver", "--nocapture"]).env(PROGRAM, program).output().unwrap();
    let Output { status, stdout, stderr } = run;
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{stdout}\n{stderr}");
    // Which of the two it was is no secret either.
    stdout
        .lines()
        .map(|line| format!("out {line}\n"))
        .chain(stderr.lines().map(|line| format!("err {line}\n")))
        .collect()
}

/// The lines of workers, as (output, who without the worker's id, text).
fn lines(printed: &str) -> Vec<(&str, &str, &str)> {
    let of = |line| {
        let (output, rest): (&str, &str) = str::split_once(line, ' ')?;
        let (who, text) = rest.strip_prefix('(')?.split_once(") ")?;
        let (name, _worker) = who.split_once("worker=")?;
        Some((output, name.trim_end(), text))
    };
    printed.lines().filter_map(of).collect()
}

/// Not a test but the driver of those below: it is told what to do by the environment, and does nothing without.
#[test]
fn a_driver() {
    let Ok(program) = std::env::var(PROGRAM) else { return };
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    if program == "parting" {
        cluster.add_node(&[("CPU", 1.0), ("far", 1.0)]).unwrap();
    }
    let rt = Runtime::builder().address(cluster.address()).log_to_driver(program != "silent").init().unwrap();
    match program.as_str() {
        "functions" | "silent" => functions(&rt),
        "held" => held(&rt),
        "actors" => actors(&rt),
        "parting" => return parting(&rt),
        "abort" => drop(rt.get(&say_and_abort.options().max_retries(0).remote("last words".to_owned()))),
        other => panic!("no such program: {other}"),
    }
    // What was printed arrives before the workers end, and they end with their job.
    let workers = rt.get(&say_nothing.remote()).unwrap();
    assert_ne!(workers, std::process::id());
    drop(rt);
    drop(cluster);
}

/// Functions that take turns on one worker, each as short as can be.
fn functions(rt: &Runtime) {
    let mut all = Vec::new();
    for turn in 0..200 {
        all.push(speak.remote(vec![format!("speak {turn}"), format!("speak {turn} again")]));
        rt.get(&grumble.remote(format!("grumble {turn}"))).unwrap();
        rt.get(&say_nothing.remote()).unwrap();
    }
    rt.get(&all).unwrap();
}

/// Holds its outputs while it waits for tasks that print, of classes that need leases of their own.
fn held(rt: &Runtime) {
    let (out, err) = (std::io::stdout().lock(), std::io::stderr().lock());
    for cpus in [0.5, 0.25, 0.125] {
        let options = || speak.options().num_cpus(cpus);
        let all: Vec<_> = (0..3).map(|turn| options().remote(vec![format!("speak {cpus} {turn}")])).collect();
        assert_eq!(rt.get_timeout(&all, std::time::Duration::from_secs(30)).unwrap(), [1, 1, 1]);
    }
    drop((out, err));
}

/// Ends right after tasks that write, on two nodes.
fn parting(rt: &Runtime) {
    let lines = |task| vec![format!("speak {task}"); 50];
    let far = || speak.options().resource("far", 0.1);
    rt.get(&[speak.remote(lines(0)), far().remote(lines(1))]).unwrap();
    let all: Vec<_> = (1..20).flat_map(|task| [speak.remote(lines(task)), far().remote(lines(task))]).collect();
    rt.get(&all).unwrap();
}

fn actors(rt: &Runtime) {
    let nameless = Parrot::remote();
    // The second is made once the first is there, lest their constructors run at once.
    rt.get(&nameless.repeat("nameless".to_owned())).unwrap();
    let polly = Parrot::options().name("polly").remote();
    for turn in 0..50 {
        rt.get(&nameless.repeat(format!("nameless {turn}"))).unwrap();
        rt.get(&polly.repeat(format!("polly {turn}"))).unwrap();
        rt.get(&polly.repeat_later(format!("polly later {turn}"))).unwrap();
    }
}

#[test]
fn a_line_bears_the_name_of_the_function_that_printed_it() {
    let printed = printed("functions");
    let (mut spoken, mut grumbled) = (0, 0);
    for (output, name, text) in lines(&printed) {
        let expected = if text.starts_with("speak") { ("out", "speak") } else { ("err", "grumble") };
        assert_eq!((output, name), expected, "{text}\n{printed}");
        *(if name == "speak" { &mut spoken } else { &mut grumbled }) += 1;
    }
    assert_eq!((spoken, grumbled), (400, 200), "{printed}");
}

#[test]
fn workers_that_print_hold_nobody_up_who_holds_the_driver_s_outputs() {
    let printed = printed("held");
    assert_eq!(lines(&printed).len(), 9, "{printed}");
}

#[test]
fn a_driver_that_is_told_so_prints_nothing_of_its_workers() {
    let printed = printed("silent");
    assert_eq!(lines(&printed), [], "{printed}");
}

#[test]
fn what_was_printed_comes_out_though_its_driver_leaves_at_once() {
    for _ in 0..3 {
        let printed = printed("parting");
        let mut workers: Vec<&str> =
            printed.split("worker=").skip(1).filter_map(|rest| rest.split('/').next()).collect();
        workers.sort_unstable();
        workers.dedup();
        assert_eq!((lines(&printed).len(), workers.len()), (2_000, 2), "{printed}");
    }
}

#[test]
fn a_line_bears_the_class_and_the_name_of_the_actor_that_printed_it() {
    let printed = printed("actors");
    let mut by_name = std::collections::BTreeMap::new();
    for (_, name, text) in lines(&printed) {
        let expected = if text.starts_with("polly") { "Parrot:polly" } else { name };
        assert_eq!(name, expected, "{text}\n{printed}");
        *by_name.entry(name).or_insert(0) += 1;
    }
    assert_eq!(by_name.into_iter().collect::<Vec<_>>(), [("Parrot", 52), ("Parrot:polly", 101)], "{printed}");
}

#[test]
fn what_a_task_printed_right_before_it_aborted_is_not_lost() {
    let printed = printed("abort");
    let last: Vec<_> = lines(&printed).into_iter().filter(|(_, _, text)| text.contains("last words")).collect();
    let expected = ["last words", "last words, without an end"].map(|text| ("out", "say_and_abort", text));
    assert_eq!(last, expected, "{printed}");
}
