//! What lasts in a cluster though nobody works on it, and what is wrong with one node only: workers that have nothing to do but
//! own what others need, nodes that cannot start a job's workers, demands that are bound to a node, names of actors that nobody
//! keeps any more.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use actinic::{cluster::Cluster, options::Lifetime, prelude::*};
use actinic_actors::cluster::{core_worker::node_of, folder::find};
use actinic_gcs::NodeId;
use serde::{Deserialize, Serialize};

#[path = "support/processes.rs"]
mod processes;

use self::processes::{connect, has_ended, parent_of, wait_until};

/// The id of a node of the cluster.
fn id_of(cluster: &mut Cluster, node: usize) -> NodeId {
    NodeId(u128::from_str_radix(&cluster.nodes()[node].card.node, 16).unwrap())
}

/// How long a worker is idle before it may end, twice over.
const LONG_IDLE: Duration = Duration::from_secs(23);

#[remote]
fn pid() -> u32 {
    std::process::id()
}

#[remote]
fn slow_pid() -> u32 {
    std::thread::sleep(Duration::from_millis(200));
    std::process::id()
}

#[remote]
fn twice(n: i64) -> i64 {
    2 * n
}

#[remote]
struct Counter(i64);

#[remote]
impl Counter {
    fn new(first: i64) -> Self {
        Self(first)
    }

    fn add(&mut self, n: i64) -> i64 {
        self.0 += n;
        self.0
    }
}

/// What one worker has made for others.
#[derive(Clone, Serialize, Deserialize)]
struct Made {
    worker: u32,
    put: Vec<ObjectRef<i64>>,
    large: ObjectRef<Tensor<u64>>,
    results: Vec<ObjectRef<i64>>,
    counter: CounterHandle,
}

#[remote]
fn make() -> Made {
    Made {
        worker: std::process::id(),
        put: vec![actinic::put(1_i64).unwrap(), actinic::put(2_i64).unwrap()],
        large: actinic::put(Tensor::full([1 << 17], 7_u64)).unwrap(),
        results: vec![twice.remote(21)],
        counter: Counter::remote(40),
    }
}

#[test]
fn what_an_idle_worker_owns_is_there_as_long_as_others_need_it_and_no_longer() {
    let one: &[(&str, f64)] = &[("CPU", 1.0)];
    let cluster = Cluster::with_resources(&[one, &[("CPU", 2.0), ("far", 1.0)]]).unwrap();
    let rt = connect(cluster.address());
    let made = rt.get(&make.options().resource("far", 1.0).remote()).unwrap();
    let idle = rt.get(&pid.options().resource("far", 1.0).remote()).unwrap();
    std::thread::sleep(LONG_IDLE);
    assert!(!has_ended(made.worker), "its objects are needed");
    assert_eq!(rt.get(&made.put).unwrap(), [1, 2]);
    assert_eq!(rt.get(&made.large).unwrap().as_slice()[9], 7);
    assert_eq!(rt.get(&made.results).unwrap(), [42]);
    assert_eq!(rt.get(&made.counter.add(2)).unwrap(), 42);
    let worker = made.worker;
    drop(made);
    wait_until("nobody needs it any more", || has_ended(worker) && has_ended(idle));
}

#[test]
fn what_is_bound_to_the_driver_s_own_node_waits_for_that() {
    let one: &[(&str, f64)] = &[("CPU", 1.0)];
    let mut cluster = Cluster::with_resources(&[one, one]).unwrap();
    let (pids, own) = (cluster.pids(), id_of(&mut cluster, 0));
    let rt = connect(cluster.address());
    for soft in [false, true] {
        let there = || slow_pid.options().scheduling_strategy(SchedulingStrategy::NodeAffinity { node: own, soft });
        let ran: Vec<_> = (0..6).map(|_| there().remote()).collect();
        let ran = rt.get(&ran).unwrap();
        assert!(ran.iter().all(|worker| parent_of(*worker) == pids[0]), "{ran:?} and {pids:?}");
    }
    let never = pid.options().scheduling_strategy(SchedulingStrategy::NodeAffinity { node: own, soft: false });
    let told = rt.get(&never.num_cpus(2.0).remote()).unwrap_err().to_string();
    assert!(told.contains("CPU"), "{told}");
}

#[test]
fn a_node_that_cannot_start_a_job_s_workers_leaves_its_tasks_to_others() {
    let one: &[(&str, f64)] = &[("CPU", 1.0)];
    let mut cluster =
        Cluster::with_resources(&[one, &[("CPU", 1.0), ("b", 1.0)], &[("CPU", 1.0), ("b", 1.0)]]).unwrap();
    let (pids, sick) = (cluster.pids(), id_of(&mut cluster, 1));
    // No file can be made where the executable is to arrive.
    let exes = exes_of(&mut cluster, 1);
    fs::remove_dir_all(&exes).unwrap();
    fs::write(&exes, "in the way").unwrap();
    let rt = connect(cluster.address());
    let both: Vec<_> = (0..8).map(|_| slow_pid.options().resource("b", 0.5).remote()).collect();
    let ran = rt.get_timeout(&both, Duration::from_secs(60)).unwrap();
    assert!(ran.iter().all(|worker| parent_of(*worker) == pids[2]), "{ran:?} and {pids:?}");
    let bound = SchedulingStrategy::NodeAffinity { node: sick, soft: false };
    let told = rt.get(&pid.options().scheduling_strategy(bound).remote()).unwrap_err().to_string();
    assert!(told.contains("executable could not be brought to the node"), "{told}");
    let status = actinic_actors::cluster::core_worker::ask(
        &node_of(cluster.address()).unwrap(),
        actinic_actors::cluster::wire::Caller::Status,
    );
    let waiting = status.unwrap().waiting;
    assert!(waiting.iter().any(|line| line.contains("starts no workers of job")), "{waiting:?}");
}

/// The folder of executables of a node.
fn exes_of(cluster: &mut Cluster, node: usize) -> PathBuf {
    let found = find().unwrap().into_iter().find(|found| found.card.node == cluster.nodes()[node].card.node).unwrap();
    found.socket().parent().unwrap().join("exe")
}

#[test]
fn an_executable_that_a_node_cannot_run_is_told_with_what_to_do() {
    let one: &[(&str, f64)] = &[("CPU", 1.0)];
    let mut cluster = Cluster::with_resources(&[one, one, one]).unwrap();
    let rt = connect(cluster.address());
    let own = exes_of(&mut cluster, 0);
    let hash = fs::read_dir(&own).unwrap().next().unwrap().unwrap();
    let mut head = fs::read(hash.path()).unwrap();
    head.truncate(4_096);
    // As if its file had been cut short on the one node, and were for other processors on the other.
    let other: u8 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    for (node, machine) in [(1, head[18]), (2, other)] {
        head[18] = machine;
        let file = exes_of(&mut cluster, node).join(hash.file_name());
        fs::write(&file, &head).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        let bound = SchedulingStrategy::NodeAffinity { node: id_of(&mut cluster, node), soft: false };
        let told = rt.get(&pid.options().scheduling_strategy(bound).remote()).unwrap_err().to_string();
        let expected = if node == 1 { "ended before they were ready" } else { "start the driver on a machine like" };
        assert!(told.contains(expected), "{told}");
    }
    // What is not bound runs where it can.
    let ran = rt.get(&(0..4).map(|_| slow_pid.remote()).collect::<Vec<_>>()).unwrap();
    let head_node = cluster.pids()[0];
    assert!(ran.iter().all(|worker| parent_of(*worker) == head_node), "{ran:?}");
}

#[test]
fn a_name_is_free_again_once_its_keeper_s_node_is_dead() {
    let one: &[(&str, f64)] = &[("CPU", 1.0)];
    let mut cluster = Cluster::with_resources(&[one, one]).unwrap();
    let (first, second) = (cluster.nodes()[1].card.address.clone(), cluster.address().to_owned());
    let rt = connect(&first);
    let counter = Counter::options().name("hits").remote(1);
    assert_eq!(rt.get(&counter.add(1)).unwrap(), 2);
    cluster.nodes()[1].kill().unwrap();
    drop((counter, rt));
    let rt = connect(&second);
    wait_until("the node is declared dead", || rt.list_nodes().unwrap().iter().any(|node| !node.is_alive()));
    assert!(rt.get_actor::<CounterHandle>("hits").is_err());
    let again = Counter::options().name("hits").remote(10);
    assert_eq!(rt.get(&again.add(1)).unwrap(), 11);
    assert_eq!(rt.get(&rt.get_actor::<CounterHandle>("hits").unwrap().add(1)).unwrap(), 12);
}

#[test]
fn jobs_that_name_no_namespace_have_names_of_their_own_and_share_the_key_values() {
    let cluster = Cluster::local(1).unwrap();
    let connect = || Runtime::builder().address(cluster.address()).init().unwrap();
    let named = |first| Counter::options().name("one").lifetime(Lifetime::Detached).remote(first);
    let rt = connect();
    assert_eq!(rt.get(&named(10).add(1)).unwrap(), 11);
    rt.kv_put("of", "both", true).unwrap();
    rt.shutdown();
    let rt = connect();
    assert!(rt.get_actor::<CounterHandle>("one").is_err());
    assert_eq!(rt.get(&named(20).add(1)).unwrap(), 21);
    assert_eq!(rt.kv_get("of").unwrap().as_deref(), Some(&b"both"[..]));
    // Who knows the other job's finds what it has left.
    let of_name = rt.list_actors().unwrap().into_iter().filter(|info| info.spec.name.as_deref() == Some("one"));
    let found: Vec<CounterHandle> = of_name.map(|info| rt.get_actor_in(&info.spec.namespace, "one").unwrap()).collect();
    let mut values = rt.get(&found.iter().map(|counter| counter.add(0)).collect::<Vec<_>>()).unwrap();
    values.sort_unstable();
    assert_eq!(values, [11, 21]);
    found.iter().for_each(|counter| counter.kill());
}
