//! What the control store knows: key-values of the user's own, and the lists of nodes, jobs, actors and groups.

use actinic_actors::{blocking, gcs_client::GcsError};
use actinic_gcs::spec::{ActorInfo, JobInfo, NodeInfo, PlacementGroupInfo};

use crate::{data::Bytes, error::Result, runtime::Runtime};

impl Runtime {
    fn ask<R>(&self, ask: impl FnOnce() -> Result<R, GcsError>) -> Result<R> {
        Ok(blocking::blocked(&self.node, ask)?)
    }

    /// Puts a value under a key of the runtime's namespace; whether it was stored (with `overwrite` it always is).
    ///
    /// # Errors
    /// If key or value are over their bounds.
    pub fn kv_put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, overwrite: bool) -> Result<bool> {
        let (key, value) = (key.into(), value.into());
        self.ask(|| self.node.gcs.kv_put(&self.node.config.kv_namespace, key, value, overwrite))
    }

    /// The value under a key.
    ///
    /// # Errors
    /// If the control store cannot be reached.
    pub fn kv_get(&self, key: impl Into<Vec<u8>>) -> Result<Option<Bytes>> {
        let key = key.into();
        let value = self.ask(|| self.node.gcs.kv_get(&self.node.config.kv_namespace, key))?;
        Ok(value.map(Bytes::from))
    }

    /// Takes a key away; whether it was there.
    ///
    /// # Errors
    /// If the control store cannot be reached.
    pub fn kv_delete(&self, key: impl Into<Vec<u8>>) -> Result<bool> {
        let key = key.into();
        self.ask(|| self.node.gcs.kv_delete(&self.node.config.kv_namespace, key))
    }

    /// Puts `new` under a key if `expected` is there now (`None`: nothing); whether it was.
    ///
    /// # Errors
    /// If key or value are over their bounds.
    pub fn kv_compare_and_swap(
        &self,
        key: impl Into<Vec<u8>>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Result<bool> {
        let key = key.into();
        let (expected, new) = (expected.map(Into::into), new.map(Into::into));
        self.ask(|| self.node.gcs.kv_compare_and_swap(&self.node.config.kv_namespace, key, expected, new))
    }

    /// The keys that begin with `prefix`.
    ///
    /// # Errors
    /// If the control store cannot be reached.
    pub fn kv_keys(&self, prefix: impl Into<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let prefix = prefix.into();
        let keys = self.ask(|| self.node.gcs.kv_keys(&self.node.config.kv_namespace, prefix))?;
        Ok(keys.into_iter().map(|key| key.to_vec()).collect())
    }

    /// The nodes, as the control store has them.
    ///
    /// # Errors
    /// If the control store cannot be reached.
    pub fn list_nodes(&self) -> Result<Vec<NodeInfo>> {
        self.ask(|| self.node.gcs.nodes())
    }

    /// The jobs, as the control store has them.
    ///
    /// # Errors
    /// If the control store cannot be reached.
    pub fn list_jobs(&self) -> Result<Vec<JobInfo>> {
        self.ask(|| self.node.gcs.jobs())
    }

    /// The actors, the latest dead ones included, as the control store has them.
    ///
    /// # Errors
    /// If the control store cannot be reached.
    pub fn list_actors(&self) -> Result<Vec<ActorInfo>> {
        self.ask(|| self.node.gcs.actors())
    }

    /// The placement groups, as the control store has them.
    ///
    /// # Errors
    /// If the control store cannot be reached.
    pub fn list_placement_groups(&self) -> Result<Vec<PlacementGroupInfo>> {
        self.ask(|| self.node.gcs.groups())
    }
}
