//! Killed owners, full disks and damaged files.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use super::*;

/// Set for the process that is to be killed: where to spill.
const VICTIM_BASE: &str = "ACTINIC_TEST_STORE_VICTIM";
const READY: &str = "the victim's segment: ";

/// Not a test by itself: what the process that is to be killed runs.
#[test]
fn a_victim_puts_and_spills_and_waits_to_be_killed() {
    let Some(base) = std::env::var_os(VICTIM_BASE) else { return };
    let config = StoreConfig { capacity_bytes: 2 * MIB, spill_dir: Some(base.into()), ..StoreConfig::default() };
    let store = ObjectStore::open(config).unwrap();
    let objects: Vec<_> = (0..3).map(|n| store.put(id(n), encode_owned(vec![0_u8; MIB]).unwrap()).unwrap()).collect();
    println!("\n{READY}{}", store.segment().unwrap().name());
    // Until the end of its input, which comes only with the parent's death or its kill.
    let _ = std::io::stdin().lines().next();
    drop(objects);
}

struct Victim {
    process: Child,
    segment: String,
}

impl Victim {
    fn start(base: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::tests::faults::a_victim_puts_and_spills_and_waits_to_be_killed"])
            .env(VICTIM_BASE, base)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let segment = lines.map(|line| line.unwrap()).find_map(|line| line.strip_prefix(READY).map(str::to_owned));
        Self { process, segment: segment.expect("the victim says when it is ready") }
    }

    /// What of its things is there: segment, its lock, spill folder and its lock.
    fn traces(&self, base: &Path) -> usize {
        let exists = |path: PathBuf| usize::from(path.exists());
        let in_base = fs::read_dir(base).unwrap().count();
        exists(shm::folder().join(&self.segment)) + exists(lock_of(&self.segment)) + in_base
    }
}

fn lock_of(segment: &str) -> PathBuf {
    shm::folder().join(format!("{segment}.lock"))
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_killed_process_left_is_reclaimed_and_what_a_live_one_has_is_not() {
    let base = tempfile::tempdir().unwrap();
    let open = || {
        let spill_dir = Some(base.path().to_owned());
        ObjectStore::open(StoreConfig { capacity_bytes: MIB, spill_dir, ..StoreConfig::default() }).unwrap()
    };
    let mut victim = Victim::start(base.path());
    drop(open());
    assert_eq!(victim.traces(base.path()), 4, "a live process keeps what it has");
    victim.process.kill().unwrap();
    victim.process.wait().unwrap();
    drop(open());
    assert_eq!(victim.traces(base.path()), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn two_stores_at_once_do_not_hurt_each_other_and_leave_nothing() {
    use std::os::unix::fs::PermissionsExt;

    let (first, second) = (Fixture::new(2 * MIB), Fixture::new(2 * MIB));
    let objects: Vec<_> = (0..4).map(|n| (n, first.put(n, MIB - 100), second.put(n + 100, MIB - 100))).collect();
    let segments = [&first, &second].map(|fixture| fixture.store.segment().unwrap().name().to_owned());
    drop(Fixture::new(MIB));
    for (n, one, other) in &objects {
        assert_holds(one, *n, MIB - 100);
        assert_holds(other, n + 100, MIB - 100);
    }
    for segment in &segments {
        let mode = fs::metadata(shm::folder().join(segment)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let folder = first.files()[0].parent().unwrap().to_owned();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    drop((objects, first, second));
    assert!(!folder.exists());
    for segment in &segments {
        assert!(!shm::folder().join(segment).exists() && !lock_of(segment).exists());
    }
}

#[test]
fn at_the_bound_on_spilled_bytes_a_put_fails_and_nothing_is_lost() {
    let fixture = Fixture::with(4 * MIB, |config| {
        config.spill_bytes_max = Some(2 * MIB as u64);
        config.put_timeout = Duration::from_millis(1);
    });
    let mut objects = Vec::new();
    let error = loop {
        match fixture.try_put(objects.len() as u32, MIB - 4096) {
            Ok(object) => objects.push(object),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { spill: Some(SpillError::Limit { .. }), .. }), "{error:?}");
    assert!(error.to_string().contains("raise `spill_bytes_max`"), "{error}");
    assert!(objects.len() >= 5);
    objects.remove(0);
    let object = fixture.put(100, MIB - 4096);
    assert_holds(&object, 100, MIB - 4096);
}

/// A file system of one mebibyte, where this process may mount one.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path()).output().ok()?;
        mounted.status.success().then_some(Self(folder))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_a_clear_error_and_the_objects_stay_in_memory() {
    let Some(disk) = TinyDisk::mount() else {
        println!("skipped: this process may not mount a file system");
        return;
    };
    let fixture = Fixture::with(4 * MIB, |config| {
        config.spill_dir = Some(disk.0.path().to_owned());
        config.put_timeout = Duration::from_millis(1);
    });
    let objects: Vec<_> = (0..6).map(|n| fixture.put(n, 700_000)).collect();
    let error = fixture.try_put(6, 700_000).unwrap_err();
    assert!(matches!(error, StoreError::Full { spill: Some(SpillError::DiskFull { .. }), .. }), "{error:?}");
    let background = fixture.store.spill_over_high_water().unwrap_err();
    assert!(matches!(background, StoreError::Spill(SpillError::DiskFull { .. })), "{background:?}");
    let in_memory = objects.iter().enumerate().skip(1);
    in_memory.for_each(|(n, object)| assert_holds(object, n as u32, 700_000));
    drop(objects);
    assert_holds(&fixture.put(7, 3 * MIB), 7, 3 * MIB);
}

#[test]
fn a_damaged_file_is_detected_and_the_others_are_read() {
    let fixture = Fixture::new(2 * MIB);
    let objects: Vec<_> = (0..5).map(|n| fixture.put(n, MIB)).collect();
    let mut files = fixture.files();
    files.sort();
    let [flipped, cut, gone, ..] = &files[..] else { panic!("{files:?}") };
    let mut bytes = fs::read(flipped).unwrap();
    bytes[500_000] ^= 1;
    fs::write(flipped, bytes).unwrap();
    fs::OpenOptions::new().write(true).open(cut).unwrap().set_len(500_000).unwrap();
    fs::remove_file(gone).unwrap();
    for object in &objects[..3] {
        let error = object.parts().unwrap_err();
        assert!(matches!(error, StoreError::Spill(SpillError::Corrupt { .. })), "{error:?}");
    }
    for (n, object) in objects.iter().enumerate().skip(3) {
        assert_holds(object, n as u32, MIB);
    }
}
