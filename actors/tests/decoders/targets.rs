//! What is decoded of bytes that others have sent or written: one target each.
//!
//! Owns: how each decoder is called, and what has to hold of whatever it understands. Used by the tests beside this, and by
//! the fuzzers in `fuzz/`, word for word.

use actinic_actors::{
    cluster::{
        folder::NodeCard,
        wire::{DataFrame, FromNode, Greeting, NodeFrame, ToNode},
        workers::Role,
    },
    data::{
        codec::{self, AnyRef, Parts},
        Bytes as DataBytes, Tensor,
    },
    gcs_client::messages::{AnswerFrame, Frame},
    gcs_net::{
        tls::{Identity, JoinToken},
        wire::{decode, take_frame, version_of, Hello, Verdict, HELLO_BYTES_MAX, PREAMBLE_BYTES},
        AdminAnswer, AdminAsk,
    },
};
use actinic_gcs::{
    record,
    replica::PeerMessage,
    spec::{NodeInfo, TaskSpec},
    tables::{Reply, Write},
};
use bytes::{Bytes, BytesMut};
use serde::{de::DeserializeOwned, Deserialize, Deserializer, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// One decoder.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Its name, and that of its corpus.
    pub(crate) name: &'static str,
    /// Decodes; gives whether it understood. Must not panic, nor take much memory.
    pub(crate) decode: fn(&[u8]) -> bool,
    /// What is understood reads back as it is written. Must not panic.
    pub(crate) round: fn(&[u8]),
}

macro_rules! target {
    ($name:literal, frame $kind:ty) => {
        Target { name: $name, decode: |bytes| decode::<$kind>(bytes).is_ok(), round: round_frame::<$kind> }
    };
    ($name:literal, record $kind:ty) => {
        Target { name: $name, decode: |bytes| record::decode::<$kind>(bytes).is_ok(), round: |_| {} }
    };
    ($name:literal, json $kind:ty) => {
        Target { name: $name, decode: |bytes| serde_json::from_slice::<$kind>(bytes).is_ok(), round: |_| {} }
    };
    ($name:literal, value $kind:ty) => {
        Target {
            name: $name,
            decode: |bytes| codec::decode::<$kind>(&parts_of(bytes)).is_ok(),
            round: round_value::<$kind>,
        }
    };
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    target!("hello", frame Hello),
    target!("verdict", frame Verdict),
    target!("admin_ask", frame AdminAsk),
    target!("admin_answer", frame AdminAnswer),
    target!("frame", frame Frame),
    target!("answer_frame", frame AnswerFrame),
    target!("greeting", frame Greeting),
    target!("to_node", frame ToNode),
    target!("from_node", frame FromNode),
    target!("data_frame", frame DataFrame),
    target!("node_frame", frame NodeFrame),
    target!("task_spec", record TaskSpec),
    target!("node_info", record NodeInfo),
    target!("write", record Write),
    target!("reply", frame Reply),
    target!("node_card", json NodeCard),
    target!("role", json Role),
    target!("text", value String),
    target!("numbers", value Vec<f64>),
    target!("truths", value Vec<bool>),
    target!("tensor", value Tensor<f64>),
    target!("tensor_of_bytes", value Tensor<u8>),
    target!("bytes", value DataBytes),
    target!("structured", value Structured),
    Target { name: "peer_message", decode: |bytes| PeerMessage::decode(bytes).is_ok(), round: round_peer_message },
    Target { name: "stream", decode: stream, round: |_| {} },
    Target { name: "identity", decode: identity, round: |_| {} },
    Target { name: "join_token", decode: join_token, round: round_join_token },
];

/// A value with all that values can have in them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Structured {
    /// Text and numbers.
    pub(crate) names: Vec<String>,
    /// Bulk within structure.
    pub(crate) tensors: BTreeMap<u32, Tensor<f32>>,
    /// Bytes within structure.
    pub(crate) bytes: Option<DataBytes>,
    /// References.
    pub(crate) refs: Vec<Reference>,
    /// What may be absent.
    #[serde(default)]
    pub(crate) nested: Option<Box<Structured>>,
}

/// A reference within a value, as object refs travel.
pub(crate) struct Reference(pub(crate) AnyRef);

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        codec::encode_ref(self.0.clone()).unwrap_or(0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        codec::decode_ref(index).map(Self).ok_or_else(|| serde::de::Error::custom("there is no such reference"))
    }
}

fn round_frame<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(value) = decode::<T>(bytes) else { return };
    let written = rmp_serde::to_vec(&value).expect("what was understood can be written");
    let again = decode::<T>(&written).expect("what was written can be read");
    assert_eq!(rmp_serde::to_vec(&again).expect("it was written once"), written, "it reads back as it was written");
}

fn round_peer_message(bytes: &[u8]) {
    let Ok(message) = PeerMessage::decode(bytes) else { return };
    let again = PeerMessage::decode(&message.encode()).expect("what was written can be read");
    assert_eq!(format!("{again:?}"), format!("{message:?}"));
}

fn round_join_token(bytes: &[u8]) {
    let Some(token) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<JoinToken>().ok()) else { return };
    assert_eq!(token.to_string().parse::<JoinToken>().expect("it was a token"), token);
}

fn join_token(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<JoinToken>().is_ok())
}

fn identity(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| Identity::from_pem(text.to_owned()).is_ok())
}

/// A whole connection: a preamble, then frames.
fn stream(bytes: &[u8]) -> bool {
    let Some((opening, rest)) = bytes.split_first_chunk::<PREAMBLE_BYTES>() else { return false };
    if version_of(*opening).is_err() {
        return false;
    }
    let mut rest = BytesMut::from(rest);
    loop {
        match take_frame(&mut rest, HELLO_BYTES_MAX) {
            Ok(Some(frame)) => drop(decode::<Hello>(&frame)),
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// What a value comes as, written as one: the number of references, the number of buffers, the length of each, and then the
/// bytes of the buffers and of the structure.
pub(crate) fn parts_of(bytes: &[u8]) -> Parts {
    let bytes = Bytes::copy_from_slice(bytes);
    let (refs, count) = (bytes.first().copied().unwrap_or(0) % 4, bytes.get(1).copied().unwrap_or(0) % 4);
    let mut at = (2 + usize::from(count)).min(bytes.len());
    let lengths = bytes.slice(2.min(at)..at);
    let mut cut = |length: usize| {
        let end = (at + length).min(bytes.len());
        let piece = bytes.slice(at..end);
        at = end;
        piece
    };
    let buffers = lengths.iter().map(|length| cut(usize::from(*length))).collect();
    let meta = cut(usize::MAX >> 1);
    let refs: Vec<AnyRef> = (0..refs).map(|number| Arc::new(number) as AnyRef).collect();
    Parts { meta, buffers, refs: refs.into() }
}

fn round_value<T: Serialize + DeserializeOwned + 'static>(bytes: &[u8]) {
    let Ok(value) = codec::decode::<T>(&parts_of(bytes)) else { return };
    let written = codec::encode(&value).expect("what was understood can be written");
    let again = codec::decode::<T>(&written.clone().into()).expect("what was written can be read");
    let twice = codec::encode(&again).expect("it was written once");
    assert_eq!((twice.meta, twice.buffers), (written.meta, written.buffers), "it reads back as it was written");
}
