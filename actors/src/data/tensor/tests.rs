//! Tensors compute what they say, share what they can, and refuse what does not fit.

use super::*;

fn matrix() -> Tensor<f64> {
    Tensor::from_vec([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap()
}

#[test]
fn a_buffer_of_another_length_than_the_shape_is_refused() {
    let error = Tensor::from_vec([2, 2], vec![1.0; 3]).unwrap_err();
    assert_eq!(error, TensorError::ElementCount { shape: [2, 2].into(), needed: Some(4), found: 3 });
    assert!(matrix().reshape([4, 2]).is_err());
    assert!(Tensor::<u8>::from_vec([usize::MAX, 2], vec![]).is_err());
}

#[test]
fn elements_are_found_by_index_and_row() {
    let x = matrix();
    assert_eq!((x.get([1, 2]), x.get([2, 0]), x.get([0])), (Some(6.0), None, None));
    assert_eq!(x.row(1), [4.0, 5.0, 6.0]);
    assert_eq!(Tensor::from_fn((2, 3), |at| (at[0] * 3 + at[1]) as f64 + 1.0), x);
    assert_eq!((x.ndim(), x.len(), x.size_bytes()), (2, 6, 48));
}

#[test]
fn clones_share_their_buffer_until_one_is_written_to() {
    let x = matrix();
    let mut y = x.clone();
    assert_eq!(x.as_slice().as_ptr(), y.as_slice().as_ptr());
    y.make_mut()[0] = 9.0;
    assert_eq!((x.get([0, 0]), y.get([0, 0])), (Some(1.0), Some(9.0)));
}

#[test]
fn operators_work_by_reference_and_in_place() {
    let x = matrix();
    assert_eq!((&x + &x).as_slice(), (&x * 2.0).as_slice());
    assert_eq!(&x - &x, Tensor::zeros([2, 3]));
    assert_eq!(Tensor::ones([2, 3]) - &x * 2.0, &x * -2.0 + 1.0);
    assert_eq!(&x / x.clone(), Tensor::ones([2, 3]));
    let mut y = x.clone() + 1.0;
    let address = y.as_slice().as_ptr();
    y += &x;
    y *= 2.0;
    assert_eq!((y.get([0, 0]), y.as_slice().as_ptr()), (Some(6.0), address));
}

#[test]
fn a_smaller_shape_is_broadcast_and_an_unfit_one_refused() {
    let x = matrix();
    let row = Tensor::from(vec![1.0, 0.0, -1.0]);
    assert_eq!((&x * &row).as_slice(), [1.0, 0.0, -3.0, 4.0, 0.0, -6.0]);
    assert_eq!(row.clone() * &x, &x * &row);
    assert!(x.zip_map(&Tensor::<f64>::ones([2]), |a, b| a + b).is_err());
}

#[test]
fn products_of_vectors_and_matrices_have_the_shapes_one_expects() {
    let (x, v) = (matrix(), Tensor::from(vec![1.0, 1.0, 1.0]));
    assert_eq!(v.dot(&v).item(), Some(3.0));
    assert_eq!(x.dot(&v).as_slice(), [6.0, 15.0]);
    assert_eq!(Tensor::from(vec![1.0, 1.0]).dot(&x).as_slice(), [5.0, 7.0, 9.0]);
    let square = x.dot(&x.transpose());
    assert_eq!((square.shape(), square.as_slice()), (&[2, 2][..], &[14.0, 32.0, 32.0, 77.0][..]));
    assert!(x.try_dot(&x).is_err());
    assert!(Tensor::<f64>::ones(()).try_dot(&v).is_err());
}

#[test]
fn reductions_take_all_elements() {
    assert_eq!(matrix().sum(), 21.0);
    assert_eq!(Tensor::from(vec![3, 9, 9, 1]).argmax(), Some(1));
    assert_eq!(Tensor::<i32>::default().argmax(), None);
}

#[test]
fn arrays_of_ndarray_become_tensors_whatever_their_layout() {
    let array = ndarray::Array2::from_shape_fn((3, 2), |(i, j)| (i * 2 + j) as i64);
    assert_eq!(Tensor::from(array.clone()).as_slice(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(Tensor::from(array.clone().reversed_axes()).as_slice(), [0, 2, 4, 1, 3, 5]);
    assert_eq!(Tensor::from(array.clone().slice_move(ndarray::s![1.., ..])).as_slice(), [2, 3, 4, 5]);
    assert_eq!(Tensor::from(array.slice_move(ndarray::s![..;-1, ..])).as_slice(), [4, 5, 2, 3, 0, 1]);
}

#[test]
fn bytes_that_are_not_aligned_are_copied_and_aligned_ones_viewed() {
    let bytes = bytes::Bytes::from_owner(AsBytes(Arc::new(vec![1_u64, 2, 3])));
    let view = Tensor::<u64>::from_bytes([3], bytes.clone()).unwrap();
    assert!(view.is_view() && view.as_slice() == [1, 2, 3]);
    let copy = Tensor::<u64>::from_bytes([2], bytes.slice(1..17)).unwrap();
    assert!(!copy.is_view() && copy.len() == 2);
    assert!(Tensor::<u64>::from_bytes([1], bytes.slice(..7)).is_err());
    assert_eq!(view.clone().into_vec(), [1, 2, 3]);
    assert_eq!(view + 1, Tensor::from(vec![2, 3, 4]));
}

#[test]
fn large_tensors_are_printed_short() {
    let large = Tensor::<f32>::zeros([1000, 1000]);
    assert!(large.to_string().len() < 2000);
    assert_eq!(format!("{:?}", large.reshape([1_000_000]).unwrap()).matches("0.0").count(), 8);
    assert_eq!(format!("{:?}", Tensor::from(vec![1_u8, 2])), "Tensor<u8>[2][1, 2]");
}
