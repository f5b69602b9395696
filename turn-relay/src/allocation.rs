//! What the server keeps for one allocation (RFC 8656 §3.2), and nothing else of any client.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::address::{ClientAddr, Family, PeerAddr};
use crate::channel::ChannelNumber;
use crate::credentials::{User, UsernameHash};
use crate::limits;
use crate::stun::TransactionId;

/// Names an allocation, never one that came later in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A relayed port. Times are seconds of the server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) port: u16,
    pub(crate) expires: u32,
}

/// Something that ends by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permission {
    pub(crate) ip: IpAddr,
    pub(crate) expires: u32,
}

/// A channel binding (RFC 8656 §12).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) peer: PeerAddr,
    pub(crate) channel: ChannelNumber,
    pub(crate) expires: u32,
}

/// Whether the relayed addresses are there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Sockets are being opened; the request waits for its answer.
    Opening,
    /// It works.
    Live,
}

/// One allocation.
pub(crate) struct Allocation {
    pub(crate) generation: u32,
    /// When the wheel looks at it next: of its entries there, the one that says so counts.
    pub(crate) swept_at: u32,
    pub(crate) client: ClientAddr,
    pub(crate) user: User,
    /// The username it was made with: only that may use it (RFC 8656 §5).
    pub(crate) username: UsernameHash,
    pub(crate) stage: Stage,
    /// Of the Allocate request, so that a retransmission gets the same answer.
    pub(crate) transaction: TransactionId,
    /// The lifetime that was granted by it.
    pub(crate) granted: u32,
    pub(crate) reservation: Option<[u8; 8]>,
    /// Of each family.
    pub(crate) relayed: [Option<Relayed>; 2],
    pub(crate) permissions: SmallVec<[Permission; 2]>,
    pub(crate) bindings: SmallVec<[Binding; 2]>,
    pub(crate) bandwidth: Bandwidth,
}

impl Allocation {
    /// Whether it has a relayed address of the family that has not ended.
    pub(crate) fn has(&self, family: Family, now: u32) -> bool {
        self.stage == Stage::Live && self.relayed[family.index()].is_some_and(|relayed| relayed.expires > now)
    }

    /// When the last of its relayed addresses ends.
    pub(crate) fn expires(&self) -> u32 {
        self.relayed
            .iter()
            .flatten()
            .map(|relayed| relayed.expires)
            .max()
            .unwrap_or(0)
    }

    /// When the first of them does.
    pub(crate) fn next_end(&self) -> u32 {
        self.relayed
            .iter()
            .flatten()
            .map(|relayed| relayed.expires)
            .min()
            .unwrap_or(0)
    }

    pub(crate) fn permits(&self, ip: IpAddr, now: u32) -> bool {
        self.permissions
            .iter()
            .any(|permission| permission.ip == ip && permission.expires > now)
    }

    /// Installs or renews a permission. False if there is no room for another.
    pub(crate) fn permit(&mut self, ip: IpAddr, now: u32) -> bool {
        let expires = now + limits::PERMISSION_LIFETIME;
        if let Some(permission) = self.permissions.iter_mut().find(|permission| permission.ip == ip) {
            permission.expires = expires;
            return true;
        }
        if self.permissions.len() >= limits::MAX_PERMISSIONS {
            self.permissions.retain(|permission| permission.expires > now);
        }
        if self.permissions.len() >= limits::MAX_PERMISSIONS {
            return false;
        }
        self.permissions.push(Permission { ip, expires });
        true
    }

    /// The peer of a channel.
    pub(crate) fn peer(&self, channel: ChannelNumber, now: u32) -> Option<PeerAddr> {
        self.bindings
            .iter()
            .find(|binding| binding.channel == channel && binding.expires > now)
            .map(|binding| binding.peer)
    }

    /// The channel of a peer.
    pub(crate) fn channel(&self, peer: PeerAddr, now: u32) -> Option<ChannelNumber> {
        self.bindings
            .iter()
            .find(|binding| binding.peer == peer && binding.expires > now)
            .map(|binding| binding.channel)
    }

    /// Binds a channel that neither is bound to another peer nor another channel to this peer; the caller has looked. False if there
    /// is no room.
    pub(crate) fn bind(&mut self, channel: ChannelNumber, peer: PeerAddr, now: u32) -> bool {
        // Whatever else carried the number or the peer has ended.
        self.bindings
            .retain(|binding| binding.expires > now && binding.channel != channel && binding.peer != peer);
        if self.bindings.len() >= limits::MAX_CHANNELS {
            return false;
        }
        self.bindings.push(Binding {
            peer,
            channel,
            expires: now + limits::CHANNEL_LIFETIME,
        });
        true
    }
}

/// How many bytes an allocation may still relay: a bucket that holds one second's worth.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bandwidth {
    /// Bytes spent, as of `at`; they wear off with time.
    spent: u32,
    /// Milliseconds of the server's life, modulo 2³²: 49 days, longer than any allocation is left alone.
    at: u32,
}

impl Bandwidth {
    /// Takes `bytes` at `now` (milliseconds of the server's life); false if they are over the limit.
    pub(crate) fn take(&mut self, bytes: usize, bytes_per_second: u32, now: u64) -> bool {
        let elapsed = (now as u32).wrapping_sub(self.at);
        let worn_off = u64::from(elapsed) * u64::from(bytes_per_second) / 1_000;
        // Time is only spent when it was worth a byte, so that slow rates wear off too.
        if worn_off > 0 {
            self.spent = u64::from(self.spent).saturating_sub(worn_off) as u32;
            self.at = now as u32;
        }
        let spent = u64::from(self.spent) + bytes as u64;
        let fits = spent <= u64::from(bytes_per_second);
        if fits {
            self.spent = spent as u32;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_is_small() {
        assert!(size_of::<Allocation>() <= 352, "{} bytes", size_of::<Allocation>());
    }

    #[test]
    fn bandwidth_is_what_was_granted() {
        let mut bandwidth = Bandwidth::default();
        let mut sent = 0;
        for millisecond in 0..10_000_u64 {
            for _ in 0..10 {
                sent += if bandwidth.take(1_000, 125_000, millisecond) {
                    1_000
                } else {
                    0
                };
            }
        }
        assert!(
            (1_240_000..=1_375_000).contains(&sent),
            "{sent} bytes in 10 s, and a second's burst"
        );
        assert!(
            !bandwidth.take(200_000, 125_000, 1_000_000),
            "more than the bucket holds"
        );
    }
}
