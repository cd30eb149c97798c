//! Nodes among processes and members that are slow or mean harm: everybody else goes on being served.
#![allow(clippy::unwrap_used)]

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use actinic::{
    cluster::{find, Cluster},
    prelude::*,
};
use actinic_actors::{
    cluster::wire::{Caller, FromNode, Greeting},
    gcs_net::{
        wire::{decode, preamble, Purpose, Verdict, PREAMBLE_BYTES, PROTOCOL_VERSION},
        Membership,
    },
};
use actinic_gcs::{spec::NodeSpec, NodeId, ResourceSet};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn serves(cluster: &Cluster) {
    let rt = Runtime::builder().address(cluster.address()).init().unwrap();
    assert_eq!(rt.get(&add.remote(1, 2)).unwrap(), 3);
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

fn hears_the_end(stream: &mut impl Read) -> Vec<u8> {
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Ok(_) => {}
        Err(error) => assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
    }
    heard
}

fn socket_of(cluster: &Cluster) -> PathBuf {
    let head = cluster.pids()[0];
    find().unwrap().into_iter().find(|found| found.card.pid == head).unwrap().socket()
}

#[test]
fn processes_that_say_nothing_or_nonsense_shut_no_driver_out() {
    let cluster = Cluster::local(1).unwrap();
    let socket = socket_of(&cluster);
    let open = || {
        let stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut silent: Vec<UnixStream> = (0..400).map(|_| open()).collect();
    serves(&cluster);
    assert_eq!(hears_the_end(&mut silent[0]), b"", "256 is the bound, and the slowest goes");
    for words in [u32::MAX.to_le_bytes().to_vec(), framed(&[0xc1; 50]), framed(b"GET / HTTP/1.1")] {
        let mut stream = open();
        stream.write_all(&words).unwrap();
        let heard = hears_the_end(&mut stream);
        assert!(matches!(decode::<FromNode>(&heard[4..]).unwrap(), FromNode::Refused(_)));
    }
    let newer = Greeting { version: PROTOCOL_VERSION + 1, caller: Caller::Status };
    let mut stream = open();
    stream.write_all(&framed(&rmp_serde::to_vec(&newer).unwrap())).unwrap();
    let heard = hears_the_end(&mut stream);
    let FromNode::Refused(why) = decode(&heard[4..]).unwrap() else { panic!("{heard:02x?}") };
    assert!(why.contains("use the same build"), "{why}");
    serves(&cluster);
}

/// A connection as another node of the cluster.
fn as_node(cluster: &mut Cluster, id: u128) -> TcpStream {
    let card = cluster.nodes()[0].card.clone();
    let membership = Membership::new(u128::from_str_radix(&card.cluster, 16).unwrap(), Some(card.token)).unwrap();
    let spec = NodeSpec {
        id: NodeId(id),
        address: "127.0.0.1:1".to_owned(),
        hostname: "nowhere".to_owned(),
        head: false,
        resources: ResourceSet::new(),
        labels: Default::default(),
        object_store_bytes: 0,
    };
    let mut words = preamble(PROTOCOL_VERSION).to_vec();
    words.extend(framed(&rmp_serde::to_vec(&membership.hello(Purpose::Node(Box::new(spec)))).unwrap()));
    let mut stream = TcpStream::connect(&card.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&words).unwrap();
    let mut heard = [0; PREAMBLE_BYTES + 4];
    stream.read_exact(&mut heard).unwrap();
    let mut body = vec![0; u32::from_le_bytes(heard[PREAMBLE_BYTES..].try_into().unwrap()) as usize];
    stream.read_exact(&mut body).unwrap();
    assert!(matches!(decode::<Verdict>(&body).unwrap(), Verdict::Accepted { .. }));
    stream
}

#[test]
fn a_member_that_talks_nonsense_is_cut_off_and_the_cluster_goes_on() {
    let mut cluster = Cluster::local(1).unwrap();
    let nonsense: [&[u8]; 4] =
        [&[0xff; 4], &[5, 0, 0, 0, 0xdd, 0xff, 0xff, 0xff, 0xff], &[3, 0, 0, 0, 0xc1, 0xc1, 0xc1], &[9, 0]];
    for (id, words) in (1..).zip(nonsense) {
        let mut stream = as_node(&mut cluster, id);
        stream.write_all(words).unwrap();
        // The last one says half a length and nothing more: silence ends it.
        let _ = hears_the_end(&mut stream);
        serves(&cluster);
    }
}
