//! Supervisors: actors that fall and rise together.

pub use actinic_actors::supervision::{
    Backoff, DeadLetter, DeadLetterReason, Exit, RestartLimit, RestartPolicy, Strategy,
};
use actinic_actors::supervision::{SupervisorId, SupervisorSpec};

use crate::{error::Result, runtime::Runtime};

/// A supervisor. It stays until it is stopped, or fails more often than its limit allows; then its parent decides.
#[derive(Clone)]
pub struct Supervisor {
    id: SupervisorId,
    runtime: Runtime,
}

/// Settings of a supervisor.
#[must_use = "nothing is supervised before start()"]
pub struct SupervisorBuilder {
    runtime: Runtime,
    parent: SupervisorId,
    spec: SupervisorSpec,
}

impl Supervisor {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id.0
    }

    /// Settings of a supervisor below this one.
    pub fn child(&self) -> SupervisorBuilder {
        SupervisorBuilder { runtime: self.runtime.clone(), parent: self.id, spec: SupervisorSpec::default() }
    }

    /// Ends it and all its actors.
    pub fn stop(&self) {
        self.runtime.node.supervisor.stop_supervisor(self.id);
    }
}

impl SupervisorBuilder {
    /// Who is restarted when one fails.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.spec.strategy = strategy;
        self
    }

    /// How many failures it bears; then it fails its parent: escalation.
    pub fn limit(mut self, limit: RestartLimit) -> Self {
        self.spec.limit = limit;
        self
    }

    /// How long it waits before it restarts a group.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.spec.backoff = backoff;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// If the parent is gone, or the tree too deep.
    pub fn start(self) -> Result<Supervisor> {
        let id = self.runtime.node.supervisor.add_supervisor(self.parent, self.spec)?;
        Ok(Supervisor { id, runtime: self.runtime })
    }
}

impl Runtime {
    /// Settings of a supervisor below the root.
    pub fn supervisor(&self) -> SupervisorBuilder {
        let mut runtime = self.clone();
        runtime.disown();
        SupervisorBuilder { runtime, parent: SupervisorId::ROOT, spec: SupervisorSpec::default() }
    }
}
