//! A network of network namespaces, one a host, that can be cut, narrowed and made to lose packets.
//!
//! ```text
//! host 1 ── eth0 ═══ r1 ─┐
//! host 2 ── eth0 ═══ r2 ─┤ hub: forwards between its ends, and swallows what has no way
//! host 3 ── eth0 ═══ r3 ─┘
//! ```
//!
//! Owns: the namespaces, what is done to their links, and moving a thread into one of them. To cut is to take the hub's end of
//! a link down: both sides send into nothing and nobody is told. Invariants: a shell removes the namespaces when its standard
//! input is closed, so at the latest when the test's process ends, however that ends; what a killed shell left is removed by
//! the next network; nothing is in a namespace of the machine's own.

use std::{
    fs::{self, File},
    io::Write as _,
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::thread::{move_into_link_name_space, LinkNameSpaceType};

/// Where `ip` keeps namespaces by name.
const NAMESPACES: &str = "/run/netns";
/// What all names here begin with, before the process that made them.
const OURS: &str = "actinic-hosts-";

/// Names a file to which tests that are passed over add a line, since what a test prints that passes is not shown.
const PASSED_OVER: &str = "ACTINIC_PASSED_OVER";

/// Says by its name that a test is passed over, and why.
pub(crate) fn passed_over(test: &str, why: &str) {
    let line = format!("{test} is passed over: {why}\n");
    print!("{line}");
    let Ok(file) = std::env::var(PASSED_OVER) else { return };
    let file = fs::OpenOptions::new().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
}

/// A network.
pub(crate) struct Network {
    name: String,
    /// The second part of all its addresses: of two networks at once they differ, since nodes of one machine are found by
    /// their addresses.
    part: u32,
    keeper: Child,
}

impl Network {
    /// Makes one of so many hosts.
    ///
    /// # Errors
    /// Why that is not possible here: no tools, or no permission.
    pub(crate) fn make(hosts: u8) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_leftovers();
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (name, part) = (format!("{OURS}{process}-{number}"), (process * 7 + number) % 200 + 20);
        let all: Vec<String> = (0..=hosts).map(|host| format!("{name}-{host}")).collect();
        let script = "cat > /dev/null; for name; do ip netns delete \"$name\" 2> /dev/null; done";
        let keeper = Command::new("sh")
            .args(["-c", script, "keeper"])
            .args(&all)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| error.to_string())?;
        let network = Self { name, part, keeper };
        network.connect(hosts).map(|()| network)
    }

    fn connect(&self, hosts: u8) -> Result<(), String> {
        let hub = self.space(0);
        ip(&["netns", "add", &hub])?;
        for host in 1..=hosts {
            let (end, link, gate) = (self.space(host), format!("r{host}"), format!("10.{}.{host}.1", self.part));
            ip(&["netns", "add", &end])?;
            ip(&["-n", &hub, "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &end])?;
            ip(&["-n", &hub, "address", "add", &format!("{gate}/24"), "dev", &link])?;
            ip(&["-n", &hub, "link", "set", &link, "up"])?;
            ip(&["-n", &end, "link", "set", "lo", "up"])?;
            ip(&["-n", &end, "address", "add", &format!("{}/24", self.address(host)), "dev", "eth0"])?;
            ip(&["-n", &end, "link", "set", "eth0", "up"])?;
            ip(&["-n", &end, "route", "add", "default", "via", &gate])?;
        }
        // Else the hub would tell senders at once that there is no way to a link that is down.
        ip(&["-n", &hub, "route", "add", "blackhole", "default"])?;
        self.in_hub(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    }

    /// The address of a host.
    pub(crate) fn address(&self, host: u8) -> String {
        format!("10.{}.{host}.2", self.part)
    }

    fn space(&self, host: u8) -> String {
        format!("{}-{host}", self.name)
    }

    fn in_hub(&self, command: &[&str]) -> Result<(), String> {
        let hub = self.space(0);
        ip(&[&["netns", "exec", &hub], command].concat())
    }

    /// Does something at a host: sockets and processes that it makes are there, and so are those of threads that it starts.
    pub(crate) fn at<T: Send>(&self, host: u8, what: impl FnOnce() -> T + Send) -> T {
        let space = File::open(Path::new(NAMESPACES).join(self.space(host))).unwrap();
        let there = || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            what()
        };
        let done = thread::scope(|scope| scope.spawn(there).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Cuts a host off, or mends that.
    pub(crate) fn set_link(&self, host: u8, up: bool) {
        ip(&["-n", &self.space(0), "link", "set", &format!("r{host}"), if up { "up" } else { "down" }]).unwrap();
    }

    /// From now on so many of a hundred packets between hosts are lost, at random.
    ///
    /// # Errors
    /// That this machine cannot do that.
    pub(crate) fn lose(&self, percent: u8) -> Result<(), String> {
        self.in_hub(&["nft", "add", "table", "inet", "loss"])?;
        let hook = "{ type filter hook forward priority 0; }";
        self.in_hub(&["nft", "add", "chain", "inet", "loss", "passing", hook])?;
        let percent = percent.to_string();
        self.in_hub(&[
            "nft", "add", "rule", "inet", "loss", "passing", "numgen", "random", "mod", "100", "<", &percent, "drop",
        ])
    }

    /// From now on nothing passes between hosts but what goes to or comes from these ports, and nobody is told of the rest.
    ///
    /// # Errors
    /// That this machine cannot do that.
    pub(crate) fn wall(&self, ports: &[u16]) -> Result<(), String> {
        let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let ports = format!("{{ {ports} }}");
        let hook = "{ type filter hook forward priority 0; }";
        self.in_hub(&["nft", "add", "table", "inet", "wall"])?;
        self.in_hub(&["nft", "add", "chain", "inet", "wall", "passing", hook])?;
        let rule = ["tcp", "dport", "!=", &ports, "tcp", "sport", "!=", &ports, "drop"];
        self.in_hub(&[&["nft", "add", "rule", "inet", "wall", "passing"], &rule[..]].concat())
    }

    /// From now on a host receives no more than so many Mbit/s.
    ///
    /// # Errors
    /// That this machine cannot do that.
    pub(crate) fn narrow(&self, host: u8, mbits: u32) -> Result<(), String> {
        let (link, rate) = (format!("r{host}"), format!("{mbits}mbit"));
        self.in_hub(&[
            "tc", "qdisc", "add", "dev", &link, "root", "tbf", "rate", &rate, "burst", "64kb", "latency", "200ms",
        ])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let said = Command::new("ip").args(words).output().map_err(|error| format!("there is no `ip` here: {error}"))?;
    if said.status.success() {
        return Ok(());
    }
    Err(format!("`ip {}`: {}", words.join(" "), String::from_utf8_lossy(&said.stderr).trim()))
}

/// Removes what processes have left that are gone.
fn remove_leftovers() {
    let names = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(process) = name.strip_prefix(OURS).and_then(|rest| rest.split('-').next()) else { continue };
        if !Path::new("/proc").join(process).exists() {
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}
