//! How a shard's thread receives, and what it does about a flood of strangers.

use std::time::Instant;

use super::{RECEIVES_PER_TURN, Shard, guard, now};
use crate::counters::Count;
use crate::flood::{Change, Left};
use crate::limits;
use crate::socket::Received;
use crate::steering::Lane;

impl Shard {
    /// Takes what the socket has, in a turn that began at `last`. The time at which the last of it had come.
    pub(super) fn receive(&mut self, mut last: Instant) -> Instant {
        for _ in 0..RECEIVES_PER_TURN {
            let received = self.receive_once(Lane::Media);
            last = received.at.unwrap_or(last);
            self.received += received.datagrams;
            self.more = received.more;
            if !received.more {
                break;
            }
        }
        // Requests have nobody wait for more: strangers do not set the pace of media.
        self.received -= self.requests.min(self.received);
        last
    }

    fn receive_once(&mut self, lane: Lane) -> Received {
        let (worker, requests, rule) = (&mut self.worker, &mut self.requests, self.rule);
        let received = self.outlet.socket.receive(lane, now, |path, datagram, at| {
            *requests += usize::from(Lane::of(datagram, rule) == Lane::Requests);
            // One call brings datagrams of many rooms: one that breaks its room must not take those behind it along.
            guard(worker, |worker| worker.handle_datagram(path, datagram, at));
        });
        received.unwrap_or_else(|_| {
            // ICMP errors of peers that went away surface here; they say nothing about other peers.
            self.worker.count(Count::ReceiveErrors, 1);
            Received::default()
        })
    }

    /// Takes what waits apart from media, for a bounded time: when that ended. It is not counted as received: the pace of media does not follow from
    /// it.
    pub(super) fn receive_requests(&mut self) -> Instant {
        let mut time = now();
        let end = time + limits::REQUESTS_TIME;
        let mut found = 0;
        let mut left = Left::Some;
        while left == Left::Some && time < end {
            let received = self.receive_once(Lane::Requests);
            found += received.datagrams;
            if !received.more {
                left = Left::Nothing;
            }
            time = now();
        }
        self.flood.looked(found, left, time);
        time
    }

    #[cold]
    pub(super) fn part_or_join(&mut self, change: Change, now: Instant) {
        match change {
            Change::Began => {
                self.worker.count(Count::Floods, 1);
                if let Err(error) = self.outlet.socket.part(self.rule) {
                    tracing::warn!(%error, "strangers flood the media port, and the system does not part them from media");
                } else {
                    self.worker.count(Count::FloodsApart, 1);
                    self.flood.parted(now);
                    tracing::warn!("strangers flood the media port; they wait behind media until it is over");
                }
            }
            Change::Ended => {
                self.outlet.socket.join();
                // What is left after that, few come now, is asked again.
                self.receive_requests();
                self.outlet.socket.close_requests();
                tracing::info!("the flood is over");
            }
        }
    }
}
