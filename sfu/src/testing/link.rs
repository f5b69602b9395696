//! One direction of a network path in virtual time: loss, delay, jitter, reordering and duplicates, all decided by one seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Chance;
use crate::media::Bitrate;

/// What a link does to datagrams. Shares are per thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quality {
    /// Datagrams that never arrive.
    pub(crate) loss: u64,
    /// How many in a row are lost on average, once one is. At least 1.
    pub(crate) burst: u64,
    /// The least time a datagram takes.
    pub(crate) delay: Duration,
    /// What is added to it, evenly spread from nothing to this. By itself it changes no order.
    pub(crate) jitter: Duration,
    /// Datagrams that are overtaken by those behind them for up to [`OVERTAKEN`].
    pub(crate) reordered: u64,
    /// Datagrams that arrive twice.
    pub(crate) doubled: u64,
    /// What gets through in order of arrival; the rest stands in a queue of [`QUEUE`], or is lost. None: as much as comes.
    pub(crate) rate: Option<Bitrate>,
}

/// What the queue before a narrow link holds at most.
const QUEUE: Duration = Duration::from_millis(300);
/// Bytes of UDP and IPv4 headers.
const HEADERS: usize = 28;
/// How late a reordered datagram is at most. Wi-Fi and mobile links seldom do worse.
const OVERTAKEN: Duration = Duration::from_millis(12);

impl Quality {
    /// Nothing is lost and nothing is late.
    pub(crate) const PERFECT: Self = Self {
        loss: 0,
        burst: 1,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        reordered: 0,
        doubled: 0,
        rate: None,
    };

    /// Nothing arrives.
    pub(crate) const DARK: Self = Self {
        loss: 1_000,
        ..Self::PERFECT
    };

    /// A bad home link: this share lost, 30 ms of delay, jitter, some reordering, some duplicates.
    pub(crate) const fn lossy(per_thousand: u64) -> Self {
        Self {
            loss: per_thousand,
            burst: 1,
            delay: Duration::from_millis(30),
            jitter: Duration::from_millis(8),
            reordered: 10,
            doubled: 5,
            rate: None,
        }
    }
}

/// A datagram at the far end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrival<T> {
    pub(crate) content: T,
    /// It arrives twice: this is one of the two.
    pub(crate) is_doubled: bool,
}

/// What a link did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkFigures {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    pub(crate) reordered: u64,
    pub(crate) doubled: u64,
}

/// See the module.
pub(crate) struct Link<T> {
    quality: Quality,
    chance: Chance,
    /// On their way, by arrival and then by the order in which they were sent.
    flying: BTreeMap<(Instant, u64), Arrival<T>>,
    /// Before this nothing arrives that is not reordered.
    latest: Option<Instant>,
    /// Until when the link is busy with what it has been given.
    busy: Option<Instant>,
    /// Datagrams that will still be lost of this burst.
    burst_left: u64,
    figures: LinkFigures,
    number: u64,
}

impl<T: Clone> Link<T> {
    pub(crate) fn new(quality: Quality, seed: u64) -> Self {
        Self {
            quality,
            chance: Chance::new(seed),
            flying: BTreeMap::new(),
            latest: None,
            busy: None,
            burst_left: 0,
            figures: LinkFigures::default(),
            number: 0,
        }
    }

    /// From here on. What is on its way arrives as it would have.
    pub(crate) fn set_quality(&mut self, quality: Quality) {
        self.quality = quality;
        self.burst_left = 0;
    }

    pub(crate) const fn figures(&self) -> LinkFigures {
        self.figures
    }

    /// Sends a datagram of `len` bytes: what a narrow link takes its time for. See [`Self::send`].
    pub(crate) fn send_sized(&mut self, content: T, len: usize, now: Instant) {
        let Some(rate) = self.quality.rate else {
            return self.send(content, now);
        };
        let begins = self.busy.map_or(now, |busy| busy.max(now));
        if begins > now + QUEUE {
            self.figures.sent += 1;
            self.figures.lost += 1;
            return;
        }
        let bits = (len + HEADERS) as f64 * 8.0;
        let done = begins + Duration::from_secs_f64(bits / rate.bps() as f64);
        self.busy = Some(done);
        self.send(content, done);
    }

    /// Sends a datagram. All its fortunes are drawn whatever becomes of it, so that one more lost changes nothing for the next.
    pub(crate) fn send(&mut self, content: T, now: Instant) {
        let Quality {
            loss,
            burst,
            delay,
            jitter,
            reordered,
            doubled,
            rate: _,
        } = self.quality;
        let is_lost = self.chance.below(1_000 * burst) < loss;
        let run = self.chance.below(2 * burst - 1);
        let mut spread = |most: Duration| Duration::from_micros(self.chance.below(most.as_micros() as u64 + 1));
        let (wait, late, late_again) = (spread(jitter), spread(OVERTAKEN), spread(OVERTAKEN));
        let (is_reordered, is_doubled) = (self.chance.below(1_000) < reordered, self.chance.below(1_000) < doubled);
        self.figures.sent += 1;
        if self.burst_left > 0 || is_lost {
            self.burst_left = if is_lost { run } else { self.burst_left - 1 };
            self.figures.lost += 1;
            return;
        }
        let mut arrival = now + delay + wait;
        if is_reordered {
            self.figures.reordered += 1;
            arrival += late;
        } else {
            arrival = self.latest.map_or(arrival, |latest| latest.max(arrival));
            self.latest = Some(arrival);
        }
        if is_doubled {
            self.figures.doubled += 1;
            self.fly(arrival + late_again, content.clone(), true);
        }
        self.fly(arrival, content, is_doubled);
    }

    fn fly(&mut self, at: Instant, content: T, is_doubled: bool) {
        self.number += 1;
        self.flying.insert((at, self.number), Arrival { content, is_doubled });
    }

    /// When [`Self::receive`] has something.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.flying.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next datagram that has arrived by `now`.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<Arrival<T>> {
        let first = self.flying.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;

    const STEP: Duration = Duration::from_millis(2);

    fn run(quality: Quality, seed: u64, count: u32) -> (Vec<(u32, Duration)>, LinkFigures) {
        let start = testing::start();
        let mut link = Link::new(quality, seed);
        let mut got = Vec::new();
        for number in 0..count + 100 {
            let now = start + STEP * number;
            while let Some(arrival) = link.receive(now) {
                got.push((arrival.content, now - start));
            }
            if number < count {
                link.send(number, now);
            }
        }
        assert_eq!(link.poll_timeout(), None, "all has arrived");
        (got, link.figures())
    }

    #[test]
    fn a_perfect_link_changes_nothing_and_a_dark_one_lets_nothing_through() {
        let (got, figures) = run(Quality::PERFECT, 1, 100);
        assert!(got.iter().map(|(number, _)| *number).eq(0..100));
        assert_eq!((figures.sent, figures.lost), (100, 0));
        assert_eq!(run(Quality::DARK, 1, 100).0, []);
    }

    #[test]
    fn a_seed_gives_the_same_run_with_the_shares_asked_for() {
        let quality = Quality {
            doubled: 20,
            ..Quality::lossy(50)
        };
        let (got, figures) = run(quality, 7, 20_000);
        assert_eq!(run(quality, 7, 20_000), (got.clone(), figures));
        assert_ne!(run(quality, 8, 20_000).0, got);
        assert!((800..1_200).contains(&figures.lost), "{figures:?}");
        assert!((300..500).contains(&figures.doubled), "{figures:?}");
        assert_eq!(got.len() as u64, figures.sent - figures.lost + figures.doubled);
        let late = |(number, at): &(u32, Duration)| *at - STEP * *number;
        assert!(got.iter().all(|one| late(one) >= quality.delay));
        assert!(got.iter().map(late).max() <= Some(quality.delay + quality.jitter + 2 * OVERTAKEN + STEP));
        assert!(got.windows(2).any(|pair| pair[1].0 < pair[0].0), "some are overtaken");
    }

    #[test]
    fn jitter_alone_overtakes_nothing_and_bursts_have_the_same_loss() {
        let calm = Quality {
            reordered: 0,
            doubled: 0,
            burst: 5,
            ..Quality::lossy(50)
        };
        let (got, figures) = run(calm, 3, 20_000);
        assert!(got.is_sorted_by_key(|(number, _)| *number));
        assert!((700..1_300).contains(&figures.lost), "{figures:?}");
        let gaps = got.windows(2).filter(|pair| pair[1].0 > pair[0].0 + 1).count() as u64;
        assert!(figures.lost / gaps >= 3, "{figures:?} in {gaps} gaps");
    }
}
