//! The listener: who comes in, and where to.
//!
//! Owns: the listening socket, the handshakes that are under way, and the choice of the shard. Does not own connections that
//! were let in: each is a [`Peer`] on its shard's arbiter. Invariants: a caller has a bounded time to say who it is; the
//! numbers of handshakes and of connections are bounded; who is refused is told why, and so is the log.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actinic_gcs::{replica::ReplicaId, spec::NodeSpec};
use actix::prelude::*;
use parking_lot::{Mutex, RwLock};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{
    admin,
    connection::{Newest, Peer, PeerSetup, Who},
    handshake::{self, Heard},
    roster::Roster,
    wire::{Hello, Membership, Purpose, Refusal},
    NetLimits,
};
use crate::gcs_client::GcsShard;

/// Handshakes under way at once; a caller beyond them is hung up on.
const HANDSHAKES_MAX: usize = 256;
/// Before the next attempt, where the system cannot accept.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);
/// Refusals remembered.
const REFUSED_MAX: usize = 16;

/// A caller that was not let in.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Who.
    pub caller: SocketAddr,
    /// Why.
    pub why: String,
}

/// The last callers that were not let in.
pub(super) type RefusedCallers = Arc<Mutex<VecDeque<Refused>>>;

/// One replica of this process.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) replica: ReplicaId,
    pub(super) shard: Addr<GcsShard>,
    pub(super) arbiter: ArbiterHandle,
}

/// The replicas of a process, by shard.
pub(super) type Routes = Arc<RwLock<BTreeMap<usize, Route>>>;

/// Who takes connections of other nodes.
#[derive(Clone)]
pub struct Visitors(Arc<dyn Fn(NodeSpec, std::net::TcpStream) + Send + Sync>);

impl Visitors {
    /// `take` is called on the listener's thread, and must not wait.
    pub fn new(take: impl Fn(NodeSpec, std::net::TcpStream) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }
}

/// What decides who comes in.
pub(super) struct Door {
    pub(super) membership: Membership,
    pub(super) routes: Routes,
    pub(super) limits: NetLimits,
    pub(super) places: Arc<Semaphore>,
    pub(super) refused: RefusedCallers,
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
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        match socket.accept().await {
            Ok((stream, caller)) => {
                let Ok(permit) = handshakes.clone().try_acquire_owned() else {
                    door.note(caller, "too many handshakes are under way");
                    continue;
                };
                let door = door.clone();
                actix_rt::spawn(async move {
                    door.answer(stream, caller).await;
                    drop(permit);
                });
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
    Node(Visitors, NodeSpec),
}

impl Door {
    fn note(&self, caller: SocketAddr, why: &str) {
        tracing::warn!(%caller, why, "a caller of the control store is not let in");
        let mut refused = self.refused.lock();
        if refused.len() == REFUSED_MAX {
            refused.pop_front();
        }
        refused.push_back(Refused { caller, why: why.to_owned() });
    }

    async fn answer(self: Rc<Self>, mut stream: TcpStream, caller: SocketAddr) {
        let refusal = match timeout(self.limits.handshake_max, handshake::hear(&mut stream)).await {
            Err(_) => return self.note(caller, "it did not say in time who it is"),
            Ok(Err(error)) => return tracing::debug!(%caller, %error, "a caller hung up"),
            Ok(Ok(Heard::Foreign)) => return self.note(caller, "it does not speak the control store's protocol"),
            Ok(Ok(Heard::Refuse(refusal))) => refusal,
            Ok(Ok(Heard::Hello(hello))) => match self.way(&hello) {
                Ok((way, place)) => {
                    if let Err(error) = self.let_in(stream, way, place).await {
                        tracing::debug!(%caller, %error, "a caller hung up");
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

    fn way(&self, hello: &Hello) -> Result<(Way, OwnedSemaphorePermit), Refusal> {
        self.membership.admit(hello)?;
        let route = |shard: usize| self.routes.read().get(&shard).cloned().ok_or(Refusal::Shard(shard));
        let way = match &hello.purpose {
            Purpose::Admin => Way::Admin,
            Purpose::Node(spec) => Way::Node(self.visitors.clone().ok_or(Refusal::NoNode)?, (**spec).clone()),
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

    async fn let_in(&self, mut stream: TcpStream, way: Way, place: OwnedSemaphorePermit) -> io::Result<()> {
        let addresses = match &way {
            Way::Shard(shard, Who::Client(_), _) => self.roster.addresses(*shard),
            _ => Vec::new(),
        };
        handshake::accept(&mut stream, addresses).await?;
        let (shard, who, route) = match way {
            Way::Shard(shard, who, route) => (shard, who, route),
            Way::Admin => {
                actix_rt::spawn(admin::serve(
                    stream,
                    self.routes.read().clone(),
                    self.roster.clone(),
                    self.limits,
                    place,
                ));
                return Ok(());
            }
            Way::Node(visitors, spec) => {
                (visitors.0)(spec, stream.into_std()?);
                return Ok(());
            }
        };
        let stream = stream.into_std()?;
        let (limits, newest) = (self.limits, self.newest.clone());
        route.arbiter.spawn_fn(move || match TcpStream::from_std(stream) {
            Ok(stream) => {
                let setup = PeerSetup { shard, who, to: route.shard, limits, newest, _place: place };
                Peer::new(setup, stream).start();
            }
            Err(error) => tracing::error!(%error, "a connection could not be handed to its shard"),
        });
        Ok(())
    }
}
