//! The server's books: allocations with everything that points at them, ports, reservations.

use std::net::SocketAddr;

use aws_lc_rs::hmac;

use super::{Now, Peers, RelayCommand, Reservation, Server};
use crate::address::{ClientAddr, Family};
use crate::allocation::{Allocation, AllocationKey};
use crate::credentials::User;
use crate::limits;

impl Server {
    /// The allocation of a client, if it has not ended.
    #[inline]
    pub(super) fn find(&mut self, client: ClientAddr, now: Now) -> Option<AllocationKey> {
        let key = match self.last {
            Some((last, key)) if last == client => key,
            _ => *self.by_client.get(&client)?,
        };
        if self.allocations[key.index as usize].expires() <= now.secs {
            self.remove(key);
            return None;
        }
        self.last = Some((client, key));
        Some(key)
    }

    /// An allocation by its name, if it is still there.
    pub(super) fn get(&self, key: AllocationKey) -> Option<&Allocation> {
        self.allocations
            .get(key.index as usize)
            .filter(|allocation| allocation.generation == key.generation)
    }

    /// Puts an allocation into all books.
    pub(super) fn insert(&mut self, mut allocation: Allocation) -> AllocationKey {
        self.generation = self.generation.wrapping_add(1);
        allocation.generation = self.generation;
        let (client, user, due) = (allocation.client, allocation.user, allocation.swept_at);
        let key = AllocationKey {
            index: self.allocations.insert(allocation) as u32,
            generation: self.generation,
        };
        self.by_client.insert(client, key);
        self.by_user.entry(user).or_default().push(key);
        *self.by_prefix.entry(client.prefix()).or_default() += 1;
        self.wheel.insert((key, due), due);
        key
    }

    /// Takes an allocation out of all books.
    pub(super) fn remove(&mut self, key: AllocationKey) {
        if self.get(key).is_none() {
            return;
        }
        for family in Family::ALL {
            self.give_up(key, family);
        }
        let allocation = self.allocations.remove(key.index as usize);
        self.last = None;
        self.opening.remove(&key);
        self.by_client.remove(&allocation.client);
        if let Some(keys) = self.by_user.get_mut(&allocation.user) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_user.remove(&allocation.user);
            }
        }
        let prefix = allocation.client.prefix();
        if let Some(count) = self.by_prefix.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.by_prefix.remove(&prefix);
            }
        }
    }

    /// The wheel says that something of this allocation may be over.
    pub(super) fn sweep(&mut self, key: AllocationKey, due: u32, now: Now) {
        if self.get(key).is_none_or(|allocation| allocation.swept_at != due) {
            return;
        }
        for family in Family::ALL {
            let relayed = self.allocations[key.index as usize].relayed[family.index()];
            if relayed.is_some_and(|relayed| relayed.expires <= now.secs) {
                self.give_up(key, family);
            }
        }
        let allocation = &mut self.allocations[key.index as usize];
        if allocation.relayed.iter().all(Option::is_none) {
            return self.remove(key);
        }
        let next = allocation.next_end();
        allocation.swept_at = next;
        self.wheel.insert((key, next), next);
    }

    /// Sets the time-to-expiry of one family or of both; zero ends it.
    pub(super) fn set_lifetime(&mut self, key: AllocationKey, family: Option<Family>, lifetime: u32, now: Now) {
        for each in Family::ALL {
            if family.is_some_and(|family| family != each) {
                continue;
            }
            if lifetime == 0 {
                self.give_up(key, each);
            } else if let Some(relayed) = &mut self.allocations[key.index as usize].relayed[each.index()] {
                relayed.expires = now.secs + lifetime;
            }
        }
        let allocation = &mut self.allocations[key.index as usize];
        if allocation.relayed.iter().all(Option::is_none) {
            return self.remove(key);
        }
        // One that ends later is found out by the sweep; one that ends earlier needs one of its own.
        let next = allocation.next_end();
        if next < allocation.swept_at {
            allocation.swept_at = next;
            self.wheel.insert((key, next), next);
        }
    }

    /// The relayed address of a family.
    pub(super) fn relayed(&self, key: AllocationKey, family: Family) -> Option<SocketAddr> {
        let relayed = self.allocations[key.index as usize].relayed[family.index()]?;
        let pool = self.pools[family.index()].as_ref()?;
        Some(SocketAddr::new(pool.ip, relayed.port))
    }

    fn give_up(&mut self, key: AllocationKey, family: Family) {
        if let Some(relayed) = self.relayed(key, family) {
            self.allocations[key.index as usize].relayed[family.index()] = None;
            self.release(relayed);
            if let Peers::Public { .. } = self.peers {
                self.commands.push_back(RelayCommand::Close { relayed });
            }
        }
    }

    /// Gives a port back.
    pub(super) fn release(&mut self, relayed: SocketAddr) {
        if let Some(pool) = &mut self.pools[Family::of(relayed.ip()).index()] {
            pool.ports.release(relayed.port());
        }
    }

    /// Holds a port, which was taken, for whoever shows the token.
    pub(super) fn reserve(
        &mut self,
        family: Family,
        port: u16,
        (user, prefix): (User, u64),
        now: Now,
    ) -> Option<[u8; 8]> {
        let ip = self.pools[family.index()].as_ref()?.ip;
        let mut token = [0; 8];
        let chance = self.next_chance();
        let unguessable = hmac::sign(&self.tokens, &chance.to_be_bytes());
        token.copy_from_slice(&unguessable.as_ref()[..8]);
        let expires = now.secs + limits::RESERVATION_LIFETIME;
        let relayed = SocketAddr::new(ip, port);
        self.reservations.insert(
            token,
            Reservation {
                relayed,
                expires,
                user,
                prefix,
            },
        );
        self.reservation_ends.push_back((token, expires));
        Some(token)
    }
}
