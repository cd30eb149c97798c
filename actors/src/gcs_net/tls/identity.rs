//! A cluster's certificate and key.
//!
//! Owns: making them, keeping them in a file, handing them to nodes that join. Invariants: the file is its user's alone
//! (mode 0600) from its first byte on; what is shown of an identity is its fingerprint.
//!
//! All nodes of a cluster present the same certificate. Whoever has the token's secret may run any code on any node, so
//! certificates for each node would guard nothing more; and this way any node can let others in after the head is lost.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    str::FromStr,
};

use rustls::pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::TlsError;

/// The name in every cluster's own certificate.
pub(super) const NAME: &str = "cluster.actinic.internal";
/// Bytes of an identity as text.
pub(crate) const IDENTITY_BYTES_MAX: usize = 16 << 10;

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of this certificate.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 64 hexadecimal digits")]
pub struct NoFingerprint;

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let text = text.as_bytes();
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.iter().all(u8::is_ascii_hexdigit) {
            return Err(NoFingerprint);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| NoFingerprint)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NoFingerprint)?;
        }
        Ok(Self(bytes))
    }
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pem: String,
    fingerprint: Fingerprint,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}

impl Identity {
    /// A new one, which does not expire: it ends with its cluster.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn make() -> Result<Self, TlsError> {
        Self::make_with(|_| {})
    }

    /// One with other properties than usual.
    pub(in crate::gcs_net) fn make_with(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Result<Self, TlsError> {
        let mut params = rcgen::CertificateParams::new(vec![NAME.to_owned()])?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "an Actinic cluster");
        change(&mut params);
        let key = rcgen::KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Self::from_pem(format!("{}{}", certificate.pem(), key.serialize_pem()))
    }

    /// Of a text that has both.
    ///
    /// # Errors
    /// [`TlsError::Identity`].
    pub fn from_pem(pem: String) -> Result<Self, TlsError> {
        if pem.len() > IDENTITY_BYTES_MAX {
            return Err(TlsError::Identity("it is too long".to_owned()));
        }
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(unreadable)?;
        let fingerprint = Fingerprint::of(&certificate);
        let identity = Self { pem, fingerprint };
        identity.parts().map(|_| identity)
    }

    /// As a text: the secret that its holders share.
    #[must_use]
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// What a join token says of it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The certificate and the key.
    pub(super) fn parts(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes()).map_err(unreadable)?;
        let key = PrivateKeyDer::from_pem_slice(self.pem.as_bytes()).map_err(unreadable)?;
        Ok((vec![certificate], key))
    }

    /// The one in a file, which is made if it is not there.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn at(path: &Path) -> Result<Self, TlsError> {
        let failed = |error: io::Error| TlsError::File(path.to_owned(), error.to_string());
        match OpenOptions::new().read(true).open(path) {
            Ok(file) => {
                let mut pem = String::new();
                file.take(IDENTITY_BYTES_MAX as u64 + 1).read_to_string(&mut pem).map_err(failed)?;
                Self::from_pem(pem)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Self::make()?;
                identity.keep(path).map_err(failed)?;
                Ok(identity)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn keep(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let draft = path.with_extension("draft");
        let _ = std::fs::remove_file(&draft);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(self.pem.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(draft, path)
    }
}

fn unreadable(error: impl fmt::Display) -> TlsError {
    TlsError::Identity(error.to_string())
}
