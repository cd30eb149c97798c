//! What can go wrong with certificates.
//!
//! Owns: errors of a setup and of a connection, and reading them out of what rustls says. Invariant: each says what to do.

use std::{io, path::PathBuf};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file.
    #[error("{0} cannot be used: {1}; it has to be a PEM file that this user can read")]
    File(PathBuf, String),
    /// A cluster's own certificate.
    #[error("the cluster's certificate and key make no sense: {0}")]
    Identity(String),
    /// It could not be made.
    #[error("a certificate could not be made: {0}")]
    Made(#[from] rcgen::Error),
    /// rustls does not take it.
    #[error("the certificate, its key and the CA do not fit together: {0}")]
    Rustls(#[from] Error),
    /// Nor its verifier.
    #[error("the CA cannot be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Why a connection is not secure, or not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsTrouble {
    /// Another certificate than the token names.
    #[error(
        "its certificate is not the one that the token names: either another cluster answers there, or somebody stands \
         between; compare with what `actinic token` prints on a node of the cluster"
    )]
    Fingerprint,
    /// Its dates.
    #[error("its certificate has expired, or is not valid yet; renew it, and look at the clocks of both machines")]
    Dates,
    /// Another CA.
    #[error("its certificate was not signed by the CA that was given (--tls-ca)")]
    Issuer,
    /// Another host's.
    #[error("its certificate is not for this address; issue it for the host or IP address that nodes are called by")]
    Name,
    /// It does not take ours.
    #[error(
        "it does not take the certificate presented here ({0:?}); give one that its CA signed: --tls-cert, --tls-key"
    )]
    Refused(AlertDescription),
    /// It does not speak TLS.
    #[error(
        "it does not answer in TLS, as the token or --tls-ca demand; if the cluster there is a plain one on loopback, use \
         the token that `actinic token` prints there"
    )]
    Plaintext,
    /// Whatever else.
    #[error("TLS failed: {0}")]
    Other(Error),
}

impl TlsTrouble {
    /// What an error of a connection says of TLS, if anything.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(match error {
            Error::InvalidCertificate(wrong) => match wrong {
                CertificateError::ApplicationVerificationFailure => Self::Fingerprint,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Dates,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::Name,
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Issuer,
                _ => Self::Other(error.clone()),
            },
            Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateRequired
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::DecryptError
                | AlertDescription::AccessDenied => Self::Refused(*alert),
                _ => Self::Other(error.clone()),
            },
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::Plaintext,
            _ => Self::Other(error.clone()),
        })
    }

    /// The same of an error while TLS began: one who hangs up then speaks something else.
    pub(crate) fn at_begin(error: &io::Error) -> Option<Self> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let hung_up = matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
        Self::of(error).or(hung_up.then_some(Self::Plaintext))
    }

    /// Whether to call again is of no use.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}
