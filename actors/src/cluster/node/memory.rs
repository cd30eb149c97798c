//! The memory monitor: before the machine runs out of memory, one worker ends rather than whatever the system would choose.
//!
//! Owns: looking at the memory of the machine, of the node's cgroup and of the workers, and having a worker killed; [`core`]
//! decides which. Invariants: one worker at a time, and none while the last one's end is awaited; what cannot be read is taken
//! for plenty.

pub(super) mod core;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use actinic_gcs::WorkerId;

use self::core::{Candidate, Memory, MemoryCore};
use super::NodeShared;
use crate::cluster::{
    local::Leases,
    workers::{PoolEvent, Processes},
};

/// Between looks.
const LOOK: Duration = Duration::from_millis(250);
/// The unit of `statm`. Where pages are larger than that, workers look smaller than they are, all alike.
const PAGE_BYTES: u64 = 4_096;

/// Looks for as long as the node lives.
pub(super) async fn keep(shared: Arc<NodeShared>, threshold: f64) {
    let mut core = MemoryCore::new(threshold);
    loop {
        tokio::time::sleep(LOOK).await;
        let memory = tightest();
        if !core.is_short(memory) {
            continue;
        }
        let (Some(local), Some(pool)) = (shared.local.get(), shared.pool.get()) else { continue };
        let (Ok(leases), Ok(processes)) = (local.send(Leases).await, pool.send(Processes).await) else { return };
        let mut serving: BTreeMap<WorkerId, _> =
            leases.into_iter().map(|served| (served.worker.worker, served)).collect();
        let candidates = processes
            .into_iter()
            .map(|(worker, pid)| Candidate { worker, bytes: resident(pid), serves: serving.remove(&worker) })
            .collect();
        if let Some((worker, reason)) = core.on_short(shared.now(), memory, candidates) {
            tracing::warn!(worker = worker.0, reason, "a worker is killed");
            shared.pool(PoolEvent::Kill(worker, reason));
        }
    }
}

/// Bytes of a process's own memory: what it shares with others, as the object store, is not its fault.
fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut pages = text.split_whitespace().skip(1).map_while(|pages| pages.parse::<u64>().ok());
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared) * PAGE_BYTES
}

/// Of the machine and the cgroups of this process, what is closest to its bound.
fn tightest() -> Memory {
    let all = cgroups().into_iter().chain(machine());
    all.max_by(|a, b| a.part().total_cmp(&b.part())).unwrap_or_default()
}

/// Bytes that this process and its children can have: those of the machine, or of a cgroup around it that allows less.
pub(super) fn bound_bytes() -> Option<u64> {
    cgroups().into_iter().chain(machine()).map(|memory| memory.total).min()
}

fn machine() -> Option<Memory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1_024)
    };
    let (total, available) = (bytes("MemTotal:")?, bytes("MemAvailable:")?);
    Some(Memory { used: total.saturating_sub(available), total })
}

/// The cgroups of this process that have a bound, those around it included.
fn cgroups() -> Vec<Memory> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    text.lines()
        .flat_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            match (parts.next(), parts.next()) {
                (Some(""), Some(path)) => around("/sys/fs/cgroup", path, VERSION_2),
                (Some("memory"), Some(path)) => around("/sys/fs/cgroup/memory", path, VERSION_1),
                _ => Vec::new(),
            }
        })
        .collect()
}

/// Names of files: the bound, what is in use, and what of that can be taken back at once.
type Files = [&'static str; 3];
const VERSION_1: Files = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];
const VERSION_2: Files = ["memory.max", "memory.current", "inactive_file "];

fn around(root: &str, path: &str, [bound, usage, reclaimable]: Files) -> Vec<Memory> {
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let of = |folder: &Path| {
        let (total, used) = (number(&folder.join(bound))?, number(&folder.join(usage))?);
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(reclaimable)?.trim().parse::<u64>().ok());
        Some(Memory { used: used.saturating_sub(cached.unwrap_or(0)), total })
    };
    let whole = Path::new(root).join(path.trim_start_matches('/'));
    whole.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_s_bound_counts_wherever_above_it_stands() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("pod/container");
        fs::create_dir_all(&inner).unwrap();
        for (folder, bound) in [(inner.parent().unwrap(), "1073741824\n"), (inner.as_path(), "max\n")] {
            fs::write(folder.join("memory.max"), bound).unwrap();
            fs::write(folder.join("memory.current"), "1000\n").unwrap();
            fs::write(folder.join("memory.stat"), "anon 5\ninactive_file 400\n").unwrap();
        }
        let found = around(root.path().to_str().unwrap(), "/pod/container", VERSION_2);
        assert_eq!(found, [Memory { used: 600, total: 1 << 30 }]);
        assert!(bound_bytes() <= machine().map(|memory| memory.total));
    }
}
