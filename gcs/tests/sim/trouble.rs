//! What goes wrong, and when it is well again.
//!
//! Owns: each kind of trouble. Does not own how often each comes (`plan`). Invariant: after [`World::heal`] nothing goes
//! wrong any more, and all that was wrong ends within two seconds.

use actinic_gcs::Millis;

use super::{
    event::Event,
    host::Standing,
    plan::{Trouble, Weather, MILLISECOND},
    world::World,
};

/// So many clients end, of those that a world begins with.
const CLIENT_CRASHES_MAX: usize = 3;

impl World {
    pub(crate) fn trouble(&mut self) {
        if self.healed {
            return;
        }
        let every = self.plan.trouble_every_us;
        let next = self.now + self.rng.range(every / 2, every * 3 / 2);
        self.queue.push(next, Event::Trouble);
        let weights: Vec<u64> = self.plan.troubles.iter().map(|(_, weight)| *weight).collect();
        let (trouble, _) = self.plan.troubles[self.rng.weighted(&weights)];
        let Some(host) = self.any_host() else { return };
        let leader = self.leader().unwrap_or(host);
        self.say(|| format!("{trouble:?}"));
        match trouble {
            Trouble::Crash => self.crash_for_a_while(host),
            Trouble::CrashLeader => self.crash_for_a_while(leader),
            Trouble::PowerCut => self.present().into_iter().for_each(|host| self.crash_for_a_while(host)),
            Trouble::Partition => self.partition(),
            Trouble::IsolateLeader => self.isolate(leader),
            Trouble::Pause => {
                let host = if self.rng.chance(400) { leader } else { host };
                self.hosts[host].paused_until = self.now + self.rng.range(20, 1_500) * MILLISECOND;
            }
            Trouble::DiskSlow => self.hosts[host].disk_slow_until = self.now + self.rng.range(100, 1_500) * MILLISECOND,
            Trouble::DiskFull => {
                self.hosts[host].device.borrow_mut().full = true;
                let again = self.now + self.rng.range(50, 1_000) * MILLISECOND;
                self.queue.push(again, Event::DiskEmptied { host });
            }
            Trouble::Clock => self.set_clock(host),
            Trouble::Weather => self.change_weather(),
            Trouble::Transfer => self.transfer(leader, host),
            Trouble::Stand => self.queue.push(self.now, Event::Stand { host }),
            Trouble::FalseReset => self.false_reset(host, leader),
            Trouble::ClientCrash => self.some_client_crashes(),
            Trouble::CutClient => {
                let client = self.rng.index(self.clients.len());
                self.network.cut_client(client, if self.rng.chance(500) { leader } else { host });
                self.mend_later();
            }
            Trouble::Members => self.change_members(),
            Trouble::Figure8 => self.figure_8(leader),
            Trouble::Rivals => self.rivals(leader),
        }
    }

    fn any_host(&mut self) -> Option<usize> {
        let present = self.present();
        self.rng.pick(&present)
    }

    fn crash_for_a_while(&mut self, host: usize) {
        self.crash(host);
        let again = if self.rng.chance(500) { self.rng.range(1, 100) } else { self.rng.range(1, 2_000) };
        self.queue.push(self.now + again * MILLISECOND, Event::Start { host });
    }

    fn mend_later(&mut self) {
        let after = self.rng.range(50, 2_000) * MILLISECOND;
        self.queue.push(self.now + after, Event::Mend);
    }

    /// Two groups that do not hear each other, or of which one does not hear the other.
    fn partition(&mut self) {
        let sides: Vec<bool> = self.hosts.iter().map(|_| self.rng.chance(500)).collect();
        let (there, back) = self.rng.pick(&[(true, true), (true, true), (true, false)]).unwrap_or((true, true));
        for from in 0..sides.len() {
            for to in 0..sides.len() {
                if sides[from] && !sides[to] {
                    if there {
                        self.network.cut(from, to);
                    }
                    if back {
                        self.network.cut(to, from);
                    }
                }
            }
        }
        self.mend_later();
    }

    fn isolate(&mut self, host: usize) {
        let ways = self.rng.pick(&[(true, true), (true, true), (true, false), (false, true)]).unwrap_or((true, true));
        self.network.isolate(host, self.hosts.len(), ways);
        if self.rng.chance(300) {
            (0..self.clients.len()).for_each(|client| self.network.cut_client(client, host));
        }
        self.mend_later();
    }

    fn set_clock(&mut self, host: usize) {
        let rate = self.rng.range(1_000 - self.plan.drift, 1_000 + self.plan.drift);
        let clock = &mut self.hosts[host].clock;
        let now = clock.now(self.now).0;
        let to = match self.rng.below(3) {
            0 => now,
            1 => now + self.rng.below(60_000),
            _ => now - self.rng.below(60_000),
        };
        clock.set(self.now, Millis(to), rate);
    }

    fn change_weather(&mut self) {
        let mut weather = self.plan.weather.clone();
        weather.lost = self.rng.pick(&[0, weather.lost, 300]).unwrap_or(0);
        weather.late = self.rng.pick(&[0, weather.late, 100]).unwrap_or(0);
        weather.doubled = self.rng.pick(&[0, weather.doubled, 200]).unwrap_or(0);
        self.network.weather = weather;
    }

    fn transfer(&mut self, leader: usize, host: usize) {
        let to = self.rng.chance(700).then(|| self.hosts[host].id);
        self.feed(leader, |core, _| {
            core.transfer_leadership(to);
            Ok(())
        });
    }

    /// A connection is reset, and nobody has ended.
    fn false_reset(&mut self, host: usize, leader: usize) {
        let peer = self.hosts[leader].id;
        if host != leader {
            self.feed(host, |core, _| {
                core.on_peer_gone(peer);
                Ok(())
            });
        }
    }

    fn some_client_crashes(&mut self) {
        let begun = self.plan.clients + self.plan.watchers;
        let living: Vec<usize> =
            (0..self.clients.len()).filter(|at| self.clients[*at].busy || self.clients[*at].watch.is_some()).collect();
        if self.clients.len() < begun + CLIENT_CRASHES_MAX {
            if let Some(client) = self.rng.pick(&living) {
                self.crash_client(client);
            }
        }
    }

    /// Two who do not hear of each other stand for election, one a little later; who may vote for both ends in between,
    /// and comes back at once.
    fn rivals(&mut self, leader: usize) {
        let others: Vec<usize> = self.present().into_iter().filter(|host| *host != leader).collect();
        let (Some(first), Some(second)) = (self.rng.pick(&others), self.rng.pick(&others)) else { return };
        self.network.mend();
        self.network.cut(first, second);
        self.network.cut(second, first);
        let stands = self.now + self.rng.range(2, 8) * MILLISECOND;
        let again = stands + self.rng.range(1, 20) * MILLISECOND;
        let late = again + self.rng.range(1, 30) * MILLISECOND;
        for voter in self.present().into_iter().filter(|host| *host != first && *host != second) {
            for at in [self.now, again] {
                self.queue.push(at, Event::Crash { host: voter });
                self.queue.push(at + MILLISECOND, Event::Start { host: voter });
            }
        }
        self.queue.push(stands, Event::Stand { host: first });
        self.queue.push(late, Event::Stand { host: second });
        self.queue.push(late + 100 * MILLISECOND, Event::Mend);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&mut self) {
        self.say(|| "all is well".to_owned());
        self.healed = true;
        self.network.mend();
        self.network.weather = Weather { delay_us: (100, 1_000), late: 0, lost: 0, doubled: 0, broken: 0 };
        for host in 0..self.hosts.len() {
            let state = &mut self.hosts[host];
            (state.paused_until, state.disk_slow_until) = (0, 0);
            state.device.borrow_mut().full = false;
            let now = state.clock.now(self.now);
            state.clock.set(self.now, now, 1_000);
            if state.standing == Standing::Member {
                self.start(host);
            }
        }
        self.clients.iter_mut().for_each(|client| client.busy = false);
    }
}
