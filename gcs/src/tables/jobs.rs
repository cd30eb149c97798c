//! Jobs.
//!
//! Owns: job ids, and whether a job runs. Does not own what ends with it: whoever writes [`JobWrite::Finish`] then frees
//! the job's actors, objects and groups. Invariant: a job id is given out once.

use serde::{Deserialize, Serialize};

use super::{keys, limits, Applied, Bound, Page, PageRequest, Reply, Table, TableError, Txn};
use crate::{
    record,
    spec::{JobInfo, JobOutcome, JobSpec, JobState},
    store::Column,
    JobId, Millis,
};

/// A change of the jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum JobWrite {
    /// Gives a job id that was never given before: [`Reply::JobId`].
    NextId,
    /// A driver has connected. Gives [`Reply::Done`].
    Add(Box<JobSpec>),
    /// A job has ended. Gives [`Reply::Done`].
    Finish {
        /// The job.
        job: JobId,
        /// How it ended.
        outcome: JobOutcome,
    },
}

/// A question about jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum JobRead {
    /// One job: [`Reply::Job`].
    Get(JobId),
    /// All jobs: [`Reply::Jobs`].
    List(PageRequest),
}

/// The job id given out last.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct LastJob(u32);

record::records! { LastJob = "last job" }

const LAST_JOB: &[u8] = b"last_job";

impl JobWrite {
    pub(super) fn apply(&self, now: Millis, txn: &mut Txn<'_>) -> Applied {
        match self {
            Self::NextId => {
                let key = bytes::Bytes::from_static(LAST_JOB);
                let LastJob(last) = txn.record(Column::Meta, &key)?.unwrap_or_default();
                let mut id = JobId(last.wrapping_add(1));
                while txn.get(Column::Jobs, &keys::job(id))?.is_some() {
                    id.0 = id.0.wrapping_add(1);
                }
                txn.put_record(Column::Meta, key, &LastJob(id.0))?;
                Ok(Reply::JobId(id))
            }
            Self::Add(spec) => {
                Bound::NameBytes.check(spec.namespace.len(), limits::NAME_BYTES_MAX)?;
                let key = keys::job(spec.id);
                if txn.get(Column::Jobs, &key)?.is_some() {
                    return Err(TableError::JobExists(spec.id).into());
                }
                let info = JobInfo { spec: (**spec).clone(), started_at: now, state: JobState::Running };
                txn.put_row(Table::Jobs, key, &info)?;
                Ok(Reply::Done)
            }
            Self::Finish { job, outcome } => {
                let key = keys::job(*job);
                let mut info: JobInfo = txn.record(Column::Jobs, &key)?.ok_or(TableError::JobUnknown(*job))?;
                if info.state != JobState::Running {
                    return Err(TableError::JobFinished(*job).into());
                }
                info.state = JobState::Finished { at: now, outcome: outcome.clone() };
                txn.put_row(Table::Jobs, key, &info)?;
                Ok(Reply::Done)
            }
        }
    }
}

impl JobRead {
    pub(super) fn answer(&self, txn: &Txn<'_>) -> Applied {
        match self {
            Self::Get(job) => Ok(Reply::Job(txn.record(Column::Jobs, &keys::job(*job))?)),
            Self::List(page) => {
                let (rows, next) = txn.page(Column::Jobs, b"", page)?;
                let items = rows.iter().map(|(_, value)| record::decode(value)).collect::<Result<_, _>>()?;
                Ok(Reply::Jobs(Page { items, next }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{job, Bench};

    #[test]
    fn job_ids_are_given_once_and_skip_those_in_use() {
        let mut bench = Bench::new();
        assert_eq!(bench.apply(JobWrite::NextId), Ok(Reply::JobId(JobId(1))));
        bench.apply(JobWrite::Add(Box::new(job(2)))).unwrap();
        assert_eq!(bench.apply(JobWrite::NextId), Ok(Reply::JobId(JobId(3))));
    }

    #[test]
    fn a_job_is_added_once_and_finishes_once() {
        let mut bench = Bench::at(Millis(5));
        bench.apply(JobWrite::Add(Box::new(job(1)))).unwrap();
        assert_eq!(bench.apply(JobWrite::Add(Box::new(job(1)))), Err(TableError::JobExists(JobId(1))));
        bench.now = Millis(9);
        let finish = JobWrite::Finish { job: JobId(1), outcome: JobOutcome::Succeeded };
        assert_eq!(bench.apply(finish.clone()), Ok(Reply::Done));
        assert_eq!(bench.apply(finish), Err(TableError::JobFinished(JobId(1))));
        let Ok(Reply::Job(Some(info))) = bench.read(JobRead::Get(JobId(1))) else { panic!("no job") };
        assert_eq!(info.started_at, Millis(5));
        assert_eq!(info.state, JobState::Finished { at: Millis(9), outcome: JobOutcome::Succeeded });
    }

    #[test]
    fn an_unknown_job_cannot_finish() {
        let finish = JobWrite::Finish { job: JobId(7), outcome: JobOutcome::Stopped };
        assert_eq!(Bench::new().apply(finish), Err(TableError::JobUnknown(JobId(7))));
    }
}
