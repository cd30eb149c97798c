//! What a node finds out about itself.
//!
//! Owns: what it says of itself, the machine's memory, and what is drawn at random. Invariant: what the settings say goes
//! before what is detected.

use std::{io, time::Instant};

use actinic_gcs::{
    resources::{CPU, GPU, MEMORY},
    spec::NodeSpec,
    NodeId, ResourceSet,
};

use super::NodeSettings;
use crate::cluster::objects::manager::{store_config, OBJECT_STORE_MEMORY};

/// What the node says of itself.
pub(super) fn spec(settings: &NodeSettings, id: NodeId, address: &str) -> NodeSpec {
    let detected = [
        (CPU, std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64)),
        (GPU, 0.0),
        (MEMORY, machine_memory() as f64),
    ];
    let mut resources = ResourceSet::new();
    for (name, units) in detected {
        resources = resources.with(name, settings.resources.get(name).copied().unwrap_or(units));
    }
    let known = [CPU, GPU, MEMORY, OBJECT_STORE_MEMORY];
    for (name, units) in settings.resources.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        resources = resources.with(name, *units);
    }
    NodeSpec {
        id,
        address: address.to_owned(),
        hostname: crate::gcs_client::hostname(),
        head: settings.join.is_none(),
        resources,
        labels: settings.labels.clone(),
        object_store_bytes: store_config(settings.resources.get(OBJECT_STORE_MEMORY).copied()).capacity_bytes as u64,
        shared_memory: if settings.apart { None } else { crate::store::shared_memory() },
    }
}

/// Bytes of memory of this machine; 1 GiB where that cannot be told.
#[must_use]
pub fn machine_memory() -> u64 {
    let read = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = read.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(1 << 30, |kib| kib * 1024)
}

/// A number that nobody else has.
pub(super) fn fresh_id() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let half = |salt: u64| u128::from(RandomState::new().hash_one((salt, std::process::id(), Instant::now())));
    half(1) << 64 | half(2)
}

/// A secret of 256 bits from the system.
pub(super) fn fresh_token() -> String {
    let mut bytes = [0; 32];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes));
    match read {
        Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) => format!("{:032x}{:032x}", fresh_id(), fresh_id()),
    }
}
