//! An embedded runtime's control store on disk.
//!
//! Owns: whether its folder can be used, which is known before anything starts; closing the books on what an earlier life
//! left there; and the end, after which the folder is free, or gone where it was temporary. Does not own the store's rows.

use std::env;

use actinic_gcs::{
    replica::ReplicaFailed,
    shard::ClientId,
    store::{Durability, RocksOptions, RocksStore, StoreIdentity},
    NodeId,
};
use actix::Arbiter;

use super::StartError;
use crate::{
    gcs_client::{close_books, FolderError, ShardSetup, ShardStore},
    node::{GcsStorage, Node, NodeConfig},
    store::own_folder::{reclaim_folders, OwnFolder},
};

/// The cluster that every embedded runtime is.
const EMBEDDED_CLUSTER: u128 = 0;

/// The folder of a control store.
pub(super) enum Folder {
    /// The user's.
    Named,
    /// Removed at the end.
    Temporary(OwnFolder),
}

/// What is left to be done about a control store on disk.
pub(super) struct OnDisk {
    control: Arbiter,
    folder: Folder,
}

impl OnDisk {
    /// Of the shard on this arbiter, in this folder.
    pub(super) fn new(control: Arbiter, folder: Folder) -> Self {
        Self { control, folder }
    }

    /// Waits until all that was recorded is written, where it is to last: how the job ended, above all.
    pub(super) fn keep_all(&self, node: &Node) {
        if matches!(self.folder, Folder::Temporary(_)) {
            return;
        }
        if let Err(error) = node.gcs.flush() {
            tracing::warn!(%error, "the last records of this runtime may be missing from its control store");
        }
    }

    /// Waits until the store is closed, once the system was stopped. On the client's own thread, in a callback, it cannot
    /// be waited for.
    pub(super) fn end(self, node: &Node) {
        if !node.gcs.is_client_thread() && self.control.join().is_err() {
            tracing::error!("the control store's thread panicked");
        }
        if let Folder::Temporary(folder) = self.folder {
            folder.remove();
        }
    }
}

/// The only replica of the only shard, and its folder if it has one.
pub(super) fn control_store(
    mut config: NodeConfig,
    id: NodeId,
) -> Result<(NodeConfig, ShardSetup, Option<Folder>), StartError> {
    let mut setup = ShardSetup::alone(0);
    let identity = StoreIdentity { cluster: EMBEDDED_CLUSTER, shard: 0, replica: setup.replica.id.0 };
    let (path, durability, folder) = match &config.gcs {
        GcsStorage::Memory | GcsStorage::Cluster { .. } => return Ok((config, setup, None)),
        GcsStorage::Folder { path, durability } => (path.clone(), *durability, Folder::Named),
        GcsStorage::Temporary => {
            let folder = temporary()?;
            (folder.path().to_owned(), Durability::Memory, Folder::Temporary(folder))
        }
    };
    let options = RocksOptions { durability, ..RocksOptions::default() };
    let opened = RocksStore::open(&path, identity, options.clone())
        .map_err(|error| FolderError::from(ReplicaFailed::from(error)))?;
    match folder {
        // As another client than the node's own, which numbers its requests from the beginning; and this life's job gets a
        // number that no other had.
        Folder::Named => config.job = close_books(opened, ClientId(!id.0))?,
        // Nobody was there before.
        Folder::Temporary(_) => drop(opened),
    }
    setup.store = ShardStore::Rocks { path, identity, options };
    Ok((config, setup, Some(folder)))
}

fn temporary() -> Result<OwnFolder, FolderError> {
    let base = env::temp_dir();
    reclaim_folders(&base);
    OwnFolder::create(&base).map_err(|source| FolderError::Temporary { base, source })
}
