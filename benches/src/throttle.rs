//! A narrow link: a forwarder that lets so many bytes a second through, each way.
//!
//! Owns: its listener, which ends with it, and the threads of its connections, which end with these. All connections through one
//! link share its two directions, as they would a network card. Invariants: bytes stay in order; what is under way in a
//! direction of a connection is one piece.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, PoisonError,
    },
    thread,
    time::{Duration, Instant},
};

/// Bytes forwarded at once.
const PIECE_BYTES: usize = 64 << 10;

/// One direction of a link: when it is free again.
struct Lane {
    bytes_a_second: f64,
    free_at: Mutex<Instant>,
}

impl Lane {
    fn new(bytes_a_second: f64) -> Arc<Self> {
        Arc::new(Self { bytes_a_second, free_at: Mutex::new(Instant::now()) })
    }

    /// Waits as long as so many bytes take, after all that were there before.
    fn pass(&self, bytes: usize) {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_a_second);
        let until = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + takes;
            *free_at
        };
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

/// A link to one address.
pub(crate) struct Link {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Link {
    /// Opens a link on loopback to `to`, which need not listen yet.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(to: SocketAddr, bytes_a_second: f64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, over) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let ended = over.clone();
        thread::spawn(move || {
            let (there, back) = (Lane::new(bytes_a_second), Lane::new(bytes_a_second));
            for caller in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                // Who calls in vain is hung up on.
                let _ = connect(caller, to, &there, &back);
            }
        });
        Ok(Self { address, over })
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn connect(caller: TcpStream, to: SocketAddr, there: &Arc<Lane>, back: &Arc<Lane>) -> io::Result<()> {
    let called = TcpStream::connect(to)?;
    caller.set_nodelay(true)?;
    called.set_nodelay(true)?;
    let (from_caller, to_caller) = (caller.try_clone()?, caller);
    let (from_called, to_called) = (called.try_clone()?, called);
    let (there, back) = (there.clone(), back.clone());
    thread::spawn(move || carry(from_caller, to_called, &there));
    thread::spawn(move || carry(from_called, to_caller, &back));
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream, lane: &Lane) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        lane.pass(read);
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// An address of loopback that is free now.
///
/// # Errors
/// What the system says.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_carries_no_more_than_it_may_and_loses_nothing() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let link = Link::open(listener.local_addr().expect("its address"), 10e6).expect("a link");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            stream.write_all(&(0..1_000_000_u32).map(|at| at as u8).collect::<Vec<u8>>()).expect("written");
        });
        let since = Instant::now();
        let mut heard = Vec::new();
        TcpStream::connect(link.address()).expect("called").read_to_end(&mut heard).expect("heard");
        let took = since.elapsed();
        server.join().expect("the server has ended");
        assert_eq!(heard.len(), 1_000_000);
        assert!(heard.iter().enumerate().all(|(at, byte)| *byte == at as u8));
        assert!(took >= Duration::from_millis(100), "1 MB at 10 MB/s took {took:?}");
    }
}
