//! Remote functions and arguments may bear any name, that of a variable in what the macros make included.
#![allow(clippy::unwrap_used, non_camel_case_types)]

use actinic::prelude::*;
use futures::{stream, Stream};

#[path = "support/kit.rs"]
mod kit;
use kit::test;

macro_rules! remote_functions {
    ($($name:ident)*) => {
        $(#[remote] fn $name() -> i64 { 1 })*

        fn sum_of_all(rt: &Runtime) -> i64 {
            [$(rt.get(&$name.remote()).unwrap()),*].iter().sum()
        }
    };
}

remote_functions!(
    value error cell state params guard raw serializer deserializer name units bytes times strategy group bundle count
    options creation args handle task node result output thread calls policy window supervisor namespace share lifetime
    backoff decide objects remote call run
);

#[remote]
fn pair(a: i64, b: i64) -> Result<(i64, i64), String> {
    Ok((a, b))
}

#[remote]
fn list(n: i64) -> Vec<i64> {
    (0..n).collect()
}

#[remote]
fn iterate(n: i64) -> impl Iterator<Item = i64> {
    0..n
}

#[remote]
fn flow(n: i64) -> impl Stream<Item = i64> {
    stream::iter(0..n)
}

mod arguments {
    use actinic::prelude::*;

    #[remote]
    pub(crate) fn add(value: i64, error: i64, cell: i64, state: i64, params: i64, options: i64) -> i64 {
        value + error + cell + state + params + options
    }

    #[remote]
    pub(crate) struct Model;

    #[remote]
    impl Model {
        fn new(args: i64, creation: i64, options: i64) -> Self {
            assert_eq!((args, creation, options), (1, 2, 3));
            Self
        }

        fn step(&mut self, state: i64, params: i64, cell: i64, raw: i64) -> i64 {
            state + params + cell + raw
        }

        fn look(&self, state: i64, error: i64) -> Result<i64, String> {
            Ok(state + error)
        }

        async fn later(&mut self, guard: i64, state: i64, value: i64) -> i64 {
            tokio::task::yield_now().await;
            guard + state + value
        }
    }
}

#[test]
fn any_name_will_do_for_a_remote_function() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).init().unwrap();
        assert_eq!(sum_of_all(&rt), 39);
        let (a, b) = pair.options().num_cpus(0.5).remote(1, 2);
        assert_eq!(rt.get((&a, &b)).unwrap(), (1, 2));
        assert_eq!(rt.get(&list.options().num_returns(3).remote(3)).unwrap(), [0, 1, 2]);
        assert_eq!((iterate.remote(3).count(), flow.remote(3).count()), (3, 3));
    });
}

#[test]
fn any_name_will_do_for_an_argument() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).init().unwrap();
        assert_eq!(rt.get(&arguments::add.remote(1, 2, 3, 4, 5, 6)).unwrap(), 21);
        let model = arguments::Model::remote(1, 2, 3);
        assert_eq!(rt.get(&model.step(1, 2, 3, 4)).unwrap(), 10);
        assert_eq!(rt.get(&model.look(1, 2)).unwrap(), 3);
        assert_eq!(rt.get(&model.later(1, 2, 3)).unwrap(), 6);
    });
}
