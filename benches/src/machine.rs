//! What the machine is doing besides: load, compilers at work, and this process's own memory.
//!
//! Reads `/proc`; where there is none every answer is "unknown", never an error.

use std::fs;

/// Programs that take whole cores from a measurement.
const COMPILERS: [&str; 8] = ["rustc", "cc1plus", "cc1", "clang", "lld", "ld", "cargo", "clippy-driver"];

/// A load above this share of the cores, before anything is measured, is somebody else's.
const LOAD_PER_CORE_MAX: f64 = 0.5;

/// What would make the figures wrong, in words; empty on a quiet machine.
pub(crate) fn warnings() -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(load) = load() {
        if load > LOAD_PER_CORE_MAX * cores() as f64 {
            warnings.push(format!("the load is {load:.1} on {} cores: figures will be low", cores()));
        }
    }
    let busy = compilers();
    if !busy.is_empty() {
        warnings.push(format!("another process is compiling ({}): figures will be noisy", busy.join(", ")));
    }
    if cfg!(debug_assertions) {
        warnings.push("built without optimisation: use --release".to_owned());
    }
    warnings
}

/// The cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The load average of the last minute.
pub(crate) fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Memory of this process that is in RAM, in bytes.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The compilers that run now, each named once.
fn compilers() -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<String> = processes
        .flatten()
        .filter_map(|process| running(&process.path()))
        .filter(|name| COMPILERS.contains(&name.as_str()))
        .collect();
    found.sort();
    found.dedup();
    // `cargo run` itself waits as our parent: alone it compiles nothing.
    if found == ["cargo"] {
        found.clear();
    }
    found
}

/// The name of a process, if the folder is one and it is no zombie.
fn running(folder: &std::path::Path) -> Option<String> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let zombie = rest.trim_start().starts_with('Z');
    (!zombie).then(|| name.to_owned())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes().expect("there is a /proc") > 4096);
    }

    #[test]
    fn this_process_has_a_name() {
        assert!(running(std::path::Path::new("/proc/self")).is_some());
        assert!(running(std::path::Path::new("/proc/sys")).is_none());
    }

    #[test]
    fn the_load_is_a_number() {
        assert!(load().expect("there is a /proc") >= 0.0);
    }
}
