//! The `actinic` command: starts, stops and shows the nodes of a cluster.

use std::{collections::BTreeMap, io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use actinic::cluster::{
    ask, find, node_of, run_node, spawn_node, Caller, ClusterStatus, Found, GcsStatus, NodeCard, NodeSettings, NodeTls,
    TlsFiles,
};
use clap::{Args, Parser, Subcommand};

/// Prints a line, whether or not somebody still reads: `actinic status | head -1` is no mistake.
macro_rules! say {
    ($($part:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}

/// Nodes of an Actinic cluster.
#[derive(Parser)]
#[command(name = "actinic", version, about)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Starts a node on this machine.
    Start(Box<Start>),
    /// Ends all nodes of this user on this machine.
    Stop,
    /// Shows the cluster that runs on this machine.
    Status,
    /// Prints the token with which nodes of other machines join the cluster that runs on this one.
    Token,
}

#[derive(Args)]
struct Start {
    /// Begins a new cluster with this node.
    #[arg(long, conflicts_with = "join", required_unless_present = "join")]
    head: bool,
    /// Joins the cluster of the node at this address; several, separated by commas, are tried in turn.
    #[arg(long, value_name = "HOST:PORT,..")]
    join: Option<String>,
    /// The cluster's token; `actinic start --head` prints it. A head that is given none makes one.
    #[arg(long, env = "ACTINIC_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Encrypts on loopback, too; beyond it all is encrypted in any case. Asked of a head: others follow its token.
    #[arg(long, requires = "head")]
    tls: bool,
    /// The CA of certificates of your own (PEM); then every node and client has to present one.
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    tls_ca: Option<PathBuf>,
    /// This node's certificate by that CA (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    tls_key: Option<PathBuf>,
    /// Where this node listens for others. Unless given, on loopback (127.0.0.1:0), or, where it joins a node of another
    /// machine, on this machine's own address on the way there, at any port that is free.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Under which address others reach it, if that is another one. One that listens on 0.0.0.0 is reached at this machine's
    /// address on the way to those that it joins, or of its default route, unless this says otherwise.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// CPUs; those that this process may use unless given.
    #[arg(long)]
    num_cpus: Option<f64>,
    /// GPUs; none unless given.
    #[arg(long)]
    num_gpus: Option<f64>,
    /// A resource of your own; may be given several times.
    #[arg(long, value_name = "NAME=UNITS", value_parser = named::<f64>)]
    resource: Vec<(String, f64)>,
    /// A label, by which tasks and actors choose their node; several with commas, or given several times. Every node has
    /// `host`, `arch` and `os` unless given.
    #[arg(long, visible_alias = "labels", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = named::<String>)]
    label: Vec<(String, String)>,
    /// Keeps the node's replicas of the control store in this folder.
    #[arg(long, value_name = "FOLDER")]
    gcs_folder: Option<PathBuf>,
    /// How many nodes hold a replica of the control store, as soon as there are so many; one until then. Of three, any one
    /// may be lost; of five, any two.
    #[arg(long, default_value = "3", value_name = "N", value_parser = odd, conflicts_with = "join")]
    gcs_replicas: u32,
    /// Runs the node in the foreground, until `actinic stop`, Ctrl-C or SIGTERM; else it goes on without this command, in a
    /// session of its own.
    #[arg(long)]
    block: bool,
    /// Which part of the machine's (or cgroup's) memory may be in use before a worker is killed for it.
    #[arg(long, default_value = "0.95", env = "ACTINIC_MEMORY_THRESHOLD", value_name = "0..1", value_parser = part)]
    memory_threshold: f64,
}

fn named<T: std::str::FromStr>(text: &str) -> Result<(String, T), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("'{text}' has no '='"))?;
    let value = value.parse().map_err(|_| format!("'{value}' is not what {name} could be"))?;
    Ok((name.to_owned(), value))
}

fn odd(text: &str) -> Result<u32, String> {
    let replicas: u32 = text.parse().map_err(|_| format!("'{text}' is no number"))?;
    match replicas {
        1 | 3 | 5 | 7 => Ok(replicas),
        _ => Err("give 1, 3, 5 or 7: an even number survives no more than the odd one below it".to_owned()),
    }
}

fn part(text: &str) -> Result<f64, String> {
    let part: f64 = text.parse().map_err(|_| format!("'{text}' is no number"))?;
    if part > 0.0 && part <= 1.0 {
        return Ok(part);
    }
    Err("give a number above 0, and 1 at most; 1 kills nobody".to_owned())
}

fn main() -> ExitCode {
    actinic::cluster::play_role();
    let outcome = match Command::parse().what {
        What::Start(start) => begin(*start),
        What::Stop => stop(),
        What::Status => status(),
        What::Token => token(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("actinic: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn begin(start: Start) -> Outcome {
    let mut resources: BTreeMap<String, f64> = start.resource.into_iter().collect();
    let given = [("CPU", start.num_cpus), ("GPU", start.num_gpus)];
    resources.extend(given.into_iter().filter_map(|(name, units)| Some((name.to_owned(), units?))));
    // A node of the same cluster on this machine knows the token.
    let here = start.join.as_deref().and_then(|head| node_of(head).ok());
    let token = start.token.or_else(|| here.map(|found| found.card.token));
    let files = match (start.tls_ca, start.tls_cert, start.tls_key) {
        (Some(ca), Some(cert), Some(key)) => {
            Some(TlsFiles { ca: absolute(ca)?, cert: absolute(cert)?, key: absolute(key)? })
        }
        _ => None,
    };
    let listen = match start.listen {
        Some(listen) => listen,
        None => NodeSettings::listen_by_default(start.join.as_deref())?,
    };
    let settings = NodeSettings {
        join: start.join,
        token,
        tls: NodeTls { always: start.tls, files },
        listen,
        advertise: start.advertise,
        resources,
        labels: start.label.into_iter().collect(),
        gcs_folder: start.gcs_folder,
        gcs_replicas: start.gcs_replicas,
        memory_threshold: start.memory_threshold,
        attached: false,
        apart: false,
    };
    if start.block {
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
        return Ok(run_node(settings, |card| tell(card, "its log comes here"))?);
    }
    let log = std::env::temp_dir().join(format!("actinic-node-{}.log", std::process::id()));
    let node = spawn_node(settings, Some(&log)).map_err(|error| format!("{error}\n(its log: {})", log.display()))?;
    tell(&node.card, &format!("log {}", log.display()));
    // It goes on without this command.
    std::mem::forget(node);
    Ok(())
}

/// Says that a node runs.
fn tell(card: &NodeCard, log: &str) {
    say!("node {} runs at {} (process {}, {log})", &card.node[..8], card.address, card.pid);
    if card.is_head {
        advise(card);
    }
}

/// What one may do with a cluster that has just begun.
fn advise(card: &NodeCard) {
    let address = &card.address;
    say!();
    say!("run a program on it:   ACTINIC_ADDRESS={address} cargo run --example quickstart");
    say!("add a node here:       actinic start --join {address}");
    let is_local = address.parse().is_ok_and(|at: SocketAddr| at.ip().to_canonical().is_loopback());
    match card.token.as_str() {
        _ if is_local => {
            let own =
                actinic::cluster::own_address().map_or("IP:0".to_owned(), |ip| SocketAddr::new(ip, 0).to_string());
            say!("for nodes elsewhere:   actinic stop; actinic start --head --listen {own}");
        }
        "" => say!("add one elsewhere:     actinic start --join {address} --tls-ca .. --tls-cert .. --tls-key .."),
        token => say!("add one elsewhere:     ACTINIC_TOKEN={token} actinic start --join {address}"),
    }
    say!("see it:                actinic status");
    say!("end it:                actinic stop");
}

/// A path that a process with another working directory understands.
fn absolute(path: PathBuf) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

fn token() -> Outcome {
    let nodes = find()?;
    let found = nodes.first().ok_or("no node runs here; `actinic start --head` begins a cluster")?;
    if found.card.token.is_empty() {
        return Err("this cluster has no token: its nodes are known by their certificates (--tls-ca)".into());
    }
    say!("{}", found.card.token);
    Ok(())
}

fn stop() -> Outcome {
    let nodes = find()?;
    if nodes.is_empty() {
        say!("no node runs here");
        return Ok(());
    }
    // Heads last, so that the others can say goodbye.
    for found in nodes.iter().rev() {
        match ask(found, Caller::Stop) {
            Ok(_) => say!("node {} is ending", &found.card.node[..8]),
            Err(error) => say!("node {}: {error}", &found.card.node[..8]),
        }
    }
    for _ in 0..100 {
        if find()?.is_empty() {
            say!("all nodes have ended");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let left: Vec<String> = find()?.iter().map(|found| found.card.pid.to_string()).collect();
    Err(format!("these node processes have not ended in 5 s: {}; `kill -9` ends them", left.join(" ")).into())
}

fn status() -> Outcome {
    let nodes = find()?;
    let mut silent = None;
    for found in &nodes {
        // One that is ending need not be the only one here.
        match ask(found, Caller::Status) {
            Ok(status) => {
                show(found, &status);
                return Ok(());
            }
            Err(error) => silent = Some(error),
        }
    }
    match silent {
        Some(error) => Err(error.into()),
        None => {
            say!("no node runs here; `actinic start --head` begins a cluster");
            Ok(())
        }
    }
}

fn show(found: &Found, status: &ClusterStatus) {
    say!("cluster {} with its head at {}", &found.card.cluster[..8], found.card.head);
    say!();
    say!("{:<10} {:<22} {:<16} {:>8}  free / all", "node", "address", "host", "workers");
    for node in &status.nodes {
        let id = node.spec.id.to_string();
        let resources: Vec<String> = node
            .spec
            .resources
            .iter()
            .filter(|(_, all)| !all.is_zero())
            .map(|(name, all)| match name {
                "memory" => format!("{:.1}/{:.1} GiB", gib(node.load.free.of(name).units()), gib(all.units())),
                _ => format!("{}/{} {name}", node.load.free.of(name).units(), all.units()),
            })
            .collect();
        let head = if node.spec.head { "*" } else { "" };
        say!(
            "{:<10} {:<22} {:<16} {:>8}  {}",
            format!("{}{head}", &id[..8]),
            node.spec.address,
            node.spec.hostname,
            node.load.workers,
            resources.join(", ")
        );
        let labels: Vec<String> = node.spec.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if !labels.is_empty() {
            say!("{:<10} labels: {}", "", labels.join(", "));
        }
    }
    show_gcs(&status.gcs);
    if !status.jobs.is_empty() {
        let jobs: Vec<String> = status.jobs.iter().map(|job| job.0.to_string()).collect();
        say!("\njobs with a driver here: {}", jobs.join(", "));
    }
    if !status.waiting.is_empty() {
        say!("\nwaiting:");
        status.waiting.iter().for_each(|waiting| say!("  {waiting}"));
    }
}

fn show_gcs(gcs: &GcsStatus) {
    say!();
    for replicas in &gcs.shards {
        let all: Vec<String> = replicas
            .iter()
            .map(|(address, lives)| format!("{address}{}", if *lives { "" } else { " (lost)" }))
            .collect();
        say!("control store: {} of {} replicas: {}", replicas.len(), gcs.wanted, all.join(", "));
    }
    let survived = match (gcs.survives_a_machine, gcs.survives_a_node) {
        (true, _) => "the loss of any one machine would be survived".to_owned(),
        (false, true) => {
            "the loss of any one node would be survived, but not that of this machine: most replicas are on \
                          one; add nodes elsewhere"
                .to_owned()
        }
        (false, false) if gcs.wanted == 1 => {
            "the loss of the head would not be survived; start it with `--gcs-replicas 3` to change that".to_owned()
        }
        (false, false) => {
            format!("the loss of a node would not be survived yet; it takes {} nodes that live", gcs.wanted)
        }
    };
    say!("{survived}");
}

fn gib(bytes: f64) -> f64 {
    bytes / (1 << 30) as f64
}
