//! The handshake on a socket, from both sides.
//!
//! Owns: exchanging first words within a time. Does not own what they mean ([`super::wire`]) or who is let in (the listener
//! judges). Invariants: `TCP_NODELAY` is set before anything is sent; whoever speaks another version is told so, in words
//! that do not depend on the version.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    stream::Stream,
    wire::{
        decode, preamble, version_of, FrameError, Hello, Membership, Purpose, Refusal, Verdict, HELLO_BYTES_MAX,
        LENGTH_BYTES, PREAMBLE_BYTES, PROTOCOL_VERSION,
    },
    NetError,
};

/// How long a refused caller may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Calls `address` for `purpose`, within a time for all of it; gives also where the shard's replicas are reached, as the
/// listener knows it.
pub(crate) async fn call(
    address: &str,
    membership: &Membership,
    purpose: Purpose,
    within: Duration,
) -> Result<(Stream, Vec<String>), NetError> {
    let called = timeout(within, greet(address, membership, purpose)).await;
    called.unwrap_or_else(|_| Err(NetError::Silent { address: address.to_owned(), waited: within }))
}

async fn greet(address: &str, membership: &Membership, purpose: Purpose) -> Result<(Stream, Vec<String>), NetError> {
    let failed = |source| NetError::of(address, source);
    let socket = TcpStream::connect(address).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    // Here a token would be read by whoever is on the way.
    if !membership.tls.is_on() && is_beyond_loopback(socket.peer_addr().map_err(failed)?) {
        return Err(NetError::Unencrypted { address: address.to_owned() });
    }
    let begun = membership.tls.call(socket, address).await;
    let mut stream = begun.map_err(|source| NetError::at_begin(address, source))?;
    let said = first_words(PROTOCOL_VERSION, &membership.hello(purpose)).map_err(failed)?;
    stream.write_all(&said).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let garbled = |source| NetError::Garbled { address: address.to_owned(), source };
    let mut opening = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut opening).await.map_err(failed)?;
    let listener = version_of(opening).map_err(garbled)?;
    let refused = |refusal| NetError::Refused { address: address.to_owned(), refusal };
    if listener != PROTOCOL_VERSION {
        return Err(refused(Refusal::Version { caller: PROTOCOL_VERSION, listener }));
    }
    let body = match read_frame(&mut stream).await.map_err(failed)? {
        Ok(body) => body,
        Err(error) => return Err(garbled(error)),
    };
    match decode::<Verdict>(&body).map_err(garbled)? {
        Verdict::Accepted { addresses } => Ok((stream, addresses)),
        Verdict::Refused(refusal) => Err(refused(refusal)),
    }
}

/// Whether other machines may be on the way to this address.
pub(crate) fn is_beyond_loopback(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// What a caller has said.
pub(crate) enum Heard {
    /// It is understood; now it wants to hear a verdict.
    Hello(Box<Hello>),
    /// It is to be refused.
    Refuse(Refusal),
    /// It is no caller of ours, and is told nothing.
    Foreign,
    /// It speaks TLS, and nothing here does.
    Encrypted,
}

/// What the first byte of a TLS connection is.
const TLS_BEGINS: u8 = 0x16;

/// Makes a connection of a caller's socket, and listens to its first words. Where `membership` has TLS, one who speaks without
/// it is let in nowhere.
pub(crate) async fn receive(socket: TcpStream, membership: &Membership) -> io::Result<(Stream, Heard)> {
    socket.set_nodelay(true)?;
    let mut first = [0];
    if socket.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let speaks_tls = first == [TLS_BEGINS];
    match membership.tls.is_on() {
        false if speaks_tls => Ok((Stream::plain(socket), Heard::Encrypted)),
        true if !speaks_tls => {
            let mut stream = Stream::plain(socket);
            let heard = match hear(&mut stream).await? {
                Heard::Hello(_) | Heard::Refuse(_) => Heard::Refuse(Refusal::Plaintext),
                other => other,
            };
            Ok((stream, heard))
        }
        _ => {
            let begun = membership.tls.answer(socket).await;
            // Whatever ended it, what began was no connection of ours: that is worth a line, unlike a caller that hangs up.
            let mut stream = begun.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let heard = hear(&mut stream).await?;
            Ok((stream, heard))
        }
    }
}

/// Listens to a caller's first words.
async fn hear(stream: &mut Stream) -> io::Result<Heard> {
    let mut opening = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut opening).await?;
    let caller = match version_of(opening) {
        Err(_) => return Ok(Heard::Foreign),
        Ok(caller) => caller,
    };
    if caller != PROTOCOL_VERSION {
        return Ok(Heard::Refuse(Refusal::Version { caller, listener: PROTOCOL_VERSION }));
    }
    Ok(match read_frame(stream).await?.and_then(|body| decode::<Hello>(&body)) {
        Ok(hello) => Heard::Hello(Box::new(hello)),
        Err(_) => Heard::Refuse(Refusal::Garbled),
    })
}

/// Lets a caller in, and tells it where the shard's replicas are reached.
pub(crate) async fn accept(stream: &mut Stream, addresses: Vec<String>) -> io::Result<()> {
    stream.write_all(&first_words(PROTOCOL_VERSION, &Verdict::Accepted { addresses })?).await?;
    stream.flush().await
}

/// Tells a caller why it is not let in, and waits a little until it has read that: to close while bytes of it are unread
/// would take the answer back.
pub(crate) async fn refuse(mut stream: Stream, refusal: Refusal) -> io::Result<()> {
    stream.write_all(&first_words(PROTOCOL_VERSION, &Verdict::Refused(refusal))?).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1_024];
    let drained = async {
        let mut bytes = 0;
        while bytes < HELLO_BYTES_MAX {
            match stream.read(&mut rest).await {
                Ok(0) | Err(_) => return,
                Ok(read) => bytes += read,
            }
        }
    };
    let _ = timeout(LINGER, drained).await;
    Ok(())
}

/// A preamble and one frame.
pub(crate) fn first_words(version: u16, body: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = preamble(version).to_vec();
    bytes.extend(short_frame(body)?);
    Ok(bytes)
}

/// One frame of the handshake.
pub(crate) fn short_frame(body: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; LENGTH_BYTES];
    rmp_serde::encode::write(&mut bytes, body).map_err(io::Error::other)?;
    let length = bytes.len() - LENGTH_BYTES;
    if length > HELLO_BYTES_MAX {
        return Err(io::Error::other(FrameError::TooLong { bytes: length, max: HELLO_BYTES_MAX }));
    }
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    bytes[..LENGTH_BYTES].copy_from_slice(&length);
    Ok(bytes)
}

/// Reads exactly one frame of the handshake and nothing behind it.
pub(super) async fn read_frame(stream: &mut Stream) -> io::Result<Result<Bytes, FrameError>> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await?;
    let bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if bytes > HELLO_BYTES_MAX {
        return Ok(Err(FrameError::TooLong { bytes, max: HELLO_BYTES_MAX }));
    }
    let mut body = BytesMut::zeroed(bytes);
    stream.read_exact(&mut body).await?;
    Ok(Ok(body.freeze()))
}
