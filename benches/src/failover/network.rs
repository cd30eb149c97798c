//! A network of network namespaces that can be cut.
//!
//! ```text
//! 1 ── eth0 ═══ r1 ─┐
//! 2 ── eth0 ═══ r2 ─┤ hub: forwards between its ends, and swallows what has no way
//! 3 ── eth0 ═══ r3 ─┤
//! client ─ eth0 ═ r4 ┘
//! ```
//!
//! Owns: the names, the commands of `ip` that make it, cut it and remove it. Does not own who removes it (the keeper). A
//! router and not a bridge: not every kernel has bridges. To cut is to take the hub's end of a link down: then both sides
//! send into nothing, and nobody is told, as where a cable is pulled somewhere on the way. Invariant: nothing of it is in
//! any namespace of the machine's own, so no address of it can collide with others.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{keeper::complain, left_over, run_to_end, OURS};
use crate::row::Outcome;

/// The client's place, behind the replicas 1 to 3.
pub(super) const CLIENT: u64 = 4;
/// Where `ip` keeps namespaces by name.
const NAMESPACES: &str = "/run/netns";

/// A network, made or not.
pub(super) struct Network(String);

impl Network {
    /// A new name for a network of this process.
    pub(super) fn named() -> Self {
        Self(format!("{OURS}{}", std::process::id()))
    }

    /// The network of this name.
    pub(super) fn of(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.0)
    }

    fn end(&self, place: u64) -> String {
        format!("{}-{place}", self.0)
    }

    /// The address of a place.
    pub(super) fn address(place: u64) -> String {
        format!("10.0.{place}.2")
    }

    /// Makes it.
    ///
    /// # Errors
    /// Why it cannot be made; what was made until then is still to be removed.
    pub(super) fn make(&self) -> Outcome<()> {
        let hub = self.hub();
        ip(&["netns", "add", &hub])?;
        for place in 1..=CLIENT {
            let (end, link, gate) = (self.end(place), format!("r{place}"), format!("10.0.{place}.1"));
            ip(&["netns", "add", &end])?;
            ip(&["-n", &hub, "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &end])?;
            ip(&["-n", &hub, "address", "add", &format!("{gate}/24"), "dev", &link])?;
            ip(&["-n", &hub, "link", "set", &link, "up"])?;
            ip(&["-n", &end, "link", "set", "lo", "up"])?;
            ip(&["-n", &end, "address", "add", &format!("{}/24", Self::address(place)), "dev", "eth0"])?;
            ip(&["-n", &end, "link", "set", "eth0", "up"])?;
            ip(&["-n", &end, "route", "add", "default", "via", &gate])?;
        }
        // Else the hub would tell senders at once that there is no way to a link that is down.
        ip(&["-n", &hub, "route", "add", "blackhole", "default"])?;
        ip(&["netns", "exec", &hub, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    }

    /// A program at one of the ends.
    pub(super) fn command(&self, place: u64, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.end(place)]).arg(program);
        command
    }

    /// Cuts a place off, or mends that.
    ///
    /// # Errors
    /// What `ip` says.
    pub(super) fn set_link(&self, place: u64, up: bool) -> Outcome<()> {
        ip(&["-n", &self.hub(), "link", "set", &format!("r{place}"), if up { "up" } else { "down" }])
    }

    /// Removes what there is of it. Its links go with their ends.
    pub(super) fn remove(&self) {
        for name in (1..=CLIENT).map(|place| self.end(place)).chain([self.hub()]) {
            if Path::new(NAMESPACES).join(&name).exists() {
                complain(ip(&["netns", "delete", &name]));
            }
        }
    }

    /// Removes what processes have left that are gone.
    pub(super) fn remove_leftovers() {
        let Ok(entries) = fs::read_dir(NAMESPACES) else { return };
        for name in left_over(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())) {
            complain(ip(&["netns", "delete", &name]));
        }
    }
}

fn ip(words: &[&str]) -> Outcome<()> {
    run_to_end(Command::new("ip").args(words))
}
