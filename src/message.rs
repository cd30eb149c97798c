//! Message-style actors: plain Actix actors with their own messages, under an Actix `Supervisor`, with their panics caught.
//!
//! Owns: [`ActorRef`], spawning, and [`Guarded`], the envelope in which a message reaches the actor. A panic in a handler is
//! caught there: the caller learns it, the state is dropped and made anew by the factory, the context is stopped, and the
//! Actix supervisor calls `restarting()`. The mailbox and what waits in it survive.
//!
//! Handlers run on an arbiter that several actors share, as Actix has it: one that blocks its thread holds up the others
//! there. [`SpawnOptions::own_thread`] gives an actor an arbiter of its own.

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering},
        Arc,
    },
};

use actinic_actors::{context, error::TaskErrorKind, panics};
use actix::{
    dev::{MessageResponse, OneshotSender, SendError, ToEnvelope},
    prelude::*,
};
use serde::{de::DeserializeOwned, Serialize};
use tokio::sync::oneshot;

use crate::{
    error::{Result, TaskError},
    runtime::running,
};

/// A message that can be sent to any node: it can be encoded. Implemented for every type that fits.
pub trait RemoteMessage: Message + Serialize + DeserializeOwned + Send + 'static
where
    Self::Result: Send,
{
}

impl<M: Message + Serialize + DeserializeOwned + Send + 'static> RemoteMessage for M where M::Result: Send {}

/// An actor and a message that `#[remote_message]` registered, found at link time.
pub struct RegisteredMessage {
    /// The actor's type.
    pub actor: fn() -> &'static str,
    /// The message's type.
    pub message: fn() -> &'static str,
}

inventory::collect!(RegisteredMessage);

/// Why a message was not answered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The handler panicked. The state was made anew; the message may have had effects before.
    #[error("`{actor}` panicked at {location} while it handled `{message}`: {text}")]
    Panicked {
        /// The actor's type.
        actor: &'static str,
        /// The message's type.
        message: &'static str,
        /// What the panic said.
        text: String,
        /// Where.
        location: String,
    },
    /// The actor is gone; the message did not run, or its answer was dropped by the handler.
    #[error("`{actor}` is gone, or dropped the answer to `{message}`")]
    Gone {
        /// The actor's type.
        actor: &'static str,
        /// The message's type.
        message: &'static str,
    },
    /// The mailbox is full; the message did not run and is safe to send again.
    #[error("the mailbox of `{actor}` is full; `{message}` did not run and is safe to send again")]
    Full {
        /// The actor's type.
        actor: &'static str,
        /// The message's type.
        message: &'static str,
    },
}

struct Hosting<A> {
    factory: Box<dyn Fn() -> A + Send + Sync>,
    max_restarts: Option<u32>,
    restarts: AtomicU32,
    dead: AtomicBool,
}

/// A message on its way to an actor of type `A`.
pub struct Guarded<A, M> {
    message: M,
    hosting: Arc<Hosting<A>>,
}

impl<A: 'static, M: Message> Message for Guarded<A, M> {
    type Result = std::result::Result<M::Result, AskError>;
}

impl<A, M> Guarded<A, M>
where
    A: Actor<Context = Context<A>> + Supervised + Handler<M>,
    M: Message + 'static,
    M::Result: Send,
{
    /// Handles the message, and catches a panic of the handler. Called by what `#[remote_message]` makes.
    pub fn handle(self, actor: &mut A, ctx: &mut Context<A>) -> GuardedReply<A, M> {
        let Self { message, hosting } = self;
        if hosting.dead.load(Ordering::Relaxed) {
            return GuardedReply { reply: Reply::Gone, of: PhantomData };
        }
        let (answer, answered) = oneshot::channel();
        let handled = panics::catch(|| {
            let response = <A as Handler<M>>::handle(actor, message, ctx);
            response.handle(ctx, Some(answer));
        });
        let reply = match handled {
            Ok(()) => Reply::Later(answered),
            Err(panic) => {
                tracing::warn!(actor = std::any::type_name::<A>(), at = %panic.location, message = %panic.message, "a handler panicked");
                restart(actor, ctx, &hosting);
                Reply::Panicked(panic)
            }
        };
        GuardedReply { reply, of: PhantomData }
    }
}

fn restart<A: Actor<Context = Context<A>> + Supervised>(actor: &mut A, ctx: &mut Context<A>, hosting: &Hosting<A>) {
    let so_far = hosting.restarts.fetch_add(1, Ordering::Relaxed);
    if hosting.max_restarts.is_some_and(|most| so_far >= most) {
        tracing::error!(actor = std::any::type_name::<A>(), "over its restart limit; it answers nothing any more");
        hosting.dead.store(true, Ordering::Relaxed);
        return;
    }
    // The old state is user code to drop, and the new one user code to make.
    match panics::catch(|| (hosting.factory)()) {
        Ok(fresh) => {
            let old = std::mem::replace(actor, fresh);
            let _ = panics::catch(|| drop(old));
        }
        Err(panic) => {
            tracing::error!(at = %panic.location, message = %panic.message, "the factory panicked; the old state stays")
        }
    }
    // The Actix supervisor restarts a context that was stopped, and calls `restarting()`.
    ctx.stop();
}

enum Reply<M: Message> {
    Later(oneshot::Receiver<M::Result>),
    Panicked(panics::Panic),
    Gone,
}

/// The answer to a [`Guarded`] message.
pub struct GuardedReply<A, M: Message> {
    reply: Reply<M>,
    of: PhantomData<fn() -> A>,
}

impl<A, M> MessageResponse<A, Guarded<A, M>> for GuardedReply<A, M>
where
    A: Actor<Context = Context<A>>,
    M: Message + 'static,
    M::Result: Send,
{
    fn handle(self, _ctx: &mut Context<A>, tx: Option<OneshotSender<std::result::Result<M::Result, AskError>>>) {
        let Some(tx) = tx else { return };
        let (actor, message) = (std::any::type_name::<A>(), std::any::type_name::<M>());
        match self.reply {
            Reply::Gone => {
                let _ = tx.send(Err(AskError::Gone { actor, message }));
            }
            Reply::Panicked(panic) => {
                let (text, location) = (panic.message, panic.location);
                let _ = tx.send(Err(AskError::Panicked { actor, message, text, location }));
            }
            Reply::Later(mut answered) => match answered.try_recv() {
                Ok(answer) => {
                    let _ = tx.send(Ok(answer));
                }
                Err(_) => {
                    // Not in the actor's context: it must be answered even if that is stopped meanwhile.
                    actix::spawn(async move {
                        let _ = tx.send(answered.await.map_err(|_| AskError::Gone { actor, message }));
                    });
                }
            },
        }
    }
}

/// How a message-style actor is spawned.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpawnOptions {
    own_thread: bool,
    mailbox: Option<usize>,
    max_restarts: Option<u32>,
}

impl SpawnOptions {
    /// The defaults: an arbiter shared with others, Actix's own mailbox bound (16), restarts without end.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the actor a thread of its own, so that its handlers may block.
    #[must_use]
    pub fn own_thread(mut self) -> Self {
        self.own_thread = true;
        self
    }

    /// How often it is restarted after a panic, in all; then every message gives `Gone`.
    #[must_use]
    pub fn max_restarts(mut self, times: u32) -> Self {
        self.max_restarts = Some(times);
        self
    }

    /// The bound of the mailbox for `try_send` and `send`.
    #[must_use]
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = Some(messages.max(1));
        self
    }
}

/// A reference to a plain Actix actor, with Actix's own verbs.
pub struct ActorRef<A: Actor<Context = Context<A>>> {
    address: Addr<A>,
    hosting: Arc<Hosting<A>>,
}

impl<A: Actor<Context = Context<A>>> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), hosting: self.hosting.clone() }
    }
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorRef<{}>", std::any::type_name::<A>())
    }
}

impl<A: Actor<Context = Context<A>> + Supervised> ActorRef<A> {
    /// Sends a message and awaits its answer.
    ///
    /// # Errors
    /// What the handler's panic said, or that the actor is gone. While the mailbox is full this waits, as Actix does.
    pub async fn send<M>(&self, message: M) -> std::result::Result<M::Result, AskError>
    where
        M: RemoteMessage,
        M::Result: Send,
        A: Handler<M> + Handler<Guarded<A, M>>,
        Context<A>: ToEnvelope<A, Guarded<A, M>>,
    {
        let sent = self.address.send(Guarded { message, hosting: self.hosting.clone() }).await;
        let (actor, message) = (std::any::type_name::<A>(), std::any::type_name::<M>());
        sent.unwrap_or(Err(AskError::Gone { actor, message }))
    }

    /// Sends a message without waiting for an answer, unless the mailbox is full or the actor gone.
    ///
    /// # Errors
    /// With the message itself, to be sent again.
    pub fn try_send<M>(&self, message: M) -> std::result::Result<(), (AskError, M)>
    where
        M: RemoteMessage,
        M::Result: Send,
        A: Handler<M> + Handler<Guarded<A, M>>,
        Context<A>: ToEnvelope<A, Guarded<A, M>>,
    {
        let (actor, name) = (std::any::type_name::<A>(), std::any::type_name::<M>());
        self.address.try_send(Guarded { message, hosting: self.hosting.clone() }).map_err(|error| match error {
            SendError::Full(back) => (AskError::Full { actor, message: name }, back.message),
            SendError::Closed(back) => (AskError::Gone { actor, message: name }, back.message),
        })
    }

    /// Sends a message, over the mailbox's bound if need be. Where the actor is gone the message becomes a dead letter in
    /// the log.
    pub fn do_send<M>(&self, message: M)
    where
        M: RemoteMessage,
        M::Result: Send,
        A: Handler<M> + Handler<Guarded<A, M>>,
        Context<A>: ToEnvelope<A, Guarded<A, M>>,
    {
        if !self.address.connected() {
            tracing::warn!(
                actor = std::any::type_name::<A>(),
                message = std::any::type_name::<M>(),
                "a dead letter: the actor is gone"
            );
            return;
        }
        self.address.do_send(Guarded { message, hosting: self.hosting.clone() });
    }

    /// Restarts after panics so far.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.hosting.restarts.load(Ordering::Relaxed)
    }

    /// Actix's own address, for what only Actix knows; a panic of a handler reached this way ends the actor.
    #[must_use]
    pub fn address(&self) -> &Addr<A> {
        &self.address
    }
}

/// Spawns a plain Actix actor under an Actix `Supervisor`; `factory` makes its state, now and after each panic.
///
/// # Errors
/// `NoRuntime` where none runs.
pub fn spawn_actor<A>(factory: impl Fn() -> A + Send + Sync + 'static) -> Result<ActorRef<A>>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    spawn_actor_with(SpawnOptions::new(), factory)
}

/// As [`spawn_actor`], with options.
///
/// # Errors
/// `NoRuntime` where none runs.
pub fn spawn_actor_with<A>(
    options: SpawnOptions,
    factory: impl Fn() -> A + Send + Sync + 'static,
) -> Result<ActorRef<A>>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let running = context::with_thread(|thread| running(&thread.node))?;
    let running =
        running.ok_or_else(|| TaskError::from(TaskErrorKind::NoRuntime { hint: "it was shut down".to_owned() }))?;
    let hosting = Arc::new(Hosting {
        factory: Box::new(factory),
        max_restarts: options.max_restarts,
        restarts: AtomicU32::new(0),
        dead: AtomicBool::new(false),
    });
    let ours = hosting.clone();
    let mailbox = options.mailbox;
    let arbiter = if options.own_thread { running.own_arbiter() } else { running.arbiter().clone() };
    let address = Supervisor::start_in_arbiter(&arbiter, move |ctx: &mut Context<A>| {
        if let Some(bound) = mailbox {
            ctx.set_mailbox_capacity(bound);
        }
        (ours.factory)()
    });
    Ok(ActorRef { address, hosting })
}
