//! What an earlier life of an embedded runtime left in its folder.
//!
//! Owns: closing the books on it before anything else runs. A folder belongs to one process at a time, so whoever opens it
//! knows that every node, job, actor and placement group that it finds alive is not. User values, functions and events
//! stay as they are. Does not own detached actors' states, which died with their process.

use std::time::{SystemTime, UNIX_EPOCH};

use actinic_gcs::{
    replica::{Alone, ReplicaFailed},
    shard::{ClientId, RequestError, ShardLimits},
    spec::{ActorDeath, ActorState, JobOutcome, JobState, NodeDeath, PlacementGroupState},
    store::Store,
    tables::{
        ActorRead, ActorStep, ActorWrite, GroupRead, GroupWrite, JobRead, JobWrite, NodeRead, NodeWrite, Page,
        PageRequest, Reply,
    },
    JobId, Millis,
};
use bytes::Bytes;

/// Why the folder of a control store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Its store cannot be opened, read or written.
    #[error(transparent)]
    Failed(#[from] ReplicaFailed),
    /// There is no room for a temporary one.
    #[error("no temporary folder can be made in {}: {source}; set TMPDIR to another one, or name a folder", base.display())]
    Temporary {
        /// Where.
        base: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It refuses what it is told of the end of an earlier life.
    #[error("the control store does not take the end of the program's earlier life: {0}")]
    Refused(#[from] RequestError),
    /// It answers what was not asked.
    #[error("the control store's answers make no sense: was it written by another program?")]
    Unexpected,
}

struct Books<S> {
    store: Alone<S>,
    now: Millis,
}

impl<S: Store> Books<S> {
    fn ask(&mut self, what: impl Into<actinic_gcs::shard::Request>) -> Result<Reply, FolderError> {
        Ok(self.store.ask(self.now, what)??)
    }

    /// All items of a listing.
    fn all<T>(
        &mut self,
        list: impl Fn(PageRequest) -> actinic_gcs::tables::Read,
        page_of: impl Fn(Reply) -> Option<Page<T>>,
    ) -> Result<Vec<T>, FolderError> {
        let (mut items, mut after): (Vec<T>, Option<Bytes>) = (Vec::new(), None);
        loop {
            let asked = list(PageRequest { after, ..PageRequest::default() });
            let page = page_of(self.ask(asked)?).ok_or(FolderError::Unexpected)?;
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(items);
            }
        }
    }

    fn close(&mut self) -> Result<(), FolderError> {
        let nodes = self.all(
            |page| NodeRead::List(page).into(),
            |reply| match reply {
                Reply::Nodes(page) => Some(page),
                _ => None,
            },
        )?;
        for node in nodes.into_iter().filter(|node| node.is_alive()) {
            let (node, cause) = (node.spec.id, NodeDeath::ConnectionLost);
            self.ask(NodeWrite::MarkDead { node, cause, lease_until: None })?;
        }
        let actors = self.all(
            |page| ActorRead::List(page).into(),
            |reply| match reply {
                Reply::Actors(page) => Some(page),
                _ => None,
            },
        )?;
        for actor in actors.into_iter().filter(|actor| actor.state != ActorState::Dead) {
            let step = ActorStep::Dead(ActorDeath::JobFinished);
            self.ask(ActorWrite::Step { actor: actor.spec.id, incarnation: actor.incarnation, step })?;
        }
        let groups = self.all(
            |page| GroupRead::List(page).into(),
            |reply| match reply {
                Reply::PlacementGroups(page) => Some(page),
                _ => None,
            },
        )?;
        for group in groups.into_iter().filter(|group| group.state != PlacementGroupState::Removed) {
            self.ask(GroupWrite::Remove(group.spec.id))?;
        }
        let jobs = self.all(
            |page| JobRead::List(page).into(),
            |reply| match reply {
                Reply::Jobs(page) => Some(page),
                _ => None,
            },
        )?;
        for job in jobs.into_iter().filter(|job| job.state == JobState::Running) {
            self.ask(JobWrite::Finish { job: job.spec.id, outcome: JobOutcome::DriverLost })?;
        }
        Ok(())
    }
}

/// Closes the books on every earlier life in `store`; gives the id of the job that begins now.
///
/// # Errors
/// [`FolderError`].
pub(crate) fn close_books<S: Store>(store: S, client: ClientId) -> Result<JobId, FolderError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let mut books = Books { store: Alone::open(store, client, ShardLimits::default())?, now };
    books.close()?;
    match books.ask(JobWrite::NextId)? {
        Reply::JobId(job) => Ok(job),
        _ => Err(FolderError::Unexpected),
    }
}
