//! Clusters of real processes whose nodes speak encrypted.
#![allow(clippy::unwrap_used)]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/processes.rs"]
mod processes;

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    time::{Duration, Instant},
};

use actinic::{
    cluster::{spawn_node, Cluster, NodeSettings, NodeTls, TlsFiles},
    prelude::*,
};
use pki::{Issued, Pki};
use processes::{connect, node_settings};

/// How long a clear answer may take.
const SECONDS: Duration = Duration::from_secs(8);

#[remote]
fn twice(bytes: Vec<u8>) -> Vec<u8> {
    bytes.repeat(2)
}

fn settings(listen: &str, join: Option<&str>, token: Option<&str>) -> NodeSettings {
    NodeSettings { listen: listen.parse().unwrap(), ..node_settings(join, token) }
}

/// Runs a task on the node that has `far`, with values that go over the network both ways.
fn runs_far(address: &str) {
    let rt = connect(address);
    let far = twice.options().resource("far", 1.0).remote(vec![7; 1 << 20]);
    assert_eq!(rt.get(&far).unwrap().len(), 2 << 20);
}

#[test]
fn a_cluster_is_encrypted_where_its_head_was_told_to() {
    let mut cluster = Cluster::builder().tls(NodeTls { always: true, files: None }).start(&[]).unwrap();
    cluster.add_node(&[("far", 1.0)]).unwrap();
    let token = cluster.nodes()[0].card.token.clone();
    assert!(token.contains(".sha256-"), "the token names the certificate");
    runs_far(cluster.address());
    let since = Instant::now();
    let refused = |token: &str| {
        let join = settings("127.0.0.1:0", Some(cluster.address()), Some(token));
        spawn_node(join, None).unwrap_err().to_string()
    };
    let (secret, _) = token.rsplit_once(".sha256-").unwrap();
    let half = refused(secret);
    assert!(half.contains("give the whole join token"), "{half}");
    let other = refused(&format!("{secret}.sha256-{}", "0".repeat(64)));
    assert!(other.contains("its certificate is not the one that the token names"), "{other}");
    let wrong = refused(&token.replace(secret, "open barley"));
    assert!(wrong.contains("token is missing or wrong"), "{wrong}");
    let cut = refused(&token[..token.len() - 1]);
    assert!(cut.contains("64 hexadecimal digits"), "{cut}");
    assert!(since.elapsed() < SECONDS, "clear answers took {:?}", since.elapsed());
}

/// An address of this machine that others can reach, if it has one. No packet is sent to find out.
fn beyond_loopback() -> Option<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let mut address = socket.local_addr().ok().filter(|address| !address.ip().is_loopback())?;
    address.set_port(0);
    TcpListener::bind(address).is_ok().then_some(address)
}

#[test]
fn a_head_that_others_can_reach_is_encrypted_whatever_it_was_told() {
    let Some(at) = beyond_loopback() else {
        return println!("skipped: this machine has no address beyond loopback");
    };
    let head = spawn_node(settings(&at.to_string(), None, Some("open sesame")), None).unwrap();
    assert!(head.card.token.starts_with("open sesame.sha256-"), "{}", head.card.token);
    let mut far = settings(&at.to_string(), Some(&head.card.address), Some(&head.card.token));
    far.resources.insert("far".to_owned(), 1.0);
    let _far = spawn_node(far, None).unwrap();
    runs_far(&head.card.address);
    let half = settings(&at.to_string(), Some(&head.card.address), Some("open sesame"));
    let refused = spawn_node(half, None).unwrap_err().to_string();
    assert!(refused.contains("nothing is sent unencrypted"), "{refused}");
    // A plain cluster on loopback takes nobody in whom others can reach.
    let plain = Cluster::local(1).unwrap();
    let (address, token) = (plain.address().to_owned(), head.card.token.replace("open sesame", "other"));
    let open = settings(&at.to_string(), Some(&address), Some(token.split(".sha256-").next().unwrap()));
    let refused = spawn_node(open, None).unwrap_err().to_string();
    assert!(refused.contains("token is missing or wrong"), "{refused}");
}

/// A certificate for nodes on this machine.
fn files(pki: &Pki) -> TlsFiles {
    let Issued { ca, cert, key } = pki.issue("node", "127.0.0.1", |_| {});
    TlsFiles { ca, cert, key }
}

#[test]
fn a_pki_of_the_operators_own_does_without_a_token() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let mut cluster = Cluster::builder().tls(NodeTls { always: false, files: Some(files(&ours)) }).start(&[]).unwrap();
    cluster.add_node(&[("far", 1.0)]).unwrap();
    assert_eq!(cluster.nodes()[0].card.token, "");
    runs_far(cluster.address());
    let mut stranger = settings("127.0.0.1:0", Some(cluster.address()), None);
    stranger.tls.files = Some(files(&theirs));
    let refused = spawn_node(stranger, None).unwrap_err().to_string();
    assert!(refused.contains("not signed by the CA"), "{refused}");
    let bare = settings("127.0.0.1:0", Some(cluster.address()), Some("any"));
    let refused = spawn_node(bare, None).unwrap_err().to_string();
    assert!(refused.contains("the listener speaks TLS"), "{refused}");
}
