//! An embedded runtime whose control store is on disk: what the next life finds, after an orderly end and after `kill -9`,
//! and which folders are refused. Where a program must die, it is this one, started again: it ends when its standard input
//! is closed, so also when its parent is killed.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "rocksdb")]

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use actinic::{prelude::*, resources::CPU, ResourceSet};
use actinic_gcs::{
    spec::{ActorState, JobOutcome, JobState, PlacementGroupState},
    store::{Durability, RocksOptions, RocksStore, StoreIdentity},
};

#[path = "support/kit.rs"]
mod kit;
use kit::test;

#[remote]
struct Keeper {
    value: i64,
}

#[remote]
impl Keeper {
    fn new() -> Self {
        Self { value: 0 }
    }

    fn add(&mut self, by: i64) -> i64 {
        self.value += by;
        self.value
    }
}

fn runtime(folder: &Path) -> actinic::Result<Runtime> {
    Runtime::builder().num_cpus(2).gcs_folder(folder).init()
}

fn told(refused: actinic::Result<Runtime>) -> String {
    match refused {
        Ok(_) => panic!("the folder is used"),
        Err(error) => error.to_string(),
    }
}

/// Everything that can be alive in the control store.
fn lives(rt: &Runtime) -> [usize; 4] {
    let actors = rt.list_actors().unwrap();
    let groups = rt.list_placement_groups().unwrap();
    [
        rt.list_nodes().unwrap().iter().filter(|node| node.is_alive()).count(),
        rt.list_jobs().unwrap().iter().filter(|job| job.state == JobState::Running).count(),
        actors.iter().filter(|actor| actor.state != ActorState::Dead).count(),
        groups.iter().filter(|group| group.state != PlacementGroupState::Removed).count(),
    ]
}

/// How the jobs so far have ended, in the order of their ids.
fn outcomes(rt: &Runtime) -> Vec<Option<JobOutcome>> {
    let outcome = |state| match state {
        JobState::Finished { outcome, .. } => Some(outcome),
        JobState::Running => None,
    };
    rt.list_jobs().unwrap().into_iter().map(|job| outcome(job.state)).collect()
}

/// A life with something of every kind in it.
fn live(rt: &Runtime) -> actinic::Result<()> {
    let keeper = Keeper::options().name("keeper").lifetime(Lifetime::Detached).remote();
    assert_eq!(rt.get(&keeper.add(1))?, 1);
    let bundle = ResourceSet::new().with(CPU, 1.0);
    rt.placement_group(vec![bundle], actinic::PlacementStrategy::Pack)?;
    Ok(())
}

#[test]
fn values_outlive_their_runtime_and_the_books_of_its_life_are_closed() {
    test(|| {
        let root = tempfile::tempdir().unwrap();
        for life in 0..3_u8 {
            // At once: the folder is free when the runtime before has ended.
            let rt = runtime(root.path()).unwrap();
            let keys = rt.kv_keys("life").unwrap();
            assert_eq!(keys, (0..life).map(|n| format!("life {n}").into_bytes()).collect::<Vec<_>>());
            for earlier in 0..life {
                let value = rt.kv_get(format!("life {earlier}")).unwrap();
                assert_eq!(value.as_deref(), Some(&[earlier; 100][..]));
            }
            assert_eq!(lives(&rt), [1, 1, 0, 0], "of earlier lives nothing is left alive");
            let mut ended = vec![Some(JobOutcome::Succeeded); usize::from(life)];
            ended.push(None);
            assert_eq!(outcomes(&rt), ended);
            assert!(rt.kv_put(format!("life {life}"), vec![life; 100], false).unwrap());
            live(&rt).unwrap();
            rt.shutdown();
        }
    });
}

#[test]
fn a_folder_in_use_is_refused_with_what_to_do_and_free_once_its_program_is_killed() {
    test(|| {
        let root = tempfile::tempdir().unwrap();
        let mut victim = Victim::start("puts", root.path());
        victim.hear();
        let refused = told(runtime(root.path()));
        assert!(refused.contains("another process uses it; end that one, or name another folder"), "{refused}");
        assert!(refused.contains(&root.path().display().to_string()), "{refused}");
        victim.kill();
        runtime(root.path()).unwrap();
    });
}

#[test]
fn a_folder_of_a_cluster_and_one_that_is_a_file_are_refused_with_what_to_do() {
    test(|| {
        let root = tempfile::tempdir().unwrap();
        let identity = StoreIdentity { cluster: 7, shard: 0, replica: 1 };
        let path = root.path().join("of a cluster");
        drop(RocksStore::open(&path, identity, RocksOptions::default()).unwrap());
        let refused = told(runtime(&path));
        assert!(refused.contains("it belongs to cluster 00000000000000000000000000000007"), "{refused}");
        assert!(refused.contains("name another folder"), "{refused}");
        let file = root.path().join("file");
        fs::write(&file, b"not a folder").unwrap();
        let refused = told(runtime(&file));
        assert!(refused.contains("the folder cannot be used"), "{refused}");
    });
}

#[test]
fn a_program_that_is_killed_again_and_again_loses_no_value_that_was_acknowledged() {
    test(|| {
        let root = tempfile::tempdir().unwrap();
        let mut acknowledged: Vec<String> = Vec::new();
        for life in 0..3 {
            let mut victim = Victim::start("puts", root.path());
            // In the midst of what it does; the last life is the longest.
            acknowledged.extend((0..20 + 40 * life).map(|_| victim.hear()));
            victim.kill();
            acknowledged.extend(victim.rest());
            let rt = runtime(root.path()).unwrap();
            for key in &acknowledged {
                let value = rt.kv_get(key.as_str()).unwrap();
                assert_eq!(value.as_deref(), Some(key.repeat(100).as_bytes()), "{key} was acknowledged");
            }
            assert_eq!(lives(&rt), [1, 1, 0, 0], "of killed lives nothing is left alive");
            let ended: Vec<_> = outcomes(&rt).into_iter().flatten().collect();
            let killed = ended.iter().filter(|outcome| **outcome == JobOutcome::DriverLost).count();
            assert_eq!((killed, ended.len()), (life + 1, 2 * life + 1), "{ended:?}");
            rt.shutdown();
        }
        println!("{} values were acknowledged in three lives that were killed", acknowledged.len());
    });
}

#[test]
fn a_temporary_folder_goes_with_its_runtime_or_with_the_next_start() {
    test(|| {
        let base = tempfile::tempdir().unwrap();
        let entries = || fs::read_dir(base.path()).unwrap().count();
        let mut orderly = Victim::start("temporary", base.path());
        orderly.hear();
        assert_eq!(entries(), 2, "a folder and its lock");
        orderly.end();
        assert_eq!(entries(), 0);
        let mut killed = Victim::start("temporary", base.path());
        killed.hear();
        let mut living = Victim::start("temporary", base.path());
        living.hear();
        killed.kill();
        assert_eq!(entries(), 4);
        let mut next = Victim::start("temporary", base.path());
        next.hear();
        assert_eq!(entries(), 4, "what the killed one left is gone, what the living one has is not");
        next.end();
        living.end();
        assert_eq!(entries(), 0);
    });
}

#[test]
fn a_temporary_folder_behaves_as_memory_does_and_is_empty_each_time() {
    test(|| {
        for _ in 0..2 {
            let since = std::time::Instant::now();
            let rt = Runtime::builder().num_cpus(2).gcs_temporary_folder().init().unwrap();
            let on_disk = since.elapsed();
            assert_eq!(rt.kv_get("key").unwrap(), None);
            assert!(rt.kv_put("key", "value", false).unwrap());
            assert_eq!(rt.kv_get("key").unwrap().as_deref(), Some(&b"value"[..]));
            live(&rt).unwrap();
            rt.shutdown();
            let since = std::time::Instant::now();
            let rt = Runtime::builder().num_cpus(2).init().unwrap();
            println!("a start takes {on_disk:?} with a temporary folder, {:?} in memory", since.elapsed());
            rt.shutdown();
        }
    });
}

#[test]
fn what_need_not_last_may_be_kept_without_waiting_for_the_disk() {
    test(|| {
        let root = tempfile::tempdir().unwrap();
        let open = || Runtime::builder().gcs_folder(root.path()).gcs_durability(Durability::Buffered).init().unwrap();
        let rt = open();
        assert!(rt.kv_put("key", "value", false).unwrap());
        rt.shutdown();
        let rt = open();
        assert_eq!(rt.kv_get("key").unwrap().as_deref(), Some(&b"value"[..]));
        rt.shutdown();
    });
}

const ROLE: &str = "ACTINIC_GCS_FOLDER_VICTIM";
const FOLDER: &str = "ACTINIC_GCS_FOLDER";
const SAYS: &str = "says: ";

/// A program with a runtime of its own, in another process.
struct Victim {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Victim {
    fn start(role: &str, folder: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "a_victim_lives_until_it_is_killed"])
            .env(ROLE, role)
            .env(FOLDER, folder)
            .env("TMPDIR", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// What it says next.
    fn hear(&mut self) -> String {
        said(&mut self.lines).expect("the victim says something")
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// What it had said before it was killed.
    fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| said(&mut self.lines)).collect()
    }

    /// Lets it end in good order.
    fn end(&mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The next whole thing that was said; a line that was cut off by a death is none.
fn said(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    let words = |line: String| Some(line.split_once(SAYS)?.1.strip_suffix('.')?.to_owned());
    lines.map_while(Result::ok).find_map(words)
}

/// What runs in the other process; of no concern to the others.
#[test]
fn a_victim_lives_until_it_is_killed() {
    let (Ok(role), Some(folder)) = (std::env::var(ROLE), std::env::var_os(FOLDER).map(PathBuf::from)) else { return };
    // It must not outlive its parent.
    let wait = std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    });
    if role == "temporary" {
        let rt = Runtime::builder().num_cpus(2).gcs_temporary_folder().init().unwrap();
        assert!(rt.kv_put("key", "value", false).unwrap());
        println!("{SAYS}ready.");
        wait.join().unwrap();
        return rt.shutdown();
    }
    let rt = runtime(&folder).unwrap();
    live(&rt).unwrap();
    let mut number = rt.kv_keys("").unwrap().len();
    while !wait.is_finished() {
        let key = format!("{number:06}");
        if rt.kv_put(key.as_str(), key.repeat(100), false).unwrap() {
            println!("{SAYS}{key}.");
        }
        number += 1;
    }
    rt.shutdown();
}
