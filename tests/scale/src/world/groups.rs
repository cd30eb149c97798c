//! Placement groups: the global scheduler that places them, and a driver that makes them.
//!
//! Owns: what `cluster/global.rs` does with what `GroupCore` decides, and the rows that `core_worker/groups.rs` writes. A
//! driver's script makes one group after the other, and gives each back once it is placed.

use std::collections::BTreeMap;

use actinic_actors::{
    cluster::{
        global::GlobalEvent,
        groups::{core::GroupEffect, Asker, GroupAsk, GroupFrame, GroupNews},
        local::LocalEvent,
        wire::{FromNode, NodeFrame, ToNode},
    },
    placement::{GroupRequest, PlacementStrategy},
};
use actinic_gcs::{
    resources::CPU,
    spec::{self, Lifetime, PlacementGroupSpec},
    tables::GroupWrite,
    NodeId, PlacementGroupId, ResourceSet,
};

use super::{
    events::{Event, Up},
    node::MAIN,
    World,
};
use crate::{meter::Core, model::MS};

/// Between looks at groups that wait, as in `cluster/global.rs`.
const LOOK_NS: u64 = 50 * MS;

impl World {
    /// A driver makes so many groups of two bundles, one after the other.
    pub(crate) fn script_groups(&mut self, driver: u32, count: u32, at: u64) {
        self.procs[driver as usize].groups_left = count;
        self.queue.at(at, Event::NextGroup(driver));
    }

    /// Groups that a driver has not made yet.
    pub(crate) fn groups_left(&self, driver: u32) -> u32 {
        self.procs[driver as usize].groups_left
    }

    pub(super) fn next_group(&mut self, process: u32) {
        let proc = &mut self.procs[process as usize];
        if proc.groups_left == 0 {
            return;
        }
        let (job, number) = (proc.code.job, proc.groups_left);
        let id = PlacementGroupId(u128::from(job.0) << 32 | u128::from(number));
        let bundles = vec![ResourceSet::new().with(CPU, 1.0); 2];
        let spec = PlacementGroupSpec {
            id,
            name: None,
            strategy: spec::PlacementStrategy::Pack,
            bundles: bundles.clone(),
            lifetime: Lifetime::Job(job),
        };
        self.record(GroupWrite::Create(Box::new(spec)));
        let request = GroupRequest { id, bundles, strategy: PlacementStrategy::Pack, wait_for_nodes: true };
        self.send_up(process, Up::Frame(ToNode::Group(GroupAsk::Create(request))));
    }

    /// A group of a driver's is placed: it is given back, and the next one is made.
    pub(super) fn hear_of_group(&mut self, process: u32, group: PlacementGroupId, news: GroupNews) {
        let GroupNews::Placed(nodes) = news else { return };
        self.record(GroupWrite::Place { group, nodes });
        self.send_up(process, Up::Frame(ToNode::Group(GroupAsk::Remove(group))));
        self.record(GroupWrite::Remove(group));
        self.procs[process as usize].groups_left -= 1;
        self.next_group(process);
    }

    pub(super) fn ask_for_group(&mut self, at: u32, process: u32, ask: GroupAsk) {
        let proc = &self.procs[process as usize];
        let asker = Asker { process: proc.id, job: proc.code.job };
        self.tell_global_at(at, MAIN, self.now, GlobalEvent::GroupAsk(asker, Box::new(ask)));
    }

    pub(super) fn hear_group_frame(&mut self, at: u32, from: NodeId, frame: GroupFrame) {
        match frame {
            GroupFrame::Prepared { group, round, taken } => {
                self.tell_global_at(at, MAIN, self.now, GlobalEvent::GroupPrepared { from, group, round, taken });
            }
            frame => self.tell_local(at, MAIN, LocalEvent::Group(from, Box::new(frame))),
        }
    }

    pub(super) fn send_group_frame(&mut self, at: u32, to: NodeId, frame: GroupFrame) {
        match to == self.nodes[at as usize].id {
            true => self.hear_group_frame(at, to, frame),
            false => self.to_node(at, to, NodeFrame::Group(frame)),
        }
    }

    pub(super) fn on_group(&mut self, at: u32, event: GlobalEvent) {
        let now = self.millis(at);
        let (core, mut effects) = (&mut self.nodes[at as usize].groups, Vec::new());
        self.meter.timed(Core::Global, || match event {
            GlobalEvent::GroupAsk(asker, ask) => match *ask {
                GroupAsk::Create(request) => core.on_create(asker, request, &mut effects),
                GroupAsk::Remove(group) => core.on_remove(group, &mut effects),
            },
            GlobalEvent::GroupPrepared { from, group, round, taken } => {
                core.on_prepared(now, from, (group, round), taken, &mut effects);
            }
            GlobalEvent::JobGone(job) => core.on_job_gone(job, &mut effects),
            _ => {}
        });
        self.group_effects(at, effects);
    }

    /// Tries the groups that wait; every while again, as long as some do.
    pub(super) fn place_groups(&mut self, at: u32, is_look: bool) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        if is_look {
            node.groups_look = false;
        }
        let Some(global) = node.global.as_ref().filter(|_| node.alive && node.groups.is_busy()) else { return };
        let (core, mut effects) = (&mut node.groups, Vec::new());
        let free = || -> BTreeMap<NodeId, ResourceSet> { global.free() };
        self.meter.timed(Core::Global, || core.pass(now, free, &mut effects));
        if core.is_busy() && !std::mem::replace(&mut node.groups_look, true) {
            self.queue.at(self.now + LOOK_NS, Event::GroupLook(at));
        }
        self.group_effects(at, effects);
    }

    fn group_effects(&mut self, at: u32, effects: Vec<GroupEffect>) {
        let me = self.nodes[at as usize].id;
        for effect in effects {
            match effect {
                GroupEffect::Send(node, frame) => self.send_group_frame(at, node, frame),
                GroupEffect::Broadcast(frame) => {
                    self.to_all_nodes(at, &NodeFrame::Group(frame.clone()));
                    self.hear_group_frame(at, me, frame);
                }
                GroupEffect::Record(group) => self.record(GroupWrite::Remove(group)),
                GroupEffect::Tell(process, group, news) => {
                    self.to_process(at, process, FromNode::Group(group, news));
                }
            }
        }
    }
}
