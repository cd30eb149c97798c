//! Which lines to processes of other nodes are lost.
//!
//! Owns: the lines to each such process, since both ends may have called, and when it is taken for granted that a process lives
//! whose line has ended. A core: lines are handles to it, and it is told the time.
//!
//! A line ends with its process, or is cut while both ends live. Which of these it was the process's node says; what was under
//! way is lost in both cases, but a process that ended is not to be counted twice, once for its line and once for its end. One
//! that calls lives, and has given up what was on its former lines: what it says from now on is to be answered by the new one.
//! **Invariants:** of a process that has ended nothing is due; one line's end is the end of all lines between two processes,
//! for the other end may have taken any of them for lost, and what it says on the others would not be awaited; no process of
//! which it is not known whether it lives has a line.

use std::collections::BTreeMap;

use actinic_gcs::Millis;

use crate::cluster::wire::ProcessId;

/// How long a node may take to say that a process of its has ended, whose line has.
pub const GONE_MS_MAX: u64 = 2_000;

/// What the end of a line means.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended<L> {
    /// It is known already of the process, or it is not to one of another node: nothing.
    Known,
    /// It was no line between two nodes, or the process has ended.
    NotOurs,
    /// These are to be shut, and [`FarCore::due`] asked when the time has passed.
    First(Vec<L>),
}

/// The state.
#[derive(Debug)]
pub struct FarCore<L> {
    lines: BTreeMap<ProcessId, Vec<L>>,
    /// Processes whose lines have ended, of which it is not known whether they have, and until when that may take.
    doubtful: BTreeMap<ProcessId, Millis>,
}

impl<L> Default for FarCore<L> {
    fn default() -> Self {
        Self { lines: BTreeMap::new(), doubtful: BTreeMap::new() }
    }
}

impl<L> FarCore<L> {
    /// There is a line to a process. True where its former ones had ended, and it was not known whether it lives: what was under
    /// way there is lost, as of those that are [due](FarCore::due).
    #[must_use]
    pub fn on_line(&mut self, process: ProcessId, line: L) -> bool {
        self.lines.entry(process).or_default().push(line);
        self.doubtful.remove(&process).is_some()
    }

    /// A line to a process has ended.
    pub fn on_ended(&mut self, now: Millis, process: ProcessId) -> Ended<L> {
        match self.lines.remove(&process) {
            Some(lines) => {
                self.doubtful.entry(process).or_insert(Millis(now.0 + GONE_MS_MAX));
                Ended::First(lines)
            }
            None if self.doubtful.contains_key(&process) => Ended::Known,
            None => Ended::NotOurs,
        }
    }

    /// A process has ended, or its node is gone.
    pub fn on_gone(&mut self, process: ProcessId) {
        self.lines.remove(&process);
        self.doubtful.remove(&process);
    }

    /// Processes that live, by now, though their lines have ended: what was under way there is lost.
    pub fn due(&mut self, now: Millis) -> Vec<ProcessId> {
        let due = self.doubtful.iter().filter(|(_, until)| **until <= now).map(|(process, _)| *process).collect();
        self.doubtful.retain(|_, until| *until > now);
        due
    }

    /// The lines to a process that have not ended.
    pub fn lines(&self, process: ProcessId) -> &[L] {
        self.lines.get(&process).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use actinic_gcs::{NodeId, WorkerId};

    use super::*;

    const OTHER: ProcessId = ProcessId { node: NodeId(2), worker: WorkerId(7) };
    const LATER: Millis = Millis(GONE_MS_MAX);

    #[test]
    fn the_end_of_one_line_is_that_of_all_and_is_due_once_when_the_process_lives_on() {
        let mut far = FarCore::default();
        assert!(!far.on_line(OTHER, 'a'));
        assert!(!far.on_line(OTHER, 'b'));
        assert_eq!(far.on_ended(Millis(0), OTHER), Ended::First(vec!['a', 'b']));
        assert_eq!(far.on_ended(Millis(1), OTHER), Ended::Known, "that of the other, which was shut");
        assert_eq!(far.due(Millis(GONE_MS_MAX - 1)), []);
        assert_eq!(far.due(LATER), [OTHER]);
        assert_eq!(far.due(LATER), []);
    }

    #[test]
    fn of_a_process_that_has_ended_nothing_is_due() {
        let mut far = FarCore::default();
        assert!(!far.on_line(OTHER, 'a'));
        assert_eq!(far.on_ended(Millis(0), OTHER), Ended::First(vec!['a']));
        far.on_gone(OTHER);
        assert_eq!(far.due(LATER), []);
        assert_eq!(far.on_ended(LATER, OTHER), Ended::NotOurs);
    }

    #[test]
    fn who_was_cut_off_and_is_back_and_is_cut_off_again_is_given_the_whole_time() {
        let mut far = FarCore::default();
        assert!(!far.on_line(OTHER, 'a'));
        assert_eq!(far.on_ended(Millis(0), OTHER), Ended::First(vec!['a']));
        far.on_gone(OTHER);
        assert!(!far.on_line(OTHER, 'b'));
        assert_eq!(far.on_ended(Millis(1_500), OTHER), Ended::First(vec!['b']));
        assert_eq!(far.due(LATER), [], "as of the first end");
        assert_eq!(far.due(Millis(1_500 + GONE_MS_MAX)), [OTHER]);
    }

    #[test]
    fn who_calls_again_lives_and_what_was_under_way_is_lost_at_once_and_once() {
        let mut far = FarCore::default();
        assert!(!far.on_line(OTHER, 'a'));
        assert_eq!(far.on_ended(Millis(0), OTHER), Ended::First(vec!['a']));
        assert!(far.on_line(OTHER, 'b'), "it has given up what was on the first");
        assert_eq!(far.lines(OTHER), ['b']);
        assert_eq!(far.due(LATER), []);
        assert_eq!(far.on_ended(LATER, OTHER), Ended::First(vec!['b']));
    }
}
