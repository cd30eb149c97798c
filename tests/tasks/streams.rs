//! Streaming tasks.

use actinic::{prelude::*, TaskErrorKind};
use futures::{executor::block_on, stream, Stream};

use super::{
    kit::{eventually, failure, test, Gate, PATIENCE},
    numbers, runtime,
};

#[remote]
fn numbers_async(n: u64, gate: Gate) -> impl Stream<Item = u64> {
    stream::unfold(0, move |at| async move {
        tokio::task::yield_now().await;
        gate.arrive();
        (at < n).then_some((at, at + 1))
    })
}

#[remote]
fn broken_numbers(n: u64) -> impl Iterator<Item = u64> {
    (0..=n).inspect(move |at| assert!(*at < n, "no more than {n}"))
}

#[test]
fn a_synchronous_iterator_streams_in_order() {
    test(|| {
        let rt = runtime(2);
        let all: Vec<u64> = numbers.remote(1_000, Gate::new()).map(|item| rt.get(&item).unwrap()).collect();
        assert_eq!(all, (0..1_000).collect::<Vec<u64>>());
    });
}

#[test]
fn an_async_stream_streams_in_order_to_async_and_blocking_consumers() {
    test(|| {
        let rt = runtime(2);
        let blocking: Vec<u64> = numbers_async.remote(500, Gate::new()).map(|item| rt.get(&item).unwrap()).collect();
        assert_eq!(blocking, (0..500).collect::<Vec<u64>>());
        let mut items = numbers_async.remote(500, Gate::new());
        let awaited = block_on(async {
            let mut all = Vec::new();
            while let Some(item) = futures::StreamExt::next(&mut items).await {
                all.push(item.await.unwrap());
            }
            all
        });
        assert_eq!(awaited, (0..500).collect::<Vec<u64>>());
    });
}

#[test]
fn a_stream_is_never_further_ahead_than_its_back_pressure_allows() {
    test(|| {
        let rt = runtime(2);
        for with_async in [false, true] {
            let made = Gate::new();
            let mut items = if with_async {
                numbers_async.options().backpressure(4).remote(100, made)
            } else {
                numbers.options().backpressure(4).remote(100, made)
            };
            // Four wait in the queue, and a fifth has been made and has no room.
            made.wait_for(5);
            for taken in 1..=100_usize {
                let item = items.next().unwrap();
                assert_eq!(rt.get(&item).unwrap(), taken as u64 - 1);
                assert!(made.arrived() <= taken + 5, "{} made, {taken} taken", made.arrived());
            }
            assert!(items.next().is_none());
        }
    });
}

#[test]
fn the_error_of_a_stream_is_its_last_item() {
    test(|| {
        let rt = runtime(2);
        let all: Vec<_> = broken_numbers.remote(3).map(|item| rt.get(&item)).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(all[..3].iter().map(|item| *item.as_ref().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
        let error = failure(all[3].clone());
        assert!(
            matches!(error.kind(), TaskErrorKind::Panicked { message, .. } if message == "no more than 3"),
            "{error}"
        );
    });
}

#[test]
fn a_consumer_that_goes_away_ends_the_stream_s_task() {
    test(|| {
        let rt = runtime(2);
        let made = Gate::new();
        for with_async in [false, true] {
            let mut items = if with_async {
                numbers_async.options().backpressure(2).remote(u64::MAX, made)
            } else {
                numbers.options().backpressure(2).remote(u64::MAX, made)
            };
            assert!(items.next().is_some());
            drop(items);
        }
        eventually("both tasks are gone", || rt.graph().tasks.is_empty());
    });
}

#[remote]
fn sum_of_stream(n: u64) -> u64 {
    numbers.remote(n, Gate::new()).map(|item| actinic::get(&item).unwrap()).sum()
}

#[test]
fn a_task_consumes_another_s_stream_on_one_cpu() {
    test(|| {
        let rt = runtime(1);
        assert_eq!(rt.get(&sum_of_stream.remote(1_000)).unwrap(), 499_500);
    });
}

#[remote]
fn last_of_endless(gate: Gate) -> String {
    let mut items = numbers.options().backpressure(1).remote(u64::MAX, gate);
    loop {
        match items.next().map(|item| actinic::get(&item)) {
            Some(Ok(_)) if actinic::is_cancelled() => gate.wait_for(1),
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.to_string(),
            None => return "it ended as if it were done".to_owned(),
        }
    }
}

#[remote]
fn leave_endless(gate: Gate) -> usize {
    let items = numbers.options().backpressure(1).remote(u64::MAX, gate);
    gate.hold();
    items.count()
}

#[test]
fn a_cancelled_stream_says_so_and_one_that_waits_for_room_ends_too() {
    test(|| {
        let rt = runtime(2);
        let gate = Gate::new();
        let parent = last_of_endless.remote(gate);
        assert!(failure(rt.get_timeout(&parent, Duration::ZERO)).is_timeout());
        gate.wait_for(10);
        assert!(rt.cancel(&parent));
        let last = rt.get_timeout(&parent, PATIENCE).unwrap();
        assert!(last.contains("was cancelled"), "{last}");

        let gate = Gate::new();
        let parent = leave_endless.remote(gate);
        assert!(failure(rt.get_timeout(&parent, Duration::ZERO)).is_timeout());
        gate.wait_for(2);
        assert!(rt.cancel(&parent));
        eventually("its task has ended", || {
            rt.graph().tasks.iter().all(|task| !task.name.ends_with("numbers") || task.state == "Done")
        });
        gate.open();
        assert_eq!(rt.get_timeout(&parent, PATIENCE).unwrap(), 2, "what was made, and the error");
    });
}
