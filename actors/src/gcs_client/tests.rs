//! Tests of the control store's client: its core and its ledger against real shards, and a node as a whole.

// In tests an unwrap is an assertion.
#![allow(clippy::unwrap_used)]

mod core;
mod ledger;
mod node;

use actinic_gcs::{
    shard::{ClientId, Effect, RequestId, ShardCore, ShardLimits},
    spec::{ActorSpec, Lifetime, Limit},
    store::MemoryStore,
    tables::{ActorRead, ActorWrite, Read, Reply, TableError, Write},
    ActorId, FunctionId, JobId, Millis, ResourceSet, TaskId,
};

use super::messages::{AnswerFrame, Frame};

const CLIENT: ClientId = ClientId(7);

fn shard() -> ShardCore<MemoryStore> {
    ShardCore::open(MemoryStore::new(), ShardLimits::default()).unwrap()
}

/// What a shard says to a frame.
fn answer(shard: &mut ShardCore<MemoryStore>, frame: Frame) -> Vec<AnswerFrame> {
    let mut effects = Vec::new();
    match frame {
        Frame::Request { request, what } | Frame::StaleRead { request, what } => {
            shard.on_request(Millis(0), request, CLIENT, &what, &mut effects).unwrap();
        }
        Frame::Subscribe { subscription, filter, from } => {
            shard.on_subscribe(CLIENT, subscription, filter, from, &mut effects).unwrap();
        }
        Frame::Unsubscribe(subscription) => shard.on_unsubscribe(CLIENT, subscription),
    }
    effects.into_iter().filter_map(|effect| super::shard::addressed(effect, None)).map(|(_, frame)| frame).collect()
}

/// Tables that take writes one by one.
struct Tables(ShardCore<MemoryStore>, u64);

impl Tables {
    fn new() -> Self {
        Self(shard(), 0)
    }

    fn ask(&mut self, what: impl Into<actinic_gcs::shard::Request>) -> Result<Reply, TableError> {
        self.1 += 1;
        let mut effects = Vec::new();
        self.0.on_request(Millis(0), RequestId(self.1), CLIENT, &what.into(), &mut effects).unwrap();
        let Some(Effect::Reply { outcome, .. }) = effects.into_iter().next() else { panic!("no reply") };
        outcome.map_err(|error| match error {
            actinic_gcs::shard::RequestError::Refused(refusal) => refusal,
            other => panic!("{other}"),
        })
    }

    fn take(&mut self, writes: &mut Vec<Write>) {
        for write in writes.drain(..) {
            self.ask(write.clone()).unwrap_or_else(|refusal| panic!("{write:?}: {refusal}"));
        }
    }

    fn actor(&mut self, actor: ActorId) -> Option<actinic_gcs::spec::ActorInfo> {
        let Ok(Reply::Actor(info)) = self.ask(Read::from(ActorRead::Get(actor))) else { panic!("no reply") };
        info.map(|info| *info)
    }

    fn register(&mut self, spec: &ActorSpec) {
        let write = ActorWrite::Register { spec: Box::new(spec.clone()), if_exists: Default::default() };
        self.ask(write).unwrap();
    }
}

fn spec(number: u64, name: Option<&str>) -> ActorSpec {
    let creation_task = TaskId::driver(JobId(1)).child(number);
    ActorSpec {
        id: ActorId::of_creation(creation_task),
        class: FunctionId(1),
        class_name: "Counter".into(),
        creation_task,
        name: name.map(Into::into),
        namespace: "default".into(),
        lifetime: Lifetime::Job(JobId(1)),
        max_restarts: Limit::Unlimited,
        max_task_retries: Limit::NEVER,
        max_concurrency: 1,
        max_pending_calls: Limit::Unlimited,
        checkpoint_every: None,
        resources: ResourceSet::new(),
        owner: None,
    }
}
