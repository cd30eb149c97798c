//! The simulated world: machines, network, clients, and the one queue of what happens.
//!
//! Owns: virtual time, the trace, and which part of the world an event goes to. Does not own what goes wrong (`trouble`),
//! what clients want (`client`), or how it ends (`finish`). Invariants: nothing happens but by an event of the queue; all
//! chance comes from the seed.

use actinic_gcs::{
    replica::{Addresses, Bootstrap, PeerMessage, ReplicaCore, ReplicaEffect, ReplicaFailed, ReplicaId},
    shard::ShardFailed,
    store::StoreError,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    checks::Checks,
    client::Client,
    event::{Event, Queue},
    figure8::Figure8,
    host::{Clock, Host, Standing},
    members::Admin,
    network::Network,
    plan::{Plan, MILLISECOND},
    rng::Rng,
};

/// A world.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) queue: Queue,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) clients: Vec<Client>,
    pub(crate) admin: Admin,
    pub(crate) figure8: Option<Figure8>,
    pub(crate) checks: Checks,
    /// Whether faults have stopped.
    pub(crate) healed: bool,
    /// Grows with each call and answer of a client.
    pub(crate) moment: u64,
    pub(crate) values: u32,
    pub(crate) hash: u64,
    pub(crate) loud: bool,
}

impl World {
    pub(crate) fn new(plan: Plan, loud: bool) -> Self {
        let mut rng = Rng::new(plan.seed);
        let ids: Vec<ReplicaId> = (1..=plan.replicas as u64).map(|at| ReplicaId(plan.ids_from + at)).collect();
        let founders: Addresses = ids.iter().map(|id| (*id, format!("host {}", id.0))).collect();
        let host = |rng: &mut Rng, id| Host::new(id, Bootstrap::Found(founders.clone()), Clock::new(rng, plan.drift));
        let hosts: Vec<Host> = ids.into_iter().map(|id| host(&mut rng, id)).collect();
        let mut world = Self {
            network: Network::new(plan.weather.clone()),
            rng,
            now: 0,
            queue: Queue::default(),
            hosts,
            clients: Vec::new(),
            admin: Admin::default(),
            figure8: None,
            checks: Checks::default(),
            healed: false,
            moment: 0,
            values: 0,
            hash: plan.seed,
            loud,
            plan,
        };
        for host in 0..world.hosts.len() {
            let at = world.rng.below(20 * MILLISECOND);
            world.queue.push(at, Event::Start { host });
        }
        let (clients, watchers) = (world.plan.clients, world.plan.watchers);
        (0..clients).for_each(|_| world.add_client(false));
        (0..watchers).for_each(|_| world.add_client(true));
        let first = world.rng.range(100, 600) * MILLISECOND;
        world.queue.push(first, Event::Trouble);
        world
    }

    /// Lets the world go on until `end`, or until a check fails.
    pub(crate) fn run_until(&mut self, end: u64) {
        while self.checks.failure.is_none() {
            let Some(planned) = self.queue.pop(end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(planned.at);
            let until = self.host_of_event(&planned.event).map_or(0, |host| self.hosts[host].paused_until);
            if until > self.now {
                self.queue.put_off(until, planned);
            } else {
                self.note(&planned.event);
                self.happen(*planned.event);
            }
        }
    }

    /// The machine whose process an event is for.
    fn host_of_event(&self, event: &Event) -> Option<usize> {
        match event {
            Event::ToHost { connection, .. } | Event::HostLost { connection } => {
                Some(self.network.connections[*connection].host)
            }
            other => other.host(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { host, life } => self.tick(host, life),
            Event::Poll { host, life } if self.lives(host, life) => self.poll(host),
            Event::Peer { host, from, bytes } => self.peer(host, from, &bytes),
            Event::PeerGone { host, life, peer } if self.lives(host, life) => {
                self.feed(host, |core, _| {
                    core.on_peer_gone(peer);
                    Ok(())
                });
            }
            Event::DiskRun { host, life } if self.lives(host, life) => self.disk_run(host),
            Event::DiskFlush { host, life } if self.lives(host, life) => self.disk_flush(host),
            Event::DiskTold { host, life, done } if self.lives(host, life) => self.disk_told(host, done),
            Event::Poll { .. }
            | Event::PeerGone { .. }
            | Event::DiskRun { .. }
            | Event::DiskFlush { .. }
            | Event::DiskTold { .. } => {}
            Event::Start { host } => self.start(host),
            Event::ToHost { connection, message } => self.at_host(connection, message),
            Event::ToClient { connection, message } => self.at_client(connection, message),
            Event::HostLost { connection } => self.host_lost(connection),
            Event::ClientLost { connection } => self.client_lost(connection),
            Event::StaleRead { host, client, request, read } => self.stale_read(host, client, request, read),
            Event::StaleAnswer { client, request, answer } => self.stale_answer(client, request, &answer),
            Event::ClientWakes { client } => self.client_wakes(client),
            Event::Trouble => self.trouble(),
            Event::Mend => self.network.mend(),
            Event::DiskEmptied { host } => self.hosts[host].device.borrow_mut().full = false,
            Event::Crash { host } if !self.healed => self.crash(host),
            Event::Crash { .. } => {}
            Event::Stand { host } => self.feed(host, |core, _| {
                core.stand();
                Ok(())
            }),
        }
    }

    fn note(&mut self, event: &Event) {
        self.checks.counts.events += 1;
        let place = event.host().unwrap_or(usize::MAX) as u64;
        let what = match event {
            Event::Peer { bytes, .. } => bytes,
            _ => &Vec::new(),
        };
        self.hash = xxh3_64_with_seed(what, self.hash ^ self.now.rotate_left(20) ^ place);
        if self.loud {
            println!("{:>10} µs  {}", self.now, event.describe());
        }
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.loud {
            println!("{:>10} µs  == {}", self.now, what());
        }
    }

    /// Whether this life of a process goes on.
    fn lives(&self, host: usize, life: u64) -> bool {
        self.hosts[host].is_running() && self.hosts[host].life == life
    }

    pub(crate) fn start(&mut self, host: usize) {
        let was_running = self.hosts[host].is_running();
        let started = self.hosts[host].start(&self.plan);
        let life = self.hosts[host].life;
        match started {
            Err(error) => self.replica_failed(host, &error),
            Ok(()) if !was_running && self.hosts[host].is_running() => {
                self.queue.push(self.now, Event::Poll { host, life });
                self.queue.push(self.now + self.rng.below(self.plan.tick_us), Event::Tick { host, life });
            }
            Ok(()) => {}
        }
    }

    fn tick(&mut self, host: usize, life: u64) {
        if !self.lives(host, life) {
            return;
        }
        let now = self.hosts[host].clock.now(self.now);
        self.checks.on_clock(now);
        self.feed(host, |core, effects| {
            core.on_tick(now, effects);
            Ok(())
        });
        let next = self.now + self.plan.tick_us * 1_000 / self.hosts[host].clock.rate;
        self.queue.push(next, Event::Tick { host, life });
    }

    fn peer(&mut self, host: usize, from: usize, bytes: &[u8]) {
        if self.network.is_cut(from, host) || !self.hosts[host].is_running() {
            return;
        }
        match PeerMessage::decode(bytes) {
            Ok(message) => {
                let from = self.hosts[from].id;
                self.feed(host, |core, effects| {
                    core.on_message(from, message, effects);
                    Ok(())
                });
            }
            Err(error) => self.checks.fail("messages can be read", error.to_string()),
        }
    }

    /// Gives a core an event, and sooner or later carries out what it makes of it.
    pub(crate) fn feed(
        &mut self,
        host: usize,
        event: impl FnOnce(&mut ReplicaCore, &mut Vec<ReplicaEffect>) -> Result<(), ReplicaFailed>,
    ) {
        let late = self.rng.chance(self.plan.late_poll);
        let life = self.hosts[host].life;
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        if let Err(error) = event(&mut process.core, &mut process.effects) {
            return self.replica_failed(host, &error);
        }
        if !late {
            self.poll(host);
        } else if !process.poll_due {
            process.poll_due = true;
            let at = self.now + self.rng.below(3 * MILLISECOND);
            self.queue.push(at, Event::Poll { host, life });
        }
    }

    fn poll(&mut self, host: usize) {
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        process.poll_due = false;
        let polled = process.core.poll(&mut process.effects);
        if self.plan.fault.is_none() {
            process.core.sanity_check();
        }
        let mut effects = std::mem::take(&mut process.effects);
        for effect in effects.drain(..) {
            self.carry_out(host, effect);
        }
        if let Some(process) = self.hosts[host].process.as_mut() {
            process.effects = effects;
        }
        if let Err(error) = polled {
            self.replica_failed(host, &error);
        }
    }

    /// A replica must stop: because its disk failed, which it may.
    pub(crate) fn replica_failed(&mut self, host: usize, error: &ReplicaFailed) {
        let by_disk = matches!(
            error,
            ReplicaFailed::Store(StoreError::Io { .. })
                | ReplicaFailed::Shard(ShardFailed::Store(StoreError::Io { .. }))
        );
        if !by_disk {
            let detail = format!("{}: {error:?}", self.hosts[host].id);
            return self.checks.fail("a replica fails by its disk only", detail);
        }
        self.checks.counts.disk_failures += 1;
        self.crash(host);
        let after = self.rng.range(20, 500) * MILLISECOND;
        self.queue.push(self.now + after, Event::Start { host });
    }

    /// Ends a process. Most of its peers notice at once.
    pub(crate) fn crash(&mut self, host: usize) {
        if !self.hosts[host].is_running() {
            return;
        }
        self.say(|| format!("{} crashes", self.hosts[host].id));
        self.checks.counts.crashes += 1;
        for connection in self.hosts[host].crash(&mut self.rng) {
            self.break_connection(connection);
        }
        let peer = self.hosts[host].id;
        let noticed = self.rng.chance(700);
        for other in 0..self.hosts.len() {
            if noticed && other != host && !self.network.is_cut(host, other) && self.rng.chance(900) {
                let (at, life) = (self.now + self.network.delay(&mut self.rng), self.hosts[other].life);
                self.queue.push(at, Event::PeerGone { host: other, life, peer });
            }
        }
    }

    /// The replica that leads, as far as anyone knows: the one of the highest term.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leading = self.hosts.iter().enumerate().filter(|(_, host)| host.leads());
        let term = |host: &Host| host.process.as_ref().map(|process| process.core.status().term);
        leading.max_by_key(|(_, host)| term(host)).map(|(at, _)| at)
    }

    pub(crate) fn host_of(&self, id: ReplicaId) -> Option<usize> {
        self.hosts.iter().position(|host| host.id == id)
    }

    /// Machines that are not shut down for ever.
    pub(crate) fn present(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|at| self.hosts[*at].standing != Standing::Gone).collect()
    }
}
