//! What a node trusts, and is trusted by.
//!
//! Owns: the token and the certificates at a node's start: a head makes what it was not given, one that joins gets what the
//! cluster has. Does not own what is checked by them ([`crate::gcs_net::tls`]). Invariant: a head that other machines can
//! reach is encrypted, whatever its settings say.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{members, NodeError, NodeSettings};
use crate::gcs_net::{
    ask_identity, is_beyond_loopback,
    tls::{Identity, JoinToken, Tls, TlsFiles, TokenError},
    Membership,
};

/// How a node's connections are to be encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTls {
    /// On loopback, too; only a head is asked.
    pub always: bool,
    /// By certificates of the operator's own.
    pub files: Option<TlsFiles>,
}

fn refused(error: impl Into<TokenError>) -> NodeError {
    NodeError::Refused(error.into().to_string())
}

/// A node's membership; the join token for others, empty where certificates do instead; and where each shard of the control
/// store is reached.
pub(super) type Trusted = (Membership, String, Vec<Vec<String>>);

/// Of a new cluster's head, which listens at `bound` and is reached at `address`.
pub(super) fn found(
    settings: &NodeSettings,
    cluster: u128,
    (bound, address): (SocketAddr, &str),
    folder: &Path,
) -> Result<Trusted, NodeError> {
    let given_shards = vec![vec![address.to_owned()]];
    let given = settings.token.as_deref().filter(|token| !token.is_empty());
    if let Some(files) = &settings.tls.files {
        let membership = Membership::new(cluster, given.map(str::to_owned)).map_err(refused)?;
        let tls = Tls::of_files(files).map_err(refused)?;
        return Ok((membership.with_tls(tls), given.unwrap_or_default().to_owned(), given_shards));
    }
    let mut token: JoinToken = match given {
        Some(token) => token.parse().map_err(refused)?,
        None => JoinToken { secret: super::detect::fresh_token(), fingerprint: None },
    };
    let mut tls = Tls::off();
    if settings.tls.always || is_beyond_loopback(bound) || token.fingerprint.is_some() {
        let path = settings.gcs_folder.as_deref().map_or_else(|| folder.join("identity.pem"), beside);
        let identity = Identity::at(&path).map_err(refused)?;
        if token.fingerprint.is_some_and(|fingerprint| fingerprint != identity.fingerprint()) {
            return Err(NodeError::Refused(format!(
                "the token names another certificate than the one in {}; give the secret alone (what stands before .sha256-)",
                path.display()
            )));
        }
        token.fingerprint = Some(identity.fingerprint());
        tls = Tls::of_identity(identity).map_err(refused)?;
    }
    let membership = Membership::new(cluster, Some(token.secret.clone())).map_err(refused)?;
    Ok((membership.with_tls(tls), token.to_string(), given_shards))
}

/// Beside the folder of a control store: it outlives the node as that does.
fn beside(gcs_folder: &Path) -> PathBuf {
    let mut path = gcs_folder.as_os_str().to_owned();
    path.push(".identity.pem");
    path.into()
}

/// Of a node that joins the cluster of `nodes`, separated by commas, once one of them has told what it is.
pub(super) fn join(settings: &NodeSettings, nodes: &str) -> Result<Trusted, NodeError> {
    let token = settings.token.clone().filter(|token| !token.is_empty());
    let mut nobody = Membership::new(0, token.clone()).map_err(refused)?;
    if let Some(files) = &settings.tls.files {
        nobody.tls = Tls::of_files(files).map_err(refused)?;
    }
    let (cluster, shards) = members::discover(nodes, &nobody)?;
    let mut membership = Membership { cluster, ..nobody };
    if membership.tls.is_on() && !membership.tls.can_answer() {
        membership.tls = Tls::of_identity(identity_of(nodes, &membership)?).map_err(refused)?;
    }
    Ok((membership, token.unwrap_or_default(), shards))
}

/// The cluster's certificate, as the first of `nodes` says that answers.
fn identity_of(nodes: &str, membership: &Membership) -> Result<Identity, NodeError> {
    let mut failed = None;
    for node in nodes.split(',').map(str::trim).filter(|node| !node.is_empty()) {
        match ask_identity(node, membership) {
            Ok(identity) => return Ok(identity),
            Err(error) => failed = Some(error.into()),
        }
    }
    let nobody = || NodeError::NoCluster { address: nodes.to_owned(), why: "no address was given".to_owned() };
    Err(failed.unwrap_or_else(nobody))
}
