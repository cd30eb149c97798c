//! Decoders of this crate that are no part of its API, for those who try them with any bytes: `tests/decoders.rs` and `fuzz/`.
//!
//! Owns: how each of them is called, with what it understands. Does not own the trying. Invariant: no API; whatever is public
//! here may change.

use std::{
    cell::OnceCell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

pub use actinic_gcs::fuzzing::Decoder;
use actinic_gcs::{NodeId, WorkerId};
use bytes::BytesMut;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
};

pub use crate::cluster::node::group::GroupRow;
use crate::{
    checksum::Checksum,
    cluster::{
        executable::ExeStore,
        lines::line::{hear_pieces, Listener},
        objects::streams::{serve, Ask, Served, ASK_BYTES},
        peer::{greeted, read_frame},
        wire::{Caller, ExeHash, FromNode, Greeting, LeaseId},
        workers::byline::name_in,
    },
    gcs_net::{
        inbox::Inbox,
        wire::{take_frame, FrameError, FRAME_BYTES_MAX, PROTOCOL_VERSION},
    },
    store::{
        own_folder::OwnFolder,
        page::PAGE_BYTES,
        spill::{header, read_from, HEADER_BYTES},
    },
};

/// All of them.
#[must_use]
pub fn decoders() -> Vec<Decoder> {
    vec![
        Decoder { name: "object_ask", decode: object_ask, round: round_object_ask, samples: object_asks },
        Decoder {
            name: "object_stream",
            decode: object_stream,
            round: |_| {},
            samples: || vec![object_asks().concat()],
        },
        Decoder { name: "greeted", decode: |bytes| greet(bytes).is_some(), round: round_greeted, samples: greetings },
        Decoder {
            name: "read_frame",
            decode: |mut bytes| read_frame::<FromNode>(&mut bytes).is_ok(),
            round: |_| {},
            samples: frames,
        },
        Decoder {
            name: "line",
            decode: |bytes| line(&[bytes]).1.is_ok(),
            round: framers_agree,
            samples: || vec![frames().concat(), frames().concat().repeat(40), vec![1, 0, 0, 0, 7, 9, 0]],
        },
        Decoder { name: "byline", decode: |bytes| byline(bytes).is_some(), round: round_byline, samples: bylines },
        Decoder {
            name: "spilled",
            decode: |bytes| spilled(bytes).is_some(),
            round: |bytes| {
                let Some(object) = spilled(bytes) else { return };
                assert_eq!(spill(&object), bytes);
            },
            samples: || vec![spill(b""), spill(b"an object's bytes")],
        },
        Decoder { name: "exe_parts", decode: exe_parts, round: |_| {}, samples: || EXES.map(<[u8]>::to_vec).into() },
    ]
}

fn on_a_runtime<T>(what: impl std::future::Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        let make = || tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.get_or_init(|| make().expect("a runtime can be made")).block_on(what)
    })
}

// --- chunks of objects -------------------------------------------------------------------------------------------------

fn object_ask(bytes: &[u8]) -> bool {
    bytes.try_into().is_ok_and(|ask: &[u8; ASK_BYTES]| Ask::decoded(ask).range().is_some())
}

fn round_object_ask(bytes: &[u8]) {
    let Ok(ask) = <&[u8; ASK_BYTES]>::try_from(bytes) else { return };
    assert_eq!(Ask::decoded(ask).encoded(), *ask);
    assert!(Ask::decoded(ask).range().is_none_or(|range| range.start <= range.end));
}

fn object_asks() -> Vec<Vec<u8>> {
    let ask = |offset: u64, bytes: u64| {
        let (node, serial) = (7_u128.to_le_bytes(), 3_u64.to_le_bytes());
        [&node[..], &serial, &offset.to_le_bytes(), &bytes.to_le_bytes()].concat()
    };
    vec![ask(0, 0), ask(4 << 20, 4 << 20), ask(u64::MAX - 1, 1), ask(0, u64::MAX)]
}

/// A node that has no object is asked for some. Understood is what it has answered to its end.
fn object_stream(bytes: &[u8]) -> bool {
    let mut wire = Wire { input: bytes, output: Vec::new() };
    on_a_runtime(serve(&mut wire, Arc::new(Served::default())));
    assert_eq!(wire.output.len(), bytes.len() / ASK_BYTES, "every ask is answered once");
    assert!(wire.output.iter().all(|answer| matches!(answer, 1 | 2)), "nothing is here");
    bytes.len().is_multiple_of(ASK_BYTES)
}

/// A connection whose other end has said all that it will say.
struct Wire<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl AsyncRead for Wire<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_read(cx, into)
    }
}

impl AsyncWrite for Wire<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

// --- frames ------------------------------------------------------------------------------------------------------------

fn greet(mut bytes: &[u8]) -> Option<Greeting> {
    on_a_runtime(greeted(&mut bytes)).ok()
}

fn round_greeted(bytes: &[u8]) {
    let Some(greeting) = greet(bytes) else { return };
    assert_eq!(greet(&framed(&greeting)), Some(greeting), "it reads back as it is written");
}

fn greetings() -> Vec<Vec<u8>> {
    let callers = [Caller::Status, Caller::Stop, Caller::Worker { worker: WorkerId(3) }];
    callers.into_iter().map(|caller| framed(&Greeting { version: PROTOCOL_VERSION, caller })).collect()
}

fn framed(frame: &impl serde::Serialize) -> Vec<u8> {
    let body = rmp_serde::to_vec(frame).expect("samples can be written");
    let length = u32::try_from(body.len()).expect("samples are short");
    [&length.to_le_bytes()[..], &body].concat()
}

fn frames() -> Vec<Vec<u8>> {
    let lease = LeaseId { node: NodeId(7), number: 1 };
    let long = FromNode::Refused("no ".repeat(500));
    // Empty ones are signs of life.
    vec![framed(&FromNode::Recall(lease)), framed(&long), [&[0; 8][..], &framed(&FromNode::Recall(lease))].concat()]
}

/// Frames, none of them empty, and whether what follows them is the beginning of one.
type Heard = (Vec<Vec<u8>>, Result<(), FrameError>);

/// As [`crate::cluster::lines`] hears what comes in these pieces.
fn line(pieces: &[&[u8]]) -> Heard {
    struct Keep(Arc<Mutex<Vec<Vec<u8>>>>);
    impl Listener for Keep {
        fn frame(&mut self, frame: &[u8]) -> Result<(), FrameError> {
            self.0.lock().push(frame.to_vec());
            Ok(())
        }

        fn closed(&mut self, _: &str) {}
    }
    let kept = Arc::new(Mutex::new(Vec::new()));
    let heard = hear_pieces(pieces.iter().copied(), Box::new(Keep(kept.clone())));
    let kept = std::mem::take(&mut *kept.lock());
    (kept, heard)
}

/// As an [`Inbox`] does, which gives several at once, and none with those behind which comes what is none.
fn inbox(pieces: &[&[u8]]) -> Heard {
    struct Pieces<'a>(std::slice::Iter<'a, &'a [u8]>, &'a [u8]);
    impl AsyncRead for Pieces<'_> {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if self.1.is_empty() {
                self.1 = self.0.next().copied().unwrap_or_default();
            }
            Pin::new(&mut self.1).poll_read(cx, into)
        }
    }
    let mut inbox = Inbox::new(Pieces(pieces.iter(), &[]), FRAME_BYTES_MAX);
    let mut kept = Vec::new();
    loop {
        match futures::executor::block_on(inbox.frames()) {
            Ok(Some(frames)) => {
                kept.extend(frames.iter().filter(|frame| !frame.is_empty()).map(|frame| frame.to_vec()))
            }
            Ok(None) => return (kept, Ok(())),
            Err(crate::gcs_net::inbox::ReadError::Frame(error)) => return (kept, Err(error)),
            Err(error) => panic!("bytes at hand cannot be read: {error}"),
        }
    }
}

/// As they are cut from what is all there.
fn cut(bytes: &[u8]) -> Heard {
    let (mut bytes, mut kept) = (BytesMut::from(bytes), Vec::new());
    loop {
        match take_frame(&mut bytes, FRAME_BYTES_MAX) {
            Ok(Some(frame)) if frame.is_empty() => {}
            Ok(Some(frame)) => kept.push(frame.to_vec()),
            Ok(None) => return (kept, Ok(())),
            Err(error) => return (kept, Err(error)),
        }
    }
}

/// All ways to hear give the same frames, in whatever pieces they come.
fn framers_agree(bytes: &[u8]) {
    let mut state = bytes.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let piece = (1 + (state >> 33) as usize % 200).min(rest.len());
        pieces.push(&rest[..piece]);
        rest = &rest[piece..];
    }
    let (whole, ended) = cut(bytes);
    let (of_line, line_ended) = line(&pieces);
    assert_eq!((of_line, line_ended.is_ok()), (whole.clone(), ended.is_ok()), "a line hears all frames");
    let (of_inbox, inbox_ended) = inbox(&pieces);
    assert!(whole.starts_with(&of_inbox), "an inbox gives no other frames");
    assert_eq!((of_inbox.len() == whole.len() || ended.is_err(), inbox_ended.is_ok()), (true, ended.is_ok()));
}

// --- files and shared memory -------------------------------------------------------------------------------------------

fn byline(bytes: &[u8]) -> Option<String> {
    let mut page = [0; PAGE_BYTES];
    let length = bytes.len().min(PAGE_BYTES);
    page[..length].copy_from_slice(&bytes[..length]);
    name_in(&page)
}

fn round_byline(bytes: &[u8]) {
    // What is no text takes three bytes for each.
    assert!(byline(bytes).is_none_or(|name| !name.is_empty() && name.len() <= 3 * 256));
}

fn bylines() -> Vec<Vec<u8>> {
    let page = |length: u64, name: &[u8]| {
        [&2_u64.to_ne_bytes()[..], &1_u64.to_ne_bytes(), &length.to_ne_bytes(), name].concat()
    };
    vec![page(6, b"square"), page(u64::MAX, &[0xff; 300])]
}

/// The object in a file that was spilled.
fn spilled(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut object = vec![0; bytes.len().checked_sub(HEADER_BYTES)?];
    matches!(read_from(bytes, bytes.len() as u64, &mut object), Ok(None)).then_some(object)
}

fn spill(object: &[u8]) -> Vec<u8> {
    let mut checksum = Checksum::new();
    checksum.add(object);
    [&header(object.len(), &checksum)[..], object].concat()
}

/// What wants to be an executable: which hash it is to have, that of all its bytes or another; then parts, each with whether it
/// comes where it should, and its length.
const EXES: [&[u8]; 2] = [b"\x00\x00\x05first\x00\x06second\x00\x00", b"\x00\x01\x03off\x00\x02it\x00\x00"];

/// Parts of an executable, as they come from another node. What is whole has the hash that was asked for.
fn exe_parts(bytes: &[u8]) -> bool {
    thread_local! {
        static FOLDER: OwnFolder = OwnFolder::create(&std::env::temp_dir()).expect("a folder can be made");
    }
    let (mut parts, mut rest) = (Vec::new(), bytes.get(1..).unwrap_or_default());
    while let [astray, length, following @ ..] = rest {
        let (part, following) = following.split_at(usize::from(*length).min(following.len()));
        parts.push((astray % 2 == 1, part));
        rest = following;
    }
    let wanted: Vec<u8> =
        parts.iter().filter(|(astray, _)| !astray).flat_map(|(_, part)| part.iter().copied()).collect();
    let hash = match bytes.first() {
        Some(0) => ExeHash(Sha256::digest(&wanted).into()),
        other => ExeHash([other.copied().unwrap_or(1); 32]),
    };
    FOLDER.with(|folder| {
        let store = ExeStore::open(&folder.path().join("exe")).expect("a folder can be made");
        let mut arriving = store.arriving(hash).expect("a file can be made");
        let mut taken = Vec::new();
        for (astray, part) in parts {
            let offset = arriving.offset().wrapping_sub(u64::from(astray));
            let came = store.on_part(&mut arriving, offset, part);
            assert!(!store.has(hash) || matches!(came, Ok(true)), "it is not there before it is whole");
            match came {
                Ok(true) => {
                    assert_eq!(ExeHash(Sha256::digest(&taken).into()), hash);
                    assert_eq!(store.part(hash, 0).expect("it is here"), taken);
                    std::fs::remove_dir_all(folder.path().join("exe")).expect("it can be removed");
                    return true;
                }
                Ok(false) if !astray => taken.extend_from_slice(part),
                Ok(false) => {}
                Err(_) => return false,
            }
        }
        false
    })
}
