//! The way from one replica to the others of its group.
//!
//! Owns: one outgoing connection to each, kept up for as long as that one is a member; messages that wait to be written.
//! Does not own what comes from them (their own connections bring that, see [`super::connection`]).
//!
//! Invariants: to send never waits, and loses what is beyond the bound, as Raft allows; an established connection that
//! ends is told at once; attempts to connect are bounded by pauses. All of it runs on the shard's own arbiter, a task for each
//! connection, so that a message changes no thread on its way out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actinic_gcs::replica::{Addresses, PeerMessage, ReplicaId};
use actix::Recipient;
use actix_rt::task::JoinHandle;
use tokio::{
    io::AsyncReadExt,
    time::{sleep, Instant},
};

use super::{
    handshake,
    outbox::{Outbox, Unsent},
    roster::Roster,
    stream::Stream,
    wire::{Membership, Purpose},
    NetError,
};
use crate::gcs_client::{messages::PeerGone, PeerLinks};

/// Bytes that may wait for one replica.
const PEER_BYTES_MAX: usize = 16 << 20;
/// How long a connection may take, its handshake included.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// One who takes nothing for so long is called anew.
const STALL: Duration = Duration::from_secs(5);
/// After so much silence the other is told that one lives.
const IDLE: Duration = Duration::from_secs(1);
/// Between attempts, at first.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Between attempts, at last.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Connections over TCP.
pub(super) struct TcpLinks {
    shard: usize,
    me: ReplicaId,
    membership: Membership,
    gone: Recipient<PeerGone>,
    /// Where this replica is reached, once its group says so.
    address: Option<String>,
    roster: Arc<Roster>,
    lines: BTreeMap<ReplicaId, Line>,
}

/// One connection, or the lack of it.
struct Line {
    address: String,
    outbox: Arc<Outbox>,
    task: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TcpLinks {
    /// Of this replica; `gone` is its own shard.
    #[must_use]
    pub(super) fn new(
        shard: usize,
        me: ReplicaId,
        membership: Membership,
        gone: Recipient<PeerGone>,
        roster: Arc<Roster>,
    ) -> Self {
        Self { shard, me, membership, gone, address: None, roster, lines: BTreeMap::new() }
    }

    fn line(&self, to: ReplicaId, address: &str) -> Line {
        let outbox = Arc::new(Outbox::new(PEER_BYTES_MAX));
        let caller = Caller {
            to,
            address: address.to_owned(),
            membership: self.membership.clone(),
            purpose: Purpose::Peer { shard: self.shard, from: self.me, to, address: self.address.clone() },
            outbox: outbox.clone(),
            gone: self.gone.clone(),
            seed: self.me.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ to.0 ^ (self.shard as u64) << 32,
        };
        Line { address: address.to_owned(), outbox, task: actix_rt::spawn(caller.keep_connected()) }
    }
}

impl PeerLinks for TcpLinks {
    fn send(&mut self, to: ReplicaId, message: PeerMessage) {
        if !self.lines.contains_key(&to) {
            // Who has just joined answers those who call.
            let Some(address) = self.roster.caller(self.shard, to) else { return };
            let line = self.line(to, &address);
            self.lines.insert(to, line);
        }
        let Some(line) = self.lines.get(&to) else { return };
        match line.outbox.push_bytes(&message.encode()) {
            Ok(()) => {}
            Err(Unsent::Full) => tracing::trace!(%to, "a message to a replica that does not read is dropped"),
            Err(error) => tracing::error!(%to, ?error, "a message to a replica cannot be sent"),
        }
    }

    /// To be called on the shard's arbiter.
    fn set_members(&mut self, members: &Addresses) {
        self.roster.set_members(self.shard, members);
        self.address = members.get(&self.me).filter(|address| !address.is_empty()).cloned();
        self.lines.retain(|id, line| members.get(id) == Some(&line.address));
        for (id, address) in members {
            if *id != self.me && !address.is_empty() && !self.lines.contains_key(id) {
                let line = self.line(*id, address);
                self.lines.insert(*id, line);
            }
        }
    }
}

/// Whoever keeps one connection up.
struct Caller {
    to: ReplicaId,
    address: String,
    membership: Membership,
    purpose: Purpose,
    outbox: Arc<Outbox>,
    gone: Recipient<PeerGone>,
    seed: u64,
}

impl Caller {
    async fn keep_connected(mut self) {
        let mut pause = PAUSE_MIN;
        let mut said = String::new();
        loop {
            match handshake::call(&self.address, &self.membership, self.purpose.clone(), CONNECT_MAX).await {
                Ok((stream, _)) => {
                    said.clear();
                    let since = Instant::now();
                    self.talk(stream).await;
                    self.gone.do_send(PeerGone(self.to));
                    // One who accepts and hangs up is no reason to hurry.
                    if since.elapsed() > PAUSE_MAX {
                        pause = PAUSE_MIN;
                    }
                }
                Err(error) => Self::complain(&error, &mut said),
            }
            // Whoever missed these is told newer things.
            self.outbox.clear();
            sleep(self.jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Writes until the connection ends. The other side says nothing on it, but its end is heard.
    async fn talk(&self, stream: Stream) {
        let (mut reader, mut writer) = stream.split();
        let mut unheeded = [0; 64];
        let ended = async {
            loop {
                match reader.read(&mut unheeded).await {
                    Ok(0) => return std::io::ErrorKind::ConnectionAborted.into(),
                    Ok(_) => {}
                    Err(error) => return error,
                }
            }
        };
        let error: std::io::Error = tokio::select! {
            error = ended => error,
            error = self.outbox.write_to(&mut writer, Some(IDLE), STALL) => error,
        };
        tracing::info!(to = %self.to, address = self.address, %error, "the connection to a replica has ended");
    }

    /// Says the same only once.
    fn complain(error: &NetError, said: &mut String) {
        let text = error.to_string();
        if *said == text {
            return;
        }
        match error {
            NetError::Refused { .. }
            | NetError::Garbled { .. }
            | NetError::Tls { .. }
            | NetError::Unencrypted { .. } => {
                tracing::error!(%error, "a replica of the control store cannot be spoken to");
            }
            _ => tracing::debug!(%error, "a replica of the control store is not reached"),
        }
        *said = text;
    }

    /// Between half and all of a pause.
    fn jittered(&mut self, pause: Duration) -> Duration {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let half = pause / 2;
        half + half.mul_f64((self.seed >> 40) as f64 / (1_u64 << 24) as f64)
    }
}
