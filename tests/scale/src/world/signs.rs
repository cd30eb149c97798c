//! Signs of life between nodes.
//!
//! Owns: how many there are. A connection over TCP says something at least every second, so that its other end knows that it
//! lives (`cluster/peer.rs`, `gcs_net/outbox.rs`): where nothing has gone one way for a second, an empty frame goes. All nodes
//! are connected, each to each, so these are N² a second where nobody has anything to say. They change nothing here, since a
//! connection is cut by a fault and not by silence; so they are no events, but counted from what was said and when.

use rustc_hash::FxHashMap;

use super::World;
use crate::{meter::Count, model::MS};

/// Without a word for so long, as `SIGN_OF_LIFE` in `cluster/peer.rs`.
const QUIET_NS: u64 = 1_000 * MS;
/// An empty frame: its length.
const SIGN_BYTES: u64 = 4;

/// What was said last on each way of each connection, and the signs that were given before.
#[derive(Debug, Default)]
pub(super) struct Signs {
    since: u64,
    said: FxHashMap<(u32, u32), u64>,
    given: u64,
    at_head: u64,
}

impl Signs {
    /// Something goes from one node to another.
    pub(super) fn on_word(&mut self, now: u64, from: u32, to: u32) {
        let quiet = now.saturating_sub(self.said.insert((from, to), now).unwrap_or(self.since));
        self.given += quiet / QUIET_NS;
        self.at_head += if to == 0 { quiet / QUIET_NS } else { 0 };
    }
}

impl World {
    /// Counts from now on.
    pub(crate) fn count_signs(&mut self) {
        self.signs = Signs { since: self.now, ..Signs::default() };
    }

    /// The signs of life of all nodes since then, and those that the head has heard.
    pub(crate) fn signs_of_life(&self) -> [Count; 2] {
        let Signs { since, said, given, at_head } = &self.signs;
        let (mut all, mut head) = (*given, *at_head);
        for (from, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.alive) {
            for to in node.hub.keys() {
                let last = said.get(&(from as u32, *to)).unwrap_or(since);
                let quiet = self.now.saturating_sub(*last) / QUIET_NS;
                all += quiet;
                head += if *to == 0 { quiet } else { 0 };
            }
        }
        [all, head].map(|frames| Count { frames, bytes: frames * SIGN_BYTES })
    }
}
