//! Samples that make themselves: values of any type that can be read, with each variant of each enum in them.
//!
//! Owns: a deserializer that reads from nothing. It gives whatever is asked of it, and of an enum the variant that has not been
//! had, or that leads to one. So a variant that is new has a sample as soon as it is there, however deep it lies. Invariant:
//! what it gives follows from the type alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{
    de::{
        value::{Error, U32Deserializer},
        DeserializeOwned, DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
        VariantAccess, Visitor,
    },
    Deserializer,
};

/// How deep values lie in each other.
const DEPTH_MAX: usize = 24;

/// An enum, by its name and those of its variants.
pub(crate) type Kind = (&'static str, &'static [&'static str]);

/// What numbers, texts and lists are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Something of everything.
    Usual,
    /// Zeros, empty lists, nothing where there may be nothing.
    Bare,
    /// The largest numbers, and several of all that may be several.
    Large,
}

/// Makes values.
pub(crate) struct Maker {
    style: Style,
    /// What was had.
    seen: BTreeMap<Kind, BTreeSet<usize>>,
    /// To which enums each variant has led.
    leads_to: BTreeMap<(Kind, usize), BTreeSet<Kind>>,
    /// The variants in which the value at hand lies.
    within: Vec<(Kind, usize)>,
    number: u64,
    depth: usize,
}

/// Values of `T` with each variant of each enum that `T` has in it.
pub(crate) fn all_of<T: DeserializeOwned>() -> (Vec<T>, Maker) {
    let mut values = Vec::new();
    let mut last = Maker::new(Style::Usual);
    for style in [Style::Bare, Style::Large, Style::Usual] {
        let mut maker = Maker::new(style);
        loop {
            let before = maker.had();
            match T::deserialize(Make(&mut maker)) {
                Ok(value) => values.push(value),
                Err(error) if style == Style::Usual => panic!("a sample cannot make itself: {error}"),
                // Not everything may be empty or endless: no time has so many nanoseconds.
                Err(_) => {}
            }
            if maker.had() == before {
                break;
            }
        }
        last = maker;
    }
    (values, last)
}

impl Maker {
    fn new(style: Style) -> Self {
        let (seen, leads_to) = Default::default();
        Self { style, seen, leads_to, within: Vec::new(), number: 0, depth: 0 }
    }

    fn had(&self) -> usize {
        self.seen.values().map(BTreeSet::len).sum()
    }

    /// Variants for which no value was made.
    pub(crate) fn missing(&self) -> Vec<String> {
        let of = |(kind, had): (&Kind, &BTreeSet<usize>)| {
            let (name, variants) = *kind;
            let missing = variants.iter().enumerate().filter(|(index, _)| !had.contains(index));
            missing.map(|(_, variant)| format!("{name}::{variant}")).collect::<Vec<_>>()
        };
        self.seen.iter().flat_map(of).collect()
    }

    /// The enums for which values were made.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.seen.keys().copied()
    }

    fn is_whole(&self, kind: Kind) -> bool {
        self.seen.get(&kind).is_some_and(|had| had.len() == kind.1.len())
    }

    fn choose(&mut self, kind: Kind) -> usize {
        for outer in &self.within {
            self.leads_to.entry(*outer).or_default().insert(kind);
        }
        let had = self.seen.entry(kind).or_default();
        if let Some(fresh) = (0..kind.1.len()).find(|index| !had.contains(index)) {
            had.insert(fresh);
            return fresh;
        }
        let leads = |index: &usize| self.leads_to.get(&(kind, *index));
        let useful = |index: &usize| leads(index).is_some_and(|to| to.iter().any(|kind| !self.is_whole(*kind)));
        (0..kind.1.len()).find(useful).unwrap_or(0)
    }

    fn next(&mut self, max: u64) -> u64 {
        self.number += 1;
        match self.style {
            Style::Usual => self.number % 100,
            Style::Bare => 0,
            Style::Large => max,
        }
    }

    fn len(&self) -> usize {
        match self.style {
            _ if self.depth > DEPTH_MAX => 0,
            Style::Usual => 1,
            Style::Bare => 0,
            Style::Large => 2,
        }
    }

    fn text(&self) -> String {
        match self.style {
            Style::Usual => format!("text {}", self.number),
            Style::Bare => String::new(),
            Style::Large => "ä long text, ".repeat(8),
        }
    }
}

/// Reads from nothing.
struct Make<'a>(&'a mut Maker);

/// So many values, one after the other.
struct Several<'a> {
    maker: &'a mut Maker,
    left: usize,
}

macro_rules! numbers {
    ($($method:ident, $visit:ident, $kind:ty);+ $(;)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.0.next(<$kind>::MAX as u64) as $kind)
        })+
    };
}

impl<'de> Deserializer<'de> for Make<'_> {
    type Error = Error;

    numbers! {
        deserialize_u8, visit_u8, u8; deserialize_u16, visit_u16, u16; deserialize_u32, visit_u32, u32;
        deserialize_u64, visit_u64, u64; deserialize_i8, visit_i8, i8; deserialize_i16, visit_i16, i16;
        deserialize_i32, visit_i32, i32; deserialize_i64, visit_i64, i64; deserialize_i128, visit_i128, i128;
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("what says of itself what it is cannot be made up"))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.0.next(1) % 2 == 1)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number = u128::from(self.0.next(u64::MAX));
        visitor.visit_u128(number << 64 | number)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f32(self.0.next(1 << 20) as f32 / 3.0)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.0.next(u64::MAX) as f64 / 3.0)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_char('c')
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.0.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.0.text())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_byte_buf(self.0.text().into_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_byte_buf(self.0.text().into_bytes())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.len() == 0 {
            return visitor.visit_none();
        }
        self.0.depth += 1;
        let some = visitor.visit_some(Make(self.0));
        self.0.depth -= 1;
        some
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.0.len();
        visitor.visit_seq(Several { maker: self.0, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Several { maker: self.0, left })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Several { maker: self.0, left })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.0.len();
        visitor.visit_map(Several { maker: self.0, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Several { maker: self.0, left: fields.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let kind = (name, variants);
        let index = self.0.choose(kind);
        self.0.within.push((kind, index));
        let made = visitor.visit_enum(Chosen { maker: self.0, index });
        self.0.within.pop();
        made
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("fields come in their order, without names"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

impl<'de> SeqAccess<'de> for Several<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.maker.depth += 1;
        let made = seed.deserialize(Make(self.maker));
        self.maker.depth -= 1;
        made.map(Some)
    }
}

impl<'de> MapAccess<'de> for Several<'_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Make(self.maker))
    }
}

struct Chosen<'a> {
    maker: &'a mut Maker,
    index: usize,
}

impl<'de, 'a> EnumAccess<'de> for Chosen<'a> {
    type Error = Error;
    type Variant = Make<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Make<'a>), Error> {
        let index: U32Deserializer<Error> = (self.index as u32).into_deserializer();
        Ok((seed.deserialize(index)?, Make(self.maker)))
    }
}

impl<'de> VariantAccess<'de> for Make<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
