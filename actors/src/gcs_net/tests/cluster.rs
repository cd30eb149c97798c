//! Clients of a cluster: they write, read and subscribe, whoever leads and whoever dies.

use std::sync::mpsc;

use actinic_gcs::shard::{Filter, Request};

use super::*;

/// Subscribes to all values; changes from when this returns are told.
fn subscribe(client: &RemoteGcs, changed: mpsc::Sender<u64>) {
    client.subscribe(Filter::values("default", b""), move |change| {
        let _ = changed.send(change.sequence);
    });
    // Its answer comes after the subscription, which may take effect later than a write that follows it.
    assert_eq!(value(client, "barrier"), None);
}

#[test]
fn three_replicas_answer_writes_reads_and_subscriptions() {
    let cluster = Cluster::start(3, 1, NetLimits::default());
    let client = cluster.client();
    let (changed, changes) = mpsc::channel();
    subscribe(&client, changed);
    assert_eq!(client.write(put("a", "1")), Ok(Reply::Stored(true)));
    assert_eq!(value(&client, "a"), Some(Bytes::from_static(b"1")));
    assert_eq!(value(&client, "b"), None);
    assert_eq!(changes.recv_timeout(PATIENCE), Ok(1));
}

#[test]
fn a_client_that_knows_only_a_follower_is_led_to_the_leader() {
    let cluster = Cluster::start(3, 1, NetLimits::default());
    let follower = (cluster.leader() + 1) % 3;
    let client = cluster.client_of(vec![cluster.addresses[follower].to_string()]).unwrap();
    assert_eq!(client.write(put("a", "1")), Ok(Reply::Stored(true)));
}

#[test]
fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(3, 1, NetLimits::default());
    let client = cluster.client();
    let (changed, changes) = mpsc::channel();
    subscribe(&client, changed);
    for n in 0..100 {
        client.write(put(&n.to_string(), "before")).unwrap();
    }
    let leader = cluster.leader();
    let pending: Vec<_> = (100..200).map(|n| client.submit(put(&n.to_string(), "during").into())).collect();
    drop(cluster.servers[leader].take());
    let since = Instant::now();
    for n in 200..300 {
        client.write(put(&n.to_string(), "after")).unwrap();
    }
    println!("a hundred writes, the first through an election: {:?}", since.elapsed());
    for answer in pending {
        assert_eq!(answer.wait(), Ok(Reply::Stored(true)));
    }
    for n in 0..300 {
        assert!(value(&client, &n.to_string()).is_some(), "key {n} is lost");
    }
    let told: Vec<u64> = (0..300).map_while(|_| changes.recv_timeout(PATIENCE).ok()).collect();
    assert_eq!(told, (1..=300).collect::<Vec<_>>(), "every change is told once, in order");
}

#[test]
fn an_orderly_shutdown_hands_leadership_over() {
    let mut cluster = Cluster::start(3, 1, NetLimits::default());
    let client = cluster.client();
    client.write(put("a", "1")).unwrap();
    let leader = cluster.leader();
    cluster.servers[leader].take().unwrap().shut_down();
    assert_eq!(value(&client, "a"), Some(Bytes::from_static(b"1")));
    assert_ne!(cluster.leader(), leader);
}

#[test]
fn a_client_of_several_shards_has_all_of_its_requests_answered() {
    let cluster = Cluster::start(1, 3, NetLimits::default());
    let client = cluster.client();
    let write = |n: u32| client.submit(Request::from(put(&n.to_string(), "x")));
    let pending: Vec<_> = (0..5_000).map(write).collect();
    for (n, answer) in pending.into_iter().enumerate() {
        assert_eq!(answer.wait(), Ok(Reply::Stored(true)), "write {n}");
    }
    assert!((0..5_000).step_by(500).all(|n| value(&client, &n.to_string()).is_some()));
}

#[test]
fn a_client_that_is_dropped_leaves_nothing_behind() {
    let cluster = Cluster::start(1, 1, NetLimits::default());
    let server = cluster.servers[0].as_ref().unwrap();
    let client = cluster.client();
    client.write(put("a", "1")).unwrap();
    assert_eq!(server.status().connections, 1);
    drop(client);
    eventually("no connection is left", || server.status().connections == 0);
}

#[test]
fn without_a_majority_a_client_is_told_that_nobody_answers() {
    let mut cluster = Cluster::start(3, 1, NetLimits::default());
    cluster.leader();
    (cluster.servers[1], cluster.servers[2]) = (None, None);
    let (alone, within) = (vec![cluster.addresses[0].to_string()], Duration::from_millis(500));
    let refused = RemoteGcs::connect_within(&membership(), vec![alone], within).unwrap_err();
    assert!(matches!(refused, NetError::NoLeader { shard: 0, .. }), "{refused}");
}
