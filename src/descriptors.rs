//! How many files and sockets the program may have open: as many as it is allowed, and a word if that is too few.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::front::CONNECTIONS;

/// Listening sockets, media threads, the database and the log.
const REST: u64 = 256;

/// What a full house needs. An allocation of the public relay that serves both families has two sockets.
fn needed(config: &Config) -> u64 {
    let allocations = config.general_relay.as_ref().map_or(0, |relay| relay.allocations);
    CONNECTIONS as u64 + REST + 2 * u64::from(allocations)
}

/// Raises the soft limit to the hard one, which is there for programs that need it. Returns a sentence with an action if that is too low.
pub(crate) fn raise(config: &Config) -> Option<String> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // A system that refuses leaves the soft limit, which is then what there is.
    let granted = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    too_few(granted, needed(config))
}

/// `None` is without limit.
fn too_few(granted: Option<u64>, needed: u64) -> Option<String> {
    let granted = granted.filter(|granted| *granted < needed)?;
    Some(format!(
        "the program may have {granted} files and sockets open, and needs {needed} when it is full; set LimitNOFILE={needed} or more in its systemd unit, or raise `ulimit -Hn`."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Written;

    #[test]
    fn a_limit_that_is_too_low_is_named_with_the_one_that_is_not() {
        let config = Written::without_file().check().unwrap();
        let needed = needed(&config);
        assert_eq!(needed, 8_448, "without a public relay");
        assert_eq!((too_few(None, needed), too_few(Some(8_448), needed)), (None, None));
        let said = too_few(Some(4_096), needed).unwrap();
        assert!(said.contains("4096") && said.contains("LimitNOFILE=8448"), "{said}");
    }
}
