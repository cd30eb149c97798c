//! What is said on one connection of a link.
//!
//! Owns: reading and writing until the connection ends. Does not own when that is to be, nor what comes of it. Invariant: no
//! more is read than the link can take.

use std::{io::ErrorKind, time::Duration};

use actix::{Message, WeakAddr};
use bytes::Bytes;

use super::{core::SILENCE_MS_MAX, ShardLink};
use crate::{
    gcs_client::messages::AnswerFrame,
    gcs_net::{
        inbox::{Inbox, ReadError},
        outbox::Outbox,
        stream::Stream,
        wire::{decode, FRAME_BYTES_MAX},
        NetError,
    },
};

/// A shard that takes nothing for so long is left.
const STALL: Duration = Duration::from_millis(SILENCE_MS_MAX);

/// A connection is open, to one who knows these addresses.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Connected {
    pub(super) attempt: u64,
    pub(super) addresses: Vec<String>,
}

/// Something has come, possibly only a sign of life.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Heard {
    pub(super) attempt: u64,
    pub(super) frames: Vec<AnswerFrame>,
}

/// Reads and writes until the connection ends; gives why.
pub(super) async fn converse(
    stream: Stream,
    outbox: &Outbox,
    attempt: u64,
    link: &WeakAddr<ShardLink>,
    address: String,
) -> NetError {
    let (reader, mut writer) = stream.split();
    let mut inbox = Inbox::new(reader, FRAME_BYTES_MAX);
    let reading = async {
        loop {
            let bodies = match inbox.frames().await {
                Ok(Some(bodies)) => bodies,
                Ok(None) => return ReadError::Io(ErrorKind::ConnectionAborted.into()),
                Err(error) => return error,
            };
            let frames: Result<Vec<AnswerFrame>, _> =
                bodies.iter().filter(|body| !Bytes::is_empty(body)).map(|body| decode(body)).collect();
            match (frames, link.upgrade()) {
                // Awaited, so that no more is read than the link can take.
                (Ok(frames), Some(link)) => drop(link.send(Heard { attempt, frames }).await),
                (Ok(_), None) => return ReadError::Io(ErrorKind::ConnectionAborted.into()),
                (Err(error), _) => return error.into(),
            }
        }
    };
    let ended = tokio::select! {
        error = reading => error,
        error = outbox.write_to(&mut writer, None, STALL) => error.into(),
    };
    ended.at(address)
}
