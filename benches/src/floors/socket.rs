//! Floors of a call to another process or node: round trips of 64 bytes, encoded calls of which many are under way, and a
//! stream of bytes, between two threads that block, over loopback only.

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use serde::{Deserialize, Serialize};

use super::{each, rate};
use crate::row::{Ctx, Outcome, Reference, Unit};

pub(super) const ROUND_TRIPS: usize = 5_000;
const MESSAGE: [u8; 64] = [7; 64];
pub(super) const STREAM_BYTES: usize = 1 << 30;
pub(super) const CHUNK_BYTES: usize = 1 << 20;
const CALLS: usize = 200_000;
/// Bytes that are written at a time, where many calls are under way.
const BATCH_BYTES: usize = 16 << 10;

/// 64 bytes there and back over a Unix socket.
pub(crate) static UNIX: Reference =
    Reference { name: "Unix socket round trip, 64 B", unit: Unit::Seconds, measure: unix };

/// 64 bytes there and back over TCP on loopback, without Nagle's delay.
pub(crate) static TCP: Reference =
    Reference { name: "TCP loopback round trip, 64 B", unit: Unit::Seconds, measure: tcp };

/// Calls and their answers over a Unix socket, each encoded by rmp-serde, as many under way as there is room for: what calls
/// into another process cost before anything is decided about them.
pub(crate) static UNIX_CALLS: Reference =
    Reference { name: "encoded calls over a Unix socket", unit: Unit::PerSecond, measure: unix_calls };

/// The same over four Unix sockets at a time, each with its own two threads; the sum.
pub(crate) static UNIX_CALLS_FOUR: Reference =
    Reference { name: "encoded calls over four Unix sockets", unit: Unit::PerSecond, measure: four_times_unix_calls };

/// The same over TCP on loopback.
pub(crate) static TCP_CALLS: Reference =
    Reference { name: "encoded calls over TCP loopback", unit: Unit::PerSecond, measure: tcp_calls };

/// One TCP stream on loopback, in writes of 1 MiB.
pub(crate) static TCP_STREAM: Reference =
    Reference { name: "TCP loopback, one stream", unit: Unit::BytesPerSecond, measure: tcp_stream };

/// Four TCP streams on loopback at a time, in writes of 1 MiB; the sum.
pub(crate) static TCP_STREAMS: Reference =
    Reference { name: "TCP loopback, four streams", unit: Unit::BytesPerSecond, measure: tcp_streams::<4> };

/// Three at a time, likewise: what a machine that is four nodes at once can carry to three of them, since all share its
/// processors and its memory.
pub(crate) static TCP_THREE_STREAMS: Reference =
    Reference { name: "TCP loopback, three streams", unit: Unit::BytesPerSecond, measure: tcp_streams::<3> };

fn unix(ctx: &mut Ctx) -> Outcome<f64> {
    let (here, there) = UnixStream::pair()?;
    round_trips(ctx.size(ROUND_TRIPS), here, there)
}

fn tcp(ctx: &mut Ctx) -> Outcome<f64> {
    let (here, there) = connected()?;
    round_trips(ctx.size(ROUND_TRIPS), here, there)
}

/// Two ends of one loopback connection.
pub(super) fn connected() -> Outcome<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let here = TcpStream::connect(listener.local_addr()?)?;
    let (there, _) = listener.accept()?;
    here.set_nodelay(true)?;
    there.set_nodelay(true)?;
    Ok((here, there))
}

/// Seconds a round trip between this thread and one that sends back what comes.
pub(super) fn round_trips<S: Read + Write + Send + 'static>(count: usize, mut here: S, mut there: S) -> Outcome<f64> {
    let echo = thread::spawn(move || {
        let mut message = MESSAGE;
        // The loop ends when the other end is closed.
        while there.read_exact(&mut message).and_then(|()| there.write_all(&message)).is_ok() {}
    });
    let mut answer = MESSAGE;
    let seconds = each(count, || {
        for _ in 0..count {
            here.write_all(&MESSAGE)?;
            here.read_exact(&mut answer)?;
        }
        Ok(())
    });
    drop(here);
    echo.join().map_err(|_| "the echoing thread panicked")?;
    seconds
}

/// What a call of a function without arguments says at the least: which call, of whom, of what, and what it takes.
#[derive(Serialize, Deserialize)]
struct Call {
    id: (u64, u64),
    function: (u64, u64),
    lease: u64,
    args: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    id: (u64, u64),
    result: Result<Vec<u8>, String>,
}

fn unix_calls(ctx: &mut Ctx) -> Outcome<f64> {
    let (here, there) = UnixStream::pair()?;
    let ends = (here.try_clone()?, here, there.try_clone()?, there);
    calls(ctx.size(CALLS), ends)
}

fn four_times_unix_calls(ctx: &mut Ctx) -> Outcome<f64> {
    const SOCKETS: usize = 4;
    let calls_each = ctx.size(CALLS) / SOCKETS + 1;
    rate(SOCKETS * calls_each, || {
        let start = |_| -> Outcome<_> {
            let (here, there) = UnixStream::pair()?;
            let ends = (here.try_clone()?, here, there.try_clone()?, there);
            Ok(thread::spawn(move || calls(calls_each, ends)))
        };
        let callers = (0..SOCKETS).map(start).collect::<Outcome<Vec<_>>>()?;
        callers.into_iter().try_for_each(|caller| caller.join().map_err(|_| "a caller panicked")?.map(|_| ()))
    })
}

fn tcp_calls(ctx: &mut Ctx) -> Outcome<f64> {
    let (here, there) = connected()?;
    let ends = (here.try_clone()?, here, there.try_clone()?, there);
    calls(ctx.size(CALLS), ends)
}

fn write_frame(to: &mut impl Write, frame: &impl Serialize, scratch: &mut Vec<u8>) -> Outcome<()> {
    scratch.clear();
    rmp_serde::encode::write(scratch, frame)?;
    to.write_all(&(scratch.len() as u32).to_le_bytes())?;
    Ok(to.write_all(scratch)?)
}

fn read_frame<T: serde::de::DeserializeOwned>(from: &mut impl Read, scratch: &mut Vec<u8>) -> Outcome<T> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    scratch.resize(u32::from_le_bytes(len) as usize, 0);
    from.read_exact(scratch)?;
    Ok(rmp_serde::from_slice(scratch)?)
}

/// Calls a second of one thread that calls and then reads, and one that answers.
fn calls<S: Read + Write + Send + 'static>(count: usize, ends: (S, S, S, S)) -> Outcome<f64> {
    let (calls, answers, called, answering) = ends;
    let answerer = thread::spawn(move || -> Outcome<()> {
        let (mut from, mut to) = (BufReader::with_capacity(BATCH_BYTES, called), Vec::with_capacity(2 * BATCH_BYTES));
        let (mut answering, mut scratch) = (answering, Vec::new());
        for _ in 0..count {
            let call: Call = read_frame(&mut from, &mut scratch)?;
            write_frame(&mut to, &Answer { id: call.id, result: Ok(call.args) }, &mut scratch)?;
            // Whatever there is goes when there is nothing to read, so that nobody waits for what is not sent.
            if to.len() >= BATCH_BYTES || from.buffer().is_empty() {
                answering.write_all(&to)?;
                to.clear();
            }
        }
        Ok(())
    });
    rate(count, || {
        let caller = thread::spawn(move || -> Outcome<()> {
            let (mut to, mut scratch) = (BufWriter::with_capacity(BATCH_BYTES, calls), Vec::new());
            for at in 0..count as u64 {
                let call = Call { id: (at, 7), function: (1, 2), lease: 3, args: Vec::new() };
                write_frame(&mut to, &call, &mut scratch)?;
            }
            Ok(to.flush()?)
        });
        let (mut from, mut scratch) = (BufReader::with_capacity(BATCH_BYTES, answers), Vec::new());
        for at in 0..count as u64 {
            let answer: Answer = read_frame(&mut from, &mut scratch)?;
            if answer.id.0 != at || answer.result.is_err() {
                return Err("an answer to another call".into());
            }
        }
        caller.join().map_err(|_| "the calling thread panicked")??;
        answerer.join().map_err(|_| "the answering thread panicked")?
    })
}

fn tcp_stream(ctx: &mut Ctx) -> Outcome<f64> {
    let chunks = ctx.size(STREAM_BYTES / CHUNK_BYTES);
    let (mut here, mut there) = connected()?;
    let sender = thread::spawn(move || {
        let chunk = vec![7; CHUNK_BYTES];
        (0..chunks).try_for_each(|_| there.write_all(&chunk))
    });
    let mut chunk = vec![0; CHUNK_BYTES];
    let bytes = rate(chunks * CHUNK_BYTES, || Ok((0..chunks).try_for_each(|_| here.read_exact(&mut chunk))?))?;
    sender.join().map_err(|_| "the sending thread panicked")??;
    Ok(bytes)
}

fn tcp_streams<const STREAMS: usize>(ctx: &mut Ctx) -> Outcome<f64> {
    let chunks = ctx.size(STREAM_BYTES / CHUNK_BYTES) / STREAMS + 1;
    let pairs = (0..STREAMS).map(|_| connected()).collect::<Outcome<Vec<_>>>()?;
    rate(STREAMS * chunks * CHUNK_BYTES, || {
        let mut threads = Vec::new();
        for (mut here, mut there) in pairs {
            threads.push(thread::spawn(move || {
                let chunk = vec![7; CHUNK_BYTES];
                (0..chunks).try_for_each(|_| there.write_all(&chunk))
            }));
            threads.push(thread::spawn(move || {
                let mut chunk = vec![0; CHUNK_BYTES];
                (0..chunks).try_for_each(|_| here.read_exact(&mut chunk))
            }));
        }
        threads.into_iter().try_for_each(|thread| Ok(thread.join().map_err(|_| "a thread panicked")??))
    })
}
