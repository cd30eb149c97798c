//! Peers that are slow or mean harm, on real sockets: each costs a bounded amount and gets a line in the log, and honest ones
//! are served meanwhile.
#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use actinic_actors::{
    gcs_client::ShardStore,
    gcs_net::{
        tls::{Identity, Tls},
        wire::{decode, preamble, Hello, Purpose, Verdict, FRAME_BYTES_MAX, PREAMBLE_BYTES, PROTOCOL_VERSION},
        GcsServer, Membership, NetLimits, RemoteGcs, ServerConfig, ShardSpec,
    },
};
use actinic_gcs::{
    replica::{Addresses, Bootstrap, ReplicaConfig, ReplicaId},
    shard::ClientId,
    tables::{KeyValueRead, KeyValueWrite, Reply},
};
use bytes::Bytes;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one who says nothing is waited for in these tests.
const SHORT: Duration = Duration::from_millis(200);

struct Victim {
    server: GcsServer,
    membership: Membership,
    honest: RemoteGcs,
}

impl Victim {
    fn new(limits: NetLimits, tls: Tls) -> Self {
        let membership = Membership::new(7, Some("open sesame".to_owned())).unwrap().with_tls(tls);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = socket.local_addr().unwrap();
        let shard = ShardSpec {
            index: 0,
            replica: ReplicaConfig::new(ReplicaId(1), 1),
            bootstrap: Bootstrap::Found(Addresses::from([(ReplicaId(1), listen.to_string())])),
            store: ShardStore::Memory,
        };
        let config = ServerConfig { listen, membership: membership.clone(), shards: vec![shard], limits };
        let server = GcsServer::start_on(socket, config).unwrap();
        let honest = RemoteGcs::connect(&membership, vec![vec![listen.to_string()]]).unwrap();
        Self { server, membership, honest }
    }

    /// With short times for those who are slow.
    fn hasty() -> Self {
        let limits = NetLimits { handshake_max: SHORT, idle_max: SHORT, stall_max: SHORT, ..NetLimits::default() };
        Self::new(limits, Tls::off())
    }

    fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    fn open(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn words(&self, purpose: Purpose) -> Vec<u8> {
        let mut words = preamble(PROTOCOL_VERSION).to_vec();
        words.extend(framed(&rmp_serde::to_vec::<Hello>(&self.membership.hello(purpose)).unwrap()));
        words
    }

    /// A caller that is let in.
    fn let_in(&self, purpose: Purpose) -> TcpStream {
        let mut stream = self.open();
        stream.write_all(&self.words(purpose)).unwrap();
        let mut heard = [0; PREAMBLE_BYTES + 4];
        stream.read_exact(&mut heard).unwrap();
        let mut body = vec![0; u32::from_le_bytes(heard[PREAMBLE_BYTES..].try_into().unwrap()) as usize];
        stream.read_exact(&mut body).unwrap();
        assert!(matches!(decode::<Verdict>(&body).unwrap(), Verdict::Accepted { .. }));
        stream
    }

    /// That somebody new comes in, and is answered.
    fn serves(&self) {
        let since = Instant::now();
        let client = RemoteGcs::connect(&self.membership, vec![vec![self.address().to_string()]]).unwrap();
        let (namespace, key) = ("hostile".into(), Bytes::from_static(b"key"));
        let write = KeyValueWrite::Put { namespace, key, value: Bytes::from_static(b"value"), overwrite: true };
        assert_eq!(client.write(write).unwrap(), Reply::Stored(true));
        let read = KeyValueRead::Get { namespace: "hostile".into(), key: Bytes::from_static(b"key") };
        assert_eq!(self.honest.read(read).unwrap(), Reply::Value(Some(Bytes::from_static(b"value"))));
        assert!(since.elapsed() < Duration::from_secs(5), "an honest caller waited {:?}", since.elapsed());
    }

    /// That some refusal says so.
    fn notes(&self, part: &str) {
        let says = || self.server.status().refused.iter().any(|refused| refused.why.contains(part));
        eventually(part, says);
    }

    /// That nothing is left of those who were let in.
    fn is_quiet(&self) {
        eventually("only the honest client is connected", || self.server.status().connections == 1);
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "in vain: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// That the other side hangs up.
fn is_cut_off(mut stream: TcpStream) {
    let mut heard = [0; 1 << 10];
    loop {
        match stream.read(&mut heard) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                assert!(
                    !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
                    "{error}"
                );
                return;
            }
        }
    }
}

const CLIENT: Purpose = Purpose::Client { shard: 0, client: ClientId(9) };
const REPLICA: Purpose = Purpose::Peer { shard: 0, from: ReplicaId(2), to: ReplicaId(1), address: None };

/// Sends these bytes one after the other, each well within the time that silence may take.
fn dribble(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        thread::park_timeout(SHORT / 20);
    }
}

#[test]
fn one_who_says_its_first_words_byte_by_byte_is_hung_up_on() {
    let victim = Victim::hasty();
    let (mut stream, words) = (victim.open(), victim.words(CLIENT));
    let since = Instant::now();
    dribble(&mut stream, &words);
    is_cut_off(stream);
    assert!(since.elapsed() < PATIENCE);
    victim.notes("in time");
    victim.serves();
}

#[test]
fn one_who_sends_a_frame_byte_by_byte_is_cut_off() {
    let victim = Victim::hasty();
    for purpose in [CLIENT, REPLICA, Purpose::Admin] {
        let mut stream = victim.let_in(purpose);
        stream.write_all(&1_000_u32.to_le_bytes()).unwrap();
        dribble(&mut stream, &[0; 100]);
        is_cut_off(stream);
    }
    victim.is_quiet();
    victim.serves();
}

#[test]
fn a_frame_of_four_gigabytes_is_refused_when_it_is_announced() {
    let victim = Victim::new(NetLimits::default(), Tls::off());
    let before = resident_bytes();
    for purpose in [CLIENT, REPLICA, Purpose::Admin] {
        for length in [u32::MAX, FRAME_BYTES_MAX as u32 + 1] {
            let mut stream = victim.let_in(purpose.clone());
            stream.write_all(&length.to_le_bytes()).unwrap();
            let _ = stream.write_all(&[0; 1_000]);
            is_cut_off(stream);
        }
    }
    let mut stream = victim.open();
    stream.write_all(&preamble(PROTOCOL_VERSION)).unwrap();
    stream.write_all(&u32::MAX.to_le_bytes()).unwrap();
    is_cut_off(stream);
    victim.notes("cannot be understood");
    victim.is_quiet();
    assert!(resident_bytes() < before + (256 << 20), "memory grew by what was announced");
    victim.serves();
}

/// Memory of this process; other tests run in it, so bounds on it are generous.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

#[test]
fn thousands_who_say_nothing_shut_nobody_out() {
    // Longer than the test: who goes does so to make room.
    let limits = NetLimits { handshake_max: PATIENCE * 10, ..NetLimits::default() };
    let victim = Victim::new(limits, Tls::off());
    let mut held = std::collections::VecDeque::new();
    for n in 0..3_000 {
        let mut stream = victim.open();
        stream.write_all(&b"ACTGCS"[..n % 7]).unwrap();
        held.push_back(stream);
        if held.len() > 400 {
            held.pop_front();
        }
        if n % 1_000 == 500 {
            victim.serves();
        }
    }
    victim.notes("has taken longest");
    victim.serves();
    let mut oldest = held.pop_front().unwrap();
    assert!(matches!(oldest.read(&mut [0; 1]), Ok(0) | Err(_)), "the oldest of 400 had to go: 256 is the bound");
}

#[test]
fn garbage_from_a_seed_harms_nobody() {
    let victim = Victim::hasty();
    let mut seed = 1_u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    let words = victim.words(CLIENT);
    for round in 0..200 {
        let mut stream = victim.open();
        let mut bytes = words.clone();
        match round % 4 {
            0 => bytes = (0..random() % 300).map(|_| random() as u8).collect(),
            1 => bytes.truncate(random() % words.len()),
            _ => (0..1 + random() % 4).for_each(|_| bytes[random() % words.len()] ^= 1 << (random() % 8)),
        }
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        is_cut_off(stream);
    }
    victim.is_quiet();
    victim.serves();
}

#[test]
fn one_who_is_let_in_and_then_talks_nonsense_is_cut_off() {
    let victim = Victim::new(NetLimits::default(), Tls::off());
    for purpose in [CLIENT, REPLICA, Purpose::Admin] {
        for body in [&[0xc1_u8, 0xc1, 0xc1][..], &[0xff; 100], &[0xdd, 0xff, 0xff, 0xff, 0xff], b"GET / HTTP/1.1"] {
            let mut stream = victim.let_in(purpose.clone());
            stream.write_all(&framed(body)).unwrap();
            is_cut_off(stream);
        }
    }
    victim.is_quiet();
    victim.serves();
}

#[test]
fn another_version_is_told_which_is_spoken_here() {
    let victim = Victim::hasty();
    let mut stream = victim.open();
    stream.write_all(&preamble(PROTOCOL_VERSION + 7)).unwrap();
    let mut heard = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, preamble(PROTOCOL_VERSION));
    is_cut_off(stream);
    victim.notes("speaks version");
    victim.serves();
}

#[test]
fn an_encrypted_listener_bears_the_same() {
    let identity = Identity::make().unwrap();
    let limits = NetLimits { handshake_max: SHORT * 5, ..NetLimits::default() };
    let victim = Victim::new(limits, Tls::of_identity(identity).unwrap());
    // A record of TLS, as long as one may be, with nothing of TLS in it; one that never ends; half a greeting.
    let records: [&[u8]; 4] =
        [&[0x16, 3, 1, 0x40, 0, 1, 0, 0], &[0x16; 600], &[0x16, 3, 3, 0, 5, 1, 2, 3, 4, 5], &[0x16]];
    for record in records {
        let mut stream = victim.open();
        stream.write_all(record).unwrap();
        is_cut_off(stream);
    }
    victim.notes("TLS with it failed");
    victim.notes("in time");
    let silent: Vec<TcpStream> = (0..400).map(|_| victim.open()).collect();
    victim.serves();
    drop(silent);
    victim.is_quiet();
}
