//! A pool of actors that share work.

use std::collections::VecDeque;

use crate::{data::Data, error::TaskError, object_ref::ObjectRef, wait};

/// Some actors, each given a new call when its last one has ended (as Ray's `ActorPool`).
///
/// ```
/// use actinic::{prelude::*, util::ActorPool};
///
/// #[remote]
/// struct Doubler;
///
/// #[remote]
/// impl Doubler {
///     fn new() -> Self { Self }
///     fn double(&self, n: u64) -> u64 { 2 * n }
/// }
///
/// let rt = Runtime::init()?;
/// let mut pool = ActorPool::new((0..2).map(|_| Doubler::remote()).collect());
/// let doubled = pool.map(0..5, |actor, n| actor.double(n)).collect::<Result<Vec<u64>, _>>()?;
/// assert_eq!(doubled, [0, 2, 4, 6, 8]);
/// # Ok::<(), actinic::Error>(())
/// ```
pub struct ActorPool<H> {
    idle: VecDeque<H>,
}

impl<H: Clone> ActorPool<H> {
    /// A pool of these actors.
    #[must_use]
    pub fn new(actors: Vec<H>) -> Self {
        Self { idle: actors.into() }
    }

    /// Adds an actor.
    pub fn push(&mut self, actor: H) {
        self.idle.push_back(actor);
    }

    /// Takes an idle actor out.
    pub fn pop_idle(&mut self) -> Option<H> {
        self.idle.pop_front()
    }

    /// Idle actors.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Calls an actor for each input; the results come in the order of the inputs. At most as many calls are under way as
    /// there are actors.
    pub fn map<I, R, F>(&mut self, inputs: I, call: F) -> Results<'_, H, I::IntoIter, R, F>
    where
        I: IntoIterator,
        R: Data,
        F: Fn(&H, I::Item) -> ObjectRef<R>,
    {
        Results { pool: self, inputs: inputs.into_iter(), call, under_way: VecDeque::new(), ordered: true }
    }

    /// As [`ActorPool::map`], with each result as soon as it is there.
    pub fn map_unordered<I, R, F>(&mut self, inputs: I, call: F) -> Results<'_, H, I::IntoIter, R, F>
    where
        I: IntoIterator,
        R: Data,
        F: Fn(&H, I::Item) -> ObjectRef<R>,
    {
        Results { pool: self, inputs: inputs.into_iter(), call, under_way: VecDeque::new(), ordered: false }
    }
}

/// Results of a pool's map, as they come.
pub struct Results<'a, H, I, R, F> {
    pool: &'a mut ActorPool<H>,
    inputs: I,
    call: F,
    under_way: VecDeque<(H, ObjectRef<R>)>,
    ordered: bool,
}

impl<H, I, R, F> Iterator for Results<'_, H, I, R, F>
where
    H: Clone,
    I: Iterator,
    R: Data,
    F: Fn(&H, I::Item) -> ObjectRef<R>,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.pool.idle.is_empty() {
            let Some(input) = self.inputs.next() else { break };
            if let Some(actor) = self.pool.idle.pop_front() {
                let result = (self.call)(&actor, input);
                self.under_way.push_back((actor, result));
            }
        }
        let at = if self.ordered || self.under_way.len() < 2 { 0 } else { self.first_ready() };
        let (actor, result) = self.under_way.remove(at)?;
        let value = result.get();
        self.pool.idle.push_back(actor);
        Some(value)
    }
}

impl<H, I, R: Data, F> Results<'_, H, I, R, F> {
    fn first_ready(&self) -> usize {
        let refs: Vec<ObjectRef<R>> = self.under_way.iter().map(|(_, result)| result.clone()).collect();
        let _ = wait(&refs, 1, None);
        refs.iter().position(ObjectRef::is_ready).unwrap_or(0)
    }
}

impl<H, I, R, F> Drop for Results<'_, H, I, R, F> {
    fn drop(&mut self) {
        self.pool.idle.extend(self.under_way.drain(..).map(|(actor, _)| actor));
    }
}
