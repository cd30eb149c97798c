//! One worker process, from its start to its end.
//!
//! Owns: its command line and environment, and seeing its end. What it writes is passed on by [`Writer`]. Invariant: nothing
//! of a worker outlives it for longer than [`GRACE`].

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use actinic_gcs::WorkerId;
use serde::{Deserialize, Serialize};
use tokio::{
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};

use super::{byline::Byline, output::Writer};
use crate::cluster::{
    node::NodeShared,
    wire::{JobCode, ProcessId},
};

/// Tells a process what it is to be.
pub const ROLE: &str = "ACTINIC_PROCESS";
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

pub(super) fn start(shared: &NodeShared, worker: WorkerId, code: &JobCode) -> io::Result<(Child, Option<Byline>)> {
    let byline = Byline::make(&shared.folder.socket(), worker)
        .inspect_err(|error| tracing::warn!(%error, "a worker's lines will not bear the names of its tasks"));
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
            started => return Ok((started?, byline.ok())),
        }
    }
    Ok((command.spawn()?, byline.ok()))
}

/// Passes on what the process writes until it ends, or until nobody needs it any more; gives how it ended.
pub(super) async fn attend(
    mut child: Child,
    byline: Option<Byline>,
    stopped: oneshot::Receiver<()>,
    shared: &Arc<NodeShared>,
    worker: WorkerId,
    driver: ProcessId,
) -> Result<ExitStatus, String> {
    let worker = ProcessId { node: shared.spec.id, worker };
    let writer = Arc::new(Writer { shared: shared.clone(), worker, driver, byline });
    let stdout = child.stdout.take().and_then(|out| out.into_owned_fd().ok());
    let stderr = child.stderr.take().and_then(|out| out.into_owned_fd().ok());
    let outputs: Vec<_> = [stdout.map(|out| (out, false)), stderr.map(|out| (out, true))]
        .into_iter()
        .flatten()
        .map(|(out, stderr)| actix_rt::spawn(writer.clone().pass_on(out, stderr)))
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
