//! A full disk: the replica on it steps aside and says why, the others go on, and once there is room it comes back.
//!
//! The disk is a small tmpfs in a mount namespace of the replica's own process, so it goes with that, however it ends.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use actinic_gcs_tests::{
    client::Client,
    cluster::{eventually, Cluster},
    replica::Spec,
};
use bytes::Bytes;

use super::PROGRAM;

const DEVICE_BYTES: usize = 64 << 20;
const BALLAST_BYTES: usize = 40 << 20;
const VALUE_BYTES: usize = 64 << 10;
/// Larger than the device, so that it gets full for sure.
const VALUES_MAX: u32 = 2_000;

/// A command that runs `program` with a device of its own mounted on `folder`.
fn on_small_device(program: &Command, folder: &Path) -> Command {
    let script = format!("mount -t tmpfs -o size={DEVICE_BYTES} tmpfs \"$0\" && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    command.arg(folder).arg(program.get_program()).args(program.get_args());
    command
}

fn can_mount(folder: &Path) -> bool {
    on_small_device(&Command::new("true"), folder).output().is_ok_and(|output| output.status.success())
}

fn value(number: u32) -> Bytes {
    // Nothing that could be made smaller.
    let mut rng = actinic_gcs_tests::rng::Rng::new(u64::from(number));
    (0..VALUE_BYTES / 8).flat_map(|_| rng.draw().to_le_bytes()).collect::<Vec<u8>>().into()
}

fn key(number: u32) -> String {
    format!("{number:06}")
}

#[test]
fn a_replica_with_a_full_disk_steps_aside_says_why_and_comes_back() {
    let mut cluster = Cluster::prepare(PROGRAM, 1);
    let device = cluster.root().join("device");
    std::fs::create_dir(&device).unwrap();
    if !can_mount(&device) {
        eprintln!(
            "skipped a_replica_with_a_full_disk_steps_aside_says_why_and_comes_back: no tmpfs can be mounted here"
        );
        return;
    }
    *cluster.spec_mut(0) = Spec { folder: device.join("replica"), small: true, ..cluster.spec(0).clone() };
    let command = on_small_device(&cluster.command(cluster.spec(0)), &device);
    cluster.spawn(1);
    cluster.spawn(2);
    cluster.spawn_by(0, command);
    // The device as the process sees it.
    let seen = PathBuf::from(format!("/proc/{}/root", cluster.process(0))).join(device.strip_prefix("/").unwrap());
    let ballast = seen.join("ballast");
    File::create(&ballast).unwrap().write_all(&vec![1; BALLAST_BYTES]).unwrap();
    let client = Client::connect(cluster.contacts(), "full");
    cluster.make_leader(0, 0);

    let mut acknowledged = Vec::new();
    let mut put = |number: u32| {
        if client.put_new(&key(number), value(number)) == Ok(true) {
            acknowledged.push(number);
        }
    };
    let mut number = 0;
    let trouble = loop {
        assert!(number < VALUES_MAX, "the device never gets full");
        put(number);
        number += 1;
        if number % 8 > 0 {
            continue;
        }
        if let Some(trouble) = cluster.replica(0, 0).and_then(|replica| replica.trouble) {
            break trouble;
        }
    };
    println!("full disk: after {number} values: {trouble}");
    assert!(trouble.contains("No space left on device"), "it says why: {trouble}");
    assert!(trouble.contains("make room on its device"), "and what to do: {trouble}");
    cluster.process(0);
    // Who led has handed over, and the others go on without it.
    let leader = eventually("another one leads", || cluster.leader(0).filter(|place| *place != 0));
    (number..number + 50).for_each(&mut put);
    cluster.process(0);
    assert_eq!(cluster.replica(leader, 0).unwrap().trouble, None);

    std::fs::remove_file(ballast).unwrap();
    let committed = cluster.replica(leader, 0).unwrap().committed;
    eventually("it is back, and has caught up", || {
        let replica = cluster.replica(0, 0)?;
        (replica.trouble.is_none() && replica.applied >= committed).then_some(())
    });
    put(number + 50);
    // It leads again, and so answers from its own rows; the others are gone for good.
    cluster.make_leader(0, 0);
    let after = number + 51;
    put(after);
    for number in &acknowledged {
        assert_eq!(client.get(&key(*number)), Some(value(*number)), "value {number} was acknowledged");
    }
    assert!(acknowledged.contains(&after) && acknowledged.len() > 20, "{} acknowledged", acknowledged.len());
    println!("full disk: {} values acknowledged, all are there", acknowledged.len());
}
