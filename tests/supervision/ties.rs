//! Links, and who is told of a death.

use actinic::supervision::{Backoff, Exit};

use super::{
    counts, died,
    kit::{test, Gate, PATIENCE},
    panicked, runtime, Worker,
};

#[test]
fn linked_actors_fall_together() {
    test(|| {
        let rt = runtime();
        let gate = Gate::new();
        let options = || Worker::options().max_restarts(-1).backoff(Backoff::NONE);
        let (one, other) = (options().remote(gate, "q"), options().remote(gate, "r"));
        assert_eq!(counts(&rt, &[one.clone(), other.clone()]), [1, 1]);
        one.link(&other).unwrap();
        panicked(rt.get(&one.fall()));
        gate.wait_for(4);
        assert_eq!(counts(&rt, &[one.clone(), other.clone()]), [1, 1]);
        one.unlink(&other).unwrap();
        panicked(rt.get(&one.fall()));
        gate.wait_for(5);
        assert_eq!(counts(&rt, &[one, other]), [1, 2]);
    });
}

#[test]
fn a_linked_actor_without_restarts_dies_with_the_other() {
    test(|| {
        let rt = runtime();
        let (one, other) = (Worker::remote(Gate::new(), "s"), Worker::remote(Gate::new(), "t"));
        one.link(&other).unwrap();
        let exit = other.watch();
        panicked(rt.get(&one.fall()));
        assert!(rt.get_timeout(&exit, PATIENCE).unwrap().is_abnormal());
        died(rt.get_timeout(&other.count(), PATIENCE));
    });
}

#[test]
fn a_watcher_is_told_of_the_final_death_once() {
    test(|| {
        let rt = runtime();
        let told = Gate::new();
        let worker = Worker::options().max_restarts(1).backoff(Backoff::NONE).remote(Gate::new(), "u");
        let exit = worker.watch();
        worker.on_death(move |exit| told.note(format!("{exit:?}")));
        panicked(rt.get(&worker.fall()));
        assert_eq!(rt.get_timeout(&worker.count(), PATIENCE).unwrap(), 1);
        assert!(!exit.is_ready() && told.log().is_empty(), "a restart is no death");
        panicked(rt.get(&worker.fall()));
        let Exit::Failed(reason) = rt.get_timeout(&exit, PATIENCE).unwrap() else { panic!("it failed") };
        assert!(reason.contains("u falls"), "{reason}");
        assert!(told.wait_for_log(1)[0].starts_with("Failed"));
        // Those who come later are told as well, and nobody twice.
        rt.get_timeout(&worker.watch(), PATIENCE).unwrap();
        assert_eq!(told.log().len(), 1);
    });
}

#[test]
fn a_watcher_learns_how_it_ended() {
    test(|| {
        let rt = runtime();
        let killed = Worker::options().max_restarts(5).remote(Gate::new(), "v");
        let exit = killed.watch();
        killed.kill();
        assert_eq!(rt.get_timeout(&exit, PATIENCE).unwrap(), Exit::Killed);
        let left = Worker::remote(Gate::new(), "w");
        let exit = left.watch();
        drop(left);
        assert_eq!(rt.get_timeout(&exit, PATIENCE).unwrap(), Exit::Normal, "nobody needed it any more");
    });
}

#[test]
fn an_actor_that_ends_for_want_of_handles_takes_no_linked_one_with_it() {
    test(|| {
        let rt = runtime();
        let (kept, left) = (Worker::remote(Gate::new(), "x"), Worker::remote(Gate::new(), "y"));
        kept.link(&left).unwrap();
        assert_eq!(rt.get(&kept.count()).unwrap(), 1);
        let exit = left.watch();
        drop(left);
        assert_eq!(rt.get_timeout(&exit, PATIENCE).unwrap(), Exit::Normal);
        assert_eq!(rt.get_timeout(&kept.count(), PATIENCE).unwrap(), 2);
    });
}
