//! Which networks are this machine's, by what was read of its interfaces now and before.

use std::io;
use std::time::Instant;

use housecall_turn::Network;

use crate::limits;

/// See the module.
#[derive(Default)]
pub(super) struct Own {
    /// Each with the time when it was read last. Empty until they were read for the first time: the configuration alone has one.
    seen: Vec<(Network, Instant)>,
    /// The last read failed, which was told.
    is_blind: bool,
}

/// Whether the networks to refuse are others now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Same,
    Changed,
}

impl Own {
    /// What is to be refused; `None` if nothing was ever read, and so nobody can be served.
    pub(super) fn known(&self) -> Option<Vec<Network>> {
        let networks = self.seen.iter().map(|(network, _)| *network);
        (!self.seen.is_empty()).then(|| networks.collect())
    }

    /// Takes what the kernel said. A network that is gone stays for [`limits::OWN_NETWORKS_KEPT`]: its lease may be renewed in a moment. If nothing
    /// could be read, everything stays.
    pub(super) fn handle_read(&mut self, read: io::Result<Vec<Network>>, now: Instant) -> Look {
        let read = match read {
            Ok(read) => read,
            Err(cause) => {
                if !std::mem::replace(&mut self.is_blind, true) {
                    tracing::warn!(
                        %cause,
                        "the networks of this machine cannot be read: the relay refuses those that it knows, and serves nobody if it knows none"
                    );
                }
                return Look::Same;
            }
        };
        self.is_blind = false;
        let mut look = Look::Same;
        for network in read {
            match self.seen.iter_mut().find(|(known, _)| *known == network) {
                Some((_, last)) => *last = now,
                None => {
                    self.seen.push((network, now));
                    look = Look::Changed;
                }
            }
        }
        let before = self.seen.len();
        self.seen
            .retain(|(_, last)| now.saturating_duration_since(*last) < limits::OWN_NETWORKS_KEPT);
        if self.seen.len() < before { Look::Changed } else { look }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::clock::testing;

    fn network(last: u8) -> Network {
        Network::from(IpAddr::from([192, 0, 2, last]))
    }

    fn failure() -> io::Result<Vec<Network>> {
        Err(rustix::io::Errno::MFILE.into())
    }

    #[test]
    fn a_network_that_vanished_stays_refused_for_minutes() {
        let start = testing::start();
        let mut own = Own::default();
        assert_eq!(own.handle_read(Ok(vec![network(1), network(2)]), start), Look::Changed);
        let kept = start + limits::OWN_NETWORKS_KEPT;
        let moment = Duration::from_secs(1);
        assert_eq!(own.handle_read(Ok(vec![network(1)]), kept - moment), Look::Same);
        assert_eq!(own.known(), Some(vec![network(1), network(2)]));
        assert_eq!(
            own.handle_read(failure(), kept + moment),
            Look::Same,
            "nothing is known"
        );
        assert_eq!(own.known(), Some(vec![network(1), network(2)]));
        assert_eq!(own.handle_read(Ok(vec![network(1)]), kept + moment), Look::Changed);
        assert_eq!(own.known(), Some(vec![network(1)]));
        let much_later = kept + limits::OWN_NETWORKS_KEPT * 2;
        assert_eq!(
            own.handle_read(Ok(vec![network(1)]), much_later),
            Look::Same,
            "it is there"
        );
        assert_eq!(own.known(), Some(vec![network(1)]));
    }

    #[test]
    fn nothing_is_known_before_the_first_read_that_works() {
        let now = testing::start();
        let mut own = Own::default();
        assert_eq!(own.known(), None);
        assert_eq!(own.handle_read(failure(), now), Look::Same);
        assert_eq!(own.known(), None);
        assert_eq!(own.handle_read(Ok(vec![network(1)]), now), Look::Changed);
        assert_eq!(own.known(), Some(vec![network(1)]));
    }
}
