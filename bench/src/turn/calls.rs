//! System calls of a process, counted by the kernel's tracepoint through `perf`, which costs the calls next to nothing.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::measure::Process;

/// What is said where they cannot be counted.
pub(crate) const MISSING: &str =
    "system calls were not counted: `perf stat -e raw_syscalls:sys_enter` did not work (it needs linux-perf and root)";
const EVENT: &str = "raw_syscalls:sys_enter";

/// Calls a second over so long; `None` where that can't be counted.
pub(crate) fn count(process: &Process, time: Duration) -> Result<Option<f64>> {
    let output = Command::new("perf")
        .args(["stat", "-x,", "-e", EVENT, "-p"])
        .arg(process.id())
        .args(["--", "sleep"])
        .arg(time.as_secs().to_string())
        .output();
    let Ok(output) = output else { return Ok(None) };
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(parse(&text).map(|calls| calls as f64 / time.as_secs_f64()))
}

fn parse(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(EVENT))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read() {
        assert_eq!(parse("12345,,raw_syscalls:sys_enter,2001,100.00,,\n"), Some(12_345));
        assert_eq!(parse("<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n"), None);
        assert_eq!(parse("event syntax error\n"), None);
    }
}
