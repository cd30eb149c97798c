//! The listener: who comes in, and where to.
//!
//! Owns: the listening socket, the handshakes that are under way, and the choice of the shard. Does not own connections that
//! were let in: each is a [`Peer`] on its shard's arbiter. Invariants: a caller has a bounded time to say who it is; the
//! numbers of handshakes and of connections are bounded; who is refused is told why, and so is the log.

use std::{collections::BTreeMap, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actinic_gcs::{replica::ReplicaId, spec::NodeSpec};
use actix::prelude::*;
use parking_lot::RwLock;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{
    admin,
    connection::{Newest, Peer, PeerSetup, Who},
    handshake::{self, Heard},
    porch::Porch,
    refused::RefusedCallers,
    roster::Roster,
    stream::Stream,
    wire::{Hello, Membership, Purpose, Refusal},
    NetLimits,
};
use crate::gcs_client::GcsShard;

/// Before the next attempt, where the system cannot accept.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);
/// One replica of this process.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) replica: ReplicaId,
    pub(super) shard: Addr<GcsShard>,
    pub(super) arbiter: ArbiterHandle,
}

/// The replicas of a process, by shard.
pub(super) type Routes = Arc<RwLock<BTreeMap<usize, Route>>>;

/// What another node has connected for.
pub enum Visit {
    /// What nodes say to each other.
    Node(NodeSpec),
    /// Objects.
    Objects(actinic_gcs::NodeId),
}

/// Who takes connections of other nodes.
#[derive(Clone)]
pub struct Visitors(Arc<dyn Fn(Visit, Stream) + Send + Sync>);

impl Visitors {
    /// `take` is called on the listener's thread, and must not wait. The connection has left that thread.
    pub fn new(take: impl Fn(Visit, Stream) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }
}

/// What decides who comes in.
pub(super) struct Door {
    pub(super) membership: Membership,
    pub(super) routes: Routes,
    pub(super) limits: NetLimits,
    pub(super) places: Arc<Semaphore>,
    pub(super) refused: Arc<RefusedCallers>,
    pub(super) newest: Arc<Newest>,
    pub(super) roster: Arc<Roster>,
    pub(super) visitors: Option<Visitors>,
}

/// The listener's Actix actor.
pub(super) struct Listener {
    socket: Option<TcpListener>,
    door: Rc<Door>,
}

impl Listener {
    /// A listener on a socket that is bound.
    pub(super) fn new(socket: TcpListener, door: Door) -> Self {
        Self { socket: Some(socket), door: Rc::new(door) }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if let Some(socket) = self.socket.take() {
            ctx.spawn(accept_all(socket, self.door.clone()).into_actor(self));
        }
    }
}

async fn accept_all(socket: TcpListener, door: Rc<Door>) {
    let mut porch = Porch::new();
    loop {
        match socket.accept().await {
            Ok((stream, caller)) => {
                if let Some(slowest) = porch.welcome(caller, door.clone().answer(stream, caller)) {
                    door.note(
                        slowest,
                        "others wait, and of all who have not said yet who they are it has taken longest",
                    );
                }
            }
            Err(error) => {
                tracing::error!(%error, "the control store cannot accept a connection");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Where a caller is to go.
enum Way {
    Shard(usize, Who, Route),
    Admin,
    Visit(Visitors, Visit),
    Identity(String),
}

impl Door {
    fn note(&self, caller: SocketAddr, why: &str) {
        self.refused.note(caller, why);
    }

    async fn answer(self: Rc<Self>, socket: TcpStream, caller: SocketAddr) {
        let receiving = timeout(self.limits.handshake_max, handshake::receive(socket, &self.membership));
        let (mut stream, heard) = match receiving.await {
            Err(_) => return self.note(caller, "it did not say in time who it is"),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                return self.note(caller, &format!("TLS with it failed: {error}"));
            }
            Ok(Err(error)) => return tracing::debug!(%caller, %error, "a caller hung up"),
            Ok(Ok(received)) => received,
        };
        let refusal = match heard {
            Heard::Foreign => return self.note(caller, "it does not speak the control store's protocol"),
            Heard::Encrypted => return self.note(caller, "it calls in TLS, and this cluster is not encrypted"),
            Heard::Refuse(refusal) => refusal,
            Heard::Hello(hello) => match self.way(&hello) {
                Ok((way, place)) => {
                    stream.take_place(place);
                    match timeout(self.limits.handshake_max, self.let_in(stream, way)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%caller, %error, "a caller hung up"),
                        Err(_) => self.note(caller, "it did not read in time that it is let in"),
                    }
                    return;
                }
                Err(refusal) => refusal,
            },
        };
        // Who names no cluster only wants to know which this is.
        if !matches!(refusal, Refusal::Cluster { asked: 0, .. }) {
            self.note(caller, &refusal.to_string());
        }
        let _ = timeout(self.limits.handshake_max, handshake::refuse(stream, refusal)).await;
    }

    fn visitors(&self) -> Result<Visitors, Refusal> {
        self.visitors.clone().ok_or(Refusal::NoNode)
    }

    fn way(&self, hello: &Hello) -> Result<(Way, OwnedSemaphorePermit), Refusal> {
        self.membership.admit(hello)?;
        let route = |shard: usize| self.routes.read().get(&shard).cloned().ok_or(Refusal::Shard(shard));
        let way = match &hello.purpose {
            Purpose::Admin => Way::Admin,
            // A process has a door of its own.
            Purpose::Process { .. } => return Err(Refusal::OtherProcess),
            Purpose::Identity => match self.membership.tls.identity() {
                Some(identity) => Way::Identity(identity.to_pem().to_owned()),
                None => return Err(Refusal::NoIdentity),
            },
            Purpose::Node(spec) => Way::Visit(self.visitors()?, Visit::Node((**spec).clone())),
            Purpose::Objects(node) => Way::Visit(self.visitors()?, Visit::Objects(*node)),
            Purpose::Client { shard, client } => Way::Shard(*shard, Who::Client(*client), route(*shard)?),
            Purpose::Peer { shard, from, to, address } => {
                let (shard, from, to, route) = (*shard, *from, *to, route(*shard)?);
                if route.replica != to {
                    return Err(Refusal::Replica { shard, asked: to, here: route.replica });
                }
                if let Some(address) = address {
                    self.roster.note_caller(shard, from, address.clone());
                }
                Way::Shard(shard, Who::Replica(from), route)
            }
        };
        let max = self.limits.connections_max;
        let place = self.places.clone().try_acquire_owned().map_err(|_| Refusal::Full { max })?;
        Ok((way, place))
    }

    async fn let_in(&self, mut stream: Stream, way: Way) -> io::Result<()> {
        let addresses = match &way {
            Way::Shard(shard, Who::Client(_), _) => self.roster.addresses(*shard),
            _ => Vec::new(),
        };
        handshake::accept(&mut stream, addresses).await?;
        let (shard, who, route) = match way {
            Way::Shard(shard, who, route) => (shard, who, route),
            Way::Admin => {
                actix_rt::spawn(admin::serve(stream, self.routes.read().clone(), self.roster.clone(), self.limits));
                return Ok(());
            }
            Way::Identity(pem) => {
                stream.write_all(&handshake::short_frame(&pem)?).await?;
                return stream.shutdown().await;
            }
            Way::Visit(visitors, visit) => {
                (visitors.0)(visit, stream.leave()?);
                return Ok(());
            }
        };
        let stream = stream.leave()?;
        let (limits, newest) = (self.limits, self.newest.clone());
        route.arbiter.spawn_fn(move || match stream.arrive() {
            Ok(stream) => {
                let setup = PeerSetup { shard, who, to: route.shard, limits, newest };
                Peer::new(setup, stream).start();
            }
            Err(error) => tracing::error!(%error, "a connection could not be handed to its shard"),
        });
        Ok(())
    }
}
