//! Utilities that users of Ray expect: [`ActorPool`], [`Queue`], [`map`] and [`map_unordered`].

mod map;
mod pool;
mod queue;

pub use self::{
    map::{map, map_unordered, Progress},
    pool::ActorPool,
    queue::{Queue, QueueError},
};
