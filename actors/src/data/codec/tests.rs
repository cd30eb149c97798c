//! What goes in comes out, whatever is bad is an error, and bulk is never copied where it need not be.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use serde::{de::DeserializeOwned, Deserialize, Deserializer, Serialize, Serializer};

use super::*;
use crate::data::{bulk, Bytes, DType, Tensor};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rollout {
    name: String,
    #[serde(with = "bulk")]
    rewards: Vec<f32>,
    states: Tensor<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    note: Option<String>,
    raw: Bytes,
    by_step: BTreeMap<u32, Tensor<i16>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Tensor { tensor: Tensor<f32> },
    Bytes { bytes: Bytes },
    Bulk(#[serde(with = "bulk")] Vec<u64>),
}

fn rollout(len: usize) -> Rollout {
    Rollout {
        name: "pong".to_owned(),
        rewards: (0..len).map(|i| i as f32).collect(),
        states: Tensor::from_fn([len, 2], |index| index[0] as f64 * 0.5),
        note: None,
        raw: (0..len).map(|i| i as u8).collect(),
        by_step: BTreeMap::from([(7, Tensor::full([len], 3))]),
    }
}

fn round_trip<T: Serialize + DeserializeOwned + 'static>(value: &T) -> T {
    decode(&encode(value).unwrap().into()).unwrap()
}

#[track_caller]
fn assert_round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + Clone + 'static>(value: T) {
    assert_eq!(round_trip(&value), value);
    let owned = encode_owned(value.clone()).unwrap();
    assert_eq!(decode::<T>(&owned.into()).unwrap(), value);
    match encode_if_larger(&value, 0).unwrap() {
        Measured::Large(encoded) => assert_eq!(decode::<T>(&encoded.into()).unwrap(), value),
        Measured::Small(size_bytes) => panic!("{size_bytes} bytes are larger than none"),
    }
    match encode_owned_if_larger(value.clone(), usize::MAX).unwrap() {
        OwnedMeasured::Small(back, _) => assert_eq!(back, value),
        OwnedMeasured::Large(_) => panic!("nothing is larger than everything"),
    }
}

#[test]
fn structured_values_and_bulk_inside_of_them_round_trip() {
    for len in [0, 1, 10, 1000] {
        assert_round_trip(rollout(len));
        assert_round_trip((Some(rollout(len)), vec![Tensor::<u8>::zeros(len)], 7_u8));
    }
    assert_round_trip(());
    assert_round_trip(-1_i64);
    assert_round_trip(vec![vec![1.5_f64], vec![]]);
}

#[test]
fn untagged_enums_with_bulk_round_trip() {
    for len in [2, 1000] {
        assert_round_trip(Untagged::Tensor { tensor: Tensor::ones([len]) });
        assert_round_trip(Untagged::Bytes { bytes: Bytes::from(vec![1; len]) });
        assert_round_trip(Untagged::Bulk((0..len as u64).collect()));
    }
}

#[test]
fn texts_and_vectors_of_numbers_round_trip_by_themselves() {
    for len in [0, 1, 31, 100_000] {
        assert_round_trip("é".repeat(len));
        assert_round_trip((0..len).map(|i| i as f64).collect::<Vec<_>>());
        assert_round_trip((0..len).map(|i| i as u8).collect::<Vec<_>>());
        assert_round_trip((0..len).map(|i| i as i32 - 5).collect::<Vec<_>>());
        assert_round_trip((0..len).collect::<Vec<usize>>());
        assert_round_trip((0..len).map(|i| i % 3 == 0).collect::<Vec<_>>());
    }
}

#[test]
fn bulk_travels_out_of_band_and_structure_stays_small() {
    let encoded = encode(&rollout(10_000)).unwrap();
    assert_eq!(encoded.buffers.len(), 4);
    assert!(encoded.meta.len() < 200, "{} bytes", encoded.meta.len());
    let encoded = encode(&vec![1.0_f64; 10_000]).unwrap();
    assert_eq!((encoded.meta.len(), encoded.size_bytes()), (3, 80_003));
}

#[test]
fn a_tensor_is_neither_copied_on_the_way_out_nor_on_the_way_in() {
    let tensor = Tensor::<f64>::ones([1000]);
    let address = tensor.as_slice().as_ptr();
    let encoded = encode(&vec![tensor]).unwrap();
    assert_eq!(encoded.buffers[0].as_ptr(), address.cast());
    let back: Vec<Tensor<f64>> = decode(&encoded.into()).unwrap();
    assert_eq!(back[0].as_slice().as_ptr(), address);
    assert!(back[0].is_view());
}

#[test]
fn a_vector_that_is_given_up_is_not_copied() {
    let numbers = vec![1.0_f64; 1000];
    let address = numbers.as_ptr();
    assert_eq!(encode_owned(numbers).unwrap().buffers[0].as_ptr(), address.cast());
}

#[test]
fn other_formats_see_plain_numbers() {
    let json = serde_json::to_string(&rollout(2)).unwrap();
    assert!(json.contains(r#""rewards":[0.0,1.0]"#), "{json}");
    assert!(json.contains(r#""states":{"dtype":"f64","shape":[2,2],"data":[0.0,0.0,0.5,0.5]}"#), "{json}");
    assert_eq!(serde_json::from_str::<Rollout>(&json).unwrap(), rollout(2));
}

/// A value that holds another format's text of itself, as a checkpoint inside of a message might.
#[derive(Debug, PartialEq)]
struct Nested(Rollout);

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = encode(&self.0).map_err(serde::ser::Error::custom)?;
        assert_eq!(inner.buffers.len(), 4);
        (serde_json::to_string(&self.0).unwrap(), inner.meta, &self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (json, _, value) = <(String, Vec<u8>, Rollout)>::deserialize(deserializer)?;
        assert_eq!(serde_json::from_str::<Rollout>(&json).unwrap(), value);
        assert_eq!(round_trip(&value), value);
        Ok(Self(value))
    }
}

#[test]
fn encodes_and_other_formats_nest_within_an_encode() {
    let value = vec![Nested(rollout(1000)), Nested(rollout(1001))];
    let encoded = encode(&value).unwrap();
    assert_eq!(encoded.buffers.len(), 8);
    assert_eq!(decode::<Vec<Nested>>(&encoded.into()).unwrap(), value);
    assert!(!context::is_encoding() && !context::is_decoding());
}

struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in an impl of the user's")
    }
}

#[test]
fn a_panic_inside_of_an_encode_leaves_no_context_behind() {
    let value = (Tensor::<f64>::ones([1000]), Panics);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| encode(&value))).is_err());
    assert!(!context::is_encoding());
    assert_eq!(encode(&Tensor::<f64>::ones([1000])).unwrap().buffers.len(), 1);
}

struct Ref(u32);

impl Serialize for Ref {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        encode_ref(Arc::new(self.0)).unwrap().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ref {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = decode_ref(u32::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom("no such ref"));
        Ok(Self(*object?.downcast::<u32>().unwrap()))
    }
}

#[test]
fn refs_inside_of_a_value_travel_beside_it() {
    let encoded = encode(&vec![Ref(5), Ref(6)]).unwrap();
    assert_eq!(encoded.refs.len(), 2);
    let mut parts = Parts::from(encoded);
    let back: Vec<Ref> = decode(&parts).unwrap();
    assert_eq!(back.iter().map(|r| r.0).collect::<Vec<_>>(), [5, 6]);
    parts.refs = Arc::new([]);
    assert!(decode::<Vec<Ref>>(&parts).is_err());
    assert!(encode_ref(Arc::new(1)).is_none() && decode_ref(0).is_none());
}

#[test]
fn a_value_is_not_taken_for_one_of_another_type() {
    let parts = |encoded: Encoded| Parts::from(encoded);
    assert!(decode::<Vec<f32>>(&parts(encode(&vec![1.0_f64]).unwrap())).is_err());
    assert!(decode::<Vec<f64>>(&parts(encode(&1.0_f64).unwrap())).is_err());
    assert!(decode::<f64>(&parts(encode(&vec![1.0_f64]).unwrap())).is_err());
    assert!(decode::<Tensor<f32>>(&parts(encode(&Tensor::<f64>::ones([9])).unwrap())).is_err());
    assert!(decode::<u8>(&parts(encode(&(1_u8, 2_u8)).unwrap())).is_err());
    let mut trailing = encode(&1_u8).unwrap();
    trailing.meta.push(1);
    assert!(matches!(decode::<u8>(&trailing.into()), Err(CodecError::TrailingBytes)));
}

#[test]
fn a_shape_that_its_buffer_does_not_fill_is_an_error() {
    let meta = |shape: &[u64], index: u32| rmp_serde::to_vec(&(DType::F64.code(), shape, index)).unwrap();
    let buffers = vec![bytes::Bytes::from_owner([0; 64])];
    let decode = |meta: Vec<u8>| {
        decode::<Tensor<f64>>(&Parts { meta: meta.into(), buffers: buffers.clone(), refs: Arc::new([]) })
    };
    assert!(decode(meta(&[8], 0)).is_ok());
    assert!(decode(meta(&[9], 0)).is_err());
    assert!(decode(meta(&[u64::MAX, u64::MAX], 0)).is_err());
    assert!(decode(meta(&[8], 1)).is_err());
}

proptest! {
    #[test]
    fn any_bytes_at_all_decode_to_a_value_or_an_error(
        meta in prop::collection::vec(any::<u8>(), 0..200),
        buffer in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        decode_as_everything(&Parts { meta: meta.into(), buffers: vec![buffer.into()], refs: Arc::new([]) });
    }

    #[test]
    fn a_damaged_value_decodes_to_a_value_or_an_error(
        len in 0_usize..400,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        buffers in 0_usize..5,
    ) {
        let mut encoded = encode(&rollout(len)).unwrap();
        let at = at.index(encoded.meta.len());
        encoded.meta[at] = byte;
        encoded.buffers.truncate(buffers);
        let mut parts = Parts::from(encoded);
        decode_as_everything(&parts);
        parts.meta.truncate(cut.index(parts.meta.len()));
        prop_assert!(decode::<Rollout>(&parts).is_err());
    }

    #[test]
    fn any_numbers_round_trip(numbers: Vec<f64>, text: String, truths: Vec<bool>, bytes: Vec<u8>) {
        let bits = |numbers: &[f64]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&round_trip(&numbers)), bits(&numbers));
        prop_assert_eq!(round_trip(&text), text);
        prop_assert_eq!(round_trip(&truths), truths);
        prop_assert_eq!(round_trip(&Bytes::from(bytes.clone())), Bytes::from(bytes));
        let tensor = Tensor::from(numbers);
        prop_assert_eq!(bits(round_trip(&tensor).as_slice()), bits(tensor.as_slice()));
    }
}

fn decode_as_everything(parts: &Parts) {
    let _ = decode::<Rollout>(parts);
    let _ = decode::<Untagged>(parts);
    let _ = decode::<String>(parts);
    let _ = decode::<Vec<u32>>(parts);
    let _ = decode::<Vec<bool>>(parts);
    let _ = decode::<Vec<String>>(parts);
    let _ = decode::<Tensor<f64>>(parts);
    let _ = decode::<Bytes>(parts);
    let _ = decode::<serde_json::Value>(parts);
}
