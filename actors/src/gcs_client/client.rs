//! The `GcsClient`: the Actix actor that speaks to the shards for a whole process.
//!
//! Owns: carrying things between the [port](super::GcsPort), the [core](super::core), the [ledger](super::ledger) and the
//! shards; the node's registration and its lease; and the callbacks of subscriptions. Invariants: whatever came with one
//! ring goes to each shard as one message; a panic of a callback ends that subscription and nothing else.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actinic_gcs::{
    shard::{ClientId, Request, SubscriptionId},
    spec::{ActorSpec, NodeDeath},
    tables::{
        ActorRead, ActorWrite, GroupWrite, HistoryRead, HistoryWrite, JobWrite, NodeWrite, Read, Reply, Table,
        TableError, Write,
    },
    ActorId, Millis, PlacementGroupId,
};
use actix::prelude::*;

use super::{
    core::{ClientCore, ClientEffect},
    directory,
    ledger::{Ledger, DEAD_LEN_MAX},
    messages::{AnswerFrame, Answers, Ask},
    port::{Answer, Event, OnChange},
    retired::Retired,
    GcsError, GcsPort,
};
use crate::{ingress::Ring, node::Node, panics};

/// How long the node may be silent.
pub(super) const LEASE_MS: u64 = 10_000;
/// Between renewals of the lease, and looks at what has no answer.
const TICK: Duration = Duration::from_millis(2_000);
/// Between writes of what can wait.
const LATER: Duration = Duration::from_millis(10);
/// Actors written at once of those that can wait: at some 20 µs each, about a quarter of a core is spent on them.
const LATER_LEN_MAX: usize = 128;

/// Who waits for an outcome.
enum Waiter {
    Nobody,
    Thread(Answer),
    Named(Box<ActorSpec>, Answer),
    Heartbeat,
    Drop(ActorId),
}

/// The client's Actix actor.
pub struct GcsClient {
    node: Arc<Node>,
    began: Instant,
    shards: Vec<Recipient<Ask>>,
    core: ClientCore<Waiter>,
    ledger: Ledger,
    groups: Retired<PlacementGroupId>,
    callbacks: BTreeMap<SubscriptionId, OnChange>,
    writes: Vec<Write>,
    effects: Vec<ClientEffect<Waiter>>,
    later_armed: bool,
}

impl GcsClient {
    /// The client of `node`'s process, of all shards in their order.
    ///
    /// # Panics
    /// If there is no shard.
    #[must_use]
    pub fn new(node: Arc<Node>, shards: Vec<Recipient<Ask>>) -> Self {
        Self {
            began: Instant::now(),
            core: ClientCore::new(shards.len()),
            ledger: Ledger::new(node.id),
            groups: Retired::new(DEAD_LEN_MAX),
            callbacks: BTreeMap::new(),
            writes: Vec::new(),
            effects: Vec::new(),
            later_armed: false,
            node,
            shards,
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Record(write) => self.record(write),
            Event::Ask(Request::Write(write), answer) => {
                self.tell_prompt();
                self.core.write(write, Waiter::Thread(answer));
            }
            Event::Ask(Request::Read(read), answer) => {
                self.tell_before(&read);
                self.core.read(read, Waiter::Thread(answer));
            }
            Event::Actor(spec) => self.ledger.add(spec),
            Event::NamedActor(spec, if_exists, answer) => {
                // The name's last bearer may have died just now.
                self.tell_prompt();
                let write = ActorWrite::Register { spec: spec.clone(), if_exists };
                self.core.write(write.into(), Waiter::Named(spec, answer));
            }
            Event::Happened(actor, happening) => {
                self.ledger.on(actor, happening, &mut self.writes);
                self.record_told();
            }
            Event::GroupRemoved(group) => {
                self.record(GroupWrite::Remove(group).into());
                if let Some(oldest) = self.groups.push(group) {
                    self.record(GroupWrite::Delete(oldest).into());
                }
            }
            Event::Subscribe(subscription, filter, on_change) => {
                self.callbacks.insert(subscription, on_change);
                self.core.subscribe(subscription, filter);
            }
            Event::Unsubscribe(subscription) => self.unsubscribe(subscription),
            Event::Flush(answer) => {
                self.ledger.take_all(&mut self.writes);
                self.record_told();
                self.core.read(GcsPort::barrier(), Waiter::Thread(answer));
            }
            Event::Closed => {}
        }
    }

    fn record(&mut self, write: Write) {
        let waiter = match &write {
            Write::History(HistoryWrite::Drop(actor)) => Waiter::Drop(*actor),
            _ => Waiter::Nobody,
        };
        self.core.write(write, waiter);
    }

    fn record_told(&mut self) {
        for write in std::mem::take(&mut self.writes) {
            self.record(write);
        }
    }

    /// What a question may be about is written before it.
    fn tell_before(&mut self, read: &Read) {
        match read {
            Read::Actor(ActorRead::Get(actor)) => self.ledger.tell(*actor, &mut self.writes),
            Read::Actor(ActorRead::List(_)) => self.ledger.take_all(&mut self.writes),
            Read::History(
                HistoryRead::Head(actor) | HistoryRead::Checkpoint(actor) | HistoryRead::Calls { actor, .. },
            ) => self.ledger.tell(*actor, &mut self.writes),
            _ => self.ledger.take_prompt(&mut self.writes),
        }
        self.record_told();
    }

    fn tell_prompt(&mut self) {
        self.ledger.take_prompt(&mut self.writes);
        self.record_told();
    }

    fn unsubscribe(&mut self, subscription: SubscriptionId) {
        self.callbacks.remove(&subscription);
        self.core.unsubscribe(subscription);
    }

    /// Sends what is to be sent, and sees to it that what can wait is not forgotten.
    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        self.settle();
        if self.core.watches(Table::Actors) {
            self.ledger.take_all(&mut self.writes);
        } else {
            self.ledger.take_prompt(&mut self.writes);
        }
        self.record_told();
        let client = ClientId(self.node.id.0);
        for (shard, frames) in self.core.frames(self.now()) {
            self.shards[shard].do_send(Ask { client, answers: ctx.address().recipient(), frames });
        }
        if self.ledger.has_later() && !self.later_armed {
            self.later_armed = true;
            ctx.run_later(LATER, |this, ctx| {
                this.later_armed = false;
                this.ledger.take_later(LATER_LEN_MAX, &mut this.writes);
                this.carry_out(ctx);
            });
        }
    }

    fn settle(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                ClientEffect::Done { waiter, outcome } => self.on_done(waiter, outcome),
                ClientEffect::Changed { subscription, change } => {
                    let Some(on_change) = self.callbacks.get(&subscription).cloned() else { continue };
                    if let Err(panic) = panics::catch(|| on_change(change)) {
                        tracing::error!(message = %panic.message, "a subscription's callback panicked; it is ended");
                        self.unsubscribe(subscription);
                    }
                }
                ClientEffect::Missed { subscription } => {
                    tracing::warn!(?subscription, "changes were lost to a subscription while its shard was away");
                }
            }
        }
    }

    fn on_done(&mut self, waiter: Waiter, outcome: Result<Reply, GcsError>) {
        match (waiter, outcome) {
            (Waiter::Thread(answer), outcome) => drop(answer.send(outcome)),
            (Waiter::Named(spec, answer), outcome) => {
                // Before the caller hears of it, lest what it says next come too early.
                if matches!(outcome, Ok(Reply::Registered { created: true, .. })) {
                    self.ledger.add_registered(&spec);
                }
                let _ = answer.send(outcome);
            }
            (Waiter::Heartbeat, Err(GcsError::Refused(TableError::NodeDead(node)))) => {
                tracing::error!(%node, "this node was declared dead: it must end, what it does is refused");
            }
            (Waiter::Drop(actor), Ok(Reply::CallLogHead(head))) if head.first < head.next => {
                self.record(HistoryWrite::Drop(actor).into());
            }
            (Waiter::Nobody | Waiter::Heartbeat | Waiter::Drop(_), Err(error)) => {
                tracing::warn!(%error, "the control store did not take a record");
            }
            (Waiter::Nobody | Waiter::Heartbeat | Waiter::Drop(_), Ok(_)) => {}
        }
    }

    fn heartbeat(&mut self) {
        let renewal = NodeWrite::Heartbeat { node: self.node.id, lease_ms: LEASE_MS };
        self.core.write(renewal.into(), Waiter::Heartbeat);
    }

    fn on_lease_expired(&mut self, frame: &AnswerFrame) {
        let AnswerFrame::LeaseExpired { node, lease_until } = *frame else { return };
        if node == self.node.id {
            // Whoever can hear this is alive; it was only late.
            return self.heartbeat();
        }
        let lost = NodeWrite::MarkDead { node, cause: NodeDeath::LeaseExpired, lease_until: Some(lease_until) };
        self.record(lost.into());
    }
}

impl Actor for GcsClient {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // In a cluster the node registers itself, and its drivers' jobs.
        let embedded = self.node.cluster.is_none();
        if embedded {
            let node = Box::new(directory::node_spec(&self.node));
            self.record(NodeWrite::Register { node, lease_ms: LEASE_MS }.into());
            self.record(JobWrite::Add(Box::new(directory::job_spec(&self.node))).into());
            self.carry_out(ctx);
        }
        ctx.run_interval(TICK, move |this, ctx| {
            if embedded {
                this.heartbeat();
            }
            let now = this.now();
            this.core.on_tick(now, &mut this.effects);
            this.carry_out(ctx);
        });
        self.node.gcs.connect(ctx.address().recipient());
    }
}

impl Handler<Ring> for GcsClient {
    type Result = ();

    fn handle(&mut self, _: Ring, ctx: &mut Context<Self>) {
        let node = self.node.clone();
        if node.gcs.is_closed() {
            // Who waits for an answer hears of it when the core goes, and with it the other end.
            self.core = ClientCore::new(self.shards.len());
            return ctx.stop();
        }
        node.gcs.drain(|event| self.on_event(event));
        self.carry_out(ctx);
    }
}

impl Handler<Answers> for GcsClient {
    type Result = ();

    fn handle(&mut self, answers: Answers, ctx: &mut Context<Self>) {
        let now = self.now();
        for frame in answers.frames {
            self.on_lease_expired(&frame);
            self.core.on_answer(now, answers.shard, frame, &mut self.effects);
        }
        self.carry_out(ctx);
    }
}
