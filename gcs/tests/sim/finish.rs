//! How a world ends: all is well again, everyone is answered, all members agree, and the histories are judged.
//!
//! Owns: the bounds of virtual time for that, and the last checks.

use std::collections::BTreeMap;

use actinic_gcs::{
    linear::{self, Action, Operation, Value, Verdict},
    replica::ReplicaId,
    store::{Column, Row},
    tables::keys,
};

use super::{
    checks::{Counts, Failure},
    client::{key_name, value_of, NAMESPACE},
    plan::{Plan, MILLISECOND, SECOND},
    world::World,
};

/// How long the group may take to answer everyone, once nothing goes wrong.
const ANSWERED_WITHIN_US: u64 = 20 * SECOND;
/// And how long to agree.
const AGREED_WITHIN_US: u64 = 20 * SECOND;

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) counts: Counts,
    pub(crate) failure: Option<Failure>,
}

/// Lets a plan happen.
pub(crate) fn run(plan: Plan, loud: bool) -> Outcome {
    let mut world = World::new(plan, loud);
    world.run_until(world.plan.faults_until_us);
    world.heal();
    world.wait_for_answers();
    world.ask_for_everything();
    world.wait_for_agreement();
    if world.checks.failure.is_none() {
        world.judge();
    }
    Outcome { hash: world.hash, counts: world.checks.counts, failure: world.checks.failure }
}

impl World {
    fn wait(&mut self, within: u64, done: impl Fn(&Self) -> Result<(), String>, check: &'static str) {
        let end = self.now + within;
        while self.checks.failure.is_none() {
            let Err(missing) = done(self) else { return };
            if self.now >= end {
                return self.checks.fail(check, missing);
            }
            self.run_until(self.now + 20 * MILLISECOND);
        }
    }

    fn wait_for_answers(&mut self) {
        let answered = |world: &Self| {
            let waiting = world.clients.iter().enumerate().find(|(_, client)| !client.asked.is_empty());
            waiting.map_or(Ok(()), |(at, client)| {
                Err(format!("client {at} waits for {:?}; {}", client.asked.keys(), world.standing()))
            })
        };
        self.wait(ANSWERED_WITHIN_US, answered, "everyone is answered");
    }

    /// A last client reads every key.
    fn ask_for_everything(&mut self) {
        self.add_client(false);
        let client = self.clients.len() - 1;
        self.clients[client].busy = false;
        (0..self.plan.keys).for_each(|key| self.ask(client, key, Action::Get));
        self.wait_for_answers();
    }

    fn members(&self) -> Vec<ReplicaId> {
        let leader = self.leader().and_then(|host| self.hosts[host].process.as_ref());
        leader.map_or(Vec::new(), |process| {
            let status = process.core.status();
            status.voters.into_iter().chain(status.learners).collect()
        })
    }

    fn wait_for_agreement(&mut self) {
        self.wait(AGREED_WITHIN_US, Self::agrees, "all members agree");
    }

    fn agrees(&self) -> Result<(), String> {
        let mut rows: Option<Vec<(Column, Row)>> = None;
        let mut places = BTreeMap::new();
        for id in self.members() {
            let host = self.host_of(id).ok_or("nobody")?;
            let process = self.hosts[host].process.as_ref().ok_or_else(|| format!("{id} is down"))?;
            let status = process.core.status();
            places.insert(id, (status.last, status.committed, status.applied));
        }
        if places.values().any(|(last, committed, applied)| last != applied || committed != applied) {
            return Err(format!("entries are under way: {places:?}; {}", self.standing()));
        }
        let (mut values, mut first) = (places.values(), None);
        if values.any(|place| first.get_or_insert(place) != &place) || places.is_empty() {
            return Err(format!("members are not equally far: {places:?}; {}", self.standing()));
        }
        for id in places.keys() {
            let host = self.host_of(*id).ok_or("nobody")?;
            let found = self.hosts[host].device.borrow().shared();
            let rows = rows.get_or_insert_with(|| found.clone());
            if *rows != found {
                let differs = rows.iter().zip(&found).find(|(row, other)| row != other);
                let first = places.keys().next();
                return Err(format!(
                    "{id} and {first:?} have other rows: {differs:?}, {} and {}",
                    found.len(),
                    rows.len()
                ));
            }
        }
        self.subscribers_agree(&rows.unwrap_or_default())
    }

    fn subscribers_agree(&self, rows: &[(Column, Row)]) -> Result<(), String> {
        for (at, client) in self.clients.iter().enumerate() {
            let Some(watch) = client.watch.as_ref() else { continue };
            if !watch.is_whole() {
                return Err(format!("subscriber {at} still waits"));
            }
            for key in &watch.keys {
                let name = keys::scoped(NAMESPACE, &key_name(*key));
                let row = rows.iter().find(|(column, (key, _))| *column == Column::KeyValue && *key == name);
                let stored: Option<Value> = value_of(row.map(|(_, (_, value))| value));
                let seen = watch.view.get(key).copied();
                if seen != Some(stored) {
                    return Err(format!("subscriber {at} sees {seen:?} at key {key}, where {stored:?} is"));
                }
            }
        }
        Ok(())
    }

    /// For whoever looks for the cause.
    fn standing(&self) -> String {
        let of = |at: usize| {
            let host = &self.hosts[at];
            match &host.process {
                Some(process) => format!("{:?} {:?}", host.standing, process.core.status()),
                None => format!("{:?} {} is down", host.standing, host.id),
            }
        };
        self.present().into_iter().map(of).collect::<Vec<_>>().join("; ")
    }

    /// The last checks.
    fn judge(&mut self) {
        for host in self.present() {
            self.look_at_disk(host);
        }
        for key in 0..self.plan.keys {
            let of_key = |client: &super::client::Client| {
                let of_key = client.history.iter().filter(|(other, _)| *other == key);
                of_key.map(|(_, operation)| *operation).collect::<Vec<Operation>>()
            };
            let history: Vec<Operation> = self.clients.iter().flat_map(of_key).collect();
            match linear::check(&history) {
                Verdict::Linearizable => {}
                Verdict::Undecided => self.checks.counts.undecided += 1,
                Verdict::Not(longest) => {
                    let last = longest.last();
                    let detail = format!("key {key}: no order beyond {} operations, {last:?}", longest.len());
                    self.checks.fail("histories are linearizable", detail);
                }
            }
        }
    }
}
