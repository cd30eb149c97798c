//! Several shards, each a group of its own, led by different processes: one client speaks to all of them, and what it asks
//! of several at once is answered as if there were one. A subscriber of all of them hears of each change once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use actinic_gcs::{
    shard::{shard_of, Change, Filter},
    tables::{keys, ObjectRead, ObjectWrite, PageRequest, Reply},
    JobId, ObjectId, TaskId,
};
use actinic_gcs_tests::{
    client::Client,
    cluster::{eventually, Cluster, Contacts, REPLICAS},
    duration,
    rng::Rng,
    seed, trouble,
};
use bytes::Bytes;

use super::PROGRAM;

const SHARDS: usize = 4;
const CLIENTS: u64 = 3;
const NAMESPACE: &str = "shards";
/// Objects that one read asks for.
const ASKED: usize = 60;

fn object(number: u64) -> ObjectId {
    ObjectId { task: TaskId::driver(JobId(1)).child(number), index: 0 }
}

/// Lets the shards be led by as many processes as can be.
fn spread(cluster: &Cluster) {
    (0..SHARDS).for_each(|shard| cluster.make_leader(shard, shard % REPLICAS));
}

/// What one client was told that it had written: keys, and numbers of objects.
#[derive(Default)]
struct Written {
    keys: Vec<String>,
    objects: Vec<u64>,
}

/// What a subscriber to all keys has heard.
struct Subscriber {
    _client: Client,
    changes: mpsc::Receiver<Change>,
    /// How often it was told of each key.
    keys: BTreeMap<String, u32>,
    /// The last number of each shard.
    last: BTreeMap<usize, u64>,
}

impl Subscriber {
    fn begin(contacts: &Contacts) -> Self {
        let client = Client::connect(contacts, NAMESPACE);
        let (tell, changes) = mpsc::channel();
        client.gcs().subscribe(Filter::values(NAMESPACE, b""), move |change| drop(tell.send(change)));
        // Answered after the subscription, by every shard.
        assert!(client.keys("").is_empty());
        Self { _client: client, changes, keys: BTreeMap::new(), last: BTreeMap::new() }
    }

    fn listen(&mut self) {
        for Change { sequence, key, .. } in self.changes.try_iter() {
            let key = String::from_utf8(key[2 + NAMESPACE.len()..].to_vec()).unwrap();
            let last = self.last.entry(shard_of_key(&key)).or_default();
            assert!(sequence > *last, "change {sequence} of {key} is told after change {last}");
            *last = sequence;
            *self.keys.entry(key).or_default() += 1;
        }
    }
}

fn shard_of_key(key: &str) -> usize {
    shard_of(keys::hash_scoped(NAMESPACE, key.as_bytes()), SHARDS)
}

fn work(contacts: &Contacts, number: u64, mut rng: Rng, stop: &AtomicBool) -> Written {
    let client = Client::connect(contacts, NAMESPACE);
    let (mut written, mut count) = (Written::default(), 0);
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let key = format!("{number}/{count:06}");
        if let Ok(stored) = client.put_new(&key, Bytes::from(key.clone())) {
            assert!(stored, "{key} was put for the first time, and is there already: it was put twice");
            written.keys.push(key);
        }
        let size = number << 32 | count;
        match client.gcs().write(ObjectWrite::SetSize { object: object(size), size_bytes: size }) {
            Ok(Reply::Done) => written.objects.push(size),
            Ok(other) => panic!("a size is answered {other:?}"),
            Err(_) => {}
        }
        if rng.chance(5) && !written.objects.is_empty() {
            let asked: Vec<u64> = (0..ASKED).map(|_| written.objects[rng.index(written.objects.len())]).collect();
            are_there(&client, &asked);
        }
    }
    written
}

/// Asks for objects of any shards in one read; each is there, in its place.
fn are_there(client: &Client, numbers: &[u64]) {
    let reply = client.ask(ObjectRead::Get(numbers.iter().map(|number| object(*number)).collect()));
    let Reply::Objects(found) = reply else { panic!("objects are answered {reply:?}") };
    assert_eq!(found.len(), numbers.len());
    for (info, number) in found.into_iter().zip(numbers) {
        let info = info.unwrap_or_else(|| panic!("object {number:x} was acknowledged and is lost"));
        assert_eq!((info.id, info.size_bytes), (object(*number), Some(*number)));
    }
}

/// All objects there are, page by page.
fn all_objects(client: &Client) -> Vec<ObjectId> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let reply = client.ask(ObjectRead::List(PageRequest { after, limit: 64 }));
        let Reply::ObjectPage(page) = reply else { panic!("a list of objects is answered {reply:?}") };
        all.extend(page.items.into_iter().map(|info| info.id));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

#[test]
fn one_client_of_many_shards_reads_and_lists_all_of_them_whoever_is_killed() {
    let mut rng = Rng::new(seed("shards"));
    let mut cluster = Cluster::start(PROGRAM, SHARDS);
    let contacts = cluster.contacts().clone();
    drop(contacts.client());
    spread(&cluster);
    let leaders: BTreeSet<usize> = (0..SHARDS).filter_map(|shard| cluster.leader(shard)).collect();
    assert_eq!(leaders.len(), REPLICAS, "the shards are led by different processes");
    let mut subscriber = Subscriber::begin(&contacts);
    let stop = AtomicBool::new(false);
    let (troubles, written) = thread::scope(|scope| {
        let (contacts, stop) = (&contacts, &stop);
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|number| (number, rng.fork()))
            .map(|(number, rng)| scope.spawn(move || work(contacts, number, rng, stop)))
            .collect();
        let troubles = trouble::make(&mut cluster, &mut rng, duration());
        stop.store(true, Ordering::Relaxed);
        (troubles, clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>())
    });
    cluster.kill(&[0, 1, 2]);
    cluster.spawn_all();
    let client = Client::connect(&contacts, NAMESPACE);
    let (mut found, mut acknowledged) = (client.keys(""), BTreeSet::new());
    for Written { keys, objects } in &written {
        acknowledged.extend(keys.iter().cloned());
        objects.chunks(4_000).for_each(|numbers| are_there(&client, numbers));
    }
    assert!(found.is_sorted_by(|one, other| one < other), "each key once, in order");
    let spread_over: BTreeSet<usize> = found.iter().map(|key| shard_of_key(key)).collect();
    assert_eq!(spread_over.len(), SHARDS, "every shard has keys");
    let listed = all_objects(&client);
    assert!(listed.is_sorted_by(|one, other| one < other), "each object once, in order");
    let objects: BTreeSet<ObjectId> =
        written.iter().flat_map(|written| written.objects.iter().map(|number| object(*number))).collect();
    assert!(objects.is_subset(&listed.into_iter().collect()), "an object that was acknowledged is not listed");
    eventually("the subscriber has heard of every key that is there", || {
        subscriber.listen();
        found.iter().all(|key| subscriber.keys.contains_key(key)).then_some(())
    });
    assert!(subscriber.keys.values().all(|times| *times == 1), "each key was put once: {:?}", subscriber.keys);
    let (keys, objects) = (acknowledged.len(), objects.len());
    found.retain(|key| acknowledged.remove(key));
    assert!(acknowledged.is_empty(), "acknowledged and lost: {acknowledged:?}");
    println!("shards: {keys} keys and {objects} objects acknowledged on {SHARDS} shards; {troubles}");
    assert!(keys > 50 && objects > 50, "hardly anything happened");
}
