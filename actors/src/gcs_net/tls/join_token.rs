//! What one needs to join a cluster, in one word.
//!
//! ```text
//! SECRET                          of a cluster on loopback that is not encrypted
//! SECRET.sha256-FINGERPRINT       of any other: the fingerprint of its certificate, 64 hexadecimal digits
//! ```
//!
//! Owns: reading and writing that. Invariant: a word that looks as if it named a certificate and does not is refused, not taken
//! for a secret.

use std::{fmt, str::FromStr};

use super::{Fingerprint, TlsError};

const SIGN: &str = ".sha256-";

/// A join token. Its secret is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The secret that all of a cluster share.
    pub secret: String,
    /// The certificate of the cluster's nodes.
    pub fingerprint: Option<Fingerprint>,
}

/// What cannot be a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is nothing in it.
    #[error("the cluster's token is empty; give one of some length, the same everywhere")]
    Empty,
    /// It was cut short, or mistyped.
    #[error(
        "what follows {SIGN} in the cluster's token is no fingerprint (64 hexadecimal digits); copy the whole token, as \
         `actinic token` prints it on a node of the cluster"
    )]
    Fingerprint,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.secret)?;
        self.fingerprint.map_or(Ok(()), |fingerprint| write!(f, "{SIGN}{fingerprint}"))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let (secret, fingerprint) = match text.rsplit_once(SIGN) {
            None => (text, None),
            Some((secret, rest)) => (secret, Some(rest.parse().map_err(|_| TokenError::Fingerprint)?)),
        };
        if secret.is_empty() {
            return Err(TokenError::Empty);
        }
        Ok(Self { secret: secret.to_owned(), fingerprint })
    }
}
