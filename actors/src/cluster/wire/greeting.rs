//! The first words on a socket: who calls, and who that is from then on.
//!
//! Owns: the records. Invariant: the version comes first, and is understood by every version.

use super::*;

/// The namespace of jobs that name none, where there is one process.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What the namespaces begin with that jobs have of their own.
const ANONYMOUS: &str = "anonymous-";

/// The namespace of a job whose driver has named none.
#[must_use]
pub fn anonymous_namespace(job: JobId) -> String {
    format!("{ANONYMOUS}{job}")
}

/// Whether a namespace is such a one.
#[must_use]
pub fn is_anonymous(namespace: &str) -> bool {
    namespace.starts_with(ANONYMOUS)
}

/// Who calls on a node's socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Caller {
    /// A driver, which brings a job.
    Driver {
        /// Its operating-system process.
        pid: u32,
        /// Where its executable is.
        exe: String,
        /// The namespace of its actors' names.
        namespace: String,
        /// Its command line, for people.
        entrypoint: String,
        /// Its working directory.
        cwd: String,
        /// Environment variables of its workers.
        env: Vec<(String, String)>,
        /// How many remote functions it knows.
        functions: u32,
    },
    /// A worker that the node has started.
    Worker {
        /// Under this number.
        worker: WorkerId,
    },
    /// Another process of this node, for tasks and objects.
    Process(ProcessId),
    /// A tool.
    Status,
    /// Somebody who wants the node to end.
    Stop,
}

/// The first words on a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The version of the protocol.
    pub version: u16,
    /// Who calls.
    pub caller: Caller,
}

/// What a node answers to a driver or a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// Who the caller is from now on.
    pub process: ProcessId,
    /// Whose code it runs.
    pub code: JobCode,
    /// Where it is to listen for other processes.
    pub listen: String,
    /// The cluster.
    pub cluster: u128,
    /// Its join token, if it has one.
    pub token: Option<String>,
    /// The certificates of this machine's node, where they are the operator's own.
    pub tls_files: Option<crate::gcs_net::tls::TlsFiles>,
    /// Where each shard of the control store is reached.
    pub gcs: Vec<Vec<String>>,
    /// The head, which keeps detached actors.
    pub head: NodeId,
    /// The cluster's certificate and key, for a worker; none where there is none, or where it is the operator's own.
    pub identity: Option<String>,
    /// The host at which a worker may be reached from other machines.
    pub host: Option<String>,
}
