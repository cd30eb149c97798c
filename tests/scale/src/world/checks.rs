//! What must hold, whatever happens.
//!
//! Owns: asking the cores that an event has touched for their invariants, and what must be true of the cluster once all is
//! done: no task lost, no lease leaked, no worker of a job that has ended.

use actinic_gcs::resources::CPU;

use super::World;

impl World {
    pub(super) fn check_node(&self, at: u32) {
        if self.settings.check {
            let node = &self.nodes[at as usize];
            node.local.sanity_check();
            node.pool.sanity_check();
        }
    }

    pub(super) fn check_process(&self, process: u32) {
        if self.settings.check {
            self.procs[process as usize].submit.sanity_check();
        }
    }

    /// What is wrong with a cluster in which no driver lives any more; nothing, if all is well.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let mut found = Vec::new();
        for node in self.nodes.iter().filter(|node| node.alive) {
            let load = node.local.load(0, 0);
            let (free, all) = (load.free.of(CPU), self.resources().of(CPU));
            if free != all {
                let held = node.local.held().join(", ");
                found.push(format!("node {}: {} of {} CPUs are free: {held}", node.id.0, free.units(), all.units()));
            }
            if load.waiting > 0 {
                found.push(format!(
                    "node {}: {} leases are wanted: {:?}",
                    node.id.0,
                    load.waiting,
                    node.local.waiting()
                ));
            }
            if !node.pool.is_empty() {
                found.push(format!("node {}: {} workers are left", node.id.0, node.pool.len()));
            }
        }
        found
    }

    /// What is known of a driver's tasks that have not ended.
    pub(crate) fn left_of(&self, driver: u32) -> String {
        let proc = &self.procs[driver as usize];
        let Some(program) = proc.program() else { return String::new() };
        let left = program.progress.left();
        let some: Vec<String> = left
            .iter()
            .take(5)
            .map(|number| {
                let (task, class, _) = program.plan.task(program.id, *number);
                let worker = proc.submit.worker_of(task.id);
                format!("{number} (class {class}, at {worker:?})")
            })
            .collect();
        let class = left.first().map_or(0, |number| program.plan.task(program.id, *number).1);
        let explained = proc.submit.explain(proc.class(class));
        format!("{} tasks of driver {} are left: {}; {explained:?}", left.len(), proc.id, some.join(", "))
    }

    /// Whether the process of a driver lives.
    pub(crate) fn lives(&self, driver: u32) -> bool {
        self.procs[driver as usize].alive
    }

    /// Tasks of a driver that ended, and those of them that failed for good.
    pub(crate) fn outcome(&self, driver: u32) -> (u32, u32) {
        self.procs[driver as usize].program().map_or((0, 0), |program| (program.progress.done, program.progress.failed))
    }

    /// When each task of a driver with objects was submitted, and when it ended.
    pub(crate) fn times(&self, driver: u32) -> &[(u64, u64)] {
        self.procs[driver as usize].program().map_or(&[], |program| &program.times)
    }

    /// Nodes on which tasks have run.
    pub(crate) fn nodes_that_ran(&self) -> u32 {
        let with_work = self.procs.iter().filter(|proc| proc.lane.ran_ns() > 0).map(|proc| proc.node);
        with_work.collect::<std::collections::BTreeSet<u32>>().len() as u32
    }
}
