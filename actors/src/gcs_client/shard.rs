//! The `GcsShard`: the Actix actor around one [`ShardCore`], here with its rows in memory.
//!
//! Owns: the order of arrival, which is the order of the writes; the time that the core is given; and carrying its effects
//! out. It decides nothing. Invariants: rows in memory are as durable as they will ever be once they are written, so every
//! effect is carried out at once; a core that has failed is opened anew on its rows, and all clients are told.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use actinic_gcs::{
    shard::{ClientId, Effect, ShardCore, ShardFailed, ShardLimits},
    store::MemoryStore,
    Millis,
};
use actix::prelude::*;

use super::messages::{AnswerFrame, Answers, Ask, Frame};

/// Between looks at the leases.
const TICK: Duration = Duration::from_millis(500);

/// The shard's Actix actor.
pub struct GcsShard {
    index: usize,
    began: Instant,
    core: Option<ShardCore<MemoryStore>>,
    clients: BTreeMap<ClientId, Recipient<Answers>>,
    effects: Vec<Effect>,
}

impl GcsShard {
    /// An empty shard, the one at `index` among all. Its time begins now.
    #[must_use]
    pub fn new(index: usize) -> Self {
        Self { index, began: Instant::now(), core: None, clients: BTreeMap::new(), effects: Vec::new() }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn on_frame(&mut self, client: ClientId, frame: Frame) -> Result<(), ShardFailed> {
        let now = self.now();
        let Some(core) = &mut self.core else { return Err(ShardFailed::Stopped) };
        match frame {
            Frame::Request { request, what } => core.on_request(now, request, client, &what, &mut self.effects),
            Frame::Subscribe { subscription, filter, from } => {
                core.on_subscribe(client, subscription, filter, from, &mut self.effects)
            }
            Frame::Unsubscribe(subscription) => {
                core.on_unsubscribe(client, subscription);
                Ok(())
            }
        }
    }

    /// Carries out what the core asks for: one message a client.
    fn carry_out(&mut self) {
        let mut answers: BTreeMap<ClientId, Vec<AnswerFrame>> = BTreeMap::new();
        for effect in self.effects.drain(..) {
            if let Some((client, frame)) = addressed(effect, self.clients.keys().next()) {
                answers.entry(client).or_default().push(frame);
            }
        }
        for (client, frames) in answers {
            self.send(client, frames);
        }
    }

    fn send(&self, client: ClientId, frames: Vec<AnswerFrame>) {
        if let Some(recipient) = self.clients.get(&client) {
            recipient.do_send(Answers { shard: self.index, frames });
        }
    }

    fn reopen(&mut self, failure: &ShardFailed, ctx: &mut Context<Self>) {
        tracing::error!(shard = self.index, error = %failure, "a shard of the control store failed and is opened anew");
        self.open(ctx);
        let clients: Vec<ClientId> = self.clients.keys().copied().collect();
        for client in clients {
            self.send(client, vec![AnswerFrame::Reopened]);
        }
    }

    fn open(&mut self, ctx: &mut Context<Self>) {
        let store = self.core.take().map(ShardCore::into_store).unwrap_or_default();
        match ShardCore::open(store, ShardLimits::default()) {
            Ok(core) => self.core = Some(core),
            Err(error) => {
                tracing::error!(shard = self.index, %error, "a shard of the control store cannot be opened and ends");
                ctx.stop();
            }
        }
    }
}

/// Whom an effect is for, and how it is put; `judge` hears of leases.
pub(super) fn addressed(effect: Effect, judge: Option<&ClientId>) -> Option<(ClientId, AnswerFrame)> {
    Some(match effect {
        Effect::Reply { client, request, outcome, .. } => (client, AnswerFrame::Reply { request, outcome }),
        Effect::Subscribed { client, subscription, sequence, .. } => {
            (client, AnswerFrame::Subscribed { subscription, sequence, missed: false })
        }
        Effect::ResyncNeeded { client, subscription, sequence, .. } => {
            (client, AnswerFrame::Subscribed { subscription, sequence, missed: true })
        }
        Effect::SubscriptionRefused { client, subscription, max } => {
            (client, AnswerFrame::SubscriptionRefused { subscription, max })
        }
        Effect::Notify { client, subscription, change, .. } => (client, AnswerFrame::Change { subscription, change }),
        Effect::LeaseExpired { node, lease_until } => (*judge?, AnswerFrame::LeaseExpired { node, lease_until }),
        other => {
            tracing::error!(effect = ?other, "the shell does not know this effect of a shard");
            return None;
        }
    })
}

impl Actor for GcsShard {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.open(ctx);
        ctx.run_interval(TICK, |this, ctx| {
            let now = this.now();
            let Some(core) = &mut this.core else { return };
            let ticked = core.on_tick(now, &mut this.effects);
            this.carry_out();
            if let Err(failure) = ticked {
                this.reopen(&failure, ctx);
            }
        });
    }
}

impl Handler<Ask> for GcsShard {
    type Result = ();

    fn handle(&mut self, ask: Ask, ctx: &mut Context<Self>) {
        let Ask { client, answers, frames } = ask;
        self.clients.insert(client, answers);
        for frame in frames {
            if let Err(failure) = self.on_frame(client, frame) {
                self.carry_out();
                // The rest of the frames come again: the client is told that nothing after the failure was done.
                return self.reopen(&failure, ctx);
            }
        }
        self.carry_out();
    }
}
