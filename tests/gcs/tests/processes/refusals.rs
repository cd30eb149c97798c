//! Whoever does something wrong is told what, and what to do about it.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use actinic_actors::gcs_net::{
    wire::{decode, preamble, Verdict, PREAMBLE_BYTES, PROTOCOL_VERSION},
    Membership, NetError, Refusal, RemoteGcs,
};
use actinic_gcs::{
    shard::ClientId,
    tables::{KeyValueRead, KeyValueWrite, Reply},
};
use actinic_gcs_tests::{cluster::Cluster, replica::Spec};
use bytes::Bytes;

use super::PROGRAM;

fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

fn refused(cluster: &Cluster, membership: &Membership) -> String {
    match RemoteGcs::connect(membership, cluster.contacts().shards.clone()) {
        Err(error @ NetError::Refused { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_of_another_version_cluster_or_token_is_told_what_to_do() {
    let cluster = Cluster::start(PROGRAM, 1);
    let membership = &cluster.contacts().membership;
    let address = &cluster.spec(0).members[0];

    let foreign = Membership { cluster: 0xdef, ..membership.clone() };
    assert_says(
        &refused(&cluster, &foreign),
        &[
            "looks for cluster 00000000000000000000000000000def, but this is cluster 0000000000000000000000000000ac71",
            "check the address and the cluster's id",
        ],
    );
    for token in [None, Some("open barley".to_owned())] {
        let stranger = Membership::new(membership.cluster, token).unwrap();
        let said = refused(&cluster, &stranger);
        assert_says(&said, &["token is missing or wrong", "give the one that the whole cluster was started with"]);
    }

    let mut words = preamble(PROTOCOL_VERSION + 1).to_vec();
    let purpose = actinic_actors::gcs_net::wire::Purpose::Client { shard: 0, client: ClientId(1) };
    let hello = rmp_serde::to_vec(&membership.hello(purpose)).unwrap();
    words.extend_from_slice(&u32::try_from(hello.len()).unwrap().to_le_bytes());
    words.extend_from_slice(&hello);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&words).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    let verdict = decode::<Verdict>(&said[PREAMBLE_BYTES + 4..]).unwrap();
    let Verdict::Refused(refusal @ Refusal::Version { .. }) = verdict else { panic!("{verdict:?}") };
    let versions = format!("version {} of the protocol, the listener version {PROTOCOL_VERSION}", PROTOCOL_VERSION + 1);
    assert_says(&refusal.to_string(), &[&versions, "use the same build"]);
}

#[test]
fn what_is_too_large_is_refused_with_what_to_do_and_its_client_goes_on() {
    let cluster = Cluster::start(PROGRAM, 1);
    let client = cluster.contacts().client();
    let put = |bytes: usize| {
        let (key, value) = (Bytes::from_static(b"large"), Bytes::from(vec![7; bytes]));
        client.write(KeyValueWrite::Put { namespace: "sizes".into(), key, value, overwrite: true })
    };
    // Beyond a value's bound, beyond what a shard takes at once, and beyond what a frame holds.
    for bytes in [(1 << 20) + 1, 20 << 20, 40 << 20] {
        let refused = put(bytes).unwrap_err().to_string();
        assert_says(&refused, &["object"]);
        let limit = match bytes {
            1_048_577 => "a value's size in bytes of 1048577 is over the limit of 1048576",
            _ => "bytes, more than the",
        };
        assert_says(&refused, &[limit]);
        println!("{bytes} bytes: {refused}");
    }
    assert_eq!(put(1 << 20), Ok(Reply::Stored(true)));
    let get = KeyValueRead::Get { namespace: "sizes".into(), key: Bytes::from_static(b"large") };
    assert!(matches!(client.read(get), Ok(Reply::Value(Some(value))) if value.len() == 1 << 20));
}

#[test]
fn a_folder_in_use_or_of_somebody_else_is_refused_with_what_to_do() {
    let mut cluster = Cluster::start(PROGRAM, 2);
    drop(cluster.contacts().client());
    let taken = cluster.spec(0).folder.clone();
    let path = taken.join("shard-0").display().to_string();

    // Another port, so that the folder is all that is wrong.
    let mut members = cluster.spec(0).members.clone();
    members[0] = format!("{}:0", members[0].split(':').next().unwrap());
    let second = Spec { members, ..cluster.spec(0).clone() };
    let said = cluster.refusal(&second);
    assert_says(&said, &[&path, "another process uses it; end that one, or name another folder"]);

    cluster.kill(&[0]);
    let said = cluster.refusal(&Spec { cluster: 0xdef, ..cluster.spec(0).clone() });
    assert_says(&said, &[&path, "it belongs to cluster 0000000000000000000000000000ac71", "name another folder"]);
    let members = second.members.iter().rev().cloned().collect();
    let said = cluster.refusal(&Spec { replica: 3, members, ..cluster.spec(0).clone() });
    assert_says(&said, &["it holds replica 1 of shard 0, not replica 3 of shard 0; name another folder"]);
    // It is none the worse for all that.
    cluster.spawn(0);
}

#[test]
fn a_store_of_a_newer_version_is_refused_with_what_to_do() {
    let mut cluster = Cluster::start(PROGRAM, 1);
    drop(cluster.contacts().client());
    cluster.kill(&[1]);
    let path = cluster.spec(1).folder_of(0);
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, &path).unwrap();
    let newer = rocksdb::DB::open_cf(&options, &path, families).unwrap();
    newer.put(b"format", 9_u32.to_be_bytes()).unwrap();
    drop(newer);
    let said = cluster.refusal(cluster.spec(1));
    assert_says(&said, &["it has format 9, and this build reads formats up to 1; use a newer version of Actinic"]);
    assert_says(&said, &[&path.display().to_string()]);
}
