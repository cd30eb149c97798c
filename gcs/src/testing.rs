//! Builders and a bench for this crate's tests.

use bytes::Bytes;

use crate::{
    spec::{
        ActorSpec, Event, JobSpec, Lifetime, Limit, NodeSpec, PlacementGroupSpec, PlacementStrategy,
        SchedulingStrategy, Severity, Subject, TaskKind, TaskSpec,
    },
    store::{MemoryStore, Store},
    tables::{self, ApplyError, Read, Reply, Table, TableError, Txn, Write},
    ActorId, FunctionId, JobId, Millis, NodeId, PlacementGroupId, ResourceSet, TaskId,
};

/// Tables on a store in memory, at a time that the test sets.
pub(crate) struct Bench {
    pub(crate) store: MemoryStore,
    pub(crate) now: Millis,
    pub(crate) changes: Vec<(Table, Bytes)>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::at(Millis(0))
    }

    pub(crate) fn at(now: Millis) -> Self {
        Self { store: MemoryStore::new(), now, changes: Vec::new() }
    }

    /// Applies a write that went through its encoding.
    pub(crate) fn apply(&mut self, write: impl Into<Write>) -> Result<Reply, TableError> {
        let write = round_trip(write.into());
        let mut txn = Txn::new(&self.store);
        let reply = rejection(tables::apply(&write, self.now, &mut txn))?;
        let (batch, changes) = txn.finish();
        self.store.apply(batch).unwrap();
        self.changes.extend(changes);
        Ok(reply)
    }

    pub(crate) fn read(&self, read: impl Into<Read>) -> Result<Reply, TableError> {
        rejection(tables::read(&round_trip(read.into()), &Txn::new(&self.store)))
    }
}

fn rejection(applied: tables::Applied) -> Result<Reply, TableError> {
    applied.map_err(|error| match error {
        ApplyError::Rejected(error) => error,
        other => panic!("the store failed: {other}"),
    })
}

fn round_trip<R: crate::record::Record + PartialEq + std::fmt::Debug>(value: R) -> R {
    let back = crate::record::decode(&crate::record::encode(&value).unwrap()).unwrap();
    assert_eq!(value, back);
    back
}

pub(crate) fn task(number: u64) -> TaskSpec {
    let parent = TaskId::driver(JobId(1));
    TaskSpec {
        id: parent.child(number),
        parent,
        job: JobId(1),
        function: FunctionId::of("f", "()"),
        name: "f".into(),
        args: smallvec::SmallVec::new(),
        num_returns: 1,
        demand: ResourceSet::new().with("CPU", 1.0).into(),
        max_retries: Limit::AtMost(3),
        retry_exceptions: false,
        scheduling: SchedulingStrategy::Default,
        kind: TaskKind::Plain,
    }
}

pub(crate) fn actor(id: u128) -> ActorSpec {
    ActorSpec {
        id: ActorId(id),
        class: FunctionId::of("Counter", "(i64)"),
        class_name: "Counter".into(),
        creation_task: TaskId(id),
        name: None,
        namespace: "default".into(),
        lifetime: Lifetime::Job(JobId(1)),
        max_restarts: Limit::Unlimited,
        max_task_retries: Limit::NEVER,
        max_concurrency: 1,
        max_pending_calls: Limit::AtMost(1_000),
        checkpoint_every: None,
        resources: ResourceSet::new(),
        owner: None,
    }
}

pub(crate) fn node(id: u128) -> NodeSpec {
    NodeSpec {
        id: NodeId(id),
        address: "127.0.0.1:6379".to_owned(),
        hostname: "here".to_owned(),
        head: true,
        resources: ResourceSet::new().with("CPU", 2.0),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        object_store_bytes: 1 << 30,
        shared_memory: None,
    }
}

pub(crate) fn job(id: u32) -> JobSpec {
    JobSpec {
        id: JobId(id),
        driver_node: NodeId(1),
        namespace: "default".into(),
        entrypoint: "demo".to_owned(),
        executable: None,
        metadata: Default::default(),
    }
}

pub(crate) fn group(id: u128, strategy: PlacementStrategy) -> PlacementGroupSpec {
    PlacementGroupSpec {
        id: PlacementGroupId(id),
        name: None,
        strategy,
        bundles: vec![ResourceSet::new().with("CPU", 1.0); 2],
        lifetime: Lifetime::Detached,
    }
}

pub(crate) fn event(message: &str) -> Event {
    Event {
        at: Millis(1),
        node: NodeId(1),
        severity: Severity::Info,
        subject: Subject::Cluster,
        label: "TEST".to_owned(),
        message: message.to_owned(),
    }
}
