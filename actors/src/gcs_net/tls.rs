//! Encryption of the wire, and the proof of who is at its other end.
//!
//! ```text
//! pinned   all nodes of a cluster present one certificate, which its head makes; whoever calls knows its SHA-256
//!          fingerprint from the join token, and takes no other. The caller proves itself by the token's secret.
//! files    certificates of a PKI of the operator's own: both sides present one that its CA has signed (mutual TLS).
//! off      on loopback only.
//! ```
//!
//! Owns: what a cluster's certificates are, and making a connection of a socket by them. Does not own the handshake that
//! follows inside (`handshake.rs`). Invariants: TLS 1.3 and nothing older; a caller that was told of a certificate never
//! speaks unencrypted; the key is never shown, and lies in files of its user alone.

mod identity;
mod join_token;
mod pin;
mod trouble;

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    client::{Resumption, WebPkiServerVerifier},
    crypto::CryptoProvider,
    pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
    version::TLS13,
    ClientConfig, RootCertStore, ServerConfig,
};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

pub use self::{
    identity::{Fingerprint, Identity},
    join_token::{JoinToken, TokenError},
    trouble::{TlsError, TlsTrouble},
};
use super::{
    stream::{Socket, Stream},
    wire::HELLO_BYTES_MAX,
};

/// How long one who failed may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Certificates of an operator's own PKI, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFiles {
    /// The CA that has signed the certificates of all nodes.
    pub ca: PathBuf,
    /// This node's certificate, and those between it and the CA.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How connections of a cluster are encrypted.
#[derive(Clone, Default)]
pub struct Tls(Option<Arc<Inside>>);

struct Inside {
    connector: TlsConnector,
    acceptor: Option<TlsAcceptor>,
    kind: Kind,
}

enum Kind {
    Pinned(Option<Identity>),
    Files,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.as_deref().map(|inside| &inside.kind) {
            None => "Tls(off)",
            Some(Kind::Pinned(_)) => "Tls(pinned)",
            Some(Kind::Files) => "Tls(files)",
        })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Tls {
    /// None: for loopback.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Of a caller that takes this certificate and no other.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn pinned(fingerprint: Fingerprint) -> Result<Self, TlsError> {
        Self::pin(fingerprint, None)
    }

    /// Of a node: it presents the cluster's certificate, and takes no other.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn of_identity(identity: Identity) -> Result<Self, TlsError> {
        Self::pin(identity.fingerprint(), Some(identity))
    }

    fn pin(fingerprint: Fingerprint, identity: Option<Identity>) -> Result<Self, TlsError> {
        let mut client = client_of(pin::verifier(fingerprint, provider()))?.with_no_client_auth();
        client.resumption = Resumption::disabled();
        let acceptor = match &identity {
            None => None,
            Some(identity) => {
                let server = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
                let (chain, key) = identity.parts()?;
                Some(acceptor_of(server.with_no_client_auth().with_single_cert(chain, key)?))
            }
        };
        let connector = TlsConnector::from(Arc::new(client));
        Ok(Self(Some(Arc::new(Inside { connector, acceptor, kind: Kind::Pinned(identity) }))))
    }

    /// Of certificates of an operator's own.
    ///
    /// # Errors
    /// [`TlsError`], which names the file.
    pub fn of_files(files: &TlsFiles) -> Result<Self, TlsError> {
        let unreadable = |path: &PathBuf, why: &dyn fmt::Display| TlsError::File(path.clone(), why.to_string());
        let certs = |path: &PathBuf| -> Result<Vec<CertificateDer<'static>>, TlsError> {
            match CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(certs) if certs.is_empty() => Err(unreadable(path, &"there is no certificate in it")),
                Ok(certs) => Ok(certs),
                Err(error) => Err(unreadable(path, &error)),
            }
        };
        let mut roots = RootCertStore::empty();
        for ca in certs(&files.ca)? {
            roots.add(ca)?;
        }
        let roots = Arc::new(roots);
        let chain = certs(&files.cert)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, &error))?;
        let of_server = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider()).build()?;
        let mut client = client_of(of_server)?.with_client_auth_cert(chain.clone(), key.clone_key())?;
        client.resumption = Resumption::disabled();
        let of_client = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
        let server = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
        let server = server.with_client_cert_verifier(of_client).with_single_cert(chain, key)?;
        let (connector, acceptor) = (TlsConnector::from(Arc::new(client)), Some(acceptor_of(server)));
        Ok(Self(Some(Arc::new(Inside { connector, acceptor, kind: Kind::Files }))))
    }

    /// Whether anything is encrypted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether callers can be answered: one presents a certificate.
    #[must_use]
    pub fn can_answer(&self) -> bool {
        self.0.as_ref().is_some_and(|inside| inside.acceptor.is_some())
    }

    /// Whether callers have to present certificates, so that nobody else is let in even without a token.
    #[must_use]
    pub fn demands_certificates(&self) -> bool {
        matches!(self.0.as_deref().map(|inside| &inside.kind), Some(Kind::Files))
    }

    /// The cluster's certificate and key, where they are its own.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match &self.0.as_deref()?.kind {
            Kind::Pinned(identity) => identity.as_ref(),
            Kind::Files => None,
        }
    }

    /// What connections are made by, for tests; none for callers where one presents no certificate.
    #[cfg(test)]
    pub(crate) fn configs(&self) -> Option<(Arc<ClientConfig>, Option<Arc<ServerConfig>>)> {
        let inside = self.0.as_ref()?;
        let server = inside.acceptor.as_ref().map(|acceptor| acceptor.config().clone());
        Some((inside.connector.config().clone(), server))
    }

    /// Makes a caller's connection of a socket to `address`.
    pub(super) async fn call(&self, socket: TcpStream, address: &str) -> io::Result<Stream> {
        let Some(inside) = &self.0 else { return Ok(Stream::plain(socket)) };
        let name = match inside.kind {
            Kind::Pinned(_) => identity::NAME,
            Kind::Files => host_of(address),
        };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let stream = inside.connector.connect(name, Socket::Here(socket)).await?;
        Ok(Stream::encrypted(TlsStream::Client(stream)))
    }

    /// Makes a listener's connection of a socket.
    pub(super) async fn answer(&self, socket: TcpStream) -> io::Result<Stream> {
        let Some(inside) = &self.0 else { return Ok(Stream::plain(socket)) };
        let acceptor = inside.acceptor.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        match acceptor.accept(Socket::Here(socket)).into_fallible().await {
            Ok(stream) => Ok(Stream::encrypted(TlsStream::Server(stream))),
            Err((error, socket)) => {
                // To close while bytes are unread would take back what it was told.
                let mut rest = socket.take(HELLO_BYTES_MAX as u64);
                let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
                Err(error)
            }
        }
    }
}

type ClientBuilder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client_of(verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>) -> Result<ClientBuilder, TlsError> {
    let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    // What it is dangerous to get wrong is in `pin`.
    Ok(client.dangerous().with_custom_certificate_verifier(verifier))
}

fn acceptor_of(mut server: ServerConfig) -> TlsAcceptor {
    // Nothing is resumed: connections last.
    server.send_tls13_tickets = 0;
    TlsAcceptor::from(Arc::new(server))
}

/// The host in `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
