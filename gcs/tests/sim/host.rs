//! One simulated machine with its replica's process.
//!
//! Owns: the process's life, its clock, its disk's queue, and the store that outlives it. Does not own what happens when:
//! that is the world's. Invariant: an event of an earlier life finds a later one and is dropped.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use actinic_gcs::{
    replica::{Addresses, Bootstrap, DiskCore, DiskJob, ReplicaCore, ReplicaEffect, ReplicaFailed, ReplicaId},
    shard::{ClientId, RequestId},
    Millis,
};

use super::{
    plan::Plan,
    rng::Rng,
    store::{Device, SimStore},
};

/// A machine's clock: it runs at its own rate, and may be set.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// Thousandths of the true rate.
    pub(crate) rate: u64,
    offset_ms: u64,
    since: u64,
}

impl Clock {
    pub(crate) fn new(rng: &mut Rng, drift: u64) -> Self {
        Self { rate: rng.range(1_000 - drift, 1_000 + drift), offset_ms: 1_000_000 + rng.below(10_000), since: 0 }
    }

    pub(crate) fn now(&self, now: u64) -> Millis {
        Millis(self.offset_ms + (now - self.since) * self.rate / 1_000_000)
    }

    pub(crate) fn set(&mut self, now: u64, to: Millis, rate: u64) {
        (self.offset_ms, self.since, self.rate) = (to.0, now, rate);
    }
}

/// A process while it runs.
pub(crate) struct Process {
    pub(crate) core: ReplicaCore,
    pub(crate) disk: DiskCore<SimStore>,
    /// What the core has given since the last poll.
    pub(crate) effects: Vec<ReplicaEffect>,
    pub(crate) poll_due: bool,
    pub(crate) jobs: VecDeque<DiskJob>,
    pub(crate) disk_busy: bool,
    /// When the disk's last word so far arrives.
    pub(crate) told_at: u64,
    pub(crate) clients: BTreeMap<ClientId, usize>,
    /// Who asked without a connection.
    pub(crate) stale: BTreeMap<(ClientId, RequestId), usize>,
    pub(crate) disk_runs: u64,
}

/// What has become of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It belongs to the group, or is to join it.
    Member,
    /// It was taken out of the group, and may not know.
    Out,
    /// It is shut down for ever.
    Gone,
}

/// A machine.
pub(crate) struct Host {
    pub(crate) id: ReplicaId,
    pub(crate) life: u64,
    pub(crate) process: Option<Process>,
    pub(crate) device: Rc<RefCell<Device>>,
    bootstrap: Bootstrap,
    pub(crate) clock: Clock,
    pub(crate) paused_until: u64,
    pub(crate) disk_slow_until: u64,
    pub(crate) standing: Standing,
    /// As it last knew them.
    pub(crate) members: Addresses,
}

impl Host {
    pub(crate) fn new(id: ReplicaId, bootstrap: Bootstrap, clock: Clock) -> Self {
        Self {
            id,
            life: 0,
            process: None,
            device: Device::new(),
            bootstrap,
            clock,
            paused_until: 0,
            disk_slow_until: 0,
            standing: Standing::Member,
            members: Addresses::new(),
        }
    }

    /// Starts the process on what the disk holds, unless it runs or is to run no more.
    pub(crate) fn start(&mut self, plan: &Plan) -> Result<(), ReplicaFailed> {
        if self.process.is_some() || self.standing == Standing::Gone {
            return Ok(());
        }
        self.life += 1;
        let store = SimStore(Rc::clone(&self.device));
        let (disk, recovered) = DiskCore::open(store, &self.bootstrap, plan.shard_limits())?;
        let core = ReplicaCore::open(plan.config(self.id, self.life), recovered)?;
        self.members = core.addresses().clone();
        self.process = Some(Process {
            core,
            disk,
            effects: Vec::new(),
            poll_due: false,
            jobs: VecDeque::new(),
            disk_busy: false,
            told_at: 0,
            clients: BTreeMap::new(),
            stale: BTreeMap::new(),
            disk_runs: 0,
        });
        Ok(())
    }

    /// The process ends, and loses what was not synced. Gives the connections that it had.
    pub(crate) fn crash(&mut self, rng: &mut Rng) -> Vec<usize> {
        let Some(process) = self.process.take() else { return Vec::new() };
        self.life += 1;
        self.paused_until = 0;
        self.device.borrow_mut().crash(rng);
        process.clients.into_values().collect()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it leads, as it believes.
    pub(crate) fn leads(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.core.leader() == Some(self.id))
    }
}
