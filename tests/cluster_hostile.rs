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
use actinic_gcs::{spec::NodeSpec, NodeId, ResourceSet, WorkerId};

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

fn membership(cluster: &mut Cluster, token: Option<&str>) -> Membership {
    let card = cluster.nodes()[0].card.clone();
    let token = token.map_or(card.token, str::to_owned);
    Membership::new(u128::from_str_radix(&card.cluster, 16).unwrap(), Some(token)).unwrap()
}

/// Calls on somebody who serves the cluster; gives what that says to it.
fn call(address: &str, membership: &Membership, purpose: Purpose) -> (TcpStream, Verdict) {
    let mut words = preamble(PROTOCOL_VERSION).to_vec();
    words.extend(framed(&rmp_serde::to_vec(&membership.hello(purpose)).unwrap()));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&words).unwrap();
    let mut heard = [0; PREAMBLE_BYTES + 4];
    stream.read_exact(&mut heard).unwrap();
    let mut body = vec![0; u32::from_le_bytes(heard[PREAMBLE_BYTES..].try_into().unwrap()) as usize];
    stream.read_exact(&mut body).unwrap();
    (stream, decode(&body).unwrap())
}

/// A connection as another node of the cluster.
fn as_node(cluster: &mut Cluster, id: u128) -> TcpStream {
    let address = cluster.nodes()[0].card.address.clone();
    let spec = NodeSpec {
        id: NodeId(id),
        address: "127.0.0.1:1".to_owned(),
        hostname: "nowhere".to_owned(),
        head: false,
        resources: ResourceSet::new(),
        labels: Default::default(),
        object_store_bytes: 0,
        shared_memory: None,
    };
    let (stream, verdict) = call(&address, &membership(cluster, None), Purpose::Node(Box::new(spec)));
    assert!(matches!(verdict, Verdict::Accepted { .. }));
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

/// The worker's process, and the ports at which it listens.
#[remote(num_returns = 1)]
fn its_doors() -> (u32, Vec<u16>) {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| std::fs::read_link(entry.path()));
    let own: Vec<String> = links.flatten().map(|link| link.to_string_lossy().into_owned()).collect();
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let ports = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_own = own.contains(&format!("socket:[{}]", fields[9]));
        let listens = fields[3] == "0A" && is_own;
        fields[1].split_once(':').filter(|_| listens).and_then(|(_, port)| u16::from_str_radix(port, 16).ok())
    });
    (std::process::id(), ports.collect())
}

#[test]
fn a_worker_s_door_is_open_to_members_of_its_cluster_only() {
    let mut cluster = Cluster::local(1).unwrap();
    let rt = Runtime::builder().address(cluster.address()).init().unwrap();
    let (worker, ports) = rt.get(&its_doors.remote()).unwrap();
    let [port] = ports[..] else { panic!("one door: {ports:?}") };
    let door = format!("127.0.0.1:{port}");
    let node = find().unwrap().into_iter().find(|found| found.card.pid == cluster.pids()[0]).unwrap();
    let node = NodeId(u128::from_str_radix(&node.card.node, 16).unwrap());
    let to = |worker: u32| Purpose::Process {
        from: (NodeId(5), WorkerId(5)),
        to: (node, WorkerId(worker)),
        call: 1,
        given_up: Vec::new(),
    };
    let refused = |verdict: Verdict| matches!(verdict, Verdict::Refused(_));
    let stranger = membership(&mut cluster, Some("not the token"));
    let member = membership(&mut cluster, None);
    // Whoever he asks for, a stranger is not let in; and a member only to the worker that lives there.
    assert!((0..50).all(|worker| refused(call(&door, &stranger, to(worker)).1)));
    assert!(refused(call(&door, &member, Purpose::Admin).1));
    let mut let_in: Vec<TcpStream> = (0..50)
        .filter_map(|worker| match call(&door, &member, to(worker)) {
            (stream, Verdict::Accepted { .. }) => Some(stream),
            _ => None,
        })
        .collect();
    assert_eq!(let_in.len(), 1);
    // Nonsense ends a line, whether from a member or from whoever knocks, and the worker goes on.
    let_in[0].write_all(&[3, 0, 0, 0, 0xc1, 0xc1, 0xc1]).unwrap();
    let _ = hears_the_end(&mut let_in[0]);
    let mut knocks = TcpStream::connect(&door).unwrap();
    knocks.set_read_timeout(Some(PATIENCE)).unwrap();
    knocks.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = hears_the_end(&mut knocks);
    let again: Vec<_> = (0..20).map(|_| its_doors.remote()).collect();
    assert!(rt.get(&again).unwrap().iter().any(|(process, _)| *process == worker), "it still serves");
}
