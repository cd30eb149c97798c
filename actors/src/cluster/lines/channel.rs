//! What a line runs over: a Unix socket, TCP, or TLS over TCP.
//!
//! Owns: the socket and its encryption. Invariants: nothing waits; where something of what was written is kept by the
//! encryption, `Channel::flush` says so.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
};

use mio::{event::Source, unix::SourceFd, Interest, Registry, Token};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

/// A connection that any thread may use.
pub struct Channel {
    socket: Socket,
    tls: Option<Box<Mutex<rustls::Connection>>>,
    /// Its place among all connections.
    _place: Option<OwnedSemaphorePermit>,
}

enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Channel {
    /// To a process of this machine.
    ///
    /// # Errors
    /// What the system says.
    pub fn unix(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { socket: Socket::Unix(stream), tls: None, _place: None })
    }

    /// To a process of another node, after the handshake.
    ///
    /// # Errors
    /// What the system says.
    pub fn tcp(
        stream: TcpStream,
        tls: Option<rustls::Connection>,
        place: Option<OwnedSemaphorePermit>,
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let tls = tls.map(|tls| Box::new(Mutex::new(tls)));
        Ok(Self { socket: Socket::Tcp(stream), tls, _place: place })
    }

    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        SourceFd(&self.socket.fd()).register(registry, token, Interest::READABLE)
    }

    /// From now on its poll says as well when more can be written, or does not: a Unix socket says that each time the other
    /// end has read something, which wakes whoever polls for nothing.
    pub(super) fn watch_room(&self, registry: &Registry, token: Token, watched: bool) -> io::Result<()> {
        let interest = if watched { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        SourceFd(&self.socket.fd()).reregister(registry, token, interest)
    }

    /// Whether a network is between the two ends.
    pub(super) fn is_far(&self) -> bool {
        matches!(self.socket, Socket::Tcp(_))
    }

    /// Whether nothing is left where a read gave less than there was room for, as is so of a socket's stream (epoll(7)).
    pub(super) fn is_drained_by_a_short_read(&self) -> bool {
        self.tls.is_none()
    }

    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return (&self.socket).read(bytes) };
        let mut tls = tls.lock();
        loop {
            match tls.reader().read(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut &self.socket)? == 0 {
                return Ok(0);
            }
            let processed = tls.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error));
            // It may have something to say to that.
            let _ = self.write_out(&mut tls);
            processed?;
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return (&self.socket).write(bytes) };
        let mut tls = tls.lock();
        // No more than one turn of it is kept here: what waits is the line's, and bounded there.
        self.write_out(&mut tls)?;
        let written = tls.writer().write(bytes)?;
        match self.write_out(&mut tls) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(written),
        }
    }

    /// Writes what the encryption keeps.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.tls.as_ref().map_or(Ok(()), |tls| self.write_out(&mut tls.lock()))
    }

    fn write_out(&self, tls: &mut rustls::Connection) -> io::Result<()> {
        while tls.wants_write() {
            tls.write_tls(&mut &self.socket)?;
        }
        Ok(())
    }

    pub(super) fn shut(&self) {
        // One that has ended already needs no end.
        let _ = match &self.socket {
            Socket::Unix(socket) => socket.shutdown(Shutdown::Both),
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

impl Socket {
    fn fd(&self) -> RawFd {
        match self {
            Self::Unix(socket) => socket.as_raw_fd(),
            Self::Tcp(socket) => socket.as_raw_fd(),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => (&*socket).read(bytes),
            Socket::Tcp(socket) => (&*socket).read(bytes),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => (&*socket).write(bytes),
            Socket::Tcp(socket) => (&*socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        sync::Arc,
    };

    use rustls::{ClientConnection, ServerConnection};

    use super::*;
    use crate::gcs_net::tls::{Identity, Tls};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn until<T>(mut try_once: impl FnMut() -> io::Result<T>) -> T {
        loop {
            match try_once() {
                Ok(done) => return done,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn what_is_written_encrypted_is_read_at_the_other_end() {
        let (near, far) = pair();
        let (client, server) = Tls::of_identity(Identity::make().unwrap()).unwrap().configs().unwrap();
        let name = rustls::pki_types::ServerName::try_from("cluster.actinic.internal").unwrap();
        let client = ClientConnection::new(client, name).unwrap().into();
        let server = ServerConnection::new(server.unwrap()).unwrap().into();
        let near = Arc::new(Channel::tcp(near, Some(client), None).unwrap());
        let far = Channel::tcp(far, Some(server), None).unwrap();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        let bytes = sent.clone();
        let writing = std::thread::spawn(move || {
            let mut left = &bytes[..];
            while !left.is_empty() {
                let written = until(|| {
                    // The other side's part of the handshake.
                    let _ = near.read(&mut [0; 1]);
                    near.write(left)
                });
                left = &left[written..];
            }
            until(|| near.flush());
        });
        let mut came = Vec::new();
        let mut room = vec![0; 1 << 16];
        while came.len() < sent.len() {
            let read = until(|| far.read(&mut room));
            came.extend_from_slice(&room[..read]);
        }
        writing.join().unwrap();
        assert!(came == sent, "all bytes, in order");
    }
}
