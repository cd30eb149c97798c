//! A bank: transfers between accounts by compare-and-swap, while replicas are killed. No money is made or lost, no transfer
//! that was acknowledged is lost, none is carried out twice, and that holds for every reader at every moment.
//!
//! A transfer is steps on single rows, each of which can be repeated, so that one whose teller died is carried on by another:
//! note it; debit one account, credit the other, each keeping the transfer among those that it has seen; note that it is
//! done (now it is acknowledged); let both accounts forget it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use actinic_gcs_tests::{
    client::{Client, Unknown},
    cluster::{Cluster, Contacts},
    duration,
    rng::Rng,
    seed, trouble,
};
use bytes::Bytes;
use serde::{de::DeserializeOwned, Deserialize, Serialize};

use super::PROGRAM;

const ACCOUNTS: usize = 8;
const TELLERS: u64 = 4;
const INITIAL: i64 = 1_000;
/// Of a hundred transfers, those in whose midst the teller dies.
const DEATHS: u64 = 3;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    /// Counts its changes, so that no two rows of an account are the same.
    version: u64,
    balance: i64,
    /// Transfers that have changed the balance and that it must not forget yet.
    seen: BTreeSet<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Transfer {
    from: usize,
    to: usize,
    amount: i64,
    done: bool,
}

fn encoded(row: &impl Serialize) -> Bytes {
    serde_json::to_vec(row).unwrap().into()
}

fn decoded<T: DeserializeOwned>(row: &Bytes) -> T {
    serde_json::from_slice(row).unwrap()
}

fn account_key(account: usize) -> String {
    format!("account/{account}")
}

fn transfer_key(id: u64) -> String {
    format!("transfer/{id:016x}")
}

/// Whoever carries transfers out.
struct Teller {
    client: Client,
}

impl Teller {
    fn new(contacts: &Contacts) -> Self {
        Self { client: Client::connect(contacts, "bank") }
    }

    /// Changes a row until it is what `change` makes of it, which gives nothing where there is nothing to do.
    fn update<T: Serialize + DeserializeOwned>(&self, key: &str, change: impl Fn(T) -> Option<T>) {
        loop {
            let row = self.client.get(key).expect("the row was put before");
            let Some(new) = change(decoded(&row)) else { return };
            // Where the outcome is unknown, the row will tell.
            if self.client.swap(key, Some(row), Some(encoded(&new))) == Ok(true) {
                return;
            }
        }
    }

    fn book(&self, account: usize, transfer: u64, amount: i64) {
        self.update(&account_key(account), |account: Account| {
            let Account { version, balance, mut seen } = account;
            let new = seen.insert(transfer);
            new.then_some(Account { version: version + 1, balance: balance + amount, seen })
        });
    }

    fn forget(&self, account: usize, transfer: u64) {
        self.update(&account_key(account), |account: Account| {
            let Account { version, balance, mut seen } = account;
            let known = seen.remove(&transfer);
            known.then_some(Account { version: version + 1, balance, seen })
        });
    }

    /// Notes a transfer.
    fn note(&self, id: u64, transfer: &Transfer) {
        // Nobody else notes this one: that it is there already means that an earlier attempt came through.
        while self.client.put_new(&transfer_key(id), encoded(transfer)) == Err(Unknown) {}
    }

    /// The first `steps` of what is to be done about a transfer; gives whether it is acknowledged.
    fn carry_out(&self, id: u64, transfer: &Transfer, steps: u64) -> bool {
        let Transfer { from, to, amount, .. } = *transfer;
        if steps > 0 && !transfer.done {
            self.book(from, id, -amount);
        }
        if steps > 1 && !transfer.done {
            self.book(to, id, amount);
        }
        if steps > 2 {
            let done = |transfer: Transfer| (!transfer.done).then_some(Transfer { done: true, ..transfer });
            self.update(&transfer_key(id), done);
        }
        if steps > 3 {
            self.forget(from, id);
        }
        if steps > 4 {
            self.forget(to, id);
        }
        steps > 2
    }

    fn accounts(&self) -> Vec<Account> {
        (0..ACCOUNTS).map(|account| decoded(&self.client.get(&account_key(account)).unwrap())).collect()
    }

    fn transfer(&self, id: u64) -> Transfer {
        decoded(&self.client.get(&transfer_key(id)).expect("a transfer that an account has seen was noted"))
    }
}

/// Transfers until it is told to stop; gives those that were acknowledged.
fn work(contacts: &Contacts, number: u64, mut rng: Rng, stop: &AtomicBool) -> Vec<(u64, Transfer)> {
    let mut teller = Teller::new(contacts);
    let mut acknowledged = Vec::new();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let id = number << 32 | count;
        let from = rng.index(ACCOUNTS);
        let to = (from + 1 + rng.index(ACCOUNTS - 1)) % ACCOUNTS;
        let transfer = Transfer { from, to, amount: 1 + rng.below(100) as i64, done: false };
        teller.note(id, &transfer);
        let dies = rng.chance(DEATHS);
        let steps = if dies { rng.below(5) } else { 5 };
        if teller.carry_out(id, &transfer, steps) {
            acknowledged.push((id, transfer));
        }
        if dies {
            teller = Teller::new(contacts);
        }
    }
    acknowledged
}

/// All rows at one moment, if they can be had: read twice without a change in between, they were all there together.
fn photograph(teller: &Teller) -> Option<Vec<Account>> {
    let keys: Vec<String> = (0..ACCOUNTS).map(account_key).collect();
    let first = teller.client.get_all(&keys)?;
    let second = teller.client.get_all(&keys)?;
    (first == second).then(|| first.iter().map(|row| decoded(row.as_ref().unwrap())).collect())
}

/// The money of a moment: what is in accounts, and what has left one and not reached the other.
fn money(teller: &Teller, accounts: &[Account]) -> i64 {
    let seen: BTreeSet<u64> = accounts.iter().flat_map(|account| account.seen.iter().copied()).collect();
    let on_its_way = |id: &u64| {
        let Transfer { from, to, amount, .. } = teller.transfer(*id);
        let (left, reached) = (accounts[from].seen.contains(id), accounts[to].seen.contains(id));
        // Both accounts forget it in the order in which they learned of it.
        if left && !reached {
            amount
        } else {
            0
        }
    };
    accounts.iter().map(|account| account.balance).sum::<i64>() + seen.iter().map(on_its_way).sum::<i64>()
}

/// Counts the money again and again; gives how often.
fn audit(contacts: &Contacts, stop: &AtomicBool) -> u64 {
    let teller = Teller::new(contacts);
    let mut audits = 0;
    while !stop.load(Ordering::Relaxed) {
        if let Some(accounts) = photograph(&teller) {
            assert_eq!(money(&teller, &accounts), INITIAL * ACCOUNTS as i64, "{accounts:?}");
            audits += 1;
        }
    }
    audits
}

/// Carries on what tellers left when they died; gives all transfers.
fn recover(teller: &Teller) -> BTreeMap<u64, Transfer> {
    let id = |key: &String| u64::from_str_radix(key.strip_prefix("transfer/").unwrap(), 16).unwrap();
    let ids: Vec<u64> = teller.client.keys("transfer/").iter().map(id).collect();
    for id in &ids {
        let transfer = teller.transfer(*id);
        let seen = |account: usize| {
            let account: Account = decoded(&teller.client.get(&account_key(account)).unwrap());
            account.seen.contains(id)
        };
        if !transfer.done || seen(transfer.from) || seen(transfer.to) {
            teller.carry_out(*id, &transfer, 5);
        }
    }
    ids.into_iter().map(|id| (id, teller.transfer(id))).collect()
}

#[test]
fn no_money_is_made_or_lost_whoever_is_killed() {
    let mut rng = Rng::new(seed("bank"));
    let mut cluster = Cluster::start(PROGRAM, 1);
    let contacts = cluster.contacts().clone();
    let teller = Teller::new(&contacts);
    for account in 0..ACCOUNTS {
        let row = Account { version: 0, balance: INITIAL, seen: BTreeSet::new() };
        assert_eq!(teller.client.put_new(&account_key(account), encoded(&row)), Ok(true));
    }
    let (stop, audits) = (AtomicBool::new(false), AtomicU64::new(0));
    let (troubles, acknowledged) = thread::scope(|scope| {
        let (contacts, stop) = (&contacts, &stop);
        let tellers: Vec<_> = (1..=TELLERS)
            .map(|number| (number, rng.fork()))
            .map(|(number, rng)| scope.spawn(move || work(contacts, number, rng, stop)))
            .collect();
        let auditor = scope.spawn(move || audit(contacts, stop));
        let troubles = trouble::make(&mut cluster, &mut rng, duration());
        stop.store(true, Ordering::Relaxed);
        let acknowledged: Vec<_> = tellers.into_iter().flat_map(|teller| teller.join().unwrap()).collect();
        audits.store(auditor.join().unwrap(), Ordering::Relaxed);
        (troubles, acknowledged)
    });
    drop(teller);
    // What is left is what is on the disks.
    cluster.kill(&[0, 1, 2]);
    cluster.spawn_all();
    let teller = Teller::new(&contacts);
    let before = money(&teller, &photograph(&teller).expect("nobody else is there"));
    assert_eq!(before, INITIAL * ACCOUNTS as i64);
    let transfers = recover(&teller);
    for (id, transfer) in &acknowledged {
        let expected = Transfer { done: true, ..transfer.clone() };
        assert_eq!(transfers.get(id), Some(&expected), "transfer {id:x} was acknowledged");
    }
    let mut balances = [INITIAL; ACCOUNTS];
    for Transfer { from, to, amount, done } in transfers.values() {
        assert!(done, "all were carried on");
        balances[*from] -= amount;
        balances[*to] += amount;
    }
    let accounts = teller.accounts();
    assert!(accounts.iter().all(|account| account.seen.is_empty()), "{accounts:?}");
    let found: Vec<i64> = accounts.iter().map(|account| account.balance).collect();
    assert_eq!(found, balances, "each transfer was carried out once");
    let (audits, acknowledged) = (audits.into_inner(), acknowledged.len());
    println!(
        "bank: {acknowledged} transfers acknowledged, {} carried on for dead tellers, {audits} audits; {troubles}",
        transfers.len() - acknowledged
    );
    assert!(acknowledged > 20 && audits > 0, "hardly anything happened");
}
