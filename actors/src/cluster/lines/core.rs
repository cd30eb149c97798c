//! Decides which thread of a process polls its lines to other processes.
//!
//! Owns: the *lead*, which one thread at a time has, and the followers, who wait for something that may come in and take the
//! lead over in turn (the leader/followers pattern: Schmidt et al., "Leader/Followers", PLoP 2000). No clock: time is the
//! sentinel's looks.
//!
//! Rules. A thread that waits in `get` takes the lead if nobody has it, so that what it waits for wakes no other thread
//! first. A worker thread that has nothing to do takes it too, but not in the first few looks after a `get`: whoever got
//! something will mostly want something again soon. Where nobody has had the lead for [`VACANT_LOOKS`], somebody is appointed.
//!
//! **Invariants:** the lead has one owner at most; while it has none, looks go on, and no follower waits.

use std::collections::VecDeque;

/// Looks without a leader after which one is appointed.
pub const VACANT_LOOKS: u32 = 5;

/// Whom a follower is known by.
pub type Follower = u64;

/// What a look shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Looked {
    /// Somebody leads, or there is nothing to poll.
    #[default]
    Well,
    /// Nobody leads; whoever did since the last look is probably at what he heard.
    Hearing,
    /// Nobody leads; whoever worked a moment ago will probably be back.
    Vacant,
    /// An idle thread should be woken, or one more started.
    Appoint,
}

/// The lead.
#[derive(Debug, Default)]
pub struct LeadCore {
    lines: usize,
    led: bool,
    followers: VecDeque<Follower>,
    vacant_looks: u32,
    /// The lead has become vacant since the last look.
    left: bool,
    /// Looks since somebody waited for something.
    unwanted_looks: u32,
    next: Follower,
}

impl LeadCore {
    /// There is one more line.
    pub fn on_opened(&mut self) {
        self.lines += 1;
    }

    /// A line has ended.
    pub fn on_closed(&mut self) {
        self.lines = self.lines.saturating_sub(1);
    }

    /// A thread has nothing to do: whether it is to lead.
    pub fn on_idle(&mut self) -> bool {
        let may = self.lines > 0 && !self.led && (self.unwanted_looks >= VACANT_LOOKS || self.next == 0);
        if may {
            self.lead();
        }
        may
    }

    /// A thread waits for something that may come in: it leads, or follows under the number given.
    ///
    /// # Errors
    /// The number, where it is to follow.
    pub fn on_wait(&mut self) -> Result<(), Follower> {
        self.unwanted_looks = 0;
        self.next += 1;
        if !self.led {
            self.lead();
            return Ok(());
        }
        self.followers.push_back(self.next);
        Err(self.next)
    }

    /// The leader goes; gives the follower that leads from now on, and is to be told.
    pub fn on_leave(&mut self) -> Option<Follower> {
        let next = self.followers.pop_front();
        self.led = next.is_some();
        self.left = !self.led;
        next
    }

    /// A follower waits no more; true where it was made the leader meanwhile, and has to leave.
    pub fn on_gone(&mut self, follower: Follower) -> bool {
        self.unwanted_looks = 0;
        let before = self.followers.len();
        self.followers.retain(|other| *other != follower);
        self.followers.len() == before
    }

    /// Time has passed.
    pub fn on_look(&mut self) -> Looked {
        if !self.followers.is_empty() {
            self.unwanted_looks = 0;
        }
        self.unwanted_looks = self.unwanted_looks.saturating_add(1);
        let left = std::mem::take(&mut self.left);
        if self.led || self.lines == 0 {
            self.vacant_looks = 0;
            return Looked::Well;
        }
        self.vacant_looks += 1;
        if self.vacant_looks < VACANT_LOOKS {
            return if left { Looked::Hearing } else { Looked::Vacant };
        }
        self.vacant_looks = 0;
        self.unwanted_looks = self.unwanted_looks.max(VACANT_LOOKS);
        Looked::Appoint
    }

    /// Whether somebody leads.
    #[must_use]
    pub fn is_led(&self) -> bool {
        self.led
    }

    fn lead(&mut self) {
        self.led = true;
        self.vacant_looks = 0;
    }

    /// Asserts the invariants.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        assert!(self.led || self.followers.is_empty(), "nobody follows where nobody leads");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_a_line() -> LeadCore {
        let mut core = LeadCore::default();
        core.on_opened();
        core
    }

    #[test]
    fn an_idle_thread_leads_where_nobody_ever_waits() {
        let mut core = with_a_line();
        assert!(core.on_idle());
        assert!(!core.on_idle(), "one at a time");
        assert_eq!(core.on_leave(), None);
        assert!(core.on_idle());
    }

    #[test]
    fn an_idle_thread_leaves_the_lead_to_one_who_will_wait_again_soon() {
        let mut core = with_a_line();
        assert_eq!(core.on_wait(), Ok(()));
        core.on_leave();
        assert!(!core.on_idle());
        assert_eq!(core.on_wait(), Ok(()), "it is still free");
    }

    #[test]
    fn the_lead_is_handed_to_whoever_has_followed_longest() {
        let mut core = with_a_line();
        assert!(core.on_idle());
        let first = core.on_wait().expect_err("an idle thread leads");
        let second = core.on_wait().expect_err("an idle thread leads");
        assert_eq!(core.on_leave(), Some(first));
        assert!(core.on_gone(first), "who was made the leader must leave");
        assert_eq!(core.on_leave(), Some(second));
        core.sanity_check();
    }

    #[test]
    fn a_vacant_lead_is_noticed_and_the_appointed_may_take_it() {
        let mut core = with_a_line();
        assert_eq!(core.on_wait(), Ok(()));
        core.on_leave();
        assert_eq!(core.on_look(), Looked::Hearing);
        for _ in 2..VACANT_LOOKS {
            assert_eq!(core.on_look(), Looked::Vacant);
        }
        assert_eq!(core.on_look(), Looked::Appoint);
        assert!(core.on_idle());
        assert_eq!(core.on_look(), Looked::Well);
    }

    #[test]
    fn without_lines_nobody_leads() {
        let mut core = LeadCore::default();
        assert!(!core.on_idle());
        assert_eq!(core.on_look(), Looked::Well);
    }

    #[test]
    fn whatever_happens_nobody_follows_where_nobody_leads() {
        let mut random = 7_u64;
        let mut core = with_a_line();
        let (mut leads, mut followers) = (false, Vec::new());
        for _ in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match (random >> 33) % 5 {
                0 => leads |= core.on_idle(),
                1 => match core.on_wait() {
                    Ok(()) => leads = true,
                    Err(follower) => followers.push(follower),
                },
                2 if leads => match core.on_leave() {
                    Some(next) => followers.retain(|follower| *follower != next),
                    None => leads = false,
                },
                3 if !followers.is_empty() => {
                    let gone = followers.swap_remove((random >> 40) as usize % followers.len());
                    assert!(!core.on_gone(gone), "it was not promoted");
                }
                _ => drop(core.on_look()),
            }
            assert_eq!(core.is_led(), leads);
            core.sanity_check();
        }
    }
}
