//! Dense tensors: a shape, and numbers in row-major order.
//!
//! Owns: [`Tensor`], its storage and access. Arithmetic is in `ops`, the encoded form in `wire`, printing in `show`.
//!
//! **Invariants:** the buffer has exactly as many elements as the shape; a viewed buffer is aligned for the elements.
//! Cloning is O(1) and shares the buffer; the first write to a shared or viewed buffer copies it.

use std::{marker::PhantomData, sync::Arc};

use ndarray::{Array, ArrayView, ArrayViewD, Dimension, IxDyn};

use super::{codec::raw::AsBytes, Element, Shape, TensorError};

mod ops;
mod show;
#[cfg(test)]
mod tests;
mod wire;

/// A dense tensor of numbers in row-major order. Cheap to clone; immutable while shared.
///
/// ```
/// # use actinic_actors::data::Tensor;
/// let x = Tensor::from_vec([2, 2], vec![1.0, 2.0, 3.0, 4.0])?;
/// let y = &x * 2.0 + Tensor::full([2, 2], 1.0);
/// assert_eq!(y.as_slice(), [3.0, 5.0, 7.0, 9.0]);
/// assert_eq!(x.dot(&y).get([0, 0]), Some(17.0));
/// # Ok::<(), actinic_actors::data::TensorError>(())
/// ```
#[derive(Clone)]
pub struct Tensor<T: Element> {
    shape: Shape,
    storage: Storage<T>,
}

#[derive(Clone)]
enum Storage<T> {
    Owned(Arc<Vec<T>>),
    /// Bytes that are aligned for `T` and a whole number of it, often in the object store's shared memory.
    View(bytes::Bytes, PhantomData<T>),
}

/// Lets a tensor's numbers be the owner of a `Bytes`.
impl<T: bytemuck::NoUninit> AsRef<[u8]> for AsBytes<Arc<Vec<T>>> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl<T: Element> Tensor<T> {
    /// All zeros.
    ///
    /// # Panics
    ///
    /// If the shape's element count overflows.
    #[must_use]
    pub fn zeros(shape: impl Into<Shape>) -> Self {
        Self::full(shape, T::zero())
    }

    /// All ones.
    ///
    /// # Panics
    ///
    /// If the shape's element count overflows.
    #[must_use]
    pub fn ones(shape: impl Into<Shape>) -> Self {
        Self::full(shape, T::one())
    }

    /// The same number everywhere.
    ///
    /// # Panics
    ///
    /// If the shape's element count overflows.
    #[must_use]
    pub fn full(shape: impl Into<Shape>, value: T) -> Self {
        let shape = shape.into();
        let values = vec![value; count(&shape)];
        Self::from_checked(shape, values)
    }

    /// The given numbers, in row-major order.
    ///
    /// # Errors
    ///
    /// [`TensorError::ElementCount`] if there are more or fewer than the shape has elements.
    pub fn from_vec(shape: impl Into<Shape>, values: Vec<T>) -> Result<Self, TensorError> {
        let shape = shape.into();
        check(&shape, values.len())?;
        Ok(Self::from_checked(shape, values))
    }

    /// What `value` gives for each index.
    ///
    /// # Panics
    ///
    /// If the shape's element count overflows.
    #[must_use]
    pub fn from_fn(shape: impl Into<Shape>, mut value: impl FnMut(&[usize]) -> T) -> Self {
        let shape = shape.into();
        let mut index = vec![0; shape.len()];
        let values = (0..count(&shape))
            .map(|_| {
                let element = value(&index);
                advance(&mut index, &shape);
                element
            })
            .collect();
        Self::from_checked(shape, values)
    }

    /// A view of bytes that hold the elements in row-major order; a copy only if they are not aligned for `T`.
    ///
    /// # Errors
    ///
    /// [`TensorError::PartialElement`], [`TensorError::ElementCount`].
    pub fn from_bytes(shape: impl Into<Shape>, bytes: bytes::Bytes) -> Result<Self, TensorError> {
        let shape = shape.into();
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            return Err(TensorError::PartialElement { dtype: T::DTYPE, len_bytes: bytes.len() });
        }
        check(&shape, bytes.len() / size_of::<T>())?;
        if bytemuck::try_cast_slice::<u8, T>(&bytes).is_ok() {
            return Ok(Self { shape, storage: Storage::View(bytes, PhantomData) });
        }
        let values = super::codec::raw::to_numbers(&bytes).expect("invariant: checked above to be whole elements");
        Ok(Self::from_checked(shape, values))
    }

    fn from_checked(shape: Shape, values: Vec<T>) -> Self {
        Self { shape, storage: Storage::Owned(Arc::new(values)) }
    }

    /// The extent along each axis, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of axes.
    #[must_use]
    pub fn ndim(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements' size.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        size_of_val(self.as_slice())
    }

    /// The elements in row-major order.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match &self.storage {
            Storage::Owned(values) => values,
            Storage::View(bytes, _) => bytemuck::cast_slice(bytes),
        }
    }

    /// The elements as bytes that share this tensor's memory.
    #[must_use]
    pub fn to_bytes(&self) -> bytes::Bytes {
        match &self.storage {
            Storage::Owned(values) => bytes::Bytes::from_owner(AsBytes(Arc::clone(values))),
            Storage::View(bytes, _) => bytes.clone(),
        }
    }

    /// A copy of the elements in row-major order.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.as_slice().to_vec()
    }

    /// The elements in row-major order; copied only if they are shared or a view.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        match self.storage {
            Storage::Owned(values) => Arc::unwrap_or_clone(values),
            Storage::View(bytes, _) => bytemuck::cast_slice(&bytes).to_vec(),
        }
    }

    /// The elements to be written to; copied first if they are shared or a view.
    pub fn make_mut(&mut self) -> &mut [T] {
        if let Storage::View(bytes, _) = &self.storage {
            self.storage = Storage::Owned(Arc::new(bytemuck::cast_slice(bytes).to_vec()));
        }
        match &mut self.storage {
            Storage::Owned(values) => Arc::<Vec<T>>::make_mut(values),
            Storage::View(..) => unreachable!("a view was replaced by an owned buffer above"),
        }
    }

    /// The element at `index`, `None` if it is outside.
    #[must_use]
    pub fn get(&self, index: impl AsRef<[usize]>) -> Option<T> {
        self.shape.offset_of(index.as_ref()).map(|offset| self.as_slice()[offset])
    }

    /// The number of a tensor that has just one, `None` for any other.
    #[must_use]
    pub fn item(&self) -> Option<T> {
        match self.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// The elements at position `i` of the outermost axis: of a matrix, its row.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, i: usize) -> &[T] {
        let rows = self.shape.first().copied().unwrap_or(0);
        assert!(i < rows, "row {i} of a tensor of shape {}", self.shape);
        let row_len = self.len() / rows;
        &self.as_slice()[i * row_len..][..row_len]
    }

    /// The same elements in another shape, without a copy.
    ///
    /// # Errors
    ///
    /// [`TensorError::ElementCount`].
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self, TensorError> {
        let shape = shape.into();
        check(&shape, self.len())?;
        Ok(Self { shape, storage: self.storage.clone() })
    }

    /// The tensor as `ndarray` sees it, without a copy.
    #[must_use]
    pub fn view(&self) -> ArrayViewD<'_, T> {
        ArrayView::from_shape(IxDyn(&self.shape), self.as_slice())
            .expect("invariant: the buffer has as many elements as the shape")
    }

    /// Whether the elements lie in memory that this tensor only views, such as the object store's.
    #[must_use]
    pub fn is_view(&self) -> bool {
        matches!(self.storage, Storage::View(..))
    }
}

impl<T: Element> PartialEq for Tensor<T> {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.as_slice() == other.as_slice()
    }
}

impl<T: Element> From<Vec<T>> for Tensor<T> {
    fn from(values: Vec<T>) -> Self {
        Self::from_checked(Shape::from(values.len()), values)
    }
}

impl<T: Element> FromIterator<T> for Tensor<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        values.into_iter().collect::<Vec<_>>().into()
    }
}

impl<T: Element, D: Dimension> From<Array<T, D>> for Tensor<T> {
    fn from(array: Array<T, D>) -> Self {
        let shape = Shape::from(array.shape());
        if array.is_standard_layout() {
            let (values, offset) = array.into_raw_vec_and_offset();
            // An array that was sliced owns more than it shows.
            if offset.unwrap_or(0) == 0 && shape.element_count() == Some(values.len()) {
                return Self::from_checked(shape, values);
            }
            let shown = offset.unwrap_or(0)..offset.unwrap_or(0) + count(&shape);
            return Self::from_checked(shape, values[shown].to_vec());
        }
        let values = array.iter().copied().collect();
        Self::from_checked(shape, values)
    }
}

fn count(shape: &Shape) -> usize {
    shape.element_count().unwrap_or_else(|| panic!("a tensor of shape {shape} is larger than the address space"))
}

fn check(shape: &Shape, found: usize) -> Result<(), TensorError> {
    match shape.element_count() {
        Some(needed) if needed == found => Ok(()),
        needed => Err(TensorError::ElementCount { shape: shape.clone(), needed, found }),
    }
}

/// The next index in row-major order.
fn advance(index: &mut [usize], shape: &Shape) {
    for (at, extent) in index.iter_mut().zip(shape.iter()).rev() {
        *at += 1;
        if *at < *extent {
            return;
        }
        *at = 0;
    }
}
