//! Arithmetic on tensors: element by element with broadcasting, reductions and products.
//!
//! Owns: the operators. Products go through `ndarray` and its `matrixmultiply`. Operators panic where shapes do not go
//! together, as `ndarray`'s do; `zip_map` and `try_dot` say so instead.

use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Sub, SubAssign};

use ndarray::{ArrayView, Axis, Ix1, Ix2};

use super::{Element, Shape, Tensor, TensorError};

impl<T: Element> Tensor<T> {
    /// A tensor of what `f` makes of each element.
    #[must_use]
    pub fn map<U: Element>(&self, f: impl FnMut(T) -> U) -> Tensor<U> {
        Tensor::from_checked(self.shape.clone(), self.as_slice().iter().copied().map(f).collect())
    }

    /// A tensor of what `f` makes of each pair of elements. If the shapes differ, the smaller one is broadcast.
    ///
    /// # Errors
    ///
    /// [`TensorError::Mismatch`] if neither shape can be broadcast to the other.
    pub fn zip_map<U: Element, V: Element>(
        &self,
        other: &Tensor<U>,
        mut f: impl FnMut(T, U) -> V,
    ) -> Result<Tensor<V>, TensorError> {
        if self.shape == other.shape {
            let pairs = self.as_slice().iter().zip(other.as_slice());
            return Ok(Tensor::from_checked(self.shape.clone(), pairs.map(|(a, b)| f(*a, *b)).collect()));
        }
        let (left, right) = (self.view(), other.view());
        if let Some(right) = right.broadcast(left.raw_dim()) {
            let pairs = left.iter().zip(right.iter());
            return Ok(Tensor::from_checked(self.shape.clone(), pairs.map(|(a, b)| f(*a, *b)).collect()));
        }
        if let Some(left) = left.broadcast(right.raw_dim()) {
            let pairs = left.iter().zip(right.iter());
            return Ok(Tensor::from_checked(other.shape.clone(), pairs.map(|(a, b)| f(*a, *b)).collect()));
        }
        Err(self.mismatch("combine", other))
    }

    /// The sum of all elements.
    #[must_use]
    pub fn sum(&self) -> T {
        ArrayView::from(self.as_slice()).sum()
    }

    /// Where the largest element is in row-major order: the first of several, `None` if there is none. NaN is passed
    /// over unless it comes first.
    #[must_use]
    pub fn argmax(&self) -> Option<usize> {
        let mut elements = self.as_slice().iter().enumerate();
        let first = elements.next()?;
        Some(elements.fold(first, |best, next| if next.1 > best.1 { next } else { best }).0)
    }

    /// The transpose of a matrix; a vector or single number is its own.
    ///
    /// # Panics
    ///
    /// If there are more than two axes.
    #[must_use]
    pub fn transpose(&self) -> Self {
        assert!(self.ndim() <= 2, "the transpose of a tensor of shape {}", self.shape);
        if self.ndim() < 2 {
            return self.clone();
        }
        let view = self.view();
        Self::from_checked(Shape::from([self.shape[1], self.shape[0]]), view.t().iter().copied().collect())
    }

    /// The product of two vectors (a single number), a matrix and a vector (a vector) or two matrices (a matrix).
    ///
    /// # Panics
    ///
    /// If the shapes do not go together, or have more than two axes. See [`Tensor::try_dot`].
    #[must_use]
    pub fn dot(&self, other: &Self) -> Self {
        self.try_dot(other).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Tensor::dot`].
    ///
    /// # Errors
    ///
    /// [`TensorError::Mismatch`].
    pub fn try_dot(&self, other: &Self) -> Result<Self, TensorError> {
        let inner = self.shape.last().copied();
        let fits = (1..=2).contains(&self.ndim()) && (1..=2).contains(&other.ndim());
        if !fits || inner != other.shape.first().copied() {
            return Err(self.mismatch("multiply", other));
        }
        Ok(match (self.ndim(), other.ndim()) {
            (1, 1) => Self::full((), self.vector().dot(&other.vector())),
            (2, 1) => self.matrix().dot(&other.vector()).into(),
            (1, _) => {
                let row = self.vector().insert_axis(Axis(0));
                row.dot(&other.matrix()).remove_axis(Axis(0)).into()
            }
            _ => self.matrix().dot(&other.matrix()).into(),
        })
    }

    fn vector(&self) -> ArrayView<'_, T, Ix1> {
        self.view().into_dimensionality().expect("invariant: asked for of one axis only")
    }

    fn matrix(&self) -> ArrayView<'_, T, Ix2> {
        self.view().into_dimensionality().expect("invariant: asked for of two axes only")
    }

    fn mismatch<U: Element>(&self, operation: &'static str, other: &Tensor<U>) -> TensorError {
        TensorError::Mismatch { operation, left: self.shape.clone(), right: other.shape.clone() }
    }

    /// Combines into this tensor's own buffer where the shapes agree.
    fn combine_into(mut self, other: &Self, mut f: impl FnMut(T, T) -> T) -> Self {
        if self.shape != other.shape {
            return self.zip_map(other, f).unwrap_or_else(|error| panic!("{error}"));
        }
        for (a, b) in self.make_mut().iter_mut().zip(other.as_slice()) {
            *a = f(*a, *b);
        }
        self
    }

    fn combine_with_number(mut self, f: impl Fn(T) -> T) -> Self {
        for a in self.make_mut() {
            *a = f(*a);
        }
        self
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $assign_trait:ident $assign:ident $op:tt;)*) => {$(
        /// Element by element; a smaller shape is broadcast. Panics if the shapes do not go together.
        impl<T: Element> $trait<&Tensor<T>> for &Tensor<T> {
            type Output = Tensor<T>;

            fn $method(self, other: &Tensor<T>) -> Tensor<T> {
                self.zip_map(other, |a, b| a $op b).unwrap_or_else(|error| panic!("{error}"))
            }
        }

        impl<T: Element> $trait<Tensor<T>> for &Tensor<T> {
            type Output = Tensor<T>;

            fn $method(self, other: Tensor<T>) -> Tensor<T> {
                if self.shape == other.shape {
                    return other.combine_into(self, |b, a| a $op b);
                }
                self $op &other
            }
        }

        impl<T: Element> $trait<&Tensor<T>> for Tensor<T> {
            type Output = Tensor<T>;

            fn $method(self, other: &Tensor<T>) -> Tensor<T> {
                self.combine_into(other, |a, b| a $op b)
            }
        }

        impl<T: Element> $trait<Tensor<T>> for Tensor<T> {
            type Output = Tensor<T>;

            fn $method(self, other: Tensor<T>) -> Tensor<T> {
                self.combine_into(&other, |a, b| a $op b)
            }
        }

        impl<T: Element> $trait<T> for &Tensor<T> {
            type Output = Tensor<T>;

            fn $method(self, number: T) -> Tensor<T> {
                self.map(|a| a $op number)
            }
        }

        impl<T: Element> $trait<T> for Tensor<T> {
            type Output = Tensor<T>;

            fn $method(self, number: T) -> Tensor<T> {
                self.combine_with_number(|a| a $op number)
            }
        }

        /// In place, if the shapes agree and the buffer is not shared.
        impl<T: Element> $assign_trait<&Tensor<T>> for Tensor<T> {
            fn $assign(&mut self, other: &Tensor<T>) {
                *self = std::mem::take(self).combine_into(other, |a, b| a $op b);
            }
        }

        /// In place, if the buffer is not shared.
        impl<T: Element> $assign_trait<T> for Tensor<T> {
            fn $assign(&mut self, number: T) {
                *self = std::mem::take(self).combine_with_number(|a| a $op number);
            }
        }
    )*};
}

operators! {
    Add add AddAssign add_assign +;
    Sub sub SubAssign sub_assign -;
    Mul mul MulAssign mul_assign *;
    Div div DivAssign div_assign /;
}

/// No elements, in one axis.
impl<T: Element> Default for Tensor<T> {
    fn default() -> Self {
        Self::from_checked(Shape::from(0), Vec::new())
    }
}
