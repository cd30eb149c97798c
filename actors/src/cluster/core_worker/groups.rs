//! Placement groups that this process has asked for.
//!
//! Owns: who waits for which, and the rows of the control store. Invariant: whoever waits is told once, and does not run under
//! a lock.

use std::sync::Arc;

use actinic_gcs::{spec::PlacementGroupSpec, PlacementGroupId};

use super::{disconnected, CoreWorker};
use crate::{
    cluster::{
        groups::{GroupAsk, GroupNews},
        wire::ToNode,
    },
    error::{TaskError, TaskErrorKind},
    placement::GroupRequest,
};

/// What is done once a group is placed for the first time, or never will be.
pub type OnPlaced = Box<dyn FnOnce(Result<(), TaskError>) + Send>;

impl CoreWorker {
    /// Asks for a placement group. The caller has checked that the request makes sense.
    pub fn create_group(&self, spec: PlacementGroupSpec, request: GroupRequest, on_placed: OnPlaced) {
        if let Some(node) = self.engine() {
            node.gcs.group_created(spec);
        }
        self.groups.lock().insert(request.id, Some(on_placed));
        self.to_node(&ToNode::Group(GroupAsk::Create(request)));
    }

    /// Gives a group back. What runs in it ends.
    pub fn remove_group(self: &Arc<Self>, group: PlacementGroupId) {
        let mut effects = Vec::new();
        {
            let mut state = self.state.lock();
            state.submit.on_group_removed(group, &mut effects);
            state.submit.settle(&mut effects);
        }
        self.carry_out(effects);
        self.to_node(&ToNode::Group(GroupAsk::Remove(group)));
        let waiting = self.groups.lock().remove(&group).flatten();
        if let Some(node) = self.engine() {
            node.gcs.group_removed(group);
        }
        if let Some(on_placed) = waiting {
            on_placed(Err(refused(group, "it was removed before it was placed")));
        }
    }

    /// What became of a group.
    pub(super) fn on_group(&self, group: PlacementGroupId, news: GroupNews) {
        let Some(node) = self.engine() else { return };
        if !self.groups.lock().contains_key(&group) {
            return;
        }
        let over = matches!(news, GroupNews::Refused(_));
        let given = match news {
            GroupNews::Placed(nodes) => {
                node.gcs.group_placed(group, nodes);
                Ok(())
            }
            GroupNews::Lost(lost) => {
                tracing::warn!(%group, node = %lost, "a placement group has lost a node; its bundles are placed again");
                return node.gcs.group_lost_node(group, lost);
            }
            GroupNews::Refused(why) => {
                node.gcs.group_removed(group);
                Err(refused(group, &why))
            }
        };
        let mut groups = self.groups.lock();
        let waiting = match over {
            true => groups.remove(&group).flatten(),
            false => groups.get_mut(&group).and_then(Option::take),
        };
        drop(groups);
        if let Some(on_placed) = waiting {
            on_placed(given);
        }
    }

    /// The node is gone, and all groups with it.
    pub(super) fn groups_lost(&self) {
        let all = std::mem::take(&mut *self.groups.lock());
        all.into_values().flatten().for_each(|on_placed| on_placed(Err(disconnected())));
    }
}

fn refused(group: PlacementGroupId, why: &str) -> TaskError {
    let (task, demand) = (format!("placement group {group}"), "its bundles".to_owned());
    TaskErrorKind::Infeasible { task, demand, reason: why.to_owned() }.into()
}
