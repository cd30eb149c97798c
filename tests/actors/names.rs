//! Names, namespaces and detached actors.

use actinic::{prelude::*, Error};

use super::{
    died,
    kit::{test, Gate, PATIENCE},
    runtime, Log, LogHandle, Room, RoomHandle,
};

#[test]
fn an_actor_is_found_by_its_name_in_its_namespace() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).namespace("here").init().unwrap();
        let log = Log::options().name("log").remote();
        let other = Log::options().name("log").namespace("there").remote();
        rt.get(&log.push(1)).unwrap();
        let found: LogHandle = rt.get_actor("log").unwrap();
        assert_eq!(found.id().unwrap(), log.id().unwrap());
        assert_eq!(rt.get(&found.push(2)).unwrap(), 2);
        let found: LogHandle = rt.get_actor_in("there", "log").unwrap();
        assert_eq!(found.id().unwrap(), other.id().unwrap());
        assert_eq!(rt.actor_names("here"), ["log"]);
        assert!(matches!(rt.get_actor::<LogHandle>("none"), Err(Error::NoSuchActor { .. })));
        assert!(matches!(rt.get_actor::<RoomHandle>("log"), Err(Error::WrongClass { .. })));
    });
}

#[test]
fn a_name_is_taken_once_and_shared_where_asked() {
    test(|| {
        let rt = runtime(1);
        let log = Log::options().name("one").remote();
        let refused = Log::options().name("one").try_remote();
        assert!(matches!(&refused, Err(Error::NameTaken { name, .. }) if name == "one"), "{refused:?}");
        let reason = died(rt.get(&Log::options().name("one").remote().push(1)));
        assert!(reason.contains("already"), "{reason}");
        let shared = Log::options().name("one").get_if_exists(true).remote();
        assert_eq!(shared.id().unwrap(), log.id().unwrap());
        let class = Room::options().name("one").get_if_exists(true).try_remote();
        assert!(matches!(class, Err(Error::WrongClass { .. })));
        drop((log, shared));
        let again = Log::options().name("one").try_remote().unwrap();
        assert_eq!(rt.get(&again.push(1)).unwrap(), 1, "the name is free once the last handle is gone");
    });
}

#[remote]
fn share_one(gate: Gate, name: String) -> u128 {
    gate.meet(8);
    let log = Log::options().name(name).get_if_exists(true).lifetime(Lifetime::Detached).remote();
    log.id().unwrap().0
}

#[test]
fn a_name_asked_for_by_many_at_once_gives_one_actor() {
    test(|| {
        let rt = runtime(8);
        for round in 0..50 {
            let gate = Gate::new();
            let all: Vec<_> = (0..8).map(|_| share_one.remote(gate, format!("log {round}"))).collect();
            let ids = rt.get_timeout(&all, PATIENCE).unwrap();
            assert!(ids.iter().all(|one| *one == ids[0]), "{ids:?}");
        }
    });
}

#[test]
fn a_detached_actor_outlives_its_handles() {
    test(|| {
        let rt = runtime(1);
        drop(Log::options().name("kept").lifetime(Lifetime::Detached).remote().push(1));
        let found: LogHandle = rt.get_actor("kept").unwrap();
        assert_eq!(rt.get(&found.push(2)).unwrap(), 2);
        let exit = found.watch();
        found.kill();
        rt.get_timeout(&exit, PATIENCE).unwrap();
        drop(found);
        assert!(matches!(rt.get_actor::<LogHandle>("kept"), Err(Error::NoSuchActor { .. })));
        assert_eq!(rt.actor_count(), 0);
    });
}
