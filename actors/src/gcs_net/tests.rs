//! Tests of the control store over real sockets of this machine: three replicas in one process, clients, intruders.

// In tests an unwrap is an assertion.
#![allow(clippy::unwrap_used)]

mod cluster;
mod intruders;
mod members;
mod tls;
mod wire;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use actinic_gcs::{
    replica::{Addresses, Bootstrap, ReplicaConfig, ReplicaId},
    tables::{KeyValueRead, KeyValueWrite, Reply},
};
use bytes::Bytes;

use super::{
    handshake::first_words,
    wire::{Hello, Purpose, Verdict, PREAMBLE_BYTES, PROTOCOL_VERSION},
    GcsServer, Membership, NetError, NetLimits, Refusal, RemoteGcs, ServerConfig, ServerError, ShardSpec,
};
use crate::gcs_client::ShardStore;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn membership() -> Membership {
    Membership::new(7, Some("open sesame".to_owned())).unwrap()
}

/// Waits until `holds`.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "in vain: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// A cluster whose replicas are all in this process, with their rows in memory.
struct Cluster {
    membership: Membership,
    shards: usize,
    limits: NetLimits,
    addresses: Vec<SocketAddr>,
    servers: Vec<Option<GcsServer>>,
}

impl Cluster {
    fn start(replicas: usize, shards: usize, limits: NetLimits) -> Self {
        Self::start_as(membership(), "127.0.0.1:0", replicas, shards, limits)
    }

    fn start_as(membership: Membership, at: &str, replicas: usize, shards: usize, limits: NetLimits) -> Self {
        let sockets: Vec<TcpListener> = (0..replicas).map(|_| TcpListener::bind(at).unwrap()).collect();
        let addresses = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let mut cluster = Self { membership, shards, limits, addresses, servers: Vec::new() };
        for (place, socket) in sockets.into_iter().enumerate() {
            let config = cluster.config(place, Bootstrap::Found(cluster.members()));
            cluster.servers.push(Some(GcsServer::start_on(socket, config).unwrap()));
        }
        cluster
    }

    fn members(&self) -> Addresses {
        let member = |(place, address): (usize, &SocketAddr)| (ReplicaId(place as u64 + 1), address.to_string());
        self.addresses.iter().enumerate().map(member).collect()
    }

    fn config(&self, place: usize, bootstrap: Bootstrap) -> ServerConfig {
        let spec = |index| ShardSpec {
            index,
            replica: ReplicaConfig::new(ReplicaId(place as u64 + 1), 11 * index as u64 + 1),
            bootstrap: bootstrap.clone(),
            store: ShardStore::Memory,
        };
        let shards = (0..self.shards).map(spec).collect();
        ServerConfig { listen: self.addresses[place], membership: self.membership.clone(), shards, limits: self.limits }
    }

    fn client(&self) -> RemoteGcs {
        self.client_of(self.addresses.iter().map(ToString::to_string).collect()).unwrap()
    }

    fn client_of(&self, addresses: Vec<String>) -> Result<RemoteGcs, NetError> {
        RemoteGcs::connect(&self.membership, vec![addresses; self.shards])
    }

    /// Who leads the first shard.
    fn leader(&self) -> usize {
        let mut leader = None;
        eventually("a leader of all that are left", || {
            let leads = |place: &usize| {
                let status = self.servers[*place].as_ref().and_then(|server| server.status().replicas[&0].clone());
                status.is_some_and(|status| status.leads)
            };
            leader = (0..self.servers.len()).find(leads);
            leader.is_some()
        });
        leader.unwrap()
    }
}

fn put(key: &str, value: &str) -> KeyValueWrite {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    KeyValueWrite::Put { namespace: "default".into(), key, value, overwrite: true }
}

fn get(key: &str) -> KeyValueRead {
    KeyValueRead::Get { namespace: "default".into(), key: Bytes::copy_from_slice(key.as_bytes()) }
}

fn value(client: &RemoteGcs, key: &str) -> Option<Bytes> {
    match client.read(get(key)) {
        Ok(Reply::Value(value)) => value,
        other => panic!("{other:?}"),
    }
}

/// A connection made by hand; gives what the listener says to these first words.
fn knock(address: SocketAddr, words: &[u8]) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(words).unwrap();
    let mut heard = vec![0; PREAMBLE_BYTES + 4];
    let read = stream.read_exact(&mut heard);
    if read.is_err() {
        return (stream, Vec::new());
    }
    let length = u32::from_le_bytes(heard[PREAMBLE_BYTES..].try_into().unwrap()) as usize;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (stream, body)
}

fn hello(purpose: Purpose) -> Hello {
    membership().hello(purpose)
}
