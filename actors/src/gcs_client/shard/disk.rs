//! The disk half of a replica and the thread that it runs on.
//!
//! Owns: the thread of a store that may block, and the queue to it. What has queued up during one round is the next round,
//! and shares its fsync. A store in memory is worked on inline, without a thread. Invariants: jobs are done in order; a
//! thread that is told to end has ended, and let go of its folder, when the [`Disk`] is dropped; a panic in it is a failure
//! like any other.

use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
};

use actinic_gcs::{
    replica::{Bootstrap, DiskCore, DiskDone, DiskJob, Recovered, ReplicaFailed},
    shard::ShardLimits,
    store::{MemoryStore, Store},
};
use actix::{Message, Recipient};

use super::ShardStore;
use crate::panics;

/// What a disk has done.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct DiskReport {
    /// Of which opening.
    pub(super) opening: u64,
    /// It is open, and holds this.
    pub(super) opened: Option<Recovered>,
    /// In order.
    pub(super) done: Vec<DiskDone>,
    /// Why it ended.
    pub(super) failure: Option<ReplicaFailed>,
}

impl DiskReport {
    fn new(opening: u64) -> Self {
        Self { opening, opened: None, done: Vec::new(), failure: None }
    }
}

type To = (u64, Recipient<DiskReport>);

/// A disk at work.
pub(super) struct Disk {
    opening: u64,
    queue: Vec<DiskJob>,
    kind: Kind,
}

enum Kind {
    Inline { disk: Box<DiskCore<MemoryStore>>, opened: Option<Recovered> },
    Thread { jobs: Option<mpsc::Sender<Vec<DiskJob>>>, thread: Option<JoinHandle<()>> },
    Failed(Option<ReplicaFailed>),
}

impl Disk {
    /// Opens a disk; how that went is the first report.
    pub(super) fn open(store: ShardStore, bootstrap: Bootstrap, limits: ShardLimits, to: To) -> Self {
        let opening = to.0;
        let kind = match store {
            ShardStore::Memory => match DiskCore::open(MemoryStore::new(), &bootstrap, limits) {
                Ok((disk, opened)) => Kind::Inline { disk: Box::new(disk), opened: Some(opened) },
                Err(failure) => Kind::Failed(Some(failure)),
            },
            #[cfg(feature = "rocksdb")]
            ShardStore::Rocks { path, identity, options } => threaded(
                move || {
                    let store = actinic_gcs::store::RocksStore::open(&path, identity, options)?;
                    DiskCore::open(store, &bootstrap, limits)
                },
                to,
            ),
        };
        Self { opening, queue: Vec::new(), kind }
    }

    /// Gives it a job, to be done by [`Disk::work`].
    pub(super) fn push(&mut self, job: DiskJob) {
        self.queue.push(job);
    }

    /// Has the jobs done that were pushed: by the thread, which reports, or here and now. None where nothing is to say.
    pub(super) fn work(&mut self) -> Option<DiskReport> {
        match &mut self.kind {
            Kind::Failed(failure) => {
                let failure = Some(failure.take()?);
                Some(DiskReport { failure, ..DiskReport::new(self.opening) })
            }
            Kind::Thread { jobs, .. } => {
                if !self.queue.is_empty() {
                    // A thread that has ended has said why.
                    let _ = jobs.as_ref()?.send(std::mem::take(&mut self.queue));
                }
                None
            }
            Kind::Inline { disk, opened } => {
                if opened.is_none() && self.queue.is_empty() {
                    return None;
                }
                let mut report = DiskReport { opened: opened.take(), ..DiskReport::new(self.opening) };
                let ran = disk.run(self.queue.drain(..), &mut report.done);
                report.failure = ran.and_then(|()| disk.flush(&mut report.done)).err();
                Some(report)
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Kind::Thread { jobs, thread } = &mut self.kind {
            drop(jobs.take());
            // Its folder is free for the next opening once the thread has ended.
            if thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("the thread of a control store's disk panicked");
            }
        }
    }
}

#[cfg_attr(not(feature = "rocksdb"), allow(dead_code))]
fn threaded<S: Store>(
    open: impl FnOnce() -> Result<(DiskCore<S>, Recovered), ReplicaFailed> + Send + 'static,
    (opening, to): To,
) -> Kind {
    let (jobs, queue) = mpsc::channel::<Vec<DiskJob>>();
    let spawned = thread::Builder::new().name("actinic-gcs-disk".to_owned()).spawn(move || {
        let worked = panics::catch(|| work_until_closed(open, &queue, opening, &to));
        let failure = match worked {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(panic) => ReplicaFailed::Log(format!("its thread panicked: {}", panic.message)),
        };
        to.do_send(DiskReport { failure: Some(failure), ..DiskReport::new(opening) });
    });
    match spawned {
        Ok(thread) => Kind::Thread { jobs: Some(jobs), thread: Some(thread) },
        Err(error) => Kind::Failed(Some(ReplicaFailed::Thread(error))),
    }
}

fn work_until_closed<S: Store>(
    open: impl FnOnce() -> Result<(DiskCore<S>, Recovered), ReplicaFailed>,
    queue: &mpsc::Receiver<Vec<DiskJob>>,
    opening: u64,
    to: &Recipient<DiskReport>,
) -> Result<(), ReplicaFailed> {
    let (mut disk, recovered) = open()?;
    to.do_send(DiskReport { opened: Some(recovered), ..DiskReport::new(opening) });
    while let Ok(first) = queue.recv() {
        let jobs = std::iter::once(first).chain(std::iter::from_fn(|| queue.try_recv().ok())).flatten();
        let mut done = Vec::new();
        let ran = disk.run(jobs, &mut done);
        // It shows only what a majority has: nobody need wait for the fsync.
        tell(std::mem::take(&mut done), opening, to);
        ran?;
        disk.flush(&mut done)?;
        tell(done, opening, to);
    }
    Ok(())
}

fn tell(done: Vec<DiskDone>, opening: u64, to: &Recipient<DiskReport>) {
    if !done.is_empty() {
        to.do_send(DiskReport { done, ..DiskReport::new(opening) });
    }
}
