//! Catches panics of user code and keeps what they said and where.
//!
//! Owns: one process-wide panic hook, put in front of the program's own. While user code runs under [`catch`], the hook
//! notes the location and stays silent, since the error reaches every `get`; any other panic goes to the former hook.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

/// What a panic said, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// Its message.
    pub message: String,
    /// File, line and column.
    pub location: String,
}

thread_local! {
    static GUARDED: Cell<u32> = const { Cell::new(0) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Puts the hook in place, once a process.
pub fn install_hook() {
    HOOK.call_once(|| {
        let former = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.try_with(Cell::get).unwrap_or(0) == 0 {
                return former(info);
            }
            let location = info.location().map(|at| format!("{}:{}:{}", at.file(), at.line(), at.column()));
            let _ = LOCATION.try_with(|kept| kept.replace(location));
        }));
    });
}

/// Runs `f` and catches its panic.
///
/// # Errors
/// The panic, with its message and location.
pub fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    struct Unguard;
    impl Drop for Unguard {
        fn drop(&mut self) {
            GUARDED.set(GUARDED.get() - 1);
        }
    }
    GUARDED.set(GUARDED.get() + 1);
    let _unguard = Unguard;
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(|payload| Panic {
        message: message_of(payload.as_ref()),
        location: LOCATION.take().unwrap_or_else(|| "an unknown place".to_owned()),
    })
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_message_and_place() {
        install_hook();
        let caught = catch(|| -> u32 { panic!("at {}", 7) }).expect_err("it panics");
        assert_eq!(caught.message, "at 7");
        assert!(caught.location.contains("panics.rs:"), "{}", caught.location);
        assert_eq!(catch(|| 1), Ok(1));
    }
}
