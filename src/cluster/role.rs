//! What a process is that a cluster has started.
//!
//! Owns: taking up the role that the environment names. On Linux that happens before `main`, so that no code of the program's
//! runs in a worker but the remote functions that it is sent; elsewhere at the first `Runtime::init()`. Invariant: a process
//! with a role never goes on to be the program.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf, process::exit, sync::OnceLock};

use actinic_actors::cluster::{
    core_worker::{Connection, CoreWorker, Importer},
    node,
    workers::{byline, own_input, Role, ROLE},
};
use actinic_gcs::FunctionId;

use crate::{builder::RuntimeBuilder, function::RegisteredFunction};

/// How a process ends that could not take its role up.
const FAILED: i32 = 3;

/// All remote functions of this executable.
pub(crate) fn functions() -> BTreeMap<FunctionId, Importer> {
    inventory::iter::<RegisteredFunction>.into_iter().map(|function| ((function.id)(), function.import)).collect()
}

/// Becomes what the environment says, and does not return then; returns at once in a process without a role.
pub fn play_role() {
    static ROLE_OF_PROCESS: OnceLock<Option<String>> = OnceLock::new();
    let role = ROLE_OF_PROCESS.get_or_init(|| std::env::var(ROLE).ok());
    let Some(role) = role else { return };
    match serde_json::from_str::<Role>(role) {
        Ok(Role::Worker { socket, worker }) => exit(work(PathBuf::from(socket), worker)),
        Ok(Role::Node(settings)) => exit(run_node(*settings)),
        Err(error) => {
            eprintln!("actinic: {ROLE} makes no sense ({error}); it is set by nodes for the processes that they start");
            exit(FAILED);
        }
    }
}

/// A worker, until its node ends it.
fn work(socket: PathBuf, worker: actinic_gcs::WorkerId) -> i32 {
    // What tasks read of the standard input is its end, at once, and what they do to it does not concern the node's end.
    let mut sentinel = match own_input() {
        Ok(input) => input,
        Err(error) => {
            eprintln!("actinic: a worker cannot begin: {error}");
            return FAILED;
        }
    };
    let functions = functions();
    let known = functions.len() as u32;
    let connection = match Connection::worker(&socket, worker) {
        Ok(connection) => connection,
        Err(error) => {
            eprintln!("actinic: a worker cannot begin: {error}");
            return FAILED;
        }
    };
    let wanted = connection.welcome.code.functions;
    if known < wanted {
        eprintln!("actinic: this worker knows {known} remote functions and its driver {wanted}: not the same code");
        return FAILED;
    }
    let core = CoreWorker::new(connection, functions, crate::actor::remote::classes());
    // One lease at a time: what a task waits for makes room for the next.
    let runtime = match RuntimeBuilder::default().num_cpus(1).join(core.clone()) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("actinic: a worker cannot begin: {error}");
            return FAILED;
        }
    };
    if let Err(error) = byline::take_up(&socket, worker) {
        eprintln!("actinic: what this worker prints will not bear the names of its tasks: {error}");
    }
    core.ready();
    // The node holds the other end.
    let _ = std::io::copy(&mut sentinel, &mut std::io::sink());
    // Threads that run tasks are not waited for: nobody needs what they make. But nothing is left in shared memory.
    if let Some(store) = runtime.node.store_if_open() {
        store.close();
    }
    // A node that was killed leaves its own.
    actinic_actors::store::reclaim();
    std::mem::forget(runtime);
    0
}

/// A node, until it is told to end. Its first line tells whoever started it how that went.
fn run_node(settings: node::NodeSettings) -> i32 {
    #[cfg(feature = "cli")]
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let ended = node::run(settings, |card| {
        println!("{}", serde_json::to_string(card).unwrap_or_default());
    });
    match ended {
        Ok(()) => 0,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                if !text.contains(&cause.to_string()) {
                    text += &format!(": {cause}");
                }
                source = cause.source();
            }
            // Whoever started it may have stopped listening long ago.
            let _ = writeln!(std::io::stdout(), "{}", serde_json::json!({ "error": text }));
            FAILED
        }
    }
}

/// Tells the inside of the runtime what to do before `main`.
#[cfg(target_os = "linux")]
mod before_main {
    inventory::submit! { actinic_actors::cluster::before_main::Start(super::play_role) }
}
