//! Lines to and from processes of other nodes.
//!
//! Owns: this process's door for them, calling on theirs, and what is heard of a process while it is being called. Invariants:
//! nobody comes in without the cluster's token, nor unencrypted where the cluster is encrypted; a process is reached in one
//! way from its first frame on, so that no frame overtakes another; what cannot be reached directly is reached through the
//! nodes.

pub mod core;

use std::{
    io,
    net::{TcpListener as BoundListener, ToSocketAddrs},
    sync::{Arc, Weak},
    time::Duration,
};

use actinic_gcs::{ActorId, NodeId, ObjectId};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use self::core::{Ended, FarCore, GONE_MS_MAX};
use super::{ears::ProcessEars, CoreWorker, ForeignRef, LeaseId, ProcessId, SubmitEffect, Way};
use crate::{
    cluster::{
        lines::{channel::Channel, line::Line},
        wire::{ActorWhere, ActorWord, ClassId, DataFrame, Doors, LineName, ToNode, Welcome},
    },
    gcs_net::{
        handshake::{self, Heard},
        porch::Porch,
        stream::Stream,
        tls::{Identity, Tls, TokenError},
        wire::{Purpose, Refusal},
        Membership, NetError,
    },
};

/// How long a caller may take to say who it is.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How long a door may take to answer. What waits for it then goes through the nodes.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Processes of other nodes that have called on this one.
const CALLERS_MAX: usize = 4_096;
/// Before the next attempt, where the system cannot accept.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// Lines to processes of other nodes.
pub(super) type FarLines = FarCore<Weak<Line>>;

/// What is heard of a process while it is called.
pub(super) enum Later {
    Granted { class: ClassId, lease: LeaseId, gpus: Vec<u32> },
    Recalled(LeaseId),
    Actor(ActorId, ActorWhere),
}

impl Welcome {
    /// The cluster, as one who was let in is a member of it.
    ///
    /// # Errors
    /// That its token or its certificates make no sense.
    pub fn membership(&self) -> Result<Membership, TokenError> {
        let membership = Membership::new(self.cluster, self.token.clone())?;
        let tls = match (&self.tls_files, &self.identity) {
            (Some(files), _) => Tls::of_files(files)?,
            (None, Some(pem)) => Tls::of_identity(Identity::from_pem(pem.clone())?)?,
            (None, None) => return Ok(membership),
        };
        Ok(membership.with_tls(tls))
    }
}

/// A door on the network where the node has one; none where it cannot be opened: then others call through the nodes.
pub(super) fn door(host: &str) -> Option<(BoundListener, String)> {
    let opened = || -> io::Result<(BoundListener, String)> {
        let address = (host, 0).to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let listener = BoundListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        Ok((listener, address))
    };
    opened().inspect_err(|error| tracing::warn!(host, %error, "no door for processes of other nodes")).ok()
}

impl CoreWorker {
    /// Lets processes of other nodes in, on the arbiter at hand.
    pub(super) fn open_door(self: &Arc<Self>) {
        let Some((listener, _)) = self.door.lock().take() else { return };
        let opened = TcpListener::from_std(listener).and_then(|listener| {
            let membership = self.welcome.membership().map_err(io::Error::other)?;
            Ok((listener, Arc::new(membership)))
        });
        let (listener, membership) = match opened {
            Ok(opened) => opened,
            Err(error) => return tracing::warn!(%error, "no door for processes of other nodes"),
        };
        let core = self.clone();
        actix_rt::spawn(async move {
            let (mut porch, places) = (Porch::new(), Arc::new(Semaphore::new(CALLERS_MAX)));
            loop {
                let Ok((socket, caller)) = listener.accept().await else {
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                };
                let (core, membership, places) = (core.clone(), membership.clone(), places.clone());
                let welcomed = porch.welcome(caller, async move {
                    let greeting = greet(core, membership, places, socket);
                    match timeout(HANDSHAKE_MAX, greeting).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%caller, %error, "a caller hung up"),
                        Err(_) => tracing::warn!(%caller, "it did not say in time who it is"),
                    }
                });
                if let Some(slowest) = welcomed {
                    tracing::warn!(caller = %slowest, "a caller that does not say who it is is given up: others wait");
                }
            }
        });
    }

    /// Has a way to a process, or will have it in a moment: then `later` waits for that, and false is given.
    pub(super) fn reach(self: &Arc<Self>, to: ProcessId, doors: &Doors, later: impl FnOnce() -> Later) -> bool {
        let mut coming = self.coming.lock();
        if let Some(waiting) = coming.get_mut(&to) {
            waiting.push(later());
            return false;
        }
        if self.ways.lock().contains_key(&to) || self.connect_beside(to, doors.socket.as_deref()) {
            return true;
        }
        let address = doors.address.clone().filter(|_| !self.shut_off.lock().contains(&to.node));
        let Some(address) = address else {
            self.ways.lock().entry(to).or_insert(Way::ThroughNode);
            return true;
        };
        let Some(arbiter) = self.arbiter.get() else { return true };
        coming.insert(to, vec![later()]);
        drop(coming);
        let core = self.clone();
        arbiter.spawn_fn(move || drop(actix_rt::spawn(async move { core.call_far(to, &address).await })));
        false
    }

    /// A line has ended; false where it is not one between two nodes, or its process has ended. Nothing is sent to a process of
    /// another node from then on until it is known whether it lives.
    pub(super) fn far_line_ended(self: &Arc<Self>, process: ProcessId, line: &Weak<Line>, reason: &str) -> bool {
        let ended = self.far_lines.lock().on_ended(self.now(), process, |other| other.ptr_eq(line));
        let lines = match ended {
            Ended::NotOurs => return false,
            Ended::Known => return true,
            Ended::First(lines) => lines,
        };
        lines.iter().filter_map(Weak::upgrade).for_each(|line| line.shut());
        if let Some(arbiter) = self.arbiter.get() {
            let (core, reason) = (Arc::downgrade(self), reason.to_owned());
            let later = async move {
                tokio::time::sleep(Duration::from_millis(GONE_MS_MAX)).await;
                let Some(core) = core.upgrade() else { return };
                let due = core.far_lines.lock().due(core.now());
                due.into_iter().for_each(|process| core.line_lost(process, &reason));
            };
            arbiter.spawn_fn(move || drop(actix_rt::spawn(later)));
        }
        true
    }

    /// The lines to a process that lives on are lost, and what was under way on them: tasks run again under other leases, calls
    /// follow their actor's options, what was asked for is asked for again. What either end holds it keeps: a count that was
    /// lost frees nothing, and ends with its process.
    fn line_lost(self: &Arc<Self>, process: ProcessId, reason: &str) {
        tracing::info!(%process, reason, "the line to a process of another node is lost");
        let reason = format!("the line to it was lost: {reason}");
        // Before all else that it hears through the nodes, or by a new line that was called before this was known.
        let (given_up, new) = {
            let far = self.far_lines.lock();
            let new = far.lines(process).find_map(Weak::upgrade);
            (DataFrame::GivenUp(far.given_up(process)), new)
        };
        if let Ok(body) = rmp_serde::to_vec(&given_up) {
            let _ = self.node_conduit.send(&ToNode::Relay { to: process, body: body.into() });
        }
        {
            let mut ways = self.ways.lock();
            if let Some(line) = &new {
                let _ = line.send(&given_up, true);
            }
            match new {
                Some(line) => drop(ways.insert(process, Way::Direct(line))),
                None => drop(ways.remove(&process)),
            }
        }
        let mut effects = Vec::new();
        let leases = {
            let mut state = self.state.lock();
            let leases = state.submit.leases_on(process);
            state.submit.on_gone(process, &mut effects);
            state.submit.settle(&mut effects);
            leases
        };
        for effect in effects {
            match effect {
                SubmitEffect::Lost(task, worker) => self.lost(&task.0, worker, &reason),
                other => self.carry_out(vec![other]),
            }
        }
        // Its node does not know.
        self.carry_out(leases.into_iter().map(SubmitEffect::Return).collect());
        for actor in self.actors_at(process) {
            self.on_actor(actor.id(), ActorWhere::Away { reason: reason.clone() });
            // Whoever keeps it says where it is.
            self.to_keeper(actor.keeper(), ActorWord::Watch(actor.id()));
        }
        let asked: Vec<ObjectId> = {
            let fetching = self.fetching.lock();
            let of_process = |waiting: &Vec<Weak<ForeignRef>>| {
                waiting.iter().filter_map(Weak::upgrade).any(|wanted| wanted.wire().owner == process)
            };
            fetching.iter().filter(|(_, waiting)| of_process(waiting)).map(|(object, _)| *object).collect()
        };
        for object in asked {
            let _ = self.to_process(process, &DataFrame::Fetch(object));
        }
        self.tick.notify_one();
    }

    async fn call_far(self: Arc<Self>, to: ProcessId, address: &str) {
        let called = async {
            let membership = self.welcome.membership().map_err(|error| error.to_string())?;
            let from = self.me();
            let (call, given_up) = self.far_lines.lock().on_call(to);
            let told = given_up.iter().map(|line| (line.caller.node, line.caller.worker, line.number)).collect();
            let (caller, called) = ((from.node, from.worker), (to.node, to.worker));
            let purpose = Purpose::Process { from: caller, to: called, call, given_up: told };
            let called = handshake::call(address, &membership, purpose, ANSWER_MAX).await;
            let (stream, _) = called.map_err(|error| {
                if matches!(error, NetError::Silent { .. }) {
                    // Behind a wall that lets only the node's own port through, none of its doors answers.
                    self.shut_off.lock().insert(to.node);
                }
                error.to_string()
            })?;
            let name = LineName { caller: from, number: call };
            self.line_of(to, name, &[], stream).map_err(|error| error.to_string())
        };
        let line = called.await.inspect_err(|error| {
            tracing::info!(%to, address, error, "a process of another node is reached through the nodes");
        });
        let Some(waiting) = self.coming.lock().remove(&to) else {
            // It has ended meanwhile.
            return line.map_or((), |line| line.shut());
        };
        let own = line.as_ref().ok().cloned();
        let way = line.map_or(Way::ThroughNode, Way::Direct);
        let direct = match self.ways.lock().entry(to).or_insert(way) {
            Way::Direct(line) => Some(line.clone()),
            Way::ThroughNode => None,
        };
        // What came with a handshake no poll tells of, also where the other has called at the same time and that is the way.
        own.into_iter().chain(direct).for_each(|line| line.serve());
        for later in waiting {
            match later {
                Later::Granted { class, lease, gpus } => self.granted(class, lease, to, gpus),
                Later::Recalled(lease) => self.recalled(lease),
                Later::Actor(actor, place) => self.on_actor(actor, place),
            }
        }
        self.lines.flush();
    }

    fn line_of(
        self: &Arc<Self>,
        other: ProcessId,
        name: LineName,
        given_up: &[LineName],
        stream: Stream,
    ) -> io::Result<Arc<Line>> {
        let (socket, tls, place) = stream.into_parts()?;
        let channel = Channel::tcp(socket, tls, place)?;
        let (mut lost, mut gone) = (false, Vec::new());
        // What it says is answered by this line, however soon that is, and not by one that has ended.
        let mut ways = self.ways.lock();
        let line = self.lines.add(channel, |line| {
            // Before anybody can hear that it has ended.
            let mut far = self.far_lines.lock();
            let given_up = far.on_given_up(other, given_up);
            lost = far.on_line(other, name, line.clone()) || given_up.is_some();
            gone = given_up.unwrap_or_default();
            ProcessEars::listener(self, other, line)
        })?;
        if lost {
            ways.insert(other, Way::Direct(line.clone()));
            drop(ways);
            gone.iter().filter_map(Weak::upgrade).for_each(|line| line.shut());
            self.line_lost(other, "it has called again");
        }
        Ok(line)
    }

    /// Another process has given up these lines to it.
    pub(super) fn hear_given_up(self: &Arc<Self>, from: ProcessId, names: &[LineName]) {
        let gone = self.far_lines.lock().on_given_up(from, names);
        if let Some(gone) = gone {
            gone.iter().filter_map(Weak::upgrade).for_each(|line| line.shut());
            self.line_lost(from, "it has given its lines up");
        }
    }

    /// A lease is wanted back; false where it was granted with a process that is being called.
    pub(super) fn recalled_later(&self, lease: LeaseId) -> bool {
        let mut coming = self.coming.lock();
        let of_lease = |later: &Later| matches!(later, Later::Granted { lease: granted, .. } if *granted == lease);
        match coming.values_mut().find(|waiting| waiting.iter().any(of_lease)) {
            Some(waiting) => waiting.push(Later::Recalled(lease)),
            None => return false,
        }
        true
    }

    /// There is newer word of an actor than what waits.
    pub(super) fn forget_later(&self, actor: ActorId) {
        for waiting in self.coming.lock().values_mut() {
            waiting.retain(|later| !matches!(later, Later::Actor(of, _) if *of == actor));
        }
    }

    /// Processes that are being called and are on this node.
    pub(super) fn called_on(&self, node: NodeId) -> Vec<ProcessId> {
        self.coming.lock().keys().copied().filter(|process| process.node == node).collect()
    }
}

async fn greet(
    core: Arc<CoreWorker>,
    membership: Arc<Membership>,
    places: Arc<Semaphore>,
    socket: tokio::net::TcpStream,
) -> io::Result<()> {
    let (mut stream, heard) = handshake::receive(socket, &membership).await?;
    let me = core.me();
    let judged = match heard {
        Heard::Foreign | Heard::Encrypted => return Ok(()),
        Heard::Refuse(refusal) => Err(refusal),
        Heard::Hello(hello) => membership.admit(&hello).and_then(|()| match hello.purpose {
            Purpose::Process { from: (node, worker), to, call, given_up } if to == (me.node, me.worker) => {
                let from = ProcessId { node, worker };
                let named = |(node, worker, number)| LineName { caller: ProcessId { node, worker }, number };
                let given_up: Vec<LineName> = given_up.into_iter().map(named).collect();
                Ok((from, LineName { caller: from, number: call }, given_up))
            }
            _ => Err(Refusal::OtherProcess),
        }),
    };
    let place = places.try_acquire_owned().map_err(|_| Refusal::Full { max: CALLERS_MAX });
    let ((from, name, given_up), place) = match judged.and_then(|from| Ok((from, place?))) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            tracing::warn!(%refusal, "a caller is not let in");
            return handshake::refuse(stream, refusal).await;
        }
    };
    stream.take_place(place);
    handshake::accept(&mut stream, Vec::new()).await?;
    let line = core.line_of(from, name, &given_up, stream)?;
    core.called(from, &line);
    line.serve();
    Ok(())
}
