//! The network between replicas, and the connections of clients.
//!
//! Owns: which links are cut, how long a message takes, whether it is lost or doubled; and connections, which deliver in
//! order until they break. Messages between replicas have no order at all.

use std::collections::BTreeSet;

use super::{plan::Weather, rng::Rng};

/// A connection of a client to one life of a replica.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) client: usize,
    pub(crate) host: usize,
    pub(crate) life: u64,
    pub(crate) open: bool,
    /// When the last message so far arrives, on either side.
    pub(crate) at_host: u64,
    pub(crate) at_client: u64,
}

/// The links.
pub(crate) struct Network {
    pub(crate) weather: Weather,
    /// One direction each.
    cut: BTreeSet<(usize, usize)>,
    cut_clients: BTreeSet<(usize, usize)>,
    pub(crate) connections: Vec<Connection>,
}

impl Network {
    pub(crate) fn new(weather: Weather) -> Self {
        Self { weather, cut: BTreeSet::new(), cut_clients: BTreeSet::new(), connections: Vec::new() }
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(crate) fn is_client_cut(&self, client: usize, host: usize) -> bool {
        self.cut_clients.contains(&(client, host))
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub(crate) fn cut_client(&mut self, client: usize, host: usize) {
        self.cut_clients.insert((client, host));
    }

    /// Cuts a replica off from all others, in one direction or both.
    pub(crate) fn isolate(&mut self, host: usize, hosts: usize, (from, to): (bool, bool)) {
        for other in (0..hosts).filter(|other| *other != host) {
            if from {
                self.cut(host, other);
            }
            if to {
                self.cut(other, host);
            }
        }
    }

    pub(crate) fn mend(&mut self) {
        self.cut.clear();
        self.cut_clients.clear();
    }

    /// How long a message takes.
    pub(crate) fn delay(&self, rng: &mut Rng) -> u64 {
        let (least, most) = self.weather.delay_us;
        let usual = rng.range(least, most.max(least));
        if rng.chance(self.weather.late) {
            usual + rng.below(400_000)
        } else {
            usual
        }
    }

    /// When the copies of a message between replicas arrive.
    pub(crate) fn copies(&self, rng: &mut Rng) -> (Option<u64>, Option<u64>) {
        if rng.chance(self.weather.lost) {
            return (None, None);
        }
        let first = self.delay(rng);
        let second = rng.chance(self.weather.doubled).then(|| self.delay(rng) + rng.below(50_000));
        (Some(first), second)
    }
}
