//! Chunks over connections of this process.

use std::future::Future;

use tokio::io::duplex;

use super::*;
use crate::{
    gcs_net::tls::{Identity, Tls},
    store::{ObjectStore, StoreConfig},
};

const STORED: StoredId = StoredId { node: NodeId(7 << 64 | 9), serial: 3 };
const BYTES: usize = 600_000;

fn on_a_runtime(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}

fn served() -> (Arc<ObjectStore>, Arc<Served>) {
    let store = ObjectStore::open(StoreConfig { capacity_bytes: 4 << 20, ..StoreConfig::default() }).unwrap();
    let filling = store.room(BYTES).unwrap().fill();
    for (at, byte) in filling.part(0..BYTES).unwrap().bytes_mut().iter_mut().enumerate() {
        *byte = (at % 251) as u8;
    }
    let served = Arc::new(Served::default());
    served.sealed.write().insert(STORED, Arc::new(filling.finish().unwrap().seal()));
    (store, served)
}

fn chunk(offset: u64, bytes: u64) -> Chunk {
    Chunk { stored: STORED, pull: 1, offset, bytes }
}

#[test]
fn a_chunk_comes_as_it_was_and_what_is_not_there_is_an_error() {
    on_a_runtime(async {
        let (_store, served) = served();
        let (mut here, there) = duplex(64 << 10);
        actix_rt::spawn(serve(there, served.clone()));
        let mut into = vec![0; 500_000];
        fetch_by(&mut here, &chunk(1_000, 500_000), &mut into).await.unwrap();
        assert!(into.iter().enumerate().all(|(at, byte)| *byte == ((at + 1_000) % 251) as u8));
        assert_eq!(served.sent_bytes.load(Ordering::Relaxed), 500_000);
        for beyond in [chunk(BYTES as u64, 1), chunk(u64::MAX, 2), chunk(599_999, 2)] {
            let mut into = vec![0; beyond.bytes as usize];
            let refused = fetch_by(&mut here, &beyond, &mut into).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        }
        let other = Chunk { stored: StoredId { serial: 4, ..STORED }, ..chunk(0, 1) };
        assert_eq!(fetch_by(&mut here, &other, &mut [0]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn one_who_asks_for_more_than_a_chunk_is_refused_and_may_go_on() {
    on_a_runtime(async {
        let (_store, served) = served();
        let (mut here, there) = duplex(64 << 10);
        actix_rt::spawn(serve(there, served.clone()));
        for bytes in [CHUNK_BYTES + 1, u64::MAX] {
            let refused = fetch_by(&mut here, &chunk(0, bytes), &mut []).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{refused}");
        }
        assert_eq!(served.sent_bytes.load(Ordering::Relaxed), 0);
        let mut into = [0; 10];
        fetch_by(&mut here, &chunk(5, 10), &mut into).await.unwrap();
        assert_eq!(into, [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    });
}

#[test]
fn a_byte_that_changed_on_its_way_is_noticed() {
    on_a_runtime(async {
        let (_store, served) = served();
        let (client, server) = Tls::of_identity(Identity::make().unwrap()).unwrap().configs().unwrap();
        let ((near, mut wire_near), (mut wire_far, far)) = (duplex(64 << 10), duplex(64 << 10));
        actix_rt::spawn(async move {
            let far = tokio_rustls::TlsAcceptor::from(server.unwrap()).accept(far).await.unwrap();
            serve(far, served).await;
        });
        // Whoever is between the two changes one byte, long after the handshake.
        actix_rt::spawn(async move {
            let (mut passed, mut from_near, mut from_far) = (0, vec![0; 4_096], vec![0; 4_096]);
            loop {
                tokio::select! {
                    Ok(read @ 1..) = wire_near.read(&mut from_near) => {
                        wire_far.write_all(&from_near[..read]).await.unwrap();
                    }
                    Ok(read @ 1..) = wire_far.read(&mut from_far) => {
                        if (100_000..100_000 + read).contains(&(passed + read)) {
                            from_far[0] ^= 1;
                        }
                        passed += read;
                        if wire_near.write_all(&from_far[..read]).await.is_err() {
                            return;
                        }
                    }
                    else => return,
                }
            }
        });
        let name = rustls::pki_types::ServerName::try_from("cluster.actinic.internal").unwrap();
        let mut near = tokio_rustls::TlsConnector::from(client).connect(name, near).await.unwrap();
        let mut into = vec![0; 500_000];
        fetch_by(&mut near, &chunk(0, 50_000), &mut into[..50_000]).await.unwrap();
        let damaged = fetch_by(&mut near, &chunk(0, 500_000), &mut into).await.unwrap_err();
        assert_eq!(damaged.kind(), io::ErrorKind::InvalidData);
    });
}

#[test]
fn a_source_that_hangs_up_in_the_middle_is_an_error() {
    on_a_runtime(async {
        let (mut here, mut there) = duplex(64 << 10);
        actix_rt::spawn(async move {
            let mut ask = [0; ASK_BYTES];
            there.read_exact(&mut ask).await.unwrap();
            there.write_all(b"\0half").await.unwrap();
        });
        let mut into = [0; 8];
        let cut = fetch_by(&mut here, &chunk(0, 8), &mut into).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    });
}
