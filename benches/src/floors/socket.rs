//! Floors of a call to another process or node: round trips of 64 bytes and a stream of bytes, between two threads that
//! block, over loopback only.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use super::{each, rate};
use crate::row::{Ctx, Outcome, Reference, Unit};

const ROUND_TRIPS: usize = 5_000;
const MESSAGE: [u8; 64] = [7; 64];
const STREAM_BYTES: usize = 1 << 30;
const CHUNK_BYTES: usize = 1 << 20;

/// 64 bytes there and back over a Unix socket.
pub(crate) static UNIX: Reference =
    Reference { name: "Unix socket round trip, 64 B", unit: Unit::Seconds, measure: unix };

/// 64 bytes there and back over TCP on loopback, without Nagle's delay.
pub(crate) static TCP: Reference =
    Reference { name: "TCP loopback round trip, 64 B", unit: Unit::Seconds, measure: tcp };

/// One TCP stream on loopback, in writes of 1 MiB.
pub(crate) static TCP_STREAM: Reference =
    Reference { name: "TCP loopback, one stream", unit: Unit::BytesPerSecond, measure: tcp_stream };

/// Four TCP streams on loopback at a time, in writes of 1 MiB.
pub(crate) static TCP_STREAMS: Reference =
    Reference { name: "TCP loopback, four streams", unit: Unit::BytesPerSecond, measure: tcp_streams };

fn unix(ctx: &mut Ctx) -> Outcome<f64> {
    let (here, there) = UnixStream::pair()?;
    round_trips(ctx.size(ROUND_TRIPS), here, there)
}

fn tcp(ctx: &mut Ctx) -> Outcome<f64> {
    let (here, there) = connected()?;
    round_trips(ctx.size(ROUND_TRIPS), here, there)
}

/// Two ends of one loopback connection.
fn connected() -> Outcome<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let here = TcpStream::connect(listener.local_addr()?)?;
    let (there, _) = listener.accept()?;
    here.set_nodelay(true)?;
    there.set_nodelay(true)?;
    Ok((here, there))
}

/// Seconds a round trip between this thread and one that sends back what comes.
fn round_trips<S: Read + Write + Send + 'static>(count: usize, mut here: S, mut there: S) -> Outcome<f64> {
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

fn tcp_streams(ctx: &mut Ctx) -> Outcome<f64> {
    const STREAMS: usize = 4;
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
