//! Whoever changes the group's members.
//!
//! Owns: one step at a time, as an operator would: a new machine follows, gets its vote once it has caught up, and another
//! is taken out. Invariant: a machine once taken out never comes back; nobody's rows are thrown away while it is a member.

use std::collections::BTreeSet;

use actinic_gcs::replica::{Bootstrap, MembershipChange, MembershipError, ReplicaId, ReplicaStatus};

use super::{
    event::Event,
    host::{Clock, Host, Standing},
    world::World,
};

/// Machines in all the time of a world, beyond the first ones.
const NEW_HOSTS_MAX: usize = 5;
/// Entries that a learner may lack and still be given its vote.
const LAG_MAX: u64 = 5;

/// The operator.
#[derive(Default)]
pub(crate) struct Admin {
    /// Whom it has asked to be taken out.
    removing: BTreeSet<ReplicaId>,
}

impl World {
    pub(crate) fn change_members(&mut self) {
        let Some(leader) = self.leader() else { return };
        let Some(process) = self.hosts[leader].process.as_ref() else { return };
        let status = process.core.status();
        if !status.leads {
            return;
        }
        self.shut_down_removed(&status);
        if let Some(change) = self.next_change(&status) {
            self.propose_change(leader, &change);
        }
    }

    /// Machines that were taken out: some are shut down, some live on and know nothing of it.
    fn shut_down_removed(&mut self, status: &ReplicaStatus) {
        for host in self.present() {
            let id = self.hosts[host].id;
            let is_member = status.voters.contains(&id) || status.learners.contains(&id);
            if self.admin.removing.contains(&id) && !is_member {
                self.hosts[host].standing = Standing::Out;
                if self.rng.chance(500) {
                    self.retire(host);
                }
            }
        }
    }

    /// Shuts a machine down for ever.
    pub(crate) fn retire(&mut self, host: usize) {
        self.crash(host);
        self.hosts[host].standing = Standing::Gone;
    }

    fn next_change(&mut self, status: &ReplicaStatus) -> Option<MembershipChange> {
        let matched = |id| status.matched.iter().find(|(other, _)| *other == id).map_or(0, |(_, index)| *index);
        let caught_up = status.learners.iter().copied().find(|id| matched(*id) + LAG_MAX >= status.last);
        if let Some(id) = caught_up {
            return Some(MembershipChange::AddVoter(id, format!("host {}", id.0)));
        }
        let waiting = self.hosts.iter().filter(|host| host.standing == Standing::Member).map(|host| host.id);
        let waiting = waiting.filter(|id| !self.admin.removing.contains(id));
        let mut waiting = waiting.filter(|id| !status.voters.contains(id) && !status.learners.contains(id));
        if let Some(id) = waiting.next() {
            return Some(MembershipChange::AddLearner(id, format!("host {}", id.0)));
        }
        let least = if self.rng.chance(100) { 1 } else { 2 };
        if status.voters.len() > least && self.rng.chance(500) {
            let others: Vec<ReplicaId> =
                status.voters.iter().chain(&status.learners).copied().filter(|id| *id != status.id).collect();
            return self.rng.pick(&others).map(MembershipChange::Remove);
        }
        if self.hosts.len() < self.plan.replicas + NEW_HOSTS_MAX && status.voters.len() < 6 {
            let id = self.new_host();
            let address = format!("host {}", id.0);
            let learns = self.rng.chance(850);
            return Some(if learns {
                MembershipChange::AddLearner(id, address)
            } else {
                MembershipChange::AddVoter(id, address)
            });
        }
        None
    }

    fn new_host(&mut self) -> ReplicaId {
        let id = ReplicaId(self.plan.ids_from + 1 + self.hosts.len() as u64);
        let clock = Clock::new(&mut self.rng, self.plan.drift);
        self.hosts.push(Host::new(id, Bootstrap::Join, clock));
        self.queue.push(self.now, Event::Start { host: self.hosts.len() - 1 });
        id
    }

    fn propose_change(&mut self, leader: usize, change: &MembershipChange) {
        self.say(|| format!("asks for {change:?}"));
        let mut asked = Err(MembershipError::UnderWay);
        self.feed(leader, |core, _| {
            asked = core.change_members(change);
            Ok(())
        });
        match (asked, change) {
            (Ok(()), MembershipChange::Remove(id)) => {
                self.checks.counts.members_changed += 1;
                self.admin.removing.insert(*id);
            }
            (Ok(()), _) => self.checks.counts.members_changed += 1,
            (Err(MembershipError::Senseless(why)), _) => {
                self.checks.fail("changes of members make sense", format!("{change:?}: {why}"));
            }
            (Err(error), _) => self.say(|| error.to_string()),
        }
    }
}
