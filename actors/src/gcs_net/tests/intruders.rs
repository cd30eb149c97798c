//! Those who are not let in, or not kept: each is told why, and harms nobody.

use actinic_gcs::{
    shard::{ClientId, Request},
    tables::Read as Question,
};

use super::*;
use crate::{
    gcs_client::messages::Frame,
    gcs_net::wire::{decode, preamble},
};

const CLIENT: Purpose = Purpose::Client { shard: 0, client: ClientId(9) };

fn alone() -> Cluster {
    Cluster::start(1, 1, NetLimits::default())
}

/// What the server has to say of the last caller that it turned away.
pub(super) fn told(cluster: &Cluster, part: &str) {
    let server = cluster.servers[0].as_ref().unwrap();
    let says = || server.status().refused.iter().any(|refused| refused.why.contains(part));
    eventually(part, says);
}

pub(super) fn refusal_of(cluster: &Cluster, membership: &Membership) -> Refusal {
    match RemoteGcs::connect(membership, vec![vec![cluster.addresses[0].to_string()]]) {
        Err(NetError::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_of_another_cluster_is_told_so_on_both_sides() {
    let cluster = alone();
    let foreign = Membership { cluster: 8, ..membership() };
    assert_eq!(refusal_of(&cluster, &foreign), Refusal::Cluster { asked: 8, here: 7 });
    told(&cluster, "looks for cluster 00000000000000000000000000000008");
}

#[test]
fn a_client_without_the_token_is_told_so_and_nothing_else() {
    let cluster = alone();
    for token in [None, Some("open barley".to_owned())] {
        let stranger = Membership::new(8, token).unwrap();
        assert_eq!(refusal_of(&cluster, &stranger), Refusal::Token);
    }
    told(&cluster, "token is missing or wrong");
}

#[test]
fn a_client_of_another_version_is_told_so_on_both_sides() {
    let cluster = alone();
    let words = first_words(PROTOCOL_VERSION + 1, &hello(CLIENT)).unwrap();
    let (_, said) = knock(cluster.addresses[0], &words);
    let version = Refusal::Version { caller: PROTOCOL_VERSION + 1, listener: PROTOCOL_VERSION };
    assert_eq!(decode::<Verdict>(&said).unwrap(), Verdict::Refused(version.clone()));
    told(&cluster, &version.to_string());
}

#[test]
fn a_listener_of_another_version_is_named_by_the_caller() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let listener = thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        let mut words = [0; PREAMBLE_BYTES];
        stream.read_exact(&mut words).unwrap();
        stream.write_all(&preamble(PROTOCOL_VERSION + 1)).unwrap();
        // Held open until the caller has read it.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let refused = RemoteGcs::connect(&membership(), vec![vec![address]]).unwrap_err();
    let expected = Refusal::Version { caller: PROTOCOL_VERSION, listener: PROTOCOL_VERSION + 1 };
    assert!(matches!(refused, NetError::Refused { refusal, .. } if refusal == expected));
    listener.join().unwrap();
}

#[test]
fn a_replica_that_looks_for_another_is_told_who_is_here() {
    let cluster = alone();
    let purpose = Purpose::Peer { shard: 0, from: ReplicaId(2), to: ReplicaId(3), address: None };
    let (_, said) = knock(cluster.addresses[0], &first_words(PROTOCOL_VERSION, &hello(purpose)).unwrap());
    let refusal = Refusal::Replica { shard: 0, asked: ReplicaId(3), here: ReplicaId(1) };
    assert_eq!(decode::<Verdict>(&said).unwrap(), Verdict::Refused(refusal));
    let purpose = Purpose::Client { shard: 5, client: ClientId(1) };
    let (_, said) = knock(cluster.addresses[0], &first_words(PROTOCOL_VERSION, &hello(purpose)).unwrap());
    assert_eq!(decode::<Verdict>(&said).unwrap(), Verdict::Refused(Refusal::Shard(5)));
}

#[test]
fn garbage_does_no_harm() {
    let cluster = alone();
    let client = cluster.client();
    let mut long = preamble(PROTOCOL_VERSION).to_vec();
    long.extend_from_slice(&u32::MAX.to_le_bytes());
    let mut broken = preamble(PROTOCOL_VERSION).to_vec();
    broken.extend_from_slice(&[5, 0, 0, 0, 1, 2, 3, 4, 5]);
    for garbage in [b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_vec(), vec![0xff; 4_096], long, broken] {
        knock(cluster.addresses[0], &garbage);
    }
    // One who is let in and then talks nonsense.
    let (mut stream, said) = knock(cluster.addresses[0], &first_words(PROTOCOL_VERSION, &hello(CLIENT)).unwrap());
    assert!(matches!(decode::<Verdict>(&said).unwrap(), Verdict::Accepted { .. }));
    stream.write_all(&[3, 0, 0, 0, 0xc1, 0xc1, 0xc1]).unwrap();
    let ended = stream.read(&mut [0; 16]);
    assert!(matches!(ended, Ok(0) | Err(_)), "it is cut off: {ended:?}");
    told(&cluster, "does not speak");
    assert_eq!(client.write(put("a", "1")), Ok(Reply::Stored(true)));
}

#[test]
fn one_who_does_not_say_in_time_who_it_is_is_hung_up_on() {
    let cluster = Cluster::start(1, 1, NetLimits { handshake_max: Duration::from_millis(20), ..NetLimits::default() });
    let (_stream, said) = knock(cluster.addresses[0], b"ACT");
    assert!(said.is_empty());
    told(&cluster, "in time");
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let limits = NetLimits { outgoing_bytes_max: 2 << 20, ..NetLimits::default() };
    let cluster = Cluster::start(1, 1, limits);
    let server = cluster.servers[0].as_ref().unwrap();
    let client = cluster.client();
    client.write(put("large", &"x".repeat(1 << 20))).unwrap();
    let (mut stream, _) = knock(cluster.addresses[0], &first_words(PROTOCOL_VERSION, &hello(CLIENT)).unwrap());
    assert_eq!(server.status().connections, 2);
    let mut asks = Vec::new();
    for n in 0..64 {
        let what = Request::Read(Question::from(get("large"))).into();
        let body = rmp_serde::to_vec(&Frame::Request { request: actinic_gcs::shard::RequestId(n), what }).unwrap();
        asks.extend_from_slice(&(body.len() as u32).to_le_bytes());
        asks.extend_from_slice(&body);
    }
    stream.write_all(&asks).unwrap();
    eventually("it is cut off", || server.status().connections == 1);
    assert!(value(&client, "large").is_some(), "others are served");
}

#[test]
fn connections_are_bounded_and_who_is_too_many_is_told() {
    let cluster = Cluster::start(1, 1, NetLimits { connections_max: 1, ..NetLimits::default() });
    let client = cluster.client();
    let (_, said) = knock(cluster.addresses[0], &first_words(PROTOCOL_VERSION, &hello(CLIENT)).unwrap());
    assert_eq!(decode::<Verdict>(&said).unwrap(), Verdict::Refused(Refusal::Full { max: 1 }));
    drop(client);
    eventually("there is room again", || {
        let (_, said) = knock(cluster.addresses[0], &first_words(PROTOCOL_VERSION, &hello(CLIENT)).unwrap());
        matches!(decode::<Verdict>(&said).unwrap(), Verdict::Accepted { .. })
    });
}

#[test]
fn nobody_is_served_beyond_loopback_without_a_token() {
    let cluster = alone();
    let mut config = cluster.config(0, Bootstrap::Found(cluster.members()));
    config.listen = "0.0.0.0:0".parse().unwrap();
    config.membership.token = None;
    let refused = GcsServer::start(config).unwrap_err();
    assert!(matches!(refused, ServerError::OpenToAll(_)), "{refused}");
    assert!(refused.to_string().contains("token"), "{refused}");
}

#[test]
fn a_port_in_use_is_named() {
    let cluster = alone();
    let refused = GcsServer::start(cluster.config(0, Bootstrap::Join)).unwrap_err();
    assert!(refused.to_string().contains(&cluster.addresses[0].to_string()), "{refused}");
}
