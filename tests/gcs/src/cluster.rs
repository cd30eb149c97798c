//! The processes of a cluster.
//!
//! Owns: starting, killing and pausing them, and asking them how they are. Does not own when ([`crate::trouble`]). Invariants:
//! no address is anybody else's, not even for the moment between a kill and a restart; all processes and folders go with
//! the [`Cluster`].

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use actinic_actors::gcs_net::{ask_admin, AdminAnswer, AdminAsk, Membership, RemoteGcs, ReplicaSummary};
use actinic_gcs::replica::ReplicaId;
use tempfile::TempDir;

use crate::{
    replica::{Spec, READY},
    PATIENCE,
};

/// Processes of every cluster here.
pub const REPLICAS: usize = 3;
/// Between looks at what must come about.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
///
/// # Panics
/// If it never does.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "in vain: {what}");
        thread::park_timeout(LOOK);
    }
}

/// How a cluster is reached, for any number of clients.
#[derive(Clone, Debug)]
pub struct Contacts {
    /// The cluster.
    pub membership: Membership,
    /// Where each shard's replicas are.
    pub shards: Vec<Vec<String>>,
}

impl Contacts {
    /// A client, once every shard has a leader.
    #[must_use]
    pub fn client(&self) -> RemoteGcs {
        eventually("every shard has a leader", || RemoteGcs::connect(&self.membership, self.shards.clone()).ok())
    }
}

/// A cluster.
pub struct Cluster {
    program: PathBuf,
    root: TempDir,
    specs: Vec<Spec>,
    children: Vec<Option<Child>>,
    contacts: Contacts,
}

impl Cluster {
    /// Starts a cluster of processes that run `program`, each with a replica of each shard; all are open.
    #[must_use]
    pub fn start(program: impl AsRef<Path>, shards: usize) -> Self {
        let mut cluster = Self::prepare(program, shards);
        cluster.spawn_all();
        cluster
    }

    /// A cluster of which no process runs yet.
    #[must_use]
    pub fn prepare(program: impl AsRef<Path>, shards: usize) -> Self {
        let root = TempDir::new().unwrap();
        let members: Vec<String> = (0..REPLICAS).map(|_| free_address()).collect();
        let (cluster, token) = (0xac71, Some("open sesame".to_owned()));
        let spec = |place: usize| Spec {
            cluster,
            token: token.clone(),
            replica: place as u64 + 1,
            shards,
            members: members.clone(),
            folder: root.path().join((place + 1).to_string()),
            small: false,
        };
        let specs = (0..REPLICAS).map(spec).collect();
        let membership = Membership::new(u128::from(cluster), token.clone()).unwrap();
        let contacts = Contacts { membership, shards: vec![members.clone(); shards] };
        let children = (0..REPLICAS).map(|_| None).collect();
        Self { program: program.as_ref().to_owned(), root, specs, children, contacts }
    }

    /// How it is reached.
    #[must_use]
    pub fn contacts(&self) -> &Contacts {
        &self.contacts
    }

    /// What a process is told.
    #[must_use]
    pub fn spec(&self, place: usize) -> &Spec {
        &self.specs[place]
    }

    /// What a process is told, to be changed before it is started.
    pub fn spec_mut(&mut self, place: usize) -> &mut Spec {
        &mut self.specs[place]
    }

    /// A folder that goes with the cluster.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The command that runs a process as `spec` says.
    #[must_use]
    pub fn command(&self, spec: &Spec) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(serde_json::to_string(spec).unwrap());
        command
    }

    /// Runs a process that is to fail; gives what it says.
    #[must_use]
    pub fn refusal(&self, spec: &Spec) -> String {
        let Output { status, stdout, stderr } = self.command(spec).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert!(!status.success() && stdout.is_empty(), "it starts: {said}");
        said
    }

    /// Starts all that do not run, and waits until they are open.
    pub fn spawn_all(&mut self) {
        let missing: Vec<usize> = (0..REPLICAS).filter(|place| !self.runs(*place)).collect();
        missing.iter().for_each(|place| self.launch(*place, self.command(&self.specs[*place])));
        missing.iter().for_each(|place| self.wait_until_open(*place));
    }

    /// Starts a process and waits until it is open.
    pub fn spawn(&mut self, place: usize) {
        self.launch(place, self.command(&self.specs[place]));
        self.wait_until_open(place);
    }

    /// As [`Cluster::spawn`], by another command, which ends up running the same.
    pub fn spawn_by(&mut self, place: usize, command: Command) {
        self.launch(place, command);
        self.wait_until_open(place);
    }

    fn launch(&mut self, place: usize, mut command: Command) {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        self.children[place] = Some(child);
    }

    fn wait_until_open(&mut self, place: usize) {
        let child = self.children[place].as_mut().unwrap();
        let mut line = String::new();
        // Ends with the process, too.
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), READY, "process {place} does not open its replicas; it says why above");
    }

    /// Whether a process was started and not killed.
    #[must_use]
    pub fn runs(&self, place: usize) -> bool {
        self.children[place].is_some()
    }

    /// The id of a running process, which has not ended by itself.
    pub fn process(&mut self, place: usize) -> u32 {
        let child = self.children[place].as_mut().unwrap();
        assert_eq!(child.try_wait().unwrap(), None, "process {place} has ended");
        child.id()
    }

    /// `kill -9`, of all of these at once.
    pub fn kill(&mut self, places: &[usize]) {
        let mut children: Vec<Child> = places.iter().filter_map(|place| self.children[*place].take()).collect();
        children.iter_mut().for_each(|child| child.kill().unwrap());
        for child in &mut children {
            child.wait().unwrap();
        }
    }

    /// `SIGSTOP`, and `SIGCONT` after so long: its connections stay open, and nothing is said. The shell that does it goes on
    /// if this process is killed meanwhile, so that nobody stays stopped for ever.
    pub fn pause(&mut self, place: usize, pause: Duration) {
        let process = self.process(place).to_string();
        let seconds = format!("{:.3}", pause.as_secs_f64());
        let script = "kill -STOP \"$0\" && sleep \"$1\"; kill -CONT \"$0\"";
        assert!(Command::new("sh").args(["-c", script, &process, &seconds]).status().unwrap().success());
    }

    /// How a process's replicas are; none where it does not say.
    #[must_use]
    pub fn status(&self, place: usize) -> Option<Vec<ReplicaSummary>> {
        match ask_admin(&self.specs[place].members[place], &self.contacts.membership, &AdminAsk::Status) {
            Ok(AdminAnswer::Status(replicas)) => Some(replicas),
            _ => None,
        }
    }

    /// How a process's replica of a shard is.
    #[must_use]
    pub fn replica(&self, place: usize, shard: usize) -> Option<ReplicaSummary> {
        self.status(place)?.into_iter().find(|replica| replica.shard == shard)
    }

    /// Which running process leads a shard, as it says itself.
    #[must_use]
    pub fn leader(&self, shard: usize) -> Option<usize> {
        let leads = |place: &usize| {
            let replica = self.replica(*place, shard);
            replica.is_some_and(|replica| replica.leader == Some(replica.id))
        };
        (0..REPLICAS).filter(|place| self.runs(*place)).find(leads)
    }

    /// Makes a process lead a shard.
    pub fn make_leader(&self, shard: usize, place: usize) {
        let ask = AdminAsk::Transfer { shard, to: Some(ReplicaId(place as u64 + 1)) };
        eventually("the leadership is handed over", || {
            let leader = self.leader(shard)?;
            if leader != place {
                let _ = ask_admin(&self.specs[leader].members[leader], &self.contacts.membership, &ask);
            }
            (leader == place).then_some(())
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An address of this machine that nobody has. On Linux every address of 127.0.0.0/8 is this machine, and those who call
/// do so from 127.0.0.1: so a port elsewhere stays free between a kill and a restart.
fn free_address() -> String {
    use std::hash::{BuildHasher, RandomState};
    let drawn = RandomState::new().hash_one(()).to_le_bytes();
    let elsewhere = Ipv4Addr::new(127, drawn[0].max(1), drawn[1], drawn[2].clamp(1, 254));
    let ip = if cfg!(target_os = "linux") { elsewhere } else { Ipv4Addr::LOCALHOST };
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().to_string()
}
