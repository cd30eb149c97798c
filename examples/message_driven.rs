//! Plain Actix actors with their own messages, supervised by the runtime: a till that keeps an account.
//!
//! `cargo run --release --example message_driven`

use actinic::{message::AskError, prelude::*, spawn_actor};
use actix::prelude::*;
use serde::{Deserialize, Serialize};

/// Pays some money in; the answer is the balance.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
struct Pay {
    cents: i64,
}

/// Asks for the balance.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
struct Balance;

/// An ordinary Actix actor.
struct Account {
    cents: i64,
}

impl Actor for Account {
    type Context = Context<Self>;
}

impl Supervised for Account {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        println!("the account is restarted, with {} cents", self.cents);
    }
}

#[remote_message]
impl Handler<Pay> for Account {
    type Result = i64;

    fn handle(&mut self, pay: Pay, _ctx: &mut Context<Self>) -> i64 {
        assert!(pay.cents >= 0, "nobody pays {} cents in", pay.cents);
        self.cents += pay.cents;
        self.cents
    }
}

#[remote_message]
impl Handler<Balance> for Account {
    type Result = ResponseFuture<i64>;

    fn handle(&mut self, _: Balance, _ctx: &mut Context<Self>) -> ResponseFuture<i64> {
        let cents = self.cents;
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await; // a look into the ledger, say
            cents
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _rt = Runtime::init()?;
    let account = spawn_actor(|| Account { cents: 100 })?;

    System::new().block_on(async {
        account.do_send(Pay { cents: 20 });
        println!("after two payments: {} cents", account.send(Pay { cents: 30 }).await?);
        assert_eq!(account.send(Balance).await?, 150);

        // A handler that panics: its caller learns it, the state is made anew, the mailbox stays.
        let bad = account.send(Pay { cents: -1 }).await;
        let Err(error) = bad else { panic!("nobody pays less than nothing") };
        println!("a bad payment: {error}");
        assert!(matches!(error, AskError::Panicked { .. }));
        assert_eq!(account.send(Balance).await?, 100);
        assert_eq!(account.restarts(), 1);
        Ok::<(), AskError>(())
    })?;
    Ok(())
}
