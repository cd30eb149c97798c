//! Dead letters: what could not be delivered, kept to be seen.
//!
//! Owns: a bounded ring of the latest dead letters and a count for each reason. Does not own: delivering or answering
//! anything. Invariant: an old letter makes room for a new one, but a count never goes down; texts are cut to a bound.

use std::collections::VecDeque;

use actinic_gcs::ActorId;
use serde::{Deserialize, Serialize};

/// What a mailbox does with a message when it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OverflowPolicy {
    /// The caller gets an error.
    #[default]
    Reject,
    /// The message that came last is dropped.
    DropNewest,
    /// The message that waited longest is dropped.
    DropOldest,
    /// The caller waits for room; a dead letter if it gave up waiting.
    Wait,
}

/// Why a message was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// Its actor was dead.
    ActorDead,
    /// Its actor's mailbox was full.
    MailboxFull {
        /// What that mailbox does then.
        policy: OverflowPolicy,
    },
    /// It waited in the mailbox of an actor that was restarted, and may not be tried again.
    DroppedAtRestart,
    /// It waited while its node or job was shut down.
    DroppedAtShutdown,
    /// Its caller cancelled it, or went away.
    DroppedByCaller,
    /// Its deadline passed before it was its turn.
    Expired,
}

impl DeadLetterReason {
    /// Every reason, in the order of their counts.
    pub const ALL: [Self; 9] = [
        Self::ActorDead,
        Self::MailboxFull { policy: OverflowPolicy::Reject },
        Self::MailboxFull { policy: OverflowPolicy::DropNewest },
        Self::MailboxFull { policy: OverflowPolicy::DropOldest },
        Self::MailboxFull { policy: OverflowPolicy::Wait },
        Self::DroppedAtRestart,
        Self::DroppedAtShutdown,
        Self::DroppedByCaller,
        Self::Expired,
    ];

    fn slot(self) -> usize {
        match self {
            Self::ActorDead => 0,
            Self::MailboxFull { policy } => 1 + policy as usize,
            Self::DroppedAtRestart => 5,
            Self::DroppedAtShutdown => 6,
            Self::DroppedByCaller => 7,
            Self::Expired => 8,
        }
    }
}

/// One message that was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// For whom it was.
    pub actor: ActorId,
    /// The method called, or the message's type.
    pub message: String,
    /// The id of the calling task, as text; empty if there was none.
    pub caller: String,
    /// Why it was not delivered.
    pub reason: DeadLetterReason,
}

/// The latest dead letters, and how many there were of each reason.
///
/// ```
/// # use actinic_gcs::ActorId;
/// # use actinic_actors::supervision::{DeadLetter, DeadLetterReason, DeadLetters};
/// let mut letters = DeadLetters::new(2);
/// for n in 0..3 {
///     let message = format!("call {n}");
///     letters.push(DeadLetter { actor: ActorId(7), message, caller: String::new(), reason: DeadLetterReason::Expired });
/// }
/// assert_eq!(letters.iter().map(|letter| letter.message.as_str()).collect::<Vec<_>>(), ["call 1", "call 2"]);
/// assert_eq!(letters.count(DeadLetterReason::Expired), 3);
/// ```
#[derive(Clone, Debug)]
pub struct DeadLetters {
    ring: VecDeque<DeadLetter>,
    capacity: usize,
    counts: [u64; DeadLetterReason::ALL.len()],
}

impl DeadLetters {
    /// The most bytes kept of a message's name and of a caller's id.
    pub const TEXT_BYTES_MAX: usize = 256;

    /// Keeps the latest `capacity` letters; with 0 it only counts.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { ring: VecDeque::new(), capacity, counts: Default::default() }
    }

    /// Keeps and counts `letter`; gives back the oldest if it had to make room.
    pub fn push(&mut self, mut letter: DeadLetter) -> Option<DeadLetter> {
        let count = &mut self.counts[letter.reason.slot()];
        *count = count.saturating_add(1);
        cut(&mut letter.message);
        cut(&mut letter.caller);
        if self.capacity == 0 {
            return Some(letter);
        }
        let oldest = if self.ring.len() == self.capacity { self.ring.pop_front() } else { None };
        self.ring.push_back(letter);
        oldest
    }

    /// The letters kept, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &DeadLetter> + ExactSizeIterator {
        self.ring.iter()
    }

    /// How many letters of `reason` there ever were.
    #[must_use]
    pub fn count(&self, reason: DeadLetterReason) -> u64 {
        self.counts[reason.slot()]
    }

    /// Every reason with its count, zeros included.
    pub fn counts(&self) -> impl Iterator<Item = (DeadLetterReason, u64)> + '_ {
        DeadLetterReason::ALL.iter().map(|reason| (*reason, self.count(*reason)))
    }

    /// How many letters there ever were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How many letters are no longer kept.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.total().saturating_sub(self.ring.len() as u64)
    }
}

fn cut(text: &mut String) {
    if text.len() > DeadLetters::TEXT_BYTES_MAX {
        let end = (0..=DeadLetters::TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(message: &str, reason: DeadLetterReason) -> DeadLetter {
        DeadLetter { actor: ActorId(1), message: message.to_owned(), caller: "caller".to_owned(), reason }
    }

    #[test]
    fn the_oldest_letter_makes_room_and_counts_stay() {
        let mut letters = DeadLetters::new(2);
        assert_eq!(letters.push(letter("a", DeadLetterReason::ActorDead)), None);
        assert_eq!(letters.push(letter("b", DeadLetterReason::Expired)), None);
        let dropped = letters.push(letter("c", DeadLetterReason::Expired));
        assert_eq!(dropped, Some(letter("a", DeadLetterReason::ActorDead)));
        assert_eq!(letters.iter().map(|kept| kept.message.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(letters.count(DeadLetterReason::ActorDead), 1);
        assert_eq!(letters.count(DeadLetterReason::Expired), 2);
        assert_eq!((letters.total(), letters.forgotten()), (3, 1));
    }

    #[test]
    fn every_reason_has_a_count_of_its_own() {
        let mut letters = DeadLetters::new(0);
        for (times, reason) in DeadLetterReason::ALL.into_iter().enumerate() {
            for _ in 0..=times {
                assert!(letters.push(letter("m", reason)).is_some());
            }
        }
        let counts: Vec<_> = letters.counts().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=DeadLetterReason::ALL.len() as u64).collect::<Vec<_>>());
        assert_eq!(letters.iter().len(), 0);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let mut letters = DeadLetters::new(1);
        letters.push(letter(&"é".repeat(1_000), DeadLetterReason::Expired));
        let kept = &letters.iter().next().expect("one letter was pushed").message;
        assert_eq!(kept.len(), DeadLetters::TEXT_BYTES_MAX);
        letters.push(letter(&format!("a{}", "é".repeat(1_000)), DeadLetterReason::Expired));
        let kept = &letters.iter().next().expect("one letter was pushed").message;
        assert_eq!(kept.len(), DeadLetters::TEXT_BYTES_MAX - 1);
    }
}
