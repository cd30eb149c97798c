//! Large objects in clusters of real processes: in place within a node, by chunks between nodes.
#![allow(clippy::unwrap_used)]

#[path = "support/processes.rs"]
mod processes;

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use actinic::{
    cluster::{ask, find, Caller, Cluster, LocalNode, NodeCard, ObjectFigures},
    prelude::*,
    TaskErrorKind,
};
use processes::{connect, here, hold, say_here, signal, wait_until};
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;

/// Numbers that differ, so that no byte can take another's place unnoticed.
fn numbers(mib: usize, first: u64) -> Vec<u64> {
    (0..(mib * MIB / 8) as u64).map(|at| first.wrapping_add(at.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect()
}

#[remote]
fn make(mib: usize, first: u64) -> Tensor<u64> {
    Tensor::from_vec([mib * MIB / 8], numbers(mib, first)).unwrap()
}

#[remote]
fn sum(x: Tensor<u64>) -> u64 {
    x.as_slice().iter().fold(0, |all: u64, number| all.wrapping_add(*number))
}

#[remote]
fn sum_all(all: Vec<Tensor<u64>>) -> u64 {
    all.iter().flat_map(|x| x.as_slice()).fold(0, |all: u64, number| all.wrapping_add(*number))
}

#[remote]
fn lengths(all: Vec<Vec<f32>>, text: String) -> (Vec<usize>, usize) {
    (all.iter().map(Vec::len).collect(), text.len())
}

#[remote]
fn sum_in(inner: Vec<ObjectRef<Tensor<u64>>>) -> u64 {
    inner.iter().map(|x| sum_of(&x.get().unwrap())).fold(0, u64::wrapping_add)
}

fn sum_of(x: &Tensor<u64>) -> u64 {
    x.as_slice().iter().fold(0, |all: u64, number| all.wrapping_add(*number))
}

/// Where the numbers are: which file is mapped there, and how far from its beginning.
fn place_of(x: &Tensor<u64>) -> (String, usize) {
    let address = x.as_slice().as_ptr() as usize;
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let hex = |text: &str| usize::from_str_radix(text, 16).unwrap();
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (start, end) = fields[0].split_once('-').unwrap();
        if (hex(start)..hex(end)).contains(&address) {
            return (fields.get(5).unwrap_or(&"").to_string(), address - hex(start) + hex(fields[2]));
        }
    }
    panic!("no mapping at {address:x}");
}

/// Where a worker has seen an object.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seen {
    worker: u32,
    file: String,
    offset: usize,
}

/// Where the numbers are in this worker; it ends once so many workers have said so.
#[remote]
fn place(x: Tensor<u64>, folder: PathBuf, others: usize) -> Seen {
    let me = say_here(&folder);
    wait_until("the others run as well", || here(&folder).len() >= others);
    let (file, offset) = place_of(&x);
    Seen { worker: me, file, offset }
}

/// Reads, says so, and goes on reading until it may end.
#[remote]
fn reads(x: Tensor<u64>, folder: PathBuf) -> u64 {
    hold(&folder);
    x.as_slice()[0]
}

/// Says who it is, and makes what takes long to be written.
#[remote]
fn slow_to_write(folder: PathBuf, mib: usize) -> Tensor<u64> {
    let made = Tensor::full([mib * MIB / 8], 7);
    say_here(&folder);
    made
}

fn figures(card: &NodeCard) -> ObjectFigures {
    let found = find().unwrap().into_iter().find(|found| found.card.node == card.node).unwrap();
    ask(&found, Caller::Status).unwrap().objects
}

/// CPUs of a node that are leased to nobody.
fn free_cpus(card: &NodeCard) -> f64 {
    let found = find().unwrap().into_iter().find(|found| found.card.node == card.node).unwrap();
    ask(&found, Caller::Status).unwrap().nodes[0].load.free.of("CPU").units()
}

fn cards(cluster: &mut Cluster) -> Vec<NodeCard> {
    cluster.nodes().iter().map(|node| node.card.clone()).collect()
}

fn nothing_is_left(card: &NodeCard) {
    wait_until("its memory is free again", || {
        let figures = figures(card);
        (figures.used_bytes, figures.pinned_bytes, figures.objects) == (0, 0, 0)
    });
}

#[test]
fn a_large_value_is_read_in_place_by_all_processes_of_a_node() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 4.0)]]).unwrap();
    let card = cards(&mut cluster).remove(0);
    let rt = connect(cluster.address());
    let folder = tempfile::tempdir().unwrap();
    let x = make.remote(64, 1);
    let places: Vec<_> = (0..3).map(|_| place.remote(&x, folder.path().to_owned(), 3)).collect();
    let places = rt.get(&places).unwrap();
    let workers: BTreeSet<u32> = places.iter().map(|seen| seen.worker).collect();
    assert_eq!(workers.len(), 3);
    let mine = rt.get(&x).unwrap();
    let (file, offset) = place_of(&mine);
    assert!(file.starts_with("/dev/shm/actinic-"), "{file}");
    assert!(places.iter().all(|seen| seen.file == file && seen.offset == offset), "{places:?} and {file} {offset}");
    assert_eq!(mine.as_slice(), numbers(64, 1));
    let held = figures(&card);
    assert!((64 * MIB as u64..65 * MIB as u64).contains(&held.used_bytes), "it is there once: {held:?}");
    assert!(held.pinned_bytes >= 64 * MIB as u64, "{held:?}");
    drop((x, mine));
    nothing_is_left(&card);
}

#[test]
fn values_of_any_size_go_everywhere() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 2.0)]]).unwrap();
    let card = cards(&mut cluster).remove(0);
    let rt = connect(cluster.address());
    let local = Tensor::from_vec([40 * MIB / 8], numbers(40, 5)).unwrap();
    let expected = sum_of(&local);
    // By value, by a reference that was put, within a vector, and by a reference inside of a value.
    assert_eq!(rt.get(&sum.remote(local.clone())).unwrap(), expected);
    let put = rt.put(local).unwrap();
    assert_eq!(rt.get(&sum.remote(&put)).unwrap(), expected);
    let made = make.remote(40, 5);
    let all = vec![put.clone(), made.clone(), rt.put(Tensor::full([2], 1)).unwrap()];
    assert_eq!(rt.get(&sum_all.remote(all)).unwrap(), expected.wrapping_mul(2).wrapping_add(2));
    assert_eq!(rt.get(&sum_in.remote(vec![put.clone(), made.clone()])).unwrap(), expected.wrapping_mul(2));
    let vectors: Vec<_> = [9 * MIB, 3].map(|n| rt.put(vec![0.5_f32; n]).unwrap()).into();
    let (long, text) = (rt.put(vectors.len()).unwrap(), "x".repeat(MIB));
    let (of_vectors, of_text) = lengths.remote(vectors, text);
    assert_eq!((rt.get(&of_vectors).unwrap(), rt.get(&of_text).unwrap()), (vec![9 * MIB, 3], MIB));
    assert_eq!(rt.get(&long).unwrap(), 2);
    drop((put, made, long));
    nothing_is_left(&card);
}

#[test]
fn a_reader_or_writer_that_is_killed_leaves_nothing() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 2.0)]]).unwrap();
    let card = cards(&mut cluster).remove(0);
    let rt = connect(cluster.address());
    let folder = tempfile::tempdir().unwrap();
    let x = make.remote(16, 1);
    let held = reads.options().max_retries(0).remote(&x, folder.path().to_owned());
    wait_until("it reads", || !here(folder.path()).is_empty());
    drop(x);
    assert!(figures(&card).pinned_bytes >= 16 * MIB as u64);
    signal("-9", *here(folder.path()).first().unwrap());
    assert!(matches!(rt.get(&held).unwrap_err().kind(), TaskErrorKind::WorkerLost { .. }));
    drop(held);
    nothing_is_left(&card);

    let folder = tempfile::tempdir().unwrap();
    let slow = slow_to_write.options().max_retries(0).remote(folder.path().to_owned(), 512);
    wait_until("it has room", || figures(&card).objects > 0);
    signal("-9", *here(folder.path()).first().unwrap());
    let _ = rt.get(&slow);
    drop(slow);
    nothing_is_left(&card);
}

#[test]
fn a_driver_that_leaves_takes_its_objects_along() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    let card = cards(&mut cluster).remove(0);
    let rt = connect(cluster.address());
    let kept = (rt.put(Tensor::<u64>::full([MIB], 1)).unwrap(), make.remote(8, 1));
    rt.get(&kept.1).unwrap();
    assert!(figures(&card).used_bytes >= 16 * MIB as u64);
    drop(rt);
    nothing_is_left(&card);
    drop(kept);
}

#[test]
fn what_does_not_fit_is_spilled_and_what_never_fits_is_refused() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0), ("object_store_memory", 40.0 * MIB as f64)]]).unwrap();
    let card = cards(&mut cluster).remove(0);
    let rt = connect(cluster.address());
    let all: Vec<_> =
        (0..5).map(|n| rt.put(Tensor::from_vec([12 * MIB / 8], numbers(12, n)).unwrap()).unwrap()).collect();
    let figures = figures(&card);
    assert!(figures.spilled_bytes >= 12 * MIB as u64 && figures.used_bytes <= 40 * MIB as u64, "{figures:?}");
    for (first, object) in (0..).zip(&all) {
        assert_eq!(rt.get(object).unwrap().as_slice(), numbers(12, first));
    }
    let refused = rt.put(Tensor::<u64>::full([6 * MIB], 1)).unwrap_err().to_string();
    // What is read cannot make way.
    let read: Vec<_> = all[..3].iter().map(|object| rt.get(object).unwrap()).collect();
    let full = rt.put(Tensor::<u64>::full([12 * MIB / 8], 1)).unwrap_err().to_string();
    assert!(full.contains("no room") && full.contains("Drop values that view large objects"), "{full}");
    drop(read);
    assert!(refused.contains("never fits") && refused.contains("split the object"), "{refused}");
    drop(all);
    nothing_is_left(&card);
}

/// The segments whose lock or memory belongs to one of these processes.
fn segments_of(pids: &[u32]) -> Vec<String> {
    let names = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let of = |name: &String| pids.iter().any(|pid| name.contains(&format!("-{pid:x}-")));
    names.filter(of).collect()
}

#[test]
fn no_shared_memory_outlives_a_node_however_it_ends() {
    for killed in [false, true] {
        let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
        let pids = cluster.pids();
        let rt = connect(cluster.address());
        let x = make.remote(8, 1);
        let mine = rt.get(&x).unwrap();
        assert_eq!(segments_of(&pids).len(), 2, "the segment and its lock");
        if killed {
            cluster.nodes()[0].kill().unwrap();
        } else {
            drop(cluster);
        }
        wait_until("its memory is gone", || segments_of(&pids).is_empty());
        assert_eq!(mine.as_slice().len(), MIB, "what is read stays");
        assert!(rt.get_timeout(&sum.remote(&x), Duration::from_secs(20)).is_err());
    }
}

#[test]
fn nodes_of_one_machine_read_each_other_s_objects_in_place() {
    let one = |name| [("CPU", 1.0), (name, 1.0)];
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &one("b"), &one("c")]).unwrap();
    let cards = cards(&mut cluster);
    let rt = connect(cluster.address());
    let folder = tempfile::tempdir().unwrap();
    let x = make.options().resource("b", 1.0).remote(64, 3);
    let seen = |name| place.options().resource(name, 1.0).remote(&x, folder.path().to_owned(), 0);
    let [at_home, beside] = [seen("b"), seen("c")].map(|seen| rt.get(&seen).unwrap());
    let mine = rt.get(&x).unwrap();
    let of_b = format!("-{:x}-", cards[1].pid);
    assert!(at_home.file.contains(&of_b), "{at_home:?}");
    assert_eq!((&beside.file, beside.offset), (&at_home.file, at_home.offset));
    assert_eq!(place_of(&mine), (at_home.file, at_home.offset));
    assert_eq!(mine.as_slice(), numbers(64, 3));
    for (card, bytes) in cards.iter().zip([0, 64 * MIB as u64, 0]) {
        let figures = figures(card);
        assert!((bytes..=bytes + 4_096).contains(&figures.used_bytes), "{figures:?}");
        assert_eq!((figures.sent_bytes, figures.fetched_bytes), (0, 0), "nothing is sent");
    }
    drop(x);
    assert!(figures(&cards[1]).pinned_bytes >= 64 * MIB as u64, "what is read stays, though nobody needs it any more");
    drop(mine);
    cards.iter().for_each(nothing_is_left);
}

#[test]
fn what_is_read_in_a_neighbour_s_memory_stays_as_it_is_though_the_reader_s_node_is_lost() {
    let lender = [("CPU", 1.0), ("b", 1.0), ("object_store_memory", 64.0 * MIB as f64)];
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &lender, &[("CPU", 1.0), ("c", 1.0)]]).unwrap();
    let cards = cards(&mut cluster);
    let rt = connect(&cards[2].address);
    let x = make.options().resource("b", 1.0).remote(24, 3);
    let mine = rt.get(&x).unwrap();
    assert!(place_of(&mine).0.contains(&format!("-{:x}-", cards[1].pid)));
    // The object's owner is gone with its node, as far as the lender knows; but the process that reads lives.
    cluster.nodes()[2].kill().unwrap();
    let other = connect(&cards[1].address);
    wait_until("the lender knows that the borrower is lost", || figures(&cards[1]).objects == 0);
    let filled = |first| other.put(Tensor::from_vec([12 * MIB / 8], numbers(12, first)).unwrap()).unwrap();
    // All that is free is written to, several times.
    for round in 0..3 {
        let all: Vec<_> = (0..3).map(|n| filled(1_000 + 10 * round + n)).collect();
        assert!(other.get(&all[0]).unwrap().as_slice() == numbers(12, 1_000 + 10 * round));
        wait_until("it is there", || figures(&cards[1]).used_bytes >= 60 * MIB as u64);
        drop(all);
        // Else what comes next sends what is dropped to the disk.
        wait_until("it is dropped", || figures(&cards[1]).used_bytes < 36 * MIB as u64);
    }
    assert!(mine.as_slice() == numbers(24, 3), "it is what it was");
    drop(mine);
    nothing_is_left(&cards[1]);
    drop((x, rt));
}

#[test]
fn a_large_value_goes_straight_to_the_node_that_needs_it() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    cluster.add_node_apart(&[("CPU", 1.0), ("b", 1.0)]).unwrap();
    cluster.add_node_apart(&[("CPU", 1.0), ("c", 1.0)]).unwrap();
    let cards = cards(&mut cluster);
    let rt = connect(cluster.address());
    let x = make.options().resource("b", 1.0).remote(256, 3);
    let there = sum.options().resource("c", 1.0).remote(&x);
    let expected = numbers(256, 3).iter().fold(0_u64, |all: u64, number| all.wrapping_add(*number));
    assert_eq!(rt.get(&there).unwrap(), expected);
    let [a, b, c] = [0, 1, 2].map(|node| figures(&cards[node]));
    assert_eq!((a.fetched_bytes, a.used_bytes), (0, 0), "the owner's node has not seen it");
    assert_eq!((b.sent_bytes, c.fetched_bytes), (c.fetched_bytes, b.sent_bytes));
    assert!((256 * MIB as u64..257 * MIB as u64).contains(&b.sent_bytes), "once: {b:?}");
    assert_eq!(sum_of(&rt.get(&x).unwrap()), expected);
    drop(x);
    cards.iter().for_each(nothing_is_left);
}

#[test]
fn a_task_goes_to_where_its_large_argument_is() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 2.0)]]).unwrap();
    cluster.add_node_apart(&[("CPU", 2.0), ("b", 1.0)]).unwrap();
    let cards = cards(&mut cluster);
    let rt = connect(cluster.address());
    let x = make.options().resource("b", 1.0).remote(128, 3);
    // Its workers are up: to start one may take longer than to bring the object.
    let folder = tempfile::tempdir().unwrap();
    let there = || place.options().resource("b", 0.5).remote(&x, folder.path().to_owned(), 2);
    rt.get(&[there(), there()]).unwrap();
    wait_until("they are free", || free_cpus(&cards[1]) == 2.0);
    rt.get(&sum.remote(&x)).unwrap();
    assert_eq!(figures(&cards[0]).fetched_bytes, 0, "the task went to the object, not the object to the task");
}

#[test]
fn a_node_lost_while_it_sends_is_replaced_by_another_copy() {
    another_copy_serves_where_the_sender(|node| node.kill().unwrap());
}

/// As if its machine had been cut off: nothing says that it is gone but its silence.
#[test]
fn a_node_that_stops_while_it_sends_is_replaced_by_another_copy() {
    another_copy_serves_where_the_sender(|node| signal("-STOP", node.pid()));
}

fn another_copy_serves_where_the_sender(is_lost: fn(&mut LocalNode)) {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    for name in ["b", "c", "d"] {
        cluster.add_node_apart(&[("CPU", 1.0), (name, 1.0)]).unwrap();
    }
    let cards = cards(&mut cluster);
    let rt = connect(cluster.address());
    let x = make.options().resource("b", 1.0).remote(256, 9);
    let copied = rt.get(&sum.options().resource("c", 1.0).remote(&x)).unwrap();
    let before = [1, 2].map(|node| figures(&cards[node]).sent_bytes);
    let again = sum.options().resource("d", 1.0).remote(&x);
    let mut sender = None;
    let deadline = Instant::now() + Duration::from_secs(60);
    while sender.is_none() {
        assert!(Instant::now() < deadline, "nobody sends");
        sender = [1, 2].into_iter().find(|node| figures(&cards[*node]).sent_bytes > before[node - 1] + 32 * MIB as u64);
    }
    let sender = sender.unwrap();
    let part = figures(&cards[3]).fetched_bytes;
    is_lost(&mut cluster.nodes()[sender]);
    assert_eq!(rt.get(&again).unwrap(), copied);
    let other = figures(&cards[3 - sender]);
    let sent = other.sent_bytes - before[2 - sender];
    println!("{} of 256 MiB had come when the sender was lost; the other copy sent {}", part >> 20, sent >> 20);
    assert!(sent + part <= 257 * MIB as u64, "it went on where it had stopped");
}

#[test]
fn a_broadcast_is_sent_on_by_those_who_have_it() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    for name in ["b", "c", "d", "e"] {
        cluster.add_node_apart(&[("CPU", 1.0), (name, 1.0)]).unwrap();
    }
    let cards = cards(&mut cluster);
    let rt = connect(cluster.address());
    let x = rt.put(Tensor::from_vec([64 * MIB / 8], numbers(64, 2)).unwrap()).unwrap();
    let sums: Vec<_> = ["b", "c", "d", "e"].map(|name| sum.options().resource(name, 1.0).remote(&x)).into();
    let sums = rt.get(&sums).unwrap();
    assert!(sums.iter().all(|found| *found == sums[0]));
    let sent: Vec<u64> = cards.iter().map(|card| figures(card).sent_bytes).collect();
    println!("MiB sent by each node: {:?}", sent.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>());
    let all = sent.iter().sum::<u64>();
    assert!((4 * 64 * MIB as u64..4 * 65 * MIB as u64).contains(&all), "each node got it once: {sent:?}");
    assert!(sent[0] < 4 * 64 * MIB as u64, "not all had it from the first: {sent:?}");
    drop(x);
    cards.iter().for_each(nothing_is_left);
}
