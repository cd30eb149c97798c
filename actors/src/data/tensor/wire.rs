//! Tensors as they are encoded.
//!
//! Owns: two forms. While our codec is at work, `(dtype code, shape, payload)` with the numbers out of band. In any
//! other format (JSON, say) a struct of `dtype`, `shape` and `data`. A reader under our codec takes both, because a
//! format that is nested inside of a value knows nothing of buffers.

use std::{fmt, marker::PhantomData};

use serde::{de, ser::SerializeTuple, Deserialize, Deserializer, Serialize, Serializer};

use super::{Element, Shape, Tensor, TensorError};
use crate::data::{
    codec::context,
    payload::{self, Payload},
    DType,
};

/// The form in formats that are not ours.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Tensor")]
struct Portable<S, D> {
    dtype: DType,
    shape: S,
    data: D,
}

/// A tensor's numbers, where our codec wants them.
struct Numbers<'a, T: Element>(&'a Tensor<T>);

impl<T: Element> Serialize for Numbers<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        payload::serialize(serializer, bytemuck::cast_slice(self.0.as_slice()), || self.0.to_bytes())
    }
}

impl<T: Element> Serialize for Tensor<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !context::is_encoding() || serializer.is_human_readable() {
            let portable = Portable { dtype: T::DTYPE, shape: self.shape(), data: self.as_slice() };
            return portable.serialize(serializer);
        }
        let mut tuple = serializer.serialize_tuple(3)?;
        tuple.serialize_element(&T::DTYPE.code())?;
        tuple.serialize_element(self.shape())?;
        tuple.serialize_element(&Numbers(self))?;
        tuple.end()
    }
}

impl<'de, T: Element> Deserialize<'de> for Tensor<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if context::is_decoding() {
            return deserializer.deserialize_any(EitherForm(PhantomData));
        }
        from_portable(Portable::deserialize(deserializer)?)
    }
}

fn from_portable<T: Element, E: de::Error>(portable: Portable<Vec<usize>, Vec<T>>) -> Result<Tensor<T>, E> {
    check_dtype::<T>(portable.dtype).map_err(E::custom)?;
    Tensor::from_vec(portable.shape, portable.data).map_err(E::custom)
}

fn check_dtype<T: Element>(found: DType) -> Result<(), TensorError> {
    if found == T::DTYPE {
        return Ok(());
    }
    Err(TensorError::ElementType { expected: T::DTYPE, found })
}

struct EitherForm<T>(PhantomData<T>);

impl<'de, T: Element> de::Visitor<'de> for EitherForm<T> {
    type Value = Tensor<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a tensor of {}", T::DTYPE)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut tuple: A) -> Result<Tensor<T>, A::Error> {
        let missing = |at| de::Error::invalid_length(at, &"(dtype, shape, numbers)");
        let code: u8 = tuple.next_element()?.ok_or_else(|| missing(0))?;
        let dtype = DType::from_code(code)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Unsigned(code.into()), &"a dtype"))?;
        check_dtype::<T>(dtype).map_err(de::Error::custom)?;
        let shape: Vec<usize> = tuple.next_element()?.ok_or_else(|| missing(1))?;
        let numbers: Payload = tuple.next_element()?.ok_or_else(|| missing(2))?;
        Tensor::from_bytes(Shape::from(shape), numbers.0).map_err(de::Error::custom)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Tensor<T>, A::Error> {
        from_portable(Portable::deserialize(de::value::MapAccessDeserializer::new(map))?)
    }
}
