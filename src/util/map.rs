//! One task for each of many inputs.

use std::collections::VecDeque;

use indicatif::{ProgressBar, ProgressStyle};

use crate::{data::Data, error::TaskError, object_ref::ObjectRef, wait};

/// Tasks under way at once.
const WINDOW: usize = 10_000;

/// Whether a map shows how far it is.
#[derive(Clone, Debug, Default)]
pub enum Progress {
    /// It does not.
    #[default]
    Hidden,
    /// It shows a bar of this title on the terminal.
    Bar(String),
}

impl Progress {
    fn bar(&self, len: Option<usize>) -> Option<ProgressBar> {
        let Self::Bar(title) = self else { return None };
        let bar = len.map_or_else(ProgressBar::new_spinner, |len| ProgressBar::new(len as u64));
        let style = ProgressStyle::with_template("{msg} [{bar:32}] {pos}/{len} {per_sec} {eta}");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(title.clone());
        Some(bar)
    }
}

/// Calls `call` for each input and gives the results in the order of the inputs. At most 10,000 tasks are under way.
///
/// ```
/// use actinic::{prelude::*, util::{self, Progress}};
///
/// #[remote]
/// fn square(n: u64) -> u64 { n * n }
///
/// let rt = Runtime::init()?;
/// let squares = util::map(0..4_u64, |n| square.remote(n), Progress::Hidden).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(squares, [0, 1, 4, 9]);
/// # Ok::<(), actinic::Error>(())
/// ```
pub fn map<I, R, F>(inputs: I, call: F, progress: Progress) -> Mapped<I::IntoIter, R, F>
where
    I: IntoIterator,
    R: Data,
    F: FnMut(I::Item) -> ObjectRef<R>,
{
    Mapped::new(inputs.into_iter(), call, &progress, true)
}

/// As [`map`], with each result as soon as it is there.
pub fn map_unordered<I, R, F>(inputs: I, call: F, progress: Progress) -> Mapped<I::IntoIter, R, F>
where
    I: IntoIterator,
    R: Data,
    F: FnMut(I::Item) -> ObjectRef<R>,
{
    Mapped::new(inputs.into_iter(), call, &progress, false)
}

/// Results of a map, as they come.
pub struct Mapped<I, R, F> {
    inputs: I,
    call: F,
    under_way: VecDeque<ObjectRef<R>>,
    ready: VecDeque<ObjectRef<R>>,
    bar: Option<ProgressBar>,
    ordered: bool,
}

impl<I: Iterator, R: Data, F: FnMut(I::Item) -> ObjectRef<R>> Mapped<I, R, F> {
    fn new(inputs: I, call: F, progress: &Progress, ordered: bool) -> Self {
        let bar = progress.bar(inputs.size_hint().1);
        Self { inputs, call, under_way: VecDeque::new(), ready: VecDeque::new(), bar, ordered }
    }

    fn next_ready(&mut self) -> Option<ObjectRef<R>> {
        if self.ordered {
            return self.under_way.pop_front();
        }
        if self.ready.is_empty() && !self.under_way.is_empty() {
            let all: Vec<ObjectRef<R>> = self.under_way.drain(..).collect();
            // One at least; whatever else is ready by then comes with it.
            let _ = wait(&all, 1, None);
            let (ready, pending): (Vec<_>, Vec<_>) = all.into_iter().partition(ObjectRef::is_ready);
            self.ready.extend(ready);
            self.under_way.extend(pending);
        }
        self.ready.pop_front()
    }
}

impl<I: Iterator, R: Data, F: FnMut(I::Item) -> ObjectRef<R>> Iterator for Mapped<I, R, F> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.under_way.len() + self.ready.len() < WINDOW {
            let Some(input) = self.inputs.next() else { break };
            self.under_way.push_back((self.call)(input));
        }
        let result = self.next_ready()?;
        let value = result.get();
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        Some(value)
    }
}

impl<I, R, F> Drop for Mapped<I, R, F> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}
