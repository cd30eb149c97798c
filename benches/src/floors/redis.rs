//! Redis as a peer of the control store: SET and GET over one loopback connection, pipelined as the rows are.
//!
//! Owns: a server of its own in a temporary folder, on a free port, with an append-only file. Where `redis-server` is not
//! installed the rows stand without it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{each, rate};
use crate::row::{Ctx, Outcome, Reference, Unit};

/// Requests under way, as in the rows.
const IN_FLIGHT: usize = 256;
const WRITES: usize = 50_000;
const ONE_BY_ONE: usize = 1_000;
const READS: usize = 200_000;
/// How long the server may take to start.
const START_MAX: Duration = Duration::from_secs(10);

/// Writes with an fsync before each answer.
pub(crate) static ALWAYS: Reference =
    Reference { name: "Redis, one copy, appendfsync always", unit: Unit::PerSecond, measure: always };
/// Writes with an fsync a second.
pub(crate) static EVERY_SECOND: Reference =
    Reference { name: "Redis, one copy, appendfsync everysec", unit: Unit::PerSecond, measure: every_second };
/// One write at a time with an fsync before its answer.
pub(crate) static ONE_AT_A_TIME: Reference =
    Reference { name: "Redis, one copy, appendfsync always, one at a time", unit: Unit::Seconds, measure: one_by_one };
/// Reads.
pub(crate) static READ: Reference = Reference { name: "Redis, GET", unit: Unit::PerSecond, measure: reads };

/// The references among these that can be measured here.
pub(crate) fn if_installed(references: &[&'static Reference]) -> Vec<&'static Reference> {
    let installed = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    if installed {
        references.to_vec()
    } else {
        Vec::new()
    }
}

/// A server and a connection to it.
struct Redis {
    child: Child,
    stream: BufReader<TcpStream>,
    _folder: tempfile::TempDir,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Redis {
    fn start(fsync: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", fsync, "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()?;
        let start = Instant::now();
        let stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(stream) => break stream,
                Err(error) if start.elapsed() > START_MAX => return Err(error.into()),
                Err(_) => std::thread::yield_now(),
            }
        };
        stream.set_nodelay(true)?;
        Ok(Self { child, stream: BufReader::new(stream), _folder: folder })
    }

    /// Sends commands in windows of so many, and reads every answer.
    fn pipeline(&mut self, count: usize, window: usize, command: impl Fn(usize, &mut Vec<u8>)) -> Outcome<()> {
        let (mut sent, mut answered) = (0, 0);
        let mut buffer = Vec::new();
        while answered < count {
            buffer.clear();
            while sent < count && sent - answered < window {
                command(sent, &mut buffer);
                sent += 1;
            }
            self.stream.get_mut().write_all(&buffer)?;
            self.answer()?;
            answered += 1;
            // What has arrived with it is read before more is sent.
            while answered < sent && !self.stream.buffer().is_empty() {
                self.answer()?;
                answered += 1;
            }
        }
        Ok(())
    }

    fn answer(&mut self) -> Outcome<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.as_bytes().first() {
            Some(b'+') => Ok(()),
            Some(b'$') => {
                let bytes: usize = line[1..].trim().parse()?;
                let mut value = vec![0; bytes + 2];
                Ok(self.stream.read_exact(&mut value)?)
            }
            _ => Err(line.into()),
        }
    }
}

fn set(number: usize, buffer: &mut Vec<u8>) {
    let value = [b'v'; 128];
    buffer.extend(format!("*3\r\n$3\r\nSET\r\n$9\r\nkey{:06}\r\n$128\r\n", number % 100_000).bytes());
    buffer.extend(value);
    buffer.extend(b"\r\n");
}

fn writes(ctx: &mut Ctx, fsync: &'static str) -> Outcome<f64> {
    let count = ctx.size(WRITES);
    let mut redis = Redis::start(fsync)?;
    rate(count, || redis.pipeline(count, IN_FLIGHT, set))
}

fn always(ctx: &mut Ctx) -> Outcome<f64> {
    writes(ctx, "always")
}

fn every_second(ctx: &mut Ctx) -> Outcome<f64> {
    writes(ctx, "everysec")
}

fn one_by_one(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(ONE_BY_ONE);
    let mut redis = Redis::start("always")?;
    each(count, || redis.pipeline(count, 1, set))
}

fn reads(ctx: &mut Ctx) -> Outcome<f64> {
    let count = ctx.size(READS);
    let mut redis = Redis::start("everysec")?;
    redis.pipeline(1_000, IN_FLIGHT, set)?;
    let get = |number: usize, buffer: &mut Vec<u8>| {
        buffer.extend(format!("*2\r\n$3\r\nGET\r\n$9\r\nkey{:06}\r\n", number % 1_000).bytes());
    };
    rate(count, || redis.pipeline(count, IN_FLIGHT, get))
}
