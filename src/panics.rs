//! Panics belong in the log, where somebody looks, and must not carry what they happened upon.

use std::any::Any;
use std::panic;

/// Logs every panic with its place and thread. Its message is logged only if it was written in the source as it stands: one that was
/// formatted may hold anything, names included.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let message = literal(info.payload());
        tracing::error!(
            place,
            thread = name,
            message,
            "a panic: this is a bug, please report it"
        );
    }));
}

fn literal(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(not shown)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatted_messages_are_not_shown() {
        let caught = |work: fn()| panic::catch_unwind(work).expect_err("the work panics");
        assert_eq!(literal(&*caught(|| panic!("a queue was empty"))), "a queue was empty");
        assert_eq!(
            literal(&*caught(|| panic!("no such number: {}", std::process::id()))),
            "(not shown)"
        );
    }
}
