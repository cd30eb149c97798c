//! The Actix actor of a [`RemoteGcs`](super::RemoteGcs).
//!
//! Owns: carrying things between its queue, the client's core, the links, and the callbacks of subscriptions. It decides
//! nothing. Invariant: whatever came with one ring goes to each shard as one message.

use std::{
    collections::BTreeMap,
    sync::{atomic::Ordering, mpsc, Arc},
    time::{Duration, Instant},
};

use actinic_gcs::{
    shard::{ClientId, Request, SubscriptionId},
    spec::NodeDeath,
    tables::NodeWrite,
    Millis, NodeId,
};
use actix::prelude::*;

use super::{Event, Shared, Waiter};
use crate::{
    gcs_client::{
        core::{ClientCore, ClientEffect},
        messages::{AnswerFrame, Answers, Ask},
        OnChange,
    },
    gcs_net::{
        link::{LinkNews, LinkSetup, ShardLink},
        wire::Membership,
    },
    ingress::Ring,
    panics,
};

/// Between looks at what has no answer.
const TICK: Duration = Duration::from_millis(250);

/// The client.
pub(super) struct RemoteClient {
    shared: Arc<Shared>,
    id: ClientId,
    began: Instant,
    core: ClientCore<Waiter>,
    links: Vec<Addr<ShardLink>>,
    callbacks: BTreeMap<SubscriptionId, OnChange>,
    effects: Vec<ClientEffect<Waiter>>,
    news: mpsc::Sender<LinkNews>,
}

impl RemoteClient {
    /// Starts a client and its links on this thread.
    pub(super) fn begin(
        shared: Arc<Shared>,
        id: ClientId,
        membership: &Membership,
        shards: Vec<Vec<String>>,
        news: mpsc::Sender<LinkNews>,
    ) {
        Self::create(|ctx| {
            let link = |(shard, addresses)| {
                let (membership, news) = (membership.clone(), Some(ctx.address().recipient()));
                ShardLink::new(LinkSetup { shard, addresses, membership, client: id, news }).start()
            };
            let links: Vec<Addr<ShardLink>> = shards.into_iter().enumerate().map(link).collect();
            Self {
                shared,
                id,
                began: Instant::now(),
                core: ClientCore::new(links.len()),
                links,
                callbacks: BTreeMap::new(),
                effects: Vec::new(),
                news,
            }
        });
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Ask(Request::Write(write), waiter) => self.core.write(write, waiter),
            Event::Ask(Request::Read(read), waiter) => self.core.read(read, waiter),
            Event::Subscribe(subscription, filter, on_change) => {
                self.callbacks.insert(subscription, on_change);
                self.core.subscribe(subscription, filter);
            }
            Event::Unsubscribe(subscription) => self.unsubscribe(subscription),
        }
    }

    /// A node's lease has run out: it is dead, unless it is renewed before this is written.
    fn judge(&mut self, node: NodeId, lease_until: Millis) {
        let lost = NodeWrite::MarkDead { node, cause: NodeDeath::LeaseExpired, lease_until: Some(lease_until) };
        // Nobody waits for the answer: who is still dead is judged again.
        let (answer, _) = mpsc::sync_channel(1);
        *self.shared.unanswered.lock() += 1;
        self.core.write(lost.into(), Waiter { answer, shared: self.shared.clone() });
    }

    fn unsubscribe(&mut self, subscription: SubscriptionId) {
        self.callbacks.remove(&subscription);
        self.core.unsubscribe(subscription);
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                // Who does not wait any more has dropped the other end.
                ClientEffect::Done { waiter, outcome } => drop(waiter.answer.send(outcome)),
                ClientEffect::Changed { subscription, change } => {
                    let Some(on_change) = self.callbacks.get(&subscription).cloned() else { continue };
                    if let Err(panic) = panics::catch(|| on_change(change)) {
                        tracing::error!(message = %panic.message, "a subscription's callback panicked; it is ended");
                        self.unsubscribe(subscription);
                    }
                }
                ClientEffect::Missed { subscription } => {
                    self.shared.missed.fetch_add(1, Ordering::AcqRel);
                    tracing::warn!(?subscription, "changes were lost to a subscription while its shard was away");
                }
            }
        }
        for (shard, frames) in self.core.frames(self.now()) {
            self.links[shard].do_send(Ask { client: self.id, answers: ctx.address().recipient(), frames });
        }
    }
}

impl Actor for RemoteClient {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(TICK, |this, ctx| {
            let now = this.now();
            this.core.on_tick(now, &mut this.effects);
            this.carry_out(ctx);
        });
        self.shared.ingress.connect(ctx.address().recipient());
    }
}

impl Handler<Ring> for RemoteClient {
    type Result = ();

    fn handle(&mut self, _: Ring, ctx: &mut Context<Self>) {
        let shared = self.shared.clone();
        shared.ingress.drain(|event| self.on_event(event));
        self.carry_out(ctx);
    }
}

impl Handler<Answers> for RemoteClient {
    type Result = ();

    fn handle(&mut self, answers: Answers, ctx: &mut Context<Self>) {
        let now = self.now();
        for frame in answers.frames {
            if let AnswerFrame::LeaseExpired { node, lease_until } = frame {
                self.judge(node, lease_until);
                continue;
            }
            self.core.on_answer(now, answers.shard, frame, &mut self.effects);
        }
        self.carry_out(ctx);
    }
}

impl Handler<LinkNews> for RemoteClient {
    type Result = ();

    fn handle(&mut self, news: LinkNews, _: &mut Context<Self>) {
        // Whoever connected has stopped listening.
        let _ = self.news.send(news);
    }
}
