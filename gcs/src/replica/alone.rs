//! A replica that is alone, driven by whoever calls it.
//!
//! Owns: both halves, and carrying effects from one to the other at once. For what is asked of a store before anything
//! else runs, and for tools: no thread, no timer. Invariant: an answer is given once it is as durable as the store makes it.

use super::{Bootstrap, DiskCore, DiskDone, ReplicaConfig, ReplicaCore, ReplicaEffect, ReplicaFailed, ReplicaId};
use crate::{
    shard::{ClientId, Effect, Request, RequestError, RequestId, ShardLimits},
    store::Store,
    tables::Reply,
    Millis,
};

/// A replica that is alone.
pub struct Alone<S> {
    core: ReplicaCore,
    disk: DiskCore<S>,
    client: ClientId,
    asked: u64,
}

impl<S: Store> Alone<S> {
    /// Opens the only replica of a shard, or begins it where `store` is empty. `client` asks; its id must be new.
    ///
    /// # Errors
    /// As [`DiskCore::open`].
    pub fn open(store: S, client: ClientId, limits: ShardLimits) -> Result<Self, ReplicaFailed> {
        let id = ReplicaId(1);
        let bootstrap = Bootstrap::Found([(id, String::new())].into());
        let (disk, recovered) = DiskCore::open(store, &bootstrap, limits)?;
        let core = ReplicaCore::open(ReplicaConfig::new(id, 0), recovered)?;
        let mut this = Self { core, disk, client, asked: 0 };
        this.work()?;
        Ok(this)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`ReplicaFailed`] if the store fails.
    pub fn ask(&mut self, now: Millis, what: impl Into<Request>) -> Result<Result<Reply, RequestError>, ReplicaFailed> {
        self.asked += 1;
        let mut effects = Vec::new();
        self.core.on_request(now, self.client, RequestId(self.asked), what.into(), &mut effects);
        let refused = effects.into_iter().find_map(|effect| match effect {
            ReplicaEffect::Refuse { error, .. } => Some(Err(error)),
            _ => None,
        });
        match (refused, self.work()?) {
            (Some(refusal), _) | (None, Some(refusal)) => Ok(refusal),
            (None, None) => Err(ReplicaFailed::Stopped),
        }
    }

    /// Until nothing is left to do; gives the last answer.
    fn work(&mut self) -> Result<Option<Result<Reply, RequestError>>, ReplicaFailed> {
        let mut answer = None;
        loop {
            let mut effects = Vec::new();
            self.core.poll(&mut effects)?;
            let mut jobs = Vec::new();
            for effect in effects {
                match effect {
                    ReplicaEffect::Disk(job) => jobs.push(job),
                    ReplicaEffect::Client(Effect::Reply { outcome, .. }) => answer = Some(outcome),
                    _ => {}
                }
            }
            let mut done = Vec::new();
            self.disk.run(jobs, &mut done)?;
            self.disk.flush(&mut done)?;
            if done.is_empty() {
                return Ok(answer);
            }
            for done in done {
                if let DiskDone::Effects(effects) = &done {
                    for effect in effects {
                        if let Effect::Reply { outcome, .. } = effect {
                            answer = Some(outcome.clone());
                        }
                    }
                }
                self.core.on_disk(done, &mut Vec::new())?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{replica::DiskJob, store::MemoryStore, tables::JobWrite, JobId};

    #[test]
    fn tables_are_persisted_once_nothing_has_happened_for_a_while() {
        let mut alone = Alone::open(MemoryStore::new(), ClientId(1), ShardLimits::default()).unwrap();
        let persists_at = |alone: &mut Alone<MemoryStore>, now| {
            let mut effects = Vec::new();
            alone.core.on_tick(Millis(now), &mut effects);
            effects.iter().filter(|effect| matches!(effect, ReplicaEffect::Disk(DiskJob::Persist))).count()
        };
        alone.ask(Millis(1_000), JobWrite::NextId).unwrap().unwrap();
        assert_eq!([1_000, 2_900].map(|now| persists_at(&mut alone, now)), [0, 0]);
        alone.ask(Millis(2_950), JobWrite::NextId).unwrap().unwrap();
        assert_eq!([3_000, 4_900, 5_000, 9_000].map(|now| persists_at(&mut alone, now)), [0, 0, 1, 0]);
        alone.ask(Millis(9_000), JobWrite::NextId).unwrap().unwrap();
        assert_eq!([9_000, 11_000].map(|now| persists_at(&mut alone, now)), [0, 1]);
    }

    #[test]
    fn a_replica_alone_answers_at_once_and_goes_on_where_it_was() {
        let mut alone = Alone::open(MemoryStore::new(), ClientId(1), ShardLimits::default()).unwrap();
        for number in 1..=3 {
            assert_eq!(alone.ask(Millis(number), JobWrite::NextId).unwrap(), Ok(Reply::JobId(JobId(number as u32))));
        }
        alone.core.sanity_check();
        alone.disk.sanity_check().unwrap();
        let store = alone.disk.into_store().unwrap();
        let mut again = Alone::open(store, ClientId(2), ShardLimits::default()).unwrap();
        assert_eq!(again.ask(Millis(9), JobWrite::NextId).unwrap(), Ok(Reply::JobId(JobId(4))));
    }
}
