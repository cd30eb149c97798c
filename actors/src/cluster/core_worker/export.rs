//! Values and tasks on their way out of a process, and into it.
//!
//! Owns: turning the references beside a value's bytes into what another process understands, and back. Invariants: each
//! reference that is sent was told to the [`super::RefCore`] first, each that has come was told as well; what cannot cross a
//! process's border is an error that names it.

use std::{
    any::Any,
    cell::RefCell,
    sync::{Arc, LazyLock, Weak},
};

use actinic_gcs::ObjectId;

use super::{ears::ProcessEars, CoreWorker, NotSent, Way};
use crate::{
    cluster::{
        calls::RemoteActor,
        lines::{channel::Channel, line::Line},
        objects::{AwayObject, Locator, Portable},
        peer,
        refs::{ForeignRef, SharedRef},
        wire::{Caller, DataFrame, Greeting, ProcessId, ToNode, WireActor, WireRef, WireValue},
    },
    data::codec::{AnyRef, Parts},
    error::{TaskError, TaskErrorKind},
    gcs_net::wire::PROTOCOL_VERSION,
    task::{Object, Task},
};

/// Sends values to one process.
pub struct Exporter<'a> {
    core: &'a Arc<CoreWorker>,
    to: ProcessId,
    /// References that it has sent.
    sent: RefCell<Vec<ObjectId>>,
}

/// A task of another process, and where its results will be.
pub struct Imported {
    /// The task.
    pub task: Arc<dyn Task>,
    /// Its objects, in order.
    pub objects: Vec<Arc<dyn Object>>,
}

static NO_REFS: LazyLock<Arc<[AnyRef]>> = LazyLock::new(|| Arc::from([]));

/// References, and which of them are handles to actors.
type References = (Vec<WireRef>, Vec<(u32, WireActor)>);

pub(super) fn not_sent(task: &str, error: NotSent) -> TaskError {
    let message = format!("what it takes or gives could not be sent to another process: {error}");
    TaskErrorKind::Failed { task: task.to_owned(), node: "this process".to_owned(), message, causes: Vec::new() }.into()
}

impl Exporter<'_> {
    /// A value, ready to be sent.
    ///
    /// # Errors
    /// That something inside of it cannot leave this process.
    pub fn value(&self, value: impl Into<Portable>) -> Result<WireValue, TaskError> {
        match value.into() {
            Portable::Here(Parts { meta, buffers, refs }) => {
                let (refs, actors) = self.references(&refs)?;
                Ok(WireValue { meta, buffers, refs, actors, away: None })
            }
            Portable::Away(away) => self.away(&away, away.locator().clone()),
        }
    }

    fn away(&self, away: &AwayObject, locator: Locator) -> Result<WireValue, TaskError> {
        let (refs, actors) = self.references(away.refs())?;
        Ok(WireValue { refs, actors, away: Some(Box::new(locator)), ..WireValue::default() })
    }

    /// References, and which of them are handles to actors.
    fn references(&self, refs: &[AnyRef]) -> Result<References, TaskError> {
        let mut actors = Vec::new();
        let mut wires = Vec::with_capacity(refs.len());
        for inner in refs {
            if let Ok(actor) = inner.clone().downcast::<RemoteActor>() {
                actors.push((wires.len() as u32, actor.wire().clone()));
                wires.push(self.actor(&actor));
            } else {
                wires.push(self.reference(inner)?);
            }
        }
        Ok((wires, actors))
    }

    fn reference(&self, inner: &AnyRef) -> Result<WireRef, TaskError> {
        let any: &(dyn Any + Send + Sync) = &**inner;
        let object = match (any.downcast_ref::<SharedRef>(), any.downcast_ref::<ForeignRef>()) {
            (Some(shared), _) => shared.object.clone(),
            (_, Some(foreign)) => return Ok(self.send(foreign.wire())),
            _ => {
                let message = "a handle to an actor of a supervision tree, or a stream, cannot leave its process";
                let type_name = "a handle".to_owned();
                return Err(TaskErrorKind::Codec { type_name, message: message.to_owned() }.into());
            }
        };
        Ok(match object.foreign() {
            Some(foreign) => self.send(foreign.wire()),
            None => {
                let wire = WireRef { id: object.id(), owner: self.core.me() };
                if self.core.state.lock().refs.on_send(wire.id, wire.owner, self.to) {
                    self.core.pinned.lock().insert(wire.id, object);
                }
                self.sent.borrow_mut().push(wire.id);
                wire
            }
        })
    }

    /// A handle to an actor of another process, or of this one's making.
    fn actor(&self, actor: &Arc<RemoteActor>) -> WireRef {
        let wire = WireRef { id: actor.object(), owner: actor.owner() };
        if !actor.wire().detached {
            self.core.pin_actor(actor, self.to);
            self.sent.borrow_mut().push(wire.id);
        }
        wire
    }

    fn send(&self, wire: WireRef) -> WireRef {
        let _ = self.core.state.lock().refs.on_send(wire.id, wire.owner, self.to);
        self.sent.borrow_mut().push(wire.id);
        wire
    }
}

impl CoreWorker {
    /// Makes what is to be sent to a process, and nothing of it where a part cannot be sent.
    pub(super) fn export<T>(
        self: &Arc<Self>,
        to: ProcessId,
        make: impl FnOnce(&Exporter<'_>) -> Result<T, TaskError>,
    ) -> Result<T, TaskError> {
        let exporter = Exporter { core: self, to, sent: RefCell::default() };
        make(&exporter).inspect_err(|_| self.not_gone_out(to, exporter.sent.take()))
    }

    /// References that were to be sent were not: it is as if they had been given back.
    fn not_gone_out(self: &Arc<Self>, to: ProcessId, objects: Vec<ObjectId>) {
        let mut effects = Vec::new();
        for object in objects {
            self.state.lock().refs.on_release(object, to, 1, &mut effects);
        }
        self.carry_out_refs(effects);
    }

    /// A value that has come from another process.
    #[must_use]
    pub fn import(self: &Arc<Self>, from: ProcessId, value: WireValue) -> Portable {
        let WireValue { meta, buffers, refs, actors, away } = value;
        let mut actors = actors.into_iter().peekable();
        let receive = |(at, wire): (usize, WireRef)| -> AnyRef {
            match actors.next_if(|(index, _)| *index as usize == at) {
                Some((_, actor)) => self.receive_actor(from, (wire.id, wire.owner), actor),
                None => self.receive(from, wire),
            }
        };
        // Most values have none, and would all allocate nothing at all.
        let refs: Arc<[AnyRef]> = match refs.is_empty() {
            true => NO_REFS.clone(),
            false => refs.into_iter().enumerate().map(receive).collect(),
        };
        match away {
            Some(locator) => Portable::Away(self.objects.arrived(*locator, refs)),
            None => Portable::Here(Parts { meta, buffers, refs }),
        }
    }

    fn receive(self: &Arc<Self>, from: ProcessId, wire: WireRef) -> AnyRef {
        let mut effects = Vec::new();
        self.state.lock().refs.on_receive(wire.id, wire.owner, from, &mut effects);
        let home = (wire.owner == self.me()).then(|| self.pinned.lock().get(&wire.id).cloned()).flatten();
        let received: AnyRef = match home.and_then(|object| Some((object.clone(), object.typed_ref()?))) {
            // Before the effects are carried out, which may unpin it.
            Some((object, typed)) => Arc::new(SharedRef { object, typed }),
            None => ForeignRef::new(wire, self),
        };
        self.carry_out_refs(effects);
        received
    }

    /// The result of a task of another process, which owns it and from now on holds it.
    pub(super) fn outcome(self: &Arc<Self>, object: &Arc<dyn Object>, to: ProcessId) -> Result<WireValue, TaskError> {
        let encoded = object.encoded().unwrap_or_else(|| Err(super::disconnected()))?;
        self.export(to, |exporter| match encoded {
            Portable::Away(away) => exporter.away(&away, away.pass(to)),
            here => exporter.value(here),
        })
    }

    /// The value of an object of this process, for one who reads it.
    pub(super) fn answer(self: &Arc<Self>, object: &Arc<dyn Object>, to: ProcessId) -> Result<WireValue, TaskError> {
        let encoded = object.encoded().unwrap_or_else(|| Err(super::disconnected()))?;
        self.export(to, |exporter| exporter.value(encoded))
    }

    // --- ways ------------------------------------------------------------------------------------------------------

    /// Sends to another process.
    pub(super) fn to_process(self: &Arc<Self>, to: ProcessId, frame: &DataFrame) -> Result<(), NotSent> {
        self.to_process_soon(to, frame, false)
    }

    /// Sends to another process; at once, if somebody is likely to wait for it.
    pub(super) fn to_process_soon(
        self: &Arc<Self>,
        to: ProcessId,
        frame: &DataFrame,
        at_once: bool,
    ) -> Result<(), NotSent> {
        if to.is_manager() {
            // A node as the keeper of actors holds nothing that is counted.
            return Ok(());
        }
        let sent = match self.way_to(to) {
            Way::Direct(line) => line.send(frame, at_once),
            Way::ThroughNode => rmp_serde::to_vec(frame)
                .map_err(|_| NotSent::Unencodable)
                .and_then(|body| self.node_conduit.send(&ToNode::Relay { to, body: body.into() })),
        };
        sent.inspect_err(|_| self.not_gone_out(to, frame.references()))
    }

    fn way_to(self: &Arc<Self>, to: ProcessId) -> Way {
        if let Some(way) = self.ways.lock().get(&to) {
            return way.clone();
        }
        // Processes of one node know each other's sockets; the address of one of another node comes with a lease or an actor.
        let beside = to.node == self.me().node && self.connect_beside(to, Some(&self.socket_beside(to)));
        let mut ways = self.ways.lock();
        match ways.get(&to) {
            Some(way) if beside => way.clone(),
            _ => ways.entry(to).or_insert(Way::ThroughNode).clone(),
        }
    }

    /// The socket of a process of the same node.
    fn socket_beside(&self, process: ProcessId) -> String {
        let own = std::path::Path::new(&self.welcome.listen);
        own.with_file_name(format!("p{}.sock", process.worker.0)).to_string_lossy().into_owned()
    }

    /// Finds the way to a process of this machine, if its socket is here and answers.
    pub(super) fn connect_beside(self: &Arc<Self>, to: ProcessId, socket: Option<&str>) -> bool {
        let mut ways = self.ways.lock();
        if ways.contains_key(&to) {
            return true;
        }
        match socket.map(|socket| self.call(to, socket)) {
            Some(Ok(line)) => drop(ways.insert(to, Way::Direct(line))),
            Some(Err(error)) => {
                tracing::debug!(%to, %error, "a process's socket does not answer here");
                return false;
            }
            None => return false,
        }
        true
    }

    fn call(self: &Arc<Self>, to: ProcessId, socket: &str) -> std::io::Result<Arc<Line>> {
        let greeting = Greeting { version: PROTOCOL_VERSION, caller: Caller::Process(self.me()) };
        let stream = peer::call_unix(socket.as_ref(), &greeting)?;
        self.lines.add(Channel::unix(stream)?, |line| ProcessEars::listener(self, to, line))
    }

    /// A process has called.
    pub(super) fn called(&self, from: ProcessId, line: &Arc<Line>) {
        self.ways.lock().entry(from).or_insert_with(|| Way::Direct(line.clone()));
    }

    /// A line has ended.
    pub(super) fn hung_up(self: &Arc<Self>, from: ProcessId, line: &Weak<Line>, reason: &str) {
        if self.far_line_ended(from, line, reason) {
            return;
        }
        let mut ways = self.ways.lock();
        if matches!(ways.get(&from), Some(Way::Direct(there)) if Arc::as_ptr(there) == line.as_ptr()) {
            ways.remove(&from);
        }
    }
}
