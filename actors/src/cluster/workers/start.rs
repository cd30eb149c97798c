//! One worker process, from its start to its end.
//!
//! Owns: its command line and environment, and seeing its end. What it writes is passed on by [`Writer`]. Invariant: nothing
//! of a worker outlives it for longer than [`GRACE`].

use std::{
    io,
    os::fd::AsFd,
    path::Path,
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
    match Path::new(&code.cwd).is_dir() {
        true => drop(command.current_dir(&code.cwd)),
        false => tracing::warn!(
            cwd = code.cwd,
            "the driver's working directory is not on this node: its workers have the node's"
        ),
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
            started => return Ok((dispensable(started, &shared.exes.path(code.exe))?, byline.ok())),
        }
    }
    Ok((dispensable(command.spawn(), &shared.exes.path(code.exe))?, byline.ok()))
}

/// A worker's standard input, of which nobody else in the process has a part from now on: what its tasks read is empty.
///
/// # Errors
/// What the system says.
pub fn own_input() -> io::Result<std::fs::File> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(input.into())
}

/// Why the kernel does not run an executable: it is for other processors, or none.
fn not_for_here(exe: &Path) -> String {
    let here = std::env::consts::ARCH;
    match machine_of(exe) {
        Some(machine) if machine != here => format!(
            "the driver's executable is for {machine}, and this node is {here}: start the driver on a machine like the \
             nodes, or give its tasks the label `arch`"
        ),
        Some(_) => "the driver's executable is damaged; start the driver again".to_owned(),
        None => "the driver's executable is no program of this system (ELF); start the driver again".to_owned(),
    }
}

/// For which processors an ELF executable is (System V ABI, `e_machine`, the two bytes at 18), in Rust's words.
fn machine_of(exe: &Path) -> Option<String> {
    use io::Read as _;
    let mut head = [0; 20];
    std::fs::File::open(exe).ok()?.read_exact(&mut head).ok()?;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let bytes = [head[18], head[19]];
    let number = if head[5] == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    Some(match number {
        3 => "x86".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv64".to_owned(),
        other => format!("processors of ELF number {other}"),
    })
}

/// Where memory runs out faster than the node can look, the kernel is to end a worker, and not the node.
fn dispensable(child: io::Result<Child>, exe: &Path) -> io::Result<Child> {
    let child = child.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOEXEC) => io::Error::other(not_for_here(exe)),
        // The file itself is there: it is what it is to be run by that is not.
        _ if error.kind() == io::ErrorKind::NotFound && exe.exists() => io::Error::other(
            "the driver's executable is there, but its loader or shared library is not; install what it is linked with, or \
             link it statically",
        ),
        _ => error,
    })?;
    #[cfg(target_os = "linux")]
    if let Some(pid) = child.id() {
        // The highest there is, as in Ray: 0 to 1,000 (proc(5), /proc/PID/oom_score_adj).
        if let Err(error) = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "1000") {
            tracing::debug!(%error, pid, "the kernel is not told that a worker may go first");
        }
    }
    Ok(child)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_for_other_processors_is_told_from_a_damaged_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(machine_of(&std::env::current_exe().unwrap()).as_deref(), Some(std::env::consts::ARCH));
        let other: u8 = if std::env::consts::ARCH == "aarch64" { 62 } else { 183 };
        bytes[18] = other;
        bytes.truncate(64);
        std::fs::write(file.path(), &bytes).unwrap();
        let told = not_for_here(file.path());
        assert!(told.contains(std::env::consts::ARCH) && told.contains("start the driver on a machine"), "{told}");
        std::fs::write(file.path(), "#no program").unwrap();
        assert!(not_for_here(file.path()).contains("no program"));
    }
}
