//! Connections between clients and replicas.
//!
//! Owns: opening, breaking, and delivery in order. A connection breaks when either end does, when its link is cut, or for
//! no reason; what is under way is lost then, and each end notices by itself.

use actinic_gcs::{
    replica::ReplicaId,
    shard::{ClientId, RequestId},
    tables::Read,
};

use super::{
    event::{Event, ToClient, ToHost},
    host::Standing,
    network::Connection,
    plan::MILLISECOND,
    world::World,
};

impl World {
    /// Opens a connection; if nobody listens it breaks soon.
    pub(crate) fn connect(&mut self, client: usize, host: usize) -> usize {
        let (life, now) = (self.hosts[host].life, self.now);
        let connection = Connection { client, host, life, open: true, at_host: now, at_client: now };
        self.network.connections.push(connection);
        let connection = self.network.connections.len() - 1;
        if !self.hosts[host].is_running() {
            self.break_connection(connection);
        }
        connection
    }

    pub(crate) fn break_connection(&mut self, connection: usize) {
        if std::mem::replace(&mut self.network.connections[connection].open, false) {
            let (at_client, at_host) = (self.rng.range(1, 100) * MILLISECOND, self.rng.range(1, 300) * MILLISECOND);
            self.queue.push(self.now + at_client, Event::ClientLost { connection });
            self.queue.push(self.now + at_host, Event::HostLost { connection });
        }
    }

    fn carries(&mut self, connection: usize) -> bool {
        let Connection { client, host, open, .. } = self.network.connections[connection];
        let broken = self.rng.chance(self.network.weather.broken) || self.network.is_client_cut(client, host);
        if open && broken {
            self.break_connection(connection);
        }
        open && !broken
    }

    pub(crate) fn send_to_host(&mut self, connection: usize, message: ToHost) {
        if self.carries(connection) {
            let at = self.now + self.network.delay(&mut self.rng);
            let state = &mut self.network.connections[connection];
            state.at_host = state.at_host.max(at);
            self.queue.push(state.at_host, Event::ToHost { connection, message });
        }
    }

    /// Tells a client of a replica, if it is connected there.
    pub(crate) fn tell(&mut self, host: usize, client: ClientId, message: ToClient) {
        let process = self.hosts[host].process.as_ref();
        let Some(connection) = process.and_then(|process| process.clients.get(&client)).copied() else { return };
        if self.carries(connection) {
            let at = self.now + self.network.delay(&mut self.rng);
            let state = &mut self.network.connections[connection];
            state.at_client = state.at_client.max(at);
            self.queue.push(state.at_client, Event::ToClient { connection, message });
        }
    }

    pub(crate) fn at_host(&mut self, connection: usize, message: ToHost) {
        let Connection { client, host, life, open, .. } = self.network.connections[connection];
        if !open {
            return;
        }
        if self.hosts[host].life != life || !self.hosts[host].is_running() {
            return self.break_connection(connection);
        }
        let id = self.clients[client].id;
        self.accept(host, id, connection);
        let now = self.hosts[host].clock.now(self.now);
        self.checks.on_clock(now);
        self.feed(host, |core, effects| {
            match message {
                ToHost::Ask(request, what) => core.on_request(now, id, request, what, effects),
                ToHost::Subscribe(subscription, filter, from) => {
                    core.on_subscribe(id, subscription, filter, from, effects);
                }
                ToHost::Unsubscribe(subscription) => core.on_unsubscribe(id, subscription, effects),
            }
            Ok(())
        });
    }

    /// A connection is new: the one before it is gone, if it was not noticed yet.
    fn accept(&mut self, host: usize, client: ClientId, connection: usize) {
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        if process.clients.insert(client, connection).is_some_and(|before| before != connection) {
            self.feed(host, |core, effects| {
                core.on_client_gone(client, effects);
                Ok(())
            });
        }
    }

    pub(crate) fn host_lost(&mut self, connection: usize) {
        let Connection { client, host, life, .. } = self.network.connections[connection];
        let (id, same) = (self.clients[client].id, self.hosts[host].life == life);
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        if same && process.clients.get(&id) == Some(&connection) {
            process.clients.remove(&id);
            self.feed(host, |core, effects| {
                core.on_client_gone(id, effects);
                Ok(())
            });
        }
    }

    pub(crate) fn stale_read(&mut self, host: usize, client: usize, request: RequestId, read: Read) {
        let id = self.clients[client].id;
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        process.stale.insert((id, request), client);
        self.feed(host, |core, effects| {
            core.on_stale_read(id, request, read, effects);
            Ok(())
        });
    }

    /// Where a client turns to: to the leader if it was told one, else to anyone.
    pub(crate) fn whom_to_ask(&mut self, hint: Option<ReplicaId>) -> usize {
        let known = hint.and_then(|id| self.host_of(id));
        if let Some(host) = known.filter(|host| self.hosts[*host].standing != Standing::Gone) {
            return host;
        }
        let present = self.present();
        self.rng.pick(&present).unwrap_or(0)
    }
}
