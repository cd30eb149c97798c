//! The shell of a simulated replica: what it does with the core's effects and the disk's.
//!
//! Owns: sending, the queue of the disk, and who is told of what, as a real shell would do it. Holds no decisions but how
//! long things take.

use actinic_gcs::{
    replica::{DiskDone, DiskJob, PeerMessage, ReplicaEffect, ReplicaId},
    shard::{ClientId, Effect, RequestError, RequestId},
    tables::Reply,
};
use raft::eraftpb::MessageType;

use super::{
    event::{Event, ToClient, ToWatcher},
    host::Standing,
    plan::MILLISECOND,
    world::World,
};

/// Disk runs between two looks at everything that a disk holds.
const LOOK_EVERY: u64 = 64;

impl World {
    pub(crate) fn carry_out(&mut self, host: usize, effect: ReplicaEffect) {
        match effect {
            ReplicaEffect::Send { to, message } => self.send(host, to, &message),
            ReplicaEffect::Disk(job) => {
                let (life, at) = (self.hosts[host].life, self.now + self.rng.range(10, 200));
                let Some(process) = self.hosts[host].process.as_mut() else { return };
                process.jobs.push_back(job);
                if !process.disk_busy {
                    process.disk_busy = true;
                    self.queue.push(at, Event::DiskRun { host, life });
                }
            }
            ReplicaEffect::Client(effect) => self.tell_client(host, effect),
            ReplicaEffect::Refuse { client, request, error } => self.answer(host, client, request, Err(error)),
            ReplicaEffect::RefuseSubscription { client, subscription } => {
                let leader = self.hosts[host].process.as_ref().and_then(|process| process.core.leader());
                self.tell(host, client, ToClient::Watch(subscription, ToWatcher::Refused { leader }));
            }
            ReplicaEffect::Leader { leader, led, leads } => {
                let id = self.hosts[host].id;
                self.say(|| format!("{id} knows of {leader:?}, led {led}, leads {leads}"));
                if leads {
                    self.figure_8_goes_on(host);
                }
                let Some(process) = self.hosts[host].process.as_ref() else { return };
                let clients: Vec<ClientId> = process.clients.keys().copied().collect();
                for client in clients {
                    self.tell(host, client, ToClient::Leader { leader, led });
                }
            }
            ReplicaEffect::Members(members) => {
                self.say(|| format!("{} is told of {:?}", self.hosts[host].id, members.keys()));
                self.hosts[host].members = members;
            }
            ReplicaEffect::Removed => {
                self.say(|| format!("{} is told that it was removed", self.hosts[host].id));
                if self.rng.chance(700) {
                    self.hosts[host].standing = Standing::Gone;
                }
            }
            other => self.checks.fail("every effect is known", format!("{other:?}")),
        }
    }

    fn send(&mut self, host: usize, to: ReplicaId, message: &PeerMessage) {
        if let PeerMessage::Raft(message) = message {
            if matches!(message.get_msg_type(), MessageType::MsgAppend | MessageType::MsgHeartbeat) {
                self.checks.on_leader(message.term, self.hosts[host].id);
            }
        }
        let Some(other) = self.host_of(to) else {
            return self.checks.fail("messages go to replicas", format!("{message:?} to {to}"));
        };
        if self.network.is_cut(host, other) {
            return;
        }
        let (first, second) = self.network.copies(&mut self.rng);
        let bytes = message.encode();
        if let Some(after) = second {
            self.queue.push(self.now + after, Event::Peer { host: other, from: host, bytes: bytes.clone() });
        }
        if let Some(after) = first {
            self.queue.push(self.now + after, Event::Peer { host: other, from: host, bytes });
        }
    }

    fn tell_client(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Reply { client, request, outcome, .. } => self.answer(host, client, request, outcome),
            Effect::Subscribed { client, subscription, sequence, .. } => {
                self.tell(host, client, ToClient::Watch(subscription, ToWatcher::Subscribed(sequence)));
            }
            Effect::ResyncNeeded { client, subscription, sequence, .. } => {
                self.tell(host, client, ToClient::Watch(subscription, ToWatcher::Resync(sequence)));
            }
            Effect::Notify { client, subscription, change, .. } => {
                self.tell(host, client, ToClient::Watch(subscription, ToWatcher::Notify(change)));
            }
            other => self.checks.fail("every effect is known", format!("{other:?}")),
        }
    }

    fn answer(&mut self, host: usize, client: ClientId, request: RequestId, answer: Result<Reply, RequestError>) {
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        if let Some(client) = process.stale.remove(&(client, request)) {
            let at = self.now + self.network.delay(&mut self.rng);
            return self.queue.push(at, Event::StaleAnswer { client, request, answer });
        }
        self.tell(host, client, ToClient::Answer(request, answer));
    }

    // --- the disk --------------------------------------------------------------------------------------------------

    /// The disk does what has come together; its fsync follows.
    pub(crate) fn disk_run(&mut self, host: usize) {
        let few = self.rng.chance(100);
        let (id, life) = (self.hosts[host].id, self.hosts[host].life);
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        let len = if few { 1.min(process.jobs.len()) } else { process.jobs.len() };
        let jobs: Vec<DiskJob> = process.jobs.drain(..len).collect();
        let writes = jobs.iter().any(|job| matches!(job, DiskJob::Append { .. } | DiskJob::Install { .. }));
        jobs.iter().for_each(|job| self.checks.on_job(id, job));
        let mut done = Vec::new();
        let ran = process.disk.run(jobs, &mut done);
        process.disk_runs += 1;
        let look = process.disk_runs % LOOK_EVERY == 0;
        self.tell_core(host, done);
        if let Err(error) = ran {
            return self.replica_failed(host, &error);
        }
        if look {
            self.look_at_disk(host);
        }
        let takes = if writes { self.fsync_us(host) } else { self.rng.range(1, 50) };
        self.queue.push(self.now + takes, Event::DiskFlush { host, life });
    }

    pub(crate) fn disk_flush(&mut self, host: usize) {
        let life = self.hosts[host].life;
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        let mut done = Vec::new();
        let flushed = process.disk.flush(&mut done);
        process.disk_busy = !process.jobs.is_empty();
        if process.disk_busy {
            self.queue.push(self.now + self.rng.range(10, 300), Event::DiskRun { host, life });
        }
        self.tell_core(host, done);
        if let Err(error) = flushed {
            self.replica_failed(host, &error);
        }
    }

    pub(crate) fn look_at_disk(&mut self, host: usize) {
        let Some(process) = self.hosts[host].process.as_ref() else { return };
        if let Err(error) = process.disk.sanity_check() {
            let detail = format!("{}: {error:?}", self.hosts[host].id);
            self.checks.fail("a disk can be read", detail);
        }
    }

    fn fsync_us(&mut self, host: usize) -> u64 {
        let (least, most) = self.plan.fsync_us;
        let usual = self.rng.range(least, most);
        if self.now < self.hosts[host].disk_slow_until {
            usual + self.rng.below(300 * MILLISECOND)
        } else if !self.healed && self.rng.chance(self.plan.fsync_slow) {
            usual + self.rng.below(800 * MILLISECOND)
        } else {
            usual
        }
    }

    /// Brings the disk's words to the core, in their order.
    fn tell_core(&mut self, host: usize, done: Vec<DiskDone>) {
        let life = self.hosts[host].life;
        let after = self.rng.range(5, 100);
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        process.told_at = process.told_at.max(self.now + after);
        if !done.is_empty() {
            self.queue.push(process.told_at, Event::DiskTold { host, life, done });
        }
    }

    pub(crate) fn disk_told(&mut self, host: usize, done: Vec<DiskDone>) {
        for done in done {
            self.feed(host, |core, effects| core.on_disk(done, effects));
        }
    }
}
