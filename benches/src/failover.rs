//! What a client of the control store waits while a replica is killed, paused or comes back: the paper's Figure 10a.
//!
//! Three replicas as three processes with RocksDB and fsync, one client with one request in flight: a write of 512 bytes
//! under a key of 25. Owns: the processes (this program, started again as a replica), the faults, the figures and the
//! plot. A replica ends when its parent does, since its standard input is closed then.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use actinic_actors::gcs_client::ShardStore;
use actinic_actors::gcs_net::{
    ask_admin, AdminAnswer, AdminAsk, GcsServer, Membership, NetLimits, RemoteGcs, ServerConfig, ShardSpec,
};
use actinic_gcs::replica::{Addresses, Bootstrap, ReplicaConfig, ReplicaId};
use actinic_gcs::store::{RocksOptions, StoreIdentity};
use actinic_gcs::tables::{KeyValueRead, KeyValueWrite, Reply};

use crate::row::Outcome;

const CLUSTER: u128 = 10;
const REPLICAS: u64 = 3;
/// The paper's bound on what a client waits.
const GOAL: Duration = Duration::from_millis(30);
/// Where the plot goes, in the current folder.
const PLOT: &str = "failover.svg";

/// What is done to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// `kill -9`; started again later.
    Killed,
    /// `SIGSTOP`; continued later. Its connections stay open, so only time tells.
    Paused,
}

impl Trouble {
    fn name(self) -> &'static str {
        match self {
            Self::Killed => "leader killed (kill -9), then started again",
            Self::Paused => "leader paused (SIGSTOP), then continued",
        }
    }
}

/// One request: when it began, and how long its answer took, in seconds.
type Wait = (f64, f64);

/// Measures both troubles, prints the longest waits and writes the plot.
///
/// # Errors
/// A replica that does not start, an answer that is missing, a value that was acknowledged and is gone.
pub(crate) fn run(quick: bool) -> Outcome<()> {
    let phase = Duration::from_millis(if quick { 700 } else { 3_000 });
    let mut plots = Vec::new();
    for trouble in [Trouble::Killed, Trouble::Paused] {
        let (waits, marks) = measure(trouble, phase)?;
        let mut sorted: Vec<f64> = waits.iter().map(|(_, wait)| *wait).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: usize| sorted[(sorted.len() * part / 1_000).min(sorted.len() - 1)] * 1e3;
        let longest = at(1_000);
        println!(
            "{}: {} writes, p50 {:.2} ms, p99 {:.2} ms, longest wait {longest:.1} ms{}",
            trouble.name(),
            waits.len(),
            at(500),
            at(990),
            match trouble {
                Trouble::Killed if longest <= GOAL.as_secs_f64() * 1e3 => " (goal: 30 ms, met)",
                Trouble::Killed => " (goal: 30 ms, NOT met)",
                Trouble::Paused => " (the election timeout decides)",
            }
        );
        plots.push((trouble, waits, marks));
    }
    fs::write(Path::new(PLOT), svg(&plots))?;
    eprintln!("written: {PLOT}");
    Ok(())
}

/// The replicas of one run.
struct Processes {
    folder: tempfile::TempDir,
    addresses: Addresses,
    membership: Membership,
    children: Vec<Option<Child>>,
}

impl Processes {
    fn start() -> Outcome<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
        let mut addresses = Addresses::new();
        for id in 1..=REPLICAS {
            addresses.insert(ReplicaId(id), bind()?.to_string());
        }
        let (folder, membership) = (tempfile::tempdir()?, Membership::new(CLUSTER, None)?);
        let mut this = Self { folder, addresses, membership, children: Vec::new() };
        for id in 1..=REPLICAS {
            let child = this.spawn(id)?;
            this.children.push(Some(child));
        }
        Ok(this)
    }

    fn spawn(&self, id: u64) -> Outcome<Child> {
        let all: Vec<&str> = self.addresses.values().map(String::as_str).collect();
        Ok(Command::new(std::env::current_exe()?)
            .args(["--gcs-replica", &id.to_string(), &all.join(",")])
            .arg(self.folder.path())
            .stdin(Stdio::piped())
            .spawn()?)
    }

    /// The leader, as the replicas see it.
    fn leader(&self) -> Outcome<u64> {
        let start = Instant::now();
        loop {
            for address in self.addresses.values() {
                if let Ok(AdminAnswer::Status(replicas)) = ask_admin(address, &self.membership, &AdminAsk::Status) {
                    if let Some(leads) = replicas.iter().find(|replica| replica.leader == Some(replica.id)) {
                        return Ok(leads.id.0);
                    }
                }
            }
            if start.elapsed() > Duration::from_secs(20) {
                return Err("the replicas have found no leader".into());
            }
        }
    }

    fn signal(&self, id: u64, signal: &str) -> Outcome<()> {
        let Some(child) = &self.children[id as usize - 1] else { return Ok(()) };
        Command::new("kill").args([signal, &child.id().to_string()]).status()?;
        Ok(())
    }

    fn kill(&mut self, id: u64) -> Outcome<()> {
        if let Some(mut child) = self.children[id as usize - 1].take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A quiet phase, the trouble, and its end: three phases of the same length.
fn measure(trouble: Trouble, phase: Duration) -> Outcome<(Vec<Wait>, [f64; 2])> {
    let mut processes = Processes::start()?;
    let leader = processes.leader()?;
    let client = RemoteGcs::connect(&processes.membership, vec![processes.addresses.values().cloned().collect()])?;
    let (mut waits, mut marks) = (Vec::new(), [0.0; 2]);
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < phase * 3 {
        if done == 0 && start.elapsed() >= phase {
            marks[0] = start.elapsed().as_secs_f64();
            match trouble {
                Trouble::Killed => processes.kill(leader)?,
                Trouble::Paused => processes.signal(leader, "-STOP")?,
            }
            done = 1;
        } else if done == 1 && start.elapsed() >= phase * 2 {
            marks[1] = start.elapsed().as_secs_f64();
            match trouble {
                Trouble::Killed => {
                    let child = processes.spawn(leader)?;
                    processes.children[leader as usize - 1] = Some(child);
                }
                Trouble::Paused => processes.signal(leader, "-CONT")?,
            }
            done = 2;
        }
        let began = start.elapsed();
        expect_stored(client.write(put(waits.len()))?)?;
        waits.push((began.as_secs_f64(), (start.elapsed() - began).as_secs_f64()));
    }
    nothing_is_lost(&client, waits.len())?;
    Ok((waits, marks))
}

fn key(number: usize) -> bytes::Bytes {
    format!("key{number:022}").into()
}

fn put(number: usize) -> KeyValueWrite {
    let value = bytes::Bytes::from(vec![number as u8; 512]);
    KeyValueWrite::Put { namespace: "failover".into(), key: key(number), value, overwrite: false }
}

fn expect_stored(reply: Reply) -> Outcome<()> {
    match reply {
        // False would say that a write was applied twice.
        Reply::Stored(true) => Ok(()),
        other => Err(format!("a write was answered {other:?}").into()),
    }
}

/// Every acknowledged write can be read.
fn nothing_is_lost(client: &RemoteGcs, writes: usize) -> Outcome<()> {
    for number in 0..writes {
        let get = KeyValueRead::Get { namespace: "failover".into(), key: key(number) };
        match client.read(get)? {
            Reply::Value(Some(value)) if value.iter().all(|byte| *byte == number as u8) => {}
            other => return Err(format!("write {number} was acknowledged, and is now {other:?}").into()),
        }
    }
    Ok(())
}

/// Runs one replica until its standard input is closed: what `--gcs-replica` does.
///
/// # Errors
/// A server that does not start.
pub(crate) fn replica(id: u64, addresses: &str, folder: &Path) -> Outcome<()> {
    let addresses: Addresses = (1..).map(ReplicaId).zip(addresses.split(',').map(str::to_owned)).collect();
    let listen = addresses.get(&ReplicaId(id)).ok_or("there is no such replica")?.parse()?;
    let store = ShardStore::Rocks {
        path: folder.join(id.to_string()),
        identity: StoreIdentity { cluster: CLUSTER, shard: 0, replica: id },
        options: RocksOptions::default(),
    };
    let shard = ShardSpec {
        index: 0,
        replica: ReplicaConfig::new(ReplicaId(id), u64::from(std::process::id())),
        bootstrap: Bootstrap::Found(addresses),
        store,
    };
    let membership = Membership::new(CLUSTER, None)?;
    let config = ServerConfig { listen, membership, shards: vec![shard], limits: NetLimits::default() };
    let server = GcsServer::start(config)?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.shut_down();
    Ok(())
}

/// Waits over time on a logarithmic axis, one panel a trouble.
fn svg(plots: &[(Trouble, Vec<Wait>, [f64; 2])]) -> String {
    const WIDTH: f64 = 800.0;
    const PANEL: f64 = 260.0;
    let y_of = |seconds: f64| 220.0 - (seconds.max(1e-4) / 1e-4).log10() * 45.0;
    let mut text = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{}' font-family='sans-serif' font-size='12'>\
         <rect width='100%' height='100%' fill='white'/>",
        PANEL * plots.len() as f64
    );
    for (panel, (trouble, waits, marks)) in plots.iter().enumerate() {
        let end = waits.last().map_or(1.0, |(at, wait)| at + wait);
        let x_of = |at: f64| 60.0 + at / end * (WIDTH - 80.0);
        let _ = write!(text, "<g transform='translate(0 {})'>", PANEL * panel as f64);
        let _ = write!(text, "<text x='60' y='18'>{}: wait of each write</text>", trouble.name());
        for (seconds, label) in [(1e-4, "0.1 ms"), (1e-3, "1 ms"), (1e-2, "10 ms"), (1e-1, "100 ms"), (1.0, "1 s")] {
            let y = y_of(seconds);
            let _ = write!(text, "<line x1='60' x2='{}' y1='{y}' y2='{y}' stroke='#ddd'/>", WIDTH - 20.0);
            let _ = write!(text, "<text x='5' y='{}'>{label}</text>", y + 4.0);
        }
        let goal = y_of(GOAL.as_secs_f64());
        let _ = write!(text, "<line x1='60' x2='780' y1='{goal}' y2='{goal}' stroke='#c33' stroke-dasharray='4'/>");
        for mark in marks {
            let x = x_of(*mark);
            let _ = write!(text, "<line x1='{x}' x2='{x}' y1='30' y2='220' stroke='#888'/>");
            let _ = write!(text, "<text x='{}' y='240'>{mark:.1} s</text>", x - 12.0);
        }
        for (at, wait) in waits {
            let _ = write!(text, "<circle cx='{:.1}' cy='{:.1}' r='1.2' fill='#247'/>", x_of(*at), y_of(*wait));
        }
        text.push_str("</g>");
    }
    text + "</svg>\n"
}
