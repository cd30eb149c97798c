//! Errors of the runtime itself. What can go wrong with a task is [`TaskError`].

pub use actinic_actors::error::{TaskError, TaskErrorKind};

/// What can go wrong with the runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A task, a call or a `get` failed.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The runtime could not be started.
    #[error("the runtime could not be started: {0}")]
    Start(#[from] actinic_actors::bootstrap::StartError),
    /// The cluster cannot be reached.
    #[error(transparent)]
    Cluster(#[from] actinic_actors::cluster::core_worker::ConnectError),
    /// A setting makes no sense.
    #[error("the setting {name} is {value}: {hint}")]
    Setting {
        /// Which.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        hint: String,
    },
    /// There is no such thing yet.
    #[error("{0}")]
    Unsupported(String),
    /// A placement group cannot be made.
    #[error("the placement group cannot be made: {0}")]
    PlacementGroup(#[from] actinic_actors::placement::GroupError),
    /// There is no actor of this name.
    #[error("there is no actor named '{name}' in namespace '{namespace}'")]
    NoSuchActor {
        /// The name.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// There is an actor of this name already.
    #[error(
        "there is an actor named '{name}' in namespace '{namespace}' already; use get_if_exists(true) to share it"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// The actor of this name is of another class.
    #[error("the actor named '{name}' is of another class than {class}")]
    WrongClass {
        /// The name.
        name: String,
        /// The class asked for.
        class: &'static str,
    },
    /// A supervisor cannot be added.
    #[error("the supervisor cannot be added: {0}")]
    Supervision(#[from] actinic_actors::supervision::SupervisionError),
    /// The control store refused, or could not be reached.
    #[error("the control store: {0}")]
    Gcs(#[from] actinic_actors::gcs_client::GcsError),
    /// Input or output failed.
    #[error("input or output failed: {0}")]
    Io(#[from] std::io::Error),
}

/// What functions of this crate give.
pub type Result<T, E = Error> = std::result::Result<T, E>;
