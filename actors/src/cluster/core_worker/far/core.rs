//! Which lines to processes of other nodes are lost.
//!
//! Owns: the lines to each such process, since both ends may have called, and when it is taken for granted that a process lives
//! whose line has ended. A core: lines are handles to it, and it is told the time.
//!
//! A line ends with its process, or is cut while both ends live. Which of these it was the process's node says; what was under
//! way is lost in both cases, but a process that ended is not to be counted twice, once for its line and once for its end. One
//! that calls lives, and has given up what was on its former lines: what it says from now on is to be answered by the new one.
//! The two ends may notice seconds apart. So lines have names, and whoever has given some up says which before he says anything
//! else: with the call of a new one, or through the nodes.
//! **Invariants:** of a process that has ended nothing is due; one line's end is the end of all lines between two processes,
//! for the other end may have taken any of them for lost, and what it says on the others would not be awaited; no process of
//! which it is not known whether it lives has a line.

use std::collections::BTreeMap;

use actinic_gcs::{Millis, NodeId};

use crate::cluster::wire::{LineName, ProcessId};

/// How long a node may take to say that a process of its has ended, whose line has.
pub const GONE_MS_MAX: u64 = 2_000;
/// Names of given up lines to a process that are told, the latest.
pub const GIVEN_UP_MAX: usize = 16;

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
    lines: BTreeMap<ProcessId, Vec<(LineName, L)>>,
    /// Processes whose lines have ended, of which it is not known whether they have, and until when that may take.
    doubtful: BTreeMap<ProcessId, Millis>,
    given_up: BTreeMap<ProcessId, Vec<LineName>>,
    calls: u32,
}

impl<L> Default for FarCore<L> {
    fn default() -> Self {
        Self { lines: BTreeMap::new(), doubtful: BTreeMap::new(), given_up: BTreeMap::new(), calls: 0 }
    }
}

impl<L> FarCore<L> {
    /// Another process is about to be called: the number of the call, and the lines to it that were given up, which are to be
    /// told with it.
    pub fn on_call(&mut self, process: ProcessId) -> (u32, Vec<LineName>) {
        self.calls += 1;
        (self.calls, self.given_up(process))
    }

    /// There is a line to a process. True where its former ones had ended, and it was not known whether it lives: what was under
    /// way there is lost, as of those that are [due](FarCore::due).
    #[must_use]
    pub fn on_line(&mut self, process: ProcessId, name: LineName, line: L) -> bool {
        self.lines.entry(process).or_default().push((name, line));
        self.doubtful.remove(&process).is_some()
    }

    /// A process has given up these lines. What was under way there is lost where any is given; those are to be shut.
    #[must_use]
    pub fn on_given_up(&mut self, process: ProcessId, names: &[LineName]) -> Option<Vec<L>> {
        let lines = self.lines.remove(&process).unwrap_or_default();
        let (gone, left): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(name, _)| names.contains(name));
        if !left.is_empty() {
            self.lines.insert(process, left);
        }
        let was_doubtful = self.doubtful.remove(&process).is_some();
        let is_news = was_doubtful || !gone.is_empty();
        let gone = self.give_up(process, gone);
        is_news.then_some(gone)
    }

    /// A line to a process has ended.
    pub fn on_ended(&mut self, now: Millis, process: ProcessId, is_it: impl Fn(&L) -> bool) -> Ended<L> {
        let is_there = self.lines.get(&process).is_some_and(|lines| lines.iter().any(|(_, line)| is_it(line)));
        if is_there {
            let lines = self.lines.remove(&process).unwrap_or_default();
            self.doubtful.entry(process).or_insert(Millis(now.0 + GONE_MS_MAX));
            return Ended::First(self.give_up(process, lines));
        }
        match self.doubtful.contains_key(&process) || self.lines.contains_key(&process) {
            true => Ended::Known,
            false => Ended::NotOurs,
        }
    }

    fn give_up(&mut self, process: ProcessId, lines: Vec<(LineName, L)>) -> Vec<L> {
        let (names, lines): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
        if !names.is_empty() {
            let all = self.given_up.entry(process).or_default();
            all.extend(names);
            all.drain(..all.len().saturating_sub(GIVEN_UP_MAX));
        }
        lines
    }

    /// The lines to a process that were given up.
    #[must_use]
    pub fn given_up(&self, process: ProcessId) -> Vec<LineName> {
        self.given_up.get(&process).cloned().unwrap_or_default()
    }

    /// A process has ended, or its node is gone.
    pub fn on_gone(&mut self, process: ProcessId) {
        self.lines.remove(&process);
        self.doubtful.remove(&process);
        self.given_up.remove(&process);
    }

    /// A node is gone, and all its processes with it.
    pub fn on_node_gone(&mut self, node: NodeId) {
        self.lines.retain(|process, _| process.node != node);
        self.doubtful.retain(|process, _| process.node != node);
        self.given_up.retain(|process, _| process.node != node);
    }

    /// Processes that live, by now, though their lines have ended: what was under way there is lost.
    pub fn due(&mut self, now: Millis) -> Vec<ProcessId> {
        let due = self.doubtful.iter().filter(|(_, until)| **until <= now).map(|(process, _)| *process).collect();
        self.doubtful.retain(|_, until| *until > now);
        due
    }

    /// The lines to a process that have not ended.
    pub fn lines(&self, process: ProcessId) -> impl Iterator<Item = &L> {
        self.lines.get(&process).into_iter().flatten().map(|(_, line)| line)
    }
}

#[cfg(test)]
mod tests {
    use actinic_gcs::WorkerId;

    use super::*;

    const OTHER: ProcessId = ProcessId { node: NodeId(2), worker: WorkerId(7) };
    const LATER: Millis = Millis(GONE_MS_MAX);

    fn name(number: u32) -> LineName {
        LineName { caller: OTHER, number }
    }

    /// A line that it has called.
    fn called(far: &mut FarCore<char>, line: char) -> bool {
        far.on_line(OTHER, name(line.into()), line)
    }

    fn ended(far: &mut FarCore<char>, at: u64, line: char) -> Ended<char> {
        far.on_ended(Millis(at), OTHER, |other| *other == line)
    }

    #[test]
    fn the_end_of_one_line_is_that_of_all_and_is_due_once_when_the_process_lives_on() {
        let mut far = FarCore::default();
        assert!(!called(&mut far, 'a'));
        assert!(!called(&mut far, 'b'));
        assert_eq!(ended(&mut far, 0, 'a'), Ended::First(vec!['a', 'b']));
        assert_eq!(ended(&mut far, 1, 'b'), Ended::Known, "it was shut");
        assert_eq!(far.due(Millis(GONE_MS_MAX - 1)), []);
        assert_eq!(far.due(LATER), [OTHER]);
        assert_eq!(far.due(LATER), []);
    }

    #[test]
    fn of_a_process_that_has_ended_nothing_is_due() {
        let mut far = FarCore::default();
        assert!(!called(&mut far, 'a'));
        assert_eq!(ended(&mut far, 0, 'a'), Ended::First(vec!['a']));
        far.on_gone(OTHER);
        assert_eq!(far.due(LATER), []);
        assert_eq!(ended(&mut far, GONE_MS_MAX, 'a'), Ended::NotOurs);
        assert_eq!(far.given_up(OTHER), []);
    }

    #[test]
    fn who_was_cut_off_and_is_back_and_is_cut_off_again_is_given_the_whole_time() {
        let mut far = FarCore::default();
        assert!(!called(&mut far, 'a'));
        assert_eq!(ended(&mut far, 0, 'a'), Ended::First(vec!['a']));
        far.on_gone(OTHER);
        assert!(!called(&mut far, 'b'));
        assert_eq!(ended(&mut far, 1_500, 'b'), Ended::First(vec!['b']));
        assert_eq!(far.due(LATER), [], "as of the first end");
        assert_eq!(far.due(Millis(1_500 + GONE_MS_MAX)), [OTHER]);
    }

    #[test]
    fn who_calls_again_lives_and_what_was_under_way_is_lost_at_once_and_once() {
        let mut far = FarCore::default();
        assert!(!called(&mut far, 'a'));
        assert_eq!(ended(&mut far, 0, 'a'), Ended::First(vec!['a']));
        assert!(called(&mut far, 'b'), "it has given up what was on the first");
        assert!(far.lines(OTHER).eq(&['b']));
        assert_eq!(far.due(LATER), []);
        assert_eq!(ended(&mut far, 1, 'a'), Ended::Known, "late word of the first");
        assert_eq!(ended(&mut far, GONE_MS_MAX, 'b'), Ended::First(vec!['b']));
    }

    #[test]
    fn what_the_other_has_given_up_is_lost_here_too_and_the_rest_stays() {
        let mut far = FarCore::default();
        assert!(!called(&mut far, 'a'));
        assert!(!called(&mut far, 'b'));
        assert_eq!(far.on_given_up(OTHER, &[name('a'.into())]), Some(vec!['a']));
        assert_eq!(far.on_given_up(OTHER, &[name('a'.into())]), None, "it is known");
        assert!(far.lines(OTHER).eq(&['b']));
        assert_eq!(ended(&mut far, 0, 'a'), Ended::Known);
        assert_eq!(far.given_up(OTHER), [name('a'.into())]);
    }

    #[test]
    fn of_whom_word_comes_it_is_known_that_he_lives() {
        let mut far = FarCore::default();
        assert!(!called(&mut far, 'a'));
        assert_eq!(ended(&mut far, 0, 'a'), Ended::First(vec!['a']));
        assert_eq!(far.on_given_up(OTHER, &[]), Some(Vec::new()));
        assert_eq!(far.due(LATER), []);
    }

    #[test]
    fn names_of_lines_that_were_given_up_are_bounded() {
        let mut far = FarCore::default();
        for number in 0..100_u8 {
            let _ = called(&mut far, char::from(number));
            let _ = ended(&mut far, 0, char::from(number));
        }
        assert_eq!(far.given_up(OTHER).len(), GIVEN_UP_MAX);
        assert_eq!(far.given_up(OTHER).last(), Some(&name(99)));
        far.on_node_gone(OTHER.node);
        assert_eq!(far.given_up(OTHER), []);
    }
}
