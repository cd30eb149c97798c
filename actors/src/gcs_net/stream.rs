//! One connection over TCP, encrypted or not.
//!
//! Owns: the socket, its encryption, and its place among all connections; taking it from one thread to another. Does not own
//! frames, nor who decides whether it is encrypted ([`super::tls`]). Invariants: after [`Stream::leave`] nothing is read or
//! written until [`Stream::arrive`]; the place is free again once the reading half is gone.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::TlsStream;

/// The reading half of any connection.
pub type Reading = Box<dyn AsyncRead + Unpin>;
/// The writing half of any connection.
pub type Writing = Box<dyn AsyncWrite + Unpin>;

/// What a connection is made of.
pub(crate) type Parts = (std::net::TcpStream, Option<rustls::Connection>, Option<OwnedSemaphorePermit>);

/// A connection.
#[derive(Debug)]
pub struct Stream {
    line: Line,
    place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Line {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// A socket that can change the thread whose reactor wakes it.
#[derive(Debug)]
pub(super) enum Socket {
    Here(TcpStream),
    Away(std::net::TcpStream),
    Lost,
}

impl Socket {
    fn here(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match self {
            Self::Here(stream) => Ok(Pin::new(stream)),
            Self::Away(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn leave(&mut self) -> io::Result<()> {
        if let Self::Here(stream) = std::mem::replace(self, Self::Lost) {
            *self = Self::Away(stream.into_std()?);
        }
        Ok(())
    }

    fn arrive(&mut self) -> io::Result<()> {
        if let Self::Away(stream) = std::mem::replace(self, Self::Lost) {
            *self = Self::Here(TcpStream::from_std(stream)?);
        }
        Ok(())
    }
}

impl Stream {
    /// One that is not encrypted.
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self { line: Line::Plain(Socket::Here(stream)), place: None }
    }

    /// One that is.
    pub(super) fn encrypted(stream: TlsStream<Socket>) -> Self {
        Self { line: Line::Tls(Box::new(stream)), place: None }
    }

    /// It takes a place for as long as it is read.
    pub(crate) fn take_place(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    /// Whether nobody on the way can read it.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.line, Line::Tls(_))
    }

    fn socket(&mut self) -> &mut Socket {
        match &mut self.line {
            Line::Plain(socket) => socket,
            Line::Tls(stream) => stream.get_mut().0,
        }
    }

    /// Leaves this thread; another has to let it arrive.
    ///
    /// # Errors
    /// What the system says.
    pub fn leave(mut self) -> io::Result<Self> {
        self.socket().leave().map(|()| self)
    }

    /// Arrives at this thread, which has a runtime of its own.
    ///
    /// # Errors
    /// What the system says.
    pub fn arrive(mut self) -> io::Result<Self> {
        self.socket().arrive().map(|()| self)
    }

    /// Its socket, its encryption and its place, for one who reads and writes by himself.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn into_parts(self) -> io::Result<Parts> {
        let (socket, tls) = match self.line {
            Line::Plain(socket) => (socket, None),
            Line::Tls(stream) => match *stream {
                TlsStream::Client(stream) => {
                    let (socket, tls) = stream.into_inner();
                    (socket, Some(tls.into()))
                }
                TlsStream::Server(stream) => {
                    let (socket, tls) = stream.into_inner();
                    (socket, Some(tls.into()))
                }
            },
        };
        let socket = match socket {
            Socket::Here(stream) => stream.into_std()?,
            Socket::Away(stream) => stream,
            Socket::Lost => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok((socket, tls, self.place))
    }

    /// Both halves, for different tasks of this thread.
    #[must_use]
    pub fn split(self) -> (Reading, Writing) {
        let place = self.place;
        match self.line {
            Line::Plain(Socket::Here(stream)) => {
                let (inner, writing) = stream.into_split();
                (Box::new(Placed { inner, _place: place }), Box::new(writing))
            }
            Line::Plain(socket) => {
                let (inner, writing) = tokio::io::split(socket);
                (Box::new(Placed { inner, _place: place }), Box::new(writing))
            }
            Line::Tls(stream) => {
                let (inner, writing) = tokio::io::split(stream);
                (Box::new(Placed { inner, _place: place }), Box::new(writing))
            }
        }
    }
}

/// A reading half that holds a place.
struct Placed<R> {
    inner: R,
    _place: Option<OwnedSemaphorePermit>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Placed<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.here()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Line::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.line {
            Line::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Line::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Line::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Line::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
