//! Tensors for people: large ones are shortened.

use std::fmt;

use super::{Element, Tensor};

/// The numbers in nested brackets, as `ndarray` prints them: the middle of long axes is left out.
impl<T: Element> fmt::Display for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.view(), f)
    }
}

/// The element type, the shape and the first few numbers.
impl<T: Element> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 8;
        write!(f, "Tensor<{}>{}[", T::DTYPE, self.shape)?;
        for (i, value) in self.as_slice().iter().take(SHOWN_MAX).enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{value:?}")?;
        }
        f.write_str(if self.len() > SHOWN_MAX { ", …]" } else { "]" })
    }
}
