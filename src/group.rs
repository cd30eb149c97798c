//! Placement groups: bundles of resources, reserved all or none.

use std::{sync::Arc, time::Duration};

pub use actinic_actors::placement::PlacementStrategy;
use actinic_actors::{cell::Stored, context, options::SchedulingStrategy, placement::GroupRequest};
use actinic_gcs::{spec, PlacementGroupId, ResourceSet};

use crate::{
    error::{Result, TaskError},
    object_ref::{ObjectCell, ObjectRef},
    runtime::Runtime,
};

/// A placement group. It stays until [`Runtime::remove_placement_group`], whoever holds this.
#[derive(Clone)]
pub struct PlacementGroup {
    id: PlacementGroupId,
    ready: ObjectRef<()>,
    bundles: Arc<[ResourceSet]>,
}

impl PlacementGroup {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> PlacementGroupId {
        self.id
    }

    /// Its bundles.
    #[must_use]
    pub fn bundles(&self) -> &[ResourceSet] {
        &self.bundles
    }

    /// An object that is ready when all bundles are reserved.
    #[must_use]
    pub fn ready(&self) -> ObjectRef<()> {
        self.ready.clone()
    }

    /// Waits until all bundles are reserved; whether they were within the time.
    ///
    /// # Errors
    /// If the runtime ends.
    pub fn wait(&self, timeout: Duration) -> Result<bool, TaskError> {
        match self.ready.get_timeout(timeout) {
            Ok(()) => Ok(true),
            Err(error) if error.is_timeout() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The strategy that places a task in this group.
    #[must_use]
    pub fn strategy(&self, bundle: Option<u32>) -> SchedulingStrategy {
        SchedulingStrategy::PlacementGroup { group: self.id, bundle }
    }
}

impl Runtime {
    /// Reserves `bundles`, all or none, as `strategy` says. It may have to wait: see [`PlacementGroup::ready`].
    ///
    /// # Errors
    /// If it can never be placed on the present nodes of an embedded runtime, or makes no sense. In a cluster it waits for nodes.
    pub fn placement_group(&self, bundles: Vec<ResourceSet>, strategy: PlacementStrategy) -> Result<PlacementGroup> {
        let id = context::next_group(&self.node);
        let (_, object) = context::next_put(&self.node);
        let ready = ObjectCell::<()>::pending(object);
        let ours = ready.clone();
        let strategy_recorded = match strategy {
            PlacementStrategy::Pack => spec::PlacementStrategy::Pack,
            PlacementStrategy::Spread => spec::PlacementStrategy::Spread,
            PlacementStrategy::StrictPack => spec::PlacementStrategy::StrictPack,
            PlacementStrategy::StrictSpread => spec::PlacementStrategy::StrictSpread,
        };
        let lifetime = spec::Lifetime::Job(self.node.config.job);
        let recorded = spec::PlacementGroupSpec {
            id,
            name: None,
            strategy: strategy_recorded,
            bundles: bundles.clone(),
            lifetime,
        };
        if let Some(cluster) = &self.node.cluster {
            let request = GroupRequest { id, bundles: bundles.clone(), strategy, wait_for_nodes: true };
            request.check()?;
            let on_placed = move |placed: Result<(), TaskError>| ours.fill(placed.map(Stored::Live));
            cluster.create_group(recorded, request, Box::new(on_placed));
            return Ok(PlacementGroup { id, ready: ObjectRef::of(ready), bundles: bundles.into() });
        }
        let node = self.node.clone();
        let nodes = vec![node.id; bundles.len()];
        let request = GroupRequest { id, bundles: bundles.clone(), strategy, wait_for_nodes: false };
        let on_placed = move || {
            node.gcs.group_placed(id, nodes);
            ours.fill(Ok(Stored::Live(())));
        };
        self.node.gcs.group_created(recorded);
        if let Err(error) = self.node.scheduler.create_group(request, Box::new(on_placed)) {
            self.node.gcs.group_removed(id);
            return Err(error.into());
        }
        Ok(PlacementGroup { id, ready: ObjectRef::of(ready), bundles: bundles.into() })
    }

    /// Gives a group's resources back, once its tasks are done.
    pub fn remove_placement_group(&self, group: &PlacementGroup) {
        if let Some(cluster) = &self.node.cluster {
            return cluster.remove_group(group.id);
        }
        self.node.scheduler.remove_group(group.id);
        self.node.gcs.group_removed(group.id);
    }
}
