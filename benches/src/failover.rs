//! What a client of the control store waits while its leader is killed, paused or cut off: the paper's Figure 10a.
//!
//! Three replicas as three processes with RocksDB and fsync, one client with one request in flight: a write of 512 bytes
//! under a key of 25. While it writes on, the leader of the moment is troubled, again and again, and every acknowledged
//! write must be there in the end. Owns: the troubles and their order. Does not own the figures ([`figures`]), the processes
//! ([`processes`]), what must be undone whatever happens ([`keeper`]), the network that can be cut ([`network`]), nor the
//! picture ([`plot`]).

mod figures;
mod keeper;
mod network;
mod plot;
mod processes;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actinic_actors::gcs_net::RemoteGcs;
use actinic_gcs::tables::{KeyValueRead, KeyValueWrite, Reply};

use self::figures::{report, Episode, Measured};
pub(crate) use self::keeper::keep;
use self::keeper::Keeper;
use self::network::Network;
pub(crate) use self::processes::replica;
use self::processes::Processes;
use crate::row::Outcome;

/// Where the plot goes, in the current folder.
const PLOT: &str = "failover.svg";

/// What is done to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// `kill -9`; started again later.
    Killed,
    /// `SIGSTOP`; continued later. Its connections stay open, so only time tells.
    Paused,
    /// Its network is cut; mended later. The same to all others, but it runs on, and must not think that it leads.
    Cut,
}

impl Trouble {
    fn name(self) -> &'static str {
        match self {
            Self::Killed => "leader killed (kill -9), then started again",
            Self::Paused => "leader paused (SIGSTOP), then continued",
            Self::Cut => "network cut (link down) around the leader, then mended",
        }
    }

    /// How often, in the long form, and for how long each time.
    fn rhythm(self, quick: bool) -> (usize, Duration) {
        match self {
            _ if quick => (1, Duration::from_millis(700)),
            Self::Killed => (10, Duration::from_millis(1_200)),
            Self::Paused | Self::Cut => (5, Duration::from_millis(1_500)),
        }
    }
}

/// Measures all troubles, prints the longest waits and writes the plot.
///
/// # Errors
/// A replica that does not start, an answer that is missing, a value that was acknowledged and is gone.
pub(crate) fn run(quick: bool) -> Outcome<()> {
    let mut panels = Vec::new();
    for trouble in [Trouble::Killed, Trouble::Paused] {
        let keeper = Keeper::start(None)?;
        let mut processes = Processes::start(keeper.folder(), None)?;
        panels.push((trouble, measure(trouble, quick, &mut processes, Some(&keeper))?));
        report(trouble, &panels[panels.len() - 1].1);
    }
    match cut_apart(quick)? {
        Ok(measured) => {
            report(Trouble::Cut, &measured);
            panels.push((Trouble::Cut, measured));
        }
        Err(why) => println!("skipped: network cut ({why})"),
    }
    fs::write(Path::new(PLOT), plot::svg(&panels))?;
    eprintln!("written: {PLOT}");
    Ok(())
}

/// Has the cut measured by a process of its own, which lives in a network made for it; or says why there is none.
fn cut_apart(quick: bool) -> Outcome<Result<Measured, String>> {
    let network = Network::named();
    let keeper = match Keeper::start(Some(&network)) {
        Ok(keeper) => keeper,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut command = network.command(network::CLIENT, &std::env::current_exe()?);
    command.args(["--failover-cut", network.name()]).arg(keeper.folder());
    if quick {
        command.arg("--quick");
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // It ends when this does, and to wait for it would close it.
    let held = child.stdin.take();
    let output = child.wait_with_output()?;
    drop(held);
    if !output.status.success() {
        return Err(format!("the client in a network of its own failed: {}", output.status).into());
    }
    Ok(Ok(serde_json::from_slice(&output.stdout)?))
}

/// Measures the cut from inside the network of this name, and prints what came of it: what `--failover-cut` does.
///
/// # Errors
/// As [`run`].
pub(crate) fn cut(name: &str, folder: &Path, quick: bool) -> Outcome<()> {
    // Whoever wants the answer is gone, and so is the network, soon.
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    let mut processes = Processes::start(folder, Some(Network::of(name)))?;
    let measured = measure(Trouble::Cut, quick, &mut processes, None)?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// A client writes on while the leader is troubled, again and again.
fn measure(trouble: Trouble, quick: bool, processes: &mut Processes, keeper: Option<&Keeper>) -> Outcome<Measured> {
    processes.leader()?;
    let client = RemoteGcs::connect(processes.membership(), vec![processes.addresses().values().cloned().collect()])?;
    let (start, over) = (Instant::now(), AtomicBool::new(false));
    let (waits, episodes) = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&client, &over, start));
        let episodes = go_through(trouble, quick, processes, keeper, start);
        over.store(true, Ordering::Relaxed);
        (writer.join().map_err(|_| "the writing thread panicked"), episodes)
    });
    let measured = Measured { waits: waits??, episodes: episodes? };
    nothing_is_lost(&client, measured.waits.len())?;
    Ok(measured)
}

/// Troubles the leader of the moment as often as is planned; gives when each trouble began and ended.
fn go_through(
    trouble: Trouble,
    quick: bool,
    processes: &mut Processes,
    keeper: Option<&Keeper>,
    start: Instant,
) -> Outcome<Vec<Episode>> {
    let (times, phase) = trouble.rhythm(quick);
    let mut episodes = Vec::new();
    thread::sleep(phase);
    for _ in 0..times {
        let leader = processes.leader()?;
        let began = start.elapsed().as_secs_f64();
        match (trouble, keeper) {
            (Trouble::Killed, _) => processes.kill(leader)?,
            (Trouble::Paused, Some(keeper)) => keeper.pause(processes.pid(leader)?)?,
            (Trouble::Paused, None) => return Err("nobody would continue what is paused".into()),
            (Trouble::Cut, _) => processes.set_link(leader, false)?,
        }
        thread::sleep(phase);
        let ended = start.elapsed().as_secs_f64();
        match (trouble, keeper) {
            (Trouble::Killed, _) => processes.revive(leader)?,
            (_, Some(keeper)) => keeper.go_on(processes.pid(leader)?)?,
            (_, None) => processes.set_link(leader, true)?,
        }
        episodes.push(Episode { began, ended });
        thread::sleep(phase);
    }
    Ok(episodes)
}

/// Writes one value after the other until told to stop; gives when each began and what it took.
fn write_until(client: &RemoteGcs, over: &AtomicBool, start: Instant) -> Outcome<Vec<(f64, f64)>> {
    let mut waits = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let began = start.elapsed();
        match client.write(put(waits.len()))? {
            // False would say that a write was applied twice.
            Reply::Stored(true) => {}
            other => return Err(format!("a write was answered {other:?}").into()),
        }
        waits.push((began.as_secs_f64(), (start.elapsed() - began).as_secs_f64()));
    }
    Ok(waits)
}

fn key(number: usize) -> bytes::Bytes {
    format!("key{number:022}").into()
}

fn put(number: usize) -> KeyValueWrite {
    let value = bytes::Bytes::from(vec![number as u8; 512]);
    KeyValueWrite::Put { namespace: "failover".into(), key: key(number), value, overwrite: false }
}

/// Every acknowledged write can be read.
fn nothing_is_lost(client: &RemoteGcs, writes: usize) -> Outcome<()> {
    let get = |number| KeyValueRead::Get { namespace: "failover".into(), key: key(number) };
    let asked: Vec<_> =
        (0..writes).map(|number| client.submit(actinic_gcs::tables::Read::from(get(number)).into())).collect();
    for (number, answer) in asked.into_iter().enumerate() {
        match answer.wait()? {
            Reply::Value(Some(value)) if value.iter().all(|byte| *byte == number as u8) => {}
            other => return Err(format!("write {number} was acknowledged, and is now {other:?}").into()),
        }
    }
    Ok(())
}

/// A name for what belongs to this process, and a pattern for what belonged to others.
const OURS: &str = "actinic-failover-";

/// Things named after a process that is gone: whose they were can remove them no more.
fn left_over(names: impl Iterator<Item = String>) -> Vec<String> {
    let owner = |name: &str| name.strip_prefix(OURS)?.split('-').next()?.parse::<u32>().ok();
    let gone = |pid: u32| Path::new("/proc/self").exists() && !PathBuf::from(format!("/proc/{pid}")).exists();
    names.filter(|name| owner(name).is_some_and(gone)).collect()
}

/// Runs a command to its end.
///
/// # Errors
/// What it said, where it failed.
fn run_to_end(command: &mut Command) -> Outcome<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("`{name}` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let asked: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    Err(format!("`{name} {}`: {said}", asked.join(" ")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_process_left_that_is_gone_is_removed() {
        let names = [format!("{OURS}{}-hub", std::process::id()), format!("{OURS}4294967294-hub"), "eth0".to_owned()];
        let found = left_over(names.clone().into_iter());
        let expected = if Path::new("/proc/self").exists() { vec![names[1].clone()] } else { Vec::new() };
        assert_eq!(found, expected);
    }
}
