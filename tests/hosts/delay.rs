//! A forwarder that makes a distance: what it is given arrives later, in order, at any rate.
//!
//! Owns: its listener and the threads of its connections; they end with their connections, the listener with the process.
//! Invariant: what is under way is bounded.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Pieces under way in one direction of a connection.
const PIECES_MAX: usize = 1_024;

/// Forwards what comes to `from` to `to`, later by `delay`, and the answers alike; from the network of this thread.
pub(crate) fn forward(from: &str, to: &str, delay: Duration) {
    let (listener, to) = (TcpListener::bind(from).unwrap(), to.to_owned());
    thread::spawn(move || {
        for caller in listener.incoming().map_while(Result::ok) {
            let Ok(called) = TcpStream::connect(&to) else { continue };
            let _ = (caller.set_nodelay(true), called.set_nodelay(true));
            let (back, forth) = (caller.try_clone().unwrap(), called.try_clone().unwrap());
            carry(caller, forth, delay);
            carry(called, back, delay);
        }
    });
}

fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (put, take) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            if put.send((Instant::now() + delay, piece[..read].to_vec())).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Read);
    });
    thread::spawn(move || {
        for (due, piece) in take {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
