//! The keeper: a process that undoes what a measurement has done to the machine, however the measurement ends.
//!
//! Owns: the folder of the replicas, the network namespaces, and processes that are paused. It makes and does them when it
//! is told to, and undoes all when its standard input is closed, which the end of its master brings about, also by
//! `kill -9`. What a keeper leaves that was itself killed is removed by the next one. Invariant: nothing that it holds is
//! held by anybody else.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
#[cfg(unix)]
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{left_over, network::Network, run_to_end, OURS};
use crate::row::Outcome;

/// How long replicas may take to end, and to let go of their folder.
const END_MAX: Duration = Duration::from_secs(10);
/// What a keeper says once all is there.
const READY: &str = "ready ";

/// The master's end.
pub(super) struct Keeper {
    child: Child,
    folder: PathBuf,
}

impl Keeper {
    /// Starts a keeper with a folder, and with a network if one is wanted.
    ///
    /// # Errors
    /// What the keeper cannot make, and why.
    pub(super) fn start(network: Option<&Network>) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--failover-keeper").args(network.map(Network::name)).stdin(Stdio::piped()).stdout(Stdio::piped());
        // An interrupt from the keyboard goes to the master's group only.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        match said.trim_end().strip_prefix(READY) {
            Some(folder) => Ok(Self { child, folder: folder.into() }),
            None => {
                child.wait()?;
                Err(said.trim_end().to_owned().into())
            }
        }
    }

    /// A folder that is removed in the end.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops a process; it goes on in the end at the latest.
    pub(super) fn pause(&self, pid: u32) -> Outcome<()> {
        self.tell(&format!("pause {pid}"))
    }

    /// Lets a process go on.
    pub(super) fn go_on(&self, pid: u32) -> Outcome<()> {
        self.tell(&format!("continue {pid}"))
    }

    fn tell(&self, what: &str) -> Outcome<()> {
        let mut stdin = self.child.stdin.as_ref().ok_or("the keeper hears nothing any more")?;
        Ok(writeln!(stdin, "{what}")?)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Is a keeper until standard input is closed: what `--failover-keeper` does.
///
/// # Errors
/// None that its master has not heard of.
pub(crate) fn keep(network: Option<&str>) -> Outcome<()> {
    remove_leftovers();
    let network = network.map(Network::of);
    let folder = std::env::temp_dir().join(format!("{OURS}{}", std::process::id()));
    let made =
        fs::create_dir(&folder).map_err(Into::into).and_then(|()| network.as_ref().map_or(Ok(()), Network::make));
    let mut paused = Vec::new();
    let said = match &made {
        Ok(()) => format!("{READY}{}", folder.display()),
        Err(error) => error.to_string().replace('\n', "; "),
    };
    // A master that is gone hears nothing, which must not end the keeper before its work is done.
    let _ = writeln!(io::stdout(), "{said}");
    if made.is_ok() {
        for line in io::stdin().lines().map_while(Result::ok) {
            obey(&line, &mut paused);
        }
    }
    paused.iter().for_each(|pid| signal("-CONT", pid));
    if let Some(network) = &network {
        network.remove();
    }
    // The replicas end by themselves, and may still write.
    let since = Instant::now();
    while fs::remove_dir_all(&folder).is_err() && folder.exists() && since.elapsed() < END_MAX {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn obey(line: &str, paused: &mut Vec<String>) {
    match line.split_once(' ') {
        Some(("pause", pid)) => {
            paused.push(pid.to_owned());
            signal("-STOP", pid);
        }
        Some(("continue", pid)) => {
            paused.retain(|paused| paused != pid);
            signal("-CONT", pid);
        }
        _ => complain(Err(format!("the keeper does not know what `{line}` means").into())),
    }
}

fn signal(signal: &str, pid: &str) {
    complain(run_to_end(Command::new("kill").args([signal, pid])));
}

/// Says what went wrong, if anybody still listens.
pub(super) fn complain(done: Outcome<()>) {
    if let Err(error) = done {
        let _ = writeln!(io::stderr(), "{error}");
    }
}

/// Removes what keepers have left that were killed.
fn remove_leftovers() {
    Network::remove_leftovers();
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in left_over(names) {
        let _ = fs::remove_dir_all(std::env::temp_dir().join(name));
    }
}
