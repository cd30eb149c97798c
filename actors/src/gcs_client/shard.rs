//! The `GcsShard`: the Actix actor around one replica of one shard.
//!
//! Owns: carrying events to the [`ReplicaCore`] and its effects to the disk, the other replicas and the clients; the ticks;
//! and opening the replica again when its disk has failed. It decides nothing. The disk half runs on a thread of its own where
//! it may block ([`disk`]), and inline where rows are in memory.
//!
//! Invariants: the arbiter never waits for a disk; effects are carried out in their order; what came with one message, and
//! with all that had queued behind it, shares one log entry and one fsync; a replica whose disk failed says nothing until
//! it is open again, and its clients and peers are sent elsewhere.

mod disk;
mod trouble;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[cfg(feature = "rocksdb")]
use actinic_gcs::store::{RocksOptions, StoreIdentity};
use actinic_gcs::{
    replica::{
        Addresses, Bootstrap, DiskDone, PeerMessage, ReplicaConfig, ReplicaCore, ReplicaEffect, ReplicaFailed,
        ReplicaId, ReplicaStatus,
    },
    shard::{ClientId, Effect, RequestError, ShardLimits},
    Millis,
};
use actix::prelude::*;
use futures::channel::oneshot;

use self::disk::{Disk, DiskReport};
use super::messages::{
    AdminError, AnswerFrame, Answers, Ask, ChangeMembers, ClientGone, Frame, FromPeer, GetStatus, GetTrouble, PeerGone,
    TransferLeadership,
};

/// Between ticks where others must hear that the leader lives.
pub const TICK: Duration = Duration::from_millis(10);
/// Between ticks of a replica that is alone.
const TICK_ALONE: Duration = Duration::from_millis(500);
/// Before a replica whose disk failed is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// The way to the other replicas. Never blocks; may lose what it is given.
pub trait PeerLinks: Send {
    /// Sends.
    fn send(&mut self, to: ReplicaId, message: PeerMessage);
    /// Who belongs to the group now, and where each is reached.
    fn set_members(&mut self, members: &Addresses);
}

/// Where a replica keeps its rows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ShardStore {
    /// In memory: gone with the process.
    Memory,
    /// In a folder.
    #[cfg(feature = "rocksdb")]
    Rocks {
        /// Which folder.
        path: std::path::PathBuf,
        /// Whose it is.
        identity: StoreIdentity,
        /// How it is kept.
        options: RocksOptions,
    },
}

/// What a replica's actor is made of.
pub struct ShardSetup {
    /// The shard, by its place among all.
    pub index: usize,
    /// The replica.
    pub replica: ReplicaConfig,
    /// How it begins where its store is empty.
    pub bootstrap: Bootstrap,
    /// Where it keeps its rows.
    pub store: ShardStore,
    /// The way to the others, if there are any.
    pub links: Option<Box<dyn PeerLinks>>,
}

impl ShardSetup {
    /// A replica that is alone, with its rows in memory.
    #[must_use]
    pub fn alone(index: usize) -> Self {
        let id = ReplicaId(1);
        Self {
            index,
            replica: ReplicaConfig::new(id, 0),
            bootstrap: Bootstrap::Found([(id, String::new())].into()),
            store: ShardStore::Memory,
            links: None,
        }
    }
}

/// A replica's Actix actor.
pub struct GcsShard {
    setup: ShardSetup,
    core: Option<ReplicaCore>,
    disk: Option<Disk>,
    clients: BTreeMap<ClientId, Recipient<Answers>>,
    effects: Vec<ReplicaEffect>,
    admin: Vec<oneshot::Sender<Result<(), AdminError>>>,
    ticks: Option<SpawnHandle>,
    /// Which opening of the disk reports are of.
    opening: u64,
    /// Why it stepped aside, until it has written again.
    trouble: Option<String>,
    /// Which client judged the last lease that ran out.
    judge: usize,
}

/// One wake-up's answers, by client.
type Outbox = BTreeMap<ClientId, Vec<AnswerFrame>>;

fn unix_now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl GcsShard {
    /// A replica, not open yet.
    #[must_use]
    pub fn new(setup: ShardSetup) -> Self {
        Self {
            setup,
            core: None,
            disk: None,
            clients: BTreeMap::new(),
            effects: Vec::new(),
            admin: Vec::new(),
            ticks: None,
            opening: 0,
            trouble: None,
            judge: 0,
        }
    }

    fn open(&mut self, ctx: &mut Context<Self>) {
        self.opening += 1;
        let ShardSetup { store, bootstrap, .. } = &self.setup;
        let report = (self.opening, ctx.address().recipient());
        self.disk = Some(Disk::open(store.clone(), bootstrap.clone(), ShardLimits::default(), report));
        self.work(ctx);
    }

    /// The disk is open.
    fn begin(&mut self, recovered: actinic_gcs::replica::Recovered, ctx: &mut Context<Self>) {
        let alone = recovered.position.addresses.len() <= 1;
        let addresses = recovered.position.addresses.clone();
        match ReplicaCore::open(self.setup.replica.clone(), recovered) {
            Ok(core) => self.core = Some(core),
            Err(error) => return self.step_aside(&error, ctx),
        }
        if let Some(links) = &mut self.setup.links {
            links.set_members(&addresses);
        }
        self.tick_every(if alone && self.setup.links.is_none() { TICK_ALONE } else { TICK }, ctx);
        self.send_all(&AnswerFrame::Reopened);
    }

    fn tick_every(&mut self, period: Duration, ctx: &mut Context<Self>) {
        if let Some(ticks) = self.ticks.take() {
            ctx.cancel_future(ticks);
        }
        self.ticks = Some(ctx.run_interval(period, |this, ctx| {
            let now = unix_now();
            if let Some(core) = &mut this.core {
                core.on_tick(now, &mut this.effects);
            }
            this.work(ctx);
        }));
    }

    /// The disk failed. Others take over at once, where there are others; this replica tries again in a while.
    fn step_aside(&mut self, failure: &ReplicaFailed, ctx: &mut Context<Self>) {
        let trouble = trouble::describe(failure);
        // It may be opened in vain for long.
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::error!(shard = self.setup.index, error = trouble, "a replica of the control store steps aside");
        }
        self.trouble = Some(trouble);
        if let Some(mut core) = self.core.take() {
            self.effects.clear();
            core.transfer_leadership(None);
            // Only messages: there is no disk that could do its jobs.
            let _ = core.poll(&mut self.effects);
            for effect in std::mem::take(&mut self.effects) {
                if let (ReplicaEffect::Send { to, message }, Some(links)) = (effect, &mut self.setup.links) {
                    links.send(to, message);
                }
            }
        }
        self.admin.drain(..).for_each(|answer| drop(answer.send(Err(AdminError::Closed))));
        self.send_all(&AnswerFrame::NotLeader { leader: None });
        self.disk = None;
        ctx.run_later(REOPEN_AFTER, |this, ctx| this.open(ctx));
    }

    fn on_frame(&mut self, client: ClientId, frame: Frame, out: &mut Outbox) {
        let Some(core) = &mut self.core else {
            return out.entry(client).or_default().push(AnswerFrame::NotLeader { leader: None });
        };
        match frame {
            Frame::Request { request, what } => {
                let what = std::sync::Arc::unwrap_or_clone(what);
                core.on_request(unix_now(), client, request, what, &mut self.effects);
            }
            Frame::StaleRead { request, what } => match std::sync::Arc::unwrap_or_clone(what) {
                actinic_gcs::shard::Request::Read(read) => {
                    core.on_stale_read(client, request, read, &mut self.effects);
                }
                write => core.on_request(unix_now(), client, request, write, &mut self.effects),
            },
            Frame::Subscribe { subscription, filter, from } => {
                core.on_subscribe(client, subscription, filter, from, &mut self.effects);
            }
            Frame::Unsubscribe(subscription) => core.on_unsubscribe(client, subscription, &mut self.effects),
        }
    }

    /// Lets the core work, and carries out what it asks for, until nothing is left to be done here.
    fn work(&mut self, ctx: &mut Context<Self>) {
        let mut out = Outbox::new();
        self.work_into(&mut out, ctx);
        for (client, frames) in out {
            self.send(client, frames);
        }
    }

    fn work_into(&mut self, out: &mut Outbox, ctx: &mut Context<Self>) {
        loop {
            if let Some(core) = &mut self.core {
                if let Err(failure) = core.poll(&mut self.effects) {
                    return self.step_aside(&failure, ctx);
                }
            }
            for effect in std::mem::take(&mut self.effects) {
                self.carry_out(effect, out, ctx);
            }
            let Some(disk) = &mut self.disk else { return };
            // A disk in memory has done it all by now.
            match disk.work() {
                None => return,
                Some(report) => {
                    if !self.take_report(report, ctx) {
                        return;
                    }
                }
            }
        }
    }

    /// Takes what the disk has done; false where there is no replica any more.
    fn take_report(&mut self, report: DiskReport, ctx: &mut Context<Self>) -> bool {
        if report.opening != self.opening || self.disk.is_none() {
            return false;
        }
        if let Some(recovered) = report.opened {
            self.begin(recovered, ctx);
        }
        for done in report.done {
            if self.trouble.is_some() && matches!(done, DiskDone::Persisted(_)) {
                tracing::info!(shard = self.setup.index, "a replica of the control store is back");
                self.trouble = None;
            }
            let Some(core) = &mut self.core else { return false };
            if let Err(failure) = core.on_disk(done, &mut self.effects) {
                self.step_aside(&failure, ctx);
                return false;
            }
        }
        if let Some(failure) = report.failure {
            self.step_aside(&failure, ctx);
            return false;
        }
        true
    }

    fn carry_out(&mut self, effect: ReplicaEffect, out: &mut Outbox, ctx: &mut Context<Self>) {
        match effect {
            ReplicaEffect::Disk(job) => {
                if let Some(disk) = &mut self.disk {
                    disk.push(job);
                }
            }
            ReplicaEffect::Send { to, message } => {
                if let Some(links) = &mut self.setup.links {
                    links.send(to, message);
                }
            }
            ReplicaEffect::Client(effect) => {
                // Each time another one judges: one of them may be paused.
                self.judge = self.judge.wrapping_add(usize::from(matches!(effect, Effect::LeaseExpired { .. })));
                let judge = self.clients.keys().nth(self.judge % self.clients.len().max(1));
                if let Some((client, frame)) = addressed(effect, judge) {
                    out.entry(client).or_default().push(frame);
                }
            }
            ReplicaEffect::Refuse { client, request, error } => {
                let frame = match error {
                    RequestError::NotLeader { .. } => self.not_leader(),
                    error => AnswerFrame::Reply { request, outcome: Err(error) },
                };
                let frames = out.entry(client).or_default();
                if frames.last() != Some(&frame) {
                    frames.push(frame);
                }
            }
            ReplicaEffect::RefuseSubscription { client, .. } => {
                let frame = self.not_leader();
                out.entry(client).or_default().push(frame);
            }
            ReplicaEffect::Leader { leader, led, leads } => {
                tracing::debug!(shard = self.setup.index, ?leader, leads, "the control store's leader has changed");
                if led {
                    self.admin.drain(..).for_each(|answer| drop(answer.send(Err(AdminError::Unknown))));
                    let frame = self.not_leader();
                    self.clients.keys().for_each(|client| out.entry(*client).or_default().push(frame.clone()));
                }
            }
            ReplicaEffect::Members(members) => {
                if let Some(links) = &mut self.setup.links {
                    links.set_members(&members);
                }
                let addresses = members.values().filter(|address| !address.is_empty()).cloned().collect();
                let frame = AnswerFrame::Members(addresses);
                self.clients.keys().for_each(|client| out.entry(*client).or_default().push(frame.clone()));
                self.admin.drain(..).for_each(|answer| drop(answer.send(Ok(()))));
            }
            ReplicaEffect::Removed => {
                tracing::info!(shard = self.setup.index, "this replica was taken out of its group");
                self.send_all(&AnswerFrame::NotLeader { leader: None });
                ctx.stop();
            }
            other => tracing::error!(effect = ?other, "the shell does not know this effect of a replica"),
        }
    }

    fn not_leader(&self) -> AnswerFrame {
        let leader = self.core.as_ref().and_then(|core| {
            let leader = core.leader()?;
            core.addresses().get(&leader).cloned()
        });
        AnswerFrame::NotLeader { leader }
    }

    fn send(&self, client: ClientId, frames: Vec<AnswerFrame>) {
        if let Some(recipient) = self.clients.get(&client) {
            recipient.do_send(Answers { shard: self.setup.index, frames });
        }
    }

    fn send_all(&self, frame: &AnswerFrame) {
        self.clients.keys().for_each(|client| self.send(*client, vec![frame.clone()]));
    }

    fn status(&self) -> Option<ReplicaStatus> {
        self.core.as_ref().map(ReplicaCore::status)
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
    }
}

impl Handler<Ask> for GcsShard {
    type Result = ();

    fn handle(&mut self, ask: Ask, ctx: &mut Context<Self>) {
        let Ask { client, answers, frames } = ask;
        self.clients.insert(client, answers);
        let mut out = Outbox::new();
        for frame in frames {
            self.on_frame(client, frame, &mut out);
        }
        self.work_into(&mut out, ctx);
        for (client, frames) in out {
            self.send(client, frames);
        }
    }
}

impl Handler<ClientGone> for GcsShard {
    type Result = ();

    fn handle(&mut self, ClientGone(client): ClientGone, ctx: &mut Context<Self>) {
        self.clients.remove(&client);
        if let Some(core) = &mut self.core {
            core.on_client_gone(client, &mut self.effects);
        }
        self.work(ctx);
    }
}

impl Handler<FromPeer> for GcsShard {
    type Result = ();

    fn handle(&mut self, FromPeer { from, message }: FromPeer, ctx: &mut Context<Self>) {
        if let Some(core) = &mut self.core {
            core.on_message(from, message, &mut self.effects);
        }
        self.work(ctx);
    }
}

impl Handler<PeerGone> for GcsShard {
    type Result = ();

    fn handle(&mut self, PeerGone(peer): PeerGone, ctx: &mut Context<Self>) {
        if let Some(core) = &mut self.core {
            core.on_peer_gone(peer);
        }
        self.work(ctx);
    }
}

impl Handler<DiskReport> for GcsShard {
    type Result = ();

    fn handle(&mut self, report: DiskReport, ctx: &mut Context<Self>) {
        if self.take_report(report, ctx) {
            self.work(ctx);
        }
    }
}

impl Handler<ChangeMembers> for GcsShard {
    type Result = ResponseFuture<Result<(), AdminError>>;

    fn handle(&mut self, ChangeMembers(change): ChangeMembers, ctx: &mut Context<Self>) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        match self.core.as_mut().map(|core| core.change_members(&change)) {
            None => drop(answer.send(Err(AdminError::Closed))),
            Some(Err(error)) => drop(answer.send(Err(error.into()))),
            Some(Ok(())) => self.admin.push(answer),
        }
        self.work(ctx);
        Box::pin(async move { answered.await.unwrap_or(Err(AdminError::Closed)) })
    }
}

impl Handler<TransferLeadership> for GcsShard {
    type Result = ();

    fn handle(&mut self, TransferLeadership(to): TransferLeadership, ctx: &mut Context<Self>) {
        if let Some(core) = &mut self.core {
            core.transfer_leadership(to);
        }
        self.work(ctx);
    }
}

impl Handler<GetStatus> for GcsShard {
    type Result = Option<ReplicaStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Context<Self>) -> Self::Result {
        self.status()
    }
}

impl Handler<GetTrouble> for GcsShard {
    type Result = Option<String>;

    fn handle(&mut self, _: GetTrouble, _: &mut Context<Self>) -> Self::Result {
        self.trouble.clone()
    }
}
