//! The lines of a process to others of its cluster, for tasks, calls and small objects.
//!
//! Owns: the sockets' poll, and who polls: no thread of its own, but whichever has nothing else to do. A worker's idle thread
//! reads a task and runs it on the spot; a thread that waits in `get` reads its result itself. So one task in another process
//! costs two wake-ups, one in each process, as a round trip of plain bytes does. (Waking a thread costs more than an empty
//! task; connections that are read by a thread of their own cost twice as many.) Does not own what comes in
//! ([`line::Listener`]), nor when a thread is woken or added for want of a leader ([`crate::pool::core`]).
//!
//! Invariants: while there are lines, one thread polls them, or looks go on that will appoint one; the lead is never held
//! while user code runs, unless that code gives it up where it waits.

pub mod channel;
pub mod core;
pub mod line;
pub mod patience;
pub mod pulse;

use std::{
    cell::RefCell,
    io,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Weak,
    },
    time::{Duration, Instant},
};

use mio::{Events, Poll, Registry, Token, Waker};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;

use self::{
    channel::Channel,
    core::{Follower, LeadCore, Looked},
    line::{Line, Listener},
    patience::Patience,
};
use crate::{
    cell::{Poke, Signal, Waited},
    node::Node,
};

/// Names the waker among the lines.
const WAKER: Token = Token(usize::MAX);
/// Events of one round.
const EVENTS: usize = 64;
/// Reads of the line on which something came last, between looks at all of them: a read alone finds it half a microsecond sooner.
const READS: usize = 4;
/// Between looks for those who take nothing, or say nothing.
const ROUND_MAX: Duration = Duration::from_secs(1);

thread_local! {
    /// The lines whose lead this thread has.
    static LEADS: RefCell<Option<Arc<Lines>>> = const { RefCell::new(None) };
}

/// The lead, as long as a thread has it; however that ends, somebody else takes it over then.
struct Leading<'a>(&'a Arc<Lines>);

impl<'a> Leading<'a> {
    /// The calling thread has it from now on.
    fn begin(lines: &'a Arc<Lines>) -> Self {
        LEADS.set(Some(lines.clone()));
        Self(lines)
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        if self.0.is_led_here() {
            give_up_lead();
        }
    }
}

/// Gives the lead up that this thread has, if it has one.
fn give_up_lead() {
    if let Some(lines) = LEADS.take() {
        lines.pass_on();
    }
}

struct Polling {
    poll: Poll,
    events: Events,
    looked_at: Instant,
    /// Of no use where there is one processor only.
    patience: Option<Patience>,
    /// Where something came last, as the next thing mostly does.
    last: Weak<Line>,
}

impl Polling {
    /// Sleeps until something comes, having looked for it for a while where that is worth it. Gives the line on which such a
    /// look has found something, of which the poll knows nothing.
    fn wait(&mut self, timeout: Duration) -> io::Result<Option<Arc<Line>>> {
        let Some(patience) = self.patience.as_mut().filter(|_| !timeout.is_zero()) else {
            return self.poll.poll(&mut self.events, Some(timeout)).map(|()| None);
        };
        let (began, looks) = (Instant::now(), patience.looks().min(timeout));
        let last = self.last.upgrade().filter(|_| !looks.is_zero());
        let (mut came, mut found) = (false, false);
        while !came && !found && began.elapsed() < looks {
            // All of them first: one who always has something to say does not keep the others waiting.
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
            came = !self.events.is_empty();
            if !came {
                found = last.as_ref().is_some_and(|last| (0..READS).any(|_| last.look_for_bytes()));
            }
            if !came && !found {
                std::thread::yield_now();
            }
        }
        if !came && !found {
            self.poll.poll(&mut self.events, Some(timeout))?;
        }
        patience.on_waited(began.elapsed(), found || self.events.iter().any(|event| event.token() != WAKER));
        Ok(last.filter(|_| found))
    }
}

/// Lines on which something has come.
type Ready = SmallVec<[Arc<Line>; 4]>;

/// A thread that waits and follows.
struct Waiting {
    signal: Arc<Signal>,
    leads: Arc<AtomicBool>,
}

#[derive(Default)]
struct Lead {
    core: LeadCore,
    waiting: FxHashMap<Follower, Waiting>,
}

impl Lead {
    fn enter(&mut self, signal: &Arc<Signal>) -> Result<(), (Follower, Arc<AtomicBool>)> {
        self.core.on_wait().map_err(|follower| {
            let leads = Arc::new(AtomicBool::new(false));
            self.waiting.insert(follower, Waiting { signal: signal.clone(), leads: leads.clone() });
            (follower, leads)
        })
    }

    /// A follower waits no more; whether it leads now.
    fn gone(&mut self, follower: Follower) -> bool {
        self.waiting.remove(&follower);
        self.core.on_gone(follower)
    }
}

/// The lines.
pub struct Lines {
    polling: Mutex<Polling>,
    registry: Registry,
    waker: Waker,
    lead: Mutex<Lead>,
    lines: Mutex<Slab<Arc<Line>>>,
    /// Lines on which something waits to be written.
    listed: Mutex<Vec<Arc<Line>>>,
    has_listed: AtomicBool,
    node: Mutex<Weak<Node>>,
}

impl Lines {
    /// None yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Arc<Self>> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Waker::new(&registry, WAKER)?;
        let several = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
        let (events, patience) = (Events::with_capacity(EVENTS), several.then(Patience::default));
        let polling = Polling { poll, events, looked_at: Instant::now(), patience, last: Weak::new() };
        Ok(Arc::new(Self {
            polling: Mutex::new(polling),
            registry,
            waker,
            lead: Mutex::default(),
            lines: Mutex::default(),
            listed: Mutex::default(),
            has_listed: AtomicBool::new(false),
            node: Mutex::default(),
        }))
    }

    /// Whose threads poll.
    pub fn serve(&self, node: &Arc<Node>) {
        *self.node.lock() = Arc::downgrade(node);
    }

    /// Adds a connection. `listener` is made with the way out. Where the connection is encrypted, what came with the
    /// handshake is heard once the caller has it served.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(
        self: &Arc<Self>,
        channel: Channel,
        listener: impl FnOnce(&Weak<Line>) -> Box<dyn Listener>,
    ) -> io::Result<Arc<Line>> {
        let line = {
            let mut lines = self.lines.lock();
            let token = lines.vacant_key();
            channel.register(&self.registry, Token(token))?;
            let line = Line::new(channel, token, listener, self);
            lines.insert(line.clone());
            line
        };
        self.lead.lock().core.on_opened();
        self.look_soon();
        Ok(line)
    }

    fn remove(&self, token: usize) {
        let removed = self.lines.lock().try_remove(token);
        if removed.is_some() {
            self.lead.lock().core.on_closed();
        }
    }

    // --- out -------------------------------------------------------------------------------------------------------

    fn list(&self, line: &Arc<Line>) {
        self.listed.lock().push(line.clone());
        self.has_listed.store(true, Ordering::Release);
        self.look_soon();
    }

    /// Writes what waits to be written.
    pub fn flush(&self) {
        if self.has_listed.swap(false, Ordering::AcqRel) {
            let listed = std::mem::take(&mut *self.listed.lock());
            listed.iter().for_each(|line| line.flush(true));
        }
    }

    fn watch_room(&self, channel: &Channel, token: usize, watched: bool) -> io::Result<()> {
        channel.watch_room(&self.registry, Token(token), watched)
    }

    fn look_soon(&self) {
        if let Some(node) = self.node.lock().upgrade() {
            node.lane.announce();
        }
    }

    // --- in --------------------------------------------------------------------------------------------------------

    /// An idle thread polls, if nobody else does or soon will; false where it may not. `asleep` is called when it is about
    /// to sleep and says whether it may; whatever wakes it ends the round, and what has come was heard then.
    pub fn poll_idle(
        self: &Arc<Self>,
        for_at_most: Duration,
        asleep: impl FnOnce() -> bool,
        awake: impl FnOnce(),
    ) -> bool {
        if !self.lead.lock().core.on_idle() {
            return false;
        }
        let leading = Leading::begin(self);
        let timeout = if asleep() { for_at_most } else { Duration::ZERO };
        let ready = self.poll(timeout);
        awake();
        // Heard without the lead: what has come may keep this thread busy.
        drop(leading);
        self.hear(ready);
        true
    }

    /// Waits until `signal` is reached, or the deadline passes; whether it was reached. The caller polls meanwhile, if
    /// nobody else does.
    pub fn wait(self: &Arc<Self>, signal: &Arc<Signal>, deadline: Option<Instant>, heard: impl Fn()) -> bool {
        // Code of the user's that a listener runs may wait in its turn, for these lines or for those of another runtime.
        give_up_lead();
        self.flush();
        loop {
            let entered = self.lead.lock().enter(signal);
            let leads = match entered {
                Ok(()) => true,
                Err((follower, leads)) => {
                    let waited = signal.wait_unless(deadline, &leads);
                    let promoted = self.lead.lock().gone(follower);
                    if waited != Waited::Stopped {
                        if promoted {
                            self.pass_on();
                        }
                        return waited == Waited::Reached;
                    }
                    promoted
                }
            };
            if leads {
                if let Some(reached) = self.lead_until(signal, deadline, &heard) {
                    return reached;
                }
            }
        }
    }

    /// Polls until the signal is reached; nothing where the lead was given up by code that ran meanwhile.
    fn lead_until(
        self: &Arc<Self>,
        signal: &Arc<Signal>,
        deadline: Option<Instant>,
        heard: &impl Fn(),
    ) -> Option<bool> {
        let leading = Leading::begin(self);
        signal.poke_by(Some(self.clone()));
        let reached = loop {
            if signal.is_reached() {
                break Some(true);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break Some(false);
            }
            let ready = self.poll(left.unwrap_or(ROUND_MAX));
            if !ready.is_empty() {
                self.hear(ready);
                heard();
            }
            if !self.is_led_here() {
                break None;
            }
        };
        signal.poke_by(None);
        drop(leading);
        reached
    }

    fn is_led_here(&self) -> bool {
        LEADS.with_borrow(|led| led.as_ref().is_some_and(|led| std::ptr::eq(Arc::as_ptr(led), self)))
    }

    /// One round: writes what waits, sleeps until something comes, and gives the lines that may have something.
    fn poll(&self, timeout: Duration) -> Ready {
        self.flush();
        let mut polling = self.polling.lock();
        let found = match polling.wait(timeout.min(ROUND_MAX)) {
            Ok(found) => found,
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    tracing::error!(%error, "connections to other processes cannot be polled");
                    std::thread::sleep(Duration::from_millis(1));
                }
                return Ready::new();
            }
        };
        let Polling { events, looked_at, last, .. } = &mut *polling;
        let lines = self.lines.lock();
        if looked_at.elapsed() > ROUND_MAX {
            *looked_at = Instant::now();
            lines.iter().for_each(|(_, line)| line.look(*looked_at));
        }
        let ready: Ready = match found {
            Some(found) => Ready::from_iter([found]),
            None => events.iter().filter_map(|event| lines.get(event.token().0).cloned()).collect(),
        };
        if let Some(line) = ready.last() {
            *last = Arc::downgrade(line);
        }
        ready
    }

    fn hear(&self, ready: Ready) {
        for line in ready {
            line.flush(false);
            line.serve();
        }
    }

    /// Whoever had the lead has it no more.
    fn pass_on(&self) {
        let next = {
            let mut lead = self.lead.lock();
            let next = lead.core.on_leave();
            next.and_then(|next| lead.waiting.remove(&next))
        };
        match next {
            Some(Waiting { signal, leads }) => {
                leads.store(true, Ordering::Release);
                signal.poke();
            }
            // The invariant: looks go on until somebody leads again.
            None => self.look_soon(),
        }
    }

    /// Ends all lines.
    pub fn close(&self) {
        let all: Vec<Arc<Line>> = self.lines.lock().iter().map(|(_, line)| line.clone()).collect();
        all.iter().for_each(|line| line.shut());
    }

    /// The sentinel's look.
    pub fn look(&self) -> Looked {
        self.flush();
        self.lead.lock().core.on_look()
    }

    /// Wakes whoever polls.
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "whoever polls cannot be woken");
        }
    }
}

impl Poke for Lines {
    fn poke(&self) {
        // The leader itself looks whether what it waits for is there.
        if !self.is_led_here() {
            self.wake();
        }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("lines", &self.lines.lock().len()).finish_non_exhaustive()
    }
}
