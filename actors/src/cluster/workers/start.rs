//! One worker process, from its start to its end.
//!
//! Owns: its command line and environment, and passing on what it writes, whole lines at a time. Invariant: what is passed
//! on at once is bounded, and a line that is too long is cut into several.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use actinic_gcs::WorkerId;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};

use crate::cluster::{
    node::NodeShared,
    wire::{FromNode, JobCode, ProcessId},
};

/// Tells a process what it is to be.
pub const ROLE: &str = "ACTINIC_PROCESS";
/// Bytes of output passed on at once.
const OUTPUT_BYTES_MAX: usize = 32 << 10;
/// How long a worker whose input was closed may take to end before it is killed.
const GRACE: Duration = Duration::from_millis(500);

/// Attempts while the executable is said to be busy.
const BUSY_MAX: u32 = 100;

/// What a process is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    /// A worker of the node with this socket.
    Worker {
        /// The node's socket.
        socket: String,
        /// The worker's number.
        worker: WorkerId,
    },
    /// A node.
    Node(Box<crate::cluster::node::NodeSettings>),
}

pub(super) fn start(shared: &NodeShared, worker: WorkerId, code: &JobCode) -> io::Result<Child> {
    let role = Role::Worker { socket: shared.folder.socket().to_string_lossy().into_owned(), worker };
    let mut command = Command::new(shared.exes.path(code.exe));
    if std::path::Path::new(&code.cwd).is_dir() {
        command.current_dir(&code.cwd);
    }
    command
        .envs(code.env.iter().cloned())
        .env(ROLE, serde_json::to_string(&role).map_err(io::Error::other)?)
        .env_remove("ACTINIC_ADDRESS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // A child that was forked a moment ago may still hold the file open for writing, until it runs its own program.
    for _ in 0..BUSY_MAX {
        match command.spawn() {
            Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) => std::thread::sleep(Duration::from_millis(2)),
            started => return started,
        }
    }
    command.spawn()
}

/// Passes on what the process writes until it ends, or until nobody needs it any more; gives how it ended.
pub(super) async fn attend(
    mut child: Child,
    stopped: oneshot::Receiver<()>,
    shared: &Arc<NodeShared>,
    worker: WorkerId,
    driver: ProcessId,
) -> Result<ExitStatus, String> {
    let process = ProcessId { node: shared.spec.id, worker };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let outputs: Vec<_> = [
        stdout.map(|out| actix_rt::spawn(pass_on(out, shared.clone(), process, driver, false))),
        stderr.map(|out| actix_rt::spawn(pass_on(out, shared.clone(), process, driver, true))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let input = child.stdin.take();
    let ended = tokio::select! {
        ended = child.wait() => ended,
        stopped = stopped => {
            drop(input);
            let grace = if stopped.is_ok() { Duration::ZERO } else { GRACE };
            match timeout(grace, child.wait()).await {
                Ok(ended) => ended,
                Err(_) => {
                    let _ = child.start_kill();
                    child.wait().await
                }
            }
        }
    };
    // Its last words; a child of its own may hold the pipes open for longer.
    for output in outputs {
        let _ = timeout(GRACE, output).await;
    }
    ended.map_err(|error| format!("its end could not be seen: {error}"))
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    shared: Arc<NodeShared>,
    process: ProcessId,
    driver: ProcessId,
    stderr: bool,
) {
    let mut bytes = Vec::new();
    let mut part = vec![0; OUTPUT_BYTES_MAX];
    while let Ok(read) = from.read(&mut part).await {
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&part[..read]);
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole = if whole == 0 && bytes.len() >= OUTPUT_BYTES_MAX { bytes.len() } else { whole };
        if whole > 0 {
            tell(&shared, process, driver, stderr, &bytes[..whole]);
            bytes.drain(..whole);
        }
    }
    if !bytes.is_empty() {
        tell(&shared, process, driver, stderr, &bytes);
    }
}

fn tell(shared: &NodeShared, process: ProcessId, driver: ProcessId, stderr: bool, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
    shared.hub.to_process(driver, FromNode::Output { process, stderr, text });
}
