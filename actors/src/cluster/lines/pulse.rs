//! Whether the other end of a line over a network is there.
//!
//! Owns: that judgement, and when to give a sign of life. A core: no clock, time is looks, about one a second, so a process
//! that was paused gives nobody up when it goes on. On one machine the system tells of the end of a connection, and nobody
//! asks for this. Over a network a connection may also be forgotten by what is between (a firewall, a NAT), unless something
//! goes over it now and then, or be cut without a word.
//!
//! Invariant: one who says something at least every [`SILENT_LOOKS_MAX`] looks is not given up.

/// Looks in a row without anything heard, after which the other end is given up: the silence after which its node would be.
pub const SILENT_LOOKS_MAX: u32 = 6;

/// What a look leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing.
    Well,
    /// To say that one lives.
    SayAlive,
    /// To give it up.
    GiveUp,
}

/// The state of one line.
#[derive(Debug, Default)]
pub struct Pulse {
    silent_looks: u32,
}

impl Pulse {
    /// A look: what was heard and said since the last one.
    pub fn on_look(&mut self, heard: bool, said: bool) -> Beat {
        self.silent_looks = if heard { 0 } else { self.silent_looks + 1 };
        match (self.silent_looks > SILENT_LOOKS_MAX, said) {
            (true, _) => Beat::GiveUp,
            (false, false) => Beat::SayAlive,
            (false, true) => Beat::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_says_nothing_gives_a_sign_of_life_and_one_who_is_not_heard_is_given_up() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.on_look(true, true), Beat::Well);
        assert_eq!(pulse.on_look(true, false), Beat::SayAlive);
        for _ in 0..SILENT_LOOKS_MAX {
            assert_ne!(pulse.on_look(false, true), Beat::GiveUp);
        }
        assert_eq!(pulse.on_look(false, true), Beat::GiveUp);
    }

    #[test]
    fn two_who_only_give_signs_of_life_keep_each_other() {
        let (mut one, mut other) = (Pulse::default(), Pulse::default());
        let (mut from_one, mut from_other) = (false, false);
        for _ in 0..100 {
            let beats = [one.on_look(from_other, false), other.on_look(from_one, false)];
            assert!(beats.iter().all(|beat| *beat == Beat::SayAlive));
            (from_one, from_other) = (true, true);
        }
    }
}
