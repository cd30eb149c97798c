//! What a user chooses: restart policy, limit, back-off and strategy.
//!
//! Owns: the tables that say what each choice means. Does not own: what has happened so far (see `record`).
//! Invariant: every function here is pure; the same seed, salt and attempt give the same delay.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How an actor ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It stopped of its own accord, or was stopped in good order.
    Normal,
    /// It panicked, its constructor failed, or an actor it is linked to failed. The text is for people.
    Failed(String),
    /// It was killed from outside: by a user, or with its worker or node.
    Killed,
}

impl Exit {
    /// Whether the end counts as a failure (for links and for [`RestartPolicy::OnFailure`]).
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal)
    }
}

/// Whether an actor that ended is started again.
///
/// | policy      | `Normal` | `Failed` | `Killed` | OTP's word  |
/// |-------------|----------|----------|----------|-------------|
/// | `Never`     | dead     | dead     | dead     | `temporary` |
/// | `OnFailure` | dead     | restart  | restart  | `transient` |
/// | `Always`    | restart  | restart  | restart  | `permanent` |
///
/// An actor that the core itself was told to kill, or whose supervisor is stopped, is dead whatever its policy. A
/// `Never` actor that is stopped because a sibling's failure restarts the group is dead too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Never restarted.
    Never,
    /// Restarted unless it ended normally.
    #[default]
    OnFailure,
    /// Restarted however it ended.
    Always,
}

impl RestartPolicy {
    /// Whether an actor of this policy that ended with `exit` is to be restarted, its limit allowing.
    #[must_use]
    pub fn restarts(self, exit: &Exit) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => exit.is_abnormal(),
            Self::Always => true,
        }
    }
}

/// How many restarts are allowed (OTP's *intensity* and *period*).
///
/// | `max_restarts` | `window`  | meaning                                        |
/// |----------------|-----------|------------------------------------------------|
/// | `None`         | any       | unlimited (Ray's `max_restarts = -1`)          |
/// | `Some(n)`      | `None`    | `n` over the whole life (Ray's `max_restarts`) |
/// | `Some(n)`      | `Some(w)` | `n` within any `w` (OTP's intensity)           |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartLimit {
    /// The most restarts allowed; `None` for no limit.
    pub max_restarts: Option<u32>,
    /// Within how long they are counted; `None` for the whole life.
    pub window: Option<Duration>,
}

impl RestartLimit {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { max_restarts: None, window: None };

    /// At most `max_restarts` over the whole life.
    #[must_use]
    pub const fn in_all(max_restarts: u32) -> Self {
        Self { max_restarts: Some(max_restarts), window: None }
    }

    /// At most `max_restarts` within any `window`.
    #[must_use]
    pub const fn within(max_restarts: u32, window: Duration) -> Self {
        Self { max_restarts: Some(max_restarts), window: Some(window) }
    }
}

impl Default for RestartLimit {
    /// Five restarts within ten seconds.
    fn default() -> Self {
        Self::within(5, Duration::from_secs(10))
    }
}

/// Exponential back-off with jitter.
///
/// The `n`-th restart in a row (from 0) waits `min(first · factorⁿ, max) · (1 − jitter · u)`, with `u` in `[0, 1)` drawn
/// from the seed. So no wait is ever longer than `max`. An actor that has run for `max` without failing starts over at
/// `first`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// The wait before the first restart; zero restarts at once.
    pub first: Duration,
    /// How much longer each next wait is; less than 1 counts as 1.
    pub factor: f32,
    /// The longest wait.
    pub max: Duration,
    /// The part of a wait that is left to chance, from 0 to 1.
    pub jitter: f32,
}

impl Backoff {
    /// No wait at all.
    pub const NONE: Self = Self { first: Duration::ZERO, factor: 1.0, max: Duration::ZERO, jitter: 0.0 };

    /// The wait before restart number `attempt` (from 0) of whatever `salt` names.
    #[must_use]
    pub fn delay(&self, attempt: u32, seed: u64, salt: u128) -> Duration {
        let max = self.max.as_secs_f64();
        let factor = f64::from(if self.factor > 1.0 { self.factor } else { 1.0 });
        let mut wait = self.first.as_secs_f64();
        // Beyond 1,024 doublings every wait has reached any `max` worth naming; the bound keeps factor 1 cheap.
        for _ in 0..attempt.min(1_024) {
            if wait >= max {
                break;
            }
            wait *= factor;
        }
        let jitter = f64::from(if self.jitter > 0.0 { self.jitter.min(1.0) } else { 0.0 });
        let folded = seed ^ (salt as u64) ^ ((salt >> 64) as u64).rotate_left(32) ^ u64::from(attempt).rotate_left(17);
        // The upper 53 bits fill an `f64` in [0, 1) evenly.
        let chance = (splitmix64(folded) >> 11) as f64 / (1_u64 << 53) as f64;
        Duration::try_from_secs_f64(wait.min(max) * (1.0 - jitter * chance)).unwrap_or(self.max).min(self.max)
    }
}

impl Default for Backoff {
    /// 1 ms, doubling up to 30 s, a tenth of it left to chance.
    fn default() -> Self {
        Self { first: Duration::from_millis(1), factor: 2.0, max: Duration::from_secs(30), jitter: 0.1 }
    }
}

/// One output of splitmix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014, Figure 17).
fn splitmix64(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Which children of a supervisor are restarted when one fails (OTP, *Supervisor behaviour*, restart strategy).
///
/// | strategy     | stopped, in reverse start order | then restarted, in start order  |
/// |--------------|---------------------------------|---------------------------------|
/// | `OneForOne`  | nobody                          | the failed child                |
/// | `OneForAll`  | all its siblings                | all children                    |
/// | `RestForOne` | siblings started after it       | it and those started after it   |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// Only the failed child.
    #[default]
    OneForOne,
    /// Every child.
    OneForAll,
    /// The failed child and those started after it.
    RestForOne,
}

/// How one actor is supervised. Shared (`Arc`) by the actors of a class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ActorSpec {
    /// Whether it is restarted.
    pub policy: RestartPolicy,
    /// How often for failures of its own; beyond that it is dead, and its siblings live on.
    pub limit: RestartLimit,
    /// How long it waits before each restart.
    pub backoff: Backoff,
    /// Whether it is told of a linked actor's failure rather than taken down by it (OTP's `trap_exit`).
    pub trap_exits: bool,
}

impl ActorSpec {
    /// An actor that is restarted as Ray's `max_restarts` says: -1 (or any negative) without limit, 0 never.
    #[must_use]
    pub fn of_max_restarts(max_restarts: i64) -> Self {
        let limit = match u32::try_from(max_restarts) {
            Ok(most) => RestartLimit::in_all(most),
            Err(_) if max_restarts < 0 => RestartLimit::UNLIMITED,
            Err(_) => RestartLimit::in_all(u32::MAX),
        };
        let policy = if max_restarts == 0 { RestartPolicy::Never } else { RestartPolicy::OnFailure };
        Self { policy, limit, ..Self::default() }
    }
}

/// How one supervisor treats its children, and is itself restarted by its parent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SupervisorSpec {
    /// Who is restarted with a failed child.
    pub strategy: Strategy,
    /// How many failures of its children it bears before it fails itself.
    pub limit: RestartLimit,
    /// How long its parent waits before it restarts this supervisor with all its children.
    pub backoff: Backoff,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_table_holds() {
        let exits = [Exit::Normal, Exit::Failed(String::new()), Exit::Killed];
        let row = |policy: RestartPolicy| exits.clone().map(|exit| policy.restarts(&exit));
        assert_eq!(row(RestartPolicy::Never), [false, false, false]);
        assert_eq!(row(RestartPolicy::OnFailure), [false, true, true]);
        assert_eq!(row(RestartPolicy::Always), [true, true, true]);
    }

    #[test]
    fn back_off_grows_by_its_factor_up_to_its_maximum() {
        let backoff =
            Backoff { first: Duration::from_millis(1), factor: 2.0, max: Duration::from_millis(10), jitter: 0.0 };
        let waits: Vec<_> = (0..6).map(|n| backoff.delay(n, 7, 1).as_millis()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.delay(u32::MAX, 7, 1), backoff.max);
        assert_eq!(Backoff::NONE.delay(3, 7, 1), Duration::ZERO);
    }

    #[test]
    fn jitter_only_shortens_a_wait_and_comes_from_the_seed() {
        let backoff = Backoff { jitter: 0.5, ..Backoff::default() };
        let whole = Backoff { jitter: 0.0, ..Backoff::default() };
        for attempt in 0..40 {
            let (wait, full) = (backoff.delay(attempt, 1, 9), whole.delay(attempt, 1, 9));
            assert!(wait <= full && wait >= full / 2 - Duration::from_nanos(2));
            assert_eq!(wait, backoff.delay(attempt, 1, 9));
        }
        assert_ne!(backoff.delay(3, 1, 9), backoff.delay(3, 2, 9));
        assert_ne!(backoff.delay(3, 1, 9), backoff.delay(3, 1, 10));
    }

    #[test]
    fn absurd_numbers_give_a_bounded_wait() {
        let absurd = Backoff { first: Duration::MAX, factor: f32::NAN, max: Duration::from_secs(1), jitter: f32::NAN };
        assert_eq!(absurd.delay(9, 0, 0), Duration::from_secs(1));
        let steep = Backoff { factor: f32::INFINITY, jitter: 7.0, ..Backoff::default() };
        assert!(steep.delay(9, 0, 0) <= steep.max);
    }

    #[test]
    fn rays_max_restarts_maps_onto_policy_and_limit() {
        assert_eq!(ActorSpec::of_max_restarts(0).policy, RestartPolicy::Never);
        assert_eq!(ActorSpec::of_max_restarts(-1).limit, RestartLimit::UNLIMITED);
        assert_eq!(ActorSpec::of_max_restarts(3).limit, RestartLimit::in_all(3));
        assert_eq!(ActorSpec::of_max_restarts(i64::MAX).limit, RestartLimit::in_all(u32::MAX));
    }
}
