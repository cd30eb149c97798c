//! A CA of an operator's own, for tests of encryption.
//!
//! Owns: its key and the files of the certificates that it has issued, in a folder that goes with it. Knows nothing of
//! Actinic: the tests of several packages share it.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// The CA, and where its files are.
pub(crate) struct Pki {
    folder: tempfile::TempDir,
    params: CertificateParams,
    key: KeyPair,
}

/// Where the CA's certificate is, one that it has issued, and the key to that.
pub(crate) struct Issued {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        let pki = Self { folder, params, key };
        std::fs::write(pki.at("ca.pem"), pki.params.self_signed(&pki.key).unwrap().pem()).unwrap();
        pki
    }

    /// Where a file of this name is, or would be.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Issues a certificate for `host`, in files of this name.
    pub(crate) fn issue(&self, name: &str, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        let issued = Issued {
            ca: self.at("ca.pem"),
            cert: self.at(&format!("{name}.cert")),
            key: self.at(&format!("{name}.key")),
        };
        std::fs::write(&issued.cert, cert.pem()).unwrap();
        std::fs::write(&issued.key, key.serialize_pem()).unwrap();
        issued
    }
}
