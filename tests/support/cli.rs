//! The `actinic` command as an operator types it, in a world of its own.
//!
//! Owns: a folder for the nodes that it starts and their logs, and all processes of them. Invariants: no other cluster of this
//! machine is seen; whatever becomes of the test, its nodes are stopped, and what is left of them is killed.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::processes::{has_ended, wait_until};

/// Which program a driver runs: this test binary, started for the test `a_driver`.
pub(crate) const PROGRAM: &str = "ACTINIC_TEST_PROGRAM";

/// A machine of an operator's.
pub(crate) struct Machine {
    folder: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) succeeded: bool,
    /// On both outputs.
    pub(crate) text: String,
    pub(crate) took: Duration,
}

impl Said {
    /// Asserts that it failed, soon, and said this.
    pub(crate) fn refuses(&self, within: Duration, words: &[&str]) {
        assert!(!self.succeeded && self.took < within, "{self:?}");
        assert!(words.iter().all(|word| self.text.contains(word)), "{words:?} are not in {self:?}");
    }

    /// Asserts that it succeeded, and said all this.
    pub(crate) fn tells(&self, words: &[&str]) {
        assert!(self.succeeded, "{self:?}");
        assert!(words.iter().all(|word| self.text.contains(word)), "{words:?} are not in {self:?}");
    }
}

/// A node that `actinic start` has started.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// How the command names it.
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) pid: u32,
    /// All that was said at its start.
    pub(crate) said: String,
}

impl Node {
    /// As the command's first line says.
    pub(crate) fn of(said: &str) -> Self {
        let told = || {
            let (name, rest) = said.strip_prefix("node ")?.split_once(" runs at ")?;
            let (address, rest) = rest.split_once(" (process ")?;
            let (pid, _) = rest.split_once(',')?;
            Some(Self { name: name.into(), address: address.into(), pid: pid.parse().ok()?, said: said.to_owned() })
        };
        told().unwrap_or_else(|| panic!("no node was started: {said}"))
    }

    /// The cluster's token, as the head's start prints it.
    pub(crate) fn token(&self) -> String {
        let (_, rest) = self.said.split_once("ACTINIC_TOKEN=").unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }
}

impl Machine {
    pub(crate) fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(machine.logs()).unwrap();
        machine
    }

    /// Where its nodes have their folders.
    pub(crate) fn run_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// A folder that is there as long as the machine is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program in this world, which knows no other cluster.
    pub(crate) fn program(&self, program: impl Into<PathBuf>) -> Command {
        let mut command = Command::new(program.into());
        let names = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("ACTINIC_"));
        for name in names {
            command.env_remove(name);
        }
        command.env("ACTINIC_RUN_DIR", self.run_folder()).env("TMPDIR", self.logs()).stdin(Stdio::null());
        command
    }

    /// `actinic`, with these words.
    pub(crate) fn actinic(&self, words: &str) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_actinic"));
        command.args(words.split_whitespace());
        command
    }

    /// Runs `actinic` to its end.
    pub(crate) fn run(&self, words: &str) -> Said {
        said_by(self.actinic(words))
    }

    /// Starts a node.
    pub(crate) fn start(&self, words: &str) -> Node {
        let said = self.run(&format!("start {words}"));
        assert!(said.succeeded, "{said:?}");
        Node::of(&said.text)
    }

    /// A driver that runs this program on the cluster at this address.
    pub(crate) fn driver(&self, program: &str, address: &str) -> Command {
        let mut command = self.program(std::env::current_exe().unwrap());
        command.args(["--exact", "a_driver", "--nocapture"]);
        command.env(PROGRAM, program).env("ACTINIC_ADDRESS", address);
        command
    }

    /// Nodes and all that they have started: what knows this machine's run folder, and still runs.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        let mark = format!("ACTINIC_RUN_DIR={}\0", self.run_folder().display()).into_bytes();
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(mark.len()).any(|part| part == mark)
        };
        pids.filter(is_ours).filter(|pid| !has_ended(*pid)).collect()
    }

    /// Waits until nothing is left of nodes that have ended: `pids` were all their processes.
    pub(crate) fn is_empty_soon(&self, pids: &BTreeSet<u32>) {
        wait_until("all processes have ended", || self.processes().is_empty());
        wait_until("no shared memory is left", || segments_of(pids).is_empty());
        let left = said_by({
            let mut find = Command::new("find");
            find.arg(self.run_folder()).args(["-mindepth", "1"]).stderr(Stdio::null());
            find
        });
        assert_eq!(left.text, "", "left in the run folder");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.actinic("stop").stdout(Stdio::null()).stderr(Stdio::null()).status();
        for pid in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

/// Runs a command to its end.
pub(crate) fn said_by(mut command: Command) -> Said {
    let since = Instant::now();
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Said { succeeded: output.status.success(), text, took: since.elapsed() }
}

/// Shared memory that belongs to one of these processes.
fn segments_of(pids: &BTreeSet<u32>) -> Vec<String> {
    let names = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| pids.iter().any(|pid| name.contains(&format!("-{pid:x}-")))).collect()
}

/// A process that is killed with its test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
