//! The remote functions and actors of the rows, under the names that Ray's microbenchmark gives them.

use std::sync::{Condvar, Mutex};

use actinic::prelude::*;

use super::node::get_all;

/// What Ray's small tasks return.
pub(crate) type Small = Vec<u8>;

/// The node that runs this task or actor.
fn node() -> Runtime {
    Runtime::current().expect("a task runs on a node")
}

fn ok() -> Small {
    b"ok".to_vec()
}

/// Does nothing.
#[remote]
pub(crate) fn empty() {}

/// Returns two bytes.
#[remote]
pub(crate) fn small_value() -> Small {
    ok()
}

/// Counts its arguments; a vector of references is given, each a data edge of its own.
#[remote]
pub(crate) fn count_values(values: Vec<u64>) -> usize {
    values.len()
}

/// Three thousand values, each an object of its own.
#[remote]
pub(crate) fn many(returns: u64) -> Vec<u64> {
    (0..returns).collect()
}

/// One object that holds ten thousand references.
#[remote]
pub(crate) fn create_object_containing_ref(refs: u64) -> Vec<ObjectRef<u64>> {
    let runtime = node();
    (0..refs).map(|_| runtime.put(1_u64).expect("the store holds small objects")).collect()
}

/// Puts small objects from within a worker.
#[remote]
pub(crate) fn do_put_small(puts: usize) {
    let runtime = node();
    for _ in 0..puts {
        runtime.put(0_u64).expect("the store holds small objects");
    }
}

/// Puts large objects from within a worker.
#[remote]
pub(crate) fn do_put(puts: usize, numbers: usize) {
    let runtime = node();
    for _ in 0..puts {
        runtime.put(Tensor::<i64>::zeros([numbers])).expect("the store holds the object");
    }
}

/// Calls one actor from within a task.
#[remote]
pub(crate) fn work(actor: ActorHandle, calls: usize) {
    let refs: Vec<ObjectRef<Small>> = (0..calls).map(|_| actor.small_value()).collect();
    get_all(&node(), &refs).expect("the actor lives");
}

/// The same with an `async` actor.
#[remote]
pub(crate) fn async_actor_work(actor: AsyncActorHandle, calls: usize) {
    let refs: Vec<ObjectRef<Small>> = (0..calls).map(|_| actor.small_value()).collect();
    get_all(&node(), &refs).expect("the actor lives");
}

/// Keeps a worker busy until the gate opens.
#[remote]
pub(crate) fn hold() {
    let open = GATE.0.lock().expect("nobody panics with the gate");
    drop(GATE.1.wait_while(open, |open| !*open).expect("nobody panics with the gate"));
}

static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Opens or shuts the gate that `hold` waits at.
pub(crate) fn set_gate(open: bool) {
    *GATE.0.lock().expect("nobody panics with the gate") = open;
    GATE.1.notify_all();
}

/// Answers at once.
#[remote]
pub(crate) struct Actor;

#[remote]
impl Actor {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn note(&mut self) {}

    pub(crate) fn small_value(&mut self) -> Small {
        ok()
    }

    pub(crate) fn small_value_arg(&mut self, _x: u64) -> Small {
        ok()
    }

    pub(crate) fn small_value_batch(&mut self, tasks: usize) {
        let refs: Vec<ObjectRef<Small>> = (0..tasks).map(|_| small_value.remote()).collect();
        get_all(&node(), &refs).expect("the tasks cannot fail");
    }
}

/// Answers at once, from `async` methods.
#[remote]
pub(crate) struct AsyncActor;

#[remote]
impl AsyncActor {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) async fn small_value(&self) -> Small {
        ok()
    }

    pub(crate) async fn small_value_with_arg(&self, _x: u64) -> Small {
        ok()
    }
}

/// Calls an actor from within another one.
#[remote]
pub(crate) struct Client {
    server: ActorHandle,
}

#[remote]
impl Client {
    pub(crate) fn new(server: ActorHandle) -> Self {
        Self { server }
    }

    pub(crate) fn small_value_batch(&mut self, calls: usize) {
        let refs: Vec<ObjectRef<Small>> = (0..calls).map(|_| self.server.small_value()).collect();
        get_all(&node(), &refs).expect("the server lives");
    }

    pub(crate) fn small_value_batch_arg(&mut self, calls: usize) {
        let runtime = node();
        let x = runtime.put(0_u64).expect("the store holds small objects");
        let refs: Vec<ObjectRef<Small>> = (0..calls).map(|_| self.server.small_value_arg(&x)).collect();
        get_all(&runtime, &refs).expect("the server lives");
    }
}

/// Calls an `async` actor from within another one.
#[remote]
pub(crate) struct AsyncClient {
    server: AsyncActorHandle,
}

#[remote]
impl AsyncClient {
    pub(crate) fn new(server: AsyncActorHandle) -> Self {
        Self { server }
    }

    pub(crate) fn small_value_batch(&mut self, calls: usize) {
        let refs: Vec<ObjectRef<Small>> = (0..calls).map(|_| self.server.small_value()).collect();
        get_all(&node(), &refs).expect("the server lives");
    }
}
