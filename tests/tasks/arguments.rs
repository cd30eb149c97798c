//! Arguments and results.

use actinic::{prelude::*, TaskErrorKind};
use serde::{Deserialize, Serialize};

use super::{
    add, count_to, divide,
    kit::{failure, test, Gate, PATIENCE},
    length, pass, runtime, sum,
};

#[test]
fn values_and_references_mix_as_arguments() {
    test(|| {
        let rt = runtime(2);
        let three = add.remote(1, 2);
        let ten = rt.put(10).unwrap();
        assert_eq!(rt.get(&add.remote(&three, 4)).unwrap(), 7);
        assert_eq!(rt.get(&add.remote(4, &ten)).unwrap(), 14);
        assert_eq!(rt.get(&add.remote(&three, ten)).unwrap(), 13);
        assert_eq!(rt.get(&add.remote(three.clone(), &three)).unwrap(), 6);
    });
}

#[test]
fn a_vector_of_references_is_gathered_where_a_vector_of_values_is_asked() {
    test(|| {
        let rt = runtime(2);
        let parts: Vec<ObjectRef<i64>> = (0..100).map(|n| add.remote(n, 0)).collect();
        assert_eq!(rt.get(&sum.remote(&parts)).unwrap(), 4_950);
        assert_eq!(rt.get(&sum.remote(&parts[..10])).unwrap(), 45);
        assert_eq!(rt.get(&sum.remote(parts)).unwrap(), 4_950);
        assert_eq!(rt.get(&sum.remote(vec![1, 2, 3])).unwrap(), 6);
        assert_eq!(rt.get(&sum.remote(Vec::<ObjectRef<i64>>::new())).unwrap(), 0);
    });
}

#[test]
fn a_str_is_taken_for_a_string() {
    test(|| {
        let rt = runtime(1);
        assert_eq!(rt.get(&length.remote("four")).unwrap(), 4);
    });
}

#[derive(Clone, Serialize, Deserialize)]
struct Envelope {
    label: String,
    inner: ObjectRef<i64>,
}

#[remote]
fn is_inner_ready(envelope: Envelope) -> bool {
    envelope.inner.is_ready()
}

#[remote]
fn open_envelope(envelope: Envelope) -> i64 {
    actinic::get(&envelope.inner).unwrap()
}

#[remote]
fn is_ready(object: ObjectRef<i64>) -> bool {
    object.is_ready()
}

#[test]
fn a_reference_inside_a_structure_stays_a_reference_and_is_no_data_edge() {
    test(|| {
        let rt = runtime(2);
        let gate = Gate::new();
        let late = pass.remote(gate);
        gate.wait_for(0);
        let envelope = Envelope { label: "one".into(), inner: late.clone() };
        assert_eq!(envelope.label, "one");
        // Were it a data edge, neither could start before the gate opens.
        assert!(!rt.get_timeout(&is_inner_ready.remote(envelope.clone()), PATIENCE).unwrap());
        assert!(!rt.get_timeout(&is_ready.remote(&late), PATIENCE).unwrap());
        let value = open_envelope.remote(envelope);
        gate.open();
        assert_eq!(rt.get(&value).unwrap(), 1);
    });
}

#[remote(num_returns = 1)]
fn divide_whole(a: i64, b: i64) -> (i64, i64) {
    (a / b, a % b)
}

#[test]
fn a_tuple_gives_an_object_for_each_of_its_elements() {
    test(|| {
        let rt = runtime(2);
        let (quotient, rest) = divide.remote(17, 5);
        assert_eq!(rt.get((&quotient, &rest)).unwrap(), (3, 2));
        assert_eq!(rt.get(&add.remote(&quotient, &rest)).unwrap(), 5);
        assert_eq!(rt.get(&divide_whole.remote(17, 5)).unwrap(), (3, 2));
        let (quotient, rest) = divide.remote(1, 0);
        for part in [quotient, rest] {
            assert!(matches!(failure(rt.get(&part)).kind(), TaskErrorKind::Panicked { .. }));
        }
    });
}

#[remote]
async fn count_to_async(n: i64) -> Vec<i64> {
    (0..n).collect()
}

#[test]
fn num_returns_splits_a_vector_into_as_many_objects() {
    test(|| {
        let rt = runtime(2);
        let parts = count_to.options().num_returns(5).remote(5);
        assert_eq!(parts.len(), 5);
        assert_eq!(rt.get(&parts[3]).unwrap(), 3);
        assert_eq!(rt.get(&sum.remote(&parts)).unwrap(), 10);
        assert_eq!(rt.get(&count_to_async.options().num_returns(2).remote(2)).unwrap(), [0, 1]);
        let wrong = count_to.options().num_returns(2).remote(3);
        let error = failure(rt.get(&wrong[1])).to_string();
        assert!(error.contains("num_returns is 2") && error.contains("3 values"), "{error}");
    });
}
