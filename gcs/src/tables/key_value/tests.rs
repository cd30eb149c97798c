//! Tests of user values.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::testing::Bench;

fn put(namespace: &str, key: &str, value: &str, overwrite: bool) -> KeyValueWrite {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    KeyValueWrite::Put { namespace: namespace.into(), key, value, overwrite }
}

fn get(bench: &Bench, namespace: &str, key: &str) -> Option<Bytes> {
    let read = KeyValueRead::Get { namespace: namespace.into(), key: Bytes::from(key.to_owned()) };
    let Ok(Reply::Value(value)) = bench.read(read) else { panic!("not a value") };
    value
}

fn list(bench: &Bench, namespace: &str, prefix: &str) -> Vec<Bytes> {
    let prefix = Bytes::from(prefix.to_owned());
    let read = KeyValueRead::List { namespace: namespace.into(), prefix, page: PageRequest::default() };
    let Ok(Reply::Keys(page)) = bench.read(read) else { panic!("no keys") };
    page.items
}

#[test]
fn a_value_is_put_over_another_only_if_asked() {
    let mut bench = Bench::new();
    assert_eq!(bench.apply(put("a", "k", "1", false)), Ok(Reply::Stored(true)));
    assert_eq!(bench.apply(put("a", "k", "2", false)), Ok(Reply::Stored(false)));
    assert_eq!(get(&bench, "a", "k"), Some(Bytes::from_static(b"1")));
    assert_eq!(bench.apply(put("a", "k", "2", true)), Ok(Reply::Stored(true)));
    assert_eq!(get(&bench, "a", "k"), Some(Bytes::from_static(b"2")));
}

#[test]
fn namespaces_do_not_mix() {
    let mut bench = Bench::new();
    bench.apply(put("a", "bk", "1", true)).unwrap();
    bench.apply(put("ab", "k", "2", true)).unwrap();
    assert_eq!(list(&bench, "a", ""), [Bytes::from_static(b"bk")]);
    assert_eq!(list(&bench, "ab", ""), [Bytes::from_static(b"k")]);
    assert_eq!(get(&bench, "a", "k"), None);
}

#[test]
fn keys_are_listed_by_prefix_in_order() {
    let mut bench = Bench::new();
    for key in ["model/2", "model/1", "metric/1", "model"] {
        bench.apply(put("a", key, "", true)).unwrap();
    }
    assert_eq!(list(&bench, "a", "model/"), [Bytes::from_static(b"model/1"), Bytes::from_static(b"model/2")]);
    assert_eq!(list(&bench, "a", "").len(), 4);
}

#[test]
fn keys_and_values_out_of_bounds_are_refused() {
    let mut bench = Bench::new();
    let long = put("a", &"k".repeat(limits::KEY_BYTES_MAX + 1), "", true);
    assert!(matches!(bench.apply(long), Err(TableError::TooLarge { what: Bound::KeyBytes, .. })));
    let large = put("a", "k", &"v".repeat(limits::VALUE_BYTES_MAX + 1), true);
    assert!(matches!(bench.apply(large), Err(TableError::TooLarge { what: Bound::ValueBytes, .. })));
    assert_eq!(bench.apply(put("a", "", "", true)), Err(TableError::EmptyName));
    let far = put(&"n".repeat(300), "k", "", true);
    assert!(matches!(bench.apply(far), Err(TableError::TooLarge { what: Bound::NameBytes, .. })));
}

#[derive(Clone, Debug)]
enum Action {
    Put(u8, u8, bool),
    Delete(u8),
    Swap(u8, Option<u8>, Option<u8>),
}

fn any_action() -> impl Strategy<Value = Action> {
    let (key, value) = (0..3_u8, 0..3_u8);
    let option = || prop::option::of(0..3_u8);
    prop_oneof![
        (key.clone(), value, any::<bool>()).prop_map(|(k, v, o)| Action::Put(k, v, o)),
        key.clone().prop_map(Action::Delete),
        (key, option(), option()).prop_map(|(k, e, n)| Action::Swap(k, e, n)),
    ]
}

fn bytes(value: u8) -> Bytes {
    Bytes::copy_from_slice(&[value])
}

fn run(bench: &mut Bench, model: &mut BTreeMap<u8, u8>, action: &Action) -> (Reply, Reply) {
    let namespace: Arc<str> = "a".into();
    match *action {
        Action::Put(key, value, overwrite) => {
            let stored = overwrite || !model.contains_key(&key);
            if stored {
                model.insert(key, value);
            }
            let write = KeyValueWrite::Put { namespace, key: bytes(key), value: bytes(value), overwrite };
            (bench.apply(write).unwrap(), Reply::Stored(stored))
        }
        Action::Delete(key) => {
            let write = KeyValueWrite::Delete { namespace, key: bytes(key) };
            (bench.apply(write).unwrap(), Reply::Deleted(model.remove(&key).is_some()))
        }
        Action::Swap(key, expected, new) => {
            let stored = model.get(&key).copied() == expected;
            match new {
                Some(value) if stored => drop(model.insert(key, value)),
                None if stored => drop(model.remove(&key)),
                _ => {}
            }
            let (expected, new) = (expected.map(bytes), new.map(bytes));
            let write = KeyValueWrite::CompareAndSwap { namespace, key: bytes(key), expected, new };
            (bench.apply(write).unwrap(), Reply::Stored(stored))
        }
    }
}

proptest! {
    #[test]
    fn values_behave_as_a_map_does(actions in prop::collection::vec(any_action(), 0..40)) {
        let (mut bench, mut model) = (Bench::new(), BTreeMap::new());
        for action in &actions {
            let (reply, expected) = run(&mut bench, &mut model, action);
            prop_assert_eq!(reply, expected);
        }
        let keys: Vec<_> = model.keys().map(|key| bytes(*key)).collect();
        prop_assert_eq!(list(&bench, "a", ""), keys);
    }
}
