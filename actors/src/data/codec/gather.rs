//! Several encoded values read as one vector.
//!
//! Owns: [`decode_all`], which reads a `Vec<U>` from the encoded values of its elements, each of which may be views of shared
//! memory. Invariant: what [`super::decode`] gives for each element is what the vector has.

use serde::{
    de::{DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::{context, raw, CodecError, Parts};

type Error = rmp_serde::decode::Error;

/// Reads a vector, whose elements are these values.
///
/// # Errors
///
/// Any [`CodecError`] but `Encode`.
pub fn decode_all<T: DeserializeOwned + 'static>(elements: &[Parts]) -> Result<T, CodecError> {
    Ok(T::deserialize(Elements(elements.iter()))?)
}

struct Elements<'a>(std::slice::Iter<'a, Parts>);

impl<'de> Deserializer<'de> for Elements<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(parts) = self.0.next() else { return Ok(None) };
        if raw::is_raw(parts) {
            return seed.deserialize(RawElement(parts)).map(Some);
        }
        let _decoding = context::Decoding::begin(parts);
        let mut deserializer = rmp_serde::Deserializer::new(std::io::Cursor::new(&*parts.meta));
        seed.deserialize(&mut deserializer).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// A text or a vector of numbers by itself.
struct RawElement<'a>(&'a Parts);

impl<'de> Deserializer<'de> for RawElement<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        raw::visit(self.0, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::{super::encode, *};

    fn all<T: serde::Serialize + 'static>(elements: &[T]) -> Vec<Parts> {
        elements.iter().map(|element| encode(element).unwrap().into()).collect()
    }

    #[test]
    fn a_vector_is_read_from_the_values_of_its_elements() {
        let texts = vec!["one".to_owned(), "x".repeat(1_000)];
        assert_eq!(decode_all::<Vec<String>>(&all(&texts)).unwrap(), texts);
        let numbers = vec![vec![1.5_f64; 3], vec![2.5; 1_000]];
        assert_eq!(decode_all::<Vec<Vec<f64>>>(&all(&numbers)).unwrap(), numbers);
        let truths = vec![vec![true, false], vec![]];
        assert_eq!(decode_all::<Vec<Vec<bool>>>(&all(&truths)).unwrap(), truths);
        let pairs = vec![(1, "a".to_owned()), (2, "b".to_owned())];
        assert_eq!(decode_all::<Vec<(i32, String)>>(&all(&pairs)).unwrap(), pairs);
        assert!(decode_all::<Vec<Vec<u8>>>(&all(&["text".to_owned()])).is_err());
    }

    #[test]
    fn the_bulk_of_each_element_is_its_own() {
        let bulk = [crate::data::Bytes::from(vec![1; 1_000]), crate::data::Bytes::from(vec![2; 1_000])];
        let read = decode_all::<Vec<crate::data::Bytes>>(&all(&bulk)).unwrap();
        assert_eq!(read, bulk);
    }
}
