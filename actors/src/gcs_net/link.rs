//! `ShardLink`: the client's end of one shard, over the network.
//!
//! Owns: carrying a client's frames to the shard's leader and its answers back: the connections, their timers, and the
//! encoding. Does not own who is asked ([`core`]), nor retries (the client). To the client it looks like the shard's own
//! actor: it takes [`Ask`] and answers with [`Answers`].
//!
//! Invariants: nothing here waits; whatever has queued up goes out in one write; a frame that is too large for the wire is
//! refused at once, by name.

mod conversation;
mod core;

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use actinic_gcs::{
    shard::{ClientId, RequestError},
    Millis,
};
use actix::prelude::*;

use self::{
    conversation::{converse, Connected, Heard},
    core::{LinkCore, LinkEffect, CONNECT_MS_MAX},
};
use super::{
    handshake,
    outbox::{Outbox, Unsent},
    wire::{Membership, Purpose, FRAME_BYTES_MAX},
    NetError,
};
use crate::gcs_client::messages::{AnswerFrame, Answers, Ask, Frame};

/// Bytes that may wait for the shard to read them.
const OUTGOING_BYTES_MAX: usize = 64 << 20;

/// What a link finds out, for whoever wants to know.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct LinkNews {
    /// Of which shard.
    pub shard: usize,
    /// What.
    pub what: Found,
}

/// What was found.
#[derive(Debug)]
#[non_exhaustive]
pub enum Found {
    /// This address leads.
    Leader(String),
    /// All addresses were tried in vain; the last thing that went wrong, if anything was said of it.
    NoLeader(Option<NetError>),
}

/// What a link is made of.
pub struct LinkSetup {
    /// The shard, by its place among all.
    pub shard: usize,
    /// Where its replicas are reached; at least one.
    pub addresses: Vec<String>,
    /// The cluster.
    pub membership: Membership,
    /// Who asks.
    pub client: ClientId,
    /// Who hears of leaders found and not found.
    pub news: Option<Recipient<LinkNews>>,
}

/// A connection, open or not yet.
struct Line {
    outbox: Rc<Outbox>,
    task: SpawnHandle,
}

/// The link's Actix actor.
pub struct ShardLink {
    setup: LinkSetup,
    began: Instant,
    core: LinkCore,
    effects: Vec<LinkEffect>,
    answers: Option<Recipient<Answers>>,
    /// By attempt: the leader's, and that of a search for it.
    lines: BTreeMap<u64, Line>,
    timer: Option<(Millis, SpawnHandle)>,
    trouble: Option<NetError>,
}

impl ShardLink {
    /// A link that begins to look for the leader when it is started.
    ///
    /// # Panics
    /// If there are no addresses.
    #[must_use]
    pub fn new(setup: LinkSetup) -> Self {
        let seed = setup.client.0 as u64 ^ setup.shard as u64;
        Self {
            core: LinkCore::new(setup.addresses.clone(), seed),
            setup,
            began: Instant::now(),
            effects: Vec::new(),
            answers: None,
            lines: BTreeMap::new(),
            timer: None,
            trouble: None,
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        // What is done may have further effects.
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    LinkEffect::Connect { attempt, address } => self.connect(attempt, address, ctx),
                    LinkEffect::Close { attempt } => self.close(attempt, ctx),
                    LinkEffect::Send { attempt, frames } => self.send(attempt, &frames),
                    LinkEffect::Ping { attempt } => {
                        let _ = self.lines.get(&attempt).map(|line| line.outbox.push_bytes(&[]));
                    }
                    LinkEffect::Deliver(frames) => self.deliver(frames),
                    LinkEffect::Found(address) => self.tell(Found::Leader(address)),
                    LinkEffect::NobodyLeads => {
                        let trouble = self.trouble.take();
                        self.tell(Found::NoLeader(trouble));
                    }
                }
            }
        }
        self.arm(ctx);
    }

    fn tell(&self, what: Found) {
        tracing::debug!(shard = self.setup.shard, ?what, "a link to the control store looked for the leader");
        if let Some(news) = &self.setup.news {
            news.do_send(LinkNews { shard: self.setup.shard, what });
        }
    }

    fn deliver(&self, frames: Vec<AnswerFrame>) {
        if let Some(answers) = &self.answers {
            answers.do_send(Answers { shard: self.setup.shard, frames });
        }
    }

    fn close(&mut self, attempt: u64, ctx: &mut Context<Self>) {
        if let Some(line) = self.lines.remove(&attempt) {
            ctx.cancel_future(line.task);
        }
    }

    fn connect(&mut self, attempt: u64, address: String, ctx: &mut Context<Self>) {
        let LinkSetup { shard, client, membership, .. } = &self.setup;
        let (membership, purpose) = (membership.clone(), Purpose::Client { shard: *shard, client: *client });
        let outbox = Rc::new(Outbox::new(OUTGOING_BYTES_MAX));
        let of_line = outbox.clone();
        // A link whose client is gone ends, connection and all.
        let link = ctx.address().downgrade();
        let connection = async move {
            // The core has a deadline, too; this one says whose silence it was.
            let within = Duration::from_millis(CONNECT_MS_MAX);
            match handshake::call(&address, &membership, purpose, within).await {
                Ok((stream, addresses)) => {
                    if let Some(link) = link.upgrade() {
                        link.do_send(Connected { attempt, addresses });
                    }
                    converse(stream, &outbox, attempt, &link, address).await
                }
                Err(error) => error,
            }
        };
        let connection = connection.into_actor(self).map(move |error, this, ctx| {
            tracing::debug!(shard = this.setup.shard, %error, "a link to the control store goes on");
            this.trouble = Some(error);
            this.lines.remove(&attempt);
            let now = this.now();
            this.core.on_failed(now, attempt, &mut this.effects);
            this.carry_out(ctx);
        });
        let task = ctx.spawn(connection);
        self.lines.insert(attempt, Line { outbox: of_line, task });
    }

    fn send(&mut self, attempt: u64, frames: &[Frame]) {
        let Some(outbox) = self.lines.get(&attempt).map(|line| line.outbox.clone()) else { return };
        for frame in frames {
            let error = match outbox.push(frame) {
                Ok(()) => continue,
                // Its silence will tell: then all is sent again.
                Err(Unsent::Full) => return,
                Err(Unsent::TooLong { bytes }) => RequestError::TooLarge { bytes, max: FRAME_BYTES_MAX },
                Err(Unsent::Unencodable) => RequestError::Unreadable,
            };
            if let Frame::Request { request, .. } | Frame::StaleRead { request, .. } = frame {
                self.core.on_unsendable(*request);
                self.deliver(vec![AnswerFrame::Reply { request: *request, outcome: Err(error) }]);
            }
        }
    }

    /// Sees to it that the core is woken in time.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.core.deadline();
        // One that comes too early finds out and is armed anew.
        if self.timer.as_ref().is_some_and(|(at, _)| *at <= deadline) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let wait = Duration::from_millis(deadline.0.saturating_sub(self.now().0));
        let timer = ctx.run_later(wait, |this, ctx| {
            this.timer = None;
            if !ctx.connected() {
                return ctx.stop();
            }
            let now = this.now();
            this.core.on_time(now, &mut this.effects);
            this.carry_out(ctx);
        });
        self.timer = Some((deadline, timer));
    }
}

impl Actor for ShardLink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let now = self.now();
        self.core.on_time(now, &mut self.effects);
        self.carry_out(ctx);
    }
}

impl Handler<Ask> for ShardLink {
    type Result = ();

    fn handle(&mut self, ask: Ask, ctx: &mut Context<Self>) {
        self.answers = Some(ask.answers);
        let now = self.now();
        self.core.on_frames(now, ask.frames, &mut self.effects);
        self.carry_out(ctx);
    }
}

impl Handler<Connected> for ShardLink {
    type Result = ();

    fn handle(&mut self, Connected { attempt, addresses }: Connected, ctx: &mut Context<Self>) {
        let now = self.now();
        self.core.on_connected(now, attempt, addresses, &mut self.effects);
        self.carry_out(ctx);
    }
}

impl Handler<Heard> for ShardLink {
    type Result = ();

    fn handle(&mut self, Heard { attempt, frames }: Heard, ctx: &mut Context<Self>) {
        let now = self.now();
        self.core.on_answers(now, attempt, frames, &mut self.effects);
        self.carry_out(ctx);
    }
}
