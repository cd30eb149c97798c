//! The node's socket: drivers, workers and tools of its machine.
//!
//! Owns: accepting on the Unix socket, and letting in. Does not own what processes say later ([`super::peers`]). Invariants:
//! the socket is its user's alone; a caller that is not let in is told why; nobody is let in half.

use std::{path::PathBuf, sync::Arc};

use actinic_gcs::{
    spec::JobSpec,
    tables::{JobWrite, Reply},
    JobId, WorkerId,
};
use std::sync::atomic::Ordering;
use tokio::net::{UnixListener, UnixStream};

use super::{peers::ProcessEars, NodeShared};
use crate::{
    cluster::{
        global::Look,
        local::Waiting,
        objects::manager::Figures,
        peer::{greeted, unix_halves, Conduit, Liveness, Peer},
        wire::{anonymous_namespace, Caller, ClusterStatus, ExeHash, FromNode, Greeting, JobCode, ProcessId, Welcome},
        workers::PoolEvent,
    },
    gcs_client::GcsError,
    gcs_net::porch::Porch,
};

/// Opens the socket.
pub(super) fn open(shared: Arc<NodeShared>) -> std::io::Result<()> {
    let listener = UnixListener::bind(shared.folder.socket())?;
    actix_rt::spawn(async move {
        let mut porch = Porch::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let greeting = greet(stream, shared.clone());
                    if porch.welcome((), greeting).is_some() {
                        tracing::warn!("a process that does not say who it is is given up: others wait");
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the node cannot accept a process");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        }
    });
    Ok(())
}

/// Hears who calls; what follows takes as long as it takes.
async fn greet(mut stream: UnixStream, shared: Arc<NodeShared>) {
    let greeted = greeted(&mut stream).await;
    actix_rt::spawn(answer(stream, greeted, shared));
}

async fn answer(stream: UnixStream, greeted: Result<Greeting, String>, shared: Arc<NodeShared>) {
    let conduit = Conduit::new();
    let let_in = match greeted {
        Ok(greeting) => match greeting.caller {
            Caller::Driver { pid, exe, namespace, entrypoint, cwd, env, functions } => {
                let code = JobCode {
                    job: JobId(0),
                    exe: ExeHash([0; 32]),
                    exe_bytes: 0,
                    namespace,
                    driver: ProcessId { node: shared.spec.id, worker: WorkerId(0) },
                    cwd,
                    env,
                    functions,
                };
                driver(&shared, pid, exe, code, entrypoint).await
            }
            Caller::Worker { worker } => known_worker(&shared, worker),
            Caller::Status => return tell(stream, FromNode::Status(Box::new(status(&shared).await))),
            Caller::Stop => {
                tell(stream, FromNode::Status(Box::default()));
                return shared.stop();
            }
            Caller::Process(_) => Err("this is a node's socket, not a process's".to_owned()),
        },
        Err(why) => Err(why),
    };
    match let_in {
        Ok(code) => {
            let process = code.0;
            let welcome = welcome(&shared, process, &code.1);
            shared.hub.add_process(process.worker, conduit.clone());
            let _ = conduit.send(&FromNode::Welcome(Box::new(welcome)));
            let ears = ProcessEars::new(shared, process, code.1);
            Peer::start_on(unix_halves(stream), conduit, Liveness::Local, ears);
        }
        Err(why) => {
            tracing::warn!(why, "a process is not let in");
            tell(stream, FromNode::Refused(why));
        }
    }
}

/// How long one may take to read its only frame.
const TELL_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// One frame, then the end.
fn tell(stream: UnixStream, frame: FromNode) {
    actix_rt::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let mut stream = stream;
        let Ok(body) = rmp_serde::to_vec(&frame) else { return };
        let mut bytes = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        bytes.extend(body);
        let told = async {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        };
        // Whoever does not read it has had its time.
        let _ = tokio::time::timeout(TELL_MAX, told).await;
    });
}

type Admitted = Result<(ProcessId, Arc<JobCode>), String>;

fn known_worker(shared: &NodeShared, worker: WorkerId) -> Admitted {
    let code = shared.code_of(worker).ok_or_else(|| format!("worker {} is not expected here", worker.0))?;
    Ok((ProcessId { node: shared.spec.id, worker }, code))
}

/// Lets a driver in: its executable is taken in, its job entered, and what that gives is added to its code.
async fn driver(shared: &Arc<NodeShared>, pid: u32, exe: String, mut code: JobCode, entrypoint: String) -> Admitted {
    let worker = WorkerId(shared.next_driver.fetch_add(1, Ordering::Relaxed));
    let process = ProcessId { node: shared.spec.id, worker };
    let taking = shared.clone();
    let taken = actix_rt::task::spawn_blocking(move || {
        // As it runs, even if the file has been replaced since.
        let running = PathBuf::from(format!("/proc/{pid}/exe"));
        let path = if running.exists() { running } else { PathBuf::from(&exe) };
        let (hash, bytes) = taking
            .exes
            .adopt(&path)
            .map_err(|error| format!("the driver's executable {exe} cannot be read: {error}"))?;
        (code.exe, code.exe_bytes, code.driver) = (hash, bytes, process);
        enter_job(&taking, &mut code, entrypoint).map_err(|error| error.to_string())?;
        Ok::<_, String>(code)
    });
    let code = taken.await.map_err(|error| error.to_string())??;
    shared.set_code(worker, &code);
    let ahead = shared.spec.resources.of(actinic_gcs::resources::CPU).units() as usize;
    shared.pool(PoolEvent::Job(Box::new(code.clone()), ahead.min(AHEAD_MAX)));
    Ok((process, Arc::new(code)))
}

/// Workers started ahead of need.
const AHEAD_MAX: usize = 16;

/// Enters the job, and gives it what that makes: its id, and a namespace of its own unless its driver has named one.
fn enter_job(shared: &NodeShared, code: &mut JobCode, entrypoint: String) -> Result<(), GcsError> {
    code.job = match shared.gcs.write(JobWrite::NextId)? {
        Reply::JobId(job) => job,
        _ => return Err(GcsError::Closed),
    };
    if code.namespace.is_empty() {
        code.namespace = anonymous_namespace(code.job);
    }
    let spec = JobSpec {
        id: code.job,
        driver_node: shared.spec.id,
        namespace: code.namespace.as_str().into(),
        entrypoint,
        executable: None,
        metadata: std::collections::BTreeMap::new(),
    };
    shared.gcs.write(JobWrite::Add(Box::new(spec)))?;
    Ok(())
}

fn welcome(shared: &NodeShared, process: ProcessId, code: &JobCode) -> Welcome {
    Welcome {
        process,
        code: code.clone(),
        listen: shared.folder.process_socket(process.worker).to_string_lossy().into_owned(),
        cluster: shared.membership.cluster,
        token: (!shared.card.token.is_empty()).then(|| shared.card.token.clone()),
        tls_files: shared.tls_files.clone(),
        gcs: shared.gcs_addresses(),
        head: shared.head_node().unwrap_or(shared.spec.id),
        identity: shared.membership.tls.identity().map(|identity| identity.to_pem().to_owned()),
        host: shared.host_of_doors(),
    }
}

async fn status(shared: &NodeShared) -> ClusterStatus {
    let mut status = ClusterStatus { jobs: shared.jobs(), ..ClusterStatus::default() };
    if let Some(global) = shared.global.get() {
        if let Ok(overview) = global.send(Look).await {
            status.nodes = overview.nodes;
            status.waiting.extend(overview.infeasible);
        }
    }
    if let Some(local) = shared.local.get() {
        status.waiting.extend(local.send(Waiting).await.unwrap_or_default());
    }
    if let Some(objects) = shared.objects.get() {
        status.objects = objects.send(Figures).await.unwrap_or_default();
    }
    status.gcs = shared.facts().gcs_status();
    status.nodes.sort_by_key(|node| node.spec.id != shared.spec.id);
    status
}
