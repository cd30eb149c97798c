//! A node that joins: it asks one of the cluster for the certificate that it is to present itself.
//!
//! Owns: that question. The answer comes encrypted, from one who presents the certificate that the join token names, and only
//! to one who has the token's secret. Does not own what is done with it.

use std::io;

use tokio::time::timeout;

use super::{
    handshake,
    tls::Identity,
    wire::{decode, Membership, Purpose},
    NetError, NetLimits,
};

/// Asks the node at `address`, and waits for the answer: for the start of a node, which has no runtime yet.
///
/// # Errors
/// [`NetError`].
pub fn ask_identity(address: &str, membership: &Membership) -> Result<Identity, NetError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| NetError::Thread(Some(error)))?.block_on(ask(address, membership))
}

async fn ask(address: &str, membership: &Membership) -> Result<Identity, NetError> {
    let within = NetLimits::default().handshake_max;
    let (mut stream, _) = handshake::call(address, membership, Purpose::Identity, within).await?;
    let failed = |source| NetError::of(address, source);
    let garbled = |source| NetError::Garbled { address: address.to_owned(), source };
    let silent = |_| NetError::Silent { address: address.to_owned(), waited: within };
    let answer = timeout(within, handshake::read_frame(&mut stream)).await.map_err(silent)?;
    let pem: String = decode(&answer.map_err(failed)?.map_err(garbled)?).map_err(garbled)?;
    Identity::from_pem(pem).map_err(|error| failed(io::Error::other(error)))
}
