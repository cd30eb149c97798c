//! Floors of what is encrypted: a round trip and a stream of bytes over TLS 1.3 on loopback, by rustls, between two threads that
//! block.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::rate;
use super::socket::{connected, round_trips, CHUNK_BYTES, ROUND_TRIPS, STREAM_BYTES};
use crate::row::{Ctx, Outcome, Reference, Unit};

/// 64 bytes there and back.
pub(crate) static ROUND_TRIP: Reference =
    Reference { name: "TLS loopback round trip, 64 B", unit: Unit::Seconds, measure: round_trip };

/// One stream, in writes of 1 MiB: one processor encrypts and another decrypts.
pub(crate) static STREAM: Reference =
    Reference { name: "TLS loopback, one stream", unit: Unit::BytesPerSecond, measure: stream };

/// One end of an encrypted connection, of either kind.
enum End {
    Calling(StreamOwned<ClientConnection, TcpStream>),
    Called(StreamOwned<ServerConnection, TcpStream>),
}

impl Read for End {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Calling(stream) => stream.read(into),
            Self::Called(stream) => stream.read(into),
        }
    }
}

impl Write for End {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Calling(stream) => stream.write(from),
            Self::Called(stream) => stream.write(from),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Calling(stream) => stream.flush(),
            Self::Called(stream) => stream.flush(),
        }
    }
}

/// Two ends of one connection; they shake hands when the first of them writes.
fn encrypted() -> Outcome<(End, End)> {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let certificate = issued.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let provider = Arc::new(default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (here, there) = connected()?;
    let calling = ClientConnection::new(Arc::new(client), ServerName::try_from("localhost")?)?;
    let called = ServerConnection::new(Arc::new(server))?;
    Ok((End::Calling(StreamOwned::new(calling, here)), End::Called(StreamOwned::new(called, there))))
}

fn round_trip(ctx: &mut Ctx) -> Outcome<f64> {
    let (here, there) = encrypted()?;
    round_trips(ctx.size(ROUND_TRIPS), here, there)
}

fn stream(ctx: &mut Ctx) -> Outcome<f64> {
    let chunks = ctx.size(STREAM_BYTES / CHUNK_BYTES);
    let (mut here, mut there) = encrypted()?;
    let receiver = thread::spawn(move || -> std::io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        // Once for the handshake, and once more to say that all has come.
        (0..=chunks).try_for_each(|_| there.read_exact(&mut chunk))?;
        there.write_all(&[1])?;
        there.flush()
    });
    let (chunk, mut heard) = (vec![7; CHUNK_BYTES], [0]);
    here.write_all(&chunk)?;
    here.flush()?;
    let bytes = rate(chunks * CHUNK_BYTES, || {
        (0..chunks).try_for_each(|_| here.write_all(&chunk))?;
        here.flush()?;
        Ok(here.read_exact(&mut heard)?)
    });
    receiver.join().map_err(|_| "the receiving thread panicked")??;
    bytes
}
