//! What must hold at any time, for tests and fuzzing.

use rustc_hash::FxHashMap;

use super::{Peers, Server};
use crate::address::Family;
use crate::allocation::{AllocationKey, Stage};
use crate::limits;

impl Server {
    /// Looks through all books.
    ///
    /// # Panics
    /// When they contradict each other or are over a bound.
    #[doc(hidden)]
    pub fn check(&self) {
        assert_eq!(
            self.by_client.len(),
            self.allocations.len(),
            "one client, one allocation"
        );
        assert!(self.allocations.len() <= self.quotas.total as usize);
        assert!(self.answers.len() <= limits::MAX_PENDING_ANSWERS);
        let mut users: FxHashMap<_, u32> = FxHashMap::default();
        let mut prefixes: FxHashMap<u64, u32> = FxHashMap::default();
        let mut ports = [0; 2];
        for (index, allocation) in &self.allocations {
            let key = AllocationKey {
                index: index as u32,
                generation: allocation.generation,
            };
            assert_eq!(
                self.by_client.get(&allocation.client),
                Some(&key),
                "found by its client"
            );
            assert!(self.by_user[&allocation.user].contains(&key), "found by its user");
            assert_eq!(allocation.stage == Stage::Opening, self.opening.contains_key(&key));
            assert!(
                allocation.relayed.iter().any(Option::is_some) || allocation.stage == Stage::Opening,
                "an allocation has an address"
            );
            assert!(allocation.permissions.len() <= limits::MAX_PERMISSIONS);
            assert!(allocation.bindings.len() <= limits::MAX_CHANNELS);
            for (at, binding) in allocation.bindings.iter().enumerate() {
                let others = &allocation.bindings[at + 1..];
                let is_alone = others
                    .iter()
                    .all(|other| other.channel != binding.channel && other.peer != binding.peer);
                assert!(is_alone, "a channel has one peer, and a peer one channel");
            }
            *users.entry(allocation.user).or_default() += 1;
            *prefixes.entry(allocation.client.prefix()).or_default() += 1;
            for family in Family::ALL {
                if let Some(relayed) = allocation.relayed[family.index()] {
                    ports[family.index()] += 1;
                    let pool = self.pools[family.index()].as_ref().expect("a port is of a pool");
                    assert!(pool.ports.is_taken(relayed.port));
                }
            }
        }
        assert_eq!(prefixes, self.by_prefix, "quotas of prefixes");
        assert_eq!(users.len(), self.by_user.len(), "no user without allocation");
        for (user, count) in users {
            assert_eq!(self.by_user[&user].len(), count as usize);
            assert!(count <= self.quotas.per_user);
        }
        for reservation in self.reservations.values() {
            ports[Family::of(reservation.relayed.ip()).index()] += 1;
        }
        for family in Family::ALL {
            let taken = self.pools[family.index()].as_ref().map_or(0, |pool| pool.ports.taken());
            assert_eq!(taken, ports[family.index()], "every port that is taken is somebody's");
        }
        assert!(matches!(self.peers, Peers::Public { .. }) || (self.opening.is_empty() && self.commands.is_empty()));
    }
}
