//! Panics belong in the log, where somebody looks, and must not carry what they happened upon.

use std::panic::{self, PanicHookInfo};

/// Logs every panic with its place and thread. Its message is logged only if it was written in the source as it stands: one that was
/// formatted may hold anything, names included.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        tracing::error!(
            place,
            thread = name,
            message = literal(info),
            "a panic: this is a bug, please report it"
        );
    }));
}

fn literal<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    info.payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(not shown)")
}
