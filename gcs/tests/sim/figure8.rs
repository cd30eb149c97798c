//! The Raft paper's figure 8, acted out.
//!
//! Owns: its steps. (a) A leader has an entry that nobody else has, and ends. (b) Another one leads, has an entry of its own
//! at that place that nobody else has, and ends. (c) The first leads again, and a majority gets its old entry; it ends
//! before they get a new one. (d) The second leads again, and its entry takes the place of the other. Whoever took the old
//! entry for committed in (c) has told a lie. Does not own when it happens, nor whether it succeeds: all else goes on.

use super::{event::Event, plan::MILLISECOND, world::World};

/// How far it has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure8 {
    /// Whoever leads next is the second.
    First { first: usize },
    /// The first is to lead again.
    Second { first: usize, second: usize },
}

impl World {
    /// (a): the leader is cut off, and writes on alone for a while.
    pub(crate) fn figure_8(&mut self, first: usize) {
        self.network.mend();
        self.network.isolate(first, self.hosts.len(), (true, true));
        self.figure8 = Some(Figure8::First { first });
        let ends = self.now + self.rng.range(5, 60) * MILLISECOND;
        self.queue.push(ends, Event::Crash { host: first });
        self.others_notice(first, ends + MILLISECOND);
        // However it goes.
        self.queue.push(ends + 2_000 * MILLISECOND, Event::Start { host: first });
        self.queue.push(ends + 2_000 * MILLISECOND, Event::Mend);
    }

    fn others_notice(&mut self, gone: usize, at: u64) {
        let peer = self.hosts[gone].id;
        for host in self.present().into_iter().filter(|host| *host != gone) {
            let life = self.hosts[host].life;
            self.queue.push(at, Event::PeerGone { host, life, peer });
        }
    }

    /// Somebody leads.
    pub(crate) fn figure_8_goes_on(&mut self, leader: usize) {
        match self.figure8 {
            _ if self.healed => self.figure8 = None,
            Some(Figure8::First { first }) if leader != first => {
                self.figure8 = Some(Figure8::Second { first, second: leader });
                self.second_leads(first, leader);
            }
            Some(Figure8::Second { first, second }) if leader == first => {
                self.figure8 = None;
                let ends = self.now + self.rng.range(500, 8_000);
                let again = ends + self.rng.range(1, 5) * MILLISECOND;
                self.queue.push(ends, Event::Crash { host: first });
                self.queue.push(again, Event::Start { host: second });
                self.others_notice(first, again + MILLISECOND);
                for after in [5, 40, 80] {
                    self.queue.push(again + after * MILLISECOND, Event::Stand { host: second });
                }
            }
            _ => {}
        }
    }

    /// (b): nobody hears of it; then it ends, and the first is there again.
    fn second_leads(&mut self, first: usize, second: usize) {
        self.network.mend();
        self.network.isolate(second, self.hosts.len(), (true, true));
        let ends = self.now + self.rng.range(10, 40) * MILLISECOND;
        self.queue.push(ends, Event::Crash { host: second });
        self.queue.push(ends, Event::Mend);
        self.queue.push(ends, Event::Start { host: first });
        self.others_notice(second, ends + MILLISECOND);
        for after in [5, 40, 80] {
            self.queue.push(ends + after * MILLISECOND, Event::Stand { host: first });
        }
    }
}
