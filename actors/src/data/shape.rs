//! Shapes of tensors, and what can be wrong with them.
//!
//! Owns: [`Shape`] with its conversions from what one naturally writes (`[2, 3]`, `(2, 3)`, `6`, a `Vec`), and
//! [`TensorError`].

use std::{fmt, ops::Deref};

use smallvec::SmallVec;

use super::DType;

/// The extent of a tensor along each axis, outermost first. An empty shape is that of a single number.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Shape(SmallVec<[usize; 4]>);

impl Shape {
    /// How many elements a tensor of this shape has, `None` if that overflows.
    #[must_use]
    pub fn element_count(&self) -> Option<usize> {
        self.0.iter().try_fold(1_usize, |count, extent| count.checked_mul(*extent))
    }

    /// Where the element at `index` lies in row-major order, `None` if it is outside.
    #[must_use]
    pub fn offset_of(&self, index: &[usize]) -> Option<usize> {
        if index.len() != self.0.len() {
            return None;
        }
        self.0.iter().zip(index).try_fold(0, |offset, (extent, at)| (at < extent).then(|| offset * extent + at))
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl From<usize> for Shape {
    fn from(extent: usize) -> Self {
        Self(SmallVec::from_slice(&[extent]))
    }
}

impl From<()> for Shape {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<&[usize]> for Shape {
    fn from(extents: &[usize]) -> Self {
        Self(SmallVec::from_slice(extents))
    }
}

impl From<Vec<usize>> for Shape {
    fn from(extents: Vec<usize>) -> Self {
        Self(SmallVec::from_vec(extents))
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(extents: [usize; N]) -> Self {
        Self(SmallVec::from_slice(&extents))
    }
}

macro_rules! shape_from_tuple {
    ($($name:ident: $extent:ty),+) => {
        impl From<($($extent,)+)> for Shape {
            fn from(($($name,)+): ($($extent,)+)) -> Self {
                Self::from([$($name),+])
            }
        }
    };
}

shape_from_tuple!(a: usize);
shape_from_tuple!(a: usize, b: usize);
shape_from_tuple!(a: usize, b: usize, c: usize);
shape_from_tuple!(a: usize, b: usize, c: usize, d: usize);

/// Why a tensor could not be made of what was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The shape asks for another number of elements than there are.
    #[error("a tensor of shape {shape} has {needed:?} elements, but {found} were given")]
    ElementCount {
        /// The shape asked for.
        shape: Shape,
        /// How many elements it has, `None` if that overflows.
        needed: Option<usize>,
        /// How many there are.
        found: usize,
    },
    /// Two tensors do not go together in this operation.
    #[error("cannot {operation} tensors of shapes {left} and {right}")]
    Mismatch {
        /// The operation.
        operation: &'static str,
        /// The left tensor's shape.
        left: Shape,
        /// The right tensor's shape.
        right: Shape,
    },
    /// An encoded tensor holds elements of another type.
    #[error("the tensor holds {found}, but {expected} was asked for")]
    ElementType {
        /// What the program asked for.
        expected: DType,
        /// What the encoded tensor holds.
        found: DType,
    },
    /// A buffer's length is no multiple of the element size.
    #[error("{len_bytes} bytes are no whole number of {dtype} elements")]
    PartialElement {
        /// The element type.
        dtype: DType,
        /// The buffer's length.
        len_bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_written_as_an_array_a_tuple_a_vector_or_a_number() {
        assert_eq!(Shape::from([2, 3]), Shape::from((2, 3)));
        assert_eq!(Shape::from([2, 3]), Shape::from(vec![2, 3]));
        assert_eq!(Shape::from(6), Shape::from([6]));
        assert_eq!(Shape::from(()).element_count(), Some(1));
    }

    #[test]
    fn an_overflowing_shape_has_no_element_count() {
        assert_eq!(Shape::from([usize::MAX, 2]).element_count(), None);
    }

    #[test]
    fn an_index_outside_of_the_shape_has_no_offset() {
        let shape = Shape::from([2, 3]);
        assert_eq!(shape.offset_of(&[1, 2]), Some(5));
        assert_eq!(shape.offset_of(&[2, 0]), None);
        assert_eq!(shape.offset_of(&[1]), None);
    }
}
