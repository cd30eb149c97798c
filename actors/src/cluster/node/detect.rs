//! What a node finds out about itself.
//!
//! Owns: what it says of itself, its labels, the machine's memory, and what is drawn at random. Invariant: what the settings say goes
//! before what is detected.

use std::{collections::BTreeMap, io, time::Instant};

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
        labels: labels(&settings.labels),
        object_store_bytes: store_config(settings.resources.get(OBJECT_STORE_MEMORY).copied()).capacity_bytes as u64,
        shared_memory: if settings.apart { None } else { crate::store::shared_memory() },
    }
}

/// Bytes of memory of this machine, or of the cgroup that this process is in; 1 GiB where that cannot be told.
#[must_use]
pub fn machine_memory() -> u64 {
    super::memory::bound_bytes().unwrap_or(1 << 30)
}

/// Labels that every node has, unless its settings say otherwise: its host's name, and what runs there.
fn labels(given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let detected = [
        ("host", crate::gcs_client::hostname()),
        ("arch", std::env::consts::ARCH.to_owned()),
        ("os", std::env::consts::OS.to_owned()),
    ];
    let mut labels: BTreeMap<_, _> = detected.map(|(key, value)| (key.to_owned(), value)).into();
    labels.extend(given.clone());
    labels
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_labels_of_its_own_accord_and_those_that_are_given_win() {
        let found = labels(&BTreeMap::new());
        assert_eq!(found.keys().collect::<Vec<_>>(), ["arch", "host", "os"]);
        assert_eq!(found["arch"], std::env::consts::ARCH);
        let given = [("host", "rack-7"), ("zone", "b")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let labels = labels(&given.into());
        assert_eq!((labels["host"].as_str(), labels["zone"].as_str()), ("rack-7", "b"));
        assert_eq!(labels["os"], found["os"]);
    }
}
