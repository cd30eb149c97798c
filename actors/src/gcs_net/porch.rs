//! Callers that have not said yet who they are.
//!
//! Owns: how many there are at once, and who of them has to go for one more: the one who has taken longest. An honest caller
//! takes milliseconds, so those who say nothing shut nobody out, however many they are. Does not own what callers say.
//! Invariant: no more than [`CALLERS_MAX`] tasks and sockets of such callers.

use std::{cell::RefCell, collections::VecDeque, future::Future, rc::Rc};

use tokio::task::AbortHandle;

/// Callers of one listener that have not said yet who they are.
pub(crate) const CALLERS_MAX: usize = 256;

/// The callers, each with what it was called here, in the order in which they came.
pub(crate) struct Porch<C> {
    callers: Rc<RefCell<VecDeque<(u64, C, AbortHandle)>>>,
    number: u64,
}

impl<C: 'static> Porch<C> {
    /// Nobody is there.
    pub(crate) fn new() -> Self {
        Self { callers: Rc::default(), number: 0 }
    }

    /// Hears a caller out, on the thread at hand. Gives who had to go for that, if anybody had.
    pub(crate) fn welcome(&mut self, caller: C, hearing: impl Future<Output = ()> + 'static) -> Option<C> {
        let gone = self.make_room();
        self.number += 1;
        let (number, callers) = (self.number, self.callers.clone());
        let task = actix_rt::spawn(async move {
            hearing.await;
            let mut callers = callers.borrow_mut();
            if let Ok(at) = callers.binary_search_by_key(&number, |(number, ..)| *number) {
                callers.remove(at);
            }
        });
        self.callers.borrow_mut().push_back((number, caller, task.abort_handle()));
        gone
    }

    fn make_room(&self) -> Option<C> {
        let mut callers = self.callers.borrow_mut();
        if callers.len() < CALLERS_MAX {
            return None;
        }
        let (_, caller, task) = callers.pop_front()?;
        task.abort();
        Some(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn for_one_more_the_one_who_has_taken_longest_goes() {
        let mut porch = Porch::new();
        for caller in 0..CALLERS_MAX {
            assert_eq!(porch.welcome(caller, std::future::pending()), None);
        }
        assert_eq!(porch.welcome(CALLERS_MAX, std::future::pending()), Some(0));
        assert_eq!(porch.welcome(CALLERS_MAX + 1, async {}), Some(1));
        while porch.callers.borrow().len() == CALLERS_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(porch.welcome(CALLERS_MAX + 2, std::future::pending()), None, "who is done has made room");
    }
}
