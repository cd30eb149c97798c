//! Message-style actors: plain Actix actors with their own messages.
#![allow(clippy::unwrap_used)]

use actinic::{message::AskError, prelude::*, spawn_actor, spawn_actor_with, SpawnOptions};
use actix::prelude::*;
use serde::{Deserialize, Serialize};

#[path = "support/kit.rs"]
mod kit;
use kit::Gate;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
struct Add(i64);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
struct Later(i64);

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Block(Gate);

struct Sum {
    value: i64,
    restarted: u32,
}

impl Actor for Sum {
    type Context = Context<Self>;
}

impl Supervised for Sum {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        self.restarted += 1;
    }
}

#[remote_message]
impl Handler<Add> for Sum {
    type Result = i64;

    fn handle(&mut self, add: Add, _ctx: &mut Context<Self>) -> i64 {
        assert!(add.0 >= 0, "negative");
        self.value += add.0;
        self.value
    }
}

#[remote_message]
impl Handler<Later> for Sum {
    type Result = ResponseFuture<i64>;

    fn handle(&mut self, later: Later, _ctx: &mut Context<Self>) -> ResponseFuture<i64> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            later.0
        })
    }
}

#[remote_message]
impl Handler<Block> for Sum {
    type Result = ();

    fn handle(&mut self, block: Block, _ctx: &mut Context<Self>) {
        block.0.pass();
    }
}

fn sum() -> Sum {
    Sum { value: 100, restarted: 0 }
}

fn in_system<R>(body: impl std::future::Future<Output = R>) -> R {
    System::new().block_on(async { tokio::time::timeout(kit::PATIENCE, body).await.expect("in time") })
}

#[test]
fn a_plain_actix_actor_answers_send_try_send_and_do_send_in_order() {
    let _rt = Runtime::builder().num_cpus(1).init().unwrap();
    let actor = spawn_actor(sum).unwrap();
    in_system(async {
        actor.do_send(Add(1));
        actor.try_send(Add(2)).map_err(|(error, _)| error).unwrap();
        assert_eq!(actor.send(Add(3)).await.unwrap(), 106);
        assert_eq!(actor.send(Later(7)).await.unwrap(), 7);
    });
}

#[test]
fn a_panic_in_a_plain_actix_handler_reaches_its_caller_and_the_state_is_made_anew() {
    let _rt = Runtime::builder().num_cpus(1).init().unwrap();
    let actor = spawn_actor(sum).unwrap();
    in_system(async {
        actor.send(Add(1)).await.unwrap();
        let error = actor.send(Add(-1)).await.unwrap_err();
        assert!(matches!(&error, AskError::Panicked { text, location, .. }
            if text == "negative" && location.contains("messages.rs")));
        assert_eq!(actor.send(Add(1)).await.unwrap(), 101);
        assert_eq!(actor.restarts(), 1);
    });
}

#[test]
fn what_waits_in_the_mailbox_of_a_plain_actix_actor_outlives_its_restart() {
    let _rt = Runtime::builder().num_cpus(1).init().unwrap();
    let actor = spawn_actor(sum).unwrap();
    in_system(async {
        let gate = Gate::new();
        let blocked = actor.send(Block(gate));
        let (bad, good) = (actor.send(Add(-1)), actor.send(Add(5)));
        gate.open();
        let (blocked, bad, good) = futures::join!(blocked, bad, good);
        blocked.unwrap();
        assert!(matches!(bad, Err(AskError::Panicked { .. })));
        assert_eq!(good.unwrap(), 105);
    });
}

#[test]
fn a_plain_actix_actor_over_its_restart_limit_answers_that_it_is_gone() {
    let _rt = Runtime::builder().num_cpus(1).init().unwrap();
    let actor = spawn_actor_with(SpawnOptions::new().max_restarts(0), sum).unwrap();
    in_system(async {
        assert!(matches!(actor.send(Add(-1)).await, Err(AskError::Panicked { .. })));
        assert!(matches!(actor.send(Add(1)).await, Err(AskError::Gone { .. })));
    });
}

#[test]
fn a_plain_actix_actor_with_a_thread_of_its_own_may_block_and_holds_up_no_other() {
    let _rt = Runtime::builder().num_cpus(1).init().unwrap();
    let blocking = spawn_actor_with(SpawnOptions::new().own_thread(), sum).unwrap();
    let others: Vec<_> = (0..4).map(|_| spawn_actor(sum).unwrap()).collect();
    in_system(async {
        let gate = Gate::new();
        blocking.do_send(Block(gate));
        for other in &others {
            assert_eq!(other.send(Add(1)).await.unwrap(), 101);
        }
        gate.open();
        assert_eq!(blocking.send(Add(1)).await.unwrap(), 101);
    });
}

#[test]
fn a_full_mailbox_of_a_plain_actix_actor_gives_the_message_back() {
    let _rt = Runtime::builder().num_cpus(1).init().unwrap();
    let actor = spawn_actor_with(SpawnOptions::new().own_thread().mailbox(1), sum).unwrap();
    let gate = Gate::new();
    actor.do_send(Block(gate));
    let mut refused = None;
    for n in 0..1_000 {
        if let Err(error) = actor.try_send(Add(n)) {
            refused = Some((n, error));
            break;
        }
    }
    let (n, (error, message)) = refused.expect("the mailbox has a bound");
    assert!(matches!(error, AskError::Full { .. }));
    assert_eq!(message.0, n);
    gate.open();
}
