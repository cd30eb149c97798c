//! Under which name a worker writes: that of the task or actor at hand, told without a word between the processes.
//!
//! Owns: the page that a worker shares with its node. The worker puts the name of what it runs there when that changes; the
//! node looks at it when bytes come out of the worker's pipes. A file in the node's folder, so that the name of a worker that
//! has crashed can still be read with its last words.
//!
//! Which bytes are whose: a worker does not put another name there while its pipes hold bytes that the node has not read, for
//! up to `DRAIN_MAX`; and the node looks after a pipe has bytes and before it reads them. So all bytes of a read were
//! written under the name that the look found. A worker that has never written anything by its `ASKED_MAX`th name stops
//! asking its pipes, until the node says that it has written (`PRINTED`): from then on, tasks that write nothing cost it
//! no system call at all.
//!
//! ```text
//!  word  0        1                       2               3 ..
//!        version  it has written before   bytes of name   the name
//!        odd while it changes; even else  (the node's)
//! ```
//!
//! Invariants: the page has one writer, the worker, but for the word that is the node's; a name is read whole or not at all.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::{
        atomic::{fence, AtomicBool, AtomicU64, Ordering},
        OnceLock,
    },
    time::{Duration, Instant},
};

use actinic_gcs::{ActorId, WorkerId};
use parking_lot::Mutex;

use crate::{
    context::Frame,
    store::page::{Page, PAGE_BYTES},
    task::TaskKind,
};

/// Bytes of a name; the rest is cut off.
const NAME_BYTES_MAX: usize = 256;
/// How long a worker waits for its node to read what was written under the name before.
const DRAIN_MAX: Duration = Duration::from_millis(200);
/// Between two looks whether it has.
const DRAIN_LOOK: Duration = Duration::from_micros(50);
/// How many names a worker that has written nothing yet asks its pipes for.
const ASKED_MAX: u64 = 4_096;
/// Attempts to read a name that changes.
const READS_MAX: usize = 8;

const VERSION: usize = 0;
const PRINTED: usize = 1;
const LENGTH: usize = 2;
const NAME: usize = 3;

fn path_of(socket: &Path, worker: WorkerId) -> PathBuf {
    socket.with_file_name(format!("w{}.name", worker.0))
}

/// A name as people read it: without its modules.
fn short(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

// --- the node's side ---------------------------------------------------------------------------------------------------

/// A worker's page, as its node sees it; the file goes with it.
pub(super) struct Byline {
    file: File,
    path: PathBuf,
    printed: AtomicBool,
}

impl Byline {
    /// Makes the page of a worker that is about to be started by the node with this socket.
    pub(super) fn make(socket: &Path, worker: WorkerId) -> io::Result<Self> {
        let path = path_of(socket, worker);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.set_len(PAGE_BYTES as u64)?;
        Ok(Self { file, path, printed: AtomicBool::new(false) })
    }

    /// The name now; none while nothing has begun.
    pub(super) fn look(&self) -> Option<String> {
        if !self.printed.swap(true, Ordering::Relaxed) {
            // If that fails, first words may bear another's name.
            let _ = self.file.write_at(&1_u64.to_ne_bytes(), 8 * PRINTED as u64);
        }
        let mut before = self.read()?;
        for _ in 0..READS_MAX {
            let again = self.read()?;
            if before == again && word(&again, VERSION).is_multiple_of(2) {
                return name_in(&again);
            }
            before = again;
        }
        None
    }

    fn read(&self) -> Option<[u8; PAGE_BYTES]> {
        let mut bytes = [0; PAGE_BYTES];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        Some(bytes)
    }
}

impl Drop for Byline {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The name in a page that does not change: nothing of it is believed, for its worker may write to it what it likes.
pub(crate) fn name_in(page: &[u8; PAGE_BYTES]) -> Option<String> {
    let length = usize::try_from(word(page, LENGTH)).unwrap_or(0).min(NAME_BYTES_MAX);
    let name = &page[8 * NAME..8 * NAME + length];
    (length > 0).then(|| String::from_utf8_lossy(name).into_owned())
}

fn word(bytes: &[u8; PAGE_BYTES], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[8 * at..8 * at + 8]);
    u64::from_ne_bytes(word)
}

// --- the worker's side -------------------------------------------------------------------------------------------------

/// Whether this process has such a page.
static HAS_PAGE: AtomicBool = AtomicBool::new(false);
static AT_HAND: OnceLock<Mutex<AtHand>> = OnceLock::new();
static NEXT_THREAD: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static THREAD: u64 = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Author {
    Function(&'static str),
    Actor(ActorId, &'static str),
}

impl Author {
    fn is(self, other: Self) -> bool {
        match (self, other) {
            // The name stands for the function, and its address for the name.
            (Self::Function(own), Self::Function(other)) => std::ptr::eq(own, other),
            (Self::Actor(own, _), Self::Actor(other, _)) => own == other,
            _ => false,
        }
    }
}

/// What runs in this process.
struct AtHand {
    page: Page,
    /// By which thread, in the order in which they began.
    running: Vec<(u64, Author)>,
    shown: Option<Author>,
    actors: BTreeMap<ActorId, String>,
    asked: u64,
}

/// A worker of the node with this socket takes its page up.
///
/// # Errors
/// That it cannot be mapped; its lines then bear the worker's name only.
pub fn take_up(socket: &Path, worker: WorkerId) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path_of(socket, worker))?;
    let (page, actors) = (Page::of(&file)?, BTreeMap::new());
    let at_hand = AtHand { page, running: Vec::new(), shown: None, actors, asked: 0 };
    let fresh = AT_HAND.set(Mutex::new(at_hand)).is_ok();
    HAS_PAGE.store(fresh, Ordering::Release);
    Ok(())
}

fn at_hand() -> Option<&'static Mutex<AtHand>> {
    HAS_PAGE.load(Ordering::Relaxed).then(|| AT_HAND.get()).flatten()
}

/// A task begins or goes on, on this thread.
pub(crate) fn begins(frame: &Frame) {
    let Some(at_hand) = at_hand() else { return };
    let kind = frame.task.as_ref().map(|task| task.head().kind);
    let author = match kind {
        Some(TaskKind::Method(actor) | TaskKind::Creation(actor)) => Author::Actor(actor, frame.name),
        _ => Author::Function(frame.name),
    };
    let mut at_hand = at_hand.lock();
    at_hand.running.push((THREAD.with(|thread| *thread), author));
    at_hand.show(author);
}

/// The task that began last on this thread has ended, or waits to go on.
pub(crate) fn ends() {
    let Some(at_hand) = at_hand() else { return };
    let me = THREAD.with(|thread| *thread);
    let mut at_hand = at_hand.lock();
    if let Some(at) = at_hand.running.iter().rposition(|(thread, _)| *thread == me) {
        at_hand.running.remove(at);
    }
    // What it leaves behind on threads of its own still writes under its name, until something else begins.
    if let Some((_, author)) = at_hand.running.last().copied() {
        at_hand.show(author);
    }
}

/// An actor lives here from now on.
pub(crate) fn hosts(actor: ActorId, class: &str, name: Option<&str>) {
    let Some(at_hand) = at_hand() else { return };
    let class = short(class);
    let shown = name.map_or_else(|| class.to_owned(), |name| format!("{class}:{name}"));
    at_hand.lock().actors.insert(actor, shown);
}

/// It lives here no more.
pub(crate) fn hosts_no_more(actor: ActorId) {
    if let Some(at_hand) = at_hand() {
        at_hand.lock().actors.remove(&actor);
    }
}

impl AtHand {
    fn show(&mut self, author: Author) {
        if self.shown.is_some_and(|shown| shown.is(author)) {
            return;
        }
        let words = self.page.words();
        let printed = words[PRINTED].load(Ordering::Relaxed) != 0;
        if printed || self.asked < ASKED_MAX {
            self.asked += 1;
            until_all_is_read();
        }
        self.shown = Some(author);
        let name = match author {
            Author::Function(name) => short(name),
            Author::Actor(actor, method) => match self.actors.get(&actor) {
                Some(name) => name,
                None => short(method.rsplit_once("::").map_or(method, |(class, _)| class)),
            },
        };
        let bytes = &name.as_bytes()[..name.len().min(NAME_BYTES_MAX)];
        let version = words[VERSION].load(Ordering::Relaxed);
        words[VERSION].store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        words[LENGTH].store(bytes.len() as u64, Ordering::Relaxed);
        for (part, word) in bytes.chunks(8).zip(&words[NAME..]) {
            let mut padded = [0; 8];
            padded[..part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        words[VERSION].store(version + 2, Ordering::Release);
    }
}

/// Waits until the node has read all that this process has written, but not for long.
fn until_all_is_read() {
    let unread = |pipe: &dyn AsFd| rustix::io::ioctl_fionread(pipe.as_fd()).is_ok_and(|bytes| bytes > 0);
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let is_unread = || unread(&stdout) || unread(&stderr);
    if !is_unread() {
        return;
    }
    let until = Instant::now() + DRAIN_MAX;
    while is_unread() && Instant::now() < until {
        std::thread::sleep(DRAIN_LOOK);
    }
}

#[cfg(test)]
mod tests;
