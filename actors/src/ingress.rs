//! The way into a system actor: a queue that it drains in batches, with one wake-up a batch.
//!
//! Owns: the queue and the doorbell. A sender rings only if nobody has rung since the last drain, so a burst of a
//! thousand events costs one Actix message.
//!
//! **Invariant:** an event that was pushed is seen by a drain that begins after the push.

use std::sync::atomic::{AtomicBool, Ordering};

use actix::{Message, Recipient};
use crossbeam::queue::SegQueue;
use parking_lot::RwLock;

/// Rings an actor's doorbell: there is something in its ingress.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Ring;

/// Events taken out at one ring; if there are more the actor rings itself, so that it lets others run between.
const BATCH: usize = 1_024;

/// A queue of events for one actor.
pub struct Ingress<E> {
    queue: SegQueue<E>,
    rung: AtomicBool,
    doorbell: RwLock<Option<Recipient<Ring>>>,
}

impl<E> Default for Ingress<E> {
    fn default() -> Self {
        Self { queue: SegQueue::new(), rung: AtomicBool::new(false), doorbell: RwLock::new(None) }
    }
}

impl<E> Ingress<E> {
    /// Names the actor; what was pushed before is waiting for it.
    pub fn connect(&self, doorbell: Recipient<Ring>) {
        *self.doorbell.write() = Some(doorbell);
        self.ring();
    }

    /// The actor is gone.
    pub fn disconnect(&self) {
        *self.doorbell.write() = None;
    }

    /// Pushes one event.
    pub fn push(&self, event: E) {
        self.queue.push(event);
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.ring();
        }
    }

    fn ring(&self) {
        if let Some(doorbell) = &*self.doorbell.read() {
            self.rung.store(true, Ordering::Release);
            doorbell.do_send(Ring);
        } else {
            self.rung.store(false, Ordering::Release);
        }
    }

    /// Takes out a batch; the actor calls this when it is rung for.
    pub fn drain(&self, mut each: impl FnMut(E)) {
        self.rung.store(false, Ordering::Release);
        for _ in 0..BATCH {
            match self.queue.pop() {
                Some(event) => each(event),
                None => return,
            }
        }
        if !self.queue.is_empty() && !self.rung.swap(true, Ordering::AcqRel) {
            self.ring();
        }
    }
}
