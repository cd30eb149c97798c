//! What is decoded of bytes that others have sent or written: one target each.
//!
//! Owns: how each decoder is called, and what has to hold of whatever it understands. Used by the tests beside this, and by
//! the fuzzers in `fuzz/`, word for word.

use std::{collections::BTreeMap, sync::Arc};

use actinic_actors::{
    cluster::{
        folder::NodeCard,
        objects::wire::Locator,
        wire::{DataFrame, FromNode, Greeting, NodeFrame, ToNode},
        workers::Role,
    },
    data::{
        codec::{self, AnyRef, Parts},
        Bytes as DataBytes, Tensor,
    },
    fuzzing::GroupRow,
    gcs_client::messages::{AnswerFrame, Frame},
    gcs_net::{
        tls::{Identity, JoinToken},
        wire::{decode, take_frame, version_of, Hello, Verdict, HELLO_BYTES_MAX, PREAMBLE_BYTES},
        AdminAnswer, AdminAsk,
    },
};
use actinic_gcs::{
    fuzzing::{Decoder, Records},
    record::{self, Record},
    spec::{LabelMatch, LabelSelector},
    tables::{Reply, Table, Update},
};
use bytes::{Bytes, BytesMut};
use serde::{de::DeserializeOwned, Deserialize, Deserializer, Serialize};

use self::variants::Maker;

#[path = "stores.rs"]
pub(crate) mod stores;
#[path = "variants.rs"]
pub(crate) mod variants;

/// One decoder.
#[derive(Clone)]
pub(crate) struct Target {
    /// Its name, and that of its corpus.
    pub(crate) name: String,
    /// Decodes; gives whether it understood. Must not panic, nor take much memory.
    pub(crate) decode: fn(&[u8]) -> bool,
    /// What is understood reads back as it is written. Must not panic.
    pub(crate) round: fn(&[u8]),
    /// Samples that make themselves; the others are in `corpus.rs`.
    pub(crate) samples: fn() -> Vec<Vec<u8>>,
    /// Of what has variants: how far the samples have all of them.
    pub(crate) made: Option<fn() -> Maker>,
}

impl Target {
    fn new(name: impl Into<String>, decode: fn(&[u8]) -> bool, round: fn(&[u8])) -> Self {
        Self { name: name.into(), decode, round, samples: Vec::new, made: None }
    }

    /// A frame, as it goes from process to process.
    fn frame<T: Serialize + DeserializeOwned>(name: &str) -> Self {
        let samples = || variants::all_of::<T>().0.iter().map(packed).collect();
        let made: fn() -> Maker = || variants::all_of::<T>().1;
        let target = Self::new(name, |bytes| decode::<T>(bytes).is_ok(), round_frame::<T>);
        Self { samples, made: Some(made), ..target }
    }

    /// What a file holds.
    fn json<T: Serialize + DeserializeOwned>(name: &str) -> Self {
        Self::new(name, |bytes| serde_json::from_slice::<T>(bytes).is_ok(), round_json::<T>)
    }

    /// A value of a user's.
    fn value<T: Serialize + DeserializeOwned + 'static>(name: &str) -> Self {
        Self::new(name, |bytes| codec::decode::<T>(&parts_of(bytes)).is_ok(), round_value::<T>)
    }

    /// Several values, read as one vector.
    fn gathered<T: Serialize + DeserializeOwned + 'static>(name: &str) -> Self {
        Self::new(name, |bytes| codec::decode_all::<Vec<T>>(&all_parts_of(bytes)).is_ok(), round_gathered::<T>)
    }
}

impl From<Decoder> for Target {
    fn from(Decoder { name, decode, round, samples }: Decoder) -> Self {
        Self { samples, ..Self::new(name, decode, round) }
    }
}

/// What is kept: all records of the control store.
struct Kept<'a>(&'a mut Vec<Target>);

impl Records for Kept<'_> {
    fn record<R: Record>(&mut self) {
        let samples = || {
            let written = |value: &R| record::encode(value).expect("samples can be written").to_vec();
            variants::all_of::<R>().0.iter().map(written).collect()
        };
        let made: fn() -> Maker = || variants::all_of::<R>().1;
        let target = Target::new(record_name(R::NAME), |bytes| record::decode::<R>(bytes).is_ok(), round_record::<R>);
        self.0.push(Target { samples, made: Some(made), ..target });
    }
}

/// The target of the record of which errors speak so.
pub(crate) fn record_name(name: &str) -> String {
    format!("{}_record", name.replace(' ', "_"))
}

/// All of them.
pub(crate) fn targets() -> Vec<Target> {
    let mut all = vec![
        Target::frame::<Hello>("hello"),
        Target::frame::<Verdict>("verdict"),
        Target::frame::<AdminAsk>("admin_ask"),
        Target::frame::<AdminAnswer>("admin_answer"),
        Target::frame::<Frame>("frame"),
        Target::frame::<AnswerFrame>("answer_frame"),
        Target::frame::<Greeting>("greeting"),
        Target::frame::<ToNode>("to_node"),
        Target::frame::<FromNode>("from_node"),
        Target::frame::<DataFrame>("data_frame"),
        Target::frame::<NodeFrame>("node_frame"),
        Target::frame::<Reply>("reply"),
        Target::frame::<GroupRow>("group_row"),
        Target::json::<NodeCard>("node_card"),
        Target::json::<Role>("role"),
        Target::value::<String>("text"),
        Target::value::<Vec<f64>>("numbers"),
        Target::value::<Vec<bool>>("truths"),
        Target::value::<Tensor<f64>>("tensor"),
        Target::value::<Tensor<u8>>("tensor_of_bytes"),
        Target::value::<DataBytes>("bytes"),
        Target::value::<Structured>("structured"),
        #[cfg(feature = "arrow")]
        Target::value::<actinic_actors::data::RecordBatch>("record_batch"),
        Target::gathered::<String>("texts"),
        Target::gathered::<Vec<f64>>("lists_of_numbers"),
        Target::gathered::<Structured>("several_structured"),
        Target::new("stream", stream, |_| {}),
        Target::new("identity", identity, |_| {}),
        Target::new("join_token", join_token, round_join_token),
        Target::new("label_match", label_match, |_| {}),
        Target { samples: locators, ..Target::new("locator", |bytes| locator(bytes).is_some(), round_locator) },
        Target::new("update", update, |_| {}),
        Target { samples: stores::shard_samples, ..Target::new("shard_rows", stores::shard, |_| {}) },
        Target { samples: stores::replica_samples, ..Target::new("replica_rows", stores::replica, |_| {}) },
    ];
    actinic_gcs::fuzzing::records(&mut Kept(&mut all));
    all.extend(actinic_gcs::fuzzing::decoders().into_iter().map(Target::from));
    all.extend(actinic_actors::fuzzing::decoders().into_iter().map(Target::from));
    all
}

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

fn packed(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("samples can be written")
}

fn round_record<R: Record>(bytes: &[u8]) {
    let Ok(value) = record::decode::<R>(bytes) else { return };
    let written = record::encode(&value).expect("what was understood can be written");
    let again = record::decode::<R>(&written).expect("what was written can be read");
    assert_eq!(record::encode(&again).expect("it was written once"), written, "it reads back as it was written");
}

fn round_json<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_vec(&value).expect("what was understood can be written");
    let again = serde_json::from_slice::<T>(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).expect("it was written once"), written, "it reads back as it was written");
}

fn round_gathered<T: Serialize + DeserializeOwned + 'static>(bytes: &[u8]) {
    let Ok(values) = codec::decode_all::<Vec<T>>(&all_parts_of(bytes)) else { return };
    let written = |values: &[T]| -> Vec<codec::Encoded> {
        values.iter().map(|value| codec::encode(value).expect("what was understood can be written")).collect()
    };
    let once = written(&values);
    let parts: Vec<Parts> = once.iter().cloned().map(Parts::from).collect();
    let twice = written(&codec::decode_all::<Vec<T>>(&parts).expect("what was written can be read"));
    let bulk = |all: Vec<codec::Encoded>| all.into_iter().map(|one| (one.meta, one.buffers)).collect::<Vec<_>>();
    assert_eq!(bulk(twice), bulk(once), "it reads back as it was written");
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

/// A demand on a label, and a label.
fn label_match(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (wanted, label) = text.split_once('=').unwrap_or((text, ""));
    let selector = LabelSelector(BTreeMap::from([("key".to_owned(), LabelMatch::parse(wanted))]));
    let fits = selector.fits(&BTreeMap::from([("key".to_owned(), label.to_owned())]));
    !selector.to_string().is_empty() && fits
}

/// A row of a table that is watched: which one, and the row.
fn update(bytes: &[u8]) -> bool {
    let Some((table, row)) = bytes.split_first() else { return false };
    let table = Table::ALL[usize::from(*table) % Table::ALL.len()];
    Update::decode(table, &Bytes::copy_from_slice(row)).is_ok()
}

/// Where an object's parts lie, and how many bytes there are to cut it from.
fn locator(bytes: &[u8]) -> Option<(Locator, Bytes)> {
    let (length, body) = bytes.split_first()?;
    let locator = decode::<Locator>(body).ok()?;
    Some((locator, Bytes::from(vec![7; usize::from(*length)])))
}

fn locators() -> Vec<Vec<u8>> {
    let made = variants::all_of::<Locator>().0;
    made.iter().flat_map(|one| [0_u8, 255].map(|length| [&[length][..], &packed(one)].concat())).collect()
}

/// What is cut lies within.
fn round_locator(bytes: &[u8]) {
    round_frame::<Locator>(bytes.get(1..).unwrap_or_default());
    let Some((Locator { placement, .. }, whole)) = locator(bytes) else { return };
    let fits = placement.fits(whole.len() as u64);
    let cut = placement.cut(&whole);
    assert_eq!(cut.is_some(), fits);
    let Some((meta, buffers)) = cut else { return };
    assert_eq!(meta.len() as u64, placement.meta_bytes);
    assert!(buffers.iter().zip(&placement.buffers).all(|(cut, (start, end))| cut.len() as u64 == end - start));
}

/// Several values, each behind its length (2 bytes).
fn all_parts_of(mut bytes: &[u8]) -> Vec<Parts> {
    let mut all = Vec::new();
    while let [low, high, rest @ ..] = bytes {
        let (one, rest) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
        all.push(parts_of(one));
        bytes = rest;
    }
    all
}

/// What a value comes as, written as one: the number of references, the number of buffers, the length of each (2 bytes), and
/// then the bytes of the buffers and of the structure.
pub(crate) fn parts_of(bytes: &[u8]) -> Parts {
    let bytes = Bytes::copy_from_slice(bytes);
    let (refs, count) = (bytes.first().copied().unwrap_or(0) % 4, bytes.get(1).copied().unwrap_or(0) % 4);
    let mut at = (2 + 2 * usize::from(count)).min(bytes.len());
    let lengths = bytes.slice(2.min(at)..at);
    let mut cut = |length: usize| {
        let end = (at + length).min(bytes.len());
        let piece = bytes.slice(at..end);
        at = end;
        piece
    };
    let lengths = lengths.chunks_exact(2).map(|length| usize::from(u16::from_le_bytes([length[0], length[1]])));
    let buffers = lengths.map(&mut cut).collect();
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
